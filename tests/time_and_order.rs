//! Mail that arrives at unusual times, in an unusual order, or again: at the doubles, with Gmail's
//! deduplication off, so that duplicates are visible.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use double::{Event, Fault, GmailOptions, Mailboxes, Quirk, SourceOptions};
use serde_json::json;

use program::Home;

fn home() -> Home {
    home_with(SourceOptions::default())
}

fn home_with(source: SourceOptions) -> Home {
    let gmail = GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    };
    Home::with(source, gmail)
}

fn ago(time: TimeDelta) -> DateTime<FixedOffset> {
    (Utc::now() - time).fixed_offset()
}

fn an_hour_ago() -> DateTime<FixedOffset> {
    ago(TimeDelta::hours(1))
}

/// A message that is identified by its subject.
fn mail(subject: &str) -> Vec<u8> {
    format!("Message-ID: <{subject}@x>\r\nSubject: {subject}\r\n\r\nbody of {subject}\r\n").into()
}

/// A message without Message-ID.
fn mail_without_id(subject: &str) -> Vec<u8> {
    format!("Subject: {subject}\r\n\r\nbody of {subject}\r\n").into()
}

/// A message of a device that uses one id for all its mail.
fn mail_of_a_printer(subject: &str, body: &str) -> Vec<u8> {
    format!("Message-ID: <printer@x>\r\nSubject: {subject}\r\n\r\n{body}\r\n").into()
}

fn deliver(home: &Home, octets: &[u8]) -> u32 {
    home.source.deliver(octets, an_hour_ago(), &[])
}

/// The number of copies of each message in Gmail's inbox, by subject.
fn arrived(home: &Home) -> BTreeMap<String, usize> {
    let mut arrived = BTreeMap::new();
    for (octets, copies) in home.delivered() {
        let (_, rest) = octets.split_once("Subject: ").unwrap();
        let subject = rest.split("\\r\\n").next().unwrap();
        *arrived.entry(subject.to_owned()).or_default() += copies.len();
    }
    arrived
}

/// Asserts that each of these is there once, and nothing else.
#[track_caller]
fn assert_arrived(home: &Home, subjects: &[&str]) {
    let expected: BTreeMap<String, usize> = subjects
        .iter()
        .map(|subject| ((*subject).to_owned(), 1))
        .collect();
    assert_eq!(arrived(home), expected);
}

fn appends(home: &Home) -> usize {
    let commands = home.gmail.commands();
    commands
        .iter()
        .filter(|command| command.starts_with("APPEND"))
        .count()
}

// Mail that arrives during a pass.

fn deliver_new(mailboxes: &Mailboxes) {
    mailboxes.deliver("INBOX", &mail("late"), an_hour_ago(), &[]);
}

/// For every event of a run: lets mail arrive at that event, in a prepared mailbox.
fn arrive_at_every_event(prepare: fn(&Home)) {
    let whole = home();
    prepare(&whole);
    let before = whole.source.events().len();
    whole.run_ok();
    let events = whole.source.events().len() - before;
    assert!(events > 10, "{events}");
    for event in 1..=events {
        let home = home();
        prepare(&home);
        let at = home.source.events().len() + event;
        home.source.faults().at(at, Fault::run(deliver_new));
        home.run_ok();
        home.run_ok();
        let late = arrived(&home);
        assert_eq!(late.get("late"), Some(&1), "at event {event}: {late:?}");
        assert!(late.values().all(|copies| *copies == 1), "{late:?}");
        assert!(late.contains_key("new"), "at event {event}: {late:?}");
    }
}

#[test]
fn mail_may_arrive_at_any_event_of_a_first_run() {
    arrive_at_every_event(|home| {
        deliver(home, &mail("new"));
    });
}

#[test]
fn mail_may_arrive_at_any_event_of_a_later_run() {
    arrive_at_every_event(|home| {
        deliver(home, &mail("first"));
        home.run_ok();
        deliver(home, &mail("new"));
    });
}

#[test]
fn mail_that_arrives_during_an_append_is_not_missed() {
    let home = home();
    deliver(&home, &mail("new"));
    let source = home.source.mailboxes();
    home.gmail.faults().once(
        Event::is_literal,
        Fault::run(move |_| {
            source.deliver("INBOX", &mail("late"), an_hour_ago(), &[]);
        }),
    );
    home.run_ok();
    home.run_ok();
    assert_arrived(&home, &["late", "new"]);
}

