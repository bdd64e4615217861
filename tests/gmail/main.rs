//! Delivery to Gmail: `GmailTarget` at a scripted server, at the double, and at Dovecot.

// A test that cannot go on says so by a panic, in its tools as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../support/dovecot/mod.rs"]
mod dovecot;
#[path = "../support/played.rs"]
mod played;

mod on_double;
mod on_dovecot;
mod scripted;
