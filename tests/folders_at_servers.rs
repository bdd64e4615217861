//! Whole runs over several folders at real servers: nested folders, names in any script, folders that may
//! not be read, prefixes and delimiters; and German role names at both sides.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "contract/courier.rs"]
mod courier;
#[path = "support/dovecot/mod.rs"]
mod dovecot;
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;
#[path = "support/watching.rs"]
mod watching;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use chrono::Utc;
use double::{GmailOptions, Language, SourceOptions};
use serde_json::{Value, json};

use courier::Courier;
use dovecot::{Dovecot, PASSWORD, Settings, version};
use program::Home;
use watching::Watching;

fn mail(subject: &str) -> Vec<u8> {
    format!("Message-ID: <{subject}@x>\r\nSubject: {subject}\r\n\r\n{subject}\r\n").into_bytes()
}

/// The program's home with this server as its source.
fn home_at(dovecot: &Dovecot, folders: &Value) -> Home {
    let home = Home::new();
    home.configure(&json!({
        "source_port": dovecot.server().port,
        "source_user": "alice",
        "source_pass": PASSWORD,
        "source_ca_file": dovecot.ca_file(),
        "folders": folders,
    }));
    home
}

/// The subjects of the messages in a folder at Gmail; none if there is no such folder.
fn subjects(home: &Home, folder: &str) -> Vec<String> {
    if !home.gmail.mailboxes().exist(folder) {
        return Vec::new();
    }
    let subject = |octets: Vec<u8>| {
        let text = String::from_utf8(octets).unwrap();
        let (_, rest) = text.split_once("Subject: ").unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    let messages = home.gmail.messages(folder).into_iter();
    let mut subjects: Vec<String> = messages.map(|message| subject(message.octets)).collect();
    subjects.sort();
    subjects
}

/// Names at the source in modified UTF-7, and the same at Gmail.
const NAMES: [&str; 5] = [
    "Listen",
    "Listen/rust",
    "Entw&APw-rfe &- Notizen",
    "Listen/&ZeVnLIqe-",
    "Listen/rust/&BCAEQwRBBEE-",
];

#[test]
fn nested_folders_of_dovecot_with_names_in_any_script_go_to_folders_of_the_same_name() {
    let dovecot = Dovecot::start();
    let mut client = dovecot.client("alice");
    for (number, name) in NAMES.iter().enumerate() {
        client.create(name);
        client.append(name, "", "", &mail(&format!("letter {number}")));
    }
    client.append("INBOX", "", "", &mail("inbox"));
    let home = home_at(
        &dovecot,
        &json!([
            { "source": "INBOX" },
            { "source": "Listen*", "target": "=" },
            { "source": "Entwürfe & Notizen", "target": "=" },
        ]),
    );
    home.run_ok();
    let all = |home: &Home| {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(subjects(home, name), [format!("letter {number}")], "{name}");
        }
        assert_eq!(subjects(home, "INBOX"), ["inbox"]);
        assert_eq!(home.gmail.all_mail().len(), NAMES.len() + 1);
    };
    all(&home);
    // A second run copies nothing, and a message that is moved is the same one.
    home.run_ok();
    all(&home);
    client.command("SELECT Listen");
    client.command("UID MOVE 1 Listen/rust");
    home.run_ok();
    all(&home);
}

#[test]
fn a_folder_of_dovecot_that_may_not_be_read_is_named_and_stops_no_other() {
    let more = if version().starts_with("2.3") {
        "mail_plugins = acl\nplugin {\n  acl = vfile\n}\n"
    } else {
        "mail_plugins {\n  acl = yes\n}\nacl_driver = vfile\n"
    };
    let dovecot = Dovecot::start_with(Settings {
        more: more.to_owned(),
        ..Settings::default()
    });
    let mut client = dovecot.client("alice");
    for folder in ["Geheim", "Listen", "Zuletzt"] {
        client.create(folder);
        client.append(folder, "", "", &mail(folder));
    }
    let acl = dovecot.mail_folder("alice").join(".Geheim/dovecot-acl");
    std::fs::write(&acl, "owner l\n").unwrap();
    let readable = Permissions::from_mode(0o644);
    std::fs::set_permissions(&acl, readable).unwrap();
    let home = home_at(
        &dovecot,
        &json!([{ "source": "Geheim" }, { "source": "Listen" }, { "source": "Zuletzt" }]),
    );
    for _ in 0..2 {
        let run = home.run();
        assert_ne!(run.status, Some(0), "{run:?}");
        let errors = run.logged("error");
        assert_eq!(errors.len(), 1, "{run:?}");
        assert!(errors[0].contains("\"Geheim\""), "{run:?}");
        assert_eq!(subjects(&home, "INBOX"), ["Listen", "Zuletzt"]);
    }
    std::fs::remove_file(&acl).unwrap();
    home.run_ok();
    assert_eq!(subjects(&home, "INBOX"), ["Geheim", "Listen", "Zuletzt"]);
}

