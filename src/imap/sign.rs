//! Tables of response codes and texts: what a server's response means.

use crate::imap::ResponseText;

/// What a response is recognized by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sign {
    /// The response code.
    Code(&'static str),
    /// A part of the text, in lower case.
    Text(&'static str),
}

/// The meaning in the first row of a table that matches.
pub(crate) fn find_meaning<T: Copy>(table: &[(&[Sign], T)], text: &ResponseText) -> Option<T> {
    let row = table.iter().find(|(signs, _)| has_sign(text, signs));
    row.map(|(_, meaning)| *meaning)
}

/// Says whether one of the signs matches.
pub(crate) fn has_sign(text: &ResponseText, signs: &[Sign]) -> bool {
    let lower = text.text.to_ascii_lowercase();
    signs.iter().any(|sign| match sign {
        Sign::Code(code) => text.has_code(code),
        Sign::Text(part) => lower.contains(part),
    })
}
