//! `--watch`: checks the source, runs a pass, waits for new mail, and starts again; and handles
//! failures of either side.
//!
//! The two sides fail independently. Without the source there is nothing to do but to retry; without
//! Gmail the source is still watched, and new mail is copied when Gmail is available again.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Consequence, Error, ErrorKind, Result, Side};
use crate::imap::FolderStatuses;
use crate::process::suspend::ClockReading;
use crate::process::systemd;
use crate::retry::MAX_REJECTED_LOGINS;
use crate::run::account_sync::source_steps::{CheckedSource, SourceConnection, WaitableSource};
use crate::run::account_sync::{AccountSync, PassSummary};
use crate::run::context::RunContext;
use crate::run::timing::RetryTime;
use crate::run::{WatchOptions, and_also};
use crate::source::{WaitOptions, WaitOutcome};
use crate::timeouts::WAIT_COMMANDS_TIMEOUT;
use crate::timestamp::{format_duration, format_time};
use crate::untrusted::Untrusted;

mod config_reload;
mod false_notifications;
mod folder_failures;
mod gmail_health;
mod side_health;
mod source_sessions;
mod wait_deadline;

pub(crate) use config_reload::ConfigReload;

use crate::run::watch::false_notifications::FalseNotifications;
use crate::run::watch::folder_failures::FolderFailures;
use crate::run::watch::gmail_health::{GmailHealth, login_retry_delay};
use crate::run::watch::side_health::SideFailure;
use crate::run::watch::source_sessions::SourceSessions;
use crate::run::watch::wait_deadline::WaitDeadline;

/// A wait that elapses sooner was none: the server closed the connection at once.
const MIN_WAIT: Duration = Duration::from_millis(500);

/// While log-ins at the source are rejected, the configuration is loaded this often to see whether
/// it was corrected.
const CORRECTION_CHECK_INTERVAL: TimeDelta = TimeDelta::seconds(20);

/// Watches the source, and copies new mail, until an exit is requested.
///
/// # Errors
/// The user must act: rejected credentials, a state that cannot be written, a configuration that
/// never worked.
pub(crate) fn run(
    options: WatchOptions,
    config_reload: ConfigReload<'_>,
    account: AccountSync<'_>,
) -> Result<()> {
    // The lock is held, and configuration and state are good. A server may take as long as it likes.
    systemd::ready();
    let server = account.config().source.server.address();
    systemd::status(format_args!("logging in to {server}"));
    let context = account.context();
    let mut watcher = Watcher {
        options,
        context,
        account,
        config_reload,
        source: SourceSessions::new(context.timing),
        gmail: GmailHealth::new(context.timing),
        false_notifications: FalseNotifications::new(context.timing),
        copied: 0,
        folder_failures: FolderFailures::default(),
    };
    let mut connection = SourceConnection::default();
    let result = watcher.run(&mut connection);
    systemd::stopping();
    watcher.finish(result, &mut connection)
}

struct Watcher<'a> {
    options: WatchOptions,
    context: &'a RunContext<'a>,
    account: AccountSync<'a>,
    config_reload: ConfigReload<'a>,
    source: SourceSessions,
    gmail: GmailHealth,
    false_notifications: FalseNotifications,
    /// How many messages have been copied since the start.
    copied: u64,
    folder_failures: FolderFailures,
}

