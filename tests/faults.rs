//! A run with every kind of work, and a server that fails in every way at every event: after two runs
//! without faults nothing is lost, nothing is duplicated, and no server was overloaded.
//!
//! `EVERY=1` tries each fault at each event; by default each event gets some of them, and `SHIFT`
//! selects which.

// A test fails by a panic, in its support code as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "faults/labels.rs"]
mod labels;
#[path = "support/program.rs"]
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use double::{Event, EventKind, Fault, GmailOptions, Server, SourceOptions, Unfinished};
use imap_to_gmail_sync::config::{Config, Environment};
use imap_to_gmail_sync::delivery::gmail_imap;
use imap_to_gmail_sync::delivery::gmail_imap::GmailTarget;
use imap_to_gmail_sync::error::Result;
use imap_to_gmail_sync::oauth::RenewalPolicy;
use imap_to_gmail_sync::source::ImapSource;
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::FolderStorage;
use imap_to_gmail_sync::sync;
use imap_to_gmail_sync::sync::{Pass, PassReport};
use imap_to_gmail_sync::timeouts::Timeouts;
use serde_json::json;

use program::Home;

fn mail(id: &str, subject: &str, body: &str) -> Vec<u8> {
    format!("Message-ID: <{id}@x>\r\nSubject: {subject}\r\n\r\n{body}\r\n").into_bytes()
}

/// The messages before the run: copied, refused, and appended without a response.
fn before() -> Vec<Vec<u8>> {
    vec![
        b"4".to_vec(),
        mail("old", "delivered", "long ago"),
        mail("lost", "its answer is lost", "stored all the same"),
        b"Subject: no id, and its answer is lost\r\n\r\nstored\r\n".to_vec(),
    ]
}

/// The new messages of the run.
fn new() -> Vec<Vec<u8>> {
    let mut new: Vec<Vec<u8>> = (0..3)
        .map(|number| mail(&format!("new-{number}"), "new", &format!("body {number}")))
        .collect();
    new.push(mail("held-1", "there already", "the first"));
    new.push(mail("held-2", "there already", "the second"));
    new.push(b"Subject: no id\r\n\r\none\r\n".to_vec());
    new.push(b"Subject: no id\r\n\r\ntwo\r\n".to_vec());
    new.push(mail("printer", "scan 1", "page one"));
    new.push(mail("printer", "scan 2", "page two"));
    new.push(mail("twin", "twins", "the same"));
    new.push(mail("twin", "twins", "the same"));
    new.push(mail("old", "delivered", "long ago"));
    new.push(mail("old", "another under an old id", "another body"));
    new
}

/// A home between two runs: the next one has every kind of work.
fn home_with_all_work(unfinished: Unfinished) -> Home {
    let gmail = GmailOptions {
        deduplicates: false,
        unfinished: Unfinished::Stored,
        ..GmailOptions::default()
    };
    let home = Home::with(SourceOptions::default(), gmail);
    home.configure(&json!({ "target_connections": 1 }));
    deliver(&home, before());
    for part in ["lost", "no id"] {
        let size = before()
            .iter()
            .find(|octets| contains(octets, part))
            .unwrap()
            .len();
        home.gmail.faults().once(
            move |event| event.kind == EventKind::Literal(size),
            Fault::Eof,
        );
    }
    home.run();
    home.run();
    home.gmail.faults().clear();
    for octets in new() {
        if contains(&octets, "there already") {
            home.gmail.deliver(&octets, Utc::now().fixed_offset(), &[]);
        }
    }
    deliver(&home, new());
    let gone = home
        .source
        .deliver(b"Subject: gone\r\n\r\n", Utc::now().fixed_offset(), &[]);
    home.source.expunge(gone);
    home.gmail.change(|options| options.unfinished = unfinished);
    home.age_by_minutes(2);
    home
}

fn contains(octets: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(octets).contains(part)
}

fn deliver(home: &Home, mails: Vec<Vec<u8>>) {
    for (octets, hours) in mails.into_iter().zip(1..) {
        let date = Utc::now() - TimeDelta::hours(hours);
        home.source
            .deliver(&octets, date.fixed_offset(), &["\\Seen"]);
    }
}

/// The expected messages in the end: each once, except those that Gmail refuses.
fn expected() -> BTreeMap<String, usize> {
    let all = before().into_iter().chain(new());
    all.filter(|octets| octets != b"4")
        .map(|octets| (octets.escape_ascii().to_string(), 1))
        .collect()
}

