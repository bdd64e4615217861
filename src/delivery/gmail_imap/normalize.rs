//! The two changes to a message's octets that let Gmail accept it. Pure.

/// Removes NUL octets and returns their number. RFC 3501 forbids them in a literal, and Gmail ends
/// the connection for one (GMAIL.md 3.2).
pub(super) fn remove_nuls(octets: &mut Vec<u8>) -> usize {
    let before = octets.len();
    octets.retain(|octet| *octet != 0);
    before - octets.len()
}

/// Whether any line ends in LF alone.
pub(super) fn has_bare_line_ends(octets: &[u8]) -> bool {
    bare_line_ends(octets) > 0
}

/// The octets with CRLF at the end of every line (RFC 5322 2.3).
pub(super) fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut normalized = Vec::with_capacity(octets.len() + bare_line_ends(octets));
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) if !text.ends_with(b"\r") => {
                normalized.extend_from_slice(text);
                normalized.extend_from_slice(b"\r\n");
            }
            _ => normalized.extend_from_slice(line),
        }
    }
    normalized
}

fn bare_line_ends(octets: &[u8]) -> usize {
    octets
        .split_inclusive(|octet| *octet == b'\n')
        .filter(|line| line.ends_with(b"\n") && !line.ends_with(b"\r\n"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nuls_are_removed_and_counted() {
        let mut octets = b"\0a\0\0b\0".to_vec();
        assert_eq!(remove_nuls(&mut octets), 4);
        assert_eq!(octets, b"ab");
        assert_eq!(remove_nuls(&mut octets), 0);
    }

    #[test]
    fn every_line_ends_in_crlf_and_nothing_else_changes() {
        for (octets, expected) in [
            (&b""[..], &b""[..]),
            (b"\n", b"\r\n"),
            (b"a\r\nb\nc\n\nd", b"a\r\nb\r\nc\r\n\r\nd"),
            (b"a\rb\r\r\n", b"a\rb\r\r\n"),
            (b"a\r", b"a\r"),
        ] {
            assert_eq!(with_crlf(octets), expected);
            assert_eq!(has_bare_line_ends(octets), octets != expected);
        }
    }
}
