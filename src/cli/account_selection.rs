//! The options by which `status` and `check` name accounts, and the files of each.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::cli::args::{PROGRAM, path, see_help, usage};
use crate::config::{Environment, configurations_in};
use crate::error::{Error, Result};
use crate::run::account_files::AccountFiles;
use crate::state::storage;
use crate::untrusted::Untrusted;

/// Where the units in `systemd/` have the states.
const DEFAULT_STATE_FOLDER: &str = "/var/lib/imap-to-gmail-sync";

/// The accounts that a command looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountSelection {
    /// Configurations, and folders of configurations.
    configs: Vec<PathBuf>,
    state_file: Option<PathBuf>,
    state_folder: Option<PathBuf>,
}

impl AccountSelection {
    /// Checks the options `--config`, `--state-file` and `--state-folder` of this command.
    pub fn validate(
        command: &str,
        config: Vec<String>,
        state_file: Option<String>,
        state_folder: Option<String>,
    ) -> Result<AccountSelection> {
        let configs = config
            .into_iter()
            .map(|config| path("--config", Some(config)));
        let selection = AccountSelection {
            configs: configs
                .filter_map(Result::transpose)
                .collect::<Result<_>>()?,
            state_file: path("--state-file", state_file)?,
            state_folder: path("--state-folder", state_folder)?,
        };
        if selection.configs.is_empty() {
            return Err(usage("--config FILE is missing").remedy(see_help(&[PROGRAM, command])));
        }
        if selection.state_file.is_some() && selection.state_folder.is_some() {
            return Err(usage(
                "--state-file and --state-folder cannot be used together",
            ));
        }
        selection.check_state_file(selection.configs.len() > 1)?;
        Ok(selection)
    }

    fn check_state_file(&self, has_several: bool) -> Result<()> {
        if self.state_file.is_some() && has_several {
            return Err(usage(
                "--state-file names the state of one configuration; use --state-folder",
            ));
        }
        Ok(())
    }

    /// Whether several accounts are asked for, or a folder that may have several.
    pub fn has_several(&self) -> bool {
        self.configs.len() > 1 || self.configs.iter().any(|config| config.is_dir())
    }

    /// The accounts, in the order of the options, each once.
    pub fn accounts(&self, environment: &Environment) -> Result<Vec<AccountFiles>> {
        self.check_state_file(self.has_several())?;
        let mut accounts: Vec<AccountFiles> = Vec::new();
        for config in &self.configs {
            let configs = if config.is_dir() {
                configurations_in(config)?
            } else {
                vec![config.clone()]
            };
            for config in configs {
                let account = self.account(config, environment);
                match accounts.iter().find(|other| other.name == account.name) {
                    None => accounts.push(account),
                    Some(other) if other.config == account.config => {}
                    Some(other) => return Err(same_name_error(other, &account)),
                }
            }
        }
        Ok(accounts)
    }

    fn account(&self, config: PathBuf, environment: &Environment) -> AccountFiles {
        let name = config.file_stem().unwrap_or(OsStr::new(""));
        let state = self.state_path(name, environment);
        AccountFiles {
            name: Untrusted::new(name.as_encoded_bytes()).to_string(),
            working_folders: self.working_folders(&state),
            state,
            config,
        }
    }

    /// A service works in the folder of its state; a run by hand, there or in the current folder.
    fn working_folders(&self, state: &Path) -> Vec<PathBuf> {
        let beside_state = state.parent().unwrap_or(Path::new("")).to_owned();
        if self.state_folder.is_some() || self.has_several() {
            return vec![beside_state];
        }
        vec![beside_state, PathBuf::new()]
    }

    /// The state of an account, by the name of its configuration.
    fn state_path(&self, name: &OsStr, environment: &Environment) -> PathBuf {
        let in_folder = |folder: &Path| storage::default_path(Some(&folder.join(name)));
        let state_directory = environment.state_directory.as_deref();
        match (&self.state_file, &self.state_folder) {
            (Some(file), _) => file.clone(),
            (None, Some(folder)) => in_folder(folder),
            (None, None) if self.has_several() => {
                in_folder(state_directory.unwrap_or(Path::new(DEFAULT_STATE_FOLDER)))
            }
            (None, None) => storage::default_path(state_directory),
        }
    }
}

fn same_name_error(one: &AccountFiles, other: &AccountFiles) -> Error {
    let (one, other) = (Untrusted::path(&one.config), Untrusted::path(&other.config));
    usage(format_args!(
        "{one} and {other} have the same name, by which their states are told apart"
    ))
    .remedy("rename one, or ask for each alone with --state-file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn each_of_several_states_is_in_a_folder_of_its_own() {
        let parse = |configs: &[&str], file: Option<&str>, folder: Option<&str>| {
            let configs = configs.iter().map(|&config| config.to_owned()).collect();
            let [file, folder] = [file, folder].map(|path| path.map(str::to_owned));
            AccountSelection::validate("status", configs, file, folder).unwrap()
        };
        let service = Environment {
            state_directory: Some("/s".into()),
            ..Environment::default()
        };
        let states = |selection: &AccountSelection, environment: &Environment| {
            let accounts = selection.accounts(environment).unwrap();
            accounts
                .iter()
                .map(|account| account.state.display().to_string())
                .collect::<Vec<_>>()
        };
        let one = parse(&["a.json"], None, None);
        let two = parse(&["a.json", "b.json"], None, None);
        let plain = Environment::default();
        assert_eq!(states(&one, &plain), ["sync_state.json"]);
        assert_eq!(states(&one, &service), ["/s/sync_state.json"]);
        let default = DEFAULT_STATE_FOLDER;
        assert_eq!(
            states(&two, &plain),
            ["a", "b"].map(|name| format!("{default}/{name}/sync_state.json"))
        );
        assert_eq!(
            states(&two, &service),
            ["/s/a/sync_state.json", "/s/b/sync_state.json"]
        );
        let folder = parse(&["a.json"], None, Some("d"));
        assert_eq!(states(&folder, &service), ["d/a/sync_state.json"]);
        let file = parse(&["a.json"], Some("f"), None);
        assert_eq!(states(&file, &service), ["f"]);
        // The same file twice is one account; another of the same name has no state of its own.
        let twice = parse(&["a.json", "a.json"], None, None);
        assert_eq!(states(&twice, &service).len(), 1);
        let ambiguous = parse(&["a.json", "x/a.json"], None, None);
        assert_eq!(
            ambiguous.accounts(&plain).unwrap_err().kind(),
            ErrorKind::Usage
        );
    }
}
