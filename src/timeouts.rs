//! Every time-out and every limit on how long something may take.

use std::time::Duration;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For each address of a server to accept the connection.
    pub connect: Duration,
    /// For a line of a response, for the next part of a literal, for the peer to take what we send.
    pub response: Duration,
    /// For a command as a whole, however often the server says that it is still busy; as much
    /// again as `answer` for each part of a long response.
    pub command: Duration,
    /// How long a peer may give no sign of life, also while nothing is expected of it, as in an
    /// IDLE; asked for by TCP keep-alive from half of it on.
    pub silence: Duration,
    /// For the server to take an IDLE up, and to end it when it is told to.
    pub idle_start: Duration,
    /// The longest IDLE. Servers may end one after 30 minutes (RFC 2177), routers forget a quiet
    /// connection earlier, and a server may forget to tell of new mail: each is followed by a look.
    pub idle_max: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(20),
            response: Duration::from_mins(1),
            command: Duration::from_mins(10),
            silence: Duration::from_mins(2),
            idle_start: Duration::from_secs(15),
            idle_max: Duration::from_mins(9),
        }
    }
}

/// How long a person has for all that Google asks.
pub const CONSENT_TIMEOUT: Duration = Duration::from_mins(5);

pub(crate) const TOKEN_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// For one request, all tries together.
pub(crate) const TOKEN_REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// How long one connection may take for its request. Browsers open some that they never use.
pub(crate) const BROWSER_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a browser may take to read its page.
pub(crate) const BROWSER_RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whoever else replaces a file of the folder has done so in less.
pub(crate) const FILE_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a key store to be asked; nobody is there to type.
pub(crate) const PASSWORD_COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long output may be on its way when the command has ended: what it leaves running (an agent)
/// may hold the pipes open for ever.
pub(crate) const PASSWORD_OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// What is on its way when the end is asked for may take so long yet.
pub(crate) const EXIT_IO_TIMEOUT: Duration = Duration::from_millis(2500);

/// Then it ends, come what may: the journal is made for it. Service managers kill after ten
/// seconds at the earliest.
pub(crate) const FORCED_EXIT_TIMEOUT: Duration = Duration::from_millis(4500);

/// A server that is there answers a farewell in less.
pub(crate) const LOGOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest that one step of a pass may take: 35 MB over a line of 40 kbit/s.
pub(crate) const PASS_STEP_TIMEOUT: Duration = Duration::from_hours(2);

/// Between polls, unless the command line says otherwise.
pub(crate) const DEFAULT_POLL_INTERVAL: Duration = Duration::from_mins(1);
