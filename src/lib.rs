//! Copies every new message of an IMAP mailbox into Gmail, exactly once.

/// `config.json`, as written and as meant.
pub mod config;
/// What went wrong, sorted by how far it reaches.
pub mod error;
/// Text from outside, escaped.
pub mod foreign;
/// The words: what a mailbox, a message and its identity are called here.
pub mod message;
/// A value that cannot be printed; where a password comes from.
pub mod secret;
/// One pass: every new message, source to target.
pub mod sync;
/// The access token: load, renew, save.
pub mod token;
