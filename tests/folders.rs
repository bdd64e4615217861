//! Several folders of one account: which ones are copied, where their mail goes, and what that costs.

// A test fails by a panic, in its support code as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use double::{Event, Fault, GmailOptions, Server, SourceOptions, StoredMessage};
use serde_json::{Value, json};

use program::Home;

/// Gmail keeps each copy, so that duplicates are visible.
fn home(folders: &Value) -> Home {
    let gmail = GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    };
    let home = Home::with(SourceOptions::default(), gmail);
    for folder in ["Lists", "Lists/Rust", "Junk"] {
        let role: &[&str] = if folder == "Junk" { &["\\Junk"] } else { &[] };
        home.source.mailboxes().create_with(folder, role);
    }
    home.configure(&json!({ "folders": folders }));
    home
}

fn mail(subject: &str) -> Vec<u8> {
    format!("Message-ID: <{subject}@x>\r\nSubject: {subject}\r\n\r\n{subject}\r\n").into_bytes()
}

fn without_id(subject: &str) -> Vec<u8> {
    format!("Subject: {subject}\r\n\r\n{subject}\r\n").into_bytes()
}

fn deliver(home: &Home, folder: &str, octets: &[u8]) -> u32 {
    let date = (Utc::now() - TimeDelta::hours(1)).fixed_offset();
    home.source.mailboxes().deliver(folder, octets, date, &[])
}

