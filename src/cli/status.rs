//! `status`: reports what the state of each account says. Its options, and what it prints.

use std::fs;
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use chrono::{DateTime, TimeDelta, Utc};

use crate::atomic_file::WriteGuard;
use crate::cli::account_selection::AccountSelection;
use crate::cli::args::{path, usage};
use crate::cli::{print_error, print_output};
use crate::config::Environment;
use crate::config::size::parse_duration;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::file_access;
use crate::process::logging::StreamEnvironment;
use crate::run::account_files::{AccountFiles, role_of};
use crate::run::status::{StatusLimits, StatusReport};
use crate::untrusted::Untrusted;

mod metrics;
mod text;

/// The word that selects the command.
pub(crate) const NAME: &str = "status";

const WRITING_METRICS: &str = "writing the metrics";

const OTHER_METRICS: &str = "name another file by --metrics";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusArgs {
    pub selection: AccountSelection,
    pub limits: StatusLimits,
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
            success is too old, mail was refused, or a person must act; 64 usage; 74 the\n\
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

    /// how long refused mail counts; older is only listed; default: 7d
    #[argh(option, arg_name = "duration")]
    refused_within: Option<String>,

    /// print JSON: an array with an object for each account
    #[argh(switch)]
    json: bool,

    /// also write metrics for the textfile collector of Prometheus' node exporter
    #[argh(option, arg_name = "file")]
    metrics: Option<String>,
}

impl RawStatusArgs {
    pub(crate) fn validate(self) -> Result<StatusArgs> {
        Ok(StatusArgs {
            selection: AccountSelection::validate(
                NAME,
                self.config,
                self.state_file,
                self.state_folder,
            )?,
            limits: StatusLimits {
                max_age: duration("--max-age", self.max_age.as_deref())?
                    .unwrap_or(StatusLimits::DEFAULT.max_age),
                refused_within: duration("--refused-within", self.refused_within.as_deref())?
                    .unwrap_or(StatusLimits::DEFAULT.refused_within),
            },
            is_json: self.json,
            metrics: path("--metrics", self.metrics)?,
        })
    }
}

impl StatusArgs {
    /// Rejects as the metrics a file that an account needs for something else.
    fn check_metrics_file(
        &self,
        accounts: &[AccountFiles],
        environment: &Environment,
    ) -> Result<()> {
        let Some(file) = &self.metrics else {
            return Ok(());
        };
        let role = |account: &AccountFiles| {
            let config = account.load_config(environment).ok();
            role_of(file, &account.config, &account.state, config.as_ref())
        };
        let Some(what) = accounts.iter().find_map(role) else {
            return Ok(());
        };
        let error = Error::new(Side::Config, ErrorKind::Usage, Untrusted::path(file), what);
        Err(error.during(WRITING_METRICS).remedy(OTHER_METRICS))
    }

    fn write_metrics(&self, reports: &[StatusReport]) -> Result<()> {
        let Some(file) = &self.metrics else {
            return Ok(());
        };
        let octets = metrics::of(reports).into_bytes();
        // The node exporter is another user.
        let written =
            WriteGuard::lock_regular(file).and_then(|guard| guard.write_with_mode(&octets, 0o644));
        written.map_err(|error| {
            // A device or a link of the system is not to be removed.
            let is_other = fs::symlink_metadata(file).is_ok_and(|found| !found.is_file());
            let remedy = file_access::remedy(&error).filter(|_| !is_other);
            let remedy = remedy.unwrap_or(OTHER_METRICS);
            Error::new(Side::Host, ErrorKind::Disk, Untrusted::path(file), &error)
                .during(WRITING_METRICS)
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
    let accounts = match args.selection.accounts(environment) {
        Ok(accounts) => accounts,
        Err(error) => return fail(error),
    };
    let status = |account: &AccountFiles| account.status(environment, args.limits, now);
    let reports: Vec<StatusReport> = accounts.iter().map(status).collect();
    // After the reports: a configuration from a pipe can be read only once.
    if let Err(error) = args.check_metrics_file(&accounts, environment) {
        return fail(error);
    }
    let printed = print_output(args.printed(&reports, now).trim_end(), streams);
    let written = args.write_metrics(&reports).map_err(fail).err();
    let statuses = reports.iter().map(|report| report.exit_status);
    statuses
        .chain(written)
        .chain([printed])
        .max()
        .unwrap_or_default()
}

impl StatusArgs {
    fn printed(&self, reports: &[StatusReport], now: DateTime<Utc>) -> String {
        if self.is_json {
            return serde_json::to_string_pretty(reports).unwrap_or_default();
        }
        match reports {
            [report] if !self.selection.has_several() => text::screen(report, now),
            reports => text::lines(reports),
        }
    }
}

/// The value of an option that is a duration.
fn duration(option: &str, text: Option<&str>) -> Result<Option<TimeDelta>> {
    let Some(text) = text else {
        return Ok(None);
    };
    match parse_duration(text) {
        Some(duration) => Ok(Some(duration)),
        None => Err(usage(format_args!(
            "{option} requires a duration such as 90s, 10m, 2h or 1d"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit_of_time() {
        let read = |text| duration("--max-age", Some(text));
        let cases = [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)];
        for (text, seconds) in cases {
            assert_eq!(read(text), Ok(Some(TimeDelta::seconds(seconds))), "{text}");
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
            assert!(read(text).is_err(), "{text}");
        }
    }
}
