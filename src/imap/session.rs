//! A session with an IMAP server: opening it, running commands, logging out.
//!
//! Every command goes through [`Session::command`], [`Session::run`] or [`Session::pipeline`], and
//! every error becomes a [`CommandError`]. The modules below manage the connection itself; the
//! other modules of `imap` only run commands.

use std::fmt;

use log::debug;

use crate::config::Server;
use crate::error::{Error, ErrorKind};
use crate::imap::{Capabilities, CommandError, LoginForm, SharedConnection, Transcript};
use crate::net::ConnectionOptions;
use crate::timeouts::LOGOUT_TIMEOUT;

mod idle;
mod open;
mod pipeline;

use crate::imap::session::idle::IdleState;
use crate::imap::session::pipeline::PipelineState;

pub(crate) use idle::IdleStart;
pub use idle::WaitOutcome;
pub(crate) use pipeline::CommandResult;
pub(super) use pipeline::response_tag;

/// Identifies this client (RFC 2971). The URL is that of the program that this one succeeds.
pub(super) const ID_COMMAND: &str = concat!(
    "ID (\"name\" \"imap-to-gmail-sync\" \"version\" \"",
    env!("CARGO_PKG_VERSION"),
    "\" \"vendor\" \"the imap-to-gmail-sync authors\" \
     \"support-url\" \"https://github.com/jsquyres/imap-to-gmail-sync\")"
);

/// An IMAP session that is logged in.
pub struct Session {
    server: Server,
    options: ConnectionOptions,
    imap: imap::Session<SharedConnection>,
    /// The library's connection, for what the library cannot do.
    connection: SharedConnection,
    transcript: Transcript,
    capabilities: Option<Capabilities>,
    capabilities_before_login: Capabilities,
    login_form: LoginForm,
    is_usable: bool,
    pipeline: PipelineState,
    idle: IdleState,
}

impl Session {
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
        self.command(ID_COMMAND).map(drop)
    }

    /// The form of the log-in that the server accepted.
    #[must_use]
    pub fn login_form(&self) -> LoginForm {
        self.login_form
    }

    /// Says whether the server is known to take ID (RFC 2971); asks it nothing.
    pub(super) fn announces_id(&self) -> bool {
        let known = self.capabilities.as_ref();
        known.unwrap_or(&self.capabilities_before_login).has("ID")
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
