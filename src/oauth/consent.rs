//! The first token, with a person at a browser (RFC 8252: OAuth 2.0 for native apps).
//!
//! Everything that can be wrong is looked for before the person is asked, and nothing is written
//! before the token has proved itself.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::atomic_file::WriteGuard;
use crate::config::{Config, Environment, TargetConfig};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::secret::Secret;
use crate::untrusted::Untrusted;

mod authorization_request;
mod client_secret_file;
mod code_exchange;
mod redirect;
mod redirect_listener;
mod result_page;
mod terminal_input;
mod user_environment;

use crate::oauth::consent::authorization_request::AuthorizationRequest;
use crate::oauth::consent::client_secret_file::ClientSecretFile;
use crate::oauth::consent::code_exchange::{CodeExchange, ExchangeError};
use crate::oauth::consent::redirect::{AuthorizationResponse, PastedLine, RedirectQuery};
use crate::oauth::consent::redirect_listener::{BrowserRequest, RedirectListener};
use crate::oauth::consent::result_page::ResultPage;
use crate::oauth::consent::user_environment::UserEnvironment;

/// Where the token goes if nobody says.
const TOKEN_FILE: &str = "token.json";

/// No person pastes more lines.
const MOST_LINES: usize = 100;

/// What happens is dealt with one by one; who tells of more waits.
const FEW: usize = 8;

/// How the first token is obtained, and where it is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentOptions {
    /// The `client_secret.json` of the client registration.
    pub credentials: PathBuf,
    /// The token file to write; default: the one of `config`, else `token.json`.
    pub token: Option<PathBuf>,
    /// The configuration that names the account.
    pub config: Option<PathBuf>,
    /// The port of the loopback redirect; default: any free port.
    pub port: Option<u16>,
    /// Whether the user opens the browser.
    pub no_browser: bool,
    /// Whether to replace an existing token file without asking.
    pub force: bool,
}

/// Verifies a new access token at the account's mail server. The caller of [`run`] provides it,
/// because it needs an IMAP log-in.
pub type VerifyAccessToken = dyn Fn(&TargetConfig, &Secret) -> Result<()>;

/// What happens while it waits.
enum ConsentEvent {
    /// A browser came back.
    Visit(BrowserRequest),
    /// A person pasted a line.
    Line(String),
}

impl From<BrowserRequest> for ConsentEvent {
    fn from(visit: BrowserRequest) -> ConsentEvent {
        ConsentEvent::Visit(visit)
    }
}

/// Gets a token: asks the person in a browser, proves what comes of it, and saves it.
/// `to_consent` is how long the person has.
///
/// # Errors
/// [`ErrorKind::Config`]: `client_secret.json` or the configuration is not right. [`ErrorKind::Usage`]: the
/// token file exists. [`ErrorKind::Rejected`]: the person or Google says no, or time is up.
/// [`ErrorKind::Unavailable`]: the port, Google or Gmail cannot be had. [`ErrorKind::Disk`]: the token cannot
/// be saved. Whatever it is, a token file that was there before is untouched.
pub fn run(
    options: &ConsentOptions,
    environment: &Environment,
    verify: &VerifyAccessToken,
    to_consent: Duration,
) -> Result<()> {
    let client = ClientSecretFile::read(&options.credentials)?;
    let config = options
        .config
        .as_deref()
        .map(|file| Config::load(file, environment))
        .transpose()?;
    let file = token_file(options, config.as_ref());
    may_be_written(&file, options.force)?;
    let desk = UserEnvironment::detect(environment);
    let listener = RedirectListener::bind(
        options.port,
        options.port.is_some() && desk.is_in_container(),
    )?;
    let port = listener.port();
    let attempt = AuthorizationRequest::new(&client, config.as_ref(), port)?;
    let exchange = CodeExchange::prepare(&client, config.as_ref(), &file, verify)?;

    ask_the_person(&attempt, config.as_ref(), &desk, port, to_consent);
    let (tell, events) = sync_channel::<ConsentEvent>(FEW);
    listener.serve(attempt.state.clone(), tell.clone());
    listen_to_the_terminal(tell);
    if !options.no_browser && desk.can_open_browser() {
        open_browser(attempt.url.clone());
    }

    wait(&attempt, &exchange, &events, Instant::now() + to_consent)
}

fn token_file(options: &ConsentOptions, config: Option<&Config>) -> PathBuf {
    match (&options.token, config) {
        (Some(file), _) => file.clone(),
        (None, Some(config)) => config.target.token_file.clone(),
        (None, None) => PathBuf::from(TOKEN_FILE),
    }
}

/// Makes sure that the token can be saved, while nothing is lost if not.
fn may_be_written(file: &Path, is_forced: bool) -> Result<()> {
    let shown = shown(file);
    if file.is_dir() {
        return Err(
            Error::new(Side::Token, ErrorKind::Usage, shown, "is a folder")
                .during("looking where the token goes")
                .remedy("name a file"),
        );
    }
    // One in a folder that may not be entered is told by the probe.
    let exists = file.symlink_metadata().is_ok();
    if exists && !is_forced && !(io::stdin().is_terminal() && is_confirmed(&shown)?) {
        return Err(Error::new(
            Side::Token,
            ErrorKind::Usage,
            shown,
            "exists already, and stays as it is",
        )
        .remedy("to replace it, add --force"));
    }
    let probed = WriteGuard::lock(file).and_then(|held| held.probe());
    probed.map_err(|error| {
        Error::new(Side::Token, ErrorKind::Disk, shown, error)
            .during("looking whether the token can be saved")
            .remedy("make the folder and make it writable, or give another --token")
    })
}

