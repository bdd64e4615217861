//! Where log lines go, and in which form: files, streams, syslog and the journal.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../support/program.rs"]
mod program;
#[path = "../support/watching.rs"]
mod watching;

mod files;
mod repeats;
