//! How commands and log-ins fail, in words that the one who asked can act on.

use std::fmt;

use crate::error::Side;
use crate::error::{Error, ErrorKind};
use crate::imap::wire::{ResponseText, StatusCondition};
use crate::imap::{Login, Transcript, wire};
use crate::net::describe_io_error;
use crate::untrusted::Untrusted;

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The server will not (tagged NO); the session goes on.
    No(ResponseText),
    /// The server does not understand (tagged BAD); the session goes on.
    Bad(ResponseText),
    /// The server ended the connection, and said why.
    Bye(ResponseText),
    /// The connection broke, timed out, or says what no one understands: how, for a person.
    ConnectionLost(String),
}

impl CommandError {
    /// What the server said; nothing if the connection was lost.
    #[must_use]
    pub fn response_text(&self) -> Option<&ResponseText> {
        match self {
            CommandError::No(reply) | CommandError::Bad(reply) | CommandError::Bye(reply) => {
                Some(reply)
            }
            CommandError::ConnectionLost(_) => None,
        }
    }

    /// Says whether the session can go on.
    #[must_use]
    pub fn leaves_session_usable(&self) -> bool {
        matches!(self, CommandError::No(_) | CommandError::Bad(_))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::No(reply) => write!(f, "the server says NO {reply}"),
            CommandError::Bad(reply) => write!(f, "the server says BAD {reply}"),
            CommandError::Bye(reply) => write!(f, "the server hung up: {reply}"),
            CommandError::ConnectionLost(how) => f.write_str(how),
        }
    }
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// It did not come to the log-in: no connection, no greeting, no way to log in.
    Unreachable(Error),
    /// The log-in failed.
    Login {
        /// How; [`CommandError::rejects_credentials`] says whether a person must act.
        failure: CommandError,
        /// The same, for a person.
        error: Error,
    },
}

impl From<OpenError> for Error {
    fn from(unopened: OpenError) -> Error {
        match unopened {
            OpenError::Unreachable(error) | OpenError::Login { error, .. } => error,
        }
    }
}

/// Why a folder is not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExamineError {
    /// A command failed.
    Command(CommandError),
    /// The server did not refuse it, but nobody can work with it so.
    Unusable(Error),
}

impl From<CommandError> for ExamineError {
    fn from(failure: CommandError) -> ExamineError {
        ExamineError::Command(failure)
    }
}

/// The library's error, read together with what the server said last: the library loses reasons
/// and codes.
pub(crate) fn command_error(error: imap::Error, transcript: &Transcript) -> CommandError {
    let last = wire::status(&transcript.last_line());
    match (error, last) {
        (imap::Error::No(_) | imap::Error::Append, Some((StatusCondition::No, reply))) => {
            CommandError::No(reply)
        }
        (imap::Error::Bad(_) | imap::Error::Append, Some((StatusCondition::Bad, reply))) => {
            CommandError::Bad(reply)
        }
        (error, _) => match transcript.bye() {
            Some(text) => CommandError::Bye(ResponseText::parse(&text)),
            None => CommandError::ConnectionLost(describe(&error, transcript)),
        },
    }
}

fn describe(error: &imap::Error, transcript: &Transcript) -> String {
    match error {
        imap::Error::Io(error) => describe_io_error(error),
        imap::Error::ConnectionLost => "it closed the connection".to_owned(),
        imap::Error::Validate(error) => error.to_string(),
        _ => format!(
            "it sent what is no IMAP: {:?}",
            Untrusted::new(&transcript.last_line())
        ),
    }
}

pub(crate) fn log_in_error(
    side: Side,
    place: &str,
    login: &Login,
    failure: &CommandError,
) -> Error {
    let doing = format!("logging in as {}", Untrusted::new(login.user()));
    let kind = if failure.rejects_credentials() {
        ErrorKind::Rejected
    } else {
        ErrorKind::Unavailable
    };
    Error::new(side, kind, place, failure).during(doing)
}
