//! Outages of either server: when they are reported, and what goes on meanwhile.

use std::time::{Duration, Instant};

use double::{AppendResponse, Fault, GmailOptions, SourceOptions};
use rustix::process::Signal;
use serde_json::json;

use crate::program::Home;
use crate::short_delays::{MAX_TRIES_IN_THREE_SECONDS, count_for_three_seconds, start};
use crate::watching::{Watching, arrived, assert_each_arrived_once, deliver, deliver_and_wait};

#[test]
fn a_dead_connection_to_gmail_is_detected_before_a_message_is_sent_on_it() {
    let break_connection: [fn(&Home); 3] = [
        |home| home.gmail.disconnect(),
        // Gmail ends sessions with the token that opened them.
        |home| home.gmail.clock().advance(Duration::from_secs(3601)),
        |home| home.gmail.tokens().revoke_all(&home.gmail.user()),
    ];
    let gmail = GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    };
    let home = Home::with(SourceOptions::default(), gmail);
    let watching = Watching::start_with(&home, &["--debug"]);
    for (number, break_connection) in (0..).zip(break_connection) {
        deliver(&home, 2 * number);
        watching.wait_until("the message", || arrived(&home) == 2 * number + 1);
        break_connection(&home);
        deliver(&home, 2 * number + 1);
        watching.wait_until("the next", || arrived(&home) == 2 * number + 2);
    }
    let run = watching.terminate();
    assert_eq!(run.logged("warn"), Vec::<&str>::new(), "{run:?}");
    assert_each_arrived_once(&home, 6);
}

#[test]
fn a_source_that_is_down_is_reported_once_and_reconnected_to_when_it_is_back() {
    let mut home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    home.source.stop();
    watching.wait_for("the source is not available; will retry");
    // Long enough for several retries.
    std::thread::sleep(Duration::from_secs(4));
    home.source.restart();
    deliver(&home, 0);
    watching.wait_until("the message", || arrived(&home) == 1);
    watching.wait_for("the source is available again, after ");
    let run = watching.terminate();
    assert_eq!(run.logged("warn").len(), 1, "{run:?}");
}

#[test]
fn while_gmail_is_down_the_source_session_stays_open() {
    let mut home = Home::new();
    let watching = Watching::start_with(&home, &["--debug"]);
    watching.wait_for("watching INBOX");
    home.gmail.stop();
    deliver(&home, 0);
    watching.wait_for("Gmail is not available; will retry");
    let start = Instant::now();
    for number in 1..5 {
        deliver(&home, number);
        std::thread::sleep(Duration::from_millis(500));
    }
    let attempts = 1 + watching.count("debug Gmail: ") as u64;
    let expected = 2 + start.elapsed().as_secs() / 2;
    assert!(
        attempts <= expected,
        "{attempts}: new mail does not cut the delay short"
    );
    assert_eq!(home.source.logins(), 1, "the source session stays open");
    home.gmail.restart();
    watching.wait_for("Gmail is available again, after ");
    watching.wait_until("all five", || arrived(&home) == 5);
    assert_eq!(home.source.logins(), 1);
    let run = watching.terminate();
    assert_eq!(run.logged("warn").len(), 1, "{run:?}");
    assert_each_arrived_once(&home, 5);
}

#[test]
fn while_gmail_rests_it_is_not_contacted_and_the_source_stays_watched() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        gmail.append_response =
            AppendResponse::Refusal("NO [OVERQUOTA] Account exceeded bandwidth limits.".to_owned());
    });
    deliver(&home, 0);
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    watching.wait_for("Gmail is not available");
    let connections = home.gmail.connections();
    deliver(&home, 1);
    watching.signal(Signal::USR1);
    watching.wait_for("checking the source now");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(home.gmail.connections(), connections);
    let run = watching.terminate();
    assert_eq!(home.source.logins(), 1, "{run:?}");
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

