//! The contracts between the engine and both sides: [`Source`], [`Target`] and their types.

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};

use crate::error::Result;
use crate::message::{
    BodyDigest, DeliveryMethod, HashedOctets, Identity, InternalDate, Listed, Mailbox, Mark,
    Message, MessagePlace, Uid, UidSet,
};
use crate::sync::{FoundPlace, LabelRequest, MessageVersion, Receipt, RejectedLabels};

/// The mailbox that messages are copied from. Read-only: no method changes it.
///
/// An error of any method ends the pass; a failure of a single message is a value.
pub trait Source {
    /// Returns the matching UIDs, ascending and without duplicates; UIDs that do not exist are left
    /// out.
    ///
    /// # Errors
    /// The server is unavailable, or UIDVALIDITY has changed.
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>>;

    /// Checks UIDNEXT against the messages that exist. Some servers announce one that a message has
    /// already; returns the lowest that no message has, if this server does.
    ///
    /// # Errors
    /// As for [`search`](Source::search).
    fn correct_uid_next(&mut self, mailbox: &Mailbox) -> Result<Option<Uid>>;

    /// Returns what a listing says about these messages, ascending by UID. A message may be missing
    /// because it is gone or because the server left it out: only a search shows that it is gone.
    ///
    /// # Errors
    /// As for [`search`](Source::search).
    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>>;

    /// Returns the octets of these messages, in the order of `uids`.
    ///
    /// # Errors
    /// As for [`search`](Source::search). A connection that breaks during the fetch is no error:
    /// the messages not yet received are [`Fetched::Unreadable`], and the next call reconnects.
    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>>;

    /// Says which groups of messages [`fetch`](Source::fetch) will be called for next, in this order. A
    /// hint: the source may ask its server for them now, and return what it answers. It must not wait;
    /// a failure shows in `fetch`, as if that had asked.
    ///
    /// Each announcement replaces the one before; groups of both, from the first one on, are asked for
    /// once. Usually the next call of any method is `fetch` of the first group. But other methods may be
    /// called before; `fetch` may ask for some of its messages only, or for others; or the pass may
    /// end. What is not fetched then is dropped, of all groups if `fetch` asks for others. Of messages
    /// that were not announced, `fetch` asks as without the hint.
    fn prefetch(&mut self, _groups: &[Vec<Uid>]) {}
}

/// Which messages of the source mailbox to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSearch {
    /// Those of these UIDs that exist (`UID SEARCH UID set`).
    Uids(UidSet),
    /// Received on or after this day, in the server's own time zone (`SINCE`).
    Since(NaiveDate),
    /// Received on this day, in the server's own time zone (`ON`).
    On(NaiveDate),
}

/// The result of fetching one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// All octets of the message, unchanged.
    Octets(HashedOctets),
    /// The server ended the command with OK and did not return the message.
    Missing,
    /// The server answered NO or NIL, or the connection broke; with the reason.
    Unreadable(String),
}

impl From<Vec<u8>> for Fetched {
    fn from(octets: Vec<u8>) -> Fetched {
        Fetched::Octets(HashedOctets::new(octets))
    }
}

/// The mailbox that messages are copied to.
///
/// Opens no connection until the first call, [`announce_backlog`](Target::announce_backlog) aside. After an error the engine ends the pass: it calls
/// [`finish`](Target::finish), and [`settled`](Target::settled) until that returns `None`.
pub trait Target {
    /// Returns what the server announces. The engine calls it before it reads the first message.
    ///
    /// # Errors
    /// The server is unavailable, rejects the login, or the account must rest.
    fn status(&mut self) -> Result<TargetStatus>;

    /// Returns what the server announces now: messages appended before are below its mark.
    ///
    /// # Errors
    /// As for [`status`](Target::status).
    fn refresh_status(&mut self) -> Result<TargetStatus>;

    /// Says that messages will probably be looked up or appended soon. A hint: the target may open its
    /// connections meanwhile. It must not wait; a failure shows in the call that needs the
    /// connection. A pass that finds nothing new does not call it.
    fn prepare(&mut self) {}

    /// Says how many messages the pass has still to copy at most, and the date of the oldest one
    /// listed so far. A hint: the target may prepare itself.
    fn announce_backlog(&mut self, _backlog: usize, _oldest: Option<DateTime<FixedOffset>>) {}

    /// Looks up messages at the target; returns one result for each query, in order.
    ///
    /// # Errors
    /// As for [`status`](Target::status). A query that the server rejects is no error but
    /// [`LookupResult::NotFound`].
    fn holds(&mut self, queries: &[LookupQuery]) -> Result<Vec<LookupResult>>;

    /// Sends a message, or queues it to be sent; blocks while too many octets are in flight.
    ///
    /// # Errors
    /// As for [`status`](Target::status); then the message was not sent and has no outcome.
    fn submit(&mut self, message: Message) -> Result<()>;

