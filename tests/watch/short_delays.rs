//! The program with short retry delays, for tests that count its retries.

use std::process::Command;
use std::thread;
use std::time::Duration;

use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::run::timing::Timing;

use crate::program::Home;
use crate::watching::Watching;

/// The environment variable with the command line, one argument a line.
pub const ARGUMENTS: &str = "SHORT_DELAYS_ARGUMENTS";

pub const FIRST_RETRY_DELAY: Duration = Duration::from_millis(20);

/// Not a test, but the program with shorter retry delays: the tests run this executable with this
/// filter.
#[test]
#[ignore = "other tests start it as a program"]
fn the_program_with_short_delays() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let timing = Timing {
        first_retry_delay: FIRST_RETRY_DELAY,
        max_retry_delay: Duration::from_secs(10),
        stable_session: Duration::from_secs(3),
        ..Timing::default()
    };
    let arguments = arguments.split('\n').map(Into::into);
    let status = imap_to_gmail_sync::run_at(arguments, &Environment::of_this_process(), &timing);
    std::process::exit(status.into());
}

pub fn start(home: &Home) -> Watching {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let arguments = ["--config", "config.json", "--watch", "--debug"];
    command
        .current_dir(home.path("."))
        .args([
            "--ignored",
            "--exact",
            "short_delays::the_program_with_short_delays",
        ])
        .arg("--nocapture")
        .env(ARGUMENTS, arguments.join("\n"));
    Watching::spawn(command)
}

/// Upper limit of retries in three seconds: delays that double from the first allow eight, and three
/// retries come without a delay.
pub const MAX_TRIES_IN_THREE_SECONDS: usize = 16;

/// By how much `count` rises in about three seconds.
pub fn count_for_three_seconds(count: impl Fn() -> usize) -> usize {
    let before = count();
    thread::sleep(Duration::from_secs(3));
    count() - before
}
