//! What the engine asks a [`Target`](crate::sync::Target) about labels, and what that answers.

use crate::message::MessagePlace;

/// Where a message that was appended is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundPlace {
    /// Here.
    At(MessagePlace),
    /// Nowhere, or in Trash or Junk.
    Absent,
    /// Nothing shows which of several messages it is.
    Ambiguous,
}

/// The version of a message: it is another one whenever the message's labels were changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageVersion {
    /// This one; only equality has a meaning. Empty if the target has none.
    Is(String),
    /// No such message is at this place.
    Gone,
    /// The place holds for no message any more: UIDVALIDITY has changed.
    Invalid,
}

/// Labels to be added to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRequest {
    /// Where the message is.
    pub place: MessagePlace,
    /// The names. A label that does not exist is created.
    pub labels: Vec<String>,
}

/// The labels of a request that the target does not accept, and will not accept later; empty if the
/// message has all of them.
pub type RejectedLabels = Vec<RejectedLabel>;

/// A label that the target does not accept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RejectedLabel {
    /// Its name.
    pub label: String,
    /// Why.
    pub why: String,
}
