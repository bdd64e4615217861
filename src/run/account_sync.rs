//! What a run and a resident process share: the lock and the state, both servers, and one pass.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use chrono::{DateTime, Utc};

use crate::cli::progress::{CopyProgressBar, Terminal};
use crate::config::Config;
use crate::delivery::gmail_imap::GmailTarget;
use crate::error::Side;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Listed, Mailbox};
use crate::process::alert_log::AlertLog;
use crate::process::cancel::Canceller;
use crate::process::signals::SignalRequests;
use crate::process::watchdog::Watchdog;
use crate::run::timing::Timing;
use crate::source::{ImapSource, WaitOptions, WaitOutcome};
use crate::state::State;
use crate::state::journal::StateStore;
use crate::state::lock::Lock;
use crate::state::storage::FolderStorage;
use crate::sync::{DryRunResult, NullTarget, Pass, PassReport, Target};
use crate::timeouts::PASS_STEP_TIMEOUT;
use crate::untrusted::Untrusted;

mod instrumented;
mod options;
mod source_login;
mod startup;

use crate::run::account_sync::instrumented::{MonitoredSource, MonitoredTarget, PassMonitor};
use crate::run::account_sync::options::{gmail_settings, settings_of};
use crate::run::account_sync::startup::{account_of, adopt, take_lock};

/// What a carrier needs of the process that it lives in.
pub struct RunContext<'a> {
    /// The terminal.
    pub terminal: &'a Terminal,
    /// How long things may take.
    pub timing: &'a Timing,
    /// What ends waits on all connections.
    pub canceller: Canceller,
    /// What servers have told to a person.
    pub alert_log: AlertLog,
    /// What was asked for from outside.
    pub requests: Arc<SignalRequests>,
    /// Who must hear that there is life.
    pub watchdog: Watchdog,
}

/// Carries mail of one account, with the lock held.
pub struct AccountSync<'a> {
    config: Config,
    lock: Lock,
    store: StateStore,
    context: &'a RunContext<'a>,
    source: Option<ImapSource>,
    gmail: Option<GmailTarget>,
    /// When Gmail was last asked something.
    gmail_last_used: Option<Instant>,
    /// Since when there is something to fold.
    unfolded_since: Option<DateTime<Utc>>,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSummary {
    /// With the messages.
    pub report: PassReport,
    /// Whether Gmail was asked, and so works.
    pub used_gmail: bool,
}

/// Whether anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Mail is carried.
    Copy,
    /// It is only said what would be carried.
    DryRun,
}

