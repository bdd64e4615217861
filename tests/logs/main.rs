//! Where log lines go, and in which form; and that nothing from outside can forge one.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../support/host_sockets.rs"]
mod host_sockets;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/watching.rs"]
mod watching;

mod rsyslog;

mod files;
mod hostile;
mod journal;
mod repeats;
mod silence;
mod syslog;
