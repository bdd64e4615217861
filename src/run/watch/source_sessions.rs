//! The sessions with the source: what each of them proves, and what becomes of it when one ends.

use std::fmt;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::process::systemd;
use crate::run::watch::Watcher;

/// Sessions in a row that may end soon without a word of it: servers restart.
const SHORT_SESSIONS_BORNE: u32 = 2;

impl Watcher<'_> {
    /// The first log-in is what a service manager waits for.
    pub(super) fn source_is_open(&mut self) {
        self.open_since.get_or_insert_with(Instant::now);
        self.source.record_login();
        if !self.is_ready {
            self.is_ready = true;
            systemd::ready();
        }
    }

    /// It did something, or kept a session for a while. A log-in alone proves nothing: a server
    /// that lets us in and ends each session is out of order.
    pub(super) fn source_is_well(&mut self) {
        self.short_sessions = 0;
        self.source.reset_backoff();
        let since = self.open_since.unwrap_or_else(Instant::now);
        self.source.record_success_since(since);
    }

    /// A session that lived for a while was a good one, however it ends.
    pub(super) fn session_is_good(&self) -> bool {
        self.open_since
            .is_some_and(|since| since.elapsed() >= self.around.timing.stable_session)
    }

    /// When the source, out of order before, will have proved that it is not any more.
    pub(super) fn source_proves_well_at(&self) -> Option<Instant> {
        let since = self.open_since.filter(|_| self.source.is_failing())?;
        Some(since + self.around.timing.stable_session)
    }

    /// The connection to the source broke while nothing was asked of it: servers restart, and some
    /// end what is quiet. It is no outage unless the next log-in fails, or it goes on so.
    pub(super) fn wait_fails(&mut self, why: impl fmt::Display) {
        if self.session_is_good() {
            self.source_is_well();
        } else {
            self.short_sessions = self.short_sessions.saturating_add(1);
        }
        self.open_since = None;
        if self.short_sessions > SHORT_SESSIONS_BORNE {
            self.source.log_failure(why);
        } else {
            log::debug!("{why}; looking again");
        }
        let pause = self.source.next_delay();
        self.sleep(pause, "connecting to the source again");
    }

    pub(super) fn source_fails(&mut self, error: Error) -> Result<()> {
        let was_good = self.session_is_good();
        self.open_since = None;
        if self.around.requests.exit_requested() {
            return Err(error);
        }
        match error.kind() {
            ErrorKind::Rejected => return self.source_refuses(error),
            ErrorKind::Disk | ErrorKind::Internal => return Err(error),
            ErrorKind::Config | ErrorKind::Usage
                if !self.source.has_worked() && !error.is_retryable() =>
            {
                return Err(error);
            }
            _ => {}
        }
        if was_good {
            self.source.reset_backoff();
        }
        let pause = self.source.record_failure(&error);
        self.sleep(pause, &format!("the source is not available: {error}"));
        Ok(())
    }
}
