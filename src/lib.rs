//! Copies every new message of an IMAP mailbox into Gmail, exactly once.

/// The command line, as typed.
pub mod args;
/// The first token, with a person at a browser.
pub mod authorize;
/// How long to wait before the next try.
pub mod backoff;
/// What a run and a resident process share.
pub mod carrier;
/// Both clocks of the host: whether it slept.
mod clocks;
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
/// One run: one pass, and the end.
pub mod once;
/// When a failure that lasts is told of.
pub mod outage;
/// How long things may take.
pub mod pace;
/// The bar.
pub mod progress;
/// A value that cannot be printed; where a password comes from.
pub mod secret;
/// Greeting, capabilities, log-in, EXAMINE, LIST: what both sides say to a server.
pub mod session;
/// What the process is asked to do from outside.
pub mod signals;
/// Sizes as a person writes them: "10M".
pub mod size;
/// The mailbox mail comes from: list, fetch, wait.
pub mod source;
/// What is remembered between runs.
pub mod state;
/// One pass: every new message, source to target.
pub mod sync;
/// The access token: load, renew, save.
pub mod token;
/// Signs of life.
pub mod vigil;
/// The resident process: pass, wait, pass.
pub mod watch;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::{Args, Command, Early};
use crate::carrier::{Carrier, Purpose, Surroundings};
use crate::config::{Config, Environment};
use crate::connection::{Alerts, Tether};
use crate::error::{Error, Kind, Result};
use crate::logging::Stream;
use crate::pace::Pace;
use crate::progress::Screen;
use crate::signals::Life;
use crate::vigil::Vigil;

/// What the program does with its command line, from the first word to the exit status.
pub fn run(words: impl Iterator<Item = OsString>, environment: &Environment) -> ExitCode {
    ExitCode::from(run_at(words, environment, &Pace::default()))
}

/// The same at another pace, as tests want it; gives the exit status.
pub fn run_at(words: impl Iterator<Item = OsString>, environment: &Environment, pace: &Pace) -> u8 {
    let done = match args::parse(words) {
        Ok(Command::Run(args)) => return run_logged(&args, environment, pace),
        Ok(Command::Authorize(args)) => authorize::run(&args, environment, authorize::TO_CONSENT),
        Err(Early::Print(text)) => {
            print(io::stdout(), text.trim_end());
            Ok(())
        }
        Err(Early::Wrong(error)) => Err(error),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            print(io::stderr(), &error);
            error.kind().exit_status()
        }
    }
}

fn run_logged(args: &Args, environment: &Environment, pace: &Pace) -> u8 {
    let screen = Screen::new();
    let done = logging::begin(
        args.log,
        args.debug,
        environment.journal_stream.as_deref(),
        &screen,
    )
    .and_then(|()| carry(args, environment, pace, &screen));
    match done {
        Ok(()) => 0,
        Err(error) => {
            let error = error.or_usual_remedy();
            tell(&error, args.log);
            error.kind().exit_status()
        }
    }
}

fn carry(args: &Args, environment: &Environment, pace: &Pace, screen: &Screen) -> Result<()> {
    for option in &args.ineffective {
        log::info!("{option} has no effect without --watch");
    }
    let config = Config::load(&args.config, environment)?;
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    let around = surroundings(args, pace, screen)?;
    let purpose = if args.dry_run {
        Purpose::Rehearse
    } else {
        Purpose::Carry
    };
    let state = once::state_file(args, environment);
    let carrier = Carrier::begin(config, &state, purpose, &around)?;
    match args.watch {
        Some(watch) => watch::run(args, watch, environment, carrier, &around),
        None => once::run(args, carrier, &around.orders),
    }
}

fn surroundings<'a>(args: &Args, pace: &'a Pace, screen: &'a Screen) -> Result<Surroundings<'a>> {
    let tether = Tether::new().map_err(|error| Error::new(Kind::Internal, "pipe", error))?;
    let (life, vigil) = match args.watch {
        Some(_) => (Life::Resident, Vigil::begin(carrier::STEP)),
        None => (Life::OnePass, Vigil::default()),
    };
    Ok(Surroundings {
        screen,
        pace,
        orders: signals::hear(life, tether.clone())?,
        tether,
        alerts: Alerts::default(),
        vigil,
    })
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
