//! Waiting by IDLE: the forms of announcements, and the ways in which an IDLE ends.

use std::time::{Duration, Instant};

use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::source::{WaitOptions, WaitOutcome};
use imap_to_gmail_sync::timeouts::Timeouts;

use crate::scripted_server::{OPEN_INBOX, ScriptedServer, dialogue};
use crate::session::{
    DONE_AND_FETCH, FETCH_OF_5, LONG, NOOP_AND_IDLE, OPEN_INBOX_WITH_5, idle_for_long, list_5,
    open, options, wait_and_check,
};

#[test]
fn new_mail_is_noticed_in_every_form_and_listed_together_with_done() {
    let cases: [&[&str]; 11] = [
        &["S: +", "S: * 5 EXISTS"],
        &["S: + idling", "S: * 5 EXISTS"],
        &["S: + * 4 EXISTS, waiting for DONE \"{5}", "S: * 5 EXISTS"],
        &["S: * 5 EXISTS", "S: + idling"],
        &["R: * 5 EXISTS\r\n* 1 RECENT\r\n+ idling\r\n"],
        &["R: + idling\r\n* 5 EXISTS\r\n* 1 RECENT\r\n"],
        &[
            "S: + idling",
            "S: * OK Still here",
            "S: * NO [ALERT] full",
            "S: * 5 EXISTS",
        ],
        &[
            "S: + idling",
            "S: * BAD hm",
            "S: * FLAGS (\\Seen)",
            "S: *  5  exists",
        ],
        &["S: + idling", "S: * 2 EXPUNGE", "S: * 4 EXISTS"],
        &[
            "S: * NO busy",
            "S: + idling",
            "S: * 1 FETCH (FLAGS (\\Seen))",
            "S: * 5 EXISTS",
        ],
        &[
            "S: + idling",
            "S: * X {5}\r\nhello \"{3}\r\nabc",
            "S: * 5 EXISTS",
        ],
    ];
    for case in cases {
        let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, case, &DONE_AND_FETCH]);
        let mut source = open(server.address(), &options());
        assert_eq!(
            wait_and_check(&mut source, idle_for_long()),
            (WaitOutcome::NewMail, vec![5]),
            "{case:?}"
        );
        assert_eq!(
            list_5(&mut source),
            [5],
            "the list was fetched ahead: no further command"
        );
    }
}

#[test]
fn untagged_lines_after_done_are_not_taken_for_its_completion() {
    let responses = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: * 5 EXISTS",
        "S: * OK Still here",
        "S: $2 OK",
        "S: * 1 FETCH (FLAGS (\\Seen))",
        "S: * NO hm",
        FETCH_OF_5,
        "S: $3 OK",
    ];
    let announced = ["S: + idling", "S: * 5 EXISTS"];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &announced, &responses]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(list_5(&mut source), [5]);
}

#[test]
fn no_done_is_sent_after_the_server_ended_the_idle() {
    // A server that has just ended the IDLE may respond BAD to a DONE that crosses; none is sent here.
    let ended = ["R: + idling\r\n* 5 EXISTS\r\n$2 OK enough\r\n"];
    let check = ["C: UID FETCH 5:* *", FETCH_OF_5, "S: $3 OK"];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &ended, &check]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(list_5(&mut source), [5]);

    // Without an announcement the client waits for the poll interval; an announcement still ends it.
    for (announced, outcome) in [
        (&["S: $2 OK enough"][..], WaitOutcome::Elapsed),
        (&["S: $2 NO go", "S: * 5 EXISTS"], WaitOutcome::NewMail),
    ] {
        let check: &[&str] = match outcome {
            WaitOutcome::NewMail => &["C: UID FETCH 5:* *", FETCH_OF_5, "S: $3 OK"],
            _ => &[
                "C: NOOP",
                "S: $3 OK",
                "C: UID SEARCH UID 5:*",
                "S: * SEARCH 5",
                "S: $4 OK",
            ],
        };
        let server =
            ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &["S: + x"], announced, check]);
        let mut source = open(server.address(), &options());
        let wait = WaitOptions {
            poll_interval: if outcome == WaitOutcome::NewMail {
                LONG
            } else {
                Duration::from_millis(20)
            },
            ..idle_for_long()
        };
        assert_eq!(wait_and_check(&mut source, wait), (outcome, vec![5]));
    }
}

#[test]
fn a_done_that_crosses_the_servers_end_of_idle_does_not_confuse_later_responses() {
    let crossed = [
        "S: + idling",
        "S: * 5 EXISTS",
        "C: DONE",
        "S: $2 OK enough",
        "S: DONE BAD what?",
    ];
    let check = [
        "C: UID FETCH 5:* *",
        FETCH_OF_5,
        "S: $3 OK",
        "C: NOOP",
        "S: $tag OK",
        "C: IDLE",
    ];
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &NOOP_AND_IDLE,
        &crossed,
        &check,
        &["S: + x", "silence"],
    ]);
    let options = options();
    let mut source = open(server.address(), &options);
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
    options.canceller.wake();
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::Woken
    );
}

#[test]
fn an_unanswered_done_costs_the_session_but_no_mail() {
    let announced = ["S: + idling", "S: * 5 EXISTS", "C: DONE", "silence"];
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE, &announced]),
        dialogue(&[&OPEN_INBOX_WITH_5]),
    ]);
    let mut options = options();
    options.timeouts.response = LONG;
    let mut source = open(server.address(), &options);
    let started = Instant::now();
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
    // The scripted server itself closes the connection after twenty seconds.
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_server_that_loses_pipelined_commands_gets_them_one_by_one() {
    let pipelined = ["S: + x", "S: * 5 EXISTS", "C: DONE", "S: $2 OK", "silence"];
    let options = ConnectionOptions {
        timeouts: Timeouts {
            response: Duration::from_millis(300),
            ..options().timeouts
        },
        ..options()
    };
    let announced = ["S: + x", "S: * 6 EXISTS"];
    let sixth = FETCH_OF_5.replace('5', "6");
    let one_by_one = [
        "C: DONE",
        "S: $2 OK",
        "C: UID FETCH 6:* *",
        &sixth,
        "S: $tag OK",
    ];
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE, &pipelined]),
        dialogue(&[&OPEN_INBOX_WITH_5, &NOOP_AND_IDLE, &announced, &one_by_one]),
    ]);
    let mut source = open(server.address(), &options);
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5, 6])
    );
}

#[test]
fn untagged_chatter_does_not_extend_an_idle() {
    // `busy` sends a line every 50 ms for at most ten seconds.
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &["S: + idling", "busy"]]);
    let mut options = options();
    options.timeouts.idle_max = Duration::from_millis(300);
    let mut source = open(server.address(), &options);
    let started = Instant::now();
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::Elapsed
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(source);
}