// Misleading dates.

#[test]
fn the_date_header_has_no_effect() {
    let home = home();
    home.run_ok();
    for year in [1970, 1999, 2099] {
        let octets = format!(
            "Message-ID: <{year}@x>\r\nDate: Fri, 1 Jan {year} 00:00:00 +0000\r\n\
             Subject: {year}\r\n\r\nbody\r\n"
        );
        deliver(&home, octets.as_bytes());
    }
    home.run_ok();
    assert_arrived(&home, &["1970", "1999", "2099"]);
}

/// A source that sends no INTERNALDATE.
fn home_without_arrival_dates() -> Home {
    home_with(SourceOptions {
        quirks: [Quirk::NoInternalDate].into(),
        ..SourceOptions::default()
    })
}

#[test]
fn without_an_arrival_date_gmail_gets_the_date_field_if_that_is_plausible() {
    let home = home_without_arrival_dates();
    home.run_ok();
    let dates = [
        (
            "Thu, 1 Feb 1996 10:00:60 +0100",
            "1996-02-01T10:00:59+01:00",
        ),
        ("Thu, 1 Jan 1970 00:00:00 +0000", ""),
        ("Fri, 1 Jan 2099 00:00:00 +0000", ""),
        ("yesterday", ""),
    ];
    for (date, _) in dates {
        let octets = format!("Message-ID: <{date}>\r\nDate: {date}\r\n\r\nbody\r\n");
        deliver(&home, octets.as_bytes());
    }
    home.run_ok();
    let stored = home.gmail.messages("INBOX");
    for (date, expected) in dates {
        let id = format!("<{date}>");
        let is_it = |octets: &[u8]| String::from_utf8_lossy(octets).contains(&id);
        let stored = stored.iter().find(|stored| is_it(&stored.octets)).unwrap();
        match DateTime::parse_from_rfc3339(expected) {
            Ok(expected) => assert_eq!(stored.internal_date, expected),
            Err(_) => assert!(stored.internal_date > ago(TimeDelta::hours(1)), "{date}"),
        }
    }
}

/// Only the server knows when it received these: it finds them by SINCE, or it does not.
#[test]
fn without_arrival_dates_a_first_run_copies_what_the_server_finds_by_day() {
    let home = home_without_arrival_dates();
    let octets = format!(
        "Date: Thu, 1 Feb 1996 10:00:00 +0100\r\nSubject: an old date field\r\n{}",
        "\r\nbody\r\n"
    );
    home.source.deliver(octets.as_bytes(), an_hour_ago(), &[]);
    let octets = octets.replace("an old date field", "long ago");
    let long_ago = ago(TimeDelta::days(900));
    home.source.deliver(octets.as_bytes(), long_ago, &[]);
    home.run_ok();
    assert_arrived(&home, &["an old date field"]);
}

#[test]
fn mail_with_an_old_arrival_date_that_is_added_between_two_runs_is_copied() {
    let home = home();
    deliver(&home, &mail("first"));
    home.run_ok();
    let years_ago = ago(TimeDelta::days(5_000));
    home.source.deliver(&mail("old"), years_ago, &["\\Seen"]);
    home.run_ok();
    assert_arrived(&home, &["first", "old"]);
    let stored = home.gmail.messages("INBOX");
    let old = stored.iter().find(|stored| stored.octets == mail("old"));
    assert_eq!(
        old.unwrap().internal_date.timestamp(),
        years_ago.timestamp()
    );
}

#[test]
fn a_first_run_copies_nothing_older_than_first_run_days() {
    let minute = TimeDelta::minutes(1);
    for zone in [0, 14, -12] {
        for days in [7, 1, 30] {
            let home = home_with(SourceOptions {
                zone: FixedOffset::east_opt(zone * 3_600).unwrap(),
                ..SourceOptions::default()
            });
            home.configure(&json!({ "first_run_days": days }));
            let edge = TimeDelta::hours(days * 24);
            for (subject, age) in [
                ("a moment ago", minute),
                ("just inside", edge - minute),
                ("just outside", edge + minute),
                ("a day outside", edge + TimeDelta::days(1)),
                ("long ago", TimeDelta::days(900)),
            ] {
                home.source.deliver(&mail(subject), ago(age), &[]);
            }
            home.run_ok();
            assert_arrived(&home, &["a moment ago", "just inside"]);
            home.run_ok();
            assert_arrived(&home, &["a moment ago", "just inside"]);
        }
    }
}

