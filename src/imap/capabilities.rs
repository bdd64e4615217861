//! What a server says that it can do.

use crate::imap::Transcript;

/// What the server says that it can do (RFC 3501 7.2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<String>);

impl Capabilities {
    /// What the server told of late, asked or unasked.
    pub(crate) fn from_transcript(witness: &Transcript) -> Option<Capabilities> {
        let words = witness.capabilities()?;
        Some(Capabilities::parse(&words))
    }

    fn parse(words: &str) -> Capabilities {
        Capabilities(words.split(' ').map(str::to_ascii_uppercase).collect())
    }

    /// Says whether the server can do this; the name in upper case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    /// The largest message it takes by APPEND (RFC 7889), if it says.
    #[must_use]
    pub fn append_limit(&self) -> Option<u64> {
        let mut limits = self
            .0
            .iter()
            .filter_map(|name| name.strip_prefix("APPENDLIMIT="));
        limits.find_map(|limit| limit.parse().ok())
    }
}
