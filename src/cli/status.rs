//! `status`: reports what the state of each account says. Its options, and what it prints.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use chrono::{DateTime, TimeDelta, Utc};

use crate::atomic_file::WriteGuard;
use crate::cli::args::{PROGRAM, path, see_help, usage};
use crate::cli::{print_error, print_line};
use crate::config::size::parse_number;
use crate::config::{Environment, configurations_in};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::file_access;
use crate::process::logging::StreamEnvironment;
use crate::run::status::{AccountFiles, StatusReport};
use crate::state::storage;
use crate::untrusted::Untrusted;

mod metrics;
mod text;

/// The word that selects the command.
pub(crate) const NAME: &str = "status";

/// A last success that is older is not well.
const DEFAULT_MAX_AGE: TimeDelta = TimeDelta::hours(1);

/// Where the units in `systemd/` have the states.
const DEFAULT_STATE_FOLDER: &str = "/var/lib/imap-to-gmail-sync";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusArgs {
    /// Configurations, and folders of configurations.
    pub configs: Vec<PathBuf>,
    pub state_file: Option<PathBuf>,
    pub state_folder: Option<PathBuf>,
    pub max_age: TimeDelta,
    pub is_json: bool,
    pub metrics: Option<PathBuf>,
}

/// The options as argh parses them.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("--help"),
    description = "Tells from the state whether mail is still being copied, without connecting to\n\
                   a server and without disturbing a run.",
    example = "imap-to-gmail-sync status --config config.json\n\
               imap-to-gmail-sync status --config /etc/imap-to-gmail-sync --max-age 10m",
    note = "Of several configurations, or a folder of them, it prints a line each; the\n\
            state of NAME.json is NAME/sync_state.json in the folder of --state-folder,\n\
            by default $STATE_DIRECTORY, else /var/lib/imap-to-gmail-sync.\n\n\
            Exit status, the highest of all accounts: 0 well; 1 no run yet, the last\n\
            success is too old, mail is refused, or a person must act; 64 usage; 74 the\n\
            state cannot be read, or the metrics cannot be written; 78 configuration."
)]
pub(crate) struct RawStatusArgs {
    /// the configuration, or a folder with configurations (*.json); may be repeated; required
    #[argh(option, arg_name = "file")]
    config: Vec<String>,

    /// the state of a single configuration; default: as for a run
    #[argh(option, arg_name = "file")]
    state_file: Option<String>,

    /// the folder with a folder for each account's state
    #[argh(option, arg_name = "folder")]
    state_folder: Option<String>,

    /// how old the last success may be, such as 90s, 10m, 2h or 1d; default: 1h
    #[argh(option, arg_name = "duration")]
    max_age: Option<String>,

    /// print JSON: an array with an object for each account
    #[argh(switch)]
    json: bool,

    /// also write metrics for the textfile collector of Prometheus' node exporter
    #[argh(option, arg_name = "file")]
    metrics: Option<String>,
}

impl RawStatusArgs {
    pub(crate) fn validate(self) -> Result<StatusArgs> {
        let configs = self
            .config
            .into_iter()
            .map(|config| path("--config", Some(config)));
        let args = StatusArgs {
            configs: configs
                .filter_map(Result::transpose)
                .collect::<Result<_>>()?,
            state_file: path("--state-file", self.state_file)?,
            state_folder: path("--state-folder", self.state_folder)?,
            max_age: self
                .max_age
                .as_deref()
                .map_or(Ok(DEFAULT_MAX_AGE), max_age)?,
            is_json: self.json,
            metrics: path("--metrics", self.metrics)?,
        };
        if args.configs.is_empty() {
            return Err(usage("--config FILE is missing").remedy(see_help(&[PROGRAM, NAME])));
        }
        if args.state_file.is_some() && args.state_folder.is_some() {
            return Err(usage(
                "--state-file and --state-folder cannot be used together",
            ));
        }
        args.check_state_file(args.configs.len() > 1)?;
        Ok(args)
    }
}

impl StatusArgs {
    fn check_state_file(&self, has_several: bool) -> Result<()> {
        if self.state_file.is_some() && has_several {
            return Err(usage(
                "--state-file names the state of one configuration; use --state-folder",
            ));
        }
        Ok(())
    }

    /// Whether several accounts are asked for, or a folder that may have several.
    fn has_several(&self) -> bool {
        self.configs.len() > 1 || self.configs.iter().any(|config| config.is_dir())
    }