#[test]
fn after_a_first_run_of_zero_days_only_later_mail_is_copied() {
    let home = home();
    home.configure(&json!({ "first_run_days": 0 }));
    deliver(&home, &mail("before"));
    home.run_ok();
    deliver(&home, &mail("after"));
    home.run_ok();
    assert_arrived(&home, &["after"]);
}

#[test]
fn gmail_is_not_flooded_from_a_mailbox_that_a_migration_tool_has_filled() {
    let home = home();
    deliver(&home, &mail("new"));
    for year in 1..=5 {
        let date = ago(TimeDelta::days(365 * year));
        home.source
            .deliver(&mail(&format!("old {year}")), date, &[]);
    }
    deliver(&home, &mail("newer"));
    home.source
        .deliver(&mail("oldest"), ago(TimeDelta::days(9_000)), &[]);
    for _ in 0..3 {
        home.run_ok();
        assert_arrived(&home, &["new", "newer"]);
    }
    deliver(&home, &mail("newest"));
    home.run_ok();
    assert_arrived(&home, &["new", "newer", "newest"]);
}

// Renumbered UIDs.

/// A home with three copied messages, one of them without id.
fn home_with_three() -> Home {
    let home = home();
    for octets in [mail("one"), mail_without_id("two"), mail("three")] {
        deliver(&home, &octets);
    }
    home.run_ok();
    assert_arrived(&home, &["one", "three", "two"]);
    home
}

fn empty(home: &Home) {
    for stored in home.source.messages("INBOX") {
        home.source.expunge(stored.uid);
    }
}

#[test]
fn the_same_mail_under_another_uid_validity_is_not_sent_again() {
    let home = home_with_three();
    home.source.set_uid_validity(7);
    home.run_ok();
    home.run_ok();
    assert_eq!(appends(&home), 3);
    assert_eq!(home.state()["cursor"]["uid_validity"], 7);
    deliver(&home, &mail("four"));
    home.run_ok();
    assert_arrived(&home, &["four", "one", "three", "two"]);
}

#[test]
fn other_mail_under_another_uid_validity_is_copied() {
    let home = home_with_three();
    empty(&home);
    home.source.set_uid_validity(7);
    for octets in [mail("four"), mail("one"), mail_without_id("five")] {
        deliver(&home, &octets);
    }
    home.run_ok();
    assert_arrived(&home, &["five", "four", "one", "three", "two"]);
    assert_eq!(appends(&home), 5);
}

#[test]
fn old_mail_under_another_uid_validity_is_not_copied() {
    let home = home_with_three();
    for year in 1..=5 {
        let date = ago(TimeDelta::days(365 * year));
        home.source
            .deliver(&mail(&format!("old {year}")), date, &[]);
    }
    home.source.set_uid_validity(7);
    home.run_ok();
    home.run_ok();
    assert_arrived(&home, &["one", "three", "two"]);
}

#[test]
fn an_empty_mailbox_under_another_uid_validity_has_nothing_new() {
    let home = home_with_three();
    empty(&home);
    home.source.set_uid_validity(7);
    home.run_ok();
    assert_eq!(home.state()["cursor"]["uid_validity"], 7);
    assert_eq!(home.state()["cursor"]["uid"], 0);
    home.run_ok();
    // The old messages come back, with a new one.
    for octets in [mail("one"), mail("new"), mail_without_id("two")] {
        deliver(&home, &octets);
    }
    home.run_ok();
    assert_arrived(&home, &["new", "one", "three", "two"]);
}

#[test]
fn a_restored_backup_under_the_same_uid_validity_is_noticed() {
    let home = home_with_three();
    home.source.expunge(3);
    home.source.mailboxes().set_uid_next("INBOX", 3);
    home.run_ok();
    assert_eq!(appends(&home), 3);
    deliver(&home, &mail("under a uid that was"));
    home.run_ok();
    assert_arrived(&home, &["one", "three", "two", "under a uid that was"]);
}

// Mail that arrives again.

#[test]
fn a_message_that_is_moved_out_and_back_is_not_sent_again() {
    let home = home_with_three();
    let source = home.source.mailboxes();
    source.create("Archive");
    for uid in 1..=3 {
        source.move_to("INBOX", uid, "Archive");
    }
    home.run_ok();
    for stored in source.messages("Archive") {
        source.move_to("Archive", stored.uid, "INBOX");
    }
    assert_eq!(source.messages("INBOX").len(), 3);
    home.run_ok();
    home.run_ok();
    assert_eq!(appends(&home), 3);
}

