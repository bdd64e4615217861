//! A connection that is cut at every event of a run on either side, and a program that is killed at
//! any moment: nothing is lost, nothing arrives twice.

// A test fails by a panic, in its support code as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::process::Child;
use std::time::{Duration, Instant};

use double::{GmailOptions, IndexDelay, SourceOptions, Unfinished};
use serde_json::json;

use program::Home;

/// What a meter mails again and again.
const ALARM: &[u8] = b"Subject: alarm\r\n\r\nwater\r\n";

/// Fourteen messages: two without Message-ID, two of the same octets without Message-ID, one that Gmail refuses, two with one id, two identical
/// ones, NULs, bare LFs, dates of several days.
fn fourteen() -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = (0..5)
        .map(|number| {
            format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n")
                .into_bytes()
        })
        .collect();
    messages.push(b"Subject: no id\r\n\r\none\r\n".to_vec());
    messages.push(b"Subject: no id\r\n\r\ntwo\r\n".to_vec());
    messages.push(ALARM.to_vec());
    messages.push(ALARM.to_vec());
    messages.push(b"4".to_vec());
    messages.push(b"Message-ID: <printer@x>\r\nSubject: scan 1\r\n\r\npage one\r\n".to_vec());
    messages.push(b"Message-ID: <printer@x>\r\nSubject: scan 2\r\n\r\npage two\r\n".to_vec());
    messages.push(b"Message-ID: <twin@x>\r\nSubject: t\r\n\r\ntwins\r\n".to_vec());
    messages.push(b"Message-ID: <twin@x>\r\nSubject: t\r\n\r\ntwins\r\n".to_vec());
    messages
}

fn home(gmail: GmailOptions) -> Home {
    let home = Home::with(SourceOptions::default(), gmail);
    let now = chrono::Utc::now();
    for (hours, octets) in (0..).zip(fourteen()) {
        let date = now - chrono::TimeDelta::hours(hours);
        home.source
            .deliver(&octets, date.fixed_offset(), &["\\Seen"]);
    }
    home
}

/// The expected messages in the end: each once, both alarms, the refused one never.
fn expected() -> BTreeMap<String, usize> {
    let arrives = fourteen().into_iter().filter(|octets| octets != b"4");
    arrives
        .map(|octets| {
            let copies = if octets == ALARM { 2 } else { 1 };
            (octets.escape_ascii().to_string(), copies)
        })
        .collect()
}

fn delivered(home: &Home) -> BTreeMap<String, usize> {
    home.delivered()
        .into_iter()
        .map(|(octets, copies)| (octets, copies.len()))
        .collect()
}

/// Runs without faults until only the refused message is left.
fn recover(home: &Home) {
    home.source.faults().clear();
    home.gmail.faults().clear();
    for _ in 0..8 {
        home.age_by_minutes(24 * 60);
        let run = home.run();
        let parked = home.state()["parked"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        if run.status == Some(0) && parked <= 1 && home.state()["date_pass"].is_null() {
            // The refused message is retried for days; it must not hide that others wait.
            let why = home.state()["parked"].to_string();
            if parked == 0 || why.contains("Unable to parse message") {
                return;
            }
        }
    }
    panic!(
        "it does not come to an end: {}",
        home.read("sync_state.json")
    );
}

/// The number of events of an uncut run on one side.
fn events_of(options: &GmailOptions, side: fn(&Home) -> &double::Server) -> usize {
    let home = home(options.clone());
    home.run_ok();
    side(&home).events().len()
}

fn cut_everywhere(options: &GmailOptions, side: fn(&Home) -> &double::Server) {
    let events = events_of(options, side);
    assert!(events > 12, "{events}");
    for event in 1..=events {
        let home = home(options.clone());
        side(&home).faults().cut_at(event);
        let run = home.run();
        assert!(
            matches!(run.status, Some(0 | 69)),
            "cut at {event}: {run:?}"
        );
        recover(&home);
        assert_eq!(
            delivered(&home),
            expected(),
            "cut at event {event} of {events}"
        );
    }
}

fn without_deduplication(unfinished: Unfinished) -> GmailOptions {
    GmailOptions {
        deduplicates: false,
        unfinished,
        ..GmailOptions::default()
    }
}

#[test]
fn the_source_may_be_cut_at_every_event() {
    cut_everywhere(&without_deduplication(Unfinished::Forgotten), |home| {
        &home.source
    });
}

#[test]
fn gmail_may_be_cut_at_every_event_and_drop_cut_appends() {
    cut_everywhere(&without_deduplication(Unfinished::Forgotten), |home| {
        &home.gmail
    });
}

#[test]
fn gmail_may_be_cut_at_every_event_and_store_cut_appends() {
    cut_everywhere(&without_deduplication(Unfinished::Stored), |home| {
        &home.gmail
    });
}

#[test]
fn gmail_may_be_cut_at_every_event_and_store_and_index_cut_appends_late() {
    // The double's clock stands still: only runs after `age_by_minutes` find what was stored at once;
    // late messages are stored when the clock has advanced.
    let options = GmailOptions {
        index_delay: IndexDelay::Searches(2),
        ..without_deduplication(Unfinished::Stored)
    };
    cut_everywhere(&options, |home| &home.gmail);
}

/// Waits until a run has reached this number of events, or has exited.
fn wait_for(home: &Home, events: usize, run: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while home.source.events().len() + home.gmail.events().len() < events {
        if run.try_wait().unwrap().is_some() {
            return;
        }
        assert!(Instant::now() < deadline, "the run does not go on");
        std::thread::yield_now();
    }
}

#[test]
fn a_run_may_be_killed_at_any_moment() {
    let options = without_deduplication(Unfinished::Stored);
    let whole = home(options.clone());
    whole.run_ok();
    let events = whole.source.events().len() + whole.gmail.events().len();
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse::<usize>().unwrap());
    for moment in 0..100 {
        let home = home(options.clone());
        // Twice, so that a run that recovers from a kill is killed as well.
        for kill in 0..2 {
            let at = (seed * 7919 + moment * 104_729 + kill * 1_299_709) % (events + 5);
            let before = home.source.events().len() + home.gmail.events().len();
            let mut run = home.start();
            wait_for(&home, before + at, &mut run);
            run.kill().unwrap();
            run.wait().unwrap();
            if kill == 1 {
                home.age_by_minutes(2);
            }
        }
        recover(&home);
        assert_eq!(delivered(&home), expected(), "seed {seed}, moment {moment}");
    }
}

#[test]
fn of_two_simultaneous_runs_one_copies_and_the_other_logs_a_line() {
    let home = home(GmailOptions::default());
    home.gmail
        .faults()
        .once(double::Event::is_literal, double::Fault::Stall);
    let mut first = home.start();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !home.gmail.events().iter().any(double::Event::is_literal) {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let second = home.run();
    assert_eq!(second.status, Some(0));
    let line = format!("another run holds the lock (process {})", first.id());
    assert!(second.stdout.contains(&line), "{second:?}");
    assert!(second.stdout.contains("sync_state.json.lock"), "{second:?}");
    home.gmail.faults().clear();
    home.gmail.faults().release();
    assert!(first.wait().unwrap().success());
    assert_eq!(delivered(&home), expected());
    assert_eq!(home.state()["refused"], json!({}));
}
