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
