//! Strings in responses (RFC 3501 4.3).

/// A quoted string, for text that needs no literal: a name, a label.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A literal.
pub(crate) fn literal(text: &[u8]) -> Vec<u8> {
    [format!("{{{}}}\r\n", text.len()).as_bytes(), text].concat()
}

/// A quoted string where that is possible, else a literal.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    let can_be_quoted = |octet: &u8| matches!(octet, 1..=127) && !b"\r\n".contains(octet);
    match std::str::from_utf8(text) {
        Ok(ascii) if text.iter().all(can_be_quoted) => quoted(ascii).into_bytes(),
        _ => literal(text),
    }
}
