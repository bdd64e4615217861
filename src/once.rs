//! What one invocation does: take the lock, load the state, one pass, fold.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::args::Args;
use crate::config::{Config, Environment};
use crate::connection::{Bounds, place};
use crate::error::{Error, Kind, Result};
use crate::foreign::Foreign;
use crate::gmail::{self, Gmail};
use crate::lock::{Lock, Taken};
use crate::message::{Listed, Mailbox};
use crate::progress::{Bar, Screen};
use crate::source::ImapSource;
use crate::state::disk::Folder;
use crate::state::journal::Store;
use crate::state::{Account, Event, GmailMemory, SourceMemory, State, budget, login_step};
use crate::sync::{self, Nobody, Pass, Rehearsed, Target};
use crate::token::Refusal;

/// Runs once.
///
/// # Errors
/// What ended the run before its end; [`Kind::Resting`] if there is nothing wrong.
pub fn run(args: &Args, config: &Config, state: &Path, screen: &Screen) -> Result<()> {
    let lock = take_lock(state)?;
    let now = Utc::now();
    let disk = Box::new(Folder::of(state));
    let mut store = if args.dry_run {
        Store::rehearse(disk, now)?
    } else {
        Store::load(disk, now)?
    };
    adopt(&mut store, config, state)?;
    if let Some(until) = budget::rests_until(&store.state().gmail, now) {
        let until = until.format("%Y-%m-%d %H:%M UTC");
        log::info!("gmail rests until {until}; nothing is done before");
        return Ok(());
    }
    if args.dry_run {
        return rehearse(config, &mut store);
    }
    let done = copy(config, &mut store, screen);
    both(done, store.fold(Utc::now()))?;
    lock.touch(std::time::SystemTime::now())
}

fn take_lock(state: &Path) -> Result<Lock> {
    match Lock::take(state)? {
        Taken::Ours(mut lock) => {
            lock.sign(std::process::id())?;
            Ok(lock)
        }
        Taken::Busy { path, holder } => {
            let holder = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let what = format!("another run holds the lock{holder}");
            Err(Error::new(Kind::Resting, path.display(), what))
        }
    }
}

/// Makes a state that is nobody's this account's, and refuses one that is another's.
fn adopt(store: &mut Store, config: &Config, path: &Path) -> Result<()> {
    let ours = Account {
        source: config.source_account(),
        target: config.target_account(),
    };
    match &store.state().account {
        Some(account) if *account == ours => Ok(()),
        Some(account) => Err(Error::new(
            Kind::Config,
            path.display(),
            format!(
                "this state is of {} to {}, and the configuration says {} to {}",
                Foreign::new(&account.source),
                Foreign::new(&account.target),
                Foreign::new(&ours.source),
                Foreign::new(&ours.target),
            ),
        )
        .remedy("give each account its own --state-file")),
        None => store.record(Event::Account(ours)),
    }
}

/// One pass, and what it teaches about both servers.
fn copy(config: &Config, store: &mut Store, screen: &Screen) -> Result<()> {
    let started = Utc::now();
    let (mut source, mailbox) = open_source(config, store, started)?;
    let mut gmail = Gmail::new(gmail_settings(config, store.state(), false));
    let report = Pass {
        source: &mut source,
        target: &mut gmail,
        store,
        settings: &settings(config),
        progress: &mut Bar::new(screen),
        now: &Utc::now,
    }
    .run(&mailbox, started);
    gmail.close();
    source.logout();
    let report = report?;
    if report.is_quiet() {
        log::debug!("nothing new");
    } else {
        log::info!("{report}");
    }
    Ok(())
}

/// Logs in to the source, unless it refused us a moment ago: a server that bans who comes too often
/// with a wrong password would lock out its own owner.
fn open_source(
    config: &Config,
    store: &mut Store,
    now: DateTime<Utc>,
) -> Result<(ImapSource, Mailbox)> {
    let before = store.state().source.clone();
    let stamp = config.credentials_stamp();
    if let Some(until) = must_wait(&before, &stamp, now) {
        let until = until.format("%Y-%m-%d %H:%M UTC");
        return Err(Error::new(
            Kind::Refused,
            place(&config.source.server),
            match before.refused_logins {
                0 | 1 => "the last log-in was refused".to_owned(),
                several => format!("the last {several} log-ins were refused"),
            },
        )
        .during("waiting to log in")
        .remedy(format_args!(
            "correct source_user or the password: the next try is at {until}, or at once when the \
             configuration changes"
        )));
    }
    let opened = config
        .source
        .password
        .read()
        .and_then(|password| ImapSource::open(&config.source, password));
    let after = match &opened {
        Ok(_) => SourceMemory::default(),
        Err(error) if error.kind() == Kind::Refused => {
            let refused_logins = before.refused_logins.saturating_add(1);
            let retry_after = Some(now + login_step(refused_logins));
            SourceMemory {
                retry_after,
                refused_logins,
                credentials: Some(stamp),
            }
        }
        Err(_) => before.clone(),
    };
    let remembered = if after == before {
        Ok(())
    } else {
        store.record(Event::Source(after))
    };
    match (opened, remembered) {
        (Ok(opened), remembered) => remembered.map(|()| opened),
        (Err(error), remembered) => both(Err(error), remembered),
    }
}

