//! A session with an IMAP server: opening it, running commands, logging out.
//!
//! Every command goes through the `client`, and every error becomes a [`CommandError`]. The modules
//! below manage the connection itself; the other modules of `imap` only run commands.

use std::fmt;
use std::time::Instant;

use log::debug;

use crate::config::Server;
use crate::error::{Error, ErrorKind};
use crate::imap::client::Client;
use crate::imap::{
    Capabilities, Command, CommandError, CommandResult, LoginForm, LoginPipeline, Responses, Tag,
    Transcript,
};
use crate::message::Uid;
use crate::net::ConnectionOptions;
use crate::timeouts::LOGOUT_TIMEOUT;

mod idle;
mod notify;
mod open;

use crate::imap::session::idle::IdleState;

pub(crate) use idle::IdleStart;
pub use idle::WaitOutcome;

/// An IMAP session that is logged in.
pub struct Session {
    server: Server,
    options: ConnectionOptions,
    pub(super) client: Client,
    capabilities: Option<Capabilities>,
    capabilities_before_login: Capabilities,
    login_form: LoginForm,
    idle: IdleState,
    /// What was sent together with the log-in, and not answered yet.
    pub(super) sent_ahead: Option<SentAhead>,
    /// The response to the listing among that.
    pub(super) listed_ahead: Option<Responses>,
    pub(super) login_pipeline: LoginPipeline,
    /// The APPEND whose message the server may ask for.
    pub(super) announced: Option<Tag>,
    /// The APPENDs whose message was sent without being asked for, and not answered.
    pub(super) unasked: Vec<Tag>,
}

/// What is asked for together with a log-in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedAhead<'a> {
    /// The folder to open.
    pub folder: &'a str,
    /// The messages to list then, from the first to the last UID.
    pub listed: Option<(Uid, Uid)>,
}

/// The same as commands.
pub(super) struct SentAhead {
    pub(super) examine: Tag,
    pub(super) listing: Option<Tag>,
}

impl Session {
    /// The capabilities after the log-in; asked for only if the server did not send them with it.
    ///
    /// # Errors
    /// As for `Session::command`.
    pub fn capabilities(&mut self) -> Result<Capabilities, CommandError> {
        if self.capabilities.is_none() {
            self.command(Command::Capability)?;
            self.capabilities = self.transcript().capabilities();
        }
        Ok(self.capabilities.get_or_insert_default().clone())
    }

    /// Runs a command, after ending an IDLE; returns its untagged responses and its tagged one.
    ///
    /// # Errors
    /// After any error but NO and BAD the session is not usable any more.
    pub(crate) fn command(&mut self, command: Command) -> CommandResult {
        self.end_idle_with_next();
        self.client.run(command)
    }

    /// Runs commands in one write, after ending an IDLE, and returns the result of each. A server
    /// may delay its tagged responses, so untagged ones may be in the result of another command than
    /// theirs.
    ///
    /// # Errors
    /// The connection broke or the server does not respond; the session is not usable any more.
    pub(crate) fn pipeline(
        &mut self,
        commands: Vec<Command>,
    ) -> Result<Vec<CommandResult>, CommandError> {
        self.end_idle_with_next();
        self.client.run_all(commands)
    }

    /// Sends a command without waiting for its response.
    pub(super) fn send_command(&mut self, command: &Command) -> Result<Tag, CommandError> {
        self.client.start()?;
        let mut lines = self.client.take_queued();
        let tag = self.client.write_command(command, &mut lines);
        self.client.send_lines(&lines)?;
        Ok(tag)
    }

    /// Waits for the response to a command that was sent.
    pub(super) fn receive_result(&mut self, tag: Tag) -> CommandResult {
        let result = self.client.receive_results(&[tag])?.pop();
        result.unwrap_or_else(|| Err(CommandError::lost("the command was not sent")))
    }

    /// Limits the responses to the next commands to this many octets, or 32 MiB if that is more; a
    /// larger one breaks the connection.
    pub(crate) fn set_allowance(&mut self, octets: u64) {
        self.client.connection().set_allowance(octets);
    }

    /// Identifies this client to the server (RFC 2971), as Google asks for: together with the next
    /// command, or at once where the server would lose that. Whatever it responds is no failure; a broken
    /// connection shows in the next command.
    pub(crate) fn identify_with_next_command(&mut self) {
        if self.loses_pipelined_commands() {
            drop(self.command(Command::Id));
        } else {
            self.client.send_with_next(Command::Id);
        }
    }

    /// What became of the commands that were sent together with the log-in.
    pub(crate) fn login_pipeline(&self) -> LoginPipeline {
        self.login_pipeline
    }

    /// Takes the listing that was asked for together with the log-in, of the folder that is open now.
    pub(crate) fn take_listed_ahead(&mut self) -> Option<Responses> {
        self.listed_ahead.take()
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

    /// Logs out, and does not wait for the response: nothing depends on it. A server that loses commands
    /// that arrive in one packet with others might lose the LOGOUT that comes with the end of the
    /// connection, so that one is waited for, shortly.
    pub fn logout(mut self) {
        if !self.is_usable() {
            return;
        }
        self.client.shorten_timeouts(LOGOUT_TIMEOUT);
        let ended = if self.loses_pipelined_commands() {
            let deadline = Instant::now() + LOGOUT_TIMEOUT;
            let connection = self.client.connection();
            connection.set_response_deadline(Some(deadline));
            self.command(Command::Logout).map(drop)
        } else {
            self.end_idle_with_next();
            self.client.finish(&Command::Logout)
        };
        if let Err(error) = ended {
            debug!("{}: logging out: {error}", self.server.address());
        }
    }

    /// Says whether commands can still be run.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.client.is_usable()
    }

    /// Whether the connection broke because the server did not respond in time.
    pub(crate) fn has_timed_out(&self) -> bool {
        self.client.has_timed_out()
    }

    /// Whether the server is known to have this capability now; asks it nothing.
    pub(crate) fn announces(&self, capability: &str) -> bool {
        let known = self.capabilities.as_ref();
        known.is_some_and(|known| known.has(capability))
    }

    /// Says whether something arrived that was not asked for, or the end of the connection; waits for
    /// nothing.
    pub(crate) fn has_unsolicited(&mut self) -> bool {
        self.client.connection().has_unsolicited()
    }

    /// When the server sent something last.
    pub(crate) fn heard_at(&self) -> Instant {
        self.client.heard_at()
    }

    /// Says whether the server was seen to lose commands that arrive in one packet with others.
    pub(crate) fn loses_pipelined_commands(&self) -> bool {
        self.client.loses_pipelined_commands()
    }

    /// Whether the server responded to a command and not to what came in one packet with it.
    pub(crate) fn has_lost_commands(&self) -> bool {
        self.client.has_lost_commands()
    }

    /// Sends each command in a packet of its own from now on.
    pub(crate) fn disable_pipelining(&mut self) {
        self.client.disable_pipelining();
    }

    /// What was received last.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        self.client.transcript()
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
