//! Responses (RFC 3501 7). Pure.

use std::fmt;

use imap_proto::Response;
pub use imap_proto::Status as StatusCondition;

use crate::message::HashedOctets;
use crate::untrusted::Untrusted;

/// Responses as the parser gets them: sanitized, with the bodies of messages apart.
#[derive(Debug, Default, Clone)]
pub struct Responses {
    /// What the parser reads; empty literals stand for the bodies.
    pub(super) octets: Vec<u8>,
    /// The bodies, in the order of these literals.
    pub(super) bodies: Vec<HashedOctets>,
}

impl Responses {
    /// Parses the responses, up to the first one that the parser rejects.
    pub fn iter(&self) -> impl Iterator<Item = Response<'_>> {
        let mut rest = self.octets.as_slice();
        std::iter::from_fn(move || {
            let (after, response) = imap_proto::parser::parse_response(rest).ok()?;
            rest = after;
            Some(response)
        })
    }

    /// Adds the responses that came later.
    pub(crate) fn append(&mut self, mut later: Responses) {
        self.octets.append(&mut later.octets);
        self.bodies.append(&mut later.bodies);
    }

    /// Says whether this is the server's request to continue a command (RFC 3501 7.5).
    pub(super) fn is_continuation(&self) -> bool {
        self.octets.starts_with(b"+")
    }

    pub(super) fn is_untagged(&self) -> bool {
        self.octets.starts_with(b"*")
    }

    /// The text of the status response that is the last one.
    pub(super) fn status_text(&self) -> ResponseText {
        let mut lines = self.octets.trim_ascii_end().rsplit(|octet| *octet == b'\n');
        let last = lines.next().and_then(status_response);
        last.map(|(_, text)| text).unwrap_or_default()
    }

    /// The tag of a tagged response.
    pub(super) fn tag(&self) -> Option<&str> {
        if self.is_untagged() || self.is_continuation() {
            return None;
        }
        let end = self.octets.iter().position(|octet| *octet == b' ')?;
        std::str::from_utf8(self.octets.get(..end)?).ok()
    }
}

#[cfg(test)]
impl From<&[u8]> for Responses {
    fn from(octets: &[u8]) -> Responses {
        Responses {
            octets: octets.to_vec(),
            bodies: Vec::new(),
        }
    }
}

/// The text of a status response: a response code in brackets, and a text for the user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseText {
    /// The response code with its arguments, without brackets: `OVERQUOTA`, `APPENDUID 1 5`. The
    /// first word is in upper case.
    pub code: Option<String>,
    /// The text after the code.
    pub text: String,
}

impl ResponseText {
    /// Parses what follows the word OK, NO, BAD or BYE.
    pub(crate) fn parse(text: &[u8]) -> ResponseText {
        let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
        let Some((code, after)) = text.strip_prefix('[').and_then(|code| code.split_once(']'))
        else {
            return ResponseText { code: None, text };
        };
        let (word, arguments) = code.split_once(' ').unwrap_or((code, ""));
        let code = format!("{} {arguments}", word.to_ascii_uppercase());
        ResponseText {
            code: Some(code.trim_end().to_owned()),
            text: after.trim_start().to_owned(),
        }
    }

    /// The number after this code.
    pub(crate) fn code_number(&self, word: &str) -> Option<u64> {
        let arguments = self.code.as_deref()?.strip_prefix(word)?;
        arguments.trim().parse().ok()
    }

    /// Says whether the code is this one, with any arguments.
    pub(crate) fn has_code(&self, word: &str) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        code.split(' ').next() == Some(word)
    }
}

impl fmt::Display for ResponseText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Untrusted::new(&self.text);
        match &self.code {
            Some(code) => write!(f, "[{}] {text}", Untrusted::new(code)),
            None => text.fmt(f),
        }
    }
}

/// Parses a status response, tagged or untagged; none if the line is another response.
#[must_use]
pub fn status_response(line: &[u8]) -> Option<(StatusCondition, ResponseText)> {
    let line = line.trim_ascii_end();
    let tag = line.iter().position(|octet| *octet == b' ')?;
    let rest = line.get(tag + 1..)?;
    let end = rest.iter().position(|octet| *octet == b' ');
    let (word, text) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
    let condition = match word.to_ascii_uppercase().as_slice() {
        b"OK" => StatusCondition::Ok,
        b"NO" => StatusCondition::No,
        b"BAD" => StatusCondition::Bad,
        b"BYE" => StatusCondition::Bye,
        b"PREAUTH" => StatusCondition::PreAuth,
        _ => return None,
    };
    Some((condition, ResponseText::parse(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_response_is_parsed_into_condition_code_and_text() {
        let cases = [
            ("a1 OK done", Some((StatusCondition::Ok, None, "done"))),
            (
                "* bye [unavailable] later",
                Some((StatusCondition::Bye, Some("UNAVAILABLE"), "later")),
            ),
            (
                "a1 OK [APPENDUID 1 5](Success)",
                Some((StatusCondition::Ok, Some("APPENDUID 1 5"), "(Success)")),
            ),
            ("a1 NO", Some((StatusCondition::No, None, ""))),
            ("a1 BAD [open", Some((StatusCondition::Bad, None, "[open"))),
            ("* 5 EXISTS", None),
            ("+ go", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(condition, code, text): (_, Option<&str>, &str)| {
                let (code, text) = (code.map(str::to_owned), text.to_owned());
                (condition, ResponseText { code, text })
            });
            assert_eq!(status_response(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_response_text_is_escaped_for_display() {
        let text = ResponseText::parse(b"[ALERT] a\x1b[2J\xff");
        assert_eq!(text.to_string(), "[ALERT] a\\u{1b}[2J\u{fffd}");
        assert!(text.has_code("ALERT") && !text.has_code("A"));
    }
}
