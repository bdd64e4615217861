//! Errors of commands, log-ins and EXAMINE, which callers treat by their kind.

use std::fmt;

use crate::error::Error;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::{ResponseText, Transcript};
use crate::untrusted::Untrusted;

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// Tagged NO; the session stays usable.
    No(ResponseText),
    /// Tagged BAD; the session stays usable.
    Bad(ResponseText),
    /// The server closed the connection with BYE.
    Bye(ResponseText),
    /// The connection broke or timed out, or the server violated the protocol; described for the
    /// user.
    ConnectionLost(String),
}

impl CommandError {
    /// A broken or unusable connection.
    pub(super) fn lost(what: &str) -> CommandError {
        CommandError::ConnectionLost(what.to_owned())
    }

    /// The server's response; none if the connection was lost.
    pub(crate) fn response_text(&self) -> Option<&ResponseText> {
        match self {
            CommandError::No(text) | CommandError::Bad(text) | CommandError::Bye(text) => {
                Some(text)
            }
            CommandError::ConnectionLost(_) => None,
        }
    }

    pub(crate) fn leaves_session_usable(&self) -> bool {
        matches!(self, CommandError::No(_) | CommandError::Bad(_))
    }

    /// Whether the command may succeed if it is sent in a packet of its own: the server does not name
    /// another cause, and did not say NO to what it understood.
    pub(super) fn may_be_due_to_pipelining(&self) -> bool {
        match self {
            CommandError::No(_) => false,
            CommandError::Bad(_) | CommandError::Bye(_) => !self.login_failure().is_named(),
            CommandError::ConnectionLost(_) => true,
        }
    }

    /// The error of a broken connection: BYE if the server sent that, else what `describe` returns.
    pub(super) fn connection_lost(
        transcript: &Transcript,
        describe: impl FnOnce() -> String,
    ) -> CommandError {
        match transcript.bye() {
            Some(text) => CommandError::Bye(text),
            None => CommandError::ConnectionLost(describe()),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::No(text) => write!(f, "the server says NO {text}"),
            CommandError::Bad(text) => write!(f, "the server says BAD {text}"),
            CommandError::Bye(text) => write!(f, "the server hung up: {text}"),
            CommandError::ConnectionLost(what) => f.write_str(what),
        }
    }
}

/// Why a session could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// Failed before the log-in: no connection, no greeting, no suitable log-in method.
    Unreachable(Error),
    /// The server ended the connection before the log-in.
    Bye {
        /// Its reason.
        text: ResponseText,
        /// The same for the user.
        error: Error,
    },
    /// The log-in failed.
    Login {
        /// How.
        failure: CommandError,
        /// The same for the user.
        error: Error,
    },
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Error {
        match error {
            OpenError::Unreachable(error)
            | OpenError::Bye { error, .. }
            | OpenError::Login { error, .. } => error,
        }
    }
}

/// Why a folder could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExamineError {
    /// A command failed.
    Command(CommandError),
    /// The server opened the folder, but without what is needed to work with it.
    Unusable(Error),
}

impl From<CommandError> for ExamineError {
    fn from(error: CommandError) -> ExamineError {
        ExamineError::Command(error)
    }
}

/// The result that a tagged response says; none if it is another one.
pub(super) fn tagged_result(response: &[u8]) -> Option<Result<(), CommandError>> {
    Some(match status_response(response)? {
        (StatusCondition::Ok, _) => Ok(()),
        (StatusCondition::No, text) => Err(CommandError::No(text)),
        (StatusCondition::Bad, text) => Err(CommandError::Bad(text)),
        _ => return None,
    })
}

/// What a line that cannot be parsed is reported as.
pub(super) fn describe_invalid_line(line: &[u8]) -> String {
    let line = Untrusted::new(line.trim_ascii_end());
    format!("it sent a line that is not IMAP: {line:?}")
}
