//! Waiting for mail: the resident program (`--watch`), and the library at scripted servers.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../engine/dice.rs"]
mod dice;
#[path = "../support/dovecot/mod.rs"]
mod dovecot;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/scripted_server.rs"]
mod scripted_server;
#[path = "../support/watching.rs"]
mod watching;

mod in_process;
mod session;
mod short_delays;

mod cancel;
mod credentials;
mod folders;
mod idle;
mod listing;
mod new_mail;
mod notifications;
mod outage;
mod polling;
mod reconnect;
mod reload;
mod round_trips;
mod signals;
mod silence;
mod soak;
mod systemd;
