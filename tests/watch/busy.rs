//! The resident program at servers that could keep it busy for nothing: how often it comes back to
//! them is what its pauses explain, and no more.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::Home;
use crate::watching::Watching;
use double::Fault;
use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::run::timing::Timing;
use serde_json::json;

/// Where the program below finds its command line.
const WORDS: &str = "WATCHED_WORDS";

const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// No test, but the program with shorter pauses: this executable runs it for the tests.
#[test]
#[ignore = "it is the program that the tests start"]
fn the_program_with_short_pauses() {
    let Ok(words) = std::env::var(WORDS) else {
        return;
    };
    let pace = Timing {
        first_retry_delay: FIRST_PAUSE,
        max_retry_delay: Duration::from_secs(10),
        stable_session: Duration::from_secs(3),
        ..Timing::default()
    };
    let words = words.split('\n').map(Into::into);
    let status = imap_to_gmail_sync::run_at(words, &Environment::of_this_process(), &pace);
    std::process::exit(status.into());
}

fn watch(home: &Home) -> Watching {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let words = ["--config", "config.json", "--watch", "--debug"];
    command
        .current_dir(home.path("."))
        .args([
            "--ignored",
            "--exact",
            "busy::the_program_with_short_pauses",
        ])
        .arg("--nocapture")
        .env(WORDS, words.join("\n"));
    Watching::of(command)
}

fn deliver(home: &Home, number: usize) {
    let octets = format!("Message-ID: <{number}@x>\r\nSubject: s\r\n\r\nbody {number}\r\n");
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(octets.as_bytes(), now, &[]);
}

/// Waits until nothing is asked of the source for fifty first pauses.
fn wait_for_quiet(home: &Home) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let before = home.source.commands().len();
        thread::sleep(FIRST_PAUSE * 50);
        let asked = home.source.commands().len() - before;
        if asked == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{asked} commands in a second");
    }
}

#[test]
fn while_gmail_rests_the_source_is_asked_nothing_without_a_reason() {
    let home = Home::new();
    home.configure(&json!({ "daily_upload_limit": "100" }));
    for number in 0..3 {
        deliver(&home, number);
    }
    let watching = watch(&home);
    watching.wait_for("Gmail is not available");
    watching.wait_for("watching INBOX");
    wait_for_quiet(&home);
    watching.end();
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

/// The most tries in three seconds with pauses that double from the first: eight, and three that
/// cost no pause.
const TRIES: usize = 16;

/// How often something happened in about three seconds.
fn in_three_seconds(count: impl Fn() -> usize) -> usize {
    let before = count();
    thread::sleep(Duration::from_secs(3));
    count() - before
}

#[test]
fn news_that_proves_empty_each_time_is_believed_less_and_less() {
    let home = Home::new();
    let idles = || {
        let commands = home.source.commands();
        commands.iter().filter(|it| *it == "IDLE").count()
    };
    home.source.faults().always(
        |event| event.is_line("+ idling"),
        Fault::Before("* 7 EXISTS".to_owned()),
    );
    let watching = watch(&home);
    watching.wait_for("watching INBOX by IDLE");
    let looks = in_three_seconds(idles);
    assert!((2..TRIES).contains(&looks), "{looks} looks");
    assert_eq!(watching.count("has none; looking less often"), 1);
    // It is polled, and what comes is carried.
    deliver(&home, 0);
    watching.wait_until("the message", || home.gmail.messages("INBOX").len() == 1);
    watching.end();
}

#[test]
fn news_that_proves_empty_and_costs_the_session_is_no_reason_to_log_in_without_end() {
    let home = Home::new();
    home.source.faults().always(
        |event| event.is_line("+ idling"),
        Fault::Before("* 7 EXISTS".to_owned()),
    );
    home.source
        .faults()
        .always(|event| event.is_command("UID FETCH"), Fault::Eof);
    let watching = watch(&home);
    watching.wait_for("watching INBOX by IDLE");
    let logins = in_three_seconds(|| home.source.logins());
    assert!((2..TRIES).contains(&logins), "{logins} log-ins");
    assert_eq!(watching.count("has none; looking less often"), 1);
    watching.end();
}

const OUT_OF_ORDER: &str = "the source is not available; it is tried again";
const IN_ORDER: &str = "the source is available again, after ";

#[test]
fn a_source_that_ends_each_session_is_told_of_once_until_one_lasts() {
    let home = Home::new();
    home.source
        .faults()
        .always(|event| event.is_line("+ idling"), Fault::Eof);
    // Now and then it does not even let us in.
    let mut logins = 0;
    home.source.faults().always(
        move |event| {
            let is_login = event.is_command("AUTHENTICATE");
            logins += usize::from(is_login);
            is_login && logins.is_multiple_of(3)
        },
        Fault::Eof,
    );
    let watching = watch(&home);
    watching.wait_for(OUT_OF_ORDER);
    let connections = in_three_seconds(|| home.source.connections());
    assert!((2..TRIES).contains(&connections), "{connections}");
    assert_eq!(watching.count(OUT_OF_ORDER), 1);
    assert_eq!(watching.count(IN_ORDER), 0);
    home.source.faults().clear();
    // Without any mail: the session lasts.
    watching.wait_for(IN_ORDER);
    let ran = watching.end();
    assert_eq!(ran.logged("warn").len(), 1, "{ran:?}");
}

#[test]
fn a_session_that_ends_soon_again_and_again_is_told_of() {
    let home = Home::new();
    home.source
        .faults()
        .always(|event| event.is_line("+ idling"), Fault::Eof);
    let watching = watch(&home);
    watching.wait_for(OUT_OF_ORDER);
    let ended = watching.count("; looking again");
    assert_eq!(ended, 2, "twice may be chance");
    home.source.faults().clear();
    deliver(&home, 0);
    watching.wait_for("1 appended");
    watching.wait_for(IN_ORDER);
    watching.end();
}