#[test]
fn courier_has_a_prefix_and_dots_and_gmail_neither() {
    let mut courier = Courier::start();
    let folders = ["INBOX.Listen", "INBOX.Listen.rust", "INBOX.B&APw-cher"];
    let client = courier.client();
    for folder in folders {
        client.create(folder);
        client.append(folder, "", "", &mail(folder));
    }
    client.append("INBOX", "", "", &mail("inbox"));
    let home = Home::new();
    home.configure(&json!({
        "source_server": "127.0.0.1",
        "source_port": courier.server().port,
        "source_tls": "none",
        "source_ca_file": null,
        "source_user": "alice",
        "source_pass": "secret",
        "folders": [{ "source": "*", "target": "=" }],
    }));
    for _ in 0..2 {
        home.run_ok();
        for (folder, at_gmail) in folders.iter().zip(["Listen", "Listen/rust", "B&APw-cher"]) {
            assert_eq!(subjects(&home, at_gmail), [*folder]);
        }
        assert_eq!(subjects(&home, "INBOX"), ["inbox"]);
        assert_eq!(home.gmail.all_mail().len(), 4);
    }
}

#[test]
fn roles_are_found_under_their_german_names_on_both_sides() {
    let gmail = GmailOptions {
        language: Language::German,
        ..GmailOptions::default()
    };
    let home = Home::with(SourceOptions::default(), gmail);
    let mailboxes = home.source.mailboxes();
    for (name, role, subject) in [
        ("Unerw&APw-nscht", "\\Junk", "Angebot"),
        ("Gesendete Objekte", "\\Sent", "Antwort"),
        ("Ablage", "\\Archive", "alt"),
    ] {
        mailboxes.create_with(name, &[role]);
        mailboxes.deliver(name, &mail(subject), Utc::now().fixed_offset(), &["\\Seen"]);
    }
    let now = Utc::now().fixed_offset();
    mailboxes.deliver("INBOX", &mail("neu"), now, &[]);
    home.configure(&json!({ "folders": [
        { "source": "INBOX" },
        { "source": "\\Junk", "target": "\\Junk" },
        { "source": "\\Sent", "target": "\\Sent" },
        { "source": "\\Archive", "archive": true, "labels": ["Alt"] },
    ] }));
    for _ in 0..2 {
        home.run_ok();
        assert_eq!(subjects(&home, "INBOX"), ["neu"]);
        assert_eq!(subjects(&home, "[Google Mail]/Spam"), ["Angebot"]);
        assert_eq!(subjects(&home, "[Google Mail]/Gesendet"), ["Antwort"]);
        assert_eq!(subjects(&home, "Alt"), ["alt"]);
        assert_eq!(
            subjects(&home, "[Google Mail]/Alle Nachrichten"),
            ["Antwort", "alt", "neu"]
        );
    }
}

#[test]
fn dovecot_without_notify_is_watched_on_further_connections() {
    let dovecot = Dovecot::start_with(Settings {
        more: "imap_capability = IMAP4rev1 IDLE NAMESPACE UIDPLUS LIST-EXTENDED LIST-STATUS SPECIAL-USE\n".to_owned(),
        ..Settings::default()
    });
    let mut client = dovecot.client("alice");
    for folder in ["Listen", "Rechnungen"] {
        client.create(folder);
    }
    let home = home_at(
        &dovecot,
        &json!([
            { "source": "INBOX" },
            { "source": "Listen", "target": "=" },
            { "source": "Rechnungen", "target": "=" },
        ]),
    );
    let watching = Watching::start_with(&home, &["--poll-interval", "3600"]);
    watching.wait_for("other folders: 2 by IDLE on further connections");
    for (number, folder) in ["Listen", "Rechnungen", "INBOX", "Listen"]
        .iter()
        .enumerate()
    {
        client.append(folder, "", "", &mail(&number.to_string()));
        let what = format!("message {number} in {folder}");
        watching.wait_until(&what, || home.gmail.all_mail().len() == number + 1);
    }
    watching.terminate();
    let ended = dovecot.wait_for_ended_sessions("alice", 3);
    let logged_out = ended
        .iter()
        .filter(|line| line.contains("Logged out"))
        .count();
    assert_eq!(logged_out, 3, "{ended:?}");
}

#[test]
#[ignore = "a measurement"]
fn measure_a_run_with_nothing_new_over_many_folders() {
    let dovecot = Dovecot::start();
    let mut client = dovecot.client("alice");
    for number in 0..200 {
        client.create(&format!("Listen/{number}"));
        client.append(
            &format!("Listen/{number}"),
            "",
            "",
            &mail(&number.to_string()),
        );
    }
    let mut medians: Vec<f64> = Vec::new();
    for count in [0, 19, 199] {
        let mut folders = vec![json!({ "source": "INBOX" })];
        folders.extend(
            (0..count).map(|it| json!({ "source": format!("Listen/{it}"), "target": "=" })),
        );
        let home = home_at(&dovecot, &json!(folders));
        home.run_ok();
        let mut times: Vec<f64> = (0..21)
            .map(|_| {
                let start = Instant::now();
                let output = home.command().output().unwrap();
                assert!(output.status.success());
                start.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        medians.push(times[times.len() / 2]);
    }
    println!(
        "nothing new in 1, 20, 200 folders: {:.1}, {:.1}, {:.1} ms: 1, {:.2}, {:.2} x",
        medians[0],
        medians[1],
        medians[2],
        medians[1] / medians[0],
        medians[2] / medians[0]
    );
}
