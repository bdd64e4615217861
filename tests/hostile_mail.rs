//! Malformed and malicious mail from a source to Gmail: all of it arrives octet for octet, or the log
//! says why not; none of it injects an IMAP command or a log line.

// A test fails by a panic, in its support code as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, TimeDelta};
use double::{GmailOptions, MessageFault, Quirk, SourceOptions, date};
use serde_json::{Value, json};

use program::{Home, Run};

/// A message and its expected outcome.
struct Mail {
    name: &'static str,
    octets: Vec<u8>,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It arrives, with these octets.
    Arrives(Vec<u8>),
    /// It is a duplicate of another one, which arrives.
    IsAnother,
    /// Gmail rejects it: it is parked, and this is logged.
    Parked(&'static str),
}

/// A message that arrives unchanged.
fn mail(name: &'static str, octets: impl AsRef<[u8]>) -> Mail {
    let octets = octets.as_ref().to_vec();
    Mail {
        name,
        outcome: Outcome::Arrives(octets.clone()),
        octets,
    }
}

/// A message with this id, valid or not.
fn with_id(name: &'static str, id: impl AsRef<[u8]>) -> Mail {
    let octets = [
        b"Message-ID: ",
        id.as_ref(),
        b"\r\nSubject: ",
        name.as_bytes(),
        b"\r\n\r\nbody\r\n",
    ];
    mail(name, octets.concat())
}

fn parked(name: &'static str, octets: &[u8]) -> Mail {
    Mail {
        name,
        octets: octets.to_vec(),
        outcome: Outcome::Parked("Unable to parse message"),
    }
}

/// The beginning of a log line that a message tries to forge.
const FORGED: &str = "1999-01-01 00:00:00 error";

/// Unusual and malformed ids.
fn odd_ids() -> Vec<Mail> {
    let long = format!("<{}@x>", "l".repeat(2_000));
    vec![
        mail("no id", "Subject: no id\r\n\r\nbody\r\n"),
        with_id("an id", "<plain@x>"),
        mail(
            "the same id again",
            "Message-ID: <plain@x>\r\nSubject: another\r\n\r\nanother body\r\n",
        ),
        with_id("quotes", "<a\"b\"c@x>"),
        with_id("a quote alone", "<a\"@x>"),
        with_id("backslashes", "<a\\b\\\"c\\@x>"),
        with_id("a backslash at the end", "<a@x>\\"),
        with_id("blanks", "<a b  c@x>"),
        with_id("braces", "<a{b}@x>"),
        with_id("per cent and star", "<%d%n*@x>"),
        with_id("latin 1", b"<gr\xfc\xdfe@x>"),
        with_id("utf-8", "<grüße@x>"),
        with_id("2,000 characters", long),
        with_id("folded", "\r\n <folded@x>"),
        with_id("folded in itself", "<fol\r\n\tded@x>"),
        with_id("empty", ""),
        with_id("blank", "  \t "),
        with_id("no more than its brackets", "<>"),
        with_id("two fields", "<first@x>\r\nMessage-ID: <second@x>"),
        with_id("no brackets", "bare@x"),
    ]
}

/// Ids with IMAP commands, log lines and terminal escapes.
fn hostile_ids() -> Vec<Mail> {
    vec![
        with_id("ends the string", "<a@x>\" NOT DELETED"),
        with_id("ends the string and the line", "<a@x>\"\r\n b LOGOUT"),
        with_id("a bare CR and a command", "<a\rb LOGOUT\r@x>"),
        with_id("a bare LF and a command", "<a\n b LOGOUT\n @x>"),
        with_id("a literal", "<a@x> {6}"),
        with_id("a literal that waits for nobody", "<a@x> {6+}\r\n LOGOUT"),
        with_id("Gmail's own search", "<a{%} OR in:trash@x>"),
        with_id("Gmail's own search, quoted", "<a{%}\" OR \"in:trash@x>"),
        with_id("an escape", "<\x1b[2J\x1b]0;title\x07@x>"),
        with_id("the 8-bit escape", "<\u{9b}2J@x>"),
        with_id("turns the line round", "<\u{202e}drawkcab\u{2066}@x>"),
        with_id("a line of its own", format!("<a@x>\r\n {FORGED} forged")),
        with_id(
            "a line of its own, of another kind",
            format!("<a@x>\u{2028}{FORGED} forged\u{85}{FORGED} forged\x0b\x0c"),
        ),
        Mail {
            outcome: Outcome::Arrives(
                b"Message-ID: <ab@x>\r\nSubject: a NUL in its id\r\n\r\nbody\r\n".to_vec(),
            ),
            ..with_id("a NUL in its id", "<a\0b@x>")
        },
        mail(
            "a subject for the log",
            format!("Message-ID: <subject@x>\r\nSubject: x\x1b[31m\r {FORGED}\r\n\r\nbody\r\n"),
        ),
    ]
}

/// Unusual dates, line ends, octets and structures.
fn odd_shapes() -> Vec<Mail> {
    let dated = |name, id: u32, date| {
        mail(
            name,
            format!("Message-ID: <date-{id}@x>\r\nDate: {date}\r\n\r\nbody\r\n"),
        )
    };
    vec![
        dated("a date that is none", 1, "yesterday \x1b[1m at noon"),
        parked("no octets", b""),
        dated("a date in 1970", 2, "Thu, 1 Jan 1970 00:00:00 +0000"),
        dated("a date in 2099", 3, "Thu, 31 Dec 2099 23:59:59 +1400"),
        dated("an impossible date", 4, "Mon, 31 Feb 99999 25:61:61 +9999"),
        Mail {
            outcome: Outcome::Arrives(b"Message-ID: <nul@x>\r\n\r\nabc\r\n".to_vec()),
            ..mail("NULs", b"Message-ID: <nul@x>\r\n\r\n\0a\0\0b\0c\r\n\0")
        },
        parked("one newline", b"\n"),
        mail("bare LFs", "Message-ID: <lf@x>\nSubject: lf\n\nbody\n\nend"),
        mail(
            "bare CRs",
            "Message-ID: <cr@x>\r\nSubject: a\rb\r\n\r\nbody\r\rend\r",
        ),
        parked("no header", b"\r\njust a body\r\n"),
        mail(
            "8-bit fields",
            b"Message-ID: <8bit@x>\r\nSubject: gr\xfc\xdfe \xff\xfe\r\nFrom: \xc3\xbc\r\n\r\n\x80\xff\r\n",
        ),
        mail("no empty line", "Message-ID: <open@x>\r\nSubject: open\r\n"),
        parked("no field at all", b"4"),
        mail("no line end", "Message-ID: <endless@x>"),
        mail(
            "what looks like the end of a response",
            "Message-ID: <response@x>\r\n\r\n)\r\n* BYE gone\r\na1 OK done\r\n)\r\n",
        ),
        mail(
            "what looks like a literal",
            "Message-ID: <literal@x>\r\n\r\nBODY[] {1000000}\r\n)\r\n",
        ),
        mail("twins, the first", "Message-ID: <twin@x>\r\n\r\ntwins\r\n"),
        Mail {
            outcome: Outcome::IsAnother,
            ..mail("twins, the second", "Message-ID: <twin@x>\r\n\r\ntwins\r\n")
        },
        mail(
            "a line of 100,000 octets",
            format!("Message-ID: <line@x>\r\nX: {}\r\n\r\n.\r\n", "x".repeat(100_000)),
        ),
    ]
}

fn all() -> Vec<Mail> {
    [odd_ids(), hostile_ids(), odd_shapes()]
        .into_iter()
        .flatten()
        .collect()
}

/// The date of receipt of this message: each has another time and zone.
fn received(number: usize) -> DateTime<FixedOffset> {
    let minutes = i64::try_from(number).unwrap() * 37;
    let zone = FixedOffset::east_opt((i32::try_from(number).unwrap() % 27 - 12) * 1_800).unwrap();
    let day = chrono::Utc::now() - TimeDelta::days(1);
    let second = day.timestamp() - 60 * minutes;
    DateTime::from_timestamp(second, 0)
        .unwrap()
        .with_timezone(&zone)
}

/// A home with one append connection, so that an accepted message follows a rejected one.
fn home(source: SourceOptions) -> Home {
    let gmail = GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    };
    let home = Home::with(source, gmail);
    home.configure(&json!({ "target_connections": 1 }));
    home
}