#[test]
fn the_daily_upload_limit_pauses_the_delivery_and_does_not_end_the_program() {
    let home = Home::new();
    home.configure(&json!({ "daily_upload_limit": "100" }));
    for number in 0..3 {
        deliver(&home, number);
    }
    let watching = Watching::start(&home);
    watching.wait_for("Gmail is not available");
    watching.wait_for("watching INBOX");
    let there = arrived(&home);
    assert!((1..3).contains(&there), "{there}");
    watching.terminate();
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

#[test]
fn a_full_gmail_pauses_the_delivery_and_does_not_end_the_program() {
    let home = Home::new();
    home.gmail.change(|gmail| gmail.storage = 10);
    deliver(&home, 0);
    let watching = Watching::start(&home);
    watching.wait_for("its storage is full");
    watching.wait_for("watching INBOX");
    let run = watching.terminate();
    let errors = run.logged("error");
    assert!(
        errors[0].starts_with("Gmail is full; will retry: "),
        "{run:?}"
    );
    assert_eq!((errors.len(), run.logged("warn").len()), (1, 0), "{run:?}");
    assert_eq!(home.state()["gmail"]["storage_full"], true);
    assert_eq!(home.state()["parked"], json!({}));
    // A process that starts while it rests says so, too.
    let watching = Watching::start(&home);
    watching.wait_for("the last message did not fit; its storage is full");
    assert_eq!(watching.terminate().logged("error").len(), 1);
}

#[test]
fn when_gmail_refuses_every_message_the_delivery_pauses_and_the_program_goes_on() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        gmail.append_response = AppendResponse::Refusal("NO not today".to_owned());
    });
    for number in 0..5 {
        deliver(&home, number);
    }
    let watching = Watching::start(&home);
    watching.wait_for("Gmail is not available");
    watching.wait_for("watching INBOX");
    watching.terminate();
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

const OUTAGE_BEGINS: &str = "the source is not available; will retry";

const OUTAGE_ENDS: &str = "the source is available again, after ";

#[test]
fn a_source_that_ends_every_session_is_reported_once_until_a_session_lasts() {
    let home = Home::new();
    home.source
        .faults()
        .always(|event| event.is_line("+ idling"), Fault::Eof);
    // It also rejects every third log-in.
    let mut logins = 0;
    home.source.faults().always(
        move |event| {
            let is_login = event.is_command("AUTHENTICATE");
            logins += usize::from(is_login);
            is_login && logins.is_multiple_of(3)
        },
        Fault::Eof,
    );
    let watching = start(&home);
    watching.wait_for(OUTAGE_BEGINS);
    let connections = count_for_three_seconds(|| home.source.connections());
    assert!(
        (2..MAX_TRIES_IN_THREE_SECONDS).contains(&connections),
        "{connections}"
    );
    assert_eq!(watching.count(OUTAGE_BEGINS), 1);
    assert_eq!(watching.count(OUTAGE_ENDS), 0);
    home.source.faults().clear();
    // A session that lasts ends the outage, without any mail.
    watching.wait_for(OUTAGE_ENDS);
    let run = watching.terminate();
    assert_eq!(run.logged("warn").len(), 1, "{run:?}");
}

#[test]
fn repeated_short_sessions_are_reported_as_an_outage() {
    let home = Home::new();
    home.source
        .faults()
        .always(|event| event.is_line("+ idling"), Fault::Eof);
    let watching = start(&home);
    watching.wait_for(OUTAGE_BEGINS);
    let ended = watching.count("; checking again");
    assert_eq!(ended, 2, "two short sessions are not reported yet");
    home.source.faults().clear();
    deliver(&home, 0);
    watching.wait_for("1 copied");
    watching.wait_for(OUTAGE_ENDS);
    watching.terminate();
}

#[test]
fn a_server_that_disconnects_an_idling_client_is_checked_again() {
    for fault in [
        Fault::Eof,
        Fault::Reset,
        Fault::Instead("* BYE too long".to_owned()),
    ] {
        let home = Home::new();
        home.source
            .faults()
            .once(|event| event.is_line("+ idling"), fault);
        let watching = Watching::start(&home);
        watching.wait_for("by IDLE");
        deliver_and_wait(&home, &watching, 0..2);
        watching.terminate();
    }
}
