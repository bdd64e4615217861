//! The program with short retry delays, for tests that count its retries.

use std::process::Command;
use std::thread;
use std::time::Duration;

use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::run::timing::Timing;

use crate::program::Home;
use crate::watching::Watching;

/// Where the program below finds its command line.
pub const ARGUMENTS: &str = "WATCHED_WORDS";

pub const FIRST_RETRY_DELAY: Duration = Duration::from_millis(20);

/// No test, but the program with shorter pauses: this executable runs it for the tests.
#[test]
#[ignore = "other tests start it as a program"]
fn the_program_with_short_delays() {
    let Ok(words) = std::env::var(ARGUMENTS) else {
        return;
    };
    let pace = Timing {
        first_retry_delay: FIRST_RETRY_DELAY,
        max_retry_delay: Duration::from_secs(10),
        stable_session: Duration::from_secs(3),
        ..Timing::default()
    };
    let words = words.split('\n').map(Into::into);
    let status = imap_to_gmail_sync::run_at(words, &Environment::of_this_process(), &pace);
    std::process::exit(status.into());
}

pub fn start(home: &Home) -> Watching {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let words = ["--config", "config.json", "--watch", "--debug"];
    command
        .current_dir(home.path("."))
        .args([
            "--ignored",
            "--exact",
            "short_delays::the_program_with_short_delays",
        ])
        .arg("--nocapture")
        .env(ARGUMENTS, words.join("\n"));
    Watching::spawn(command)
}

/// The most tries in three seconds with pauses that double from the first: eight, and three that
/// cost no pause.
pub const MAX_TRIES_IN_THREE_SECONDS: usize = 16;

/// How often something happened in about three seconds.
pub fn count_for_three_seconds(count: impl Fn() -> usize) -> usize {
    let before = count();
    thread::sleep(Duration::from_secs(3));
    count() - before
}
