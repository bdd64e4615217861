//! The files of an account that `status` and `check` look at without running it.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::file_access;
use crate::state::storage;

/// An account that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountFiles {
    /// Its name: that of the configuration file.
    pub name: String,
    pub config: PathBuf,
    pub state: PathBuf,
}

impl AccountFiles {
    /// What this file is to the account, which would be harmed if something else were written there.
    pub fn role_of(&self, file: &Path, config: Option<&Config>) -> Option<&'static str> {
        let is_it = |other: &Path| file_access::is_same_path(file, other);
        let is_named =
            |config: &Config| config.files().any(is_it) || is_it(&self.token_file(config));
        if is_it(&self.config) {
            Some("it is the configuration")
        } else if storage::files(&self.state).iter().any(|file| is_it(file)) {
            Some("it belongs to the state")
        } else if config.is_some_and(is_named) {
            Some("it is a file that the configuration names")
        } else {
            None
        }
    }

    /// The token file as a service finds it, which runs in the folder of its state.
    pub(super) fn token_file(&self, config: &Config) -> PathBuf {
        let configured = &config.target.token_file;
        let beside_config = self.config.parent().unwrap_or(Path::new(""));
        if configured.starts_with(beside_config) && configured.exists() {
            return configured.clone();
        }
        let name = configured.strip_prefix(beside_config).unwrap_or(configured);
        let beside_state = self.state.parent().unwrap_or(Path::new("")).join(name);
        if beside_state.exists() {
            return beside_state;
        }
        configured.clone()
    }
}
