//! The resident process: pass, wait, pass; and what becomes of it when a server fails.
//!
//! The two sides fail independently. Without the source there is nothing to do but to try it again;
//! without Gmail the source is watched all the same, and what came is carried when Gmail is back.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::cli::args::{SyncArgs, WatchOptions};
use crate::config::Environment;
use crate::error::{Consequence, Error, ErrorKind, Result, Side};
use crate::process::signals::SignalRequests;
use crate::process::suspend::ClockReading;
use crate::process::systemd;
use crate::retry::MAX_REJECTED_LOGINS;
use crate::run::account_sync::{AccountSync, PassSummary, RunContext, worse_of};
use crate::source::{WaitOptions, WaitOutcome};
use crate::timeouts::WAIT_COMMANDS_TIMEOUT;
use crate::timestamp::format_duration;
use crate::untrusted::Untrusted;

mod false_notifications;
mod reload;
mod side_health;
mod source_sessions;
mod wait_deadline;

use crate::run::watch::false_notifications::FalseNotifications;
use crate::run::watch::side_health::SideHealth;
use crate::run::watch::wait_deadline::WaitDeadline;

/// What may be done again from a moment on is done a little later: it must not be too early.
const MOMENT: TimeDelta = TimeDelta::seconds(1);

/// The journal is folded when it is larger, or older.
const LARGE: u64 = 1024 * 1024;
const OLD: TimeDelta = TimeDelta::minutes(5);

/// A wait that ends sooner and without any reason was none: the server ended the connection.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Stays, and carries what comes until it is asked to end.
///
/// # Errors
/// What needs a person: refused credentials, a state that cannot be kept, a configuration that
/// never worked.
pub fn run(
    args: &SyncArgs,
    watch: WatchOptions,
    environment: &Environment,
    carrier: AccountSync<'_>,
    around: &RunContext<'_>,
) -> Result<()> {
    systemd::status("logging in");
    let mut watcher = Watcher {
        args,
        watch,
        environment,
        around,
        source: SideHealth::new("the source", around.timing),
        gmail: SideHealth::new("Gmail", around.timing),
        carrier,
        alarms: FalseNotifications::new(around.timing),
        open_since: None,
        short_sessions: 0,
        gmail_not_before: None,
        is_ready: false,
        rejected: None,
        appended: 0,
    };
    let done = watcher.run();
    systemd::stopping();
    watcher.end(done)
}

struct Watcher<'a> {
    args: &'a SyncArgs,
    watch: WatchOptions,
    environment: &'a Environment,
    around: &'a RunContext<'a>,
    carrier: AccountSync<'a>,
    source: SideHealth,
    gmail: SideHealth,
    alarms: FalseNotifications,
    /// Since when there is a session with the source.
    open_since: Option<Instant>,
    /// Sessions with the source that ended soon, in a row.
    short_sessions: u32,
    /// Gmail failed, and is tried again then.
    gmail_not_before: Option<Instant>,
    /// Whether the service manager was told that it works.
    is_ready: bool,
    /// A configuration that was read again and not taken.
    rejected: Option<String>,
    appended: u64,
}

