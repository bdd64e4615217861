//! Finding new mail without IDLE: the server lacks it, rejects it, or the user switched it off.

use std::time::{Duration, Instant};

use double::{Fault, GmailOptions, SourceOptions};
use imap_to_gmail_sync::source::{WaitOptions, WaitOutcome};

use crate::program::Home;
use crate::scripted_server::{OPEN_INBOX, ScriptedServer, dialogue};
use crate::session::{
    FETCH_OF_5, NOOP_AND_IDLE, OPEN_INBOX_WITH_5, idle_for_long, open, options, poll_soon,
    wait_and_check,
};
use crate::watching::{Watching, arrived, deliver, deliver_and_wait};

#[test]
fn without_idle_or_with_no_idle_the_source_is_polled() {
    let without_idle = SourceOptions {
        without: vec!["IDLE".to_owned()],
        ..SourceOptions::default()
    };
    for (options, words) in [
        (without_idle, &["--poll-interval", "1"][..]),
        (
            SourceOptions::default(),
            &["--no-idle", "--poll-interval", "1"],
        ),
    ] {
        let home = Home::with(options, GmailOptions::default());
        let watching = Watching::start_with(&home, words);
        watching.wait_for("watching INBOX by polling");
        deliver(&home, 0);
        watching.wait_until("the message", || arrived(&home) == 1);
        watching.terminate();
        let commands = home.source.commands();
        assert!(!commands.iter().any(|it| it == "IDLE"), "{commands:?}");
    }
}

#[test]
fn a_pass_with_nothing_to_do_logs_nothing() {
    let home = Home::new();
    let watching = Watching::start_with(&home, &["--no-idle", "--poll-interval", "1"]);
    watching.wait_for("watching INBOX by polling");
    deliver(&home, 0);
    watching.wait_for("1 copied, 0 already there");
    let checks = || {
        let commands = home.source.commands();
        commands
            .iter()
            .filter(|line| line.starts_with("UID SEARCH"))
            .count()
    };
    let before = checks();
    watching.wait_until("three checks", || checks() >= before + 3);
    let run = watching.terminate();
    let lines = run
        .stdout
        .lines()
        .filter_map(|line| line.split_once(" info  "));
    let words = lines.map(|(_, line)| line.split(' ').next().unwrap_or_default());
    let expected = ["user@localhost/INBOX:", "watching", "copied", "1", "ended"];
    assert_eq!(words.collect::<Vec<_>>(), expected, "{run:?}");
    assert_eq!(run.stdout.lines().count(), expected.len(), "{run:?}");
}

#[test]
fn a_server_that_advertises_idle_and_rejects_it_is_polled() {
    for rejection in [
        "<T> NO not now",
        "<T> BAD unknown command",
        "<T> OK I do not idle",
    ] {
        let home = Home::new();
        home.source.faults().always(
            |event| event.is_command("IDLE"),
            Fault::Instead(rejection.to_owned()),
        );
        let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
        watching.wait_for("watching INBOX by polling");
        deliver_and_wait(&home, &watching, 0..2);
        watching.terminate();
        let commands = home.source.commands();
        let idles = commands.iter().filter(|command| *command == "IDLE").count();
        assert_eq!(idles, 1, "{rejection}: IDLE is sent once");
    }
}

#[test]
fn after_a_rejected_idle_the_source_is_polled() {
    for rejection in [
        "S: $tag NO not now",
        "S: $tag BAD unknown command",
        "S: $tag OK I do not idle",
    ] {
        let nothing = [
            "C: NOOP",
            "S: $tag OK",
            "C: UID SEARCH UID 5:*",
            "S: * SEARCH 4",
            "S: $tag OK",
        ];
        let fifth = [
            "C: NOOP",
            "S: $tag OK",
            "C: UID SEARCH UID 5:*",
            "S: * SEARCH 5",
            "S: $tag OK",
        ];
        let server =
            ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &[rejection], &nothing, &fifth]);
        let mut source = open(server.address(), &options());
        assert_eq!(
            wait_and_check(&mut source, poll_soon()),
            (WaitOutcome::Elapsed, vec![]),
            "{rejection}"
        );
        assert_eq!(source.wait_method(poll_soon()), "polling every 0 s");
        assert_eq!(
            wait_and_check(&mut source, poll_soon()),
            (WaitOutcome::Elapsed, vec![5]),
            "{rejection}"
        );
    }
}

