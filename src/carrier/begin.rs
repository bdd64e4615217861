//! Before anything is carried: the lock, and whose state it is.

use std::path::Path;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::foreign::Foreign;
use crate::lock::{Lock, Taken};
use crate::state::journal::Store;
use crate::state::{Account, Event};

pub(super) fn take_lock(state: &Path) -> Result<Lock> {
    match Lock::take(state)? {
        Taken::Ours(mut lock) => {
            lock.sign(std::process::id())?;
            Ok(lock)
        }
        Taken::Busy { path, holder } => {
            let holder = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let what = format!("another run holds the lock{holder}");
            Err(Error::new(Kind::Resting, path.display(), what))
        }
    }
}

/// Makes a state that is nobody's this account's, and refuses one that is another's.
pub(super) fn adopt(store: &mut Store, config: &Config, path: &Path) -> Result<()> {
    let ours = account_of(config);
    match &store.state().account {
        Some(account) if *account == ours => Ok(()),
        Some(account) => Err(Error::new(
            Kind::Config,
            path.display(),
            format!(
                "this state is of {} to {}, and the configuration says {} to {}",
                Foreign::new(&account.source),
                Foreign::new(&account.target),
                Foreign::new(&ours.source),
                Foreign::new(&ours.target),
            ),
        )
        .remedy("give each account its own --state-file")),
        None => store.record(Event::Account(ours)),
    }
}

pub(super) fn account_of(config: &Config) -> Account {
    Account {
        source: config.source_account(),
        target: config.target_account(),
    }
}
