//! The error of every layer: which side it is on, which kind of help it needs, and the exit status.
//!
//! An error prints as one line: the place, what was being done, what happened, the remedy. Text from
//! outside enters it only through [`Untrusted`], so that it cannot forge a log line; a secret never
//! enters it.

use std::fmt::{self, Display};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::untrusted::Untrusted;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which kind of help a failure needs; decides the exit status (`sysexits.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing is wrong: the account rests, or another run holds the lock. Exit status 0.
    Resting,
    /// A server or the network is unavailable; later runs try again. Exit status 69.
    Unavailable,
    /// State, token or log cannot be written. Exit status 74.
    Disk,
    /// A defect of this program, or the system denied it a resource. Exit status 70.
    Internal,
    /// The configuration must be corrected. Exit status 78.
    Config,
    /// The command line is wrong. Exit status 64.
    Usage,
    /// A server rejected the credentials; the user must act. Exit status 77.
    Rejected,
}

/// The part of the setup that a failure lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// The mailbox that mail comes from, its server and the log-in there.
    Source,
    /// The mailbox that mail goes to, its server and the log-in there.
    Gmail,
    /// The OAuth token of the Gmail account: its file, and Google's token endpoint.
    Token,
    /// The state on disk, and its lock.
    State,
    /// The configuration, or the command line.
    Config,
    /// This process or the host it runs on.
    #[default]
    Host,
}

impl ErrorKind {
    /// The exit status, by which a service manager or the user sees what kind of help is needed.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            ErrorKind::Resting => 0,
            ErrorKind::Usage => 64,
            ErrorKind::Unavailable => 69,
            ErrorKind::Internal => 70,
            ErrorKind::Disk => 74,
            ErrorKind::Rejected => 77,
            ErrorKind::Config => 78,
        }
    }

    /// The more a failure needs the user, the more severe it is.
    fn severity(self) -> u8 {
        match self {
            ErrorKind::Resting => 0,
            ErrorKind::Unavailable => 1,
            ErrorKind::Disk => 2,
            ErrorKind::Internal => 3,
            ErrorKind::Config => 4,
            ErrorKind::Usage => 5,
            ErrorKind::Rejected => 6,
        }
    }
}

/// What the state must remember of a failure, so that later runs do not make it worse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consequence {
    /// Gmail must be left alone for a while.
    Rest(RestReason),
    /// Google rejected this refresh token, or Gmail an access token made from it, until the user
    /// acts.
    TokenRejected {
        /// A digest of the refresh token; never the token.
        refresh_token: String,
        /// What the user can do.
        remedy: String,
    },
    /// Gmail rejected a log-in with a fresh access token of this refresh token; a later log-in may
    /// succeed.
    LoginRejected {
        /// A digest of the refresh token; never the token.
        refresh_token: String,
        /// The user of the log-in.
        user: String,
        /// What the user can do.
        remedy: String,
    },
    /// The source limits log-ins, and must be left alone for a while (`retry::LIMITED_LOGINS`).
    SourceLoginLimited,
}

/// Why Gmail must be left alone; decides for how long. The state holds it for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestReason {
    /// `[OVERQUOTA]`, or a bandwidth limit (`retry::QUOTA_REST`).
    Quota,
    /// Our own daily limit; rests as [`RestReason::Quota`].
    DailyLimit,
    /// The storage of the account is full; rests as [`RestReason::Quota`].
    StorageFull,
    /// Gmail rejected three messages in a row and accepted none between; rests as
    /// [`RestReason::Quota`].
    Refusals,
    /// Too many simultaneous connections (`retry::CONNECTIONS_REST`).
    Connections,
    /// Gmail said for how many minutes (Retry-After, RFC 9110 10.2.3).
    RetryAfter(u32),
}

/// A failure that ends an operation, in words for the user.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Error(Box<ErrorParts>);

#[derive(Clone, PartialEq, Eq)]
struct ErrorParts {
    side: Side,
    kind: ErrorKind,
    place: String,
    doing: Option<String>,
    what: String,
    remedy: Option<String>,
    consequence: Option<Consequence>,
    is_retryable: bool,
}

impl Error {
    /// A failure of `kind` on `side`, at `place` (a server, a file, an option); `what` happened.
    pub fn new(side: Side, kind: ErrorKind, place: impl Display, what: impl Display) -> Self {
        Error(Box::new(ErrorParts {
            side,
            kind,
            place: place.to_string(),
            doing: None,
            what: what.to_string(),
            remedy: None,
            consequence: None,
            is_retryable: false,
        }))
    }

    /// A mistake in a file that the user provides: [`ErrorKind::Config`] at its path.
    pub fn in_file(side: Side, path: &Path, what: impl Display) -> Self {
        Error::new(side, ErrorKind::Config, Untrusted::path(path), what)
    }

    /// Adds what was being done. The innermost caller knows best, so the first call wins.
    pub fn during(mut self, doing: impl Display) -> Self {
        self.0.doing.get_or_insert_with(|| doing.to_string());
        self
    }

    /// Adds what the user can do about it; the first call wins.
    pub fn remedy(mut self, remedy: impl Display) -> Self {
        self.0.remedy.get_or_insert_with(|| remedy.to_string());
        self
    }

    /// Adds what happens next after a failure of this kind, if it has no remedy yet.
    pub fn with_default_remedy(self) -> Self {
        match (self.0.kind, &self.0.consequence) {
            (ErrorKind::Unavailable, _) => self.remedy("later runs try again"),
            (ErrorKind::Resting, Some(Consequence::Rest(_))) => {
                self.remedy("nothing is sent to Gmail for a while")
            }
            _ => self,
        }
    }

    /// Sets what the state must remember.
    pub fn with_consequence(mut self, consequence: Consequence) -> Self {
        self.0.consequence = Some(consequence);
        self
    }

    /// Marks a failure that the next attempt may not meet though nobody corrects anything: a key
    /// store that is still locked, a command that was too slow.
    pub fn retryable(mut self) -> Self {
        self.0.is_retryable = true;
        self
    }

    /// Assigns the failure to another side: what fails while a server is used (its certificates,
    /// its password) is a failure of that server's side.
    pub fn on(mut self, side: Side) -> Self {
        self.0.side = side;
        self
    }

    /// The part of the setup that the failure lies in.
    #[must_use]
    pub fn side(&self) -> Side {
        self.0.side
    }

    /// Which kind of help the failure needs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the state must remember.
    #[must_use]
    pub fn consequence(&self) -> Option<&Consequence> {
        self.0.consequence.as_ref()
    }

    /// What the user can do about it.
    #[must_use]
    pub fn remedy_text(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// The error without what the user can do about it.
    pub(crate) fn without_remedy(&self) -> Error {
        let mut error = self.clone();
        error.0.remedy = None;
        error
    }

    /// Whether `--watch` tries again, whatever the kind.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.is_retryable
    }

    /// The more severe of two failures of one run; it is reported and decides the exit status. It takes
    /// over the consequence of the other one, unless it has its own.
    pub fn more_severe(self, other: Error) -> Error {
        let (mut severe, lesser) = if other.0.kind.severity() > self.0.kind.severity() {
            (other, self)
        } else {
            (self, other)
        };
        severe.0.consequence = severe.0.consequence.or(lesser.0.consequence);
        severe
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.0.place)?;
        if let Some(doing) = &self.0.doing {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.0.what)?;
        if let Some(remedy) = &self.0.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

// `{:?}` prints the same line, because a failed test or a panic uses it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_place_doing_what_remedy() {
        let error = Error::new(
            Side::Host,
            ErrorKind::Rejected,
            "mail.example.com:993",
            "the server says \"NO\"",
        )
        .during("logging in as alice")
        .during("opening INBOX")
        .remedy("correct source_pass");
        assert_eq!(
            error.to_string(),
            "mail.example.com:993: logging in as alice: the server says \"NO\"; correct source_pass"
        );
    }

    #[test]
    fn of_two_failures_the_more_severe_one_wins() {
        let network = Error::new(Side::Host, ErrorKind::Unavailable, "a", "x");
        let login = Error::new(Side::Host, ErrorKind::Rejected, "b", "y");
        assert_eq!(
            network.clone().more_severe(login.clone()).kind(),
            ErrorKind::Rejected
        );
        assert_eq!(login.more_severe(network).kind(), ErrorKind::Rejected);
    }

    #[test]
    fn the_more_severe_failure_keeps_its_side() {
        let failure = |side, kind| Error::new(side, kind, "place", "what");
        let (source, gmail) = (Side::Source, Side::Gmail);
        let (unavailable, rejected) = (ErrorKind::Unavailable, ErrorKind::Rejected);
        for (first, second, side) in [
            ((source, unavailable), (gmail, rejected), gmail),
            ((gmail, rejected), (source, unavailable), gmail),
            ((source, unavailable), (gmail, unavailable), source),
        ] {
            let (first, second) = (failure(first.0, first.1), failure(second.0, second.1));
            assert_eq!(first.more_severe(second).side(), side);
        }
        let password = failure(Side::Config, ErrorKind::Config).on(source);
        assert_eq!(password.side(), source);
    }

    #[test]
    fn the_consequence_of_the_lesser_failure_is_kept() {
        let rest =
            |rest| Error::new(Side::Host, ErrorKind::Resting, "a", "x").with_consequence(rest);
        let quota = Consequence::Rest(RestReason::Quota);
        let login = Error::new(Side::Host, ErrorKind::Rejected, "b", "y");
        for severe in [
            rest(quota.clone()).more_severe(login.clone()),
            login.clone().more_severe(rest(quota.clone())),
        ] {
            assert_eq!(severe.kind(), ErrorKind::Rejected);
            assert_eq!(severe.consequence(), Some(&quota));
        }
        let token = Consequence::TokenRejected {
            refresh_token: "digest".to_owned(),
            remedy: "make a new token".to_owned(),
        };
        let severe = rest(quota).more_severe(login.with_consequence(token.clone()));
        assert_eq!(severe.consequence(), Some(&token));
    }
}
