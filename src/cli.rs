//! The command line: one file for each command, with its options, its help and what it prints.
//!
//! The top layer: it may use everything below.

use std::fmt;
use std::io::{self, Write};

use log::Level;

use crate::error::{Error, ErrorKind, Result, Side};
use crate::process::logging::StreamEnvironment;

pub(crate) mod account_selection;
pub(crate) mod args;
pub(crate) mod auth;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod progress;
pub(crate) mod status;
pub(crate) mod sync;

/// Prints the error of a command on standard error; returns the exit status.
pub(crate) fn report(result: Result<()>, streams: StreamEnvironment<'_>) -> u8 {
    let Err(error) = result else {
        return 0;
    };
    print_error(&error, streams);
    error.kind().exit_status()
}

/// Prints an error on standard error; if that is the journal, with the priority of an error.
fn print_error(error: &Error, streams: StreamEnvironment<'_>) {
    print_line(io::stderr(), streams.stderr_line(Level::Error, error));
}

/// Prints what a command is for on standard output; returns the exit status. A reader that closes the
/// pipe has seen enough.
pub(crate) fn print_output(text: &str, streams: StreamEnvironment<'_>) -> u8 {
    let mut output = io::stdout();
    let written = writeln!(output, "{text}").and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = Error::new(Side::Host, ErrorKind::Disk, "standard output", error);
            report(
                Err(error.during("printing").remedy("free space there")),
                streams,
            )
        }
        _ => 0,
    }
}

/// Prints a line. If the reader has closed the pipe (`--help | head -1`), the line is dropped: the
/// standard macros would panic.
pub(crate) fn print_line(mut to: impl Write, line: impl fmt::Display) {
    let _ = writeln!(to, "{line}");
}
