//! Bytes and deadlines: TCP, TLS and the certificates that are trusted.
//!
//! Knows no IMAP. Uses `config` for the server's address, and `process::cancel`.

pub(crate) mod certificate_validity;
pub(crate) mod tcp;
pub(crate) mod trust;

use crate::error::Side;
use crate::process::alert_log::AlertLog;
use crate::process::cancel::Canceller;
use crate::timeouts::Timeouts;

pub use tcp::describe_io_error;
pub use trust::{Trust, crypto_provider};

/// The options of a connection: which side it serves, its time-outs, what cancels its waits.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// The side that failures of the connection lie on.
    pub side: Side,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// What ends waits before their time.
    pub canceller: Canceller,
    /// What servers may have told to a person.
    pub alert_log: AlertLog,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        ConnectionOptions {
            side: Side::Host,
            timeouts: Timeouts::default(),
            canceller: Canceller::default(),
            alert_log: AlertLog::default(),
        }
    }
}

impl From<Timeouts> for ConnectionOptions {
    fn from(timeouts: Timeouts) -> ConnectionOptions {
        ConnectionOptions {
            timeouts,
            ..ConnectionOptions::default()
        }
    }
}
