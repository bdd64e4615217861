//! What a one-shot run and `--watch` do with an account; both use `account_sync`.
//!
//! May use the engine (`sync`), both servers (`source`, `delivery`), and every layer below.

pub(crate) mod account_files;
pub(crate) mod account_sync;
pub(crate) mod check;
pub(crate) mod context;
pub(crate) mod failure_log_throttle;
pub(crate) mod once;
pub(crate) mod status;
pub mod timing;
pub(crate) mod watch;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::Result;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunMode {
    /// One pass.
    Once,
    /// Reports what a pass would do, and writes nothing.
    DryRun,
    /// Passes, with a wait for new mail after each.
    Watch(WatchOptions),
}

/// What a person asks of one run beyond what is new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OneTimeOptions {
    /// The configuration may name the account of the state by other names.
    pub is_same_account: bool,
    /// Also copy what was received since this time and is not at Gmail.
    pub since: Option<DateTime<Utc>>,
}

impl OneTimeOptions {
    /// Warns that the run ended before it could do what was asked: no later run knows of it.
    pub(crate) fn warn_of_no_effect(self) {
        let (options, pronoun) = match (self.since.is_some(), self.is_same_account) {
            (false, false) => return,
            (true, false) => ("--since", "it"),
            (false, true) => ("--same-account", "it"),
            (true, true) => ("--since and --same-account", "them"),
        };
        log::warn!("{options} had no effect; repeat {pronoun} in a later run");
    }
}

/// How `--watch` waits for new mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WatchOptions {
    /// Whether to use IDLE where the server offers it.
    pub use_idle: bool,
    /// The time between polls where IDLE is not used.
    pub poll_interval: Duration,
}

/// The result of an operation and of a state change that must happen even after the operation
/// failed. If both failed: the more severe failure; the second one is logged.
fn and_also<T>(result: Result<T>, state_change: Result<()>) -> Result<T> {
    match (result, state_change) {
        (Err(error), Err(other)) => {
            log::error!("{other}");
            Err(error.more_severe(other))
        }
        (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
        (Ok(value), Ok(())) => Ok(value),
    }
}
