//! Octets that were received and not processed yet. Pure, but for reading into it.

use std::io::{self, BufRead, Read};

use crate::imap::connection::RECEIVE_SIZE;

#[derive(Default)]
pub(super) struct ReceiveBuffer {
    octets: Vec<u8>,
    /// Where those begin that are not processed.
    begin: usize,
}

impl ReceiveBuffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.octets.get(self.begin..).unwrap_or_default()
    }

    /// Moves octets behind `line`, up to the end of the line; says whether that is there.
    pub(super) fn take_line(&mut self, line: &mut Vec<u8>) -> bool {
        let mut rest = self.as_slice();
        // Reading from a slice cannot fail.
        let length = rest.read_until(b'\n', line).unwrap_or_default();
        self.begin += length;
        line.ends_with(b"\n")
    }

    /// Moves octets behind `into`: `left` of them or all, and counts `left` down.
    pub(super) fn take_up_to(&mut self, left: &mut u64, into: &mut Vec<u8>) {
        let length = self.length_up_to(*left);
        into.extend_from_slice(self.as_slice().get(..length).unwrap_or_default());
        self.begin += length;
        *left -= length as u64;
    }

    /// Drops octets: `left` of them or all, and counts `left` down.
    pub(super) fn skip_up_to(&mut self, left: &mut u64) {
        let length = self.length_up_to(*left);
        self.begin += length;
        *left -= length as u64;
    }

    fn length_up_to(&self, left: u64) -> usize {
        let length = self.as_slice().len();
        usize::try_from(left).map_or(length, |left| left.min(length))
    }

    /// Reads once; returns how many octets there were.
    pub(super) fn receive(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.octets.drain(..self.begin);
        self.begin = 0;
        let end = self.octets.len();
        self.octets.resize(end + RECEIVE_SIZE, 0);
        let received = from.read(self.octets.get_mut(end..).unwrap_or_default());
        self.octets
            .truncate(end + received.as_ref().copied().unwrap_or_default());
        received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_literals_are_taken_in_turn_however_they_arrive() {
        for size in 1..20 {
            let mut arriving: &[u8] = b"first\r\nliteralsecond\nrest";
            let mut buffer = ReceiveBuffer::default();
            let mut fill = |buffer: &mut ReceiveBuffer| {
                let mut part = Read::by_ref(&mut arriving).take(size);
                assert!(buffer.receive(&mut part).unwrap() > 0);
            };
            let mut first = Vec::new();
            while !buffer.take_line(&mut first) {
                fill(&mut buffer);
            }
            let (mut left, mut literal) = (4, Vec::new());
            while left > 0 {
                buffer.take_up_to(&mut left, &mut literal);
                if left > 0 {
                    fill(&mut buffer);
                }
            }
            left = 3;
            while left > 0 {
                buffer.skip_up_to(&mut left);
                if left > 0 {
                    fill(&mut buffer);
                }
            }
            let mut second = Vec::new();
            while !buffer.take_line(&mut second) {
                fill(&mut buffer);
            }
            assert_eq!(
                [first, literal, second],
                [
                    b"first\r\n".to_vec(),
                    b"lite".to_vec(),
                    b"second\n".to_vec()
                ]
            );
            assert!(b"rest".starts_with(buffer.as_slice()));
        }
    }
}
