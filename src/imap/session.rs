//! A session with an IMAP server: opening it, running commands, logging out.
//!
//! Every command goes through [`Session::command`], [`Session::run`] or [`Session::pipeline`], and
//! every error becomes a [`CommandError`]. The modules below manage the connection itself; the
//! other modules of `imap` only run commands.

use std::fmt;

use log::debug;

use crate::config::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::imap::login::LoginMethod;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::{
    Capabilities, CommandError, Connection, Login, OpenError, SharedConnection, Transcript,
};
use crate::net::{ConnectionOptions, Trust};
use crate::timeouts::LOGOUT_TIMEOUT;
use crate::untrusted::Untrusted;

mod idle;
mod pipeline;

use crate::imap::session::idle::IdleState;
use crate::imap::session::pipeline::PipelineState;

pub(crate) use idle::IdleStart;
pub use idle::WaitOutcome;
pub(crate) use pipeline::CommandResult;

/// An IMAP session that is logged in.
pub struct Session {
    server: Server,
    options: ConnectionOptions,
    imap: imap::Session<SharedConnection>,
    /// The library's connection, for what the library cannot do.
    connection: SharedConnection,
    transcript: Transcript,
    capabilities: Option<Capabilities>,
    is_usable: bool,
    pipeline: PipelineState,
    idle: IdleState,
}

impl Session {
    /// Connects, reads the greeting and logs in, with as few round trips as the server allows.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        server: &Server,
        trust: &Trust,
        options: &ConnectionOptions,
        login: &Login,
    ) -> Result<Session, OpenError> {
        let connection =
            Connection::open(server, trust, options).map_err(OpenError::Unreachable)?;
        let transcript = connection.transcript();
        let greeting_is_read = connection.greeting_is_read();
        let connection = SharedConnection::new(connection);
        let mut client = imap::Client::new(connection.clone());
        let unreachable = |doing: &str, failure: CommandError| {
            let error = options.error(server, ErrorKind::Unavailable, &failure);
            let error = error.during(doing);
            OpenError::Unreachable(match failure {
                CommandError::ConnectionLost(_) => error.remedy("if it stays so, check the port"),
                _ => error,
            })
        };
        if !greeting_is_read {
            read_greeting(&mut client, &transcript)
                .map_err(|failure| unreachable("reading its greeting", failure))?;
        }
        let capabilities = capabilities_before_login(&mut client, &transcript)
            .map_err(|failure| unreachable("asking for its capabilities", failure))?;
        let unsuitable = |what: &str| options.error(server, ErrorKind::Config, what);
        let method = choose_login_method(login, &capabilities, unsuitable)
            .map_err(|error| OpenError::Unreachable(error.during("logging in")))?;
        transcript.clear_capabilities();
        match method.log_in(client, capabilities.has("SASL-IR")) {
            Ok(imap) => Ok(Session {
                server: server.clone(),
                options: options.clone(),
                imap,
                connection,
                capabilities: transcript.capabilities(),
                transcript,
                is_usable: true,
                pipeline: PipelineState::default(),
                idle: IdleState::default(),
            }),
            Err(error) => {
                let failure = CommandError::from_imap(&error, &transcript);
                let kind = if failure.rejects_credentials() {
                    ErrorKind::Rejected
                } else {
                    ErrorKind::Unavailable
                };
                let doing = format!("logging in as {}", Untrusted::new(&login.user));
                let error = options.error(server, kind, &failure).during(doing);
                Err(OpenError::Login { failure, error })
            }
        }
    }

    /// The capabilities after the log-in; asked for only if the server did not send them with it.
    ///
    /// # Errors
    /// As for `Session::command`.
    pub fn capabilities(&mut self) -> Result<Capabilities, CommandError> {
        if self.capabilities.is_none() {
            self.command("CAPABILITY")?;
            self.capabilities = self.transcript.capabilities();
        }
        Ok(self.capabilities.get_or_insert_default().clone())
    }

    /// Runs a command and returns its untagged responses and its tagged one, to be parsed by
    /// [`responses`](crate::imap::responses). The caller has quoted what goes into the command.
    ///
    /// # Errors
    /// After any error but NO and BAD the session is not usable any more.
    pub(crate) fn command(&mut self, command: &str) -> Result<Vec<u8>, CommandError> {
        let untagged = self.run(|imap| imap.run_command_and_read_response(command))?;
        Ok([untagged, self.transcript.last_line()].concat())
    }

    /// Runs an action on the library's session.
    pub(super) fn run<T>(
        &mut self,
        action: impl FnOnce(&mut imap::Session<SharedConnection>) -> imap::Result<T>,
    ) -> Result<T, CommandError> {
        if self.is_usable {
            self.end_idle()?;
        }
        self.start_command()?;
        let result = action(&mut self.imap)
            .map_err(|error| CommandError::from_imap(&error, &self.transcript));
        // The library collects unsolicited responses without limit; the transcript has read them.
        drop(self.imap.take_all_unsolicited());
        if let Err(error) = &result {
            self.is_usable = error.leaves_session_usable();
        }
        result
    }

    /// Identifies this client to the server (RFC 2971), as Google asks for.
    pub(crate) fn send_id(&mut self) -> Result<(), CommandError> {
        let command = concat!(
            "ID (\"name\" \"imap-to-gmail-sync\" \"version\" \"",
            env!("CARGO_PKG_VERSION"),
            "\")"
        );
        self.command(command).map(drop)
    }

    /// Logs out. Waits only shortly for the response, since nothing depends on it.
    pub fn logout(mut self) {
        self.connection.lock().shorten_timeouts(LOGOUT_TIMEOUT);
        let idle_start = &mut self.options.timeouts.idle_start;
        *idle_start = LOGOUT_TIMEOUT.min(*idle_start);
        let result = if self.is_idling() {
            self.pipeline(&["LOGOUT"]).map(drop)
        } else if self.is_usable {
            let result = self.imap.logout();
            result.map_err(|error| CommandError::from_imap(&error, &self.transcript))
        } else {
            Ok(())
        };
        if let Err(error) = result {
            debug!("{}: logging out: {error}", self.server.address());
        }
    }

    /// Says whether commands can still be run.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// What was received last.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// An error at this server.
    pub(super) fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        self.options.error(&self.server, kind, what)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.server.address())
    }
}