    /// Returns the next outcome that has arrived, without blocking. Each submitted message has
    /// exactly one.
    fn settled(&mut self) -> Option<(Uid, Outcome)>;

    /// Waits until every submitted message has its outcome.
    ///
    /// # Errors
    /// As for [`status`](Target::status); the outcomes are there all the same.
    fn finish(&mut self) -> Result<()>;

    /// Says that labels will probably be set soon. A hint, as [`prepare`](Target::prepare).
    fn prepare_labels(&mut self) {}

    /// Finds messages that were appended, wherever the user has moved them; returns one result for
    /// each query, in order.
    ///
    /// # Errors
    /// As for [`status`](Target::status).
    fn find_places(&mut self, queries: &[LookupQuery]) -> Result<Vec<FoundPlace>>;

    /// Returns the version of the message at each place, in order.
    ///
    /// # Errors
    /// As for [`status`](Target::status).
    fn versions(&mut self, places: &[MessagePlace]) -> Result<Vec<MessageVersion>>;

    /// Adds labels to messages; returns for each request what was not accepted, in order.
    ///
    /// # Errors
    /// As for [`status`](Target::status); then each message may have its labels or not.
    fn set_labels(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>>;
}

/// What the target announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetStatus {
    /// The largest message that it accepts by APPEND, in octets (APPENDLIMIT, RFC 7889), if announced.
    pub append_limit: Option<u64>,
    /// The largest message that it imports, in octets; `None` if it imports none.
    pub import_limit: Option<u64>,
    /// UIDVALIDITY and UIDNEXT of All Mail, read before the first append: a message appended later
    /// has at least this UID.
    pub mark: Option<Mark>,
    /// Whether messages can be given labels (X-GM-EXT-1).
    pub has_labels: bool,
}

/// Asks whether the target has a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupQuery {
    /// The UID at the source, for log lines and errors only.
    pub uid: Uid,
    /// Message-ID and header digest: both must match. Without a Message-ID only `octets` and
    /// `uncertain` can find the message.
    pub identity: Identity,
    /// Its INTERNALDATE at the source, which a copy has, too: a message that no search by Message-ID
    /// can find is searched for on this day.
    pub date: InternalDate,
    /// Set for a message without Message-ID: one of the same INTERNALDATE and of this body is the
    /// message.
    pub octets: Option<BodyDigest>,
    /// Where to search.
    pub scope: SearchScope,
    /// Set if the message is an uncertain append: then the body must match as well, and messages
    /// at or above the mark are compared even if no search finds them.
    pub uncertain: Option<UncertainAppend>,
}

/// An append whose response was lost: the target may have stored the message or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncertainAppend {
    /// The time of its intent, just before it was sent.
    pub at: DateTime<Utc>,
    /// The lowest UID that it can have.
    pub mark: Option<Mark>,
    /// How it was sent: an imported message may be in Junk.
    pub method: DeliveryMethod,
    /// The digest of its body.
    pub body: BodyDigest,
}

/// Where a lookup searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchScope {
    /// All Mail: a message that the user deleted is not found.
    AllMail,
    /// All Mail, Trash and Junk: Gmail would move a deleted message back to the inbox if it were
    /// appended again.
    AllMailTrashAndJunk,
}

/// Whether the target has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    /// It has the message.
    Found,
    /// It has another message under the same Message-ID.
    OtherMessage,
    /// The search did not find it. No proof that it is absent: the search index may lag.
    NotFound,
    /// Only for an uncertain append: a candidate exists, but the server does not return what is
    /// needed to compare it.
    Unclear,
}

/// The result of a submitted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target stored the message.
    Delivered(Receipt),
    /// The target did not store it, for this reason; a later attempt may succeed.
    Parked(String),
    /// The target did not store it and never will, for this reason.
    Refused(String),
    /// The message was not sent to its last octet, for this reason, and so was not stored. If an
    /// earlier append of it is uncertain, that one still is.
    Unsent(String),
    /// The response was lost, for this reason: the message may be stored or not.
    Uncertain(String),
    /// The pass ended before the message was stored; it was not.
    Returned(Uploaded),
    /// The target did not store the message, which does not suit the method; it may be delivered by
    /// APPEND.
    NotImportable {
        /// With its octets.
        message: Box<Message>,
        /// What was sent of it.
        uploaded: Uploaded,
        /// The reason.
        why: String,
    },
}

/// Whether octets of a message were sent, so that the target may count them as uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// None that the target counts.
    Nothing,
    /// Some, or all.
    Octets,
}

/// Receives the progress of a pass, for display.
pub trait Progress {
    /// The pass has this many messages still to copy at most.
    fn backlog(&mut self, messages: usize);

    /// A message is settled or parked; `octets` of it were sent.
    fn settled(&mut self, octets: u64);
}

/// Displays nothing.
impl Progress for () {
    fn backlog(&mut self, _: usize) {}

    fn settled(&mut self, _: u64) {}
}
