//! The first token, with a person at a browser (RFC 8252: OAuth 2.0 for native apps).
//!
//! Everything that can be wrong is looked for before the person is asked, and nothing is written
//! before the token has proved itself.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::AuthArgs;
use crate::config::{Config, Environment};
use crate::error::{Error, Kind, Result};
use crate::foreign::Foreign;
use crate::token::Held;

mod application;
mod attempt;
mod desk;
mod exchange;
mod listener;
mod page;
mod paste;
mod redirect;

use application::ClientSecret;
use attempt::Attempt;
use desk::Desk;
use exchange::{Exchange, Failed};
use listener::{Listener, Visit};
use page::Page;
use redirect::{Answer, Pasted, Redirect};

/// How long a person has for all that Google asks.
pub const TO_CONSENT: Duration = Duration::from_mins(5);

/// Where the token goes if nobody says.
const TOKEN_FILE: &str = "token.json";

/// No person pastes more lines.
const MOST_LINES: usize = 100;

/// What happens is dealt with one by one; who tells of more waits.
const FEW: usize = 8;

/// What happens while it waits.
enum Event {
    /// A browser came back.
    Visit(Visit),
    /// A person pasted a line.
    Line(String),
}

impl From<Visit> for Event {
    fn from(visit: Visit) -> Event {
        Event::Visit(visit)
    }
}

/// Gets a token: asks the person in a browser, proves what comes of it, and saves it.
/// `to_consent` is how long the person has.
///
/// # Errors
/// [`Kind::Config`]: `client_secret.json` or the configuration is not right. [`Kind::Usage`]: the
/// token file exists. [`Kind::Refused`]: the person or Google says no, or time is up.
/// [`Kind::Unavailable`]: the port, Google or Gmail cannot be had. [`Kind::Disk`]: the token cannot
/// be saved. Whatever it is, a token file that was there before is untouched.
pub fn run(args: &AuthArgs, environment: &Environment, to_consent: Duration) -> Result<()> {
    let client = ClientSecret::read(&args.credentials)?;
    let config = args
        .config
        .as_deref()
        .map(|file| Config::load(file, environment))
        .transpose()?;
    let file = token_file(args, config.as_ref());
    may_be_written(&file, args.force)?;
    let desk = Desk::of(environment);
    let listener = Listener::bind(args.port, args.port.is_some() && desk.is_in_container())?;
    let port = listener.port();
    let attempt = Attempt::new(&client, config.as_ref(), port)?;
    let exchange = Exchange::prepare(&client, config.as_ref(), &file)?;

    ask_the_person(&attempt, config.as_ref(), &desk, port, to_consent);
    let (tell, events) = sync_channel::<Event>(FEW);
    listener.serve(attempt.state.clone(), tell.clone());
    listen_to_the_terminal(tell);
    if !args.no_browser && desk.has_browser() {
        open_browser(attempt.address.clone());
    }

    wait(&attempt, &exchange, &events, Instant::now() + to_consent)
}

fn token_file(args: &AuthArgs, config: Option<&Config>) -> PathBuf {
    match (&args.token, config) {
        (Some(file), _) => file.clone(),
        (None, Some(config)) => config.target.token_file.clone(),
        (None, None) => PathBuf::from(TOKEN_FILE),
    }
}

/// Makes sure that the token can be saved, while nothing is lost if not.
fn may_be_written(file: &Path, is_forced: bool) -> Result<()> {
    let shown = shown(file);
    if file.is_dir() {
        return Err(Error::new(Kind::Usage, shown, "is a folder")
            .during("looking where the token goes")
            .remedy("name a file"));
    }
    // One in a folder that may not be entered is told by the probe.
    let exists = file.symlink_metadata().is_ok();
    if exists && !is_forced && !(io::stdin().is_terminal() && is_confirmed(&shown)?) {
        return Err(
            Error::new(Kind::Usage, shown, "exists already, and stays as it is")
                .remedy("to replace it, add --force"),
        );
    }
    let probed = Held::of(file).and_then(|held| held.probe());
    probed.map_err(|error| {
        Error::new(Kind::Disk, shown, error)
            .during("looking whether the token can be saved")
            .remedy("make the folder and make it writable, or give another --token")
    })
}

fn is_confirmed(shown: &str) -> Result<bool> {
    say(format_args!(
        "{shown} exists already. Replace it, if all goes well? [y/N] "
    ));
    let answer = paste::line(&mut io::stdin().lock())
        .map_err(|error| Error::new(Kind::Usage, "standard input", error))?;
    let answer = answer.unwrap_or_default().trim().to_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}

fn ask_the_person(
    attempt: &Attempt,
    config: Option<&Config>,
    desk: &Desk,
    port: u16,
    to_consent: Duration,
) {
    let who = config.map_or_else(
        || "sign in to the Gmail account".to_owned(),
        |config| format!("sign in as {}", Foreign::new(&config.target.user)),
    );
    say(format_args!(
        "Open this address in a browser, {who}, and allow access to its mail:\n\n  {}\n\n",
        attempt.address
    ));
    if let Some(tunnel) = desk.tunnel(port) {
        say(format_args!(
            "If your browser is on another computer, it finds its way back here by this command, \
             typed there first (with the name by which you reach this machine, if it is another):\
             \n\n  {tunnel}\n\n"
        ));
    }
    say(format_args!(
        "Or let the browser end on a page that cannot be reached, and paste that page's address \
         (http://127.0.0.1:{port}/...) here.\nThis waits for {}.\n",
        minutes(to_consent)
    ));
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// In a thread of its own: a browser in the terminal ends when its person leaves it.
fn open_browser(address: String) {
    thread::spawn(move || {
        if let Err(error) = webbrowser::open(&address) {
            let error = error.to_string();
            say(format_args!(
                "No browser could be opened ({}): open the address yourself.\n",
                Foreign::new(&error)
            ));
        }
    });
}

/// There may be nobody who types any lines, or a program that never ends to.
fn listen_to_the_terminal(lines: SyncSender<Event>) {
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        for _ in 0..MOST_LINES {
            let Ok(Some(line)) = paste::line(&mut input) else {
                return;
            };
            if lines.send(Event::Line(line)).is_err() {
                return;
            }
        }
        say("Too many lines; no more are read. The browser is still awaited.\n");
    });
}

