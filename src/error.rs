//! What went wrong, sorted by how far it reaches; and the exit status that says so.
//!
//! An error is one line for a person: the place, what was being done, what happened, the remedy.
//! Text from outside goes in only through [`Untrusted`](crate::untrusted::Untrusted), so that it cannot
//! forge a line, and secrets never do.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::untrusted::Untrusted;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which kind of help a failure needs, and so the exit status of the run (`sysexits.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing is wrong: the account rests, or another run holds the lock. Exit status 0.
    Resting,
    /// A server or the network is unavailable; later runs try again. Exit status 69.
    Unavailable,
    /// State, token or log cannot be written. Exit status 74.
    Disk,
    /// A mistake of ours. Exit status 70.
    Internal,
    /// The configuration must be corrected. Exit status 78.
    Config,
    /// The command line is wrong. Exit status 64.
    Usage,
    /// Credentials are refused; a person must act. Exit status 77.
    Rejected,
}

/// The part of the setup that a failure lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The mailbox that mail comes from, its server and the log-in there.
    Source,
    /// The mailbox that mail goes to, and its server.
    Gmail,
    /// The OAuth token of the Gmail account: its file, and Google's token endpoint.
    Token,
    /// The state on disk, and its lock.
    State,
    /// The configuration, or the command line.
    Config,
    /// This process or the host it runs on.
    Host,
}

impl ErrorKind {
    /// How much a failure needs a person: of two failures of one run, the more severe one is reported
    /// and decides the exit status.
    #[must_use]
    pub fn severity(self) -> u8 {
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

    /// The exit status that tells a timer or a person what kind of help is needed.
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
}

/// What must be remembered of a failure, so that later runs do not make it worse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consequence {
    /// Gmail must be left alone for a while.
    Rest(RestReason),
    /// Google refused this refresh token (or the access token it gives), known by its digest.
    TokenRejected {
        /// A digest of the refused refresh token; never the token.
        refresh_token: String,
    },
    /// Gmail refused a log-in with a fresh access token of this refresh token; that may pass.
    LoginRejected {
        /// A digest of the refresh token.
        refresh_token: String,
    },
}

/// Why Gmail must be left alone, and so for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestReason {
    /// `[OVERQUOTA]`, bandwidth limits, or the daily limit: 15 minutes, doubling to 4 hours.
    Quota,
    /// Three messages refused in a row, none taken between: as [`RestReason::Quota`].
    Refusals,
    /// Too many simultaneous connections: 1 minute, doubling to 15.
    Connections,
}

/// A failure that ends what was being done, in words for a person.
#[derive(Clone, PartialEq, Eq)]
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
    may_pass: bool,
}

impl Error {
    /// A failure of `kind` on `side`, at `place` (a server, a file, an option); `what` happened.
    #[must_use]
    pub fn new(
        side: Side,
        kind: ErrorKind,
        place: impl fmt::Display,
        what: impl fmt::Display,
    ) -> Self {
        Error(Box::new(ErrorParts {
            side,
            kind,
            place: place.to_string(),
            doing: None,
            what: what.to_string(),
            remedy: None,
            consequence: None,
            may_pass: false,
        }))
    }

    /// A mistake in a file that the user provides: [`ErrorKind::Config`] at its path.
    #[must_use]
    pub fn in_file(side: Side, path: &Path, what: impl fmt::Display) -> Self {
        Error::new(side, ErrorKind::Config, Untrusted::path(path), what)
    }

    /// Says what was being done; the innermost call wins, because it knows best.
    #[must_use]
    pub fn during(mut self, doing: impl fmt::Display) -> Self {
        self.0.doing.get_or_insert_with(|| doing.to_string());
        self
    }

