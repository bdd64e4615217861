//! Announcements of new mail: false ones, and true ones between two commands.

use std::thread;
use std::time::{Duration, Instant};

use double::Fault;
use imap_to_gmail_sync::source::{WaitOptions, WaitOutcome};
use imap_to_gmail_sync::sync::Source;
use serde_json::json;

use crate::program::Home;
use crate::scripted_server::{OPEN_INBOX, ScriptedServer, dialogue};
use crate::session::{
    FETCH_OF_5, NOOP_AND_IDLE, idle_for_long, list_5, open, options, wait_and_check,
};
use crate::short_delays::{
    FIRST_RETRY_DELAY, MAX_TRIES_IN_THREE_SECONDS, count_for_three_seconds, start,
};
use crate::watching::deliver;

/// Waits until the source gets no command for fifty times the first retry delay.
fn wait_for_quiet(home: &Home) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let before = home.source.commands().len();
        thread::sleep(FIRST_RETRY_DELAY * 50);
        let commands = home.source.commands().len() - before;
        if commands == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{commands} commands in a second");
    }
}

#[test]
fn while_gmail_rests_the_source_gets_no_needless_commands() {
    let home = Home::new();
    home.configure(&json!({ "daily_upload_limit": "100" }));
    for number in 0..3 {
        deliver(&home, number);
    }
    let watching = start(&home);
    watching.wait_for("Gmail is not available");
    watching.wait_for("watching INBOX");
    wait_for_quiet(&home);
    watching.terminate();
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

#[test]
fn after_repeated_false_notifications_the_source_is_checked_less_often() {
    let home = Home::new();
    let idles = || {
        let commands = home.source.commands();
        commands.iter().filter(|it| *it == "IDLE").count()
    };
    home.source.faults().always(
        |event| event.is_line("+ idling"),
        Fault::Before("* 7 EXISTS".to_owned()),
    );
    let watching = start(&home);
    watching.wait_for("watching INBOX by IDLE");
    let checks = count_for_three_seconds(idles);
    assert!(
        (2..MAX_TRIES_IN_THREE_SECONDS).contains(&checks),
        "{checks} checks"
    );
    assert_eq!(watching.count("has none; checking less often"), 1);
    // It is polled, and new mail is copied.
    deliver(&home, 0);
    watching.wait_until("the message", || home.gmail.messages("INBOX").len() == 1);
    watching.terminate();
}

#[test]
fn false_notifications_that_break_the_session_do_not_cause_endless_log_ins() {
    let home = Home::new();
    home.source.faults().always(
        |event| event.is_line("+ idling"),
        Fault::Before("* 7 EXISTS".to_owned()),
    );
    home.source
        .faults()
        .always(|event| event.is_command("UID FETCH"), Fault::Eof);
    let watching = start(&home);
    watching.wait_for("watching INBOX by IDLE");
    let logins = count_for_three_seconds(|| home.source.logins());
    assert!(
        (2..MAX_TRIES_IN_THREE_SECONDS).contains(&logins),
        "{logins} log-ins"
    );
    assert_eq!(watching.count("has none; checking less often"), 1);
    watching.terminate();
}

#[test]
fn an_exists_line_with_every_idle_does_not_cause_a_busy_loop() {
    let announced = ["S: + idling", "S: * 4 EXISTS", "S: * 1 RECENT"];
    let check = [
        "C: DONE",
        "S: $2 OK",
        "C: NOOP",
        "S: $3 OK",
        "C: UID SEARCH UID 5:*",
        "S: $4 OK",
    ];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &announced, &check]);
    let options = options();
    let mut source = open(server.address(), &options);
    let begun = Instant::now();
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::Elapsed, vec![])
    );
    assert!(begun.elapsed() >= options.timeouts.idle_start);

    // Nor does a server that sends it and ends the IDLE.
    let ended = ["R: + idling\r\n* 4 EXISTS\r\n$2 OK enough\r\n"];
    let check = ["C: NOOP", "S: $3 OK", "C: UID SEARCH UID 5:*", "S: $4 OK"];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &ended, &check]);
    let mut source = open(server.address(), &options);
    let wait = WaitOptions {
        poll_interval: Duration::from_millis(200),
        ..idle_for_long()
    };
    let begun = Instant::now();
    assert_eq!(
        wait_and_check(&mut source, wait),
        (WaitOutcome::Elapsed, vec![])
    );
    assert!(begun.elapsed() >= wait.poll_interval);
}

#[test]
fn mail_announced_between_a_check_and_the_next_wait_is_not_missed() {
    // During the pass…
    let search = [
        "C: UID SEARCH UID 1",
        "S: * SEARCH 1",
        "S: * 5 EXISTS",
        "S: $tag OK",
    ];
    let check = ["C: UID FETCH 5:* *", FETCH_OF_5, "S: $2 OK"];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &search, &check]);
    let mut source = open(server.address(), &options());
    let one = imap_to_gmail_sync::sync::SourceSearch::Uids("1".parse().unwrap());
    assert_eq!(source.search(&one).unwrap().len(), 1);
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5]),
        "without an IDLE"
    );
    assert_eq!(list_5(&mut source), [5]);

    // …at the end of the check itself, and among the responses to the NOOP before the IDLE.
    let late = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: $2 OK",
        FETCH_OF_5,
        "S: * 6 EXISTS",
        "S: $3 OK",
    ];
    let sixth = FETCH_OF_5.replace('5', "6");
    let again = ["C: UID FETCH 6:* *", &sixth, "S: $4 OK"];
    let noop = [
        "C: NOOP",
        "S: * 7 EXISTS",
        "S: $tag OK",
        "C: IDLE",
        "S: + x",
    ];
    let seventh = FETCH_OF_5.replace('5', "7");
    let last = [
        "C: DONE",
        "C: UID FETCH 7:* *",
        "S: $6 OK",
        &seventh,
        "S: $7 OK",
    ];
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &NOOP_AND_IDLE,
        &["S: + x", "S: * 5 EXISTS"],
        &late,
        &again,
        &noop,
        &last,
    ]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5, 6])
    );
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5, 6, 7])
    );
}

#[test]
fn a_false_notification_has_the_folder_opened_again() {
    // A server must not change UIDVALIDITY within a session; the change is noticed all the same.
    let announced = ["S: + x", "S: * 5 EXISTS"];
    let nothing = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: $2 OK",
        "S: * 4 FETCH (UID 4)",
        "S: $3 OK",
    ];
    let another: Vec<String> = OPEN_INBOX[3..]
        .iter()
        .map(|step| step.replace("UIDVALIDITY 7", "UIDVALIDITY 8"))
        .collect();
    let dialogue = [
        dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE, &announced, &nothing]),
        another,
    ]
    .concat();
    let server = ScriptedServer::play_all(vec![dialogue]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::NewMail
    );
    assert_eq!(source.check_for_mail().unwrap().uid_validity.get(), 8);
}
