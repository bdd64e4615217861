//! The capabilities that a server announces.

use crate::imap::Transcript;

/// The capabilities that the server announces (RFC 3501 7.2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<String>);

impl Capabilities {
    /// The last capabilities that the server sent, asked for or not.
    pub(super) fn from_transcript(transcript: &Transcript) -> Option<Capabilities> {
        let words = transcript.capabilities()?;
        Some(Capabilities(
            words.split(' ').map(str::to_ascii_uppercase).collect(),
        ))
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
