//! `--watch`: the resident program, and waiting for mail in the library.

// A test that cannot go on says so by a panic, in its tools as in its body.
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
#[path = "../support/program.rs"]
mod program;
#[path = "../support/script.rs"]
mod script;

mod in_process;
mod watching;

mod busy;
mod idle;
mod mail;
mod oddities;
mod round_trips;
mod signals;
mod silence;
mod soak;