/// Waits until one of them brings a code that Google takes.
fn wait(
    attempt: &Attempt,
    exchange: &Exchange<'_>,
    events: &Receiver<Event>,
    deadline: Instant,
) -> Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(time_is_up());
        }
        let event = match events.recv_timeout(left) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return Err(time_is_up()),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(
                    Kind::Internal,
                    "the browser",
                    "nobody listens any more",
                ));
            }
        };
        let done = match event {
            Event::Visit(visit) => Some(visited(visit, attempt, exchange)),
            Event::Line(line) => pasted(&line, attempt, exchange),
        };
        if let Some(done) = done {
            dismiss_the_browser(events);
            return done;
        }
    }
}

/// What a visit comes to, which ends the wait.
fn visited(visit: Visit, attempt: &Attempt, exchange: &Exchange<'_>) -> Result<()> {
    match &visit.brought {
        Answer::Code(code) => {
            say(format_args!(
                "The browser is back; asking Google for the token ...\n"
            ));
            let done = exchange.token(attempt, code);
            visit.answer(&page_of(&done, exchange));
            done.map(|saved| say(format_args!("{saved}\n")))
                .map_err(|failed| failed.error)
        }
        Answer::Denied => {
            visit.answer(&Page::Denied);
            Err(denied())
        }
        Answer::Refused(code) => {
            let error = refused(code);
            visit.answer(&Page::Failed);
            Err(error)
        }
    }
}

/// What a pasted line comes to; nothing if the person may try again.
fn pasted(line: &str, attempt: &Attempt, exchange: &Exchange<'_>) -> Option<Result<()>> {
    let again = |what: &str| {
        say(format_args!("{what}\n"));
        None
    };
    match redirect::of_pasted(line, &attempt.state) {
        Pasted::Nothing => None,
        Pasted::Garbage => again(
            "This is neither the address that the browser ended on (http://127.0.0.1:...) nor a \
             code (4/...). Paste it whole.",
        ),
        Pasted::TooEarly => again(
            "This is the address of Google's own page. Go on there until the browser ends on \
             http://127.0.0.1:..., and paste that address.",
        ),
        Pasted::Redirect(Redirect::WrongState | Redirect::Other) => again(
            "This address belongs to another attempt, or a part of it is missing. Open the address \
             above, and paste the one that the browser ends on.",
        ),
        Pasted::Redirect(Redirect::Answer(Answer::Denied)) => Some(Err(denied())),
        Pasted::Redirect(Redirect::Answer(Answer::Refused(code))) => Some(Err(refused(&code))),
        Pasted::Redirect(Redirect::Answer(Answer::Code(code))) => {
            match exchange.token(attempt, &code) {
                Ok(saved) => {
                    say(format_args!("{saved}\n"));
                    Some(Ok(()))
                }
                Err(failed) if failed.is_expired => again(&format!(
                    "Google does not take this code (each is good for one use and a few minutes). Open \
                 the address above once more. It said: {}",
                    failed.error
                )),
                Err(failed) => Some(Err(failed.error)),
            }
        }
    }
}

/// A browser that came while a pasted code was tried.
fn dismiss_the_browser(events: &Receiver<Event>) {
    while let Ok(event) = events.try_recv() {
        if let Event::Visit(visit) = event {
            visit.answer(&Page::AlreadyDone);
        }
    }
}

fn page_of(done: &Result<exchange::Saved, Failed>, exchange: &Exchange<'_>) -> Page {
    match done {
        Ok(_) => Page::Success {
            account: exchange.config.map(|config| config.target.user.clone()),
        },
        Err(failed) if failed.is_expired => Page::Expired,
        Err(_) => Page::Failed,
    }
}

fn denied() -> Error {
    Error::new(
        Kind::Refused,
        "Google",
        "access was not allowed in the browser",
    )
    .during("asking for consent")
    .remedy("nothing was saved; run this again and choose \"Continue\" or \"Allow\" there")
}

fn refused(code: &str) -> Error {
    let remedy = match code {
        "admin_policy_enforced" | "org_internal" => {
            "the administrator of the account's Workspace must allow the app"
        }
        _ => "nothing was saved; run this again",
    };
    let what = format!("it says {}", Foreign::new(code));
    Error::new(Kind::Refused, "Google", what)
        .during("asking for consent")
        .remedy(remedy)
}

fn time_is_up() -> Error {
    Error::new(
        Kind::Refused,
        "Google",
        "no answer came from a browser, and time is up",
    )
    .during("waiting for consent")
    .remedy(
        "nothing was saved; run this again (over SSH and in containers the address can be pasted)",
    )
}

fn shown(file: &Path) -> String {
    Foreign::new(file.as_os_str().as_encoded_bytes()).to_string()
}

/// Speaks to the person, at once: there may be no line end.
fn say(what: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = write!(out, "{what}").and_then(|()| out.flush());
}
