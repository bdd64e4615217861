//! The engine: one pass copies every new message from the source to the target.
//!
//! It performs no I/O of its own: it uses the traits `Source` and `Target`, the state, and the
//! clock that it is given, and knows nothing of IMAP, sockets or files. It is single-threaded and
//! deterministic; a target may send over several connections, and returns only outcomes.
//!
//! Calls go one way: `pass` lists the steps; `copy` and `dry_run` do with a page of messages what
//! the pass is for; `fetch`, `deliver`, `retry_parked`, `lookup`, `look_ahead`, `label_policy` and `labels` do one thing
//! each; below them are the `ledger`, which alone records events, and the pure parts: `plan`, `identity`, `group`,
//! `in_flight`, `failures_in_a_row` and `cursor`.

mod action;
mod copy;
mod cursor;
mod daily_limit;
mod deliver;
mod dry_run;
mod failures_in_a_row;
mod fetch;
mod group;
mod identity;
mod in_flight;
mod label_policy;
mod labels;
mod ledger;
mod look_ahead;
mod lookup;
mod method;
mod other_folders;
mod outcome;
mod pass;
mod plan;
mod prepared;
mod receipt;
mod report;
mod retry_parked;
mod same_account;
mod same_octets;
mod target_labels;
mod traits;

pub use dry_run::{DryRunResult, DryRunTotal, NullTarget};
pub use method::ImportPolicy;
pub use pass::{Pass, PassOptions};
pub(crate) use plan::has_work;
pub use plan::new_since;
pub use receipt::{AppendUid, ImportedMessage, Receipt};
pub use report::{CompletedPass, PassReport};
pub use same_account::{is_same_gmail_account, is_same_mailbox};
pub use target_labels::{FoundPlace, LabelRequest, MessageVersion, RejectedLabel, RejectedLabels};
pub use traits::{
    Fetched, LookupQuery, LookupResult, Outcome, Progress, SearchScope, Source, SourceSearch,
    Target, TargetStatus, UncertainAppend, Uploaded,
};
