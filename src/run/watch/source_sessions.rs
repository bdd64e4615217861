//! The sessions with the source: which of them show that the source works.

use std::fmt;
use std::time::{Duration, Instant};

use crate::run::timing::Timing;
use crate::run::watch::side_health::{SideFailure, SideHealth};

/// How many sessions in a row may break early before that is an outage: servers restart.
const MAX_SHORT_SESSIONS: u32 = 2;

pub(super) struct SourceSessions {
    pub health: SideHealth,
    /// A session that lasts this long is stable: the source works, however the session ends.
    stable_session: Duration,
    open_since: Option<Instant>,
    /// How many sessions in a row broke before they were stable.
    short_sessions: u32,
}

impl SourceSessions {
    pub fn new(timing: &Timing) -> SourceSessions {
        SourceSessions {
            health: SideHealth::new("the source", timing),
            stable_session: timing.stable_session,
            open_since: None,
            short_sessions: 0,
        }
    }

    /// Records a check: a session is open.
    pub fn record_check(&mut self) {
        self.open_since.get_or_insert_with(Instant::now);
        self.health.has_worked = true;
    }

    /// Records that the source works, because it returned messages or its session is stable. A log-in
    /// alone does not show that: a server may accept log-ins and break each session.
    pub fn record_success(&mut self) {
        self.short_sessions = 0;
        let since = self.open_since.unwrap_or_else(Instant::now);
        self.health.record_success(since);
    }

    pub fn record_wait(&mut self) {
        if self.is_stable() {
            self.record_success();
        }
    }

    /// Records a connection that broke during a wait; returns the delay before the next check.
    ///
    /// It is no outage yet, because servers restart and some close quiet connections; it is one if
    /// the next log-in fails, or if it happens again and again.
    pub fn record_broken_wait(&mut self, why: impl fmt::Display) -> Duration {
        if self.is_stable() {
            self.record_success();
        } else {
            self.short_sessions = self.short_sessions.saturating_add(1);
        }
        self.forget_session();
        if self.short_sessions > MAX_SHORT_SESSIONS {
            self.health.log_failure(SideFailure::NotAvailable, why);
        } else {
            log::debug!("{why}; checking again");
        }
        self.health.backoff.next_delay()
    }

    /// Records a failure of a check or a pass; returns the delay before the retry.
    pub fn record_failure(&mut self, why: impl fmt::Display) -> Duration {
        if self.is_stable() {
            self.health.backoff.reset();
        }
        self.forget_session();
        self.health.record_failure(SideFailure::NotAvailable, why)
    }

    pub fn forget_session(&mut self) {
        self.open_since = None;
    }

    /// When the current session will be stable, if that will end an outage.
    pub fn outage_ends_at(&self) -> Option<Instant> {
        let since = self.open_since.filter(|_| self.health.is_failing())?;
        Some(since + self.stable_session)
    }

    fn is_stable(&self) -> bool {
        self.open_since
            .is_some_and(|since| since.elapsed() >= self.stable_session)
    }
}
