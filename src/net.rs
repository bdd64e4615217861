//! TCP streams with deadlines, TLS, and the certificates that are trusted.
//!
//! Knows no IMAP: the token endpoint's HTTPS uses the same certificates. Uses `config` for the
//! server's address, `error`, `process` (cancellation, alert log), `timeouts` and `untrusted`.

mod certificate;
mod http;
mod peer;
mod pinned_verifier;
mod silence;
mod tcp;
mod tls;
mod trust;

use std::fmt;

use crate::config::Server;
use crate::error::{Error, ErrorKind, Side};
use crate::process::alert_log::AlertLog;
use crate::process::cancel::Canceller;
use crate::process::octet_counter::OctetCounter;
use crate::timeouts::Timeouts;

pub use peer::PeerRecorder;
pub use silence::SharedSilence;
pub use tcp::describe_io_error;
pub use trust::{Trust, crypto_provider};

pub(crate) use certificate::{CertificateDetails, fingerprint};
pub(crate) use http::{agent_config, describe_failure, is_verification_failure};
pub(crate) use peer::PeerRecord;
pub(crate) use tcp::TcpSocket;
pub(crate) use tls::Transport;

/// The options of a connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectionOptions {
    /// The side that errors of the connection are assigned to.
    pub side: Side,
    /// The time-outs.
    pub timeouts: Timeouts,
    /// Ends waits early.
    pub canceller: Canceller,
    /// The server alerts that were logged already.
    pub alert_log: AlertLog,
    /// Counts what is sent and received.
    pub octets: OctetCounter,
    /// Limits the waits for a silent server, of all connections that share it.
    pub silence: Option<SharedSilence>,
    /// Records what is seen of the server.
    pub recorder: Option<PeerRecorder>,
}

impl ConnectionOptions {
    /// An error of the connection to this server.
    pub(crate) fn error(&self, server: &Server, kind: ErrorKind, what: impl fmt::Display) -> Error {
        Error::new(self.side, kind, server.address(), what)
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
