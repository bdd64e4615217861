//! `config.json`, as written and as meant.

use std::path::PathBuf;

use crate::secret::Password;

/// `config.json` as meant: checked once, trusted everywhere.
#[derive(Debug, Clone)]
pub struct Config {
    /// The mailbox that mail comes from.
    pub source: SourceConfig,
    /// The mailbox that mail goes to.
    pub target: TargetConfig,
    /// How many days back the first run goes.
    pub first_run_days: u32,
    /// Whether `\Seen`, `\Flagged` and `\Answered` are copied.
    pub copy_flags: bool,
    /// The most octets to send in 24 hours; `None`: no limit of ours.
    pub daily_upload_limit: Option<u64>,
}

/// The mailbox that mail comes from.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Where it is.
    pub server: Server,
    /// The user to log in as.
    pub user: String,
    /// Where the password comes from.
    pub password: Password,
    /// The folder, as a person writes it (not yet in modified UTF-7).
    pub folder: String,
}

/// The mailbox that mail goes to.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Where it is.
    pub server: Server,
    /// The Gmail address.
    pub user: String,
    /// The file that holds the OAuth2 token.
    pub token_file: PathBuf,
    /// The folder, as a person writes it.
    pub folder: String,
    /// The most append connections at a time, 1 to 10.
    pub connections: usize,
}

/// A server, and how its identity is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// The name to expect in the certificate.
    pub tls_name: String,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first octet (RFC 8314).
    Implicit,
    /// STARTTLS, required (RFC 3501 6.2.1).
    StartTls,
    /// Plain text; to loopback only.
    None,
}
