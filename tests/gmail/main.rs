//! Delivery to Gmail: `GmailTarget` at a scripted server, at the double, and at Dovecot.

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

mod on_double;
mod on_dovecot;
mod scripted;