#[test]
fn a_server_without_idle_is_polled_and_so_is_any_with_idle_switched_off() {
    let check = [
        "C: NOOP",
        "S: * 5 EXISTS",
        "S: $tag OK",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 5",
        "S: $tag OK",
    ];
    let without: Vec<String> = dialogue(&[&OPEN_INBOX, &check])
        .iter()
        .map(|step| step.replace(" IDLE]", "]"))
        .collect();
    for (dialogue, use_idle) in [(without, true), (dialogue(&[&OPEN_INBOX, &check]), false)] {
        let server = ScriptedServer::play_all(vec![dialogue]);
        let mut source = open(server.address(), &options());
        let wait = WaitOptions {
            use_idle,
            ..poll_soon()
        };
        assert_eq!(
            wait_and_check(&mut source, wait),
            (WaitOutcome::Elapsed, vec![5])
        );
    }
}

#[test]
fn a_server_that_never_responds_to_idle_is_polled() {
    let fifth = [
        "C: NOOP",
        "S: $tag OK",
        "C: UID SEARCH UID 6:*",
        "S: * SEARCH 5",
        "S: $tag OK",
    ];
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE, &["S: * OK hm", "silence"]]),
        dialogue(&[&OPEN_INBOX_WITH_5, &NOOP_AND_IDLE, &["silence"]]),
        dialogue(&[&OPEN_INBOX_WITH_5, &fifth]),
    ]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::Elapsed, vec![5])
    );
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::Elapsed, vec![5])
    );
    assert_eq!(
        wait_and_check(&mut source, poll_soon()),
        (WaitOutcome::Elapsed, vec![5])
    );
}

#[test]
fn mail_that_the_server_never_announces_is_found_at_the_end_of_the_wait() {
    let check = [
        "C: DONE",
        "S: $2 OK",
        "C: NOOP",
        "S: * 5 EXISTS",
        "S: $3 OK",
        "C: UID SEARCH UID 5:*",
    ];
    let found = ["S: * SEARCH 5", "S: $4 OK"];
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &NOOP_AND_IDLE,
        &["S: + idling"],
        &check,
        &found,
    ]);
    let mut source = open(server.address(), &options());
    let wait = WaitOptions {
        until: Instant::now() + Duration::from_millis(100),
        ..idle_for_long()
    };
    assert_eq!(
        wait_and_check(&mut source, wait),
        (WaitOutcome::Elapsed, vec![5])
    );
}

#[test]
fn mail_announced_after_a_search_that_missed_it_is_not_lost() {
    // As Dovecot does: it holds both completions back until it has synchronized the mailbox.
    let check = [
        "C: NOOP",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 4",
        "S: * 5 EXISTS",
        "S: $1 OK",
        "S: $2 OK",
        "C: UID FETCH 5:* *",
        FETCH_OF_5,
        "S: $3 OK",
    ];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &check]);
    let mut source = open(server.address(), &options());
    let wait = WaitOptions {
        use_idle: false,
        ..poll_soon()
    };
    assert_eq!(
        wait_and_check(&mut source, wait),
        (WaitOutcome::Elapsed, vec![])
    );
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
}

#[test]
fn responses_among_those_of_another_command_are_read() {
    let check = [
        "C: NOOP",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 5",
        "S: * 5 EXISTS",
        "S: $2 OK",
        "S: $1 OK",
        "C: NOOP",
        "S: $tag OK",
        "C: UID SEARCH UID 6:*",
        "S: $tag OK",
    ];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &check]);
    let mut source = open(server.address(), &options());
    let wait = WaitOptions {
        use_idle: false,
        ..poll_soon()
    };
    assert_eq!(
        wait_and_check(&mut source, wait),
        (WaitOutcome::Elapsed, vec![5])
    );
    assert_eq!(
        wait_and_check(&mut source, wait),
        (WaitOutcome::Elapsed, vec![5]),
        "it is announced once"
    );
}