fn is_confirmed(shown: &str) -> Result<bool> {
    say(format_args!(
        "{shown} exists already. Replace it, if all goes well? [y/N] "
    ));
    let answer = terminal_input::line(&mut io::stdin().lock())
        .map_err(|error| Error::new(Side::Token, ErrorKind::Usage, "standard input", error))?;
    let answer = answer.unwrap_or_default().trim().to_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}

fn ask_the_person(
    attempt: &AuthorizationRequest,
    config: Option<&Config>,
    desk: &UserEnvironment,
    port: u16,
    to_consent: Duration,
) {
    let who = config.map_or_else(
        || "sign in to the Gmail account".to_owned(),
        |config| format!("sign in as {}", Untrusted::new(&config.target.user)),
    );
    say(format_args!(
        "Open this address in a browser, {who}, and allow access to its mail:\n\n  {}\n\n",
        attempt.url
    ));
    if let Some(tunnel) = desk.ssh_tunnel_command(port) {
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
                Untrusted::new(&error)
            ));
        }
    });
}

/// There may be nobody who types any lines, or a program that never ends to.
fn listen_to_the_terminal(lines: SyncSender<ConsentEvent>) {
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        for _ in 0..MOST_LINES {
            let Ok(Some(line)) = terminal_input::line(&mut input) else {
                return;
            };
            if lines.send(ConsentEvent::Line(line)).is_err() {
                return;
            }
        }
        say("Too many lines; no more are read. The browser is still awaited.\n");
    });
}

/// Waits until one of them brings a code that Google takes.
fn wait(
    attempt: &AuthorizationRequest,
    exchange: &CodeExchange<'_>,
    events: &Receiver<ConsentEvent>,
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
                    Side::Token,
                    ErrorKind::Internal,
                    "the browser",
                    "nobody listens any more",
                ));
            }
        };
        let done = match event {
            ConsentEvent::Visit(visit) => Some(visited(visit, attempt, exchange)),
            ConsentEvent::Line(line) => pasted(&line, attempt, exchange),
        };
        if let Some(done) = done {
            dismiss_the_browser(events);
            return done;
        }
    }
}

/// What a visit comes to, which ends the wait.
fn visited(
    visit: BrowserRequest,
    attempt: &AuthorizationRequest,
    exchange: &CodeExchange<'_>,
) -> Result<()> {
    match &visit.response {
        AuthorizationResponse::Code(code) => {
            say(format_args!(
                "The browser is back; asking Google for the token ...\n"
            ));
            let done = exchange.obtain_token(attempt, code);
            visit.respond(&page_of(&done, exchange));
            done.map(|saved| say(format_args!("{saved}\n")))
                .map_err(|failed| failed.error)
        }
        AuthorizationResponse::Denied => {
            visit.respond(&ResultPage::Denied);
            Err(denied())
        }
        AuthorizationResponse::Error(code) => {
            let error = refused(code);
            visit.respond(&ResultPage::Failed);
            Err(error)
        }
    }
}

/// What a pasted line comes to; nothing if the person may try again.
fn pasted(
    line: &str,
    attempt: &AuthorizationRequest,
    exchange: &CodeExchange<'_>,
) -> Option<Result<()>> {
    let again = |what: &str| {
        say(format_args!("{what}\n"));
        None
    };
    match redirect::of_pasted(line, &attempt.state) {
        PastedLine::Empty => None,
        PastedLine::Unrecognized => again(
            "This is neither the address that the browser ended on (http://127.0.0.1:...) nor a \
             code (4/...). Paste it whole.",
        ),
        PastedLine::ConsentPage => again(
            "This is the address of Google's own page. Go on there until the browser ends on \
             http://127.0.0.1:..., and paste that address.",
        ),
        PastedLine::Redirect(RedirectQuery::WrongState | RedirectQuery::NotARedirect) => again(
            "This address belongs to another attempt, or a part of it is missing. Open the address \
             above, and paste the one that the browser ends on.",
        ),
        PastedLine::Redirect(RedirectQuery::Response(AuthorizationResponse::Denied)) => {
            Some(Err(denied()))
        }
        PastedLine::Redirect(RedirectQuery::Response(AuthorizationResponse::Error(code))) => {
            Some(Err(refused(&code)))
        }
        PastedLine::Redirect(RedirectQuery::Response(AuthorizationResponse::Code(code))) => {
            match exchange.obtain_token(attempt, &code) {
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
fn dismiss_the_browser(events: &Receiver<ConsentEvent>) {
    while let Ok(event) = events.try_recv() {
        if let ConsentEvent::Visit(visit) = event {
            visit.respond(&ResultPage::AlreadyDone);
        }
    }
}

fn page_of(
    done: &Result<code_exchange::SavedToken, ExchangeError>,
    exchange: &CodeExchange<'_>,
) -> ResultPage {
    match done {
        Ok(_) => ResultPage::Success {
            account: exchange.config.map(|config| config.target.user.clone()),
        },
        Err(failed) if failed.is_expired => ResultPage::Expired,
        Err(_) => ResultPage::Failed,
    }
}

fn denied() -> Error {
    Error::new(
        Side::Token,
        ErrorKind::Rejected,
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
    let what = format!("it says {}", Untrusted::new(code));
    Error::new(Side::Token, ErrorKind::Rejected, "Google", what)
        .during("asking for consent")
        .remedy(remedy)
}

fn time_is_up() -> Error {
    Error::new(
        Side::Token,
        ErrorKind::Rejected,
        "Google",
        "no answer came from a browser, and time is up",
    )
    .during("waiting for consent")
    .remedy(
        "nothing was saved; run this again (over SSH and in containers the address can be pasted)",
    )
}

fn shown(file: &Path) -> String {
    Untrusted::path(file).to_string()
}

/// Speaks to the person, at once: there may be no line end.
fn say(what: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = write!(out, "{what}").and_then(|()| out.flush());
}
