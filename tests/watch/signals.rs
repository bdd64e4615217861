//! The resident program and the signals that it gets: it ends within seconds whatever it waits for,
//! and does between what it is asked to do.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::Home;
use crate::watching::Watching;
use double::{Fault, GmailOptions, SourceOptions, What};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// What is promised between the signal and the end.
const PROMISED: Duration = Duration::from_secs(5);

/// When the process ends itself because nothing else did: what ends before did not need that.
const LAST_MOMENT: Duration = Duration::from_millis(4500);

fn message(number: usize, size: usize) -> Vec<u8> {
    let body = "0123456789abcdef\r\n".repeat(size / 18);
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n{body}")
        .into_bytes()
}

fn deliver(home: &Home, number: usize, size: usize) {
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(&message(number, size), now, &[]);
}

fn arrived(home: &Home) -> usize {
    home.gmail.messages("INBOX").len()
}

/// Lets every message arrive that is there, by runs as a timer starts them, and demands that each
/// is there once.
fn all_arrive_once(home: &Home, count: usize) {
    home.gmail.faults().clear();
    home.source.faults().clear();
    home.gmail.faults().release();
    home.source.faults().release();
    for _ in 0..4 {
        home.let_pass(24 * 60);
        home.run();
    }
    let delivered = home.delivered();
    assert_eq!(delivered.len(), count);
    assert!(delivered.values().all(|copies| copies.len() == 1));
}

fn no_de_duplication() -> GmailOptions {
    GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    }
}

#[test]
fn it_ends_at_once_while_it_waits_and_takes_leave_of_both_servers() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        deliver(&home, 0, 0);
        let watching = Watching::start(&home);
        watching.wait_for("watching INBOX");
        let asked = Instant::now();
        watching.signal(signal);
        let ran = watching.ends();
        assert!(asked.elapsed() < LAST_MOMENT, "{ran:?}");
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        let farewells = |server: &double::Server| {
            let commands = server.commands();
            commands.iter().filter(|it| *it == "LOGOUT").count()
        };
        assert_eq!(farewells(&home.source), 1);
        assert_eq!(farewells(&home.gmail), 2);
        assert_eq!(home.state()["cursor"]["uid"], 1);
        assert_eq!(home.read("sync_state.json.journal"), "", "it is folded");
    }
}

#[test]
fn it_ends_in_time_in_the_middle_of_a_large_append_and_nothing_is_lost_or_doubled() {
    for stall in [
        (|event| matches!(event, What::LiteralBegins(_))) as fn(&What) -> bool,
        |event| matches!(event, What::LiteralHalf(_)),
        |event| matches!(event, What::Literal(_)),
    ] {
        let home = Home::with(SourceOptions::default(), no_de_duplication());
        home.gmail
            .faults()
            .once(move |event| stall(&event.what), Fault::Stall);
        deliver(&home, 0, 30_000_000);
        let watching = Watching::start(&home);
        watching.wait_until("the stall", || {
            home.gmail.events().iter().any(|event| stall(&event.what))
        });
        let ran = watching.end();
        assert_eq!(ran.stderr, "");
        all_arrive_once(&home, 1);
    }
}

#[test]
fn it_ends_in_time_whichever_answer_does_not_come() {
    let commands = ["EXAMINE", "UID FETCH", "AUTHENTICATE"];
    for command in commands {
        let home = Home::new();
        deliver(&home, 0, 0);
        home.source
            .faults()
            .always(move |event| event.is_command(command), Fault::Stall);
        let watching = Watching::start(&home);
        watching.wait_until(command, || {
            home.source
                .events()
                .iter()
                .any(|event| event.is_command(command))
        });
        watching.end();
        all_arrive_once(&home, 1);
    }
}

#[test]
fn a_run_ends_in_time_too_and_the_next_goes_on() {
    let home = Home::with(SourceOptions::default(), no_de_duplication());
    for number in 0..30 {
        deliver(&home, number, 0);
    }
    home.gmail
        .faults()
        .once(double::Event::is_literal, Fault::Stall);
    let running = Watching::of(home.command());
    running.wait_until("the stall", || {
        home.gmail.events().iter().any(double::Event::is_literal)
    });
    let ran = running.end();
    assert!(
        ran.logged("info")
            .iter()
            .any(|line| line.contains("ended by a signal; the next run goes on")),
        "{ran:?}"
    );
    all_arrive_once(&home, 30);
}

