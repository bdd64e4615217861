//! Quoted strings in commands (RFC 3501 4.3). Pure.

use std::fmt;

use crate::imap::utf7::encode_utf7;

/// Quotes a text; none if it is not printable ASCII. The text may come from a stranger's message,
/// and a line end in it would start a command of his.
pub(crate) fn quoted(text: &str) -> Option<String> {
    let is_printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    let escaped = || text.replace('\\', "\\\\").replace('"', "\\\"");
    is_printable.then(|| format!("\"{}\"", escaped()))
}

/// The name of a mailbox as commands hold it: encoded (RFC 3501 5.1.3) and quoted. It is the `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxName(String);

impl MailboxName {
    /// Encodes and quotes a name; none if it holds CR, LF or NUL.
    #[must_use]
    pub fn new(name: &str) -> Option<MailboxName> {
        let is_valid = !name.contains(['\r', '\n', '\0']);
        quoted(&encode_utf7(name))
            .filter(|_| is_valid)
            .map(MailboxName)
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailbox_names_are_quoted_and_cannot_end_the_command() {
        let cases = [
            ("", Some("\"\"")),
            ("a b", Some("\"a b\"")),
            ("a\"b\\c", Some("\"a\\\"b\\\\c\"")),
            ("a\r\nb1 LOGOUT", None),
            ("a\nb", None),
            ("a\0b", None),
        ];
        for (name, expected) in cases {
            let quoted = MailboxName::new(name).map(|name| name.to_string());
            assert_eq!(quoted.as_deref(), expected, "{name:?}");
        }
    }

    #[test]
    fn only_printable_ascii_is_quoted() {
        assert_eq!(quoted("a\"b\\c d").as_deref(), Some("\"a\\\"b\\\\c d\""));
        for text in [
            "<gr\u{fc}n@x>",
            "<a\u{1b}@x>",
            "<a\u{7f}@x>",
            "<a\u{0}@x>",
            "<a\u{85}b>",
            "a\r\nb",
        ] {
            assert!(quoted(text).is_none(), "{text:?}");
        }
    }
}
