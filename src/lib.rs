//! Copies every new message of an IMAP mailbox into Gmail, exactly once.

/// The command line, as typed.
pub mod args;
/// The first token, with a person at a browser.
pub mod authorize;
/// How long to wait before the next try.
pub mod backoff;
/// `config.json`, as written and as meant.
pub mod config;
/// A TCP or TLS stream with deadlines and last words.
pub mod connection;
/// What went wrong, sorted by how far it reaches.
pub mod error;
/// Text from outside, escaped.
pub mod foreign;
/// The mailbox mail goes to.
pub mod gmail;
/// One run per state file.
pub mod lock;
/// Where lines go and how they look.
pub mod logging;
/// The words: what a mailbox, a message and its identity are called here.
pub mod message;
/// The known name that was probably meant.
pub mod nearest;
/// What systemd is told.
pub mod notify;
/// What each invocation does.
pub mod once;
/// When a failure that lasts is told of.
pub mod outage;
/// The bar.
pub mod progress;
/// A value that cannot be printed; where a password comes from.
pub mod secret;
/// Greeting, capabilities, log-in, EXAMINE, LIST: what both sides say to a server.
pub mod session;
/// Sizes as a person writes them: "10M".
pub mod size;
/// The mailbox mail comes from: list, fetch.
pub mod source;
/// What is remembered between runs.
pub mod state;
/// One pass: every new message, source to target.
pub mod sync;
/// The access token: load, renew, save.
pub mod token;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::{Args, Command, Early};
use crate::config::{Config, Environment};
use crate::error::{Error, Kind, Result};
use crate::logging::Stream;
use crate::progress::Screen;

/// What the program does with its command line, from the first word to the exit status.
pub fn run(words: impl Iterator<Item = OsString>, environment: &Environment) -> ExitCode {
    match args::parse(words) {
        Ok(Command::Run(args)) => run_logged(&args, environment),
        Ok(Command::Authorize(args)) => {
            match authorize::run(&args, environment, authorize::TO_CONSENT) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    print(io::stderr(), &error);
                    ExitCode::from(&error)
                }
            }
        }
        Err(Early::Print(text)) => {
            print(io::stdout(), text.trim_end());
            ExitCode::SUCCESS
        }
        Err(Early::Wrong(error)) => {
            print(io::stderr(), &error);
            ExitCode::from(&error)
        }
    }
}

fn run_logged(args: &Args, environment: &Environment) -> ExitCode {
    let screen = Screen::new();
    let done = logging::begin(
        args.log,
        args.debug,
        environment.journal_stream.as_deref(),
        &screen,
    )
    .and_then(|()| run_once(args, environment, &screen));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = error.or_usual_remedy();
            tell(&error, args.log);
            ExitCode::from(&error)
        }
    }
}

fn run_once(args: &Args, environment: &Environment, screen: &Screen) -> Result<()> {
    for option in &args.ineffective {
        log::info!("{option} has no effect without --watch");
    }
    let config = Config::load(&args.config, environment)?;
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    let state = once::state_file(args, environment);
    once::run(args, &config, &state, screen)
}

/// Tells what ended a run: in the log, and on standard error unless that is the log.
fn tell(error: &Error, stream: Stream) {
    if error.kind() == Kind::Resting {
        log::info!("{error}");
        return;
    }
    log::error!("{error}");
    if stream != Stream::Stderr {
        print(io::stderr(), error);
    }
}

/// Prints a text and a line end. A reader that has gone away (`--help | head -1`) misses nothing:
/// the standard macros would panic.
fn print(mut to: impl Write, text: impl fmt::Display) {
    let _ = writeln!(to, "{text}");
}
