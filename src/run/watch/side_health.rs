//! The availability of one side, the source or Gmail, as `--watch` sees and logs it.

use std::fmt;
use std::time::{Duration, Instant};

use log::Level;

use crate::error::{Error, ErrorKind};
use crate::retry::Backoff;
use crate::run::failure_log_throttle::FailureLogThrottle;
use crate::run::timing::Timing;
use crate::timestamp::format_duration;

/// How a side fails; `Display` is a predicate to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SideFailure {
    NotAvailable,
    RejectsLogin,
    /// Only the user can change that.
    IsFull,
}

impl fmt::Display for SideFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SideFailure::NotAvailable => "is not available",
            SideFailure::RejectsLogin => "rejects the log-in",
            SideFailure::IsFull => "is full",
        })
    }
}

pub(super) struct SideHealth {
    name: &'static str,
    pub backoff: Backoff,
    log_throttle: FailureLogThrottle,
    /// The last failure.
    failure: SideFailure,
    /// Whether a log-in has succeeded, which alone does not end an outage.
    pub has_worked: bool,
}

impl SideHealth {
    pub fn new(name: &'static str, timing: &Timing) -> SideHealth {
        SideHealth {
            name,
            backoff: Backoff::new(timing.first_retry_delay, timing.max_retry_delay),
            log_throttle: FailureLogThrottle::default(),
            failure: SideFailure::NotAvailable,
            has_worked: false,
        }
    }

    /// Records and logs a failure; returns the delay before the retry.
    pub fn record_failure(&mut self, failure: SideFailure, why: impl fmt::Display) -> Duration {
        self.log_failure(failure, &why);
        self.backoff.next_delay()
    }

    /// Logs a failure; one that follows another is a step.
    pub fn log_failure(&mut self, failure: SideFailure, why: impl fmt::Display) {
        self.failure = failure;
        if self.log_throttle.record_failure(Instant::now()) {
            let level = match failure {
                SideFailure::NotAvailable | SideFailure::RejectsLogin => Level::Warn,
                SideFailure::IsFull => Level::Error,
            };
            log::log!(level, "{} {failure}; will retry: {why}", self.name);
        } else {
            log::debug!("{}: {why}", self.name);
        }
    }

    /// Records that the side works since a time that may have passed; ends the outage, if there is one.
    pub fn record_success(&mut self, since: Instant) {
        self.has_worked = true;
        self.backoff.reset();
        if let Some(lasted) = self.log_throttle.record_recovery(since) {
            let lasted = format_duration(lasted);
            log::info!("{} is available again, after {lasted}", self.name);
        }
    }

    pub fn is_failing(&self) -> bool {
        self.log_throttle.is_failing()
    }

    /// The failure that lasts, for `systemctl status`: `Gmail is not available`.
    pub fn ongoing_failure(&self) -> Option<String> {
        let failure = self.failure;
        self.is_failing()
            .then(|| format!("{} {failure}", self.name))
    }

    /// Whether a failure ends `--watch`. A configuration that never worked is the user's mistake; if
    /// it has worked, the server may have changed for a while.
    pub fn is_fatal(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Disk | ErrorKind::Internal => true,
            ErrorKind::Config | ErrorKind::Usage => !self.has_worked && !error.is_retryable(),
            ErrorKind::Resting | ErrorKind::Unavailable | ErrorKind::Rejected => false,
        }
    }
}
