//! The files of the Python original work unchanged: nothing is copied twice, and the original can read
//! the state that the program writes.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/program.rs"]
mod program;
#[path = "support/watching.rs"]
mod watching;

use std::fs;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use double::GmailOptions;
use rustix::process::Signal;
use serde_json::{Map, Value, json};

use program::Home;
use watching::Watching;

/// The messages that the original had copied, and their present place at Gmail.
const COPIED: [(&str, AtGmail); 4] = [
    ("in the inbox", AtGmail::Inbox),
    ("archived", AtGmail::Archive),
    ("thrown away", AtGmail::Trash),
    ("deleted for good", AtGmail::Nowhere),
];

#[derive(Clone, Copy)]
enum AtGmail {
    Inbox,
    Archive,
    Trash,
    Nowhere,
}

fn id(subject: &str) -> String {
    format!("<{}@x>", subject.replace(' ', "."))
}

fn mail(subject: &str) -> Vec<u8> {
    format!(
        "Message-ID: {}\r\nSubject: {subject}\r\n\r\nbody\r\n",
        id(subject)
    )
    .into()
}

/// A home as the original leaves it: its copies are at Gmail unless the user removed them, and two
/// messages are new.
fn home(state: &Value) -> Home {
    let home = Home::with(
        double::SourceOptions::default(),
        GmailOptions {
            deduplicates: false,
            ..GmailOptions::default()
        },
    );
    for (subject, place) in COPIED {
        let yesterday = (Utc::now() - TimeDelta::days(1)).fixed_offset();
        home.source.deliver(&mail(subject), yesterday, &[]);
        let uid = home.gmail.deliver(&mail(subject), yesterday, &[]);
        match place {
            AtGmail::Inbox => {}
            AtGmail::Archive => home.gmail.archive(uid),
            AtGmail::Trash => home.gmail.trash(uid),
            AtGmail::Nowhere => {
                home.gmail.trash(uid);
                let trash = "[Gmail]/Bin";
                let last = home.gmail.in_trash().last().unwrap().uid;
                home.gmail.mailboxes().expunge(trash, last);
            }
        }
    }
    for subject in ["new", "newer"] {
        deliver(&home, subject);
    }
    home.write("sync_state.json", &state.to_string());
    home
}

fn deliver(home: &Home, subject: &str) {
    let now = Utc::now().fixed_offset();
    home.source.deliver(&mail(subject), now, &[]);
}

fn appends(home: &Home) -> usize {
    let commands = home.gmail.commands();
    commands
        .iter()
        .filter(|command| command.starts_with("APPEND"))
        .count()
}