    /// Says what the person can do about it; the innermost call wins.
    #[must_use]
    pub fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.0.remedy.get_or_insert_with(|| remedy.to_string());
        self
    }

    /// Says what becomes of failures of its kind, if nobody said what the person can do.
    #[must_use]
    pub fn or_usual_remedy(self) -> Self {
        match (self.0.kind, &self.0.consequence) {
            (ErrorKind::Unavailable, _) => self.remedy("later runs try again"),
            (ErrorKind::Resting, Some(Consequence::Rest(_))) => {
                self.remedy("Gmail is left alone for a while")
            }
            _ => self,
        }
    }

    /// Adds what later runs must know.
    #[must_use]
    pub fn with_consequence(mut self, consequence: Consequence) -> Self {
        self.0.consequence = Some(consequence);
        self
    }

    /// Says that it may be gone at the next try though nobody corrects anything: a key store that is
    /// still locked, a command that was too slow.
    #[must_use]
    pub fn that_may_pass(mut self) -> Self {
        self.0.may_pass = true;
        self
    }

    /// Whether whoever stays should try again, whatever its kind.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.0.may_pass
    }

    /// Assigns the failure to another side: what fails while a server is used (its certificates,
    /// its password) is a failure of that server's side.
    #[must_use]
    pub fn on(mut self, side: Side) -> Self {
        self.0.side = side;
        self
    }

    /// The part of the setup that it lies in.
    #[must_use]
    pub fn side(&self) -> Side {
        self.0.side
    }

    /// Which kind of help it needs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What later runs must know of it.
    #[must_use]
    pub fn consequence(&self) -> Option<&Consequence> {
        self.0.consequence.as_ref()
    }

    /// Of two failures of one run, the one to exit with: the one that needs a person. What later
    /// runs must know of the other is not lost, unless it has something of its own.
    #[must_use]
    pub fn worse(self, other: Error) -> Error {
        let (mut worse, lesser) = if other.0.kind.severity() > self.0.kind.severity() {
            (other, self)
        } else {
            (self, other)
        };
        worse.0.consequence = worse.0.consequence.or(lesser.0.consequence);
        worse
    }
}

impl fmt::Display for Error {
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

// Errors are printed by `{:?}` in places we do not own (test failures, panics): the same one line.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {}

impl From<&Error> for ExitCode {
    fn from(error: &Error) -> Self {
        ExitCode::from(error.kind().exit_status())
    }
}

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
    fn of_two_failures_the_one_that_needs_a_person_wins() {
        let network = Error::new(Side::Host, ErrorKind::Unavailable, "a", "x");
        let login = Error::new(Side::Host, ErrorKind::Rejected, "b", "y");
        assert_eq!(
            network.clone().worse(login.clone()).kind(),
            ErrorKind::Rejected
        );
        assert_eq!(login.worse(network).kind(), ErrorKind::Rejected);
    }

    #[test]
    fn the_failure_that_a_pass_ends_with_says_whose_it_is() {
        let failure = |side, kind| Error::new(side, kind, "place", "what");
        let (source, gmail) = (Side::Source, Side::Gmail);
        let (unavailable, rejected) = (ErrorKind::Unavailable, ErrorKind::Rejected);
        for (first, second, side) in [
            ((source, unavailable), (gmail, rejected), gmail),
            ((gmail, rejected), (source, unavailable), gmail),
            ((source, unavailable), (gmail, unavailable), source),
        ] {
            let (first, second) = (failure(first.0, first.1), failure(second.0, second.1));
            assert_eq!(first.worse(second).side(), side);
        }
        let password = failure(Side::Config, ErrorKind::Config).on(source);
        assert_eq!(password.side(), source);
    }

    #[test]
    fn what_must_be_remembered_of_the_lesser_failure_is_not_lost() {
        let rest =
            |rest| Error::new(Side::Host, ErrorKind::Resting, "a", "x").with_consequence(rest);
        let quota = Consequence::Rest(RestReason::Quota);
        let login = Error::new(Side::Host, ErrorKind::Rejected, "b", "y");
        for worse in [
            rest(quota.clone()).worse(login.clone()),
            login.clone().worse(rest(quota.clone())),
        ] {
            assert_eq!(worse.kind(), ErrorKind::Rejected);
            assert_eq!(worse.consequence(), Some(&quota));
        }
        let token = Consequence::TokenRejected {
            refresh_token: "digest".to_owned(),
        };
        let worse = rest(quota).worse(login.with_consequence(token.clone()));
        assert_eq!(worse.consequence(), Some(&token));
    }
}