#[test]
fn messages_of_the_same_octets_without_message_id_all_arrive() {
    let home = home();
    deliver(&home, &mail_without_id("alarm"));
    deliver(&home, &mail_without_id("alarm"));
    home.run_ok();
    assert_eq!(appends(&home), 2);
    let run = home.run_ok();
    assert_eq!(appends(&home), 2, "{run:?}");
    deliver(&home, &mail_without_id("alarm"));
    home.run_ok();
    assert_eq!(appends(&home), 3);
}

#[test]
fn different_messages_under_one_id_all_arrive() {
    let printed = [
        ("scan 1", "page"),
        ("scan 2", "page"),
        ("scan 2", "another"),
    ];
    // In one run, and in a run for each.
    for runs_between in [false, true] {
        let home = home();
        for (subject, body) in printed {
            deliver(&home, &mail_of_a_printer(subject, body));
            if runs_between {
                home.run_ok();
            }
        }
        home.run_ok();
        let expected = [("scan 1".to_owned(), 1), ("scan 2".to_owned(), 2)];
        assert_eq!(arrived(&home), BTreeMap::from(expected));
        assert_eq!(home.delivered().len(), 3, "each once");
    }
}

#[test]
fn a_message_that_gmail_already_has_is_not_sent_and_another_with_its_id_is() {
    let home = home();
    let there = mail_of_a_printer("scan 1", "page one");
    home.gmail.deliver(&there, an_hour_ago(), &[]);
    deliver(&home, &there);
    deliver(&home, &mail_of_a_printer("scan 2", "page two"));
    home.run_ok();
    assert_arrived(&home, &["scan 1", "scan 2"]);
    assert_eq!(appends(&home), 1);
    // Also later, when the id is known.
    let there = mail_of_a_printer("scan 3", "page three");
    home.gmail.deliver(&there, an_hour_ago(), &[]);
    deliver(&home, &there);
    deliver(&home, &mail_of_a_printer("scan 4", "page four"));
    home.run_ok();
    assert_arrived(&home, &["scan 1", "scan 2", "scan 3", "scan 4"]);
    assert_eq!(appends(&home), 2);
}

#[test]
fn an_old_copy_at_gmail_under_a_reused_id_does_not_hide_new_mail() {
    let home = home();
    let old = mail_of_a_printer("scan of last year", "old");
    home.gmail.deliver(&old, ago(TimeDelta::days(365)), &[]);
    deliver(&home, &mail_of_a_printer("scan of today", "new"));
    home.run_ok();
    assert_arrived(&home, &["scan of last year", "scan of today"]);
}

#[test]
fn what_the_user_deleted_or_archived_at_gmail_is_not_copied_again() {
    let home = home_with_three();
    let inbox = home.gmail.messages("INBOX");
    home.gmail.trash(inbox[0].uid);
    home.gmail.archive(inbox[2].uid);
    assert_eq!(home.gmail.in_trash().len(), 1);
    home.run_ok();
    // The UIDs are renumbered.
    home.source.set_uid_validity(7);
    home.run_ok();
    assert_eq!(appends(&home), 3);
    // They are moved out and back.
    let source = home.source.mailboxes();
    source.create("Archive");
    for stored in source.messages("INBOX") {
        source.move_to("INBOX", stored.uid, "Archive");
    }
    for stored in source.messages("Archive") {
        source.move_to("Archive", stored.uid, "INBOX");
    }
    home.run_ok();
    assert_eq!(appends(&home), 3);
}

#[test]
fn after_the_loss_of_the_state_what_the_user_deleted_at_gmail_is_not_copied_again() {
    let home = home();
    for subject in ["thrown away", "archived", "in the inbox"] {
        deliver(&home, &mail(subject));
    }
    home.run_ok();
    let inbox = home.gmail.messages("INBOX");
    home.gmail.trash(inbox[0].uid);
    home.gmail.archive(inbox[1].uid);
    std::fs::remove_file(home.path("sync_state.json")).unwrap();
    home.run_ok();
    assert_arrived(&home, &["in the inbox"]);
    assert_eq!(appends(&home), 3);
}

// Older mail, on request.

