//! The start of a run: takes the lock, and checks that the state is this account's.

use std::path::Path;

use crate::config::{Config, FolderConfig, INBOX};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::message::Mailbox;
use crate::state::journal::StateStore;
use crate::state::lock::{Lock, LockAttempt};
use crate::state::{AccountNames, Event, State};
use crate::sync::{Source, Target, is_same_gmail_account, is_same_mailbox};
use crate::untrusted::Untrusted;

pub(super) fn acquire_lock(state_file: &Path) -> Result<Lock> {
    match Lock::try_acquire(state_file)? {
        LockAttempt::Acquired(mut lock) => {
            lock.write_pid(std::process::id())?;
            Ok(lock)
        }
        LockAttempt::Busy { path, holder } => {
            let holder = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let what = format!("another run holds the lock{holder}");
            let place = Untrusted::path(&path);
            Err(Error::new(Side::Host, ErrorKind::Resting, place, what))
        }
    }
}

/// A state of other names than those of the configuration, which may be new names of the same
/// account.
#[derive(Debug)]
pub(super) struct RenamedAccount {
    recorded: AccountNames,
    configured: AccountNames,
}

/// Assigns a state that is bound to no account to this one. Fails if it is another account's, unless
/// that may have been renamed; then it must be verified.
pub(super) fn adopt_state(
    store: &mut StateStore,
    config: &Config,
    state_file: &Path,
    may_be_renamed: bool,
) -> Result<Option<RenamedAccount>> {
    let configured = account_names(config);
    let recorded = match &store.state().account {
        Some(recorded) if recorded.is_same(&configured) => return Ok(None),
        Some(recorded) if store.state().is_bound_to_account() => recorded.clone(),
        _ => {
            store.record(Event::Account(configured))?;
            return Ok(None);
        }
    };
    if may_be_renamed {
        return Ok(Some(RenamedAccount {
            recorded,
            configured,
        }));
    }
    let what = format_args!(
        "this state is for {}, and the configuration names {}",
        describe(&recorded),
        describe(&configured),
    );
    Err(Error::in_file(Side::Host, state_file, what).remedy(
        "give each account its own --state-file; or, if these are new names of the same account, \
         add --same-account to one run",
    ))
}

/// What is recorded from now on is about the only folder; several are selected one by one.
///
/// The only folder of a state has whatever name is configured: the mailbox that its UIDs belong to shows
/// whether they hold. That of a state of an earlier release has the name of this mailbox. One of which nothing
/// but the last pass is known stays without a name: its other folders are lost as well.
pub(super) fn name_folder(store: &mut StateStore, config: &Config) -> Result<()> {
    let (state, configured) = (store.state(), config.source.folder.as_str());
    let event = match &config.folders {
        FolderConfig::Single(_) if state.folder_name() == configured => return Ok(()),
        FolderConfig::Single(_) if state.has_one_folder() && is_of_one_folder(state) => {
            Event::FolderRenamed(configured.to_owned())
        }
        FolderConfig::Single(_) => Event::Folder(configured.to_owned()),
        FolderConfig::Many(_) if !state.folder_name().is_empty() => return Ok(()),
        FolderConfig::Many(_) => {
            let of_mailbox = state.folder.source_mailbox();
            let user = format!("{}@", config.source.user);
            let of_mailbox = of_mailbox.and_then(|(name, _)| {
                let name = name.strip_prefix(&user).unwrap_or(name);
                Some(name.split_once('/')?.1)
            });
            let is_of_original = state.folder.last_source_uid > 0;
            match of_mailbox.or(is_of_original.then_some(INBOX)) {
                Some(name) => Event::FolderRenamed(name.to_owned()),
                None => return Ok(()),
            }
        }
    };
    store.record(event)
}

/// Whether the state was written with one folder in the configuration, or names none yet.
fn is_of_one_folder(state: &State) -> bool {
    let names_several = |account: &AccountNames| account.source.ends_with('/');
    state.folder_name().is_empty() || !state.account.as_ref().is_some_and(names_several)
}

impl RenamedAccount {
    /// Verifies that the mailboxes are those of the state, and assigns it to the new names.
    ///
    /// # Errors
    /// One of them is another one ([`ErrorKind::Config`]), or a server is unavailable.
    pub fn verify(
        &self,
        store: &mut StateStore,
        config: &Config,
        mailbox: &Mailbox,
        source: &mut dyn Source,
        target: &mut dyn Target,
    ) -> Result<()> {
        let (recorded, configured) = (&self.recorded, &self.configured);
        // The servers are fine: no retry helps.
        let is_other = |place: &str, what: &str| {
            Error::new(Side::Host, ErrorKind::Config, Untrusted::new(place), what)
                .during("verifying that it is the account that the state belongs to")
                .remedy("use another --state-file")
        };
        let is_renamed_source = recorded.source != configured.source;
        if is_renamed_source && !is_same_mailbox(store.state(), mailbox, source)? {
            let what = if store.state().folder.samples().is_empty() {
                "the state was written by an earlier release, and knows no message to verify it by"
            } else {
                "the messages that were copied last are not there under their UIDs"
            };
            return Err(is_other(&config.source_name(), what));
        }
        let is_renamed_user = recorded.target_user() != configured.target_user();
        if is_renamed_user && !is_same_gmail_account(store.state(), target)? {
            let what = "it does not have the messages that were copied last";
            return Err(is_other(&config.target.user, what));
        }
        log::info!(
            "the state of {} is now for {}",
            describe(recorded),
            describe(configured)
        );
        // The name of a mailbox that was not verified here stays: the pass verifies it.
        let renamed = is_renamed_source.then(|| Event::SourceRenamed(config.source_name()));
        let assigned = Event::Account(configured.clone());
        store.record_all(renamed.into_iter().chain([assigned]).collect())?;
        store.sync()
    }
}

pub(in crate::run) fn describe(names: &AccountNames) -> String {
    let shown = |name: &str| Untrusted::new(name.trim_end_matches('/')).to_string();
    let (source, target) = (shown(&names.source), shown(&names.target));
    format!("{source} to {target}")
}

pub(in crate::run) fn account_names(config: &Config) -> AccountNames {
    AccountNames {
        source: config.source_account(),
        target: config.target_account(),
    }
}