fn delivered(home: &Home) -> BTreeMap<String, usize> {
    let delivered = home.delivered().into_iter();
    delivered
        .map(|(octets, copies)| (octets, copies.len()))
        .collect()
}

/// The messages that are lost or duplicated.
fn difference(home: &Home) -> Vec<String> {
    let (expected, delivered) = (expected(), delivered(home));
    let all: BTreeSet<&String> = expected.keys().chain(delivered.keys()).collect();
    let counts = all
        .into_iter()
        .map(|octets| (octets, delivered.get(octets), expected.get(octets)));
    let wrong = counts.filter(|(_, there, wanted)| there != wanted);
    wrong
        .map(|(octets, there, _)| format!("{} times {octets}", there.unwrap_or(&0)))
        .collect()
}

type Side = fn(&Home) -> &Server;

fn source(home: &Home) -> &Server {
    &home.source
}

fn gmail(home: &Home) -> &Server {
    &home.gmail
}

/// The events of a run without faults.
fn events(side: Side) -> Vec<Event> {
    let home = home_with_all_work(Unfinished::Forgotten);
    let before = side(&home).events().len();
    home.run_ok();
    assert_eq!(delivered(&home), expected());
    side(&home).events().split_off(before)
}

/// Where an event is in a run, whatever the order of the connections: its kind without numbers, and
/// how many events of that kind were before it.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    kind: String,
    before: usize,
}

/// The kind of an event without its numbers: tags, UIDs, sizes and times differ between two runs.
fn kind(event: &Event) -> String {
    let text = format!("{:?}", event.kind);
    let parts = text.split(|character: char| character.is_ascii_digit());
    let between: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    between.join("#")
}

fn place(events: &[Event], index: usize) -> Place {
    let kind_here = kind(&events[index]);
    let before = events[..index].iter();
    Place {
        before: before.filter(|event| kind(event) == kind_here).count(),
        kind: kind_here,
    }
}

/// Plans a fault for the event at this place of the next run; the result says whether it has happened.
fn fail_at(server: &Server, place: &Place, fault: Fault) -> Arc<AtomicBool> {
    let happened = Arc::new(AtomicBool::new(false));
    let (place, seen) = (place.clone(), happened.clone());
    let mut before = 0;
    let is_there = move |event: &Event| {
        let is_here = kind(event) == place.kind;
        let is_due = is_here && before == place.before;
        before += usize::from(is_here);
        if is_due {
            seen.store(true, Ordering::SeqCst);
        }
        is_due
    };
    server.faults().once(is_there, fault);
    happened
}

/// All faults except the stall, which takes time.
fn faults() -> Vec<(&'static str, Fault)> {
    let instead = |line: &str| Fault::Instead(line.to_owned());
    vec![
        ("EOF", Fault::Eof),
        ("RST", Fault::Reset),
        ("half a line", Fault::HalfThenEof),
        ("garbage", instead("\u{1b}[2J?%&{99999999999999999999}")),
        ("garbage before", Fault::Before("?%& \"( {5".to_owned())),
        (
            "an odd response before",
            Fault::Before("* X-ODD (\"a\" {3}\r\nabc NIL)".to_owned()),
        ),
        ("NO", instead("<T> NO not now")),
        ("BAD", instead("<T> BAD what?")),
        (
            "NO of the server's",
            instead("<T> NO [UNAVAILABLE] Temporary System Problem."),
        ),
        ("BYE", instead("* BYE going down")),
        (
            "BYE of a quota",
            instead("* BYE [OVERQUOTA] Account exceeded command or bandwidth limits."),
        ),
    ]
}

/// A server that stores a message and responds that it has not: no client can handle that.
fn contradicts_storing(event: &Event, fault: &str) -> bool {
    event.is_line("OK [APPENDUID") && ["NO", "BAD", "NO of the server's"].contains(&fault)
}

/// After a tagged response in place of an untagged line there comes another one; after one in place of
/// a `+` the double still waits for the literal, so that both sides wait.
fn leaves_both_waiting(event: &Event, fault: &str) -> bool {
    let is_tagged = fault.starts_with("NO") || fault == "BAD";
    let is_untagged_line =
        matches!(&event.kind, EventKind::Line(line) if line.starts_with(['+', '*']));
    is_tagged && is_untagged_line
}

/// Whether this fault is tried at this event, by their indices.
fn is_tried(event: usize, fault: usize) -> bool {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let shift: usize = variable("SHIFT").unwrap_or(0);
    variable("EVERY").unwrap_or(0) == 1 || (event + fault + shift).is_multiple_of(25)
}

