//! The capabilities that a server announces.

use crate::imap::response::status_response;

/// The capabilities that the server announces (RFC 3501 7.2.1), in upper case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<String>);

impl Capabilities {
    /// The capabilities in a received line, as data or as a response code.
    pub(super) fn in_line(line: &[u8]) -> Option<Capabilities> {
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        let code = status_response(line.as_bytes()).and_then(|(_, text)| text.code);
        let data = code.as_deref().or_else(|| line.strip_prefix("* "))?;
        let words = data.strip_prefix("CAPABILITY ")?;
        Some(Capabilities(words.split(' ').map(str::to_owned).collect()))
    }

    /// Says whether the server announces this capability; the name in upper case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    /// The largest message that the server takes by APPEND (RFC 7889), if announced.
    pub(crate) fn append_limit(&self) -> Option<u64> {
        let mut limits = self
            .0
            .iter()
            .filter_map(|name| name.strip_prefix("APPENDLIMIT="));
        limits.find_map(|limit| limit.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_data_and_as_a_response_code() {
        let cases: [(&str, Option<&str>); 7] = [
            ("* CAPABILITY IMAP4rev1 IDLE", Some("IMAP4rev1 IDLE")),
            ("* capability IMAP4rev1", Some("IMAP4rev1")),
            ("* OK [CAPABILITY IMAP4rev1] hello", Some("IMAP4rev1")),
            ("a1 OK [CAPABILITY IMAP4rev1] in", Some("IMAP4rev1")),
            ("* OK [ALERT] see [CAPABILITY X]", None),
            ("* LIST () NIL [CAPABILITY X]", None),
            ("* CAPABILITYX Y", None),
        ];
        for (line, expected) in cases {
            let found = Capabilities::in_line(line.as_bytes()).map(|found| found.0.join(" "));
            assert_eq!(found, expected.map(str::to_ascii_uppercase), "{line}");
        }
    }
}
