//! Obtains the first token with the user's consent in a browser (RFC 8252: OAuth 2.0 for native
//! apps).
//!
//! Everything that can be wrong is checked before the user is asked, and nothing is saved before
//! the new token has been verified.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::atomic_file::WriteGuard;
use crate::config::{Config, Environment, TargetConfig};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::file_access;
use crate::oauth::GMAIL_API_CONSOLE;
use crate::process::signals;
use crate::secret::Secret;
use crate::untrusted::Untrusted;

mod authorization_request;
mod client_secret_file;
mod code_exchange;
mod redirect;
mod redirect_listener;
mod result_page;
mod terminal;
mod user_environment;

use crate::oauth::consent::authorization_request::AuthorizationRequest;
use crate::oauth::consent::client_secret_file::ClientSecretFile;
use crate::oauth::consent::code_exchange::{CodeExchange, ExchangeError};
use crate::oauth::consent::redirect::{AuthorizationResponse, PastedLine, RedirectQuery};
use crate::oauth::consent::redirect_listener::{BrowserRequest, RedirectListener};
use crate::oauth::consent::result_page::ResultPage;
use crate::oauth::consent::terminal::say;
use crate::oauth::consent::user_environment::UserEnvironment;

/// The token file, unless an option or the configuration names another.
const DEFAULT_TOKEN_FILE: &str = "token.json";

/// A pipe may never end; a user does not paste more lines than this.
const MAX_PASTED_LINES: usize = 100;

/// Events that may wait while one is handled; further senders block.
const MAX_WAITING_EVENTS: usize = 8;

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

/// Where an authorization response can come from.
enum ConsentEvent {
    /// Google redirected a browser to the listener.
    Redirect(BrowserRequest),
    /// The user pasted a line.
    PastedLine(String),
}

/// Asks the user for consent in a browser, exchanges the authorization code, verifies the token and
/// saves it. The user has `time_limit` to answer.
///
/// # Errors
/// [`ErrorKind::Config`]: `client_secret.json` or the configuration is wrong. [`ErrorKind::Usage`]:
/// the token file exists. [`ErrorKind::Rejected`]: the user or Google denied access, or the time is
/// over. [`ErrorKind::Unavailable`]: the port, Google or Gmail is unavailable. [`ErrorKind::Disk`]:
/// the token cannot be saved. After any error an existing token file is unchanged.
pub fn run(
    options: &ConsentOptions,
    environment: &Environment,
    verify: &VerifyAccessToken,
    time_limit: Duration,
) -> Result<()> {
    signals::let_signals_end_process_1();
    let client_secret_file = ClientSecretFile::read(&options.credentials)?;
    for warning in client_secret_file.foreign_host_warnings(&options.credentials) {
        say(format_args!("Warning: {warning}.\n\n"));
    }
    let config = options
        .config
        .as_deref()
        .map(|file| Config::load(file, environment))
        .transpose()?;
    let account = config.as_ref().map(|config| &config.target);
    let configured = account.map(|account| account.token_file.as_path());
    let token_file = options.token.as_deref().or(configured);
    let token_file = token_file.unwrap_or(Path::new(DEFAULT_TOKEN_FILE));
    check_writable(token_file, options.force)?;
    let user_environment = UserEnvironment::detect(environment);
    let is_published = options.port.is_some() && user_environment.has_own_network();
    let listener = RedirectListener::bind(options.port, is_published)?;
    let user = account.map(|account| account.user.as_str());
    let request = AuthorizationRequest::new(&client_secret_file, user, listener.port)?;
    let client = &client_secret_file.client;
    let exchange = CodeExchange::prepare(account, request, client, token_file, verify)?;

    show_instructions(&exchange, &user_environment, listener.port, time_limit);
    let (sender, events) = sync_channel(MAX_WAITING_EVENTS);
    let redirects = sender.clone();
    listener.serve(exchange.request.state.clone(), move |request| {
        // Fails only when the program is ending.
        let _ = redirects.send(ConsentEvent::Redirect(request));
    });
    read_pasted_lines(sender);
    if !options.no_browser && user_environment.can_open_browser() {
        open_browser(exchange.request.url.clone());
    }

    wait_for_token(&exchange, &events, Instant::now() + time_limit)
}