fn since(days: i64) -> String {
    let day = (Utc::now() - TimeDelta::days(days)).date_naive();
    format!("--since={day}")
}

/// Runs the program with an option and asserts that it exits with 0.
fn run_with(home: &Home, option: &str) -> program::Run {
    let run = home.run_with(&[option]);
    assert_eq!(run.status, Some(0), "{run:?}");
    run
}

#[test]
fn older_mail_is_copied_on_request_and_nothing_twice() {
    let home = home();
    for (subject, days) in [("year", 365), ("month", 40), ("week", 5)] {
        home.source
            .deliver(&mail(subject), ago(TimeDelta::days(days)), &[]);
        let octets = mail_without_id(&format!("{subject}-without-id"));
        home.source
            .deliver(&octets, ago(TimeDelta::days(days)), &[]);
    }
    home.run_ok();
    assert_arrived(&home, &["week", "week-without-id"]);
    run_with(&home, &since(50));
    let month = ["week", "week-without-id", "month", "month-without-id"];
    assert_arrived(&home, &month);
    run_with(&home, &since(50));
    home.run_ok();
    assert_arrived(&home, &month);
}

#[test]
fn a_request_for_older_mail_does_not_miss_what_a_date_pass_would() {
    let home = home();
    deliver(&home, &mail("first"));
    home.run_ok();
    // Moved in since the last run: above the cursor, and older than the request.
    home.source
        .deliver(&mail("moved"), ago(TimeDelta::days(300)), &[]);
    run_with(&home, &since(20));
    assert_arrived(&home, &["first", "moved"]);
}

#[test]
fn a_first_run_goes_back_to_the_requested_day_instead_of_seven() {
    let home = home();
    home.source
        .deliver(&mail("day"), ago(TimeDelta::days(2)), &[]);
    home.source
        .deliver(&mail("week"), ago(TimeDelta::days(5)), &[]);
    run_with(&home, &since(3));
    home.run_ok();
    assert_arrived(&home, &["day"]);
}

#[test]
fn a_request_that_is_cut_short_is_finished_by_the_next_run() {
    let home = home();
    deliver(&home, &mail("first"));
    for subject in ["a", "b", "c"] {
        home.source
            .deliver(&mail(subject), ago(TimeDelta::days(100)), &[]);
    }
    home.run_ok();
    home.gmail
        .faults()
        .always(|event| event.is_command("APPEND"), Fault::Eof);
    // Each of them is parked, one after the other or all at once.
    let run = home.run_with(&[&since(200)]);
    assert!(matches!(run.status, Some(0 | 69)), "{run:?}");
    assert_arrived(&home, &["first"]);
    home.gmail.faults().clear();
    // If they failed one after the other, the account rests.
    home.age_by_minutes(20);
    home.run_ok();
    assert_arrived(&home, &["first", "a", "b", "c"]);
}

#[test]
fn after_a_request_equal_mail_without_id_is_still_new_mail() {
    let home = home();
    home.run_ok();
    // Moved in, and older than the request: it keeps its UID and is not listed by the request.
    let long_ago = ago(TimeDelta::days(100));
    let alarm = mail_without_id("alarm");
    home.source.deliver(&alarm, long_ago, &[]);
    home.run_ok();
    run_with(&home, &since(20));
    home.source.deliver(&alarm, long_ago, &[]);
    home.run_ok();
    assert_eq!(arrived(&home)["alarm"], 2);
    // Both are found by this one, under their own UIDs.
    run_with(&home, &since(200));
    assert_eq!(arrived(&home)["alarm"], 2);
}

