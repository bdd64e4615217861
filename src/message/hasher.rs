//! Digests of octets that arrive part by part. Pure.

use sha2::{Digest as _, Sha256};

use crate::message::BodyDigest;
use crate::message::digest::first_64_bits;

/// Octets that are hashed at once; hashing each line alone costs twice the time.
const BUFFER_SIZE: usize = 16 * 1024;

/// The octets of a message, and the digest of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedOctets {
    /// All octets of the message.
    pub octets: Vec<u8>,
    /// The digest of its body.
    pub body: BodyDigest,
}

/// Computes a [`BodyDigest`] while the octets of the message arrive.
#[derive(Debug, Default)]
pub(crate) struct BodyHasher {
    position: Position,
    canonical: CanonicalHasher,
}

/// Where the next octet belongs.
#[derive(Debug, Clone, Copy, Default)]
enum Position {
    /// To the beginning of a line of the header.
    #[default]
    LineBegin,
    /// The same, after a CR: LF ends the header.
    LineBeginAfterCr,
    /// To the rest of a line of the header.
    Line,
    Body,
}

/// SHA-256 over the canonical form of octets: without NUL, CRLF as LF.
#[derive(Debug, Default)]
pub(super) struct CanonicalHasher {
    hash: Sha256,
    buffer: Vec<u8>,
    is_after_cr: bool,
}

impl HashedOctets {
    /// Hashes a whole message.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> HashedOctets {
        HashedOctets {
            body: BodyDigest::of_message(&octets),
            octets,
        }
    }
}

impl BodyHasher {
    pub(crate) fn update(&mut self, octets: &[u8]) {
        let body = self.skip_header(octets);
        self.canonical.update(body);
    }

    pub(crate) fn finish(self) -> BodyDigest {
        BodyDigest::of_hash(self.canonical.finish())
    }

    /// Returns what belongs to the body: it begins after the first empty line, line ends being CRLF
    /// or LF (RFC 5322 2.1).
    fn skip_header<'a>(&mut self, mut octets: &'a [u8]) -> &'a [u8] {
        while let Some((first, rest)) = octets.split_first() {
            (self.position, octets) = match (self.position, first) {
                (Position::Body, _) => return octets,
                (Position::LineBegin | Position::LineBeginAfterCr, b'\n') => (Position::Body, rest),
                (Position::LineBegin, b'\r') => (Position::LineBeginAfterCr, rest),
                _ => match memchr::memchr(b'\n', octets) {
                    Some(end) => (
                        Position::LineBegin,
                        octets.get(end + 1..).unwrap_or_default(),
                    ),
                    None => (Position::Line, [].as_slice()),
                },
            };
        }
        octets
    }
}

impl CanonicalHasher {
    pub(super) fn update(&mut self, octets: &[u8]) {
        let mut begin = 0;
        for end in memchr::memchr2_iter(b'\r', b'\0', octets).chain([octets.len()]) {
            self.add_run(octets.get(begin..end).unwrap_or_default());
            if octets.get(end) == Some(&b'\r') {
                self.add_pending_cr();
                self.is_after_cr = true;
            }
            begin = end + 1;
        }
    }

    /// The first 64 bits of the hash.
    pub(super) fn finish(mut self) -> u64 {
        self.add_pending_cr();
        self.hash.update(&self.buffer);
        first_64_bits(self.hash)
    }

    /// Adds octets without CR and NUL.
    fn add_run(&mut self, run: &[u8]) {
        let Some(first) = run.first() else {
            return;
        };
        if *first == b'\n' {
            self.is_after_cr = false;
        }
        self.add_pending_cr();
        self.add(run);
    }

    /// A CR that no LF followed is a part of the text.
    fn add_pending_cr(&mut self) {
        if std::mem::take(&mut self.is_after_cr) {
            self.add(b"\r");
        }
    }

    fn add(&mut self, octets: &[u8]) {
        if self.buffer.len() + octets.len() > BUFFER_SIZE {
            self.hash.update(&self.buffer);
            self.buffer.clear();
        }
        if octets.len() > BUFFER_SIZE {
            self.hash.update(octets);
        } else {
            self.buffer.extend_from_slice(octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_how_the_octets_arrive() {
        let long = [
            b"A: 1\r\n\r\n".as_slice(),
            &vec![b'x'; 3 * BUFFER_SIZE],
            b"\r\nx\0y",
        ]
        .concat();
        let messages: [&[u8]; 9] = [
            b"",
            b"A: 1",
            b"\r\nbody\r\n",
            b"\r\rA: 1\r\n\r\nbody",
            b"A: 1\r\n\r\nbody\r\n",
            b"A: 1\nB: 2\r\n\nbo\r\0\ndy\r",
            b"A: 1\r\n\r\r\n\r\nbody\r\r\n",
            b"A: 1\r\n \r\n\r\n\r\n\r",
            &long,
        ];
        for message in messages {
            let whole = BodyDigest::of_message(message);
            for size in [1, 2, 3, 5, 16_384] {
                let mut hasher = BodyHasher::default();
                message.chunks(size).for_each(|part| hasher.update(part));
                assert_eq!(hasher.finish(), whole, "{}", message.escape_ascii());
            }
        }
    }
}
