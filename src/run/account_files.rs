//! The files of an account that `status` and `check` look at without running it.

use std::path::PathBuf;

use crate::config::{Config, Environment};
use crate::error::Result;

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
    pub(super) fn load_config(&self, environment: &Environment) -> Result<Config> {
        Config::load_in(&self.config, environment, &self.working_folders)
    }
}
