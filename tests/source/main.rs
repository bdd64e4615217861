//! The source: `ImapSource` and the connection below it, at Dovecot and at scripted servers.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../support/dovecot/mod.rs"]
mod dovecot;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/scripted_gmail.rs"]
mod scripted_gmail;
#[path = "../support/scripted_server.rs"]
mod scripted_server;

mod asked_ahead;
mod connection;
mod folders;
mod log_in;
mod mailbox;
mod odd_responses;
