//! Copies every new message of an IMAP mailbox into Gmail, exactly once.
//!
//! The modules stand in layers, from the top; each uses those below it, never one above. A blank line
//! separates two layers.

mod cli;

pub mod run;

pub mod delivery;
pub mod source;

pub mod sync;

pub mod state;

pub mod folders;

pub mod oauth;

pub mod imap;

pub mod net;

pub mod config;

pub mod process;

mod atomic_file;
pub mod error;
mod file_access;
pub mod message;
mod retry;
pub mod secret;
mod size;
mod suggest;
pub mod timeouts;
mod timestamp;
pub mod untrusted;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use crate::cli::args::{CliCommand, EarlyExit};
use crate::cli::progress::Terminal;
use crate::cli::sync::SyncArgs;
use crate::config::{Config, Environment};
use crate::error::Result;
use crate::process::logging::{self, LogHandle, StreamEnvironment};
use crate::process::signals::exit_of_a_run;
use crate::run::RunMode;
use crate::run::account_sync::AccountSync;
use crate::run::context::RunContext;
use crate::run::timing::Timing;

/// Runs the command line, given without the program's name; returns the exit status.
pub fn run(words: impl Iterator<Item = OsString>, environment: &Environment) -> ExitCode {
    process::forbid_core_dumps();
    ExitCode::from(run_at(words, environment, &Timing::default()))
}

/// [`run()`] with another timing, for tests.
pub fn run_at(
    words: impl Iterator<Item = OsString>,
    environment: &Environment,
    timing: &Timing,
) -> u8 {
    let streams = StreamEnvironment {
        journal_stream: environment.journal_stream.as_deref(),
        may_color: environment.may_color,
    };
    match CliCommand::parse(words) {
        Ok(CliCommand::Sync(args)) => run_sync(&args, environment, timing, streams),
        Ok(CliCommand::Auth(options)) => {
            let verify = &delivery::gmail_imap::verify_access_token;
            let timeout = timeouts::CONSENT_TIMEOUT;
            let made = oauth::consent::run(&options, environment, verify, timeout);
            cli::report(made, streams)
        }
        Ok(CliCommand::Check(args)) => cli::check::run(&args, environment, timing, streams),
        Ok(CliCommand::Status(args)) => {
            cli::status::run(&args, environment, timing.clock.now(), streams)
        }
        Ok(CliCommand::Completions(shell)) => {
            cli::print_output(cli::completions::script(shell).trim_end(), streams)
        }
        Err(EarlyExit::UsageError(error)) => cli::report(Err(error), streams),
        Err(EarlyExit::Print(text)) => {
            cli::print_line(io::stdout(), text.trim_end());
            0
        }
    }
}

/// Starts the log before anything else; without it there is no work. Only the configuration is read
/// before, because it names files that must not become the log.
fn run_sync(
    args: &SyncArgs,
    environment: &Environment,
    timing: &Timing,
    streams: StreamEnvironment<'_>,
) -> u8 {
    let terminal = Terminal::new();
    let config = Config::load(&args.config, environment);
    let started = args
        .check_log_file(environment, config.as_ref().ok())
        .and_then(|()| {
            let runtime_directory = environment.runtime_directory.as_deref();
            logging::start(
                &args.log,
                streams,
                runtime_directory,
                terminal.line_writer(),
            )
        });
    match started {
        Ok(log) => {
            args.log_ignored_options();
            let result = config
                .and_then(|config| sync(config, args, environment, timing, &terminal, log.clone()));
            cli::sync::report(result, &log, &args.log.target, streams)
        }
        Err(error) => cli::report(Err(error), streams),
    }
}

fn sync(
    config: Config,
    args: &SyncArgs,
    environment: &Environment,
    timing: &Timing,
    terminal: &Terminal,
    log: LogHandle,
) -> Result<()> {
    let new_progress = || terminal.progress_bar();
    let context = RunContext::start(args.mode, timing, &new_progress, log, exit_of_a_run())?;
    let state_file = args.state_file(environment);
    let start =
        |config, mode| AccountSync::start(config, &state_file, mode, args.one_time, &context);
    if args.mode == RunMode::Once && args.one_time.since.is_some() && cli::confirm::is_possible() {
        let daily_limit = config.daily_upload_limit;
        let total = run::once::dry_run(start(config.clone(), RunMode::DryRun)?, &mut |_| {})?;
        if total.is_some_and(|total| !cli::confirm::ask(&total, daily_limit)) {
            log::info!("nothing was copied");
            return Ok(());
        }
    }
    let account = start(config, args.mode)?;
    match args.mode {
        RunMode::Once => run::once::run(account),
        RunMode::DryRun => {
            let total = run::once::dry_run(account, &mut cli::sync::print_dry_run)?;
            total.iter().for_each(cli::sync::print_dry_run_total);
            Ok(())
        }
        RunMode::Watch(options) => {
            let config_reload = run::watch::ConfigReload::new(&args.config, environment);
            run::watch::run(options, config_reload, account)
        }
    }
}
