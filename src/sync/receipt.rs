//! The target's receipt for a message that it has stored.

use std::fmt;

use crate::message::{MessagePlace, Uid, UidValidity};

/// The target's receipt for a message that it has stored. Only the delivery that gave it knows more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// The answer to an APPEND.
    Appended(AppendUid),
    /// The answer to an import.
    Imported(ImportedMessage),
}

/// A message that Gmail has imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedMessage {
    /// Its id in the Gmail API: X-GM-MSGID in hexadecimal (GMAIL.md 4).
    pub id: String,
    /// Whether Gmail has classified it as spam.
    pub is_spam: bool,
}

/// Where the target stored a message (APPENDUID, RFC 4315).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendUid {
    /// UIDVALIDITY of the target folder.
    pub uid_validity: UidValidity,
    /// The message's UID in that folder.
    pub uid: Uid,
}

impl AppendUid {
    /// Where the message is, if it was appended to this folder.
    pub(super) fn place_in(self, folder: &str) -> MessagePlace {
        MessagePlace {
            folder: folder.to_owned(),
            uid_validity: self.uid_validity,
            uid: self.uid,
        }
    }
}

/// For a log line: `as uid 88123`.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Receipt::Appended(append) => write!(f, "as uid {}", append.uid),
            Receipt::Imported(ImportedMessage { id, is_spam: false }) => write!(f, "as {id}"),
            Receipt::Imported(ImportedMessage { id, is_spam: true }) => {
                write!(f, "as {id}, which Gmail takes for spam")
            }
        }
    }
}
