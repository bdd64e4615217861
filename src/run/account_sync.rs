//! What a one-shot run and `--watch` share: the lock, the state, both servers, and one pass.
//!
//! The order of steps (check the source, run a pass, wait for mail) is enforced by the types of
//! [`source_steps`].

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Config;
use crate::delivery::GmailDelivery;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::check_token_file;
use crate::run::context::RunContext;
use crate::run::{OneTimeOptions, RunMode};
use crate::state::State;
use crate::state::journal::StateStore;
use crate::state::lock::Lock;
use crate::state::storage::FolderStorage;
use crate::untrusted::Untrusted;

mod dry_run;
mod folders;
mod instrumented;
mod options;
mod passes;
mod rest;
mod since;
mod source_login;
pub(crate) mod source_steps;
mod startup;
mod warnings;

pub(crate) use crate::run::account_sync::dry_run::DryRunLine;
pub(crate) use crate::run::account_sync::passes::PassSummary;
use crate::run::account_sync::since::SinceRequest;
use crate::run::account_sync::source_steps::SourceConnection;
use crate::run::account_sync::startup::{RenamedAccount, acquire_lock, adopt_state, name_folder};
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
    /// The folders that the last check found to be copied, if there are several.
    copied_folders: Option<Vec<String>>,
    /// The folders whose last pass failed, or was due and did not begin.
    failed_folders: BTreeSet<String>,
    /// Set until a pass over each folder has gone back to that time.
    since: Option<SinceRequest>,
    /// The fingerprint of what the password command last printed.
    command_stamp: Option<String>,
    context: &'a RunContext<'a>,
    gmail: Option<GmailDelivery>,
    /// When Gmail was last used, if its connections are open.
    gmail_last_used: Option<Instant>,
    /// When the oldest event in the journal was recorded.
    unfolded_since: Option<DateTime<Utc>>,
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
        name_folder(&mut store, &config)?;
        let mut account = AccountSync {
            config,
            lock,
            store,
            renamed,
            copied_folders: None,
            failed_folders: BTreeSet::new(),
            since: options.since.map(SinceRequest::new),
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
        self.copied_folders = None;
        name_folder(&mut self.store, &self.config)
    }

    fn now(&self) -> DateTime<Utc> {
        self.context.timing.clock.now()
    }
}
