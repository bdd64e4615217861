//! The files of an account that `status` and `check` look at without running it.

use std::path::{Path, PathBuf};

use crate::config::Config;

/// An account that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountFiles {
    /// Its name: that of the configuration file.
    pub name: String,
    pub config: PathBuf,
    pub state: PathBuf,
}

impl AccountFiles {
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
