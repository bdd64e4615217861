//! Reloading the configuration while `--watch` runs.

use std::path::Path;

use crate::config::{Config, Environment};
use crate::error::Result;
use crate::run::account_sync::AccountSync;
use crate::run::account_sync::source_steps::SourceConnection;

/// The files that the configuration is loaded from.
pub(crate) struct ConfigReload<'a> {
    config_file: &'a Path,
    environment: &'a Environment,
    /// The credentials of a configuration that was reloaded and found to be another account's.
    rejected_stamp: Option<String>,
}

impl<'a> ConfigReload<'a> {
    pub fn new(config_file: &'a Path, environment: &'a Environment) -> ConfigReload<'a> {
        ConfigReload {
            config_file,
            environment,
            rejected_stamp: None,
        }
    }

    /// Whether the files hold other credentials than those in use, and not credentials that
    /// [`reload`](ConfigReload::reload) has rejected already.
    pub fn has_new_credentials(&self, config: &Config) -> bool {
        self.load().is_ok_and(|loaded| {
            let stamp = loaded.credentials_stamp();
            stamp != config.credentials_stamp() && self.rejected_stamp.as_ref() != Some(&stamp)
        })
    }

    /// Makes the account use the configuration as it is now. If it is wrong, or another account's,
    /// the old one stays in use.
    pub fn reload(
        &mut self,
        account: &mut AccountSync<'_>,
        source: &mut SourceConnection,
    ) -> Result<()> {
        let loaded = self.load();
        self.rejected_stamp = loaded.as_ref().ok().map(Config::credentials_stamp);
        account.reconfigure(loaded?, source)?;
        self.rejected_stamp = None;
        Ok(())
    }

    fn load(&self) -> Result<Config> {
        Config::load(self.config_file, self.environment)
    }
}