impl Watcher<'_> {
    fn run(&mut self) -> Result<()> {
        while !self.around.requests.exit_requested() {
            self.heed_orders();
            let turned = self.turn();
            if self.around.requests.exit_requested() {
                return turned.or_else(only_ours);
            }
            turned?;
        }
        Ok(())
    }

    /// Looks, carries what is there, and waits for more.
    fn turn(&mut self) -> Result<()> {
        let (mailbox, started) = match self.carrier.check_source() {
            Ok(looked) => looked,
            Err(error) => return self.source_fails(error),
        };
        self.source_is_open();
        self.alarms.record_check(&mailbox);
        if !self.gmail_must_wait() {
            match self.carrier.run_pass(&mailbox, started) {
                Ok(passed) => self.passed(&passed)?,
                Err(error) => match error.side() {
                    Side::Source => return self.source_fails(error),
                    Side::Gmail | Side::Token => self.gmail_fails(error, started)?,
                    Side::State | Side::Config | Side::Host => return Err(error),
                },
            }
        }
        if self.around.requests.exit_requested() {
            return Ok(());
        }
        self.wait()
    }

    fn passed(&mut self, passed: &PassSummary) -> Result<()> {
        self.appended += passed.report.appended;
        if passed.used_gmail {
            self.gmail.record_success();
            self.gmail.reset_backoff();
        }
        if !passed.report.is_empty() {
            self.source_is_well();
        }
        self.gmail_not_before = None;
        self.fold_if_due()?;
        self.carrier.record_success()
    }

    fn fold_if_due(&mut self) -> Result<()> {
        let is_old = self
            .carrier
            .unfolded_since()
            .is_some_and(|since| self.now() - since >= OLD);
        if self.carrier.journal_octets() >= LARGE || is_old {
            self.carrier.fold()?;
        }
        Ok(())
    }

    /// Waits for news, but not past the next thing that is to be done.
    fn wait(&mut self) -> Result<()> {
        let now = Instant::now();
        self.gmail_not_before = self.gmail_not_before.filter(|at| *at > now);
        let until = self.appointments().get();
        systemd::status(&self.status());
        self.vouch_until(until);
        let begun = ClockReading::now();
        let waited = self.carrier.wait_for_mail(WaitOptions {
            use_idle: self.watch.use_idle,
            poll_interval: self.watch.poll_interval,
            until,
        });
        if let Some(slept) = begun.suspended_for() {
            log::info!(
                "this host slept for {}; connecting anew",
                format_duration(slept)
            );
            self.open_since = None;
            self.carrier.drop_connections();
            return Ok(());
        }
        match waited {
            Ok(WaitOutcome::Elapsed) if Instant::now() < until && begun.elapsed() < AT_ONCE => {
                self.wait_fails("the wait ended at once");
            }
            Ok(news) => self.hears(news, begun.elapsed()),
            Err(error) => self.wait_fails(error),
        }
        self.leave_gmail_if_cold();
        self.fold_if_due()
    }

    fn hears(&mut self, news: WaitOutcome, waited: Duration) {
        if self.session_is_good() {
            self.source_is_well();
        }
        if news != WaitOutcome::NewMail {
            return;
        }
        if let Some(pause) = self.alarms.notified(waited) {
            // A server that lies is polled.
            let pause = pause.min(self.watch.poll_interval);
            self.sleep(pause, &self.status());
        } else if self.gmail_must_wait() {
            // Nothing can be done about it yet: it must not keep us busy.
            self.sleep(self.around.timing.first_retry_delay, &self.status());
        }
    }

    fn appointments(&self) -> WaitDeadline {
        let pace = self.around.timing;
        let now = self.now();
        let mut next = WaitDeadline::between(pace.first_retry_delay, pace.max_wait);
        if !self.gmail_must_wait() {
            for retry in self.carrier.state().retry_times(now) {
                next.at_latest_date(retry, &pace.clock);
            }
        }
        if let Some(since) = self.carrier.unfolded_since() {
            next.at_latest_date(since + OLD, &pace.clock);
        }
        if let Some(until) = self.carrier.resting_until() {
            next.at_latest_date(until, &pace.clock);
        }
        if let Some(at) = self.gmail_not_before {
            next.at_latest(at);
        }
        if let Some(at) = self.source_proves_well_at() {
            next.at_latest(at);
        }
        if let Some(since) = self.carrier.gmail_idle_since() {
            next.at_latest(since + pace.gmail_keep_open);
        }
        next
    }

    fn gmail_must_wait(&self) -> bool {
        let now = Instant::now();
        self.gmail_not_before.is_some_and(|at| at > now) || self.carrier.resting_until().is_some()
    }

    fn leave_gmail_if_cold(&mut self) {
        let since = self.carrier.gmail_idle_since();
        if since.is_some_and(|since| since.elapsed() >= self.around.timing.gmail_keep_open) {
            log::debug!("no mail for a while; leaving Gmail");
            self.carrier.disconnect_gmail();
        }
    }

    fn gmail_fails(&mut self, error: Error, started: DateTime<Utc>) -> Result<()> {
        if self.around.requests.exit_requested() {
            return Err(error);
        }
        let again = self.log_in_again_at(&error);
        match error.kind() {
            ErrorKind::Rejected if again.is_none() => return Err(error),
            ErrorKind::Disk | ErrorKind::Internal => return Err(error),
            ErrorKind::Config if !self.gmail.has_worked() => return Err(error),
            _ => {}
        }
        self.carrier.disconnect_gmail();
        let taken_at = self.carrier.state().gmail.last_accepted;
        if taken_at.is_some_and(|at| at >= started) {
            self.gmail.reset_backoff();
        }
        let pause = self
            .gmail
            .record_failure(&error)
            .max(again.unwrap_or_default());
        self.gmail_not_before = Some(Instant::now() + pause);
        self.fold_if_due()
    }

    /// When to log in to Gmail again after it refused even a fresh token: Google takes such back
    /// now and then. None if a person must act.
    fn log_in_again_at(&self, error: &Error) -> Option<Duration> {
        let Some(Consequence::LoginRejected { .. }) = error.consequence() else {
            return None;
        };
        let refused = self.carrier.state().gmail.rejected_token.as_ref();
        refused
            .filter(|refused| refused.tries < MAX_REJECTED_LOGINS)
            .map(|refused| {
                self.around
                    .timing
                    .clock
                    .duration_until(refused.retry_after + MOMENT)
            })
    }

    /// Does what was asked for from outside.
    fn heed_orders(&mut self) {
        if self.around.requests.take_reload_request() {
            self.reload();
        }
        if self.around.requests.take_poll_request() {
            log::info!("looking now, as asked");
            self.gmail_not_before = None;
        }
    }

    /// Sleeps; a call from outside ends it.
    fn sleep(&mut self, pause: Duration, status: &str) {
        let until = Instant::now() + pause;
        self.vouch_until(until);
        systemd::status(status);
        let _ = self.around.canceller.sleep(until);
        self.leave_gmail_if_cold();
    }

    fn vouch_until(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        self.around
            .watchdog
            .extend_deadline(left + WAIT_COMMANDS_TIMEOUT);
    }

    /// What it does, for a person.
    fn status(&self) -> String {
        let folder = Untrusted::new(&self.carrier.config().source.folder);
        let appended = self.appended;
        let watching = format!("watching {folder}; {appended} copied since the start");
        if let Some(until) = self.carrier.resting_until() {
            format!(
                "{watching}; Gmail rests until {}",
                until.format("%H:%M UTC")
            )
        } else if self.gmail.is_failing() {
            format!("{watching}; Gmail is not available")
        } else {
            watching
        }
    }

    /// Takes leave; the state first, for the connections may be gone.
    fn end(&mut self, done: Result<()>) -> Result<()> {
        let folded = self.carrier.fold();
        self.carrier.disconnect_gmail();
        self.carrier.disconnect_source();
        if self.around.requests.exit_requested() {
            log::info!("ended by a signal");
        }
        worse_of(done, folded)
    }

    fn now(&self) -> DateTime<Utc> {
        self.around.timing.clock.now()
    }
}

/// When the end was asked for, only what went wrong on this host is a failure.
fn only_ours(error: Error) -> Result<()> {
    match SignalRequests::replace_error(error) {
        error if error.kind() == ErrorKind::Resting => Ok(()),
        error => Err(error),
    }
}
