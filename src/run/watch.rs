//! The resident process: pass, wait, pass; and what becomes of it when a server fails.
//!
//! The two sides fail independently. Without the source there is nothing to do but to try it again;
//! without Gmail the source is watched all the same, and what came is carried when Gmail is back.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::cli::args::{SyncArgs, WatchOptions};
use crate::config::Environment;
use crate::error::{Consequence, Error, ErrorKind, Result};
use crate::process::signals::SignalRequests;
use crate::process::suspend::ClockReading;
use crate::process::systemd;
use crate::run::account_sync::Side;
use crate::run::account_sync::{AccountSync, PassError, PassSummary, RunContext, worse_of};
use crate::run::failure_log_throttle::format_duration;
use crate::source::{WaitOptions, WaitOutcome};
use crate::untrusted::Untrusted;

mod false_notifications;
mod reload;
mod side_health;
mod source_sessions;
mod wait_deadline;

use crate::run::watch::false_notifications::FalseNotifications;
use crate::run::watch::side_health::SideHealth;
use crate::run::watch::wait_deadline::WaitDeadline;

/// Log-ins that a server refuses in a row before a person must act; they are minutes apart.
const REFUSALS_BORNE: u32 = 3;

/// What may be done again from a moment on is done a little later: it must not be too early.
const MOMENT: TimeDelta = TimeDelta::seconds(1);

/// The journal is folded when it is larger, or older.
const LARGE: u64 = 1024 * 1024;
const OLD: TimeDelta = TimeDelta::minutes(5);