/// Asserts the outcome of each message: once, with its date.
fn check(home: &Home, mails: &[Mail], run: &Run) {
    let mut delivered: BTreeMap<Vec<u8>, Vec<DateTime<FixedOffset>>> = BTreeMap::new();
    for stored in home.gmail.messages("INBOX") {
        let dates = delivered.entry(stored.octets).or_default();
        dates.push(stored.internal_date);
    }
    let state = home.state();
    for (number, mail) in mails.iter().enumerate() {
        let name = mail.name;
        match &mail.outcome {
            Outcome::Arrives(octets) => {
                let dates = delivered.remove(octets).unwrap_or_default();
                assert_eq!(dates.len(), 1, "{name}: {dates:?} {:?}", run.stdout);
                let is_close = (dates[0] - received(number)).num_seconds().abs() < 600;
                assert!(is_close, "{name}: {dates:?}");
            }
            Outcome::IsAnother => {}
            Outcome::Parked(why) => {
                let parked = &state["parked"][(number + 1).to_string()];
                let is_told = parked["why"]
                    .as_str()
                    .is_some_and(|told| told.contains(why));
                assert!(is_told, "{name}: {parked}");
                let line = format!("(uid {}), will retry in", number + 1);
                assert!(run.stdout.contains(&line), "{name}: {}", run.stdout);
            }
        }
    }
    assert!(delivered.is_empty(), "not asked for: {delivered:?}");
    let parks = |mail: &&Mail| matches!(mail.outcome, Outcome::Parked(_));
    let expected = mails.iter().filter(parks).count();
    assert_eq!(state["parked"].as_object().unwrap().len(), expected);
    assert_eq!(state["refused"], json!({}));
}

