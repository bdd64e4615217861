//! Copies every new message of an IMAP mailbox into Gmail, exactly once.
//!
//! The modules stand in layers, from the top; each uses those below it, never one above.

/// The command line: one file for each command.
mod cli;

/// A one-shot run and `--watch`.
pub mod run;

/// The target: the mailbox that mail goes to.
pub mod delivery;
/// The source: the mailbox that mail comes from, on IMAP.
pub mod source;

/// The engine: one pass over the source mailbox.
pub mod sync;

/// What is remembered between runs.
pub mod state;

/// OAuth 2.0 tokens.
pub mod oauth;

/// The IMAP client of both sides.
pub mod imap;

/// TCP, TLS and trusted certificates.
pub mod net;

/// `config.json`.
pub mod config;

/// The host: log output, signals, systemd, suspend.
pub mod process;

/// Atomic replacement of a file.
mod atomic_file;
/// Errors and exit statuses.
pub mod error;
/// Mailbox, message, UID, identity.
pub mod message;
/// Retry schedules.
mod retry;
/// Passwords and tokens.
pub mod secret;
/// "Did you mean …?"
mod suggest;
/// Time-outs.
pub mod timeouts;
/// Times in files and for the user.
mod timestamp;
/// Text from outside, escaped.
pub mod untrusted;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use crate::cli::args::{Command, EarlyExit};
use crate::cli::progress::Terminal;
use crate::cli::sync::SyncArgs;
use crate::config::{Config, Environment};
use crate::delivery::gmail_imap;
use crate::error::Result;
use crate::process::logging;
use crate::run::RunMode;
use crate::run::account_sync::AccountSync;
use crate::run::context::RunContext;
use crate::run::timing::Timing;
use crate::run::watch::ConfigReload;
use crate::timeouts::CONSENT_TIMEOUT;

/// Runs the command line, given without the program's name; returns the exit status.
pub fn run(words: impl Iterator<Item = OsString>, environment: &Environment) -> ExitCode {
    ExitCode::from(run_at(words, environment, &Timing::default()))
}

/// [`run()`] with another timing, for tests.
pub fn run_at(
    words: impl Iterator<Item = OsString>,
    environment: &Environment,
    timing: &Timing,
) -> u8 {
    match Command::parse(words) {
        Ok(Command::Sync(args)) => cli::sync::report(sync(&args, environment, timing), args.log),
        Ok(Command::Auth(options)) => {
            let verify = &gmail_imap::verify_access_token;
            let made = oauth::consent::run(&options, environment, verify, CONSENT_TIMEOUT);
            cli::report(made)
        }
        Err(EarlyExit::UsageError(error)) => cli::report(Err(error)),
        Err(EarlyExit::Print(text)) => {
            cli::print_line(io::stdout(), text.trim_end());
            0
        }
    }
}

fn sync(args: &SyncArgs, environment: &Environment, timing: &Timing) -> Result<()> {
    let terminal = Terminal::new();
    let new_progress = || terminal.progress_bar();
    logging::start(
        args.log,
        args.debug,
        environment.journal_stream.as_deref(),
        terminal.line_writer(),
    )?;
    args.log_ignored_options();
    let config = Config::load(&args.config, environment)?;
    config.log_warnings();
    let context = RunContext::start(args.mode, timing, &new_progress)?;
    let state_file = args.state_file(environment);
    let account = AccountSync::start(config, &state_file, args.mode, &context)?;
    match args.mode {
        RunMode::Once => run::once::run(account),
        RunMode::DryRun => run::once::dry_run(account, &mut cli::sync::print_dry_run),
        RunMode::Watch(options) => {
            let config_reload = ConfigReload::new(&args.config, environment);
            run::watch::run(options, config_reload, account)
        }
    }
}