#[test]
fn who_asks_twice_does_not_wait() {
    let home = Home::new();
    deliver(&home, 0, 0);
    home.gmail
        .faults()
        .once(double::Event::is_literal, Fault::Stall);
    let watching = Watching::start(&home);
    watching.wait_until("the stall", || {
        home.gmail.events().iter().any(double::Event::is_literal)
    });
    let asked = Instant::now();
    watching.signal(Signal::TERM);
    watching.signal(Signal::INT);
    let ran = watching.ends();
    assert!(asked.elapsed() < LAST_MOMENT, "{ran:?}");
    assert_eq!(ran.status, Some(0));
    // Who asks once hears these words after a grace.
    assert!(!ran.stdout.contains("ended by a signal"), "{ran:?}");
    all_arrive_once(&home, 1);
}

#[test]
fn a_backlog_does_not_keep_it_from_ending() {
    let home = Home::with(SourceOptions::default(), no_de_duplication());
    for number in 0..400 {
        deliver(&home, number, 0);
    }
    let watching = Watching::start(&home);
    watching.wait_until("the first messages", || arrived(&home) > 20);
    let asked = Instant::now();
    watching.end();
    assert!(asked.elapsed() < PROMISED);
    let before = arrived(&home);
    assert!(before < 400, "it was not asked to finish them all");
    all_arrive_once(&home, 400);
}

#[test]
fn a_configuration_is_read_again_and_a_wrong_one_changes_nothing() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    let good = home.read("config.json");

    home.write("config.json", "{");
    watching.signal(Signal::HUP);
    watching.wait_for("going on with the configuration of before");
    home.configure_text(&good, &json!({ "source_user": "another" }));
    watching.signal(Signal::HUP);
    watching.wait_for("this is the configuration of another account");
    deliver(&home, 0, 0);
    watching.wait_until("the message", || arrived(&home) == 1);

    home.source
        .change(|source| source.password = "new".to_owned());
    home.configure_text(&good, &json!({ "source_pass": "new", "copy_flags": false }));
    watching.signal(Signal::HUP);
    watching.wait_for("the configuration was read again");
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(&message(1, 0), now, &["\\Seen"]);
    watching.wait_until("the message", || arrived(&home) == 2);
    let flags = &home.gmail.messages("INBOX")[1].flags;
    assert!(!flags.contains(&"\\Seen".to_owned()), "{flags:?}");
    let ran = watching.end();
    assert_eq!(ran.logged("error").len(), 2, "{ran:?}");
}

/// Starts it in a terminal of its own, by script(1), and gives its process id.
fn in_a_terminal(home: &Home, before: &str) -> (Watching, Pid) {
    let program = env!("CARGO_BIN_EXE_imap-to-gmail-sync");
    let line = format!("{before} {program} --config config.json --watch");
    let mut command = Command::new("script");
    command
        .current_dir(home.path("."))
        .args(["-qefc", &line, "/dev/null"])
        .stdin(Stdio::null());
    let watching = Watching::of(command);
    watching.wait_for("watching INBOX");
    let pid: i32 = home.read("sync_state.json.lock").trim().parse().unwrap();
    (watching, Pid::from_raw(pid).unwrap())
}

#[test]
fn it_ends_with_its_terminal_unless_it_was_told_to_outlive_it() {
    let home = Home::new();
    let (watching, pid) = in_a_terminal(&home, "exec");
    kill_process(pid, Signal::HUP).unwrap();
    let ran = watching.ends();
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("ended by a signal"), "{ran:?}");

    let (watching, pid) = in_a_terminal(&home, "trap '' HUP; exec");
    kill_process(pid, Signal::HUP).unwrap();
    watching.wait_for("the configuration was read again");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(watching.ends().status, Some(0));
}

#[test]
fn a_token_file_is_read_again() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    deliver(&home, 0, 0);
    watching.wait_until("the message", || arrived(&home) == 1);
    let logins = home.gmail.logins();
    home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
    watching.signal(Signal::HUP);
    watching.wait_for("the configuration was read again");
    deliver(&home, 1, 0);
    watching.wait_until("the message", || arrived(&home) == 2);
    assert!(home.gmail.logins() > logins);
    watching.end();
}

#[test]
fn it_looks_when_it_is_told_to() {
    let home = Home::new();
    let watching = Watching::start_with(&home, &["--no-idle", "--poll-interval", "500"]);
    watching.wait_for("watching INBOX by polling");
    deliver(&home, 0, 0);
    watching.signal(Signal::USR1);
    watching.wait_until("the message", || arrived(&home) == 1);
    watching.end();
}