/// Asserts that every log line is one of the program's, and that none is forged.
fn check_lines(run: &Run) {
    for line in run.stdout.lines().chain(run.stderr.lines()) {
        assert!(!line.starts_with(FORGED), "{line:?}");
    }
    for line in run.stdout.lines() {
        let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is_time = chrono::DateTime::parse_from_rfc3339(time).is_ok();
        let levels = ["error ", "warn  ", "info  ", "debug "];
        let has_level = levels.iter().any(|level| rest.starts_with(level));
        assert!(is_time && has_level, "{line:?}");
    }
    for line in run.stdout.lines().chain(run.stderr.lines()) {
        let harmful = |character: char| {
            character.is_control()
                || ('\u{2028}'..='\u{202e}').contains(&character)
                || ('\u{2066}'..='\u{2069}').contains(&character)
        };
        assert!(!line.contains(harmful), "{line:?}");
    }
    assert!(!run.stdout.contains('\u{1b}') && !run.stdout.contains('\u{9b}'));
}

/// Asserts that both servers got only the program's commands. The doubles check their syntax when
/// they are dropped.
fn check_commands(home: &Home) {
    for (server, allowed) in [
        (
            &*home.source as &double::Server,
            &[
                "CAPABILITY",
                "AUTHENTICATE",
                "ID",
                "EXAMINE",
                "UID SEARCH",
                "UID FETCH",
                "LOGOUT",
            ][..],
        ),
        (
            &home.gmail,
            &[
                "CAPABILITY",
                "AUTHENTICATE",
                "ID",
                "LIST",
                "EXAMINE",
                "UID SEARCH",
                "UID FETCH",
                "APPEND",
                "LOGOUT",
            ],
        ),
    ] {
        for line in server.commands() {
            let is_ours = |name: &&str| {
                let rest = line.strip_prefix(*name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            };
            assert!(allowed.iter().any(is_ours), "{line:?}");
            let is_plain = line.bytes().all(|octet| matches!(octet, b' '..=b'~'));
            assert!(is_plain, "{line:?}");
            if line.starts_with("UID SEARCH") || line.starts_with("APPEND") {
                check_search(&line);
            }
        }
    }
}

/// Asserts that a SEARCH has only the program's words outside its strings.
fn check_search(line: &str) {
    let mut outside = String::new();
    let mut characters = line.chars();
    let mut is_inside = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if is_inside => {
                characters.next();
            }
            '"' => is_inside = !is_inside,
            _ if !is_inside => outside.push(character),
            _ => {}
        }
    }
    assert!(!is_inside, "{line}");
    if line.starts_with("APPEND") {
        return;
    }
    for word in outside.split_whitespace() {
        let is_ours = [
            "UID",
            "SEARCH",
            "OR",
            "HEADER",
            "Message-ID",
            "X-GM-RAW",
            "SINCE",
            "BEFORE",
        ]
        .contains(&word);
        let is_number = word.bytes().all(|octet| b"0123456789:,*-".contains(&octet));
        let is_day = word.contains("-20");
        assert!(is_ours || is_number || is_day, "{word} in {line}");
    }
}

