//! The files of an account that `status` and `check` look at without running it.

use std::path::{Path, PathBuf};

use crate::config::{Config, Environment};
use crate::error::Result;
use crate::file_access;
use crate::state::storage;

/// An account that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountFiles {
    /// Its name: that of the configuration file.
    pub name: String,
    pub config: PathBuf,
    pub state: PathBuf,
    /// Where its runs may work, which find there what is not beside the configuration.
    pub working_folders: Vec<PathBuf>,
}

impl AccountFiles {
    /// The configuration as a run reads it.
    pub fn load_config(&self, environment: &Environment) -> Result<Config> {
        Config::load_in(&self.config, environment, &self.working_folders)
    }
}

/// What a file is to the account of this configuration and this state, which would be harmed if something
/// else were written there.
pub(crate) fn role_of(
    file: &Path,
    config_file: &Path,
    state_file: &Path,
    config: Option<&Config>,
) -> Option<&'static str> {
    let is_it = |other: &Path| file_access::is_same_path(file, other);
    if is_it(config_file) {
        Some("it is the configuration")
    } else if storage::files(state_file).iter().any(|file| is_it(file)) {
        Some("it belongs to the state")
    } else if config.is_some_and(|config| config.files().any(is_it)) {
        Some("it is a file that the configuration names")
    } else {
        None
    }
}
