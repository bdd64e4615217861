//! The start of a run: takes the lock, and checks that the state is this account's.

use std::path::Path;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::state::journal::StateStore;
use crate::state::lock::{Lock, LockAttempt};
use crate::state::{AccountNames, Event};
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

/// Assigns a state without an account to this one; fails if the state is another account's.
pub(super) fn adopt_state(
    store: &mut StateStore,
    config: &Config,
    state_file: &Path,
) -> Result<()> {
    let ours = account_names(config);
    match &store.state().account {
        Some(account) if *account == ours => Ok(()),
        Some(account) => Err(Error::in_file(
            Side::Host,
            state_file,
            format_args!(
                "this state is of {} to {}, and the configuration says {} to {}",
                Untrusted::new(&account.source),
                Untrusted::new(&account.target),
                Untrusted::new(&ours.source),
                Untrusted::new(&ours.target),
            ),
        )
        .remedy("give each account its own --state-file")),
        None => store.record(Event::Account(ours)),
    }
}

pub(super) fn account_names(config: &Config) -> AccountNames {
    AccountNames {
        source: config.source_account(),
        target: config.target_account(),
    }
}
