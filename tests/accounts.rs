//! Which account a state belongs to: what is bound by a mistake, and what keeps it when names change.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/program.rs"]
mod program;

use chrono::{TimeDelta, Utc};
use double::{GmailOptions, SourceOptions};
use serde_json::{Value, json};

use program::Home;

/// Gmail keeps each copy, so that duplicates are visible.
fn home() -> Home {
    let gmail = GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    };
    Home::with(SourceOptions::default(), gmail)
}

/// Delivers a message that was received so many days ago.
fn deliver(home: &Home, subject: &str, days: i64) {
    let octets = format!("Message-ID: <{subject}@x>\r\nSubject: {subject}\r\n\r\n{subject}\r\n");
    let date = (Utc::now() - TimeDelta::days(days)).fixed_offset();
    home.source.deliver(octets.as_bytes(), date, &[]);
}

fn copies(home: &Home) -> usize {
    home.gmail.all_mail().len()
}

/// Another server; UIDVALIDITY of its INBOX is the same.
fn another_server(home: &Home) -> Home {
    let other = Home::with(SourceOptions::default(), GmailOptions::default());
    let uid_validity = home.source.mailboxes().uid_validity("INBOX");
    let mailboxes = other.source.mailboxes();
    mailboxes.set_uid_validity("INBOX", uid_validity);
    other
}

/// The fields of a configuration whose source is that server, under another name.
fn source_fields(home: &Home, other: &Home) -> Value {
    home.write("other.pem", other.source.ca_pem());
    json!({
        "source_server": "127.0.0.1",
        "source_tls_name": "localhost",
        "source_port": other.source.port(),
        "source_ca_file": "other.pem",
    })
}

/// Runs with these fields changed, and asserts how that ends.
#[track_caller]
fn assert_ends(home: &Home, fields: &Value, options: &[&str], status: i32, line: &str) {
    home.configure(fields);
    let run = home.run_with(options);
    let output = format!("{}{}", run.stdout, run.stderr);
    assert_eq!(run.status, Some(status), "{output}");
    assert!(output.contains(line), "{output}");
}

#[test]
fn a_corrected_source_user_is_no_other_account() {
    let home = home();
    deliver(&home, "new", 6);
    assert_ends(
        &home,
        &json!({ "source_user": "usre" }),
        &[],
        77,
        "logging in as usre",
    );
    assert_ends(&home, &json!({ "source_user": "user" }), &[], 0, "1 copied");
}

#[test]
fn a_corrected_source_folder_gets_a_first_run_though_the_wrong_one_was_synced() {
    let home = home();
    deliver(&home, "new", 6);
    home.source.mailboxes().create("Empty");
    home.configure(&json!({ "source_folder": "Empty" }));
    home.run_ok();
    assert_ends(
        &home,
        &json!({ "source_folder": "INBOX" }),
        &[],
        0,
        "1 copied",
    );
}

#[test]
fn a_corrected_server_gets_the_days_of_a_first_run_though_the_wrong_one_was_synced() {
    let home = home();
    let wrong = Home::with(SourceOptions::default(), GmailOptions::default());
    let fields = source_fields(&home, &wrong);
    let right = home.read("config.json");
    assert_ends(&home, &fields, &[], 0, "");
    deliver(&home, "new", 6);
    home.write("config.json", &right);
    assert_ends(&home, &json!({}), &[], 0, "1 copied");
}

#[test]
fn a_corrected_target_user_is_no_other_account() {
    let home = home();
    deliver(&home, "new", 6);
    let user = home.gmail.user();
    assert_ends(
        &home,
        &json!({ "target_user": "other@gmail.com" }),
        &[],
        77,
        "other@gmail.com",
    );
    assert_ends(&home, &json!({ "target_user": user }), &[], 0, "1 copied");
}

#[test]
fn an_address_is_the_same_in_any_case() {
    let home = home();
    deliver(&home, "new", 1);
    home.run_ok();
    let (local, domain) = home
        .gmail
        .user()
        .split_once('@')
        .map(|(l, d)| (l.to_owned(), d.to_uppercase()))
        .unwrap();
    home.configure(
        &json!({ "target_user": format!("{local}@{domain}"), "source_folder": "inbox" }),
    );
    home.run_ok();
}

