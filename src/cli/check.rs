//! `check`: logs in to both sides of each account, and says what works. Its options, and what it
//! prints.

use std::io;
use std::process;
use std::sync::Arc;

use argh::{ArgsInfo, FromArgs};
use log::Level;

use crate::cli::account_selection::AccountSelection;
use crate::cli::args::PROGRAM;
use crate::cli::{print_line, report};
use crate::config::Environment;
use crate::error::Result;
use crate::process::logging::{self, LogLevel, LogOptions, StreamEnvironment};
use crate::process::signals::ForcedExit;
use crate::run::RunMode;
use crate::run::account_files::AccountFiles;
use crate::run::check::{CheckReport, Finding, INTERRUPTED};
use crate::run::context::RunContext;
use crate::run::timing::Timing;

mod text;

/// The word that selects the command.
pub(crate) const NAME: &str = "check";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckArgs {
    pub selection: AccountSelection,
    pub is_json: bool,
    pub is_debug: bool,
}

/// The options as argh parses them.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("--help"),
    description = "Logs in to the source and to Gmail, and says what works and how to correct what\n\
                   does not. It moves no mail and writes nothing, and may run at any time, also\n\
                   beside a run.",
    example = "imap-to-gmail-sync check --config config.json\n\
               imap-to-gmail-sync check --config /etc/imap-to-gmail-sync",
    note = "Of one configuration it prints a screen; of several, or of a folder of them, a\n\
            line each. The states are found as status finds them.\n\n\
            Run it as the user who runs the program; for the units of systemd, as root.\n\n\
            Exit status, the highest of all accounts: 0 it works; else that of the first\n\
            failure: 64 usage; 69 a server is unavailable, or a signal ended the check; 74\n\
            the state cannot be read or written; 77 credentials are rejected; 78\n\
            configuration."
)]
pub(crate) struct RawCheckArgs {
    /// the configuration, or a folder with configurations (*.json); may be repeated; required
    #[argh(option, arg_name = "file")]
    config: Vec<String>,

    /// the state of a single configuration; default: as for a run
    #[argh(option, arg_name = "file")]
    state_file: Option<String>,

    /// the folder with a folder for each account's state
    #[argh(option, arg_name = "folder")]
    state_folder: Option<String>,

    /// print JSON: an array with an object for each account
    #[argh(switch)]
    json: bool,

    /// log each step and the IMAP dialogue on standard error
    #[argh(switch)]
    debug: bool,
}

impl RawCheckArgs {
    pub(crate) fn validate(self) -> Result<CheckArgs> {
        Ok(CheckArgs {
            selection: AccountSelection::validate(
                NAME,
                self.config,
                self.state_file,
                self.state_folder,
            )?,
            is_json: self.json,
            is_debug: self.debug,
        })
    }
}

/// Checks each account and prints what is found; returns the exit status.
pub(crate) fn run(
    args: &CheckArgs,
    environment: &Environment,
    timing: &Timing,
    streams: StreamEnvironment<'_>,
) -> u8 {
    let level = if args.is_debug {
        LogLevel::Debug
    } else {
        LogLevel::Off
    };
    let started = logging::start(&LogOptions::to_stderr(level), streams, None, |write| {
        write();
    });
    let checked = args.selection.accounts(environment).and_then(|accounts| {
        let new_progress = || Box::new(()) as Box<_>;
        let exit = exit_of_a_check(streams);
        let context = RunContext::start(RunMode::Once, timing, &new_progress, started?, exit)?;
        let reports = args.check_all(&accounts, environment, &context);
        if reports.iter().any(|report| !report.is_complete) {
            print_line(io::stderr(), interruption_line(streams));
        }
        Ok(reports)
    });
    match checked {
        Ok(reports) => {
            let statuses = reports.iter().map(|report| report.exit_status);
            statuses.max().unwrap_or_default()
        }
        Err(error) => {
            if args.is_json {
                print_line(io::stdout(), "[]");
            }
            report(Err(error), streams)
        }
    }
}

fn interruption_line(streams: StreamEnvironment<'_>) -> String {
    let line = format!("{PROGRAM}: ended by a signal before everything was checked");
    streams.stderr_line(Level::Warn, &line)
}

/// Whatever was found is less than was asked for.
fn exit_of_a_check(streams: StreamEnvironment<'_>) -> ForcedExit {
    let line = interruption_line(streams);
    Arc::new(move || {
        print_line(io::stderr(), &line);
        process::exit(INTERRUPTED.exit_status().into());
    })
}

impl CheckArgs {
    /// Checks one account after the other, and prints each finding, or each account, as soon as it is
    /// known.
    fn check_all(
        &self,
        accounts: &[AccountFiles],
        environment: &Environment,
        context: &RunContext<'_>,
    ) -> Vec<CheckReport> {
        let is_screen = !self.is_json && !self.selection.has_several();
        let lengths = accounts.iter().map(|account| account.name.chars().count());
        let width = lengths.max().unwrap_or_default();
        let mut reports: Vec<CheckReport> = Vec::new();
        for account in accounts {
            let mut group = None;
            let mut print = |finding: &Finding| {
                if is_screen {
                    let is_first_of_group = group.replace(finding.group) != Some(finding.group);
                    print_line(io::stdout(), text::finding(finding, is_first_of_group));
                }
            };
            let report = account.check(environment, context, &mut print);
            if is_screen && report.is_complete {
                print_line(io::stdout(), text::summary(&report));
            } else if !self.is_json && report.is_complete {
                print_line(io::stdout(), text::line(&report, width));
            }
            reports.push(report);
        }
        if self.is_json {
            let json = serde_json::to_string_pretty(&reports).unwrap_or_default();
            print_line(io::stdout(), json);
        }
        reports
    }
}
