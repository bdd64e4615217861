//! How one side is: since when it fails, when it is tried again, and what a person reads of it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::retry::{Backoff, Jitter};
use crate::run::failure_log_throttle::FailureLogThrottle;
use crate::run::timing::Timing;
use crate::timestamp::format_duration;

/// How one side is.
pub(super) struct SideHealth {
    name: &'static str,
    backoff: Backoff,
    log_throttle: FailureLogThrottle,
    has_worked: bool,
}

impl SideHealth {
    pub fn new(name: &'static str, pace: &Timing) -> SideHealth {
        SideHealth {
            name,
            backoff: Backoff::new(pace.first_retry_delay, pace.max_retry_delay),
            log_throttle: FailureLogThrottle::default(),
            has_worked: false,
        }
    }

    /// It failed; gives how long to leave it alone.
    pub fn record_failure(&mut self, why: impl fmt::Display) -> Duration {
        self.log_failure(&why);
        self.next_delay()
    }

    /// Tells of a failure, unless it was told of a moment ago.
    pub fn log_failure(&mut self, why: impl fmt::Display) {
        if self.log_throttle.record_failure(Instant::now()) {
            log::warn!("{} is not available; it is tried again: {why}", self.name);
        } else {
            log::debug!("{}: {why}", self.name);
        }
    }

    /// How long to leave it alone after another failure.
    pub fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay(Jitter::random())
    }

    /// It got something done: what fails next fails for the first time.
    pub fn reset_backoff(&mut self) {
        self.backoff.reset();
    }

    /// It let us in, whatever comes of it.
    pub fn record_login(&mut self) {
        self.has_worked = true;
    }

    /// It works.
    pub fn record_success(&mut self) {
        self.record_login();
        self.record_success_since(Instant::now());
    }

    /// It has worked since then, as is known now.
    pub fn record_success_since(&mut self, since: Instant) {
        if let Some(lasted) = self.log_throttle.record_recovery(since) {
            log::info!(
                "{} is available again, after {}",
                self.name,
                format_duration(lasted)
            );
        }
    }

    /// Says whether it ever worked: what is wrong from the beginning is a mistake of a person's.
    pub fn has_worked(&self) -> bool {
        self.has_worked
    }

    /// Says whether it fails at present.
    pub fn is_failing(&self) -> bool {
        self.log_throttle.is_failing()
    }
}