fn read_greeting(
    client: &mut imap::Client<SharedConnection>,
    transcript: &Transcript,
) -> Result<(), CommandError> {
    let greeting = client
        .read_greeting()
        .map_err(|error| CommandError::from_imap(&error, transcript))?;
    match status_response(&transcript.last_line()) {
        Some((StatusCondition::Ok, _)) => Ok(()),
        Some((StatusCondition::Bye, text)) => Err(CommandError::Bye(text)),
        Some((StatusCondition::PreAuth, _)) => {
            let what = "the server has logged somebody in already (PREAUTH)";
            Err(CommandError::lost(what))
        }
        _ => {
            let greeting = Untrusted::new(greeting.trim_ascii_end());
            let what = format!("this is no IMAP server: it greets with {greeting:?}");
            Err(CommandError::ConnectionLost(what))
        }
    }
}

/// The capabilities in the greeting, or else by command.
fn capabilities_before_login(
    client: &mut imap::Client<SharedConnection>,
    transcript: &Transcript,
) -> Result<Capabilities, CommandError> {
    if transcript.capabilities().is_none() {
        client
            .capabilities()
            .map_err(|error| CommandError::from_imap(&error, transcript))?;
    }
    Ok(transcript.capabilities().unwrap_or_default())
}

fn choose_login_method<'a>(
    login: &'a Login,
    capabilities: &Capabilities,
    failed: impl Fn(&str) -> Error,
) -> Result<LoginMethod<'a>> {
    if let Some(mistake) = login.invalid_characters() {
        return Err(failed(mistake));
    }
    LoginMethod::choose(login, capabilities).ok_or_else(|| {
        failed("the server offers no log-in with a password on this connection")
            .remedy("encrypt it (source_tls), or use another server")
    })
}
