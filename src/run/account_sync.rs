//! What a one-shot run and `--watch` share: the lock, the state, both servers, and one pass.
//!
//! The order of steps (check the source, run a pass, wait for mail) is enforced by the types of
//! [`source_steps`].

use std::path::Path;
use std::time::{Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Config;
use crate::delivery::gmail_imap::GmailTarget;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::message::Listed;
use crate::oauth::{RenewalPolicy, check_token_file};
use crate::run::context::RunContext;
use crate::run::{OneTimeOptions, RunMode};
use crate::state::State;
use crate::state::journal::StateStore;
use crate::state::lock::Lock;
use crate::state::storage::FolderStorage;
use crate::sync::{DryRunResult, DryRunTotal, NullTarget, Pass, PassReport, Target};
use crate::timeouts::PASS_STEP_TIMEOUT;
use crate::untrusted::Untrusted;

mod folders;
mod instrumented;
mod options;
mod rest;
mod source_login;
pub(crate) mod source_steps;
mod startup;
mod warnings;

use crate::run::account_sync::instrumented::PassMonitor;
use crate::run::account_sync::options::pass_options;
use crate::run::account_sync::source_steps::{CheckedSource, SourceConnection, WaitableSource};
use crate::run::account_sync::startup::{
    RenamedAccount, acquire_lock, adopt_state, open_only_folder,
};
pub(super) use crate::run::account_sync::startup::{account_names, describe};

/// With `--watch` the journal is folded into the snapshot when it is larger…
const MAX_JOURNAL_OCTETS: u64 = 1024 * 1024;

/// …or older.
const FOLD_INTERVAL: TimeDelta = TimeDelta::minutes(5);

/// Copies the mail of one account; holds its lock.
pub(crate) struct AccountSync<'a> {
    config: Config,
    lock: Lock,
    store: StateStore,
    /// Set until it is verified that the mailboxes are those of the state.
    renamed: Option<RenamedAccount>,
    /// Set until a pass has gone back to this time.
    since: Option<DateTime<Utc>>,
    /// The fingerprint of what the password command last printed.
    command_stamp: Option<String>,
    context: &'a RunContext<'a>,
    gmail: Option<GmailTarget>,
    /// When Gmail was last used, if its connections are open.
    gmail_last_used: Option<Instant>,
    /// When the oldest event in the journal was recorded.
    unfolded_since: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PassSummary {
    pub report: PassReport,
    /// Whether Gmail was used, and so is available.
    pub used_gmail: bool,
}

impl<'a> AccountSync<'a> {
    /// Checks the token file, takes the lock and loads the state.
    pub fn start(
        config: Config,
        state_file: &Path,
        mode: RunMode,
        options: OneTimeOptions,
        context: &'a RunContext<'a>,
    ) -> Result<AccountSync<'a>> {
        check_token_file(&config.target.token_file, &config.target.auth_command)?;
        let lock = acquire_lock(state_file).inspect_err(|error| {
            if error.kind() == ErrorKind::Resting {
                options.warn_of_no_effect();
            }
        })?;
        let now = context.timing.clock.now();
        let storage = Box::new(FolderStorage::new(state_file));
        let mut store = match mode {
            RunMode::Once | RunMode::Watch(_) => StateStore::load(storage, now)?,
            RunMode::DryRun => StateStore::load_read_only(storage, now)?,
        };
        let renamed = adopt_state(&mut store, &config, state_file, options.is_same_account)?;
        open_only_folder(&mut store, &config.source.folder)?;
        let mut account = AccountSync {
            config,
            lock,
            store,
            renamed,
            since: options.since,
            command_stamp: None,
            context,
            gmail: None,
            gmail_last_used: None,
            unfolded_since: None,
        };
        account.log_warnings(mode == RunMode::DryRun)?;
        Ok(account)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn state(&self) -> &State {
        self.store.state()
    }

    pub fn context(&self) -> &'a RunContext<'a> {
        self.context
    }

    /// Checks the source mailbox, on the open connection or a new one.
    pub fn check_source<'s>(
        &mut self,
        connection: &'s mut SourceConnection,
    ) -> Result<CheckedSource<'s>> {
        self.context.watchdog.extend_deadline(PASS_STEP_TIMEOUT);
        let started = self.now();
        let (source, mailbox) = match connection.0.take() {
            None => self.log_in_to_source()?,
            Some(mut source) => {
                let checked = source.check_for_mail();
                (source, self.record_failed_login(checked, started)?)
            }
        };
        Ok(CheckedSource {
            source: connection.0.insert(source),
            mailbox,
            started,
        })
    }

    /// Runs one pass, and records what it shows about the log-in at the source. The source can be
    /// waited on even after a failure, because Gmail may have failed.
    ///
    /// What a failed pass settled is in the journal.
    pub fn run_pass<'s>(
        &mut self,
        checked: CheckedSource<'s>,
    ) -> (WaitableSource<'s>, Result<PassSummary>) {
        let CheckedSource {
            source, started, ..
        } = checked;
        let context = self.context;
        let options = self.gmail_options(RenewalPolicy::Save);
        let gmail = self.gmail.get_or_insert_with(|| GmailTarget::new(options));
        gmail.start_pass(0);
        let monitor = PassMonitor::new(context);
        let mut monitored = (monitor.monitor(source), monitor.monitor(gmail));
        let verified = self.renamed.as_ref().map_or(Ok(()), |renamed| {
            let (source, gmail) = (&mut monitored.0, &mut monitored.1);
            let (store, config) = (&mut self.store, &self.config);
            renamed.verify(store, config, &checked.mailbox, source, gmail)
        });
        if verified.is_ok() {
            self.renamed = None;
        }
        let mut progress = (context.new_progress)();
        let pass = Pass {
            source: &mut monitored.0,
            target: &mut monitored.1,
            store: &mut self.store,
            options: &pass_options(&self.config, self.since),
            progress: progress.as_mut(),
            now: &|| context.timing.clock.now(),
        };
        let done = verified.and_then(|()| pass.run(&checked.mailbox, started));
        if done.is_ok() {
            self.since = None;
        }
        gmail.end_pass();
        let used_gmail = monitor.used_gmail.get();
        if self.store.has_unfolded_events() {
            self.unfolded_since.get_or_insert(started);
        }
        if used_gmail {
            self.gmail_last_used = Some(Instant::now());
        }
        let passed = self.record_failed_login(done, started);
        let summary = passed.map(|report| PassSummary { report, used_gmail });
        (WaitableSource(source), summary)
    }

    /// Reports for each message what a pass would do; copies and writes nothing.
    pub fn dry_run(
        &mut self,
        checked: CheckedSource<'_>,
        report: &mut dyn FnMut(&Listed, DryRunResult),
    ) -> Result<DryRunTotal> {
        let CheckedSource {
            source, mailbox, ..
        } = checked;
        let context = self.context;
        let options = self.gmail_options(RenewalPolicy::Never);
        let gmail = self.gmail.insert(GmailTarget::new(options));
        let can_ask_gmail = gmail.has_valid_token()?;
        let target: &mut dyn Target = if can_ask_gmail {
            gmail
        } else {
            &mut NullTarget
        };
        let monitor = PassMonitor::new(context);
        Pass {
            source: &mut monitor.monitor(source),
            target: &mut monitor.monitor(target),
            store: &mut self.store,
            options: &pass_options(&self.config, self.since),
            progress: &mut (),
            now: &|| context.timing.clock.now(),
        }
        .dry_run(&mailbox, can_ask_gmail, report)
    }

    /// Logs out of Gmail. The next pass that needs Gmail connects again, and loads the token file
    /// again.
    pub fn disconnect_gmail(&mut self) {
        self.gmail_last_used = None;
        if let Some(mut gmail) = self.gmail.take() {
            gmail.close();
        }
    }

    /// When the connections to Gmail will have been unused for too long, if they are open.
    pub fn gmail_idle_at(&self) -> Option<Instant> {
        let last_used = self.gmail_last_used?;
        Some(last_used + self.context.timing.gmail_keep_open)
    }

    /// Logs out of Gmail if its connections have been unused for too long.
    pub fn disconnect_idle_gmail(&mut self) {
        if self.gmail_idle_at().is_some_and(|at| at <= Instant::now()) {
            log::debug!("no mail for a while; logging out of Gmail");
            self.disconnect_gmail();
        }
    }

    /// Closes the connections to Gmail without LOGOUT, which after a suspend would only time out.
    pub fn drop_gmail(&mut self) {
        self.gmail_last_used = None;
        if let Some(gmail) = self.gmail.take() {
            // Dropping it logs out all the same, which may take a while.
            std::thread::spawn(move || drop(gmail));
        }
    }

    /// When the journal must be folded, if there is something in it.
    pub fn fold_due_at(&self) -> Option<DateTime<Utc>> {
        self.unfolded_since.map(|since| since + FOLD_INTERVAL)
    }

    /// Folds the journal into the snapshot if it is too large or too old.
    pub fn fold_if_due(&mut self) -> Result<()> {
        let is_old = self.fold_due_at().is_some_and(|at| at <= self.now());
        if is_old || self.store.unfolded_octets() >= MAX_JOURNAL_OCTETS {
            self.fold()?;
        }
        Ok(())
    }

    /// Folds the journal into the snapshot, if there is something in it.
    pub fn fold(&mut self) -> Result<()> {
        self.store.fold(self.now())?;
        self.unfolded_since = None;
        Ok(())
    }

    /// Records the time of a successful pass, in the lock file's time stamp.
    pub fn record_success(&self) -> Result<()> {
        self.lock.touch(SystemTime::now())
    }

    /// Uses another configuration of the same account from now on; both sides are connected again. If
    /// it is the configuration of another account, the old one stays in use.
    pub fn reconfigure(&mut self, config: Config, source: &mut SourceConnection) -> Result<()> {
        if !account_names(&config).is_same(&account_names(&self.config)) {
            let place = Untrusted::new(&config.source_account()).to_string();
            let what = "this is the configuration of another account";
            return Err(Error::new(Side::Host, ErrorKind::Config, place, what)
                .remedy("start another process for it, with its own --state-file"));
        }
        if config.first_run_days != self.config.first_run_days && !self.state().is_unsynced() {
            log::warn!(
                "first_run_days has no effect after the first run; to copy older mail, run once with \
                 --since"
            );
        }
        source.log_out();
        self.disconnect_gmail();
        self.config = config;
        Ok(())
    }

    fn now(&self) -> DateTime<Utc> {
        self.context.timing.clock.now()
    }
}
