//! The exit status of [`imap_to_gmail_sync::run`]; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    imap_to_gmail_sync::run(
        std::env::args_os().skip(1),
        &imap_to_gmail_sync::config::Environment::of_this_process(),
    )
}
