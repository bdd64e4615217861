//! Text to and lines from the terminal at which the user runs `auth`.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

/// A redirected address is a few hundred octets long.
const MAX_LINE_LENGTH: u64 = 16 * 1024;

/// Prints text and flushes it, because a prompt has no line end. A reader that went away is no
/// error: the browser can still complete the consent.
pub(super) fn say(text: impl fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Reads the next line; `None` at the end of the input. A line above the maximum length is returned
/// in parts.
pub(super) fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut octets = Vec::new();
    let length = input
        .by_ref()
        .take(MAX_LINE_LENGTH)
        .read_until(b'\n', &mut octets)?;
    Ok((length > 0).then(|| String::from_utf8_lossy(&octets).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_end_or_at_the_maximum_length() {
        let mut input = io::Cursor::new([b"a\r\n\xff".as_slice(), &b"x".repeat(20_000)].concat());
        assert_eq!(read_line(&mut input).unwrap().unwrap(), "a\r\n");
        assert_eq!(
            read_line(&mut input).unwrap().unwrap().chars().count(),
            16 * 1024
        );
        assert!(read_line(&mut input).unwrap().is_some());
        assert_eq!(read_line(&mut input).unwrap(), None);
    }
}
