//! Before anything is carried: the lock, and whose state it is.

use std::path::Path;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::state::journal::StateStore;
use crate::state::lock::{Lock, LockAttempt};
use crate::state::{AccountNames, Event};
use crate::untrusted::Untrusted;

pub(super) fn take_lock(state: &Path) -> Result<Lock> {
    match Lock::try_acquire(state)? {
        LockAttempt::Acquired(mut lock) => {
            lock.write_pid(std::process::id())?;
            Ok(lock)
        }
        LockAttempt::Busy { path, holder } => {
            let holder = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let what = format!("another run holds the lock{holder}");
            Err(Error::new(
                Side::Host,
                ErrorKind::Resting,
                Untrusted::path(&path),
                what,
            ))
        }
    }
}

/// Makes a state that is nobody's this account's, and refuses one that is another's.
pub(super) fn adopt(store: &mut StateStore, config: &Config, path: &Path) -> Result<()> {
    let ours = account_of(config);
    match &store.state().account {
        Some(account) if *account == ours => Ok(()),
        Some(account) => Err(Error::new(
            Side::Host,
            ErrorKind::Config,
            Untrusted::path(path),
            format!(
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

pub(super) fn account_of(config: &Config) -> AccountNames {
    AccountNames {
        source: config.source_account(),
        target: config.target_account(),
    }
}