impl Watcher<'_> {
    fn run(&mut self, connection: &mut SourceConnection) -> Result<()> {
        if let Some(error) = self.account.storage_full_error() {
            log::error!("{error}");
        }
        while !self.exit_requested() {
            // Also in a time without lines.
            log::logger().flush();
            self.handle_requests(connection);
            if let Err(error) = self.check_copy_and_wait(connection) {
                return self.unless_exit_requested(error);
            }
        }
        Ok(())
    }

    /// After an exit request connections fail; only a failure on this host counts.
    fn unless_exit_requested(&self, error: Error) -> Result<()> {
        match self.context.requests.replace_error(error) {
            error if error.kind() == ErrorKind::Resting => Ok(()),
            error => Err(error),
        }
    }

    fn check_copy_and_wait(&mut self, connection: &mut SourceConnection) -> Result<()> {
        let checked = match self.account.check_source(connection) {
            Ok(checked) => checked,
            Err(error) => return self.handle_source_failure(error),
        };
        self.record_check(checked.statuses());
        let source = match self.run_pass(checked) {
            Err(error) if error.side() == Side::Source => {
                return self.handle_source_failure(error);
            }
            passed => passed?,
        };
        if self.exit_requested() {
            return Ok(());
        }
        let deadline = self.wait_deadline();
        self.announce_wait(deadline, self.status());
        let start = ClockReading::now();
        let waited = source.wait_for_mail(WaitOptions {
            use_idle: self.options.use_idle,
            poll_interval: self.options.poll_interval,
            until: deadline,
        });
        if let Some(suspended) = start.suspended_until(&ClockReading::now()) {
            self.drop_connections(suspended, connection);
            return Ok(());
        }
        self.record_wait(waited, start.elapsed(), deadline);
        self.account.disconnect_idle_gmail();
        self.account.fold_if_due()
    }

    fn record_check(&mut self, found: FolderStatuses) {
        self.source.record_check();
        self.false_notifications.record_check(found);
    }

    /// Runs a pass, unless Gmail must be left alone; a failure of Gmail that a retry may overcome is
    /// handled here.
    fn run_pass<'s>(&mut self, checked: CheckedSource<'s>) -> Result<WaitableSource<'s>> {
        if self.gmail_must_wait() {
            return Ok(checked.skip_pass(self.account.config().source_connections));
        }
        let started = checked.started;
        let (source, passed) = self.account.run_pass(checked);
        match passed {
            Ok(summary) => self.record_pass(summary, started)?,
            Err(error) if matches!(error.side(), Side::Gmail | Side::Token) => {
                self.handle_gmail_failure(error, started)?;
            }
            Err(error) => return Err(error),
        }
        Ok(source)
    }

    fn record_pass(&mut self, summary: PassSummary, started: DateTime<Utc>) -> Result<()> {
        self.copied += summary.report.appended;
        let gmail_works = summary.used_gmail && summary.label_failure.is_none();
        self.gmail.record_pass(gmail_works);
        if !summary.report.is_empty() {
            self.source.record_success();
        }
        self.account.fold_if_due()?;
        let has_failures = self.folder_failures.record(&summary.failures);
        match summary.label_failure {
            Some(failure) => self.handle_gmail_failure(failure, started),
            None if has_failures => Ok(()),
            None => self.account.record_success(),
        }
    }

    fn handle_gmail_failure(&mut self, error: Error, started: DateTime<Utc>) -> Result<()> {
        let state = self.account.state();
        let login_delay = login_retry_delay(&error, state, &self.context.timing.clock);
        let has_accepted_mail = state.gmail.last_accepted.is_some_and(|at| at >= started);
        // A full storage is retried after a rest.
        let rests = matches!(error.consequence(), Some(Consequence::Rest(_)));
        let is_rejected = error.kind() == ErrorKind::Rejected && login_delay.is_none() && !rests;
        if self.exit_requested() || is_rejected || self.gmail.health.is_fatal(&error) {
            return Err(error);
        }
        self.account.disconnect_gmail();
        if has_accepted_mail {
            self.gmail.health.backoff.reset();
        }
        self.gmail
            .record_failure(&error, login_delay.unwrap_or_default());
        self.account.warn_of_long_limit();
        self.account.fold_if_due()
    }

    /// Waits until the source can be retried.
    fn handle_source_failure(&mut self, error: Error) -> Result<()> {
        if self.exit_requested() || self.source.health.is_fatal(&error) {
            return Err(error);
        }
        if error.kind() == ErrorKind::Rejected {
            return self.handle_rejected_login(error);
        }
        let delay = self.source.record_failure(&error);
        // An error begins with the server that it is about.
        self.sleep(delay, format_args!("waiting for {error}"));
        Ok(())
    }

    /// Waits until the log-in can be retried, or until the configuration has been corrected.
    fn handle_rejected_login(&mut self, error: Error) -> Result<()> {
        self.source.forget_session();
        let state = &self.account.state().source;
        let Some(retry_after) = state
            .retry_after
            .filter(|_| state.rejected_logins < MAX_REJECTED_LOGINS)
        else {
            return Err(error);
        };
        self.source
            .health
            .log_failure(SideFailure::RejectsLogin, &error);
        let clock = self.context.timing.clock;
        let requests = &self.context.requests;
        let retry = RetryTime::at(retry_after, &clock);
        let check_interval = clock.duration_until(clock.now() + CORRECTION_CHECK_INTERVAL);
        while let Some(left) = retry.time_left(&clock)
            && !requests.exit_requested()
            && !requests.reload_requested()
        {
            let status = format_args!("the source rejects the log-in: {error}");
            self.sleep(left.min(check_interval), status);
            let config = self.account.config();
            if self.config_reload.has_new_credentials(config) {
                requests.request_reload();
            } else if self.account.has_corrected_command_output() {
                break;
            }
        }
        Ok(())
    }

    /// When the next wait must end.
    fn wait_deadline(&self) -> Instant {
        let (timing, account) = (self.context.timing, &self.account);
        let mut deadline = WaitDeadline::between(timing.first_retry_delay, timing.max_wait);
        deadline.at_latest(self.gmail.retry_at());
        deadline.at_latest(self.source.outage_ends_at());
        deadline.at_latest(account.gmail_idle_at());
        deadline.at_latest_date(account.fold_due_at(), &timing.clock);
        deadline.at_latest_date(account.resting_until(), &timing.clock);
        if !self.gmail_must_wait() {
            for retry in account.retry_times() {
                deadline.at_latest_date(retry, &timing.clock);
            }
        }
        deadline.get()
    }

    /// Records how a wait ended, and delays the next check if the server would make a busy loop.
    fn record_wait(&mut self, waited: Result<WaitOutcome>, duration: Duration, deadline: Instant) {
        match waited {
            Err(error) => self.handle_broken_wait(error),
            Ok(WaitOutcome::Elapsed) if Instant::now() < deadline && duration < MIN_WAIT => {
                self.handle_broken_wait("the wait ended at once");
            }
            Ok(outcome) => {
                self.source.record_wait();
                if outcome == WaitOutcome::NewMail
                    && let Some(delay) = self.notification_delay(duration)
                {
                    self.sleep(delay, self.status());
                }
            }
        }
    }

    /// How long to ignore a notification of new mail.
    fn notification_delay(&mut self, waited: Duration) -> Option<Duration> {
        match self.false_notifications.record_notification(waited) {
            Some(delay) => Some(delay.min(self.options.poll_interval)),
            // The mail cannot be copied yet, and must not make a busy loop.
            None if self.gmail_must_wait() => Some(self.context.timing.first_retry_delay),
            None => None,
        }
    }

    fn handle_broken_wait(&mut self, why: impl fmt::Display) {
        let delay = self.source.record_broken_wait(why);
        self.sleep(delay, "reconnecting to the source");
    }

    /// Drops all connections after a suspend, because the servers have closed them.
    fn drop_connections(&mut self, suspended: Duration, connection: &mut SourceConnection) {
        let suspended = format_duration(suspended);
        log::info!("this host was suspended for {suspended}; reconnecting");
        self.source.forget_session();
        connection.drop_connection();
        self.account.drop_gmail();
    }

    fn handle_requests(&mut self, connection: &mut SourceConnection) {
        if self.context.requests.take_reload_request() {
            self.reload_config(connection);
        }
        if self.context.requests.take_poll_request() {
            log::info!("checking the source now, as requested");
            self.gmail.retry_now();
        }
    }

    /// Reloads the configuration, and retries both sides at once. A wrong one changes nothing.
    fn reload_config(&mut self, connection: &mut SourceConnection) {
        if let Err(error) = self.config_reload.reload(&mut self.account, connection) {
            log::error!("{error}; the old configuration stays in use");
            return;
        }
        log::info!("the configuration was reloaded");
        if let Err(error) = self.account.log_warnings(true) {
            log::error!("{error}");
        }
        self.source.forget_session();
        self.source.health.backoff.reset();
        self.gmail.health.backoff.reset();
        self.gmail.retry_now();
    }

    /// Sleeps until the time has passed or a signal arrives.
    fn sleep(&mut self, duration: Duration, status: impl fmt::Display) {
        let until = Instant::now() + duration;
        self.announce_wait(until, status);
        let _ = self.context.canceller.sleep(until);
        self.account.disconnect_idle_gmail();
    }

    /// Extends the watchdog's deadline beyond a wait, and shows the status in `systemctl status`.
    fn announce_wait(&self, until: Instant, status: impl fmt::Display) {
        let left = until.saturating_duration_since(Instant::now());
        let watchdog = &self.context.watchdog;
        watchdog.extend_deadline(left + WAIT_COMMANDS_TIMEOUT);
        systemd::status(status);
    }

    /// The text for `systemctl status` during a wait.
    fn status(&self) -> String {
        let folder = Untrusted::new(&self.account.config().source.folder);
        let watching = format!("watching {folder}; {} copied since the start", self.copied);
        if let Some(until) = self.account.resting_until() {
            let why = if self.account.state().gmail.is_storage_full {
                "Gmail is full, and"
            } else {
                "Gmail"
            };
            let until = format_time(until);
            format!("{watching}; {why} rests until {until}")
        } else {
            match self.gmail.health.ongoing_failure() {
                None => watching,
                // Nobody knows yet whether the token and target_user are right.
                Some(failure) if self.account.state().is_unsynced() => failure,
                Some(failure) => format!("{watching}; {failure}"),
            }
        }
    }

    fn gmail_must_wait(&self) -> bool {
        self.gmail.retry_at().is_some() || self.account.resting_until().is_some()
    }

    fn exit_requested(&self) -> bool {
        self.context.requests.exit_requested()
    }

    /// Folds the journal first, because LOGOUT may have to wait for the servers.
    fn finish(&mut self, result: Result<()>, connection: &mut SourceConnection) -> Result<()> {
        let folded = self.account.fold();
        self.account.disconnect_gmail();
        connection.log_out();
        if self.exit_requested() {
            log::info!("ended by a signal");
        }
        and_also(result, folded)
    }
}
