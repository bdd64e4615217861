//! The availability of Gmail, and when it may be used again after a failure.

use std::time::{Duration, Instant};

use crate::error::{Consequence, Error, RestReason};
use crate::retry::MAX_REJECTED_LOGINS;
use crate::run::timing::{Clock, Timing};
use crate::run::watch::side_health::{SideFailure, SideHealth};
use crate::state::State;

/// A log-in is retried this much later than allowed, so that it is not too early by a rounding.
const RETRY_MARGIN: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

pub(super) struct GmailHealth {
    pub health: SideHealth,
    retry_at: Option<Instant>,
}

impl GmailHealth {
    pub fn new(timing: &Timing) -> GmailHealth {
        GmailHealth {
            health: SideHealth::new("Gmail", timing),
            retry_at: None,
        }
    }

    /// When Gmail may be used again, if that is not now.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|at| *at > Instant::now())
    }

    /// Lets the next pass use Gmail.
    pub fn retry_now(&mut self) {
        self.retry_at = None;
    }

    /// Records a pass that did not fail; the next one may use Gmail.
    pub fn record_pass(&mut self, used_gmail: bool) {
        if used_gmail {
            self.health.record_success(Instant::now());
        }
        self.retry_now();
    }

    /// Records a failure, after which Gmail is not used for at least `min_delay`.
    pub fn record_failure(&mut self, error: &Error, min_delay: Duration) {
        let failure = match error.consequence() {
            Some(Consequence::LoginRejected { .. } | Consequence::TokenRejected { .. }) => {
                SideFailure::RejectsLogin
            }
            Some(Consequence::Rest(RestReason::StorageFull)) => SideFailure::IsFull,
            _ => SideFailure::NotAvailable,
        };
        let delay = self.health.record_failure(failure, error);
        self.retry_at = Some(Instant::now() + delay.max(min_delay));
    }
}

/// How long to wait before the next log-in, after Gmail rejected even a fresh access token: such
/// rejections may be temporary. `None` if the user must act, if no log-in of this account has ever
/// succeeded, or if the error is another one.
pub(super) fn login_retry_delay(error: &Error, state: &State, clock: &Clock) -> Option<Duration> {
    let Some(Consequence::LoginRejected { .. }) = error.consequence() else {
        return None;
    };
    if state.is_unsynced() {
        return None;
    }
    let rejected = state.gmail.rejected_token.as_ref()?;
    (rejected.tries < MAX_REJECTED_LOGINS)
        .then(|| clock.duration_until(rejected.retry_after + RETRY_MARGIN))
}