/// The one failure of two that needs a person most; the other is logged.
fn both<T>(done: Result<T>, remembered: Result<()>) -> Result<T> {
    match (done, remembered) {
        (Err(one), Err(other)) => {
            log::error!("{other}");
            Err(one.worse(other))
        }
        (Ok(done), Ok(())) => Ok(done),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
    }
}

fn must_wait(source: &SourceMemory, stamp: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let is_unchanged = source.credentials.as_deref() == Some(stamp);
    source
        .retry_after
        .filter(|until| is_unchanged && *until > now && *until <= now + TimeDelta::hours(1))
}

fn settings(config: &Config) -> sync::Settings {
    sync::Settings {
        source: config.source_name(),
        first_run_days: config.first_run_days,
        copy_flags: config.copy_flags,
        daily_upload_limit: config.daily_upload_limit,
    }
}

fn gmail_settings(config: &Config, state: &State, is_dry_run: bool) -> gmail::Settings {
    let GmailMemory { token_refused, .. } = &state.gmail;
    gmail::Settings {
        config: config.target.clone(),
        now: Arc::new(Utc::now),
        bounds: Bounds::default(),
        // A time further off than the longest step was written by a clock that was wrong.
        refused: token_refused
            .as_ref()
            .filter(|refused| refused.retry_after <= Utc::now() + TimeDelta::hours(1))
            .map(|refused| Refusal {
                refresh_token: refused.refresh_token.clone(),
                retry_after: refused.retry_after,
            }),
        is_dry_run,
    }
}

/// Tells what a run would do, a line a message on standard output.
fn rehearse(config: &Config, store: &mut Store) -> Result<()> {
    let started = Utc::now();
    let (mut source, mailbox) = open_source(config, store, started)?;
    let mut gmail = Gmail::new(gmail_settings(config, store.state(), true));
    let can_ask = gmail.has_valid_token()?;
    let target: &mut dyn Target = if can_ask { &mut gmail } else { &mut Nobody };
    let told = Pass {
        source: &mut source,
        target,
        store,
        settings: &settings(config),
        progress: &mut (),
        now: &Utc::now,
    }
    .rehearse(&mailbox, can_ask, &mut |listed, what| {
        // A reader that has gone away has seen enough.
        let _ = writeln!(io::stdout(), "{}", told(listed, what));
    });
    gmail.close();
    source.logout();
    told
}

fn told(listed: &Listed, what: Rehearsed) -> String {
    let date = listed.internal_date.map_or_else(
        || "no date".to_owned(),
        |date| date.format("%Y-%m-%d %H:%M:%S %z").to_string(),
    );
    let id = listed
        .identity
        .id
        .as_ref()
        .map_or_else(|| "no Message-ID".to_owned(), ToString::to_string);
    let what = match what {
        Rehearsed::New => "new",
        Rehearsed::NewUnlessThere => "new, unless gmail has it already",
        Rehearsed::Known => "already there",
        Rehearsed::Undecided => "its id is in use: its content decides",
        Rehearsed::Parked => "parked, to be tried again",
    };
    format!(
        "uid {} | {date} | {} octets | {id} | {what}",
        listed.uid, listed.size
    )
}

/// The state file: as asked for, in the folder that systemd made for it, or in the current one.
#[must_use]
pub fn state_file(args: &Args, environment: &Environment) -> PathBuf {
    const NAME: &str = "sync_state.json";
    match (&args.state_file, &environment.state_directory) {
        (Some(file), _) => file.clone(),
        (None, Some(folder)) => folder.join(NAME),
        (None, None) => PathBuf::from(NAME),
    }
}
