//! One pass: every new message, source to target.
//!
//! The engine knows two contracts, `Source` and `Target`, and what is remembered. It never
//! hears of IMAP, sockets, files or the time of day except through what it is handed.

use std::fmt;

use chrono::{DateTime, FixedOffset, Utc};

use crate::error::Result;
use crate::message::Mark;
use crate::message::{BodyDigest, Identity, Listed, Mailbox, Message, Uid, UidSet, UidValidity};
use crate::state::journal::StateStore;

mod copy;
mod dry_run;
mod engine;
mod plan;
mod retry_parked;
mod send;
mod settle;

pub use dry_run::{DryRunResult, NullTarget};

/// The mailbox that mail comes from; nothing here changes it.
///
/// An error of any method ends the pass; what concerns one message alone is a value.
pub trait Source {
    /// The UIDs that match, ascending and without doubles; UIDs that do not exist are left out.
    ///
    /// # Errors
    /// The server is unavailable, or the mailbox is not the one it was (another UIDVALIDITY).
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>>;

    /// What a listing tells of each of these messages, ascending; those that are gone are left
    /// out, and so may be those that the server does not speak of: only a search tells that a
    /// message is gone.
    ///
    /// # Errors
    /// As for [`search`](Source::search).
    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>>;

    /// The octets of each of these messages, in the order asked for.
    ///
    /// # Errors
    /// As for [`search`](Source::search). A connection that breaks during the fetch is a value
    /// ([`Fetched::Unreadable`] for what had not come), and the next call opens a new one.
    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>>;
}

/// Which messages of the source mailbox are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSearch {
    /// Those among these UIDs that exist (`UID SEARCH UID set`).
    Uids(UidSet),
    /// Those received on or after this day, in the server's own time zone (`SINCE`).
    Since(chrono::NaiveDate),
    /// Those received on this day, in the server's own time zone (`ON`).
    On(chrono::NaiveDate),
}

/// What came of asking for one message's octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// All octets of the message, as the source has them.
    Octets(Vec<u8>),
    /// The server ended the command with OK and gave no such message.
    Missing,
    /// The server said NO, gave NIL, or the connection broke: why, for a person.
    Unreadable(String),
}

/// The mailbox that mail goes to.
///
/// Opens nothing until the first call. After an error the pass ends: [`finish`](Target::finish) is
/// called, and [`settled`](Target::settled) until it is empty, whatever the error was.
pub trait Target {
    /// What the server says of itself before the first message of a pass: asked once a pass.
    ///
    /// # Errors
    /// The server is unavailable, refuses the log-in, or the account must rest.
    fn status(&mut self) -> Result<TargetStatus>;

    /// Says what the pass is about to bring: so many messages, of which the oldest listed so far
    /// is of this date. A hint: the target may prepare itself, and nothing rests on it.
    fn announce_backlog(&mut self, _backlog: usize, _oldest: Option<DateTime<FixedOffset>>) {}

    /// Which of these messages the target has already; one answer for each question, in order.
    ///
    /// # Errors
    /// As for [`terms`](Target::status). A question that the server refuses to answer is
    /// [`LookupResult::NotFound`].
    fn holds(&mut self, questions: &[LookupQuery]) -> Result<Vec<LookupResult>>;

    /// Hands a message over; blocks while too many octets are on their way.
    ///
    /// # Errors
    /// As for [`terms`](Target::status); the message was then not sent, and has no outcome.
    fn submit(&mut self, message: Message) -> Result<()>;

    /// The next outcome, if one has come; each message submitted has exactly one.
    fn settled(&mut self) -> Option<(Uid, Outcome)>;

    /// Waits until every message submitted has its outcome.
    ///
    /// # Errors
    /// As for [`terms`](Target::status); the outcomes are there all the same.
    fn finish(&mut self) -> Result<()>;
}

/// What the target says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetStatus {
    /// The largest message it takes, in octets (APPENDLIMIT, RFC 7889); `None`: it does not say.
    pub append_limit: Option<u64>,
    /// Where new mail will appear: All Mail's UIDVALIDITY and UIDNEXT, read before the first append.
    pub mark: Option<Mark>,
}

/// Does the target have this message?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupQuery {
    /// The UID at the source, for messages to a person only.
    pub uid: Uid,
    /// Id and header digest: both must match. Without id only `sent` can find it.
    pub identity: Identity,
    /// How far the search goes.
    pub scope: SearchScope,
    /// It was sent and the answer was lost: the body must match as well, and mail at or above the
    /// mark is compared even if no search finds it.
    pub uncertain: Option<UncertainAppend>,
}