fn in_the_inbox(home: &Home) -> Vec<String> {
    let stored = home.gmail.messages("INBOX");
    let mut ids: Vec<String> = stored
        .iter()
        .map(|stored| {
            let text = String::from_utf8_lossy(&stored.octets).into_owned();
            let (_, rest) = text.split_once("Message-ID: ").unwrap();
            rest.lines().next().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    ids
}

fn ids_copied() -> Vec<String> {
    COPIED.iter().map(|(subject, _)| id(subject)).collect()
}

/// `datetime.now(timezone.utc).isoformat()` in the past.
fn isoformat(back: TimeDelta) -> String {
    (Utc::now() - back)
        .format("%Y-%m-%dT%H:%M:%S%.6f+00:00")
        .to_string()
}

/// `datetime.utcnow().isoformat()`: without a zone.
fn isoformat_without_zone(back: TimeDelta) -> String {
    (Utc::now() - back)
        .format("%Y-%m-%dT%H:%M:%S%.6f")
        .to_string()
}

/// The state in each form that the original has written, by name.
fn forms() -> Vec<(&'static str, Value)> {
    let hour = TimeDelta::hours(1);
    let map = |value: Value| -> Value {
        let ids = ids_copied().into_iter();
        ids.map(|id| (id, value.clone()))
            .collect::<Map<_, _>>()
            .into()
    };
    let untrimmed: Map<String, Value> = ids_copied()
        .into_iter()
        .map(|id| (format!(" {id}\r\n"), json!(isoformat(hour))))
        .collect();
    vec![
        (
            "a list of ids",
            json!({ "synced_message_ids": ids_copied(), "last_sync": isoformat(hour) }),
        ),
        (
            "a list, and the highest uid",
            json!({
                "synced_message_ids": ids_copied(),
                "last_source_uid": 4,
                "last_sync": isoformat_without_zone(hour),
            }),
        ),
        (
            "a map to times",
            json!({
                "synced_message_ids": map(json!(isoformat(hour))),
                "last_source_uid": 4,
                "last_sync": isoformat(hour),
            }),
        ),
        (
            "a map to times without a zone",
            json!({
                "synced_message_ids": map(json!(isoformat_without_zone(hour))),
                "last_source_uid": 4,
                "last_sync": isoformat_without_zone(hour),
            }),
        ),
        (
            "a map to nulls",
            json!({
                "synced_message_ids": map(Value::Null),
                "last_source_uid": 4,
                "last_sync": isoformat(hour),
            }),
        ),
        (
            "ids as the header had them",
            json!({
                "synced_message_ids": untrimmed,
                "last_source_uid": 4,
                "last_sync": isoformat(hour),
            }),
        ),
        (
            "nothing but the ids",
            json!({
                "synced_message_ids": map(json!(isoformat(hour))),
                "last_source_uid": null,
                "last_sync": null,
            }),
        ),
        (
            "a key that nobody knows",
            json!({
                "synced_message_ids": ids_copied(),
                "last_source_uid": 4,
                "last_sync": isoformat(hour),
                "target_uidvalidity": 12,
            }),
        ),
    ]
}

/// A script that loads a state file by the original's rules: ids as a list or a map, times by
/// `fromisoformat` in UTC.
const LOADER: &str = r#"
import json, sys
from datetime import datetime, timezone

def when(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)

with open(sys.argv[1]) as file:
    state = json.load(file)
ids = state.get("synced_message_ids", {})
if isinstance(ids, list):
    now = datetime.now(timezone.utc).isoformat()
    ids = {id: now for id in ids}
ids = {id: when(at) for id, at in ids.items()}
uid = state.get("last_source_uid", 0)
last_sync = state.get("last_sync")
json.dump({
    "synced_message_ids": {id: at.isoformat() for id, at in ids.items()},
    "last_source_uid": uid if isinstance(uid, int) else sys.exit("no uid"),
    "last_sync": when(last_sync).isoformat(),
}, sys.stdout)
"#;

/// A token that is valid for an hour.
fn access_token(home: &Home) -> String {
    let user = home.gmail.user();
    home.gmail.tokens().issue(&user, Duration::from_hours(1))
}

/// The state as the original loads it and would write it.
fn loaded_by_the_original(home: &Home) -> Value {
    let loaded = Command::new("python3")
        .args(["-c", LOADER])
        .arg(home.path("sync_state.json"))
        .output()
        .expect("this test needs python3");
    assert!(loaded.status.success(), "{loaded:?}");
    serde_json::from_slice(&loaded.stdout).unwrap()
}

fn is_just_now(time: &Value) -> bool {
    let time: DateTime<Utc> = time.as_str().unwrap().parse().unwrap();
    (Utc::now() - time).abs() < TimeDelta::minutes(2)
}

#[test]
fn a_state_in_each_form_of_the_original_is_read_and_nothing_is_copied_twice() {
    for (form, state) in forms() {
        let home = home(&state);
        for _ in 0..3 {
            home.run_ok();
            let inbox = [id("in the inbox"), id("new"), id("newer")];
            assert_eq!(in_the_inbox(&home), inbox, "{form}");
            assert_eq!(appends(&home), 2, "{form}");
        }
        for key in state.as_object().unwrap().keys() {
            assert!(home.state().get(key).is_some(), "{form}: {key} is kept");
        }
    }
}

#[test]
fn the_original_can_read_the_programs_state() {
    for (form, state) in forms() {
        let home = home(&state);
        home.run_ok();
        let loaded = loaded_by_the_original(&home);
        let ids = loaded["synced_message_ids"].as_object().unwrap();
        for subject in ["in the inbox", "archived", "new", "newer"] {
            assert!(
                ids.contains_key(&id(subject)),
                "{form}: {subject}: {loaded}"
            );
        }
        assert!(is_just_now(&ids[&id("new")]), "{form}: {loaded}");
        assert_eq!(loaded["last_source_uid"], 6, "{form}");
        assert!(is_just_now(&loaded["last_sync"]), "{form}: {loaded}");
    }
}

#[test]
fn after_a_run_of_the_original_in_between_nothing_is_copied_twice_or_missed() {
    for (number, (form, state)) in forms().into_iter().enumerate() {
        let home = home(&state);
        home.run_ok();
        // The original loads the state, copies one more message, and writes its own keys, without or
        // with those that it does not know.
        let mut state = if number % 2 == 0 {
            loaded_by_the_original(&home)
        } else {
            home.state()
        };
        deliver(&home, "by the original");
        home.gmail
            .deliver(&mail("by the original"), Utc::now().fixed_offset(), &[]);
        state["synced_message_ids"][id("by the original")] = json!(isoformat(TimeDelta::zero()));
        state["last_source_uid"] = json!(7);
        state["last_sync"] = json!(isoformat(TimeDelta::zero()));
        home.write("sync_state.json", &state.to_string());
        deliver(&home, "by us again");
        home.run_ok();
        home.run_ok();
        let inbox = [
            id("by the original"),
            id("by us again"),
            id("in the inbox"),
            id("new"),
            id("newer"),
        ];
        assert_eq!(in_the_inbox(&home), inbox, "{form}");
        assert_eq!(appends(&home), 3, "{form}");
    }
}

#[test]
fn a_token_in_each_form_of_the_original_works_and_the_original_can_read_it_again() {
    let (past, future) = (TimeDelta::hours(2), -TimeDelta::hours(1));
    let expiries = [
        json!(
            (Utc::now() - past)
                .format("%Y-%m-%dT%H:%M:%S%.6fZ")
                .to_string()
        ),
        json!((Utc::now() - past).format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        json!(isoformat(past)),
        json!(isoformat_without_zone(past)),
        json!(isoformat(future)),
        Value::Null,
    ];
    for expiry in expiries {
        let home = home(&forms()[0].1);
        let mut token: Value = serde_json::from_str(&home.read("token.json")).unwrap();
        token["token"] = json!(access_token(&home));
        token["expiry"] = expiry.clone();
        token["universe_domain"] = json!("googleapis.com");
        token["account"] = json!("");
        home.write("token.json", &token.to_string());
        home.run_ok();
        assert_eq!(appends(&home), 2, "{expiry}");
        let left: Value = serde_json::from_str(&home.read("token.json")).unwrap();
        for key in token.as_object().unwrap().keys() {
            assert!(left.get(key).is_some(), "{expiry}: {key} is kept");
        }
        let now = isoformat(TimeDelta::zero());
        let is_good = expiry.as_str().is_some_and(|expiry| *expiry > *now);
        assert_eq!(left["token"] == token["token"], is_good, "{expiry}");
        if !is_good {
            // google-auth parses it by rstrip("Z"), without fraction, strptime.
            let expiry = left["expiry"].as_str().unwrap();
            assert!(expiry.ends_with('Z'), "{expiry}");
            let bare = expiry.trim_end_matches('Z').split('.').next().unwrap();
            assert!(chrono::NaiveDateTime::parse_from_str(bare, "%Y-%m-%dT%H:%M:%S").is_ok());
        }
    }
}

#[test]
fn a_token_file_with_only_a_token_works_until_it_is_rejected() {
    let home = home(&forms()[0].1);
    let token = json!({ "token": access_token(&home) });
    home.write("token.json", &token.to_string());
    home.run_ok();
    assert_eq!(appends(&home), 2);
    home.gmail.tokens().revoke_all(&home.gmail.user());
    deliver(&home, "later");
    let run = home.run();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    // With a new token it goes on.
    home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
    home.run_ok();
    assert_eq!(appends(&home), 3);
}

#[test]
fn a_configuration_of_the_original_with_absolute_and_relative_paths_is_read() {
    let home = home(&forms()[0].1);
    let elsewhere = home.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(home.path("token.json"), elsewhere.join("token.json")).unwrap();
    home.configure(&json!({
        "_comment": "alice's",
        "target_token_file": elsewhere.join("token.json"),
    }));
    home.run_ok();
    home.configure(&json!({ "target_token_file": "elsewhere/token.json" }));
    deliver(&home, "later");
    // The options in the original's unit.
    let run = home.run_with(&[
        "--log",
        "stderr",
        "--state-file",
        "sync_state.json",
        "--no-idle",
    ]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(appends(&home), 3);
}

/// Each command line in the README of the original, without `--config config.json`, with relative
/// paths, and where its log is. (`tests/logs` has the one with `--log syslog`.)
const COMMAND_LINES: [(&str, LogPlace); 10] = [
    ("", LogPlace::Stdout),
    ("--debug", LogPlace::Stdout),
    ("--log data/sync.log", LogPlace::File("data/sync.log")),
    (
        "--log data/imap_sync.log",
        LogPlace::File("data/imap_sync.log"),
    ),
    (
        "--log data/imap_sync.log --log-max-size 500M --log-max-files 10",
        LogPlace::File("data/imap_sync.log"),
    ),
    ("--log stderr", LogPlace::Stderr),
    ("--no-idle --poll-interval 30", LogPlace::Stdout),
    (
        "--state-file sync_state.json --log stderr",
        LogPlace::Stderr,
    ),
    (
        "--state-file data/alice-sync_state.json --log stderr",
        LogPlace::Stderr,
    ),
    (
        "--state-file data/alice-sync_state.json --log data/alice-sync.log --log-max-size 50M \
         --log-max-files 10",
        LogPlace::File("data/alice-sync.log"),
    ),
];

#[derive(Debug, Clone, Copy)]
enum LogPlace {
    Stdout,
    Stderr,
    File(&'static str),
}

#[test]
fn the_command_lines_of_the_original_run_with_watch_added() {
    for (options, place) in COMMAND_LINES {
        let home = home(&forms()[0].1);
        fs::create_dir(home.path("data")).unwrap();
        if options.contains("alice-sync_state.json") {
            let state = home.path("data/alice-sync_state.json");
            fs::rename(home.path("sync_state.json"), state).unwrap();
        }
        let words: Vec<&str> = options.split_whitespace().collect();
        let watching = Watching::start_with(&home, &words);
        watching.wait_until("the new messages are copied", || appends(&home) == 2);
        watching.signal(Signal::TERM);
        let run = watching.wait_for_exit();
        assert_eq!(run.status, Some(0), "{options}: {run:?}");
        let (log, silent) = match place {
            LogPlace::Stdout => (run.stdout, [run.stderr, String::new()]),
            LogPlace::Stderr => (run.stderr, [run.stdout, String::new()]),
            LogPlace::File(name) => (home.read(name), [run.stdout, run.stderr]),
        };
        assert_eq!(
            log.matches(" info  copied <").count(),
            2,
            "{options}: {log}"
        );
        assert_eq!(silent.concat(), "", "{options}");
        assert_eq!(log.contains(" debug "), options == "--debug", "{options}");
    }
}