/// The subjects of a folder at Gmail, in order.
fn subjects(home: &Home, folder: &str) -> Vec<String> {
    let subject = |message: &StoredMessage| {
        let text = String::from_utf8_lossy(&message.octets).into_owned();
        let (_, rest) = text.split_once("Subject: ").unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    let mut subjects: Vec<String> = home.gmail.messages(folder).iter().map(subject).collect();
    subjects.sort();
    subjects
}

fn everything() -> Value {
    json!([
        { "source": "INBOX" },
        { "source": "\\Junk", "target": "\\Junk" },
        { "source": "Lists/*", "target": "=" },
        { "source": "Lists", "target": "Newsletters" },
    ])
}

#[test]
fn each_folder_goes_where_the_first_entry_that_matches_it_says() {
    let home = home(&everything());
    for (folder, subject) in [
        ("INBOX", "letter"),
        ("Junk", "offer"),
        ("Lists", "weekly"),
        ("Lists/Rust", "release"),
    ] {
        deliver(&home, folder, &mail(subject));
    }
    let run = home.run_ok();
    for line in ["INBOX: 1 copied, ", "Lists/Rust: 1 copied, "] {
        assert!(run.stdout.contains(line), "{run:?}");
    }
    assert_eq!(subjects(&home, "INBOX"), ["letter"]);
    assert_eq!(subjects(&home, "[Gmail]/Spam"), ["offer"]);
    assert_eq!(subjects(&home, "Newsletters"), ["weekly"]);
    assert_eq!(subjects(&home, "Lists/Rust"), ["release"]);
    // One after the other, each on its own.
    deliver(&home, "Lists/Rust", &mail("another release"));
    home.run_ok();
    deliver(&home, "Junk", &mail("another offer"));
    home.run_ok();
    assert_eq!(
        subjects(&home, "Lists/Rust"),
        ["another release", "release"]
    );
    assert_eq!(subjects(&home, "[Gmail]/Spam"), ["another offer", "offer"]);
}

#[test]
fn a_message_that_is_copied_or_moved_to_another_folder_is_delivered_once() {
    for octets in [mail("letter"), without_id("letter")] {
        let home = home(&everything());
        let uid = deliver(&home, "INBOX", &octets);
        home.run_ok();
        let mailboxes = home.source.mailboxes();
        let there = &home.source.messages("INBOX")[0];
        mailboxes.deliver("Lists", &octets, there.internal_date, &[]);
        home.run_ok();
        mailboxes.expunge("INBOX", uid);
        mailboxes.deliver("Lists/Rust", &octets, there.internal_date, &[]);
        home.run_ok();
        assert_eq!(home.gmail.all_mail().len(), 1);
    }
}

#[test]
fn a_state_of_one_folder_goes_on_with_several_and_back() {
    let home = home(&everything());
    home.configure(&json!({ "folders": null }));
    deliver(&home, "INBOX", &mail("one"));
    home.run_ok();
    home.configure(&json!({ "folders": everything() }));
    deliver(&home, "INBOX", &mail("two"));
    deliver(&home, "Lists", &mail("weekly"));
    home.run_ok();
    assert_eq!(home.state()["folder"], "INBOX");
    home.configure(&json!({ "folders": null }));
    deliver(&home, "INBOX", &mail("three"));
    deliver(&home, "Lists", &mail("not asked for"));
    home.run_ok();
    assert_eq!(subjects(&home, "INBOX"), ["one", "three", "two"]);
    assert_eq!(home.gmail.all_mail().len(), 4);
}

#[test]
fn a_folder_that_cannot_be_opened_is_named_and_stops_no_other() {
    let home = home(&everything());
    home.source.change(|options| {
        options.forbidden.insert("Lists".to_owned());
    });
    for folder in ["INBOX", "Lists", "Lists/Rust", "Junk"] {
        deliver(&home, folder, &mail(&folder.replace('/', " ")));
    }
    let run = home.run();
    assert_eq!(run.status, Some(69), "{run:?}");
    assert!(run.stderr.contains("\"Lists\""), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert_eq!(home.gmail.all_mail().len(), 2);
    assert_eq!(home.gmail.messages("[Gmail]/Spam").len(), 1);
    // Permitted again, its mail is not lost.
    home.source.change(|options| options.forbidden.clear());
    home.run_ok();
    assert_eq!(subjects(&home, "Newsletters"), ["Lists"]);
}

#[test]
fn of_two_hundred_folders_only_those_with_news_are_opened() {
    let home = home(&json!([{ "source": "INBOX" }, { "source": "*", "target": "Archive" }]));
    for number in 0..197 {
        home.source.mailboxes().create(&format!("Folder {number}"));
    }
    deliver(&home, "INBOX", &mail("letter"));
    home.run_ok();
    let nothing_new = |expected: usize| {
        let (before, gmail) = (home.source.round_trips(), home.gmail.connections());
        let state = home.read("sync_state.json");
        home.run_ok();
        assert!(
            home.source.round_trips() - before <= expected,
            "{:#?}",
            home.source.commands()
        );
        assert_eq!(home.gmail.connections(), gmail);
        assert_eq!(home.read("sync_state.json"), state);
    };
    nothing_new(5);
    for number in [3, 70, 190] {
        deliver(
            &home,
            &format!("Folder {number}"),
            &mail(&format!("{number}")),
        );
    }
    let before = home.source.commands().len();
    home.run_ok();
    let commands = &home.source.commands()[before..];
    let examined = commands.iter().filter(|line| line.starts_with("EXAMINE"));
    assert_eq!(examined.count(), 4, "the inbox, and three: {commands:#?}");
    assert_eq!(subjects(&home, "Archive"), ["190", "3", "70"]);
    // A server without LIST-STATUS is asked for all statuses in one flight.
    home.source
        .change(|options| options.without.push("LIST-STATUS".to_owned()));
    nothing_new(6);
}

#[test]
fn a_dry_run_shows_where_each_folder_goes_and_its_new_mail() {
    let home = home(&everything());
    home.run_ok();
    deliver(&home, "Lists/Rust", &mail("release"));
    let run = home.run_with(&["--dry-run"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "folder \"INBOX\" to \"INBOX\"", "{run:?}");
    assert_eq!(lines[1], "folder \"Junk\" to \"[Gmail]/Spam\"", "{run:?}");
    assert_eq!(
        lines[2], "folder \"Lists/Rust\" to \"Lists/Rust\"",
        "{run:?}"
    );
    assert!(lines[3].contains("<release@x> | new"), "{run:?}");
    assert_eq!(lines[4], "folder \"Lists\" to \"Newsletters\"", "{run:?}");
    assert_eq!(home.gmail.all_mail().len(), 0);
}

#[test]
fn a_folder_that_no_target_can_hold_is_a_mistake_before_anything_is_copied() {
    let home = home(&json!([{ "source": "INBOX" }, { "source": "Odd *", "target": "=" }]));
    home.source.mailboxes().create("Odd  name");
    deliver(&home, "INBOX", &mail("letter"));
    let run = home.run();
    assert_eq!(run.status, Some(78), "{run:?}");
    assert!(run.stderr.contains("Odd  name"), "{run:?}");
    assert_eq!(home.gmail.all_mail().len(), 0);
}

#[test]
fn the_status_names_each_folder_and_where_mail_is_parked() {
    let home = home(&everything());
    home.gmail.change(|options| options.append_limit = 40);
    deliver(&home, "INBOX", &mail("a"));
    deliver(&home, "Lists/Rust", &mail("too large for this account"));
    home.run_ok();
    let mut status = program::program(&home.path(""));
    let status = status.args(["status", "--config", "config.json"]);
    let text = String::from_utf8(status.output().unwrap().stdout).unwrap();
    for line in [
        "copies         user@localhost to user@gmail.com\n",
        "folders        4\n",
        "               Lists/Rust | uid 1 (UIDVALIDITY ",
        "               Lists/Rust | uid 1 | <too large for this account@x> | ",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

fn labels(home: &Home, subject: &str) -> Vec<String> {
    let mut labels: Vec<String> = ["Lists", "Old address", "Rust"]
        .into_iter()
        .filter(|label| home.gmail.mailboxes().exist(label))
        .filter(|label| subjects(home, label).iter().any(|there| there == subject))
        .map(str::to_owned)
        .collect();
    labels.sort();
    labels
}

fn labelled(on_move: &str) -> Home {
    let home = home(&json!([
        { "source": "INBOX", "labels": ["Old address"] },
        { "source": "Lists/Rust", "labels": ["Lists", "Rust"], "archive": true },
    ]));
    home.configure(&json!({ "on_move": on_move }));
    home
}

#[test]
fn messages_get_the_labels_of_their_folder_and_may_skip_the_inbox() {
    let home = labelled("ignore");
    deliver(&home, "INBOX", &mail("letter"));
    deliver(&home, "Lists/Rust", &mail("release"));
    home.run_ok();
    assert_eq!(labels(&home, "letter"), ["Old address"]);
    assert_eq!(labels(&home, "release"), ["Lists", "Rust"]);
    assert_eq!(subjects(&home, "INBOX"), ["letter"]);
}

#[test]
fn a_message_in_two_folders_gets_the_labels_of_both() {
    for octets in [mail("letter"), without_id("letter")] {
        let home = labelled("ignore");
        deliver(&home, "INBOX", &octets);
        let there = &home.source.messages("INBOX")[0];
        let mailboxes = home.source.mailboxes();
        mailboxes.deliver("Lists/Rust", &octets, there.internal_date, &[]);
        home.run_ok();
        assert_eq!(home.gmail.all_mail().len(), 1);
        assert_eq!(labels(&home, "letter"), ["Lists", "Old address", "Rust"]);
    }
}

#[test]
fn a_message_that_is_moved_gets_the_labels_of_the_other_folder_only_on_request() {
    for (on_move, expected) in [
        ("ignore", vec!["Old address"]),
        ("label", vec!["Lists", "Old address", "Rust"]),
    ] {
        for octets in [mail("letter"), without_id("letter")] {
            let home = labelled(on_move);
            let uid = deliver(&home, "INBOX", &octets);
            home.run_ok();
            age_deliveries(&home, 11);
            let there = home.source.messages("INBOX").remove(0);
            let mailboxes = home.source.mailboxes();
            mailboxes.expunge("INBOX", uid);
            mailboxes.deliver("Lists/Rust", &octets, there.internal_date, &[]);
            home.run_ok();
            assert_eq!(home.gmail.all_mail().len(), 1);
            assert_eq!(labels(&home, "letter"), expected, "{on_move}");
        }
    }
}

/// Mail in three folders, one message of it in two.
fn home_with_mail() -> Home {
    let home = labelled("ignore");
    home.run_ok();
    home.age_by_minutes(2);
    for (folder, octets) in [
        ("INBOX", mail("letter")),
        ("INBOX", without_id("note")),
        ("Lists/Rust", mail("release")),
        ("Lists/Rust", without_id("alarm")),
    ] {
        deliver(&home, folder, &octets);
    }
    let there = home.source.messages("INBOX").remove(0);
    let mailboxes = home.source.mailboxes();
    mailboxes.deliver("Lists/Rust", &there.octets, there.internal_date, &[]);
    home
}

fn assert_copied_and_labelled(home: &Home, what: &str) {
    for _ in 0..2 {
        home.age_by_minutes(60);
        home.run_ok();
    }
    assert_eq!(home.gmail.all_mail().len(), 4, "{what}");
    for (subject, expected) in [
        ("letter", vec!["Lists", "Old address", "Rust"]),
        ("note", vec!["Old address"]),
        ("release", vec!["Lists", "Rust"]),
        ("alarm", vec!["Lists", "Rust"]),
    ] {
        assert_eq!(labels(home, subject), expected, "{what}: {subject}");
    }
}

/// Cuts a connection of one side at every event.
fn cut_everywhere(side: fn(&Home) -> &Server) {
    let home = home_with_mail();
    let before = side(&home).events().len();
    home.run_ok();
    assert_copied_and_labelled(&home, "no cut");
    let events = side(&home).events().len() - before;
    assert!(events > 60, "{events}");
    for number in 1..events {
        let home = home_with_mail();
        let before = side(&home).events().len();
        side(&home).faults().cut_at(before + number);
        let what = format!("cut at {number} of {events}");
        let run = home.run();
        assert!(matches!(run.status, Some(0 | 69)), "{what}: {run:?}");
        side(&home).faults().clear();
        assert_copied_and_labelled(&home, &what);
    }
}

#[test]
fn the_source_may_be_cut_while_several_folders_are_copied() {
    cut_everywhere(|home| &home.source);
}

#[test]
fn gmail_may_be_cut_while_several_folders_are_copied() {
    cut_everywhere(|home| &home.gmail);
}

#[test]
fn labels_that_a_run_could_not_set_are_set_by_the_next_one_though_nothing_is_new() {
    let home = labelled("ignore");
    deliver(&home, "Lists/Rust", &mail("release"));
    let cut = |event: &Event| event.is_command("UID STORE");
    home.gmail.faults().always(cut, Fault::Eof);
    assert_eq!(home.run().status, Some(69));
    assert_eq!(labels(&home, "release"), [""; 0]);
    home.gmail.faults().clear();
    home.age_by_minutes(2);
    home.run_ok();
    assert_eq!(labels(&home, "release"), ["Lists", "Rust"]);
}

#[test]
fn labels_that_cannot_be_set_stop_the_mail_of_no_folder() {
    let home = labelled("ignore");
    let is_store = |event: &Event| event.is_command("UID STORE");
    home.gmail.faults().always(is_store, Fault::Eof);
    for number in 0..6 {
        deliver(&home, "INBOX", &mail(&format!("letter{number}")));
        deliver(&home, "Lists/Rust", &mail(&format!("release{number}")));
        let before = stores(&home);
        let run = home.run();
        assert_eq!(run.status, Some(69), "{run:?}");
        // Those of one pass: the second folder's tries none again.
        let tried = stores(&home) - before;
        assert!(tried <= 4, "{tried}");
        assert_eq!(home.gmail.all_mail().len(), 2 * (number + 1), "{run:?}");
        assert_eq!(run.logged("error").len(), 1, "{run:?}");
        home.age_by_minutes(2);
    }
    assert_eq!(labels(&home, "letter0"), [""; 0]);
    home.gmail.faults().clear();
    home.run_ok();
    for number in 0..6 {
        assert_eq!(labels(&home, &format!("letter{number}")), ["Old address"]);
        let release = format!("release{number}");
        assert_eq!(labels(&home, &release), ["Lists", "Rust"]);
    }
}

#[test]
fn mail_that_the_announced_uidnext_of_a_folder_hides_is_found_within_a_day() {
    let home = home(&everything());
    deliver(&home, "Lists", &mail("weekly"));
    home.run_ok();
    let uid = deliver(&home, "Lists", &mail("hidden"));
    home.source.mailboxes().set_uid_next("Lists", uid);
    let mut state = home.state();
    let a_day_ago = (Utc::now() - TimeDelta::days(1)).to_rfc3339();
    state["folders"]["Lists"]["last_sync"] = json!(a_day_ago);
    home.write("sync_state.json", &state.to_string());
    home.run_ok();
    assert_eq!(subjects(&home, "Newsletters"), ["hidden", "weekly"]);
    // From now on each run looks for more, in that folder alone.
    let before = home.source.commands().len();
    home.run_ok();
    let commands = &home.source.commands()[before..];
    let examined = commands.iter().filter(|line| line.starts_with("EXAMINE"));
    let examined: BTreeSet<&str> = examined.map(String::as_str).collect();
    assert!(
        examined
            .iter()
            .eq(&["EXAMINE \"INBOX\"", "EXAMINE \"Lists\""]),
        "{commands:#?}"
    );
}

#[test]
fn a_folder_that_appears_later_under_a_name_that_gmail_does_not_take_stops_no_other() {
    let home = home(&json!([{ "source": "INBOX" }, { "source": "*", "target": "=" }]));
    home.run_ok();
    home.source.mailboxes().create("Odd  name");
    deliver(&home, "Odd  name", &mail("odd"));
    deliver(&home, "INBOX", &mail("letter"));
    let run = home.run();
    assert_eq!(run.status, Some(78), "{run:?}");
    assert!(run.stderr.contains("Odd  name"), "{run:?}");
    assert_eq!(subjects(&home, "INBOX"), ["letter"]);
}

#[test]
fn the_first_pass_of_a_folder_that_could_not_be_copied_for_long_goes_back_to_when_it_appeared() {
    let rules = |more: Value| {
        let mut rules = vec![json!({ "source": "INBOX" })];
        rules.extend(Some(more).filter(Value::is_object));
        rules.push(json!({ "source": "*", "target": "=" }));
        Value::Array(rules)
    };
    let home = home(&rules(Value::Null));
    home.run_ok();
    let mailboxes = home.source.mailboxes();
    mailboxes.create("Odd  name");
    let date = (Utc::now() - TimeDelta::days(12)).fixed_offset();
    mailboxes.deliver("Odd  name", &mail("odd"), date, &[]);
    assert_eq!(home.run().status, Some(78));
    let mut state = home.state();
    let long_ago = (Utc::now() - TimeDelta::days(10)).to_rfc3339();
    let first_seen = &mut state["folders"]["Odd  name"]["first_seen"];
    assert!(first_seen.is_string(), "{first_seen}");
    *first_seen = json!(long_ago);
    home.write("sync_state.json", &state.to_string());
    home.configure(&json!({ "folders": rules(json!({ "source": "Odd  name", "target": "Odd" })) }));
    home.run_ok();
    assert_eq!(subjects(&home, "Odd"), ["odd"]);
    let state = home.state();
    assert_eq!(state["folders"]["Odd  name"]["first_seen"], Value::Null);
}

#[test]
fn the_short_form_with_archive_contacts_gmail_only_when_something_is_new() {
    let home = home(&everything());
    home.configure(&json!({ "folders": null, "archive": true }));
    deliver(&home, "INBOX", &mail("letter"));
    home.run_ok();
    assert_eq!(home.gmail.all_mail().len(), 1);
    assert_eq!(subjects(&home, "INBOX"), [""; 0]);
    let connections = home.gmail.connections();
    home.run_ok();
    assert_eq!(home.gmail.connections(), connections);
}

#[test]
fn a_folder_of_several_keeps_its_state_when_only_another_one_is_configured() {
    let home = home(&json!([{ "source": "INBOX" }]));
    deliver(&home, "INBOX", &mail("letter"));
    home.run_ok();
    home.configure(&json!({ "folders": null, "source_folder": "Lists" }));
    deliver(&home, "Lists", &mail("weekly"));
    home.run_ok();
    let state = home.state();
    assert_eq!(state["folder"], "INBOX");
    assert_eq!(state["cursor"]["uid"], 1);
    assert_eq!(state["folders"]["Lists"]["cursor"]["uid"], 1);
}

#[test]
fn status_and_check_say_which_messages_still_get_their_labels() {
    let home = home(&json!([{ "source": "INBOX", "labels": ["Old"] }]));
    deliver(&home, "INBOX", &mail("one"));
    deliver(&home, "INBOX", &mail("two"));
    let is_store = |event: &Event| event.is_command("UID STORE");
    home.gmail.faults().always(is_store, Fault::Eof);
    home.run();
    let ask = |words: &[&str]| {
        let mut command = program::program(&home.path(""));
        let output = command
            .args(words)
            .args(["--config", "config.json"])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(ask(&["status"]).contains("2 messages lack theirs since "));
    let report: Value = serde_json::from_str(&ask(&["status", "--json"])).unwrap();
    assert_eq!(report[0]["owed_labels"]["messages"], 2);
    assert!(report[0]["owed_labels"]["since"].is_string());
    ask(&["status", "--metrics", "metrics.prom"]);
    let metrics = home.read("metrics.prom");
    let mut lines = metrics.lines();
    assert!(
        lines.any(|it| it.contains("unlabelled_messages{") && it.ends_with(" 2")),
        "{metrics}"
    );
    assert!(ask(&["check"]).contains("messages that still get their labels: 2, since "));
    home.gmail.faults().clear();
    home.age_by_minutes(60);
    home.run_ok();
    assert!(!ask(&["status"]).contains("lack theirs"));
    assert!(!ask(&["check"]).contains("still get their labels"));
    let report: Value = serde_json::from_str(&ask(&["status", "--json"])).unwrap();
    assert_eq!(report[0]["owed_labels"], Value::Null);
}

#[test]
fn a_folder_that_breaks_the_connection_is_named_and_stops_no_other() {
    let home = home(&everything());
    home.run_ok();
    for (folder, subject) in [
        ("INBOX", "letter"),
        ("Lists", "weekly"),
        ("Lists/Rust", "release"),
        ("Junk", "offer"),
    ] {
        deliver(&home, folder, &mail(subject));
    }
    let is_opened = |event: &Event| event.is_examine_of("Junk");
    home.source.faults().always(is_opened, Fault::Eof);
    let logins = home.source.logins();
    let run = home.run();
    assert_eq!(run.status, Some(69), "{run:?}");
    assert_eq!(subjects(&home, "INBOX"), ["letter"]);
    assert_eq!(subjects(&home, "Lists/Rust"), ["release"]);
    assert_eq!(subjects(&home, "Newsletters"), ["weekly"]);
    assert_eq!(run.logged("error").len(), 1, "{run:?}");
    assert!(
        run.logged("error")[0].contains("opening the folder \"Junk\""),
        "{run:?}"
    );
    assert_eq!(home.source.logins() - logins, 2);
    home.source.faults().clear();
    home.run_ok();
    assert_eq!(subjects(&home, "[Gmail]/Spam"), ["offer"]);
}

#[test]
fn folders_that_break_the_connection_or_are_refused_stop_none_of_those_after_them() {
    let home = home(&json!([{ "source": "*", "target": "Archive" }]));
    let mailboxes = home.source.mailboxes();
    for folder in ["Folder 1", "Folder 2", "Folder 3", "Folder 4"] {
        mailboxes.create(folder);
        deliver(&home, folder, &mail(folder));
    }
    let opens = |folder: &'static str| move |event: &Event| event.is_examine_of(folder);
    let faults = home.source.faults();
    faults.always(opens("Folder 1"), Fault::Eof);
    faults.always(
        opens("Folder 2"),
        Fault::Instead("<T> NO [NOPERM] No".to_owned()),
    );
    faults.always(opens("Folder 3"), Fault::Eof);
    let logins = home.source.logins();
    let run = home.run();
    assert_eq!(run.status, Some(69), "{run:?}");
    assert_eq!(subjects(&home, "Archive"), ["Folder 4"]);
    // One more for each that broke the connection.
    assert_eq!(home.source.logins() - logins, 3);
    let errors = run.logged("error").join("\n");
    for folder in ["Folder 1", "Folder 2", "Folder 3"] {
        assert!(
            errors.contains(&format!("opening the folder \"{folder}\"")),
            "{errors}"
        );
    }
}

#[test]
fn a_message_in_two_folders_gets_the_labels_of_both_though_the_second_cannot_be_read_at_first() {
    let home = labelled("ignore");
    home.run_ok();
    home.age_by_minutes(2);
    deliver(&home, "INBOX", &mail("letter"));
    let there = home.source.messages("INBOX").remove(0);
    let mailboxes = home.source.mailboxes();
    mailboxes.deliver("Lists/Rust", &there.octets, there.internal_date, &[]);
    let is_opened = |event: &Event| event.is_examine_of("Rust");
    let refusal = Fault::Instead("<T> NO [INUSE] Busy".to_owned());
    home.source.faults().once(is_opened, refusal);
    assert_eq!(home.run().status, Some(69));
    assert_eq!(labels(&home, "letter"), ["Old address"]);
    // Even if that lasts for hours.
    age_deliveries(&home, 60);
    home.run_ok();
    assert_eq!(labels(&home, "letter"), ["Lists", "Old address", "Rust"]);
}

#[test]
fn a_message_that_is_moved_is_no_copy_although_some_folder_can_never_be_read() {
    let home = labelled("ignore");
    home.source.mailboxes().create("Lists/Secret");
    home.configure(&json!({ "folders": [
        { "source": "INBOX", "labels": ["Old address"] },
        { "source": "Lists/Rust", "labels": ["Rust"] },
        { "source": "Lists/*", "target": "Archive" },
    ]}));
    let is_opened = |event: &Event| event.is_examine_of("Secret");
    let refusal = Fault::Instead("<T> NO [NOPERM] No".to_owned());
    home.source.faults().always(is_opened, refusal);
    let uid = deliver(&home, "INBOX", &mail("letter"));
    assert_eq!(home.run().status, Some(69));
    age_deliveries(&home, 25 * 60);
    let there = home.source.messages("INBOX").remove(0);
    let mailboxes = home.source.mailboxes();
    mailboxes.expunge("INBOX", uid);
    mailboxes.deliver("Lists/Rust", &there.octets, there.internal_date, &[]);
    assert_eq!(home.run().status, Some(69));
    assert_eq!(labels(&home, "letter"), ["Old address"]);
    assert_eq!(home.state()["recent_deliveries"], Value::Null);
}

#[test]
fn a_copy_that_comes_a_moment_after_its_message_was_delivered_gets_its_labels_once() {
    for (minutes, expected) in [
        (1, vec!["Lists", "Old address", "Rust"]),
        (11, vec!["Old address"]),
    ] {
        let home = labelled("ignore");
        home.run_ok();
        deliver(&home, "INBOX", &mail("letter"));
        home.run_ok();
        age_deliveries(&home, minutes);
        let there = home.source.messages("INBOX").remove(0);
        let mailboxes = home.source.mailboxes();
        let copy = || mailboxes.deliver("Lists/Rust", &there.octets, there.internal_date, &[]);
        let uid = copy();
        home.run_ok();
        assert_eq!(labels(&home, "letter"), expected, "{minutes}");
        // Another copy gets none again.
        mailboxes.expunge("Lists/Rust", uid);
        copy();
        let sets = stores(&home);
        home.run_ok();
        assert_eq!(stores(&home), sets, "{minutes}");
    }
}

/// All messages were delivered this long ago.
fn age_deliveries(home: &Home, minutes: i64) {
    let mut state = home.state();
    let at = (Utc::now() - TimeDelta::minutes(minutes)).to_rfc3339();
    for delivered in state["synced_message_ids"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        *delivered = json!(at);
    }
    home.write("sync_state.json", &state.to_string());
}

fn stores(home: &Home) -> usize {
    let events = home.gmail.events();
    events
        .iter()
        .filter(|event| event.is_command("UID STORE"))
        .count()
}

#[test]
fn a_parked_message_that_is_moved_and_copied_from_there_is_not_reported_as_refused() {
    let home = home(&everything());
    home.run_ok();
    home.age_by_minutes(2);
    let uid = deliver(&home, "INBOX", &mail("letter"));
    let is_append = |event: &Event| event.is_command("APPEND");
    let refusal = Fault::Instead("<T> NO Not now".to_owned());
    home.gmail.faults().once(is_append, refusal);
    home.run();
    let mailboxes = home.source.mailboxes();
    let there = home.source.messages("INBOX").remove(0);
    mailboxes.expunge("INBOX", uid);
    mailboxes.deliver("Lists", &there.octets, there.internal_date, &[]);
    home.age_by_minutes(60);
    home.run();
    assert_eq!(subjects(&home, "Newsletters"), ["letter"]);
    let state = home.state();
    assert_eq!(
        (&state["parked"], &state["refused"]),
        (&json!({}), &json!({}))
    );
}

#[test]
fn since_warns_of_the_folders_that_failed_and_holds_for_the_others() {
    let home = home(&everything());
    let old = (Utc::now() - TimeDelta::days(40)).fixed_offset();
    let mailboxes = home.source.mailboxes();
    for folder in ["INBOX", "Lists", "Junk"] {
        mailboxes.deliver(folder, &mail(folder), old, &[]);
    }
    home.run_ok();
    let junk_is_opened = |event: &Event| event.is_examine_of("Junk");
    let refusal = Fault::Instead("<T> NO [NOPERM] Permission denied".to_owned());
    home.source.faults().always(junk_is_opened, refusal);
    let day = (Utc::now() - TimeDelta::days(50)).format("%Y-%m-%d");
    let since = format!("--since={day}");
    let run = home.run_with(&[&since]);
    assert_ne!(run.status, Some(0), "{run:?}");
    let warning =
        "--since had no effect on the folders that failed (\"Junk\"); repeat it in a later run";
    assert_eq!(run.logged("warn"), [warning], "{run:?}");
    assert_eq!(subjects(&home, "INBOX"), ["INBOX"]);
    assert_eq!(subjects(&home, "Newsletters"), ["Lists"]);
    assert_eq!(subjects(&home, "[Gmail]/Spam"), [""; 0]);
    home.source.faults().clear();
    home.run_ok();
    assert_eq!(subjects(&home, "[Gmail]/Spam"), [""; 0], "it is too old");
    let run = home.run_with(&[&since]);
    assert_eq!(
        (run.status, run.logged("warn").len()),
        (Some(0), 0),
        "{run:?}"
    );
    assert_eq!(subjects(&home, "[Gmail]/Spam"), ["Junk"]);
}

#[test]
fn old_mail_that_is_moved_when_its_id_is_forgotten_is_not_copied_again() {
    let home = home(&everything());
    home.configure(&json!({ "first_run_days": 100 }));
    let old = (Utc::now() - TimeDelta::days(40)).fixed_offset();
    let messages = [mail("letter"), without_id("note")];
    let mailboxes = home.source.mailboxes();
    let uids = messages
        .each_ref()
        .map(|octets| mailboxes.deliver("INBOX", octets, old, &[]));
    home.run_ok();
    // The reader has thrown the letter away, and a month has passed.
    home.gmail.trash(1);
    let mut state = home.state();
    state["synced_message_ids"] = json!({});
    home.write("sync_state.json", &state.to_string());
    for (uid, octets) in uids.into_iter().zip(&messages) {
        mailboxes.expunge("INBOX", uid);
        mailboxes.deliver("Lists", octets, old, &[]);
    }
    home.run_ok();
    assert_eq!(home.gmail.in_trash().len(), 1);
    assert_eq!(home.gmail.all_mail().len(), 1);
}