#[test]
fn a_state_of_another_account_is_refused_whatever_it_is_asked() {
    let home = home();
    deliver(&home, "new", 1);
    home.run_ok();
    home.source.mailboxes().create("Other");
    let other = json!({ "source_folder": "Other" });
    assert_ends(&home, &other, &[], 78, "add --same-account to one run");
    let line = "the messages that were copied last are not there under their UIDs";
    assert_ends(&home, &other, &["--same-account"], 78, line);
    assert_ends(&home, &other, &["--same-account", "--watch"], 78, line);
    assert_ends(&home, &json!({ "source_folder": "INBOX" }), &[], 0, "");
}

#[test]
fn a_renamed_source_user_keeps_what_is_remembered() {
    let home = home();
    deliver(&home, "new", 1);
    home.run_ok();
    home.source
        .change(|options| options.user = "user@mail.test".to_owned());
    // An old message that is moved in is above the cursor; a date pass would miss it.
    deliver(&home, "old", 100);
    let renamed = json!({ "source_user": "user@mail.test" });
    assert_ends(&home, &renamed, &[], 78, "this state is for user/INBOX");
    assert_ends(&home, &renamed, &["--same-account"], 0, "1 copied");
    home.run_ok();
    assert_eq!(copies(&home), 2);
}

#[test]
fn another_label_needs_no_proof_and_another_gmail_account_the_mail_that_was_copied() {
    let home = home();
    deliver(&home, "new", 1);
    home.run_ok();
    let label = json!({ "target_folder": "Work" });
    assert_ends(&home, &label, &[], 78, "add --same-account to one run");
    deliver(&home, "next", 1);
    assert_ends(&home, &label, &["--same-account"], 0, "1 copied");
    assert_eq!(home.gmail.messages("Work").len(), 1);

    let other = Home::with(
        SourceOptions::default(),
        GmailOptions {
            user: "other@gmail.com".to_owned(),
            ..GmailOptions::default()
        },
    );
    home.write("other.pem", other.gmail.ca_pem());
    home.write("other.json", &other.endpoint.token_json("other@gmail.com"));
    let fields = json!({
        "target_user": "other@gmail.com",
        "target_port": other.gmail.port(),
        "target_ca_file": "other.pem",
        "target_token_file": "other.json",
    });
    let line = "it does not have the messages that were copied last";
    assert_ends(&home, &fields, &["--same-account"], 78, line);
    for copied in home.gmail.all_mail() {
        other
            .gmail
            .deliver(&copied.octets, copied.internal_date, &[]);
    }
    assert_ends(&home, &fields, &["--same-account"], 0, "is now for");
}

#[test]
fn a_renamed_server_is_the_same_mailbox_and_another_one_gets_a_date_pass() {
    let home = home();
    deliver(&home, "new", 1);
    home.run_ok();
    deliver(&home, "old", 100);
    let fields = json!({ "source_server": "127.0.0.1", "source_tls_name": "localhost" });
    assert_ends(
        &home,
        &fields,
        &[],
        0,
        "is the same mailbox as user@localhost/INBOX",
    );
    assert_eq!(copies(&home), 2, "the cursor holds");

    // Another server whose UIDVALIDITY and UIDs are the same, with other messages.
    let other = another_server(&home);
    deliver(&other, "first", 1);
    deliver(&other, "second", 1);
    deliver(&other, "third", 1);
    let mut fields = source_fields(&home, &other);
    fields["source_server"] = json!("localhost");
    assert_ends(&home, &fields, &[], 0, "3 copied");
}

#[test]
fn a_new_label_on_request_is_no_proof_that_another_server_has_the_same_mailbox() {
    let home = home();
    deliver(&home, "new", 1);
    home.run_ok();
    let other = another_server(&home);
    deliver(&other, "first", 1);
    deliver(&other, "second", 1);
    let mut fields = source_fields(&home, &other);
    fields["target_folder"] = json!("Work");
    assert_ends(&home, &fields, &["--same-account"], 0, "2 copied");
}

#[test]
fn one_message_that_two_mailboxes_share_does_not_make_them_the_same() {
    let home = home();
    deliver(&home, "welcome", 6);
    deliver(&home, "second", 1);
    home.run_ok();
    let other = another_server(&home);
    deliver(&other, "welcome", 6);
    deliver(&other, "deleted", 1);
    other.source.mailboxes().expunge("INBOX", 2);
    deliver(&other, "third", 1);
    home.configure(&source_fields(&home, &other));
    let run = home.run_ok();
    assert!(!run.stdout.contains("is the same mailbox"), "{run:?}");
}
