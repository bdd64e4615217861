//! The program between two real servers: Dovecot as the source, and Dovecot as the target, which
//! validates bearer tokens; and the number of commands for a group of ten messages.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/dovecot/mod.rs"]
mod dovecot;
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::json;
use tempfile::TempDir;

use dovecot::client::StoredMessage;
use dovecot::{Dovecot, Introspection, PASSWORD};
use program::{Home, Run, program};

const SOURCE_USER: &str = "alice";
const TARGET_USER: &str = "bob@example.com";

/// The target folder. At Gmail the inbox is part of All Mail; at Dovecot folders are separate, so that
/// the target folder must be All Mail itself.
const ALL_MAIL: &str = "[Gmail]/Alle Nachrichten";

/// Two Dovecots, and a folder with the program's files.
struct Pair {
    source: Dovecot,
    target: Dovecot,
    introspection: Introspection,
    folder: TempDir,
}

impl Pair {
    fn start() -> Pair {
        let introspection = Introspection::start();
        introspection.issue("good", TARGET_USER);
        let pair = Pair {
            source: Dovecot::start(),
            target: Dovecot::start_target(&introspection),
            introspection,
            folder: TempDir::new().unwrap(),
        };
        pair.write("token.json", r#"{"token": "good"}"#);
        pair.write("config.json", &pair.config());
        pair
    }

    fn config(&self) -> String {
        let (source, target) = (self.source.server(), self.target.server());
        json!({
            "source_server": "localhost",
            "source_port": source.port,
            "source_user": SOURCE_USER,
            "source_pass": PASSWORD,
            "source_ca_file": source.ca_file,
            "target_server": "localhost",
            "target_port": target.port,
            "target_user": TARGET_USER,
            "target_token_file": "token.json",
            "target_ca_file": target.ca_file,
            "target_folder": ALL_MAIL,
        })
        .to_string()
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs the program and asserts that it exits with 0.
    fn run_ok(&self) -> Run {
        let mut command = program(self.folder.path());
        let output = command
            .args(["--config", "config.json", "--debug"])
            .output();
        let run = Run::from(output.unwrap());
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        run
    }

    fn source(&self) -> Vec<StoredMessage> {
        self.source.client(SOURCE_USER).messages("INBOX")
    }

    fn target(&self) -> Vec<StoredMessage> {
        self.target.client(TARGET_USER).messages(ALL_MAIL)
    }

    /// The number of log-ins at the target by a token.
    fn target_log_ins(&self) -> usize {
        let log = self.target.log();
        log.lines()
            .filter(|line| line.contains("Login:") && line.contains("method=XOAUTH2"))
            .count()
    }
}

/// A message for the source.
struct Mail {
    flags: &'static str,
    date: DateTime<Utc>,
    octets: Vec<u8>,
}

const FLAGS: [&str; 6] = [
    "",
    "\\Seen",
    "\\Flagged",
    "\\Seen \\Answered",
    "\\Seen \\Flagged \\Answered",
    "\\Seen \\Draft $Forwarded",
];

/// Message `number`: each differs in size, date, flags and content.
fn mail(number: usize) -> Mail {
    let now = Utc::now().with_nanosecond(0).unwrap();
    // Every hundredth is large; the others have one line to some pages.
    let lines = match number {
        _ if number % 100 == 99 => 4_000,
        _ => (number * 37) % 150,
    };
    let line_end = if number % 7 == 3 { "\n" } else { "\r\n" };
    let mut octets = Vec::new();
    let mut add = |line: &[u8]| octets.extend_from_slice(&[line, line_end.as_bytes()].concat());
    if number % 9 != 4 {
        add(format!("Message-ID: <{number}.{}@example.com>", number * 31).as_bytes());
    }
    add(b"Date: Tue, 3 Feb 2015 04:05:06 +0100");
    add(format!("From: \"sender {}\" <s@example.com>", number % 50).as_bytes());
    match number % 5 {
        1 => add("Subject: Grüße, unverschlüsselt".as_bytes()),
        2 => add(b"Subject: Gr\xfc\xdfe in Latin-1"),
        3 => add(b"Subject: folded over\r\n\ttwo lines"),
        _ => add(format!("Subject: number {number}").as_bytes()),
    }
    add(b"");
    for line in 0..lines {
        add(format!(
            "{number}/{line}: \u{fe}ñ\u{1f4e7} . \u{a0}{}",
            "x".repeat(line % 70)
        )
        .as_bytes());
    }
    if number % 11 == 5 {
        octets.extend_from_slice(b"a last line without an end, 8-bit: \x80\xff");
    }
    Mail {
        flags: FLAGS[number % FLAGS.len()],
        date: now - TimeDelta::minutes(i64::try_from(number * 8_600 / 1_000).unwrap()),
        octets,
    }
}

fn deliver(pair: &Pair, numbers: std::ops::Range<usize>) {
    let mut alice = pair.source.client(SOURCE_USER);
    for number in numbers {
        let Mail {
            flags,
            date,
            octets,
        } = mail(number);
        let date = date.format("%d-%b-%Y %H:%M:%S +0000").to_string();
        alice.append("INBOX", flags, &date, &octets);
    }
}

/// Octets, date and copied flags of each message, with its number of copies: equal at both servers.
fn by_content(messages: Vec<StoredMessage>) -> BTreeMap<(String, i64, String), usize> {
    let mut counted = BTreeMap::new();
    for messages in messages {
        let copied = ["\\Answered", "\\Flagged", "\\Seen"];
        let flags: Vec<String> = messages
            .flags
            .into_iter()
            .filter(|flag| copied.contains(&flag.as_str()))
            .collect();
        let key = (
            messages.octets.escape_ascii().to_string(),
            messages.internal_date.timestamp(),
            flags.join(" "),
        );
        *counted.entry(key).or_default() += 1;
    }
    counted
}

fn assert_equal(pair: &Pair, messages: usize) {
    let (source, target) = (by_content(pair.source()), by_content(pair.target()));
    assert_eq!(source.len(), messages, "the source's messages all differ");
    let lost: Vec<_> = source
        .keys()
        .filter(|key| !target.contains_key(*key))
        .collect();
    assert!(
        lost.is_empty(),
        "{} lost or changed: {:.300?}",
        lost.len(),
        lost
    );
    let odd: Vec<_> = target
        .iter()
        .filter(|(key, count)| **count != 1 || !source.contains_key(*key))
        .collect();
    assert!(
        odd.is_empty(),
        "{} doubled or changed: {:.300?}",
        odd.len(),
        odd
    );
}

/// The commands that the program sent to a server, by its log, without tags.
fn commands_to(run: &Run, port: u16) -> Vec<String> {
    let mark = format!("localhost:{port}: C: ");
    run.stdout
        .lines()
        .filter_map(|line| line.split_once(&mark))
        .filter_map(|(_, command)| command.split_once(' '))
        .map(|(_, command)| command.to_owned())
        .collect()
}

#[test]
fn a_thousand_messages_arrive_once_each_and_a_second_run_does_not_contact_the_target() {
    let pair = Pair::start();
    deliver(&pair, 0..1_000);
    let first = pair.run_ok();
    assert!(first.stdout.contains("1000 copied"), "{}", first.stderr);
    assert_equal(&pair, 1_000);

    let source_port = pair.source.server().port;
    let commands = commands_to(&first, source_port);
    let fetches = commands
        .iter()
        .filter(|line| line.ends_with("(UID BODY.PEEK[])"));
    assert!(
        (100..=104).contains(&fetches.count()),
        "a fetch for each group of ten, and one more where the octets are too many: {commands:#?}"
    );

    let requests = pair.introspection.requests();
    let log_ins = pair.target_log_ins();
    assert!(requests > 0 && log_ins > 0);
    let second = pair.run_ok();
    assert_eq!(pair.introspection.requests(), requests);
    assert_eq!(pair.target_log_ins(), log_ins);
    assert!(commands_to(&second, pair.target.server().port).is_empty());
    // AUTHENTICATE, ID, EXAMINE, UID FETCH; LOGOUT.
    assert!(
        commands_to(&second, source_port).len() <= 5,
        "{}",
        second.stdout
    );

    // Later mail arrives, and nothing else.
    deliver(&pair, 1_000..1_010);
    let third = pair.run_ok();
    assert!(third.stdout.contains("10 copied"), "{}", third.stdout);
    assert_equal(&pair, 1_010);
}

#[test]
fn after_the_loss_of_the_state_messages_with_and_without_an_id_are_found_at_the_target() {
    let pair = Pair::start();
    deliver(&pair, 0..300);
    pair.run_ok();
    fs::remove_file(pair.folder.path().join("sync_state.json")).unwrap();
    let again = pair.run_ok();
    // Every ninth has no id.
    assert!(
        again.stdout.contains("0 copied, 300 already there"),
        "{}",
        again.stdout
    );
}

#[test]
fn a_group_of_ten_messages_costs_one_lookup_and_one_fetch() {
    let home = Home::new();
    let deliver = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let octets = format!("Message-ID: <{number}@x>\r\n\r\nbody {number}\r\n");
            let date = (Utc::now() - TimeDelta::hours(1)).fixed_offset();
            home.source.deliver(octets.as_bytes(), date, &[]);
        }
    };
    let count = |commands: &[String], part: &str| {
        commands.iter().filter(|line| line.contains(part)).count()
    };
    // The first run sets a cursor.
    deliver(0..1);
    home.run_ok();
    let (at_source, at_gmail) = (home.source.commands().len(), home.gmail.commands().len());

    deliver(1..41);
    home.run_ok();
    let source = home.source.commands().split_off(at_source);
    let gmail = home.gmail.commands().split_off(at_gmail);
    assert_eq!(count(&source, "RFC822.SIZE"), 1, "{source:#?}");
    assert_eq!(count(&source, "(UID BODY.PEEK[])"), 4, "{source:#?}");
    assert_eq!(count(&source, "UID SEARCH"), 0, "{source:#?}");
    assert_eq!(count(&gmail, "UID SEARCH"), 2, "{gmail:#?}");
    assert_eq!(count(&gmail, "APPEND"), 40, "{gmail:#?}");
}
