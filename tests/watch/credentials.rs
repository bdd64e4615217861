//! Rejected credentials while the program is resident: what is retried, and what ends it.

use std::time::Duration;

use imap_to_gmail_sync::config::{Password, SourceConfig};
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::ImapSource;
use rustix::process::Signal;
use serde_json::json;

use crate::program::Home;
use crate::scripted_server::{OPEN_INBOX, ScriptedServer, dialogue};
use crate::session::options;
use crate::watching::{Watching, deliver};

#[test]
fn a_rejected_token_or_a_configuration_that_never_worked_ends_the_program() {
    let home = Home::new();
    let token: serde_json::Value = serde_json::from_str(&home.read("token.json")).unwrap();
    home.endpoint
        .revoke(token["refresh_token"].as_str().unwrap());
    let run = Watching::start(&home).wait_for_exit();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert!(!run.stdout.contains("watching"), "{run:?}");

    let home = Home::new();
    home.configure(&json!({ "target_token_file": "none.json" }));
    let run = Watching::start(&home).wait_for_exit();
    assert_eq!(run.status, Some(78), "{run:?}");
}

#[test]
fn a_password_command_that_fails_is_run_again() {
    for command in [
        // A time-out of the command takes the same path as its failure.
        "test -e unlocked || { echo locked >&2; exit 1; }; echo secret",
        "test ! -e unlocked || echo secret",
    ] {
        let home = Home::new();
        home.configure(&json!({ "source_pass": null, "source_pass_command": command }));
        assert_eq!(home.run().status, Some(78), "a single run fails");
        let watching = Watching::start(&home);
        watching.wait_for("the source is not available; will retry: source_pass_command");
        home.write("unlocked", "");
        watching.wait_for("watching INBOX");
        watching.terminate();
    }
}

#[test]
fn a_log_in_that_gmail_rejects_with_a_fresh_token_is_retried_twice() {
    let home = Home::new();
    home.run_ok();
    reject_log_ins_at_gmail(&home);
    let watching = Watching::start(&home);
    deliver(&home, 0);
    watching.wait_for("Gmail rejects the log-in; will retry: localhost");
    assert_eq!(watching.count("is not available"), 0);
    let connections = home.gmail.connections();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        home.gmail.connections(),
        connections,
        "it is not retried at once"
    );
    watching.terminate();
    // The third rejected log-in in a row ends it.
    home.age_by_minutes(60);
    assert_eq!(home.run().status, Some(77));
    home.age_by_minutes(60);
    let run = Watching::start(&home).wait_for_exit();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert_eq!(home.state()["gmail"]["token_refused"]["tries"], 3);
}

fn reject_log_ins_at_gmail(home: &Home) {
    home.gmail.change(|gmail| {
        let answer = "<T> NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)";
        gmail.login_response = Some(vec![answer.to_owned()]);
    });
}

#[test]
fn a_first_log_in_that_gmail_rejects_ends_the_program() {
    let home = Home::new();
    reject_log_ins_at_gmail(&home);
    let run = Watching::start(&home).wait_for_exit();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert!(run.stderr.contains("check that target_user"), "{run:?}");
    assert!(!run.stdout.contains("watching"), "{run:?}");
}

#[test]
fn a_password_command_that_prints_another_password_is_tried_at_once() {
    let home = Home::new();
    let command = "cat password";
    home.configure(&json!({ "source_pass": null, "source_pass_command": command }));
    home.write("password", "wrong\n");
    assert_eq!(home.run().status, Some(77));
    home.age_by_minutes(60);
    // The second one in a row delays the next for longer than the test waits.
    assert_eq!(home.run().status, Some(77));
    let watching = Watching::start(&home);
    watching.wait_for("the source rejects the log-in");
    home.write("password", "secret\n");
    watching.wait_for("watching INBOX");
    watching.terminate();
}

#[test]
fn a_rejected_password_is_retried_only_after_a_reload() {
    let home = Home::new();
    home.source
        .change(|source| source.password = "another".to_owned());
    let watching = Watching::start(&home);
    watching.wait_for("the source rejects the log-in; will retry: localhost");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(watching.count("is not available"), 0);
    assert_eq!(home.source.connections(), 1);
    home.configure(&json!({ "source_pass": "another" }));
    watching.signal(Signal::HUP);
    watching.wait_for("watching INBOX");
    watching.terminate();
    assert_eq!(home.state()["source"]["refused_logins"], 0);
}

#[test]
fn the_third_rejected_log_in_in_a_row_ends_the_program() {
    let home = Home::new();
    home.source
        .change(|source| source.password = "another".to_owned());
    for _ in 0..2 {
        assert_eq!(home.run().status, Some(77));
        home.age_by_minutes(60);
    }
    let run = Watching::start(&home).wait_for_exit();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert_eq!(home.source.connections(), 3);
}

#[test]
fn the_password_file_is_read_again_for_each_log_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "second\n").unwrap();
    let with = |password: &str| {
        let mut opened = OPEN_INBOX;
        // RFC 4616: NUL, user, NUL, password.
        let line = match password {
            "first" => "C: AUTHENTICATE PLAIN AGFsaWNlAGZpcnN0",
            _ => "C: AUTHENTICATE PLAIN AGFsaWNlAHNlY29uZA==",
        };
        opened[1] = line;
        opened
    };
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&with("first"), &["C: NOOP"]]),
        dialogue(&[&with("second")]),
    ]);
    let config = SourceConfig {
        server: server.address(),
        user: "alice".to_owned(),
        password: Password::File(file),
        folder: "INBOX".to_owned(),
    };
    let first = Secret::new("first".to_owned());
    let (mut source, _) = ImapSource::open(&config, first, options()).unwrap();
    source.check_for_mail().unwrap();
}
