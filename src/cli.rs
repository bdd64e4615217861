//! The command line: one file for each command, with the options that it accepts and what it
//! prints.
//!
//! The top layer: it may use everything below.

pub mod args;
pub mod auth;
pub mod progress;