/// An append whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncertainAppend {
    /// When it was about to be sent.
    pub at: DateTime<Utc>,
    /// Where it would appear.
    pub mark: Option<Mark>,
    /// The digest of its body.
    pub body: BodyDigest,
}

/// How far a search at the target goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchScope {
    /// All Mail; what the reader threw away does not count.
    AllMail,
    /// All Mail, Trash and Junk: Gmail would take a deleted mail back if it came again.
    AllMailTrashAndJunk,
}

/// Whether the target has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    /// It has it.
    Found,
    /// It has another message under the same id.
    OtherMessage,
    /// It was not found; for a server whose index is late, no proof.
    NotFound,
    /// Of a message that was sent: it may have it, and does not show what would tell.
    Unclear,
}

/// What became of a message that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target said OK, and where it put it.
    Appended(AppendUid),
    /// The target will not take it now: why. It was not stored.
    Parked(String),
    /// The target will never take it: why. It was not stored.
    Refused(String),
    /// It could not be sent to its last octet, and so was not stored: why. Nothing is known of it
    /// that was not known before.
    Unsent(String),
    /// The answer was lost: it may be stored or not. Why.
    Uncertain(String),
    /// Nothing is wrong with it and it was not stored: the pass ended before.
    Returned,
}

/// Where the target put a message (RFC 4315).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendUid {
    /// The target folder's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The message's UID there.
    pub uid: Uid,
}

/// What a pass must know besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassOptions {
    /// The source mailbox: `user@host/folder`.
    pub source: String,
    /// How many days back a first run goes.
    pub first_run_days: u32,
    /// Whether `\\Seen`, `\\Flagged` and `\\Answered` are copied.
    pub copy_flags: bool,
    /// The most octets to send in 24 hours; `None`: no limit of ours.
    pub daily_upload_limit: Option<u64>,
}

/// Whoever wants to see a pass going on.
pub trait Progress {
    /// So many messages are still to come.
    fn backlog(&mut self, messages: usize);

    /// A message needs no more thought; so many octets of it were sent.
    fn settled(&mut self, octets: u64);
}

/// Nobody looks.
impl Progress for () {
    fn backlog(&mut self, _: usize) {}

    fn settled(&mut self, _: u64) {}
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Messages that Gmail took.
    pub appended: u64,
    /// Their octets.
    pub octets: u64,
    /// Messages found at Gmail.
    pub already_there: u64,
    /// Messages that were delivered before.
    pub known: u64,
    /// Times that a message was parked.
    pub parked: u64,
    /// Messages given up.
    pub refused: u64,
}

impl PassReport {
    /// Says whether nothing worth a line happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appended + self.already_there + self.parked + self.refused == 0
    }
}

impl fmt::Display for PassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} appended, {} already there",
            self.appended, self.already_there
        )?;
        for (count, what) in [
            (self.known, "known"),
            (self.parked, "parked"),
            (self.refused, "refused"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// One pass, and what it works on.
pub struct Pass<'a> {
    /// Where mail comes from.
    pub source: &'a mut dyn Source,
    /// Where mail goes to.
    pub target: &'a mut dyn Target,
    /// What is remembered.
    pub store: &'a mut StateStore,
    /// What is wanted.
    pub settings: &'a PassOptions,
    /// Who looks on.
    pub progress: &'a mut dyn Progress,
    /// What time it is.
    pub now: &'a dyn Fn() -> DateTime<Utc>,
}

impl Pass<'_> {
    /// Copies everything new, as far as it gets. `started` is the time just before the mailbox was
    /// examined.
    ///
    /// What the pass did stands in the journal when it returns, also with an error; folding is the
    /// caller's.
    ///
    /// # Errors
    /// Whatever ends a pass before its end: a server is unavailable, refuses the log-in, the
    /// account must rest, or the state cannot be written. What settled before stays settled.
    pub fn run(self, mailbox: &Mailbox, started: DateTime<Utc>) -> Result<PassReport> {
        engine::Engine::new(self).run(mailbox, started)
    }

    /// Tells of each message that a pass would look at, and moves nothing. The store must have been
    /// loaded for a rehearsal; where Gmail cannot be asked, the target is [`NullTarget`].
    ///
    /// # Errors
    /// As for [`run`](Pass::run).
    pub fn dry_run(
        self,
        mailbox: &Mailbox,
        can_ask: bool,
        tell: &mut dyn FnMut(&Listed, DryRunResult),
    ) -> Result<()> {
        engine::Engine::new(self).rehearse(mailbox, can_ask, tell)
    }
}