    fn accounts(&self, environment: &Environment) -> Result<Vec<AccountFiles>> {
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
        AccountFiles {
            name: Untrusted::new(name.as_encoded_bytes()).to_string(),
            state: self.state_path(name, environment),
            config,
        }
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

    fn write_metrics(&self, reports: &[StatusReport]) -> Result<()> {
        let Some(file) = &self.metrics else {
            return Ok(());
        };
        let octets = metrics::of(reports).into_bytes();
        // The node exporter is another user.
        let written =
            WriteGuard::lock(file).and_then(|guard| guard.write_with_mode(&octets, 0o644));
        written.map_err(|error| {
            let remedy = file_access::remedy(&error).unwrap_or("correct --metrics");
            Error::new(Side::Host, ErrorKind::Disk, Untrusted::path(file), &error)
                .during("writing the metrics")
                .remedy(remedy)
        })
    }
}

/// Prints the status of each account; returns the exit status.
pub(crate) fn run(
    args: &StatusArgs,
    environment: &Environment,
    now: DateTime<Utc>,
    streams: StreamEnvironment<'_>,
) -> u8 {
    let fail = |error: Error| {
        print_error(&error, streams);
        error.kind().exit_status()
    };
    let accounts = match args.accounts(environment) {
        Ok(accounts) => accounts,
        Err(error) => return fail(error),
    };
    let status = |account: &AccountFiles| account.status(environment, args.max_age, now);
    let reports: Vec<StatusReport> = accounts.iter().map(status).collect();
    print_line(io::stdout(), args.printed(&reports, now).trim_end());
    let written = args.write_metrics(&reports).map_err(fail).err();
    let statuses = reports.iter().map(|report| report.exit_status);
    statuses.chain(written).max().unwrap_or_default()
}

impl StatusArgs {
    fn printed(&self, reports: &[StatusReport], now: DateTime<Utc>) -> String {
        if self.is_json {
            return serde_json::to_string_pretty(reports).unwrap_or_default();
        }
        match reports {
            [report] if !self.has_several() => text::screen(report, now),
            reports => text::lines(reports),
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

fn max_age(text: &str) -> Result<TimeDelta> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
    let unit = units.into_iter();
    let mut seconds = unit.filter_map(|(letter, seconds)| {
        let digits = text.strip_suffix(letter)?;
        let number: i64 = parse_number(digits)?;
        number.checked_mul(seconds).filter(|seconds| *seconds > 0)
    });
    let age = seconds.next().and_then(TimeDelta::try_seconds);
    age.ok_or_else(|| usage("--max-age requires a duration such as 90s, 10m, 2h or 1d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit_of_time() {
        let cases = [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)];
        for (text, seconds) in cases {
            assert_eq!(max_age(text), Ok(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in [
            "",
            "1",
            "h",
            "0s",
            "-1h",
            "+1h",
            "1 h",
            "1h30m",
            "1w",
            "1.5h",
            "99999999999999999999d",
            "9223372036854775807s",
            "106751991167301d",
        ] {
            assert!(max_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_of_several_states_is_in_a_folder_of_its_own() {
        let parse = |words: &[&str]| {
            let args = RawStatusArgs::from_args(&["status"], words).unwrap();
            args.validate().unwrap()
        };
        let service = Environment {
            state_directory: Some("/s".into()),
            ..Environment::default()
        };
        let states = |words: &[&str], environment: &Environment| {
            let accounts = parse(words).accounts(environment).unwrap();
            accounts
                .iter()
                .map(|account| account.state.display().to_string())
                .collect::<Vec<_>>()
        };
        let (one, two) = (
            ["--config", "a.json"],
            ["--config", "a.json", "--config", "b.json"],
        );
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
        let folder = [&one[..], &["--state-folder", "d"]].concat();
        assert_eq!(states(&folder, &service), ["d/a/sync_state.json"]);
        let file = [&one[..], &["--state-file", "f"]].concat();
        assert_eq!(states(&file, &service), ["f"]);
        // The same file twice is one account; another of the same name has no state of its own.
        let twice = ["--config", "a.json", "--config", "a.json"];
        assert_eq!(states(&twice, &service).len(), 1);
        let ambiguous = parse(&["--config", "a.json", "--config", "x/a.json"]);
        assert_eq!(
            ambiguous.accounts(&plain).unwrap_err().kind(),
            ErrorKind::Usage
        );
    }
}