fn fail_everywhere(side: Side, unfinished: Unfinished) {
    let events = events(side);
    assert!(events.len() > 20, "{events:#?}");
    let mut failed = Vec::new();
    let (mut tried, mut happened) = (0, 0);
    for (index, event) in events.iter().enumerate() {
        for (number, (name, fault)) in faults().into_iter().enumerate() {
            if !is_tried(index, number)
                || contradicts_storing(event, name)
                || leaves_both_waiting(event, name)
            {
                continue;
            }
            let what = format!("{name} at {event:?}");
            let home = home_with_all_work(unfinished);
            // All are tried, so that one run of the test shows every failure.
            tried += 1;
            let has_happened = fail_at(side(&home), &place(&events, index), fault);
            let result = catch_unwind(AssertUnwindSafe(|| {
                fail_once(&home, side, event, &events, &what);
            }));
            happened += usize::from(has_happened.load(Ordering::SeqCst));
            if result.is_err() {
                failed.push(what);
                home.source.take_violations();
                home.gmail.take_violations();
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    // How messages share connections and commands differs a little from run to run.
    assert!(happened * 10 >= tried * 9, "{happened} of {tried} faults");
}

fn fail_once(home: &Home, side: Side, event: &Event, events: &[Event], what: &str) {
    let before = side(home).commands().len();
    let run = home.run();
    assert!(matches!(run.status, Some(0 | 69 | 77)), "{what}: {run:?}");
    assert!(
        run.status != Some(77) || is_log_in(event),
        "{what}: {run:?}"
    );
    let commands = side(home).commands().len() - before;
    assert!(commands <= 3 * events.len(), "{what}: {commands} commands");
    recover(home, what);
}

/// Whether the event belongs to a log-in: a rejected log-in needs the user.
fn is_log_in(event: &Event) -> bool {
    matches!(
        event.kind,
        EventKind::Reply(_) | EventKind::LoggedIn(_) | EventKind::Line(_)
    ) || event.is_command("AUTHENTICATE")
}

/// Two runs without faults after all pauses are over.
fn recover(home: &Home, what: &str) {
    home.source.faults().clear();
    home.gmail.faults().clear();
    assert_no_contact_while_resting(home, what);
    home.gmail.clock().advance(Duration::from_secs(10));
    // The pauses of Gmail and of parked messages end, and cut appends are stored.
    for _ in 0..2 {
        home.age_by_minutes(60);
        let run = home.run();
        assert_eq!(run.status, Some(0), "{what}: {run:?}");
    }
    let difference = difference(home);
    assert!(difference.is_empty(), "{what}: {difference:?}");
    let state = home.state();
    assert_eq!(
        state["parked"].as_object().unwrap().len(),
        1,
        "{what}: {state}"
    );
    assert_eq!(state["refused"], json!({}), "{what}");
}

/// A run at once after the run contacts no server that rests.
fn assert_no_contact_while_resting(home: &Home, what: &str) {
    let until = |value: &serde_json::Value| -> Option<chrono::DateTime<Utc>> {
        value.as_str().and_then(|time| time.parse().ok())
    };
    let state = home.state();
    let soon = Utc::now() + TimeDelta::seconds(10);
    let rests = |value| until(value).is_some_and(|time| time > soon);
    let (log_ins, connections) = (home.source.connections(), home.gmail.connections());
    let appended = home.gmail.commands().len();
    let run = home.run();
    if rests(&state["gmail"]["retry_after"]) {
        assert_eq!(home.gmail.connections(), connections, "{what}: {run:?}");
    }
    if rests(&state["source"]["retry_after"]) {
        assert_eq!(home.source.connections(), log_ins, "{what}: {run:?}");
        assert_eq!(run.status, Some(77), "{what}");
    }
    let sizes: Vec<String> = home.gmail.commands()[appended..]
        .iter()
        .filter_map(|line| Some(line.strip_prefix("APPEND")?.rsplit_once('{')?.1.to_owned()))
        .collect();
    for parked in state["parked"].as_object().unwrap() {
        let (uid, parked) = parked;
        if !rests(&parked["retry_after"]) {
            continue;
        }
        let all: Vec<Vec<u8>> = before().into_iter().chain(new()).collect();
        let octets = &all[uid.parse::<usize>().unwrap() - 1];
        let has_size_of_its_own = all
            .iter()
            .filter(|other| other.len() == octets.len())
            .count()
            == 1;
        let is_sent = sizes.contains(&format!("{}}}", octets.len()));
        assert!(
            !(has_size_of_its_own && is_sent),
            "{what}: uid {uid} is sent again at once"
        );
    }
}

#[test]
fn the_source_may_fail_in_every_way_at_every_event() {
    fail_everywhere(source, Unfinished::Forgotten);
}

#[test]
fn gmail_may_fail_in_every_way_at_every_event_and_drop_cut_appends() {
    fail_everywhere(gmail, Unfinished::Forgotten);
}

#[test]
fn gmail_may_fail_in_every_way_at_every_event_and_store_cut_appends() {
    fail_everywhere(gmail, Unfinished::Stored);
}

#[test]
fn gmail_may_fail_in_every_way_at_every_event_and_store_cut_appends_five_seconds_later() {
    fail_everywhere(gmail, Unfinished::StoredAfter(Duration::from_secs(5)));
}

/// A run in this process with short time-outs.
fn run_with_short_timeouts(home: &Home) {
    let _ = run_here(home, &[]);
}

/// The same, with labels.
fn run_here(home: &Home, labels: &[&str]) -> Result<PassReport> {
    let timeouts = Timeouts {
        response: Duration::from_millis(400),
        command: Duration::from_secs(4),
        ..Timeouts::default()
    };
    // Relative paths would be relative to this process's folder.
    for (field, file) in [
        ("source_ca_file", "source.pem"),
        ("target_ca_file", "gmail.pem"),
        ("target_token_file", "token.json"),
    ] {
        home.configure(&json!({ field: home.path(file) }));
    }
    let config = Config::load(&home.path("config.json"), &Environment::of_this_process()).unwrap();
    let disk = Box::new(FolderStorage::new(&home.path("sync_state.json")));
    let mut store = StateStore::load(disk, Utc::now()).unwrap();
    let started = Utc::now();
    let password = config.source.password.read().unwrap();
    let (mut source, mailbox) = ImapSource::open(&config.source, password, timeouts)?;
    let mut gmail = GmailTarget::new(gmail_imap::GmailTargetOptions {
        config: config.target.clone(),
        now: Arc::new(Utc::now),
        connection: timeouts.into(),
        rejected_token: None,
        renewal: RenewalPolicy::Save,
    });
    let settings = sync::PassOptions {
        source: config.source_name(),
        first_run_days: config.first_run_days,
        copy_flags: config.copy_flags,
        daily_upload_limit: config.daily_upload_limit,
        since: None,
        target_folder: config.target.folder.clone(),
        labels: labels.iter().map(|&it| it.to_owned()).collect(),
        labels_moved: false,
        sets_labels: true,
        import: None,
        one_of_several: None,
    };
    let pass = Pass {
        source: &mut source,
        target: &mut gmail,
        store: &mut store,
        options: &settings,
        progress: &mut (),
        now: &Utc::now,
    };
    let done = pass.run(&mailbox, started);
    let done = done.and_then(|pass| pass.labels.map(|()| pass.report));
    gmail.close();
    source.logout();
    store.fold(Utc::now()).unwrap();
    done
}

/// A stall costs time, so only every ninth event is tried.
fn stall_everywhere(side: Side) {
    let events = events(side);
    for index in (0..events.len()).step_by(9) {
        let event = &events[index];
        let what = format!("stall at {event:?}");
        let home = home_with_all_work(Unfinished::Stored);
        fail_at(side(&home), &place(&events, index), Fault::Stall);
        let begun = Instant::now();
        run_with_short_timeouts(&home);
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        // Stalled events happen now or never.
        side(&home).faults().release();
        recover(&home, &what);
    }
}

#[test]
fn the_source_may_stall() {
    stall_everywhere(source);
}

#[test]
fn gmail_may_stall() {
    stall_everywhere(gmail);
}

type Condition = Box<dyn Fn(&Event) -> bool + Send>;

/// A server that fails in the same way for ever is not retried without end.
#[test]
fn a_server_that_fails_for_ever_is_not_retried_without_end() {
    let no = |text: &str| Fault::Instead(format!("<T> {text}"));
    let command = |name: &'static str| move |event: &Event| event.is_command(name);
    let cases: Vec<(&str, Side, Condition, Fault)> = vec![
        (
            "no greeting",
            source,
            Box::new(|event| event.kind == EventKind::Connected),
            Fault::Reset,
        ),
        (
            "no EXAMINE",
            source,
            Box::new(command("EXAMINE")),
            Fault::Eof,
        ),
        (
            "no FETCH",
            source,
            Box::new(command("UID FETCH")),
            Fault::Eof,
        ),
        (
            "FETCH is refused",
            source,
            Box::new(command("UID FETCH")),
            no("NO not that"),
        ),
        (
            "no greeting",
            gmail,
            Box::new(|event| event.kind == EventKind::Connected),
            Fault::Reset,
        ),
        (
            "no log-in",
            gmail,
            Box::new(command("AUTHENTICATE")),
            no("NO [UNAVAILABLE] Temporary System Problem."),
        ),
        (
            "no SEARCH",
            gmail,
            Box::new(command("UID SEARCH")),
            Fault::Eof,
        ),
        ("no APPEND", gmail, Box::new(command("APPEND")), Fault::Eof),
        (
            "APPEND is refused",
            gmail,
            Box::new(Event::is_literal),
            no("NO Unable to append"),
        ),
        (
            "APPEND is lost",
            gmail,
            Box::new(Event::is_literal),
            Fault::Eof,
        ),
        (
            "too much",
            gmail,
            Box::new(Event::is_literal),
            Fault::Instead(
                "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.".to_owned(),
            ),
        ),
    ];
    for (what, side, condition, fault) in cases {
        let home = home_with_all_work(Unfinished::Stored);
        side(&home).faults().always(condition, fault);
        for number in 0..4 {
            let count = || {
                let (source, gmail) = (source(&home), gmail(&home));
                (
                    source.connections() + gmail.connections(),
                    source.commands().len() + gmail.commands().len(),
                )
            };
            let (before, at_gmail) = (count(), gmail(&home).connections());
            let run = home.run();
            assert!(matches!(run.status, Some(0 | 69)), "{what}: {run:?}");
            if number > 0 && ["APPEND is refused", "too much"].contains(&what) {
                assert_eq!(
                    gmail(&home).connections(),
                    at_gmail,
                    "{what}: it does not rest"
                );
            }
            let (connections, commands) = (count().0 - before.0, count().1 - before.1);
            // A listing that breaks is narrowed down to one message, in 24 connections, for new and
            // for retried messages each.
            assert!(
                connections <= 60,
                "{what}, run {number}: {connections} connections"
            );
            // Five commands a connection: CAPABILITY, AUTHENTICATE, ID, EXAMINE and the one that fails.
            assert!(commands <= 300, "{what}, run {number}: {commands} commands");
        }
        recover(&home, what);
    }
}

#[test]
fn gmail_that_limits_the_account_in_any_response_makes_it_rest_and_that_is_no_failure() {
    let bye = "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.";
    let whole = home_with_all_work(Unfinished::Stored);
    whole.run_ok();
    let commands: BTreeSet<String> = whole
        .gmail
        .commands()
        .iter()
        .map(|command| command.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let home = home_with_all_work(Unfinished::Stored);
        let name = command.clone();
        home.gmail.faults().always(
            move |event| event.is_command(&name),
            Fault::Instead(bye.to_owned()),
        );
        let run = home.run();
        // The response to LOGOUT and the like changes nothing.
        let rests = home.state()["gmail"]["retry_after"].is_string();
        let is_done = home.gmail.messages("INBOX").len() == whole.gmail.messages("INBOX").len();
        assert!(rests || is_done, "{command}: {run:?}");
        assert_eq!(run.status, Some(0), "{command}: {run:?}");
    }
}

/// A home with a large message and seven small ones, which follow it before it is answered.
fn home_with_small_mail(unfinished: Unfinished) -> (Home, Vec<Vec<u8>>) {
    let gmail = GmailOptions {
        deduplicates: false,
        unfinished,
        ..GmailOptions::default()
    };
    let home = Home::with(SourceOptions::default(), gmail);
    home.configure(&json!({ "target_connections": 1 }));
    let mut mails = vec![mail("large", "large", &"large ".repeat(1_000))];
    mails.extend((1..6).map(|number| mail(&format!("small-{number}"), "small", "x")));
    mails.extend(
        ["one", "two"].map(|body| format!("Subject: no id\r\n\r\n{body}\r\n").into_bytes()),
    );
    deliver(&home, mails.clone());
    // The others are fetched meanwhile.
    let pause = Fault::Pause(Duration::from_millis(150));
    home.gmail
        .faults()
        .once(|event| event.is_line("+ go ahead"), pause);
    (home, mails)
}

#[test]
fn a_cut_between_several_open_appends_loses_and_doubles_none_of_them() {
    type Is = fn(&Event) -> bool;
    let cuts: [(&str, Is); 4] = [
        ("before a message", |event| {
            matches!(event.kind, EventKind::LiteralBegins(_))
        }),
        ("in a message", |event| {
            matches!(event.kind, EventKind::LiteralHalf(_))
        }),
        ("after a message", Event::is_literal),
        ("before an OK", |event| event.is_line("OK [APPENDUID")),
    ];
    let (mut most_uncertain, mut tried) = (0, 0);
    for unfinished in [
        Unfinished::Forgotten,
        Unfinished::Stored,
        Unfinished::StoredAfter(Duration::from_secs(5)),
    ] {
        for (what, is_it) in cuts {
            // Each kind at another message of the eight, one after the other.
            let number = 2 + tried % 5;
            tried += 1;
            let what = format!("{unfinished:?}, {what} {number}");
            let (home, mails) = home_with_small_mail(unfinished);
            let mut count = 0;
            let is_due = move |event: &Event| {
                count += usize::from(is_it(event));
                is_it(event) && count == number
            };
            home.gmail.faults().once(is_due, Fault::Eof);
            let run = home.run();
            assert!(matches!(run.status, Some(0 | 69)), "{what}: {run:?}");
            let log = format!("{}{}", run.stdout, run.stderr);
            most_uncertain = most_uncertain.max(log.matches("after the message was sent").count());
            home.gmail.faults().clear();
            home.gmail.clock().advance(Duration::from_secs(10));
            for _ in 0..2 {
                home.age_by_minutes(60);
                let run = home.run();
                assert_eq!(run.status, Some(0), "{what}: {run:?}");
            }
            let expected: BTreeMap<String, usize> = mails
                .iter()
                .map(|octets| (octets.escape_ascii().to_string(), 1))
                .collect();
            assert_eq!(delivered(&home), expected, "{what}");
        }
    }
    assert!(
        most_uncertain > 1,
        "never were several open: {most_uncertain}"
    );
}

/// The peak memory of a run in KiB.
fn peak_of_a_run(home: &Home) -> u64 {
    let mut run = home
        .command()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let deadline = Instant::now() + Duration::from_mins(2);
    while run.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", run.id()));
        // Until its exec is complete, it shows the memory of this process.
        let own = status
            .ok()
            .filter(|it| it.starts_with("Name:\timap-to-gmail-s"));
        let line = own.and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        });
        peak = peak.max(line.unwrap_or(0));
        assert!(Instant::now() < deadline, "the run does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
    peak
}

/// The limit of a run's memory in KiB: the 32 MiB limit of a response, and the program itself. Each
/// server here sends more.
const MAX_MEMORY: u64 = 56 * 1024;

#[test]
fn a_hostile_server_cannot_exceed_the_memory_limit() {
    let line = "x".repeat(64 << 20);
    let exists = "* 1000000 EXISTS\r\n".repeat(4_000_000);
    let fetches = "* 1 FETCH (FLAGS (\\Seen))\r\n".repeat(2_500_000);
    let cases = [
        ("an endless line", format!("* OK {line}")),
        (
            "an endless search",
            format!("* SEARCH{}", " 123456".repeat(9 << 20)),
        ),
        (
            "an endless literal",
            format!("* 1 FETCH (UID 5 BODY[] {{4000000000}}\r\n{line}"),
        ),
        (
            "an endless literal that nobody asked for",
            format!("* X {{4000000000}}\r\n{line}"),
        ),
        ("millions of EXISTS", exists),
        ("millions of FETCH", fetches),
        (
            "endless structure",
            format!("* 1 FETCH {}", "(".repeat(64 << 20)),
        ),
    ];
    for (what, line) in &cases {
        for (side, name) in [
            (source as Side, "UID FETCH"),
            (gmail, "UID SEARCH"),
            (source, "AUTHENTICATE"),
        ] {
            if name == "AUTHENTICATE" && *what != "an endless line" {
                continue;
            }
            let home = home_with_all_work(Unfinished::Forgotten);
            let is_it = move |event: &Event| event.is_command(name);
            side(&home)
                .faults()
                .once(is_it, Fault::Before(line.clone()));
            let peak = peak_of_a_run(&home);
            assert!(
                peak > 1_000 && peak < MAX_MEMORY,
                "{what} at {name}: {peak} KiB"
            );
        }
    }
}