impl<'a> AccountSync<'a> {
    /// Takes the lock and loads the state.
    ///
    /// # Errors
    /// Another run holds the lock ([`ErrorKind::Resting`]), or the state cannot be used or is another
    /// account's.
    pub fn start(
        config: Config,
        state: &Path,
        purpose: RunMode,
        context: &'a RunContext<'a>,
    ) -> Result<AccountSync<'a>> {
        let lock = take_lock(state)?;
        let now = context.timing.clock.now();
        let disk = Box::new(FolderStorage::new(state));
        let mut store = match purpose {
            RunMode::Copy => StateStore::load(disk, now)?,
            RunMode::DryRun => StateStore::load_read_only(disk, now)?,
        };
        adopt(&mut store, &config, state)?;
        Ok(AccountSync {
            config,
            lock,
            store,
            context,
            source: None,
            gmail: None,
            gmail_last_used: None,
            unfolded_since: None,
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is remembered.
    #[must_use]
    pub fn state(&self) -> &State {
        self.store.state()
    }

    /// Until when Gmail rests, if it does.
    #[must_use]
    pub fn resting_until(&self) -> Option<DateTime<Utc>> {
        self.store.state().gmail.resting_until(self.now())
    }

    /// How the source's mailbox is now, on the session that there is or a new one; and the time
    /// just before it was looked at.
    ///
    /// # Errors
    /// The source is unavailable or refuses the log-in, now or a moment ago.
    pub fn check_source(&mut self) -> Result<(Mailbox, DateTime<Utc>)> {
        self.context.watchdog.extend_deadline(PASS_STEP_TIMEOUT);
        let started = self.now();
        let Some(mut source) = self.source.take() else {
            return Ok((self.log_in_to_source()?, started));
        };
        match source.check_for_mail() {
            Ok(mailbox) => {
                self.source = Some(source);
                Ok((mailbox, started))
            }
            Err(error) => Err(self.record_rejected_login(error, started)),
        }
    }

    /// One pass over the mailbox as it was just looked at, and what it teaches about both servers.
    ///
    /// # Errors
    /// What ended the pass before its end; what settled before stands in the journal.
    pub fn run_pass(&mut self, mailbox: &Mailbox, started: DateTime<Utc>) -> Result<PassSummary> {
        let Some(source) = &mut self.source else {
            return Err(not_open());
        };
        let settings = gmail_settings(&self.config, self.store.state(), self.context, false);
        let gmail = self.gmail.get_or_insert_with(|| GmailTarget::new(settings));
        gmail.start_pass(0);
        let oversight = PassMonitor::new(&self.context.requests, &self.context.watchdog);
        let calendar = self.context.timing.clock;
        let done = Pass {
            source: &mut MonitoredSource::new(source, &oversight),
            target: &mut MonitoredTarget::new(gmail, &oversight),
            store: &mut self.store,
            options: &settings_of(&self.config),
            progress: &mut CopyProgressBar::new(self.context.terminal),
            now: &|| calendar.now(),
        }
        .run(mailbox, started);
        gmail.end_pass();
        let used_gmail = oversight.gmail_was_asked();
        if self.store.has_unfolded_events() {
            self.unfolded_since.get_or_insert(started);
        }
        if used_gmail {
            self.gmail_last_used = Some(Instant::now());
        }
        match done {
            Ok(report) => {
                tell(&report);
                Ok(PassSummary { report, used_gmail })
            }
            Err(error) if error.side() == Side::Source => {
                Err(self.record_rejected_login(error, started))
            }
            Err(error) => Err(error),
        }
    }

    /// Says for each message what a pass would do, and moves nothing.
    ///
    /// # Errors
    /// As for [`look`](AccountSync::check_source), and Gmail's.
    pub fn dry_run(&mut self, tell: &mut dyn FnMut(&Listed, DryRunResult)) -> Result<()> {
        let (mailbox, _) = self.check_source()?;
        let Some(source) = &mut self.source else {
            return Err(not_open());
        };
        let settings = gmail_settings(&self.config, self.store.state(), self.context, true);
        let gmail = self.gmail.insert(GmailTarget::new(settings));
        let can_ask = gmail.has_valid_token()?;
        let oversight = PassMonitor::new(&self.context.requests, &self.context.watchdog);
        let target: &mut dyn Target = if can_ask { gmail } else { &mut NullTarget };
        let calendar = self.context.timing.clock;
        Pass {
            source: &mut MonitoredSource::new(source, &oversight),
            target: &mut MonitoredTarget::new(target, &oversight),
            store: &mut self.store,
            options: &settings_of(&self.config),
            progress: &mut (),
            now: &|| calendar.now(),
        }
        .dry_run(&mailbox, can_ask, tell)
    }

    /// Waits for news of the source.
    ///
    /// # Errors
    /// The source broke the connection, or does not answer.
    pub fn wait_for_mail(&mut self, waiting: WaitOptions) -> Result<WaitOutcome> {
        match &mut self.source {
            Some(source) => source.wait_for_mail(waiting),
            None => Err(not_open()),
        }
    }

    /// Takes leave of Gmail; the next question connects anew, with the token as it is then.
    pub fn disconnect_gmail(&mut self) {
        self.gmail_last_used = None;
        if let Some(mut gmail) = self.gmail.take() {
            gmail.close();
        }
    }

    /// Gives up all connections without a farewell, which nobody may be there to hear.
    pub fn drop_connections(&mut self) {
        self.source = None;
        self.gmail_last_used = None;
        if let Some(gmail) = self.gmail.take() {
            // Its own farewell may take a while.
            std::thread::spawn(move || drop(gmail));
        }
    }

    /// Takes leave of the source.
    pub fn disconnect_source(&mut self) {
        if let Some(source) = self.source.take() {
            source.logout();
        }
    }

    /// Since when Gmail was not asked anything, if connections to it are kept.
    #[must_use]
    pub fn gmail_idle_since(&self) -> Option<Instant> {
        self.gmail_last_used
    }

    /// How much waits in the journal to be folded, in octets.
    #[must_use]
    pub fn journal_octets(&self) -> u64 {
        self.store.unfolded_octets()
    }

    /// Since when something waits to be folded.
    #[must_use]
    pub fn unfolded_since(&self) -> Option<DateTime<Utc>> {
        self.unfolded_since
    }

    /// Folds the journal into the snapshot, if there is something in it.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`]
    pub fn fold(&mut self) -> Result<()> {
        self.store.fold(self.now())?;
        self.unfolded_since = None;
        Ok(())
    }

    /// Notes that a pass came to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`]
    pub fn record_success(&self) -> Result<()> {
        self.lock.touch(SystemTime::now())
    }

    /// Goes by another configuration of the same account from now on.
    ///
    /// # Errors
    /// It is another account's ([`ErrorKind::Config`]): the old one stays.
    pub fn reconfigure(&mut self, config: Config) -> Result<()> {
        if account_of(&config) != account_of(&self.config) {
            let place = Untrusted::new(&config.source_account()).to_string();
            let what = "this is the configuration of another account";
            return Err(Error::new(Side::Host, ErrorKind::Config, place, what)
                .remedy("start another process for it, with a --state-file of its own"));
        }
        self.disconnect_source();
        self.disconnect_gmail();
        self.config = config;
        Ok(())
    }

    fn now(&self) -> DateTime<Utc> {
        self.context.timing.clock.now()
    }
}

fn tell(report: &PassReport) {
    if report.is_empty() {
        log::debug!("nothing new");
    } else {
        log::info!("{report}");
    }
}

fn not_open() -> Error {
    Error::new(
        Side::Host,
        ErrorKind::Internal,
        "source",
        "there is no session",
    )
}

/// The one failure of two that needs a person most; the other is logged.
///
/// # Errors
/// One of the two failed.
pub fn worse_of<T>(done: Result<T>, remembered: Result<()>) -> Result<T> {
    match (done, remembered) {
        (Err(one), Err(other)) => {
            log::error!("{other}");
            Err(one.more_severe(other))
        }
        (Ok(done), Ok(())) => Ok(done),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
    }
}
