//! Copies every new message of an IMAP mailbox into Gmail, exactly once.

/// The command line, as typed.
pub mod args;
/// `config.json`, as written and as meant.
pub mod config;
/// A TCP or TLS stream with deadlines and last words.
pub mod connection;
/// What went wrong, sorted by how far it reaches.
pub mod error;
/// Text from outside, escaped.
pub mod foreign;
/// The mailbox mail goes to.
pub mod gmail;
/// One run per state file.
pub mod lock;
/// Where lines go and how they look.
pub mod logging;
/// The words: what a mailbox, a message and its identity are called here.
pub mod message;
/// The known name that was probably meant.
pub mod nearest;
/// The bar.
pub mod progress;
/// A value that cannot be printed; where a password comes from.
pub mod secret;
/// Greeting, capabilities, log-in, EXAMINE, LIST: what both sides say to a server.
pub mod session;
/// Sizes as a person writes them: "10M".
pub mod size;
/// The mailbox mail comes from: list, fetch.
pub mod source;
/// What is remembered between runs.
pub mod state;
/// One pass: every new message, source to target.
pub mod sync;
/// The access token: load, renew, save.
pub mod token;
