//! Messages, mailboxes and what identifies them.
//!
//! A value that makes no sense cannot be built: each type checks its input in one place. Pure.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

mod delivery_method;
mod digest;
mod envelope;
mod flags;
mod hasher;
mod identity;
mod logged;
mod sent_date;
mod uid;
mod uid_set;

pub use delivery_method::DeliveryMethod;
pub use digest::{BodyDigest, Digest, HeaderDigest};
pub(crate) use envelope::Envelope;
pub use flags::Flags;
pub(crate) use hasher::BodyHasher;
pub use hasher::HashedOctets;
pub use identity::{Identity, MessageId};
pub(crate) use logged::LoggedMessage;
pub use sent_date::sent_date;
pub use uid::{Uid, UidValidity};
pub use uid_set::UidSet;

/// Messages that one FETCH lists: some 5,500 octets of UIDs at most, of the 8,000 that a command
/// line may have (RFC 7162 4).
pub(crate) const FETCH_PAGE_SIZE: usize = 500;

/// INTERNALDATE: when a server received a message; `None` if the server sends none that can be
/// parsed.
pub type InternalDate = Option<DateTime<FixedOffset>>;

/// The source mailbox, as EXAMINE returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailbox {
    /// UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// UIDNEXT: the next message gets this UID or a higher one.
    pub uid_next: Uid,
    /// EXISTS: the number of messages.
    pub exists: u32,
}

/// UIDVALIDITY and UIDNEXT of a mailbox at some moment: a message that arrives later has at least this UID
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// UIDNEXT.
    pub uid_next: Uid,
}

/// Where the target holds a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePlace {
    /// The folder.
    pub folder: String,
    /// The UIDVALIDITY that `uid` belongs to.
    pub uid_validity: UidValidity,
    /// The UID.
    pub uid: Uid,
}

/// A message in a listing of the source mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its UID.
    pub uid: Uid,
    /// Its size in octets (RFC822.SIZE), which some servers estimate.
    pub size: u64,
    /// When the source received it.
    pub internal_date: InternalDate,
    /// Its flags.
    pub flags: Flags,
    /// Its id and the digest of its header.
    pub identity: Identity,
}

/// A whole message, from source to target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its UID in the source mailbox.
    pub uid: Uid,
    /// Its id.
    pub id: MessageId,
    /// When the source received it.
    pub internal_date: InternalDate,
    /// The flags that it gets at the target.
    pub flags: Flags,
    /// How it is delivered.
    pub method: DeliveryMethod,
    /// The source's octets, unchanged.
    pub octets: Vec<u8>,
}