/// Checks that the token can be saved, before a consent is spent on it.
fn check_writable(file: &Path, is_forced: bool) -> Result<()> {
    let error =
        |kind, what: &dyn fmt::Display| Error::new(Side::Token, kind, Untrusted::path(file), what);
    if file.is_dir() {
        return Err(error(ErrorKind::Usage, &"is a folder")
            .during("checking where to save the token")
            .remedy("name a file"));
    }
    // A file in a folder that may not be entered counts as absent here; the probe reports it.
    let exists = file.symlink_metadata().is_ok();
    if exists && !is_forced && !(io::stdin().is_terminal() && confirm_replacing(file)?) {
        let what = "exists already, and stays as it is";
        return Err(error(ErrorKind::Usage, &what).remedy("to replace it, add --force"));
    }
    let probed = WriteGuard::lock(file).and_then(|guard| guard.probe());
    probed.map_err(|failure| {
        error(ErrorKind::Disk, &failure)
            .during("checking whether the token can be saved")
            .remedy(
                file_access::remedy(&failure)
                    .unwrap_or("make the folder writable, or choose another --token"),
            )
    })
}

fn confirm_replacing(file: &Path) -> Result<bool> {
    say(format_args!(
        "{} exists already. Replace it, if all goes well? [y/N] ",
        Untrusted::path(file)
    ));
    let reply = terminal::read_line(&mut io::stdin().lock())
        .map_err(|error| Error::new(Side::Token, ErrorKind::Usage, "standard input", error))?;
    let reply = reply.unwrap_or_default().trim().to_lowercase();
    Ok(matches!(reply.as_str(), "y" | "yes"))
}

fn show_instructions(
    exchange: &CodeExchange<'_>,
    user_environment: &UserEnvironment,
    port: u16,
    time_limit: Duration,
) {
    let sign_in = exchange.account.map_or_else(
        || "sign in to the Gmail account".to_owned(),
        |account| format!("sign in as {}", Untrusted::new(&account.user)),
    );
    say(format_args!(
        "Open this address in a browser, {sign_in}, and allow access to its mail:\n\n  {}\n\n",
        exchange.request.url
    ));
    if exchange
        .account
        .is_some_and(|account| account.import.is_some())
    {
        say(format_args!(
            "The configuration has delivery \"import\". That needs the Gmail API, which must be switched \
             on in the project of client_secret.json: {GMAIL_API_CONSOLE}\n\n"
        ));
    }
    if let Some(command) = user_environment.ssh_tunnel_command(port) {
        say(format_args!(
            "If your browser runs on another computer, first run this command there, so that \
             Google can redirect the browser to this machine (replace the host name if you use \
             another one for this machine):\n\n  {command}\n\n"
        ));
    }
    say(format_args!(
        "Or wait until the browser says that it cannot reach the page, and paste that page's \
         address (http://127.0.0.1:{port}/...) here.\nThis waits for {}.\n",
        minutes(time_limit)
    ));
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// Opens the browser in a thread: a browser in the terminal returns only when the user leaves it.
fn open_browser(url: String) {
    thread::spawn(move || {
        if let Err(error) = webbrowser::open(&url) {
            let error = error.to_string();
            say(format_args!(
                "No browser could be opened ({}): open the address yourself.\n",
                Untrusted::new(&error)
            ));
        }
    });
}

/// Reads the lines that the user pastes, in a thread: standard input may be closed, or never end.
fn read_pasted_lines(events: SyncSender<ConsentEvent>) {
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        for _ in 0..MAX_PASTED_LINES {
            let Ok(Some(line)) = terminal::read_line(&mut input) else {
                return;
            };
            if events.send(ConsentEvent::PastedLine(line)).is_err() {
                return;
            }
        }
        say("Too many lines; no more are read. Still waiting for the browser.\n");
    });
}

/// Handles events until one brings an authorization response that decides the matter.
fn wait_for_token(
    exchange: &CodeExchange<'_>,
    events: &Receiver<ConsentEvent>,
    deadline: Instant,
) -> Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = match events.recv_timeout(left) {
            Ok(event) if !left.is_zero() => event,
            Err(RecvTimeoutError::Disconnected) => {
                let (kind, what) = (ErrorKind::Internal, "the listener has stopped");
                return Err(Error::new(Side::Token, kind, "the browser", what));
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => return Err(time_out()),
        };
        let result = match event {
            ConsentEvent::Redirect(redirect) => Some(handle_redirect(redirect, exchange)),
            ConsentEvent::PastedLine(line) => handle_pasted_line(&line, exchange),
        };
        if let Some(result) = result {
            let result = result.map(|message| say(format_args!("{message}\n")));
            dismiss_browsers(events);
            return result;
        }
    }
}