/// A wait that ends sooner and without any reason was none: the server ended the connection.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What a wait may take longer than it was told to: the server is spoken to before and after.
const AROUND_A_WAIT: Duration = Duration::from_mins(25);

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
        source: SideHealth::new("the source", around.pace),
        gmail: SideHealth::new("Gmail", around.pace),
        carrier,
        alarms: FalseNotifications::new(around.pace),
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
        while !self.around.orders.end() {
            self.heed_orders();
            let turned = self.turn();
            if self.around.orders.end() {
                return turned.or_else(only_ours);
            }
            turned?;
        }
        Ok(())
    }

    /// Looks, carries what is there, and waits for more.
    fn turn(&mut self) -> Result<()> {
        let (mailbox, started) = match self.carrier.look() {
            Ok(looked) => looked,
            Err(error) => return self.source_fails(error),
        };
        self.source_is_open();
        self.alarms.looked(&mailbox);
        if !self.gmail_must_wait() {
            match self.carrier.pass(&mailbox, started) {
                Ok(passed) => self.passed(&passed)?,
                Err(PassError { side, error }) => match side {
                    Side::Source => return self.source_fails(error),
                    Side::Gmail => self.gmail_fails(error, started)?,
                    Side::Host => return Err(error),
                },
            }
        }
        if self.around.orders.end() {
            return Ok(());
        }
        self.wait()
    }

    fn passed(&mut self, passed: &PassSummary) -> Result<()> {
        self.appended += passed.report.appended;
        if passed.asked_gmail {
            self.gmail.works();
            self.gmail.progresses();
        }
        if !passed.report.is_quiet() {
            self.source_is_well();
        }
        self.gmail_not_before = None;
        self.fold_if_due()?;
        self.carrier.touch()
    }

    fn fold_if_due(&mut self) -> Result<()> {
        let is_old = self
            .carrier
            .unfolded_since()
            .is_some_and(|since| self.now() - since >= OLD);
        if self.carrier.unfolded() >= LARGE || is_old {
            self.carrier.fold()?;
        }
        Ok(())
    }

    /// Waits for news, but not past the next thing that is to be done.
    fn wait(&mut self) -> Result<()> {
        let now = Instant::now();
        self.gmail_not_before = self.gmail_not_before.filter(|at| *at > now);
        let until = self.appointments().next();
        systemd::status(&self.status());
        self.vouch_until(until);
        let begun = ClockReading::now();
        let waited = self.carrier.wait(WaitOptions {
            idles: self.watch.idles,
            poll_interval: self.watch.poll_interval,
            until,
        });
        if let Some(slept) = begun.slept() {
            log::info!(
                "this host slept for {}; connecting anew",
                format_duration(slept)
            );
            self.open_since = None;
            self.carrier.forget_connections();
            return Ok(());
        }
        match waited {
            Ok(WaitOutcome::Elapsed) if Instant::now() < until && begun.passed() < AT_ONCE => {
                self.wait_fails("the wait ended at once");
            }
            Ok(news) => self.hears(news, begun.passed()),
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
        if let Some(pause) = self.alarms.rings(waited) {
            // A server that lies is polled.
            let pause = pause.min(self.watch.poll_interval);
            self.sleep(pause, &self.status());
        } else if self.gmail_must_wait() {
            // Nothing can be done about it yet: it must not keep us busy.
            self.sleep(self.around.pace.first_pause, &self.status());
        }
    }

    fn appointments(&self) -> WaitDeadline {
        let pace = self.around.pace;
        let now = self.now();
        let mut next = WaitDeadline::between(pace.first_pause, pace.longest_wait);
        if !self.gmail_must_wait() {
            for retry in self.carrier.state().next_tries(now) {
                next.not_after_date(retry, &pace.calendar);
            }
        }
        if let Some(since) = self.carrier.unfolded_since() {
            next.not_after_date(since + OLD, &pace.calendar);
        }
        if let Some(until) = self.carrier.rests_until() {
            next.not_after_date(until, &pace.calendar);
        }
        if let Some(at) = self.gmail_not_before {
            next.not_after(at);
        }
        if let Some(at) = self.source_proves_well_at() {
            next.not_after(at);
        }
        if let Some(since) = self.carrier.gmail_rests_since() {
            next.not_after(since + pace.warm);
        }
        next
    }

    fn gmail_must_wait(&self) -> bool {
        let now = Instant::now();
        self.gmail_not_before.is_some_and(|at| at > now) || self.carrier.rests_until().is_some()
    }

    fn leave_gmail_if_cold(&mut self) {
        let since = self.carrier.gmail_rests_since();
        if since.is_some_and(|since| since.elapsed() >= self.around.pace.warm) {
            log::debug!("no mail for a while; leaving Gmail");
            self.carrier.leave_gmail();
        }
    }

    fn gmail_fails(&mut self, error: Error, started: DateTime<Utc>) -> Result<()> {
        if self.around.orders.end() {
            return Err(error);
        }
        let again = self.log_in_again_at(&error);
        match error.kind() {
            ErrorKind::Rejected if again.is_none() => return Err(error),
            ErrorKind::Disk | ErrorKind::Internal => return Err(error),
            ErrorKind::Config if !self.gmail.has_worked() => return Err(error),
            _ => {}
        }
        self.carrier.leave_gmail();
        let taken_at = self.carrier.state().gmail.taken_at;
        if taken_at.is_some_and(|at| at >= started) {
            self.gmail.progresses();
        }
        let pause = self.gmail.fails(&error).max(again.unwrap_or_default());
        self.gmail_not_before = Some(Instant::now() + pause);
        self.fold_if_due()
    }

    /// When to log in to Gmail again after it refused even a fresh token: Google takes such back
    /// now and then. None if a person must act.
    fn log_in_again_at(&self, error: &Error) -> Option<Duration> {
        let Some(Consequence::LoginRejected { .. }) = error.consequence() else {
            return None;
        };
        let refused = self.carrier.state().gmail.token_refused.as_ref();
        refused
            .filter(|refused| refused.tries < REFUSALS_BORNE)
            .map(|refused| {
                self.around
                    .pace
                    .calendar
                    .until(refused.retry_after + MOMENT)
            })
    }

    /// Does what was asked for from outside.
    fn heed_orders(&mut self) {
        if self.around.orders.take_reload() {
            self.reload();
        }
        if self.around.orders.take_look() {
            log::info!("looking now, as asked");
            self.gmail_not_before = None;
        }
    }

    /// Sleeps; a call from outside ends it.
    fn sleep(&mut self, pause: Duration, status: &str) {
        let until = Instant::now() + pause;
        self.vouch_until(until);
        systemd::status(status);
        let _ = self.around.tether.sleep(until);
        self.leave_gmail_if_cold();
    }

    fn vouch_until(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        self.around.vigil.vouch(left + AROUND_A_WAIT);
    }

    /// What it does, for a person.
    fn status(&self) -> String {
        let folder = Untrusted::new(&self.carrier.config().source.folder);
        let appended = self.appended;
        let watching = format!("watching {folder}; {appended} copied since the start");
        if let Some(until) = self.carrier.rests_until() {
            format!(
                "{watching}; Gmail rests until {}",
                until.format("%H:%M UTC")
            )
        } else if self.gmail.fails_now() {
            format!("{watching}; Gmail is not available")
        } else {
            watching
        }
    }

    /// Takes leave; the state first, for the connections may be gone.
    fn end(&mut self, done: Result<()>) -> Result<()> {
        let folded = self.carrier.fold();
        self.carrier.leave_gmail();
        self.carrier.leave_source();
        if self.around.orders.end() {
            log::info!("ended by a signal");
        }
        worse_of(done, folded)
    }

    fn now(&self) -> DateTime<Utc> {
        self.around.pace.calendar.now()
    }
}

/// When the end was asked for, only what went wrong on this host is a failure.
fn only_ours(error: Error) -> Result<()> {
    match SignalRequests::instead_of(error) {
        error if error.kind() == ErrorKind::Resting => Ok(()),
        error => Err(error),
    }
}
