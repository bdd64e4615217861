//! What is remembered between runs: the cursor, parked messages, delivered identities, uploads.
//!
//! `State` is a value. Only an `Event` changes it, and each event is a journal line before
//! anything relies on it. `parked` is the one place for unfinished messages: an intent, too, stands
//! there until its outcome is known.
//!
//! Uses the message types and the retry schedules. Only `storage` and `lock` touch the disk.

mod account;
mod event;
mod folder;
/// The state on disk: the snapshot and its journal.
pub mod journal;
mod known;
/// The lock file: one run per state file.
pub mod lock;
mod model;
/// The state as another process sees it that must not disturb a run.
pub(crate) mod observation;
mod open_intents;
mod owed_labels;
mod recent_deliveries;
mod snapshot;
mod source_logins;
/// The files of the state.
pub mod storage;
/// Octets uploaded to Gmail, and rests of the account.
pub(crate) mod upload_quota;

pub use account::AccountNames;
pub use event::Event;
pub use folder::FolderState;
pub(crate) use known::KEEP_IDS;
pub use known::{Knowledge, PreviousUid};
pub use model::{
    Cursor, DatePass, GmailState, LoggedWarnings, ParkedAt, ParkedMessage, RefusedMessage,
    RejectedToken, SentMark, State,
};
pub use owed_labels::{OwedEntry, OwedLabels, PromisedLabels};
pub use source_logins::SourceState;