fn deliver(home: &Home, mails: &[Mail]) {
    for (number, mail) in mails.iter().enumerate() {
        home.source.deliver(&mail.octets, received(number), &[]);
    }
}

/// Copies all messages, checks the outcome, and runs again.
fn copy_and_check(source: SourceOptions) {
    let name = format!("{:?}", source.quirks);
    let home = home(source);
    let mails = all();
    deliver(&home, &mails);
    let run = home.run_with(&["--debug"]);
    assert_eq!(run.status, Some(0), "{name}: {}", run.stdout);
    check_lines(&run);
    check(&home, &mails, &run);
    assert!(run.stdout.contains("removed 5 NUL octets"), "{name}");

    let appended = || {
        home.gmail
            .commands()
            .iter()
            .filter(|line| line.starts_with("APPEND"))
            .count()
    };
    let before = appended();
    let again = home.run_with(&["--debug"]);
    assert_eq!(again.status, Some(0), "{name}: {again:?}");
    assert_eq!(appended(), before, "{name}");

    // A run without state lists everything again and looks every id up.
    std::fs::remove_file(home.path("sync_state.json")).unwrap();
    home.gmail.change(|options| options.deduplicates = true);
    let count = home.gmail.messages("INBOX").len();
    for _ in 0..8 {
        // Here rejected messages follow one another, so Gmail is not contacted for a while.
        let run = home.run_with(&["--debug"]);
        assert!(matches!(run.status, Some(0 | 69)), "{name}: {run:?}");
        check_lines(&run);
        home.age_by_minutes(4 * 60 + 1);
    }
    check_commands(&home);
    assert!(home.state()["date_pass"].is_null(), "{name}");
    let doubled = home.gmail.messages("INBOX").len() - count;
    // Gmail cannot find duplicates of messages without an id.
    let without_id = ["no id", "empty", "blank", "no more than its brackets"].len();
    assert!(doubled <= without_id, "{name}: {doubled}");
}

#[test]
fn every_message_arrives_once_or_is_reported() {
    copy_and_check(SourceOptions::default());
}

#[test]
fn every_message_arrives_from_sources_with_quirks() {
    for quirks in [
        &[Quirk::QuotedStrings, Quirk::OpenHeaders][..],
        &[Quirk::SplitFetches, Quirk::OtherOrder, Quirk::News],
        &[Quirk::LowerCase, Quirk::Chatter, Quirk::RecentFlags],
        &[Quirk::WideBlanks, Quirk::OddFlags, Quirk::UnaskedItems],
        &[Quirk::NilSizes, Quirk::OldBodyNames],
    ] {
        copy_and_check(SourceOptions {
            quirks: quirks.iter().copied().collect(),
            ..SourceOptions::default()
        });
    }
}

#[test]
fn a_message_that_can_be_neither_listed_nor_read_causes_one_warning_and_one_report() {
    let home = home(SourceOptions {
        quirks: [Quirk::NilSizes].into(),
        message_faults: [(1, MessageFault::Refused)].into(),
        ..SourceOptions::default()
    });
    for number in 0..2 {
        let octets = format!("Message-ID: <{number}@x>\r\n\r\nbody\r\n");
        home.source
            .deliver(octets.as_bytes(), received(number), &[]);
    }
    let run = home.run_ok();
    let warnings = run.logged("warn");
    assert!(
        matches!(&warnings[..], [listing, parked]
            if listing.starts_with("the source cannot list uid 1: the server says NO")
            && parked.starts_with("parked ")),
        "{warnings:?}"
    );
    assert_eq!(home.gmail.messages("INBOX").len(), 1);

    home.source.change(|options| options.message_faults.clear());
    home.age_by_minutes(2);
    home.run_ok();
    assert_eq!(home.gmail.messages("INBOX").len(), 2);
}

