//! Bytes and deadlines: TCP, TLS and the certificates that are trusted.
//!
//! Knows no IMAP. Uses `config` for the server's address, and `process::cancel`.

pub(crate) mod certificate_validity;
pub(crate) mod tcp;
pub(crate) mod trust;

pub use tcp::describe_io_error;
pub use trust::{Trust, crypto_provider};
