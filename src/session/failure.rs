//! How commands and log-ins fail, in words that the one who asked can act on.

use std::fmt;

use super::login::Login;
use super::wire::{self, Reply, Status};
use crate::connection::{self, Witness};
use crate::error::{Error, Kind};
use crate::foreign::Foreign;

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server will not (tagged NO); the session goes on.
    No(Reply),
    /// The server does not understand (tagged BAD); the session goes on.
    Bad(Reply),
    /// The server ended the connection, and said why.
    Bye(Reply),
    /// The connection broke, timed out, or says what no one understands: how, for a person.
    Lost(String),
}

impl Failure {
    /// What the server said; nothing if the connection was lost.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Failure::No(reply) | Failure::Bad(reply) | Failure::Bye(reply) => Some(reply),
            Failure::Lost(_) => None,
        }
    }

    /// Says whether the session can go on.
    #[must_use]
    pub fn leaves_session_usable(&self) -> bool {
        matches!(self, Failure::No(_) | Failure::Bad(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::No(reply) => write!(f, "the server says NO {reply}"),
            Failure::Bad(reply) => write!(f, "the server says BAD {reply}"),
            Failure::Bye(reply) => write!(f, "the server hung up: {reply}"),
            Failure::Lost(how) => f.write_str(how),
        }
    }
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unopened {
    /// It did not come to the log-in: no connection, no greeting, no way to log in.
    Unreachable(Error),
    /// The log-in failed.
    LogIn {
        /// How; [`Failure::concerns_credentials`] says whether a person must act.
        failure: Failure,
        /// The same, for a person.
        error: Error,
    },
}

impl From<Unopened> for Error {
    fn from(unopened: Unopened) -> Error {
        match unopened {
            Unopened::Unreachable(error) | Unopened::LogIn { error, .. } => error,
        }
    }
}

/// Why a folder is not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unexamined {
    /// A command failed.
    Failed(Failure),
    /// The server did not refuse it, but nobody can work with it so.
    Unfit(Error),
}

impl From<Failure> for Unexamined {
    fn from(failure: Failure) -> Unexamined {
        Unexamined::Failed(failure)
    }
}

/// The library's error, read together with what the server said last: the library loses reasons
/// and codes.
pub(super) fn failure(error: imap::Error, witness: &Witness) -> Failure {
    let last = wire::status(&witness.last_line());
    match (error, last) {
        (imap::Error::No(_) | imap::Error::Append, Some((Status::No, reply))) => Failure::No(reply),
        (imap::Error::Bad(_) | imap::Error::Append, Some((Status::Bad, reply))) => {
            Failure::Bad(reply)
        }
        (error, _) => match witness.bye() {
            Some(text) => Failure::Bye(Reply::of_text(&text)),
            None => Failure::Lost(describe(&error, witness)),
        },
    }
}

fn describe(error: &imap::Error, witness: &Witness) -> String {
    match error {
        imap::Error::Io(error) => connection::reason(error),
        imap::Error::ConnectionLost => "it closed the connection".to_owned(),
        imap::Error::Validate(error) => error.to_string(),
        _ => format!(
            "it sent what is no IMAP: {:?}",
            Foreign::new(&witness.last_line())
        ),
    }
}

pub(super) fn log_in_error(place: &str, login: &Login, failure: &Failure) -> Error {
    let doing = format!("logging in as {}", Foreign::new(login.user()));
    let kind = if failure.concerns_credentials() {
        Kind::Refused
    } else {
        Kind::Unavailable
    };
    Error::new(kind, place, failure).during(doing)
}