#[test]
fn flags_other_than_seen_flagged_and_answered_do_not_reach_gmail() {
    let home = home(SourceOptions::default());
    let cases: [(&[&str], &[&str]); 7] = [
        (&["\\Deleted"], &[]),
        (&["\\Recent"], &[]),
        (&["$Forwarded", "$MDNSent", "NonJunk"], &[]),
        (&["\\NonJunk", "\\Seen"], &["\\Seen"]),
        (&["\\Draft", "\\Flagged"], &["\\Flagged"]),
        (
            &["\\Answered", "\\Deleted", "\\Flagged", "\\Seen"],
            &["\\Answered", "\\Flagged", "\\Seen"],
        ),
        (&[], &[]),
    ];
    for (number, (flags, _)) in cases.iter().enumerate() {
        let octets = format!("Message-ID: <{number}@x>\r\n\r\nbody\r\n");
        home.source
            .deliver(octets.as_bytes(), received(number), flags);
    }
    home.run_ok();
    let stored = home.gmail.messages("INBOX");
    assert_eq!(stored.len(), cases.len());
    for (stored, (_, expected)) in stored.iter().zip(cases) {
        assert_eq!(stored.flags, expected);
    }
    for line in home.gmail.commands() {
        for flag in ["Deleted", "Recent", "Forwarded", "Junk", "Draft", "MDN"] {
            assert!(
                !line.starts_with("APPEND") || !line.contains(flag),
                "{line}"
            );
        }
    }
}

#[test]
fn a_date_of_another_century_is_preserved() {
    let home = home(SourceOptions::default());
    home.source
        .deliver(b"Message-ID: <now@x>\r\n\r\n", received(0), &[]);
    home.run_ok();
    // Above the cursor every message is due, whatever its date.
    let dates = [
        "1970-01-01T00:00:01+00:00",
        "1996-02-29T23:59:59-12:00",
        "2099-12-31T23:59:59+14:00",
    ];
    for (number, when) in dates.iter().enumerate() {
        let octets = format!("Message-ID: <{number}@x>\r\n\r\nbody\r\n");
        home.source.deliver(octets.as_bytes(), date(when), &[]);
    }
    home.run_ok();
    let stored = home.gmail.messages("INBOX");
    let seen: Vec<_> = stored[1..]
        .iter()
        .map(|stored| stored.internal_date)
        .collect();
    assert_eq!(seen, dates.map(date));
}

#[test]
fn thirty_megabytes_arrive_and_a_message_above_the_limit_is_refused_and_reported() {
    let home = home(SourceOptions::default());
    let sized = |id: &str, octets: usize| {
        let mut mail = format!("Message-ID: <{id}@x>\r\nSubject: large\r\n\r\n").into_bytes();
        while mail.len() < octets - 2 {
            let line = format!("{:>76}\r\n", mail.len());
            mail.extend_from_slice(line.as_bytes());
        }
        mail.truncate(octets - 2);
        mail.extend_from_slice(b"\r\n");
        mail
    };
    let limit = GmailOptions::default().append_limit;
    let large = sized("large", 30_000_000);
    home.source.deliver(&large, received(0), &["\\Seen"]);
    home.source
        .deliver(&sized("too-large", limit + 1), received(1), &[]);
    home.source
        .deliver(b"Message-ID: <small@x>\r\n\r\n", received(2), &[]);
    let run = home.run_ok();
    let stored = home.gmail.messages("INBOX");
    assert_eq!(stored.len(), 2);
    assert!(stored[0].octets == large, "other octets");
    assert_eq!(stored[0].flags, ["\\Seen"]);
    let line = format!(
        "not copied: <too-large@x> (uid 2): it has {} octets",
        limit + 1
    );
    assert!(run.stdout.contains(&line), "{}", run.stdout);
    let refused: &Value = &home.state()["refused"]["2"];
    assert_eq!(refused["id"], "<too-large@x>");
    // It was not even fetched.
    let fetches = home.source.commands();
    let bodies = fetches.iter().filter(|line| line.contains("BODY.PEEK[]"));
    assert!(
        bodies
            .into_iter()
            .all(|line| !line.contains('2') && !line.contains(':')),
        "{fetches:?}"
    );
    let connections = home.gmail.connections();
    home.run_ok();
    assert_eq!(home.gmail.connections(), connections);
}
