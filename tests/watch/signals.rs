//! SIGTERM and SIGINT end the program, SIGHUP does when its terminal closes, SIGUSR1 starts a check.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use double::{EventKind, Fault, GmailOptions, SourceOptions};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::Home;
use crate::watching::{Watching, arrived, deliver, message};

/// The documented limit from the signal to the exit.
const MAX_SHUTDOWN: Duration = Duration::from_secs(5);

/// When the process forces its exit: an earlier exit was orderly.
const BEFORE_FORCED_EXIT: Duration = Duration::from_millis(4500);

fn deliver_large(home: &Home, number: usize, size: usize) {
    let octets = [message(number), b"0123456789abcdef\r\n".repeat(size / 18)].concat();
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(&octets, now, &[]);
}

/// Runs the program as a timer does until every message is due, and asserts that each arrives once.
fn assert_all_arrive_once(home: &Home, count: usize) {
    home.gmail.faults().clear();
    home.source.faults().clear();
    home.gmail.faults().release();
    home.source.faults().release();
    for _ in 0..4 {
        home.age_by_minutes(24 * 60);
        home.run();
    }
    let delivered = home.delivered();
    assert_eq!(delivered.len(), count);
    assert!(delivered.values().all(|copies| copies.len() == 1));
}

fn without_deduplication() -> GmailOptions {
    GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    }
}

#[test]
fn a_waiting_program_exits_at_once_and_logs_out_of_both_servers() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        deliver(&home, 0);
        let watching = Watching::start(&home);
        watching.wait_for("watching INBOX");
        let signalled = Instant::now();
        watching.signal(signal);
        let run = watching.wait_for_exit();
        assert!(signalled.elapsed() < BEFORE_FORCED_EXIT, "{run:?}");
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        let logouts = |server: &double::Server| {
            server.wait_until_open(0);
            let commands = server.commands();
            commands.iter().filter(|it| *it == "LOGOUT").count()
        };
        assert_eq!(logouts(&home.source), 1);
        assert_eq!(logouts(&home.gmail), 2);
        assert_eq!(home.state()["cursor"]["uid"], 1);
        assert_eq!(
            home.read("sync_state.json.journal"),
            "",
            "the journal is folded"
        );
    }
}

#[test]
fn in_the_middle_of_a_large_append_it_exits_in_time_and_nothing_is_lost_or_duplicated() {
    for stall in [
        (|event| matches!(event, EventKind::LiteralBegins(_))) as fn(&EventKind) -> bool,
        |event| matches!(event, EventKind::LiteralHalf(_)),
        |event| matches!(event, EventKind::Literal(_)),
    ] {
        let home = Home::with(SourceOptions::default(), without_deduplication());
        home.gmail
            .faults()
            .once(move |event| stall(&event.kind), Fault::Stall);
        deliver_large(&home, 0, 30_000_000);
        let watching = Watching::start(&home);
        watching.wait_until("the stall", || {
            home.gmail.events().iter().any(|event| stall(&event.kind))
        });
        let run = watching.terminate();
        assert_eq!(run.stderr, "");
        assert_all_arrive_once(&home, 1);
    }
}

#[test]
fn whichever_response_is_missing_it_exits_in_time() {
    let commands = ["EXAMINE", "UID FETCH", "AUTHENTICATE"];
    for command in commands {
        let home = Home::new();
        deliver(&home, 0);
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
        watching.terminate();
        assert_all_arrive_once(&home, 1);
    }
}

#[test]
fn a_single_run_exits_in_time_too_and_the_next_run_goes_on() {
    // Of a single message nothing is left to copy when the run ends: it is parked, for the next run.
    for count in [30, 1] {
        let home = Home::with(SourceOptions::default(), without_deduplication());
        for number in 0..count {
            deliver(&home, number);
        }
        home.gmail
            .faults()
            .once(double::Event::is_literal, Fault::Stall);
        let running = Watching::spawn(home.command());
        running.wait_until("the stall", || {
            home.gmail.events().iter().any(double::Event::is_literal)
        });
        let run = running.terminate();
        assert!(
            run.logged("info")
                .iter()
                .any(|line| line.contains("ended by a signal; the next run continues")),
            "{run:?}"
        );
        assert_all_arrive_once(&home, count);
    }
}

#[test]
fn a_second_signal_ends_the_program_without_a_grace_period() {
    let home = Home::new();
    deliver(&home, 0);
    home.gmail
        .faults()
        .once(double::Event::is_literal, Fault::Stall);
    let watching = Watching::start(&home);
    watching.wait_until("the stall", || {
        home.gmail.events().iter().any(double::Event::is_literal)
    });
    let signalled = Instant::now();
    watching.signal(Signal::TERM);
    watching.signal(Signal::INT);
    let run = watching.wait_for_exit();
    assert!(signalled.elapsed() < BEFORE_FORCED_EXIT, "{run:?}");
    assert_eq!(run.status, Some(0));
    // An orderly exit, after the first signal, logs this.
    assert!(!run.stdout.contains("ended by a signal"), "{run:?}");
    assert_all_arrive_once(&home, 1);
}

#[test]
fn it_exits_in_time_during_a_backlog() {
    let home = Home::with(SourceOptions::default(), without_deduplication());
    for number in 0..400 {
        deliver(&home, number);
    }
    let watching = Watching::start(&home);
    watching.wait_until("the first messages", || arrived(&home) > 20);
    let signalled = Instant::now();
    watching.terminate();
    assert!(signalled.elapsed() < MAX_SHUTDOWN);
    let before = arrived(&home);
    assert!(before < 400, "it does not finish the backlog");
    assert_all_arrive_once(&home, 400);
}

/// Starts the program in a terminal of its own, by script(1); returns its process id.
fn start_in_a_terminal(home: &Home, before: &str) -> (Watching, Pid) {
    let program = env!("CARGO_BIN_EXE_imap-to-gmail-sync");
    let line = format!("{before} {program} --config config.json --watch");
    let mut command = Command::new("script");
    command
        .current_dir(home.path("."))
        .args(["-qefc", &line, "/dev/null"])
        .stdin(Stdio::null());
    let watching = Watching::spawn(command);
    watching.wait_for("watching INBOX");
    let pid: i32 = home.read("sync_state.json.lock").trim().parse().unwrap();
    (watching, Pid::from_raw(pid).unwrap())
}

#[test]
fn it_exits_with_its_terminal_unless_sighup_is_ignored() {
    let home = Home::new();
    let (watching, pid) = start_in_a_terminal(&home, "exec");
    kill_process(pid, Signal::HUP).unwrap();
    let run = watching.wait_for_exit();
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.stdout.contains("ended by a signal"), "{run:?}");

    let (watching, pid) = start_in_a_terminal(&home, "trap '' HUP; exec");
    kill_process(pid, Signal::HUP).unwrap();
    watching.wait_for("the configuration was reloaded");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(watching.wait_for_exit().status, Some(0));
}

#[test]
fn sigusr1_starts_a_check() {
    let home = Home::new();
    let watching = Watching::start_with(&home, &["--no-idle", "--poll-interval", "500"]);
    watching.wait_for("watching INBOX by polling");
    deliver(&home, 0);
    watching.signal(Signal::USR1);
    watching.wait_until("the message", || arrived(&home) == 1);
    watching.terminate();
}
