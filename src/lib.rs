//! Copies every new message of an IMAP mailbox into Gmail, exactly once.
//!
//! The modules stand in layers: each uses those below it, never one above.

/// A file that is replaced as a whole.
mod atomic_file;
/// The command line.
pub mod cli;
/// `config.json`.
pub mod config;
/// The mailbox that mail goes to.
pub mod delivery;
/// Errors and exit statuses.
pub mod error;
/// The IMAP client of both sides.
pub mod imap;
/// Mailbox, message, UID, identity.
pub mod message;
/// TCP, TLS and trusted certificates.
pub mod net;
/// OAuth 2.0 tokens.
pub mod oauth;
/// The host: log output, signals, systemd, suspend.
pub mod process;
/// Retry schedules.
pub mod retry;
/// A one-shot run and `--watch`.
pub mod run;
/// Passwords and tokens.
pub mod secret;
/// The mailbox that mail comes from, on IMAP.
pub mod source;
/// What is remembered between runs.
pub mod state;
/// "Did you mean …?"
mod suggest;
/// The engine: one pass over the source mailbox.
pub mod sync;
/// Time-outs.
pub mod timeouts;
/// Timestamps in files.
mod timestamp;
/// Text from outside, escaped.
pub mod untrusted;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::args::{Command, EarlyExit, SyncArgs};
use crate::cli::progress::Terminal;
use crate::config::{Config, Environment};
use crate::delivery::gmail_imap;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::process::alert_log::AlertLog;
use crate::process::cancel::Canceller;
use crate::process::logging::LogTarget;
use crate::process::signals::ProcessMode;
use crate::process::watchdog::Watchdog;
use crate::run::account_sync::{AccountSync, RunContext, RunMode};
use crate::run::timing::Timing;

/// What the program does with its command line, from the first word to the exit status.
pub fn run(words: impl Iterator<Item = OsString>, environment: &Environment) -> ExitCode {
    ExitCode::from(run_at(words, environment, &Timing::default()))
}

/// The same at another timing, as tests want it; gives the exit status.
pub fn run_at(
    words: impl Iterator<Item = OsString>,
    environment: &Environment,
    timing: &Timing,
) -> u8 {
    let done = match cli::args::parse(words) {
        Ok(Command::Run(args)) => return run_logged(&args, environment, timing),
        Ok(Command::Authorize(args)) => {
            let verify = &gmail_imap::verify_access_token;
            oauth::consent::run(&args, environment, verify, timeouts::CONSENT_TIMEOUT)
        }
        Err(EarlyExit::Print(text)) => {
            print(io::stdout(), text.trim_end());
            Ok(())
        }
        Err(EarlyExit::UsageError(error)) => Err(error),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            print(io::stderr(), &error);
            error.kind().exit_status()
        }
    }
}

fn run_logged(args: &SyncArgs, environment: &Environment, timing: &Timing) -> u8 {
    let terminal = Terminal::new();
    let bar = terminal.clone();
    let done = process::logging::start(
        args.log,
        args.debug,
        environment.journal_stream.as_deref(),
        move |write| bar.suspend_bar(write),
    )
    .and_then(|()| carry(args, environment, timing, &terminal));
    match done {
        Ok(()) => 0,
        Err(error) => {
            let error = error.with_default_remedy();
            tell(&error, args.log);
            error.kind().exit_status()
        }
    }
}

fn carry(
    args: &SyncArgs,
    environment: &Environment,
    timing: &Timing,
    terminal: &Terminal,
) -> Result<()> {
    for option in &args.ignored_options {
        log::info!("{option} has no effect without --watch");
    }
    let config = Config::load(&args.config, environment)?;
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    let context = run_context(args, timing, terminal)?;
    let purpose = if args.dry_run {
        RunMode::DryRun
    } else {
        RunMode::Copy
    };
    let state = run::once::state_file(args, environment);
    let sync = AccountSync::start(config, &state, purpose, &context)?;
    match args.watch {
        Some(watch) => run::watch::run(args, watch, environment, sync, &context),
        None => run::once::run(args, sync, &context.requests),
    }
}

fn run_context<'a>(
    args: &SyncArgs,
    timing: &'a Timing,
    terminal: &'a Terminal,
) -> Result<RunContext<'a>> {
    let canceller = Canceller::new()
        .map_err(|error| Error::new(Side::Host, ErrorKind::Internal, "pipe", error))?;
    let (life, watchdog) = match args.watch {
        Some(_) => (
            ProcessMode::Resident,
            Watchdog::start(timeouts::PASS_STEP_TIMEOUT),
        ),
        None => (ProcessMode::OneShot, Watchdog::default()),
    };
    Ok(RunContext {
        terminal,
        timing,
        requests: process::signals::listen(life, canceller.clone())?,
        canceller,
        alert_log: AlertLog::default(),
        watchdog,
    })
}

/// Tells what ended a run: in the log, and on standard error unless that is the log.
fn tell(error: &Error, stream: LogTarget) {
    if error.kind() == ErrorKind::Resting {
        log::info!("{error}");
        return;
    }
    log::error!("{error}");
    if stream != LogTarget::Stderr {
        print(io::stderr(), error);
    }
}

/// Prints a text and a line end. A reader that has gone away (`--help | head -1`) misses nothing:
/// the standard macros would panic.
fn print(mut to: impl Write, text: impl fmt::Display) {
    let _ = writeln!(to, "{text}");
}
