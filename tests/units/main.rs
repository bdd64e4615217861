//! Do the units in `systemd/` do what the documentation says, statically, by their command lines, and under a real
//! systemd?

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod command_lines;
mod machine;
#[path = "../support/program.rs"]
mod program;
mod shipped;
mod system_units;
mod unit_file;
mod user_units;
#[path = "../support/watching.rs"]
mod watching;
