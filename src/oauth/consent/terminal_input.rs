//! Lines from the terminal.

use std::io::{self, BufRead, Read};

/// An address that Google sends a browser to is a few hundred octets long.
const LONGEST: u64 = 16 * 1024;

/// The next line; none at the end. More than the longest is cut into several.
pub(super) fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut octets = Vec::new();
    let length = input
        .by_ref()
        .take(LONGEST)
        .read_until(b'\n', &mut octets)?;
    Ok((length > 0).then(|| String::from_utf8_lossy(&octets).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_and_memory_does_not_grow() {
        let mut input = io::Cursor::new([b"a\r\n\xff".as_slice(), &b"x".repeat(20_000)].concat());
        assert_eq!(line(&mut input).unwrap().unwrap(), "a\r\n");
        assert_eq!(
            line(&mut input).unwrap().unwrap().chars().count(),
            16 * 1024
        );
        assert!(line(&mut input).unwrap().is_some());
        assert_eq!(line(&mut input).unwrap(), None);
    }
}