#[test]
fn a_request_while_gmail_rests_is_not_dropped_in_silence() {
    let home = home();
    home.run_ok();
    let mut state = home.state();
    state["gmail"]["retry_after"] = json!(Utc::now() + TimeDelta::minutes(10));
    home.write("sync_state.json", &state.to_string());
    let run = home.run_with(&["--quiet", &since(9)]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(
        run.logged("warn")
            .contains(&"--since had no effect; repeat it in a later run"),
        "{run:?}"
    );
}

#[test]
fn a_request_that_fails_before_it_begins_is_not_dropped_in_silence() {
    let home = home();
    home.run_ok();
    home.source
        .faults()
        .always(|event| event.is_command("EXAMINE"), Fault::Eof);
    let run = home.run_with(&["--quiet", &since(9)]);
    assert_eq!(run.status, Some(69), "{run:?}");
    assert!(run.stdout.contains("--since had no effect"), "{run:?}");
}

#[test]
fn a_request_while_another_run_holds_the_lock_is_not_dropped_in_silence() {
    let home = home();
    home.run_ok();
    let lock = std::fs::File::open(home.path("sync_state.json.lock")).unwrap();
    lock.lock().unwrap();
    let run = run_with(&home, &since(9));
    assert!(run.stdout.contains("had no effect"), "{run:?}");
}

#[test]
fn a_dry_run_shows_each_requested_message_once() {
    let home = home();
    deliver(&home, &mail("first"));
    home.run_ok();
    let mut state = home.state();
    state["synced_message_ids"]["<first@x>"] = json!(Utc::now() - TimeDelta::hours(1));
    home.write("sync_state.json", &state.to_string());
    deliver(&home, &mail("new"));
    home.source
        .deliver(&mail("old"), ago(TimeDelta::days(30)), &[]);
    let run = home.run_with(&["--dry-run", &since(60)]);
    let day = (Utc::now() - TimeDelta::days(60)).date_naive();
    let total = format!("2 messages would be copied, received since {day} 00:00:00");
    assert!(run.stdout.contains(&total), "{run:?}");
    for (id, result) in [
        ("<first@x>", "already there"),
        ("<new@x>", "new"),
        ("<old@x>", "new"),
    ] {
        let lines: Vec<&str> = run
            .stdout
            .lines()
            .filter(|line| line.contains(id))
            .collect();
        assert_eq!(lines.len(), 1, "{run:?}");
        assert!(lines[0].ends_with(result), "{run:?}");
    }
}

#[test]
fn mail_whose_id_is_missing_or_not_ascii_is_found_at_gmail_after_the_state_is_lost() {
    let home = home();
    let odd = [
        mail_without_id("without"),
        b"Message-ID: <gr\xc3\xbcn@x>\r\nSubject: utf8\r\n\r\nbody\r\n".to_vec(),
        b"Message-ID: <gr\xfcn@x>\r\nSubject: latin1\r\n\r\nbody\r\n".to_vec(),
        format!(
            "Message-ID: <{}@x>\r\nSubject: long\r\n\r\nbody\r\n",
            "\\".repeat(3_950)
        )
        .into(),
    ];
    for octets in &odd {
        deliver(&home, octets);
    }
    home.run_ok();
    let all = ["without", "utf8", "latin1", "long"];
    assert_arrived(&home, &all);
    for file in ["sync_state.json", "sync_state.json.journal"] {
        let _ = std::fs::remove_file(home.path(file));
    }
    home.run_ok();
    assert_arrived(&home, &all);
    // Another message of the same fields, and of the same octets at another time, is another one.
    home.source
        .deliver(&odd[0], ago(TimeDelta::minutes(30)), &[]);
    deliver(&home, b"Subject: without\r\n\r\nanother body\r\n");
    std::fs::remove_file(home.path("sync_state.json")).unwrap();
    home.run_ok();
    assert_eq!(arrived(&home)["without"], 3);
}

#[test]
fn on_a_terminal_older_mail_is_copied_only_after_a_yes() {
    let home = home();
    home.run_ok();
    let received = (Utc::now() - TimeDelta::days(100)).fixed_offset();
    let octets = b"Message-ID: <old@x>\r\nSubject: old\r\n\r\nold\r\n";
    home.source.deliver(octets, received, &[]);
    let since = (received - TimeDelta::days(1)).format("%Y-%m-%d");
    home.age_by_minutes(2);
    let answer = |answer: &str| {
        let program = env!("CARGO_BIN_EXE_imap-to-gmail-sync");
        let command = format!("{program} --config config.json --since {since}");
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]);
        script.current_dir(home.path("")).env("TERM", "xterm");
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().unwrap();
        let mut stdin = script.stdin.take().unwrap();
        stdin.write_all(answer.as_bytes()).unwrap();
        let output = script.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for refusal in ["n\n", "\n", "maybe\n"] {
        let shown = answer(refusal);
        assert!(shown.contains("Go on? [y/N]"), "{shown}");
        assert_eq!(home.gmail.all_mail().len(), 0, "{refusal:?}");
    }
    let shown = answer("yes\n");
    assert!(shown.contains("that is done within a day"), "{shown}");
    assert_eq!(home.gmail.all_mail().len(), 1);
}
