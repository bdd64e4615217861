//! The ways in which a message gets to Gmail.

use serde::{Deserialize, Serialize};

/// How a message is delivered to Gmail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMethod {
    /// IMAP's APPEND: Gmail stores the message as it is, with its date (GMAIL.md 3.5).
    #[default]
    Append,
    /// The Gmail API's `users.messages.import`: Gmail scans and classifies the message, adds trace fields,
    /// and dates it itself (GMAIL.md 6.2).
    Import,
}

impl DeliveryMethod {
    /// Whether it is [`Append`](DeliveryMethod::Append), which the state need not name.
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    pub(crate) fn is_append(&self) -> bool {
        *self == DeliveryMethod::Append
    }
}
