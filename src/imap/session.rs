//! A session with an IMAP server: greeting, capabilities, log-in, EXAMINE, LIST; for both sides.
//!
//! Everything that is read passes through here, and every way to fail becomes a `CommandError`. The
//! library's own readers of EXAMINE, APPEND and the like are not used: they panic on, or give up
//! at, lines that servers may send.

use std::fmt;

use imap_proto::{AttributeValue, MailboxDatum, Response};
use log::debug;

use crate::config::Server;
use crate::error::Side;
use crate::error::{Error, ErrorKind, Result};
use crate::imap::Capabilities;
use crate::imap::CommandError;
use crate::imap::Login;
use crate::imap::OpenError;
use crate::imap::ResponseText;
use crate::imap::{Connection, SharedConnection, Transcript};
use crate::message::{Flags, InternalDate, Uid};
use crate::net::ConnectionOptions;
use crate::net::Trust;
use crate::timeouts::LOGOUT_TIMEOUT;
use crate::timeouts::Timeouts;
use crate::untrusted::Untrusted;

use crate::imap::command_error::{command_error, log_in_error};
use crate::imap::idle::ActiveIdle;
use crate::imap::login::{self, LoginMethod};
use crate::imap::wire;

use crate::imap::wire::StatusCondition;

/// A session in which somebody is logged in.
pub struct Session {
    pub(super) side: Side,
    pub(super) imap: imap::Session<SharedConnection>,
    pub(super) transcript: Transcript,
    pub(super) place: String,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) is_usable: bool,
    /// The library's connection, for what the library cannot do.
    pub(super) connection: SharedConnection,
    pub(super) timeouts: Timeouts,
    pub(super) last_tag: u32,
    pub(super) active_idle: Option<ActiveIdle>,
    /// The server announces IDLE and does not know it.
    pub(super) idle_unsupported: bool,
    /// The server loses commands that come in one packet with others.
    pub(super) loses_pipelined_commands: bool,
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
        let place = server.address();
        let connection =
            Connection::open(server, trust, options).map_err(OpenError::Unreachable)?;
        let transcript = connection.transcript();
        let needs_greeting = !connection.greeting_is_read();
        let connection = SharedConnection::new(connection);
        let mut client = imap::Client::new(connection.clone());
        let unreachable = |doing: &str, failure: CommandError| {
            let is_lost = matches!(failure, CommandError::ConnectionLost(_));
            let error =
                Error::new(options.side, ErrorKind::Unavailable, &place, failure).during(doing);
            OpenError::Unreachable(if is_lost {
                error.remedy("if it stays so, check the port")
            } else {
                error
            })
        };
        if needs_greeting {
            read_greeting(&mut client, &transcript)
                .map_err(|failure| unreachable("reading its greeting", failure))?;
        }
        let capabilities = capabilities_before_log_in(&mut client, &transcript)
            .map_err(|failure| unreachable("asking what it can do", failure))?;
        let way = LoginMethod::for_login(login, &capabilities);
        let way = way
            .filter(|_| login.invalid_characters().is_none())
            .ok_or_else(|| {
                let wrong = |what: &str| {
                    Error::new(options.side, ErrorKind::Config, &place, what).during("logging in")
                };
                OpenError::Unreachable(match login.invalid_characters() {
                    Some(mistake) => wrong(mistake),
                    None => wrong("the server offers no log-in with a password on this connection")
                        .remedy("encrypt it (source_tls), or use another server"),
                })
            })?;

        transcript.clear_capabilities();
        let sends_at_once = capabilities.has("SASL-IR");
        match login::log_in(client, login, way, sends_at_once) {
            Ok(imap) => Ok(Session {
                side: options.side,
                imap,
                capabilities: Capabilities::from_transcript(&transcript),
                transcript,
                place,
                is_usable: true,
                connection,
                timeouts: options.timeouts,
                last_tag: 0,
                active_idle: None,
                idle_unsupported: false,
                loses_pipelined_commands: false,
            }),
            Err(error) => {
                let failure = command_error(error, &transcript);
                let error = log_in_error(options.side, &place, login, &failure);
                Err(OpenError::Login { failure, error })
            }
        }
    }

    /// What the server can do for the one who is logged in; asked only if it did not tell.
    ///
    /// # Errors
    /// The command failed.
    pub fn capabilities(&mut self) -> Result<Capabilities, CommandError> {
        if self.capabilities.is_none() {
            self.command("CAPABILITY")?;
            self.capabilities =
                Some(Capabilities::from_transcript(&self.transcript).unwrap_or_default());
        }
        Ok(self.capabilities.clone().unwrap_or_default())
    }

    /// Runs a command and gives the untagged responses to it, to be read by [`responses`]. What
    /// goes into the command was quoted before ([`wire`]).
    ///
    /// # Errors
    /// See [`CommandError`]; after anything but a NO or BAD the session is over.
    pub fn command(&mut self, command: &str) -> Result<Vec<u8>, CommandError> {
        self.run(|imap| imap.run_command_and_read_response(command))
    }

    /// Does something with the library's session, and reads its failure.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn run<T>(
        &mut self,
        action: impl FnOnce(&mut imap::Session<SharedConnection>) -> imap::Result<T>,
    ) -> Result<T, CommandError> {
        if self.is_usable {
            self.end_idle()?;
        }
        self.start_command()?;
        let result = action(&mut self.imap).map_err(|error| command_error(error, &self.transcript));
        // Nobody here reads what the library puts aside.
        drop(self.imap.take_all_unsolicited());
        if let Err(failure) = &result {
            self.is_usable = failure.leaves_session_usable();
        }
        result
    }

    /// The UIDs that match, ascending and without doubles; the criteria as `UID SEARCH` takes them.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn search(&mut self, criteria: &str) -> Result<Vec<Uid>, CommandError> {
        let answer = self.command(&format!("UID SEARCH {criteria}"))?;
        Ok(search_results(&answer))
    }

    /// Says who we are (RFC 2971); Google asks clients to. What the server says of itself is logged.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn send_id(&mut self) -> Result<(), CommandError> {
        let command = concat!(
            "ID (\"name\" \"imap-to-gmail-sync\" \"version\" \"",
            env!("CARGO_PKG_VERSION"),
            "\")"
        );
        self.command(command).map(drop)
    }

    /// Stores a message in a folder (RFC 3501 6.3.11), best with no folder open, and gives what
    /// the server says with its OK.
    ///
    /// # Errors
    /// As for [`command`](Session::command). A failure that is not NO or BAD leaves it open whether
    /// the message was stored, if [`literal_was_sent`](Transcript::literal_was_sent).
    pub fn append(
        &mut self,
        folder: &str,
        flags: Flags,
        date: InternalDate,
        octets: &[u8],
    ) -> Result<ResponseText, CommandError> {
        use imap::types::Flag;
        let Some(name) = wire::escaped_mailbox(folder) else {
            let what = "the folder's name holds a line end or a NUL";
            return Err(CommandError::ConnectionLost(what.to_owned()));
        };
        let set = [
            (flags.seen, Flag::Seen),
            (flags.flagged, Flag::Flagged),
            (flags.answered, Flag::Answered),
        ];
        let stored = self.run(|imap| {
            let mut append = imap.append(&name, octets);
            append.flags(
                set.into_iter()
                    .filter(|(is_set, _)| *is_set)
                    .map(|(_, flag)| flag),
            );
            if let Some(date) = date {
                append.internal_date(date);
            }
            append.finish()
        });
        // The server's own words count: the library gives up at lines that it did not expect, and
        // knows APPENDUID in its canonical form only.
        match (stored, self.tagged_ok()) {
            (_, Some(reply)) => Ok(reply),
            (Ok(_), None) => Ok(ResponseText::default()),
            (Err(failure), None) => Err(failure),
        }
    }

    /// Takes leave; whatever happens then, the session is over. The answer is not waited for long:
    /// nothing depends on it.
    pub fn logout(mut self) {
        self.connection
            .connection()
            .shorten_timeouts(LOGOUT_TIMEOUT);
        self.timeouts.idle_start = self.timeouts.idle_start.min(LOGOUT_TIMEOUT);
        if self.active_idle.is_some() {
            if let Err(failure) = self.pipeline(&["LOGOUT"]) {
                debug!("{}: logging out: {failure}", self.place);
            }
        } else if self.is_usable
            && let Err(error) = self.imap.logout()
        {
            let failure = command_error(error, &self.transcript);
            debug!("{}: logging out: {failure}", self.place);
        }
    }

    /// Says whether commands can still be given.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Says whether the server was seen to lose commands that come in one packet with others.
    #[must_use]
    pub fn loses_pipelined_commands(&self) -> bool {
        self.loses_pipelined_commands
    }

    /// Gives each command a packet of its own.
    pub fn disable_pipelining(&mut self) {
        self.loses_pipelined_commands = true;
    }

    /// What was said last.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The server as error messages name it.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The failure of a command as a failure of what was being done.
    #[must_use]
    pub fn error(&self, failure: &CommandError) -> Error {
        Error::new(self.side, ErrorKind::Unavailable, &self.place, failure)
    }

    /// What the server said with its tagged OK to all that was sent, if that was its last line.
    fn tagged_ok(&self) -> Option<ResponseText> {
        let response = self.transcript.tagged_response();
        match wire::status(&response.filter(|_| self.transcript.literal_was_sent())?) {
            Some((StatusCondition::Ok, reply)) => Some(reply),
            _ => None,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// The responses in what a command gave.
pub fn responses(answer: &[u8]) -> impl Iterator<Item = Response<'_>> {
    let mut rest = answer;
    std::iter::from_fn(move || {
        let (after, response) = imap_proto::parser::parse_response(rest).ok()?;
        rest = after;
        Some(response)
    })
}

/// The UIDs in what a UID SEARCH gave, ascending and without doubles.
#[must_use]
pub fn search_results(answer: &[u8]) -> Vec<Uid> {
    let mut found: Vec<Uid> = Vec::new();
    for response in responses(answer) {
        if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
            found.extend(uids.into_iter().filter_map(Uid::new));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The attributes of each FETCH response in what a command gave.
pub fn fetch_responses(answer: &[u8]) -> impl Iterator<Item = Vec<AttributeValue<'_>>> {
    responses(answer).filter_map(|response| match response {
        Response::Fetch(_, attributes) => Some(attributes),
        _ => None,
    })
}

/// The UID among the attributes of a FETCH response.
#[must_use]
pub fn uid_attribute(attributes: &[AttributeValue<'_>]) -> Option<Uid> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::Uid(uid) => Uid::new(*uid),
        _ => None,
    })
}

fn read_greeting(
    client: &mut imap::Client<SharedConnection>,
    transcript: &Transcript,
) -> Result<(), CommandError> {
    let greeting = client
        .read_greeting()
        .map_err(|error| command_error(error, transcript))?;
    match wire::status(&transcript.last_line()) {
        Some((StatusCondition::Ok, _)) => Ok(()),
        Some((StatusCondition::Bye, reply)) => Err(CommandError::Bye(reply)),
        Some((StatusCondition::PreAuth, _)) => Err(CommandError::ConnectionLost(
            "the server takes us for somebody already (PREAUTH)".to_owned(),
        )),
        _ => Err(CommandError::ConnectionLost(format!(
            "this is no IMAP server: it greets with {:?}",
            Untrusted::new(greeting.trim_ascii_end())
        ))),
    }
}

fn capabilities_before_log_in(
    client: &mut imap::Client<SharedConnection>,
    transcript: &Transcript,
) -> Result<Capabilities, CommandError> {
    if let Some(told) = Capabilities::from_transcript(transcript) {
        return Ok(told);
    }
    client
        .capabilities()
        .map_err(|error| command_error(error, transcript))?;
    Ok(Capabilities::from_transcript(transcript).unwrap_or_default())
}
