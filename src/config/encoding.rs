//! The encoding of text files: UTF-8, with or without a byte order mark. Editors and shells on Windows
//! write UTF-16. Pure.

/// What to do about a file in another encoding.
pub(crate) const SAVE_AS_UTF8: &str = "save it as UTF-8";

/// Removes the byte order mark. UTF-16 is an error that names it.
pub(crate) fn check_encoding(mut octets: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    match octets.as_slice() {
        [0xff, 0xfe, ..] => return Err(LITTLE_ENDIAN),
        [0xfe, 0xff, ..] => return Err(BIG_ENDIAN),
        [0xef, 0xbb, 0xbf, ..] => drop(octets.drain(..3)),
        _ => {}
    }
    // Without a mark: in UTF-16 one octet of each ASCII character is NUL, always the same one.
    let nuls_from = |first: usize| {
        let halves = octets.iter().skip(first).step_by(2);
        halves.filter(|octet| **octet == 0).count()
    };
    let is_half = |nuls: usize| nuls > 0 && nuls * 4 >= octets.len();
    match (nuls_from(0), nuls_from(1)) {
        (0, low) if is_half(low) => Err(LITTLE_ENDIAN),
        (high, 0) if is_half(high) => Err(BIG_ENDIAN),
        _ => Ok(octets),
    }
}

const LITTLE_ENDIAN: &str = "it is encoded in UTF-16 (little-endian), not in UTF-8";
const BIG_ENDIAN: &str = "it is encoded in UTF-16 (big-endian), not in UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn utf_16_is_recognized_with_and_without_a_mark() {
        for text in ["{\"a\": \"ä\"}", "s3cret", "\u{feff}пароль", "\u{feff}"] {
            let little = encode(text, u16::to_le_bytes);
            assert_eq!(check_encoding(little), Err(LITTLE_ENDIAN), "{text}");
            let big = encode(text, u16::to_be_bytes);
            assert_eq!(check_encoding(big), Err(BIG_ENDIAN), "{text}");
        }
        // A first line: the second octet of its line end is missing.
        assert_eq!(check_encoding(b"a\0b\0\r\0".into()), Err(LITTLE_ENDIAN));
        assert_eq!(check_encoding(b"\0a\0b\0\r\0".into()), Err(BIG_ENDIAN));
    }

    #[test]
    fn other_octets_are_unchanged_but_for_the_mark_of_utf_8() {
        let cases: [&[u8]; 6] = [
            b"",
            b"a",
            "пароль".as_bytes(),
            b"s\xe9",
            b"a\0bc\0d",
            b"one\0NUL",
        ];
        for octets in cases {
            assert_eq!(check_encoding(octets.to_vec()).as_deref(), Ok(octets));
            let marked = [b"\xef\xbb\xbf", octets].concat();
            assert_eq!(check_encoding(marked).as_deref(), Ok(octets));
        }
    }
}