/// Handles a redirected browser; whatever it brings ends the wait.
fn handle_redirect(redirect: BrowserRequest, exchange: &CodeExchange<'_>) -> Result<String> {
    if let AuthorizationResponse::Code(_) = redirect.response {
        say("The browser is back; asking Google for the token ...\n");
    }
    let result = complete(&redirect.response, exchange);
    let page = match (&redirect.response, &result) {
        (AuthorizationResponse::Denied, _) => ResultPage::Denied,
        (_, Err(failure)) if failure.is_code_expired => ResultPage::Expired,
        (_, Err(_)) => ResultPage::Failed,
        (_, Ok(_)) => ResultPage::Success {
            account: exchange.account.map(|account| account.user.clone()),
        },
    };
    redirect.respond(&page);
    result.map_err(|failure| failure.error)
}

/// Handles a pasted line; returns nothing if the user may paste another.
fn handle_pasted_line(line: &str, exchange: &CodeExchange<'_>) -> Option<Result<String>> {
    let ask_again = |reason: &str| {
        say(format_args!("{reason}\n"));
        None
    };
    let response = match redirect::parse_pasted_line(line, &exchange.request.state) {
        PastedLine::Redirect(RedirectQuery::Response(response)) => response,
        PastedLine::Redirect(RedirectQuery::WrongState | RedirectQuery::NotARedirect) => {
            return ask_again(
                "This address belongs to another attempt, or a part of it is missing. Open the \
                 address above, and paste the one that the browser ends on.",
            );
        }
        PastedLine::Empty => return None,
        PastedLine::Unrecognized => {
            return ask_again(
                "This is neither the address that the browser ended on (http://127.0.0.1:...) nor \
                 an authorization code (4/...). Paste it whole.",
            );
        }
        PastedLine::ConsentPage => {
            return ask_again(
                "This is the address of Google's own page. Continue there until the browser ends \
                 on http://127.0.0.1:..., and paste that address.",
            );
        }
    };
    match complete(&response, exchange) {
        Err(failure) if failure.is_code_expired => ask_again(&format!(
            "Google does not accept this code (a code is valid once, for a few minutes). Open the \
             address above once more. Google's response: {}",
            failure.error
        )),
        result => Some(result.map_err(|failure| failure.error)),
    }
}

/// Completes the consent with Google's response; returns the message for the user.
fn complete(
    response: &AuthorizationResponse,
    exchange: &CodeExchange<'_>,
) -> Result<String, ExchangeError> {
    let (what, remedy) = match response {
        AuthorizationResponse::Code(code) => return exchange.obtain_token(code),
        AuthorizationResponse::Denied => (
            "access was not allowed in the browser".to_owned(),
            "nothing was saved; run this again and choose \"Continue\" or \"Allow\" there",
        ),
        // The error codes are those of RFC 6749 4.1.2.1, and Google's own.
        AuthorizationResponse::Error(code) => (
            format!("it responded with the error {}", Untrusted::new(code)),
            match code.as_str() {
                "admin_policy_enforced" | "org_internal" => {
                    "the administrator of the account's Workspace must allow the app"
                }
                _ => "nothing was saved; run this again",
            },
        ),
    };
    let error = Error::new(Side::Token, ErrorKind::Rejected, "Google", what);
    Err(error.during("asking for consent").remedy(remedy).into())
}

/// Answers the browsers that were redirected while another response was handled.
fn dismiss_browsers(events: &Receiver<ConsentEvent>) {
    while let Ok(event) = events.try_recv() {
        if let ConsentEvent::Redirect(redirect) = event {
            redirect.respond(&ResultPage::AlreadyDone);
        }
    }
}

fn time_out() -> Error {
    let what = "no response came from the browser in time";
    Error::new(Side::Token, ErrorKind::Rejected, "Google", what)
        .during("waiting for consent")
        .remedy(
            "nothing was saved; run this again (over SSH and in containers the address can be \
             pasted)",
        )
}
