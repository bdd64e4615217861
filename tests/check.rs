//! What does `check` find out, and does it leave files and servers alone?

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

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use chrono::Utc;
use double::{
    Certificate, Event, Fault, GmailOptions, Language, SourceOptions, login_rejections,
    token_rejections,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use dovecot::{Dovecot, PASSWORD};
use program::untouched::{check_harmlessly, files};
use program::{Home, Run, program};

/// The report of one account.
struct Report {
    exit: i32,
    json: Value,
}

impl Report {
    fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().unwrap()
    }

    fn find(&self, group: &str, check: &str) -> Option<&Value> {
        let mut findings = self.findings().iter();
        findings.find(|finding| finding["group"] == group && finding["check"] == check)
    }

    /// Asserts that there is such a finding; one that is not well has a remedy.
    #[track_caller]
    fn assert_found(&self, group: &str, check: &str, result: &str, part: &str) -> &Value {
        let finding = self
            .find(group, check)
            .unwrap_or_else(|| panic!("no {group}, {check} in {:#}", self.json));
        assert_eq!(finding["result"], result, "{finding:#}");
        let found = finding["found"].as_str().unwrap();
        assert!(found.contains(part), "no {part:?} in {finding:#}");
        assert_eq!(finding["remedy"].is_null(), result == "ok", "{finding:#}");
        finding
    }

    #[track_caller]
    fn assert_remedy(&self, group: &str, check: &str, part: &str) {
        let finding = self.find(group, check).unwrap();
        let remedy = finding["remedy"].as_str().unwrap();
        assert!(remedy.contains(part), "no {part:?} in {finding:#}");
    }

    /// Asserts that nothing was looked at that depends on a failure.
    #[track_caller]
    fn assert_missing(&self, group: &str, checks: &[&str]) {
        for check in checks {
            assert_eq!(self.find(group, check), None, "{group}, {check}");
        }
    }

    #[track_caller]
    fn assert_all_ok(&self, group: &str) {
        let mut of_group = self.findings().iter().filter(|it| it["group"] == group);
        assert!(of_group.clone().count() > 0, "no {group}");
        let bad = of_group.find(|finding| finding["result"] != "ok");
        assert_eq!(bad, None);
    }
}

#[track_caller]
fn report_of(home: &Home) -> Report {
    let run = check_harmlessly(home, &["--config", "config.json", "--json"]);
    assert_eq!(run.stderr, "");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["exit_status"], run.status.unwrap());
    assert_eq!(json[0]["is_complete"], true);
    Report {
        exit: run.status.unwrap(),
        json: json[0].clone(),
    }
}

#[track_caller]
fn report_with(home: &Home, exit: i32) -> Report {
    let report = report_of(home);
    assert_eq!(report.exit, exit, "{:#}", report.json);
    report
}

fn deliver(home: &Home, name: &str) {
    let mail = format!("Message-ID: <{name}@x>\r\nSubject: {name}\r\n\r\n{name}\r\n");
    let now = Utc::now().fixed_offset();
    home.source.deliver(mail.as_bytes(), now, &[]);
}

fn synced_home() -> Home {
    let home = Home::new();
    deliver(&home, "first");
    home.run_ok();
    home
}

#[track_caller]
fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The fingerprint of the first certificate in a PEM text, as openssl prints it.
fn fingerprint(pem: &str) -> String {
    let begin = pem.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap();
    let lines = begin.split("-----END").next().unwrap();
    let text: String = lines.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text);
    let octets = Sha256::digest(der.unwrap());
    let text = octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02X}:").unwrap();
        text
    });
    text.trim_end_matches(':').to_owned()
}

/// AUTHENTICATE and LOGIN commands that the source received.
fn attempts(home: &Home) -> usize {
    let commands = home.source.commands();
    let is_attempt = |line: &&String| line.starts_with("AUTH") || line.starts_with("LOGIN");
    commands.iter().filter(is_attempt).count()
}

#[test]
fn before_the_first_run_everything_is_looked_at_with_one_log_in_on_each_side() {
    let home = Home::new();
    let report = report_with(&home, 0);
    for group in ["configuration", "files", "state", "source", "gmail"] {
        report.assert_all_ok(group);
    }
    report.assert_found("state", "content", "ok", "the next run is the first");
    report.assert_found("source", "TLS", "ok", "TLS 1.3");
    report.assert_found("source", "certificate", "ok", "SHA-256 fingerprint ");
    report.assert_found("source", "log-in", "ok", "as user");
    report.assert_found("source", "IDLE", "ok", "offered");
    report.assert_found("source", "folder", "ok", "\"INBOX\" holds 0 messages, ");
    report.assert_found("gmail", "token", "ok", "not saved");
    report.assert_found("gmail", "log-in", "ok", "accepted for user@gmail.com");
    report.assert_found("gmail", "folder", "ok", "\"INBOX\" exists");
    report.assert_found("gmail", "All Mail", "ok", "[Gmail]/All Mail");
    report.assert_found("gmail", "message size", "ok", "34.0 MiB");
    report.assert_found("gmail", "storage", "ok", "30.0 GiB");
    assert_eq!((home.source.logins(), home.gmail.logins()), (1, 1));
    assert_eq!(home.source.connections(), 1);
    assert_eq!(home.gmail.connections(), 1);
    // The token was renewed, and each check renews it again.
    assert_eq!(home.endpoint.requests().len(), 1);
    report_with(&home, 0);
    assert_eq!(home.endpoint.requests().len(), 2);
    assert!(!home.read("token.json").contains("\"token\""));
}

#[test]
fn a_screen_has_a_line_for_each_finding_and_a_remedy_for_what_is_not_well() {
    let home = synced_home();
    let screen = check_harmlessly(&home, &["--config", "config.json"]);
    assert_eq!(screen.status, Some(0), "{screen:?}");
    assert!(
        screen.stdout.ends_with("\neverything works\n"),
        "{screen:?}"
    );
    for finding in report_with(&home, 0).findings() {
        let line = finding["found"].as_str().unwrap();
        // The age is another one by now.
        let line = line
            .split(" ago")
            .next()
            .unwrap()
            .trim_end_matches(char::is_numeric);
        let (group, check) = (&finding["group"], finding["check"].as_str().unwrap());
        let name = format!("\n  ok    {check:12}  ");
        assert!(
            screen.stdout.contains(&name),
            "{name:?} in {}",
            screen.stdout
        );
        let line: String = line.chars().take(20).collect();
        assert!(
            screen.stdout.contains(&line),
            "{line:?} in {}",
            screen.stdout
        );
        let heading = format!("\n{}\n", group.as_str().unwrap());
        let text = format!("\n{}", screen.stdout);
        assert_eq!(text.matches(&heading).count(), 1, "{heading}");
    }
    home.configure(&json!({ "source_folder": "INBX", "target_folder": "[Gmail]/All Mai" }));
    fs::remove_file(home.path("sync_state.json")).unwrap();
    fs::remove_file(home.path("sync_state.json.journal")).unwrap();
    let screen = check_harmlessly(&home, &["--config", "config.json"]);
    assert_eq!(screen.status, Some(78), "{screen:?}");
    for part in [
        "\n  FAIL  folder        localhost:",
        "\n                      remedy: did you mean \"INBOX\"?\n",
        "\n  warn  folder        \"[Gmail]/All Mai\" does not exist; ",
        "\n                      remedy: did you mean \"[Gmail]/All Mail\"?\n",
        "\nit does not work: 1 failure, 1 warning\n",
    ] {
        assert!(
            screen.stdout.contains(part),
            "{part:?} in {}",
            screen.stdout
        );
    }
}

#[test]
fn after_a_run_the_state_says_when_a_pass_was_complete_and_what_was_uploaded() {
    let home = synced_home();
    let report = report_with(&home, 0);
    report.assert_found("state", "content", "ok", "the last complete pass was ");
    report.assert_found("state", "lock", "ok", "no run is active");
    report.assert_found("gmail", "uploads", "ok", " of 400.0 MiB in 24 hours");
    report.assert_found("source", "folder", "ok", "\"INBOX\" holds 1 messages, ");
    home.configure(&json!({ "daily_upload_limit": "10" }));
    let report = report_with(&home, 0);
    report.assert_found("gmail", "uploads", "warn", "is used up");
    let mut state = home.state();
    state["gmail"]["retry_after"] = json!(Utc::now() + chrono::TimeDelta::minutes(9));
    home.write("sync_state.json", &state.to_string());
    report_with(&home, 0).assert_found("gmail", "rest", "warn", "send nothing to Gmail until");
    home.source.set_uid_validity(7);
    let report = report_with(&home, 0);
    report.assert_found("source", "folder", "warn", "the folder was replaced");
}

/// The server's own certificate is shown, so that a person can compare it, and no log-in is sent.
#[test]
fn a_certificate_that_is_not_trusted_is_shown_and_no_log_in_follows() {
    let cases = [
        (
            Certificate::UnknownAuthority,
            "not signed by a trusted authority",
            "source_ca_file",
        ),
        (
            Certificate::For(vec!["mx.example".to_owned()]),
            "is not for localhost, but for mx.example",
            "source_tls_name",
        ),
        (Certificate::Expired, "has expired", "must be renewed"),
        (Certificate::NotYetValid, "is not valid yet", "clock"),
    ];
    for (certificate, what, remedy) in cases {
        let home = Home::with(
            SourceOptions {
                certificate,
                ..SourceOptions::default()
            },
            GmailOptions::default(),
        );
        let report = report_with(&home, 69);
        let finding = report.assert_found("source", "certificate", "fail", what);
        let found = finding["found"].as_str().unwrap();
        let from = match remedy {
            "clock" => "from 2090-01-01",
            _ => "until ",
        };
        let shown = format!(", issued by CN=the double, valid {from}");
        assert!(found.contains(&shown), "{found}");
        assert!(found.contains(" until 20"), "{found}");
        assert!(found.contains(", SHA-256 fingerprint "), "{found}");
        report.assert_remedy("source", "certificate", remedy);
        report.assert_missing("source", &["TLS", "log-in", "IDLE", "folder"]);
        report.assert_all_ok("gmail");
        assert_eq!(home.source.commands(), Vec::<String>::new());
    }
}

#[test]
fn the_fingerprint_is_that_of_the_servers_own_certificate() {
    let home = Home::with(
        SourceOptions {
            certificate: Certificate::SelfSigned,
            ..SourceOptions::default()
        },
        GmailOptions::default(),
    );
    let expected = fingerprint(home.source.ca_pem());
    let trusted = report_with(&home, 0);
    trusted.assert_found("source", "certificate", "ok", &expected);
    trusted.assert_found("source", "certificate", "ok", "issued by itself");
    home.configure(&json!({ "source_ca_file": "gmail.pem" }));
    let stranger = report_with(&home, 69);
    stranger.assert_found("source", "certificate", "fail", &expected);
    stranger.assert_remedy("source", "certificate", "compare the fingerprint");
    assert_eq!(home.source.logins(), 1);
}

#[test]
fn a_certificate_that_expires_soon_is_warned_of() {
    for (days, result) in [(10, "warn"), (20, "ok")] {
        let home = Home::with(
            SourceOptions::default(),
            GmailOptions {
                certificate: Certificate::ExpiringIn(days),
                ..GmailOptions::default()
            },
        );
        let report = report_with(&home, 0);
        report.assert_found("gmail", "certificate", result, "valid until ");
    }
}

#[test]
fn a_real_dovecot_is_checked_by_implicit_tls_and_by_starttls() {
    let dovecot = Dovecot::start();
    dovecot.client("alice").create("&AMQ-rger");
    let home = Home::new();
    for (server, tls, shown) in [
        (dovecot.server(), "implicit", "TLS 1."),
        (dovecot.server_by_starttls(), "starttls", ", by STARTTLS"),
    ] {
        home.configure(&json!({
            "source_port": server.port, "source_tls": tls, "source_user": "alice",
            "source_pass": PASSWORD, "source_ca_file": server.ca_file, "source_folder": "INBOX",
        }));
        let report = report_with(&home, 0);
        report.assert_all_ok("source");
        report.assert_found("source", "TLS", "ok", shown);
        let pem = fs::read_to_string(dovecot.ca_file()).unwrap();
        report.assert_found("source", "certificate", "ok", &fingerprint(&pem));
        home.configure(&json!({ "source_folder": "Arger" }));
        let report = report_with(&home, 78);
        report.assert_found("source", "log-in", "ok", "alice");
        report.assert_found("source", "folder", "fail", "opening the folder \"Arger\"");
        report.assert_remedy("source", "folder", "did you mean \"Ärger\"?");
        home.configure(&json!({ "source_ca_file": "gmail.pem" }));
        let report = report_with(&home, 69);
        report.assert_found("source", "certificate", "fail", &fingerprint(&pem));
        report.assert_missing("source", &["log-in"]);
    }
}

#[test]
fn a_wrong_password_is_sent_once_even_when_runs_wait_after_a_rejection() {
    let home = Home::new();
    home.configure(&json!({ "source_pass": "wrong" }));
    let report = report_with(&home, 77);
    report.assert_found("source", "log-in", "fail", "logging in as user");
    report.assert_missing("source", &["IDLE", "folder"]);
    report.assert_all_ok("gmail");
    assert_eq!(attempts(&home), 1);
    assert_eq!(home.run().status, Some(77));
    let (state, before) = (home.state(), attempts(&home));
    let report = report_with(&home, 77);
    report.assert_found("source", "log-in", "fail", "tried once; runs try again at ");
    assert_eq!(attempts(&home), before + 1);
    assert_eq!(home.state(), state);
    // The server accepts it again, and runs do not know that yet.
    home.source
        .change(|source| source.password = "wrong".to_owned());
    let report = report_with(&home, 0);
    report.assert_found("source", "log-in", "warn", "runs wait until ");
}

#[test]
fn a_password_that_cannot_be_read_is_no_reason_not_to_connect() {
    let home = Home::new();
    home.configure(&json!({ "source_pass": null, "source_pass_file": "none" }));
    let report = report_with(&home, 78);
    report.assert_found("source", "password", "fail", "none: ");
    report.assert_found("source", "certificate", "ok", "fingerprint");
    report.assert_missing("source", &["log-in", "folder"]);
    assert_eq!(attempts(&home), 0);
    home.configure(&json!({ "source_pass_file": null, "source_pass_command": "exit 1" }));
    let report = report_with(&home, 78);
    report.assert_found("source", "password", "fail", "source_pass_command");
    report.assert_remedy(
        "source",
        "password",
        "run it by hand, and correct source_pass_command",
    );
}

#[test]
fn a_source_without_idle_is_warned_of() {
    let home = Home::with(
        SourceOptions {
            without: vec!["IDLE".to_owned()],
            ..SourceOptions::default()
        },
        GmailOptions::default(),
    );
    report_with(&home, 0).assert_found("source", "IDLE", "warn", "--watch polls");
}

#[test]
fn a_server_that_cannot_be_reached_hides_nothing_of_the_other_one() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let home = Home::new();
    home.configure(&json!({ "source_port": port }));
    let report = report_with(&home, 69);
    report.assert_found("source", "address", "ok", "localhost is ");
    report.assert_found("source", "connection", "fail", "connection refused");
    report.assert_missing("source", &["TLS", "certificate", "log-in"]);
    report.assert_all_ok("gmail");
    home.configure(&json!({ "source_server": "nowhere.invalid" }));
    let report = report_with(&home, 69);
    report.assert_found("source", "address", "fail", "looking up its address");
    report.assert_missing("source", &["connection", "TLS", "log-in"]);
    home.configure(&json!({ "source_server": "localhost" }));
    home.configure(&json!({ "source_port": home.source.port(), "target_port": port }));
    let report = report_with(&home, 69);
    report.assert_all_ok("source");
    report.assert_found("gmail", "connection", "fail", "connection refused");
    report.assert_missing("gmail", &["TLS", "log-in", "folder"]);
    home.configure(&json!({ "target_port": home.gmail.port(), "source_ca_file": "none.pem" }));
    let report = report_with(&home, 78);
    report.assert_found("source", "certificates", "fail", "none.pem");
    report.assert_missing("source", &["address"]);
    report.assert_all_ok("gmail");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_from_one_with_a_wrong_certificate() {
    let home = Home::with(
        SourceOptions {
            security: double::Security::StartTls,
            ..SourceOptions::default()
        },
        GmailOptions::default(),
    );
    let report = report_with(&home, 69);
    report.assert_found("source", "TLS", "fail", "does not speak TLS");
    report.assert_missing("source", &["certificate", "log-in"]);
    // A handshake is no IMAP.
    home.source.take_violations();
    home.configure(&json!({ "source_tls": "starttls" }));
    report_with(&home, 0).assert_found("source", "TLS", "ok", ", by STARTTLS");
}

#[test]
fn every_rejection_by_gmail_is_a_finding_with_a_remedy() {
    let home = Home::new();
    for response in login_rejections() {
        home.gmail
            .change(|gmail| gmail.login_response = Some(response.clone()));
        let report = report_of(&home);
        let finding = report.find("gmail", "log-in").unwrap();
        assert_ne!(finding["result"], "ok", "{response:?}: {finding}");
        assert!(finding["remedy"].is_string(), "{response:?}: {finding}");
        report.assert_missing("gmail", &["folder", "All Mail"]);
        report.assert_all_ok("source");
    }
    let invalid = "<T> NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)";
    home.gmail
        .change(|gmail| gmail.login_response = Some(vec![invalid.to_owned()]));
    let report = report_with(&home, 77);
    report.assert_found("gmail", "log-in", "fail", "Invalid credentials");
    report.assert_remedy("gmail", "log-in", "check that target_user is the account");
}

#[test]
fn a_token_of_another_account_is_noticed() {
    let home = Home::new();
    home.write("token.json", &home.endpoint.token_json("other@gmail.com"));
    let report = report_with(&home, 77);
    report.assert_remedy("gmail", "log-in", "check that target_user is the account");
    // A file that says so itself.
    home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
    home.run_ok();
    let text = home
        .read("token.json")
        .replace("https://mail.google.com/", "profile");
    home.write("token.json", &text);
    report_with(&home, 0);
    let response = "<T> NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)";
    home.gmail
        .change(|gmail| gmail.login_response = Some(vec![response.to_owned()]));
    let mut token: Value = serde_json::from_str(&text).unwrap();
    token["refresh_token"] = Value::Null;
    home.write("token.json", &token.to_string());
    let report = report_with(&home, 77);
    report.assert_found("gmail", "token", "fail", "gives no access to mail");
}

#[test]
fn a_refresh_token_that_google_rejects_is_a_failure_and_both_servers_are_still_checked() {
    let home = Home::new();
    // What another attempt may not meet is retried, which takes a while.
    let is_final = |(status, body): &(u16, String)| *status < 429 && !body.starts_with('<');
    let rejections: Vec<(u16, String)> = token_rejections().into_iter().filter(is_final).collect();
    assert!(rejections.len() > 3, "{rejections:?}");
    for rejection in &rejections {
        home.endpoint
            .change(|endpoint| endpoint.refusal = Some(rejection.clone()));
        let report = report_of(&home);
        assert!([69, 77].contains(&report.exit), "{:#}", report.json);
        let finding = report.find("gmail", "token").unwrap();
        assert_eq!(finding["result"], "fail", "{finding}");
        report.assert_found("gmail", "certificate", "ok", "fingerprint");
        report.assert_missing("gmail", &["log-in", "folder"]);
        report.assert_all_ok("source");
    }
    // A rejection that a run remembers does not keep a check from asking.
    let is_grant = |(_, body): &&(u16, String)| body.contains("invalid_grant");
    let grant = rejections.iter().find(is_grant).cloned();
    home.endpoint.change(|endpoint| endpoint.refusal = grant);
    assert_eq!(home.run().status, Some(77));
    home.endpoint.change(|endpoint| endpoint.refusal = None);
    assert_eq!(home.run().status, Some(77));
    report_with(&home, 0);
    home.endpoint.change_password(&home.gmail.user());
    let report = report_with(&home, 77);
    report.assert_remedy("gmail", "token", "imap-to-gmail-sync auth --credentials");
    home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
    report_with(&home, 0);
}

#[test]
fn a_token_that_a_check_cannot_keep_or_renew_is_told() {
    let home = Home::new();
    home.endpoint.change(|endpoint| endpoint.rotates = true);
    let report = report_with(&home, 77);
    report.assert_found("gmail", "token", "fail", "does not save the new one");
    home.endpoint.change(|endpoint| endpoint.rotates = false);
    // Another endpoint may rotate: it is not asked.
    let mut token: Value =
        serde_json::from_str(&home.endpoint.token_json(&home.gmail.user())).unwrap();
    let url = token["token_uri"].clone();
    token["token_uri"] = json!("https://oauth.invalid/token");
    home.write("token.json", &token.to_string());
    let report = report_with(&home, 77);
    let tokens: Vec<&Value> = report
        .findings()
        .iter()
        .filter(|it| it["check"] == "token")
        .collect();
    assert_eq!(tokens.len(), 1, "{tokens:#?}");
    let what = "a check does not request one from oauth.invalid";
    report.assert_found("gmail", "token", "fail", what);
    report.assert_remedy(
        "gmail",
        "token",
        "with the client_secret.json that Google provides",
    );
    // One that has not expired needs no renewal.
    let valid = home
        .gmail
        .tokens()
        .issue(&home.gmail.user(), Duration::from_hours(1));
    let mut current = token.clone();
    current["token"] = json!(valid);
    current["expiry"] = json!(Utc::now() + chrono::TimeDelta::hours(1));
    home.write("token.json", &current.to_string());
    let current = report_with(&home, 0);
    current.assert_found(
        "gmail",
        "token",
        "warn",
        "names oauth.invalid, which is not Google's",
    );
    report.assert_missing("gmail", &["log-in"]);
    // An expiry that Google announces.
    token["token_uri"] = url;
    home.write("token.json", &token.to_string());
    home.endpoint
        .change(|endpoint| endpoint.refresh_expires_in = Some(Duration::from_hours(24)));
    let report = report_with(&home, 0);
    report.assert_found(
        "gmail",
        "token",
        "warn",
        "the app is in \"Testing\", and the token expires",
    );
    // The original allows a file with an access token only.
    home.endpoint
        .change(|endpoint| endpoint.refresh_expires_in = None);
    home.run_ok();
    let saved: Value = serde_json::from_str(&home.read("token.json")).unwrap();
    home.write(
        "token.json",
        &json!({ "token": saved["token"] }).to_string(),
    );
    report_with(&home, 0).assert_found("gmail", "token", "warn", "no refresh_token");
}

#[test]
fn a_clock_that_differs_from_googles_is_warned_of() {
    let home = Home::new();
    report_with(&home, 0).assert_missing("gmail", &["clock"]);
    home.gmail.clock().advance(Duration::from_mins(10));
    let report = report_with(&home, 0);
    report.assert_found("gmail", "clock", "warn", "by -");
}

#[test]
fn the_target_folder_may_be_missing_similar_or_no_mailbox() {
    let home = Home::new();
    for (folder, exit, result, part) in [
        ("inbox", 0, "ok", "\"INBOX\" exists"),
        ("[Gmail]/Starred", 0, "ok", "exists"),
        ("Work", 0, "ok", "the first message creates it"),
        ("[Gmail]/Stared", 0, "warn", "does not exist"),
        ("[Gmail]", 78, "fail", "holds folders only"),
    ] {
        home.configure(&json!({ "target_folder": folder }));
        let report = report_with(&home, exit);
        report.assert_found("gmail", "folder", result, part);
    }
}

#[test]
fn what_gmail_hides_or_lacks_is_warned_of() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        gmail.hidden = vec!["\\All".to_owned()];
        gmail.without = vec!["APPENDLIMIT".to_owned()];
        gmail.storage = 100;
    });
    let report = report_with(&home, 0);
    report.assert_found("gmail", "All Mail", "warn", "hidden");
    report.assert_remedy("gmail", "All Mail", "Show in IMAP");
    report.assert_found("gmail", "message size", "ok", "no limit");
}

#[test]
fn files_that_others_can_read_or_that_cannot_be_used_are_findings() {
    let home = synced_home();
    let permit = |name: &str, mode| {
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    permit("token.json", 0o644);
    let report = report_with(&home, 0);
    report.assert_found("files", "protection", "warn", "can be read by others");
    report.assert_remedy("files", "protection", "type: chmod 600 token.json");
    permit("token.json", 0o600);
    let token = home.read("token.json");
    fs::remove_file(home.path("token.json")).unwrap();
    let report = report_with(&home, 78);
    report.assert_found("files", "token file", "fail", "No such file");
    report.assert_found("gmail", "certificate", "ok", "fingerprint");
    report.assert_missing("gmail", &["token", "log-in"]);
    home.write("token.json", &token);
    fs::remove_file(home.path("sync_state.json.journal")).unwrap();
    fs::create_dir(home.path("sync_state.json.journal")).unwrap();
    let report = report_with(&home, 74);
    report.assert_found("state", "access", "fail", "it is a folder, not a file");
    fs::remove_dir(home.path("sync_state.json.journal")).unwrap();
    let words = [
        "--config",
        "config.json",
        "--state-file",
        "none/sync_state.json",
    ];
    let run = check_harmlessly(&home, &words);
    assert_eq!(run.status, Some(74), "{run:?}");
    assert!(
        run.stdout.contains("remedy: type: mkdir -p "),
        "{}",
        run.stdout
    );
}

/// As the units in `systemd/` have it: the token is beside the state.
#[test]
fn a_token_beside_the_state_and_the_folder_of_the_state_are_checked_too() {
    let home = Home::new();
    fs::create_dir(home.path("lib")).unwrap();
    home.write("lib/token.json", &home.read("token.json"));
    fs::remove_file(home.path("token.json")).unwrap();
    let words = [
        "--config",
        "config.json",
        "--state-file",
        "lib/sync_state.json",
    ];
    let run = check_harmlessly(&home, &words);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.stdout.ends_with("everything works\n"), "{run:?}");
    for (name, mode, warning) in [
        (
            "lib/token.json",
            0o640,
            "lib/token.json holds a secret and can be read by others\n",
        ),
        (
            "lib",
            0o777,
            "lib, the folder of the state, can be written by others (owner ",
        ),
    ] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(home.path(name), permissions).unwrap();
        let run = check_harmlessly(&home, &words);
        assert_eq!(run.status, Some(0), "{run:?}");
        let line = format!("  warn  protection    {warning}");
        assert!(run.stdout.contains(&line), "{line:?} in {}", run.stdout);
    }
}

/// As the units in `systemd/` have it: a service works in the folder of its state.
#[test]
fn of_a_service_every_file_is_looked_for_beside_the_configuration_and_then_beside_the_state() {
    let home = Home::new();
    fs::create_dir(home.path("etc")).unwrap();
    fs::create_dir_all(home.path("lib/alice")).unwrap();
    home.write("lib/alice/password", "secret\n");
    home.configure(&json!({ "source_pass": null, "source_pass_file": "password" }));
    for name in ["token.json", "source.pem", "gmail.pem"] {
        fs::rename(home.path(name), home.path(&format!("lib/alice/{name}"))).unwrap();
    }
    fs::rename(home.path("config.json"), home.path("etc/alice.json")).unwrap();
    let words = ["--config", "etc", "--state-folder", "lib"];
    let run = check_harmlessly(&home, &words);
    assert_eq!(run.stdout, "alice  ok    everything works\n");
    let state = home.path("lib/alice/sync_state.json");
    let words_of_one = [
        "--config",
        "etc/alice.json",
        "--state-file",
        state.to_str().unwrap(),
    ];
    let run = check_harmlessly(&home, &words_of_one);
    assert!(run.stdout.ends_with("\neverything works\n"), "{run:?}");
    for (field, name) in [
        ("password", "password"),
        ("certificates", "source.pem"),
        ("certificates", "gmail.pem"),
        ("token file", "token.json"),
    ] {
        // The service does not work in the folder in which the check is typed.
        let beside_state = home.path(&format!("lib/alice/{name}"));
        fs::rename(&beside_state, home.path(name)).unwrap();
        let run = check_harmlessly(&home, &words);
        assert_eq!(run.status, Some(78), "{name}: {run:?}");
        assert!(run.stdout.contains(field), "{name}: {run:?}");
        // A run by hand does.
        assert_eq!(
            check_harmlessly(&home, &words_of_one).status,
            Some(0),
            "{name}"
        );
        fs::rename(home.path(name), &beside_state).unwrap();
    }
}

/// As a service user, to whom root's files are closed.
#[test]
fn a_folder_that_this_user_cannot_write_is_a_failure_for_the_state_and_a_warning_for_the_token() {
    let home = synced_home();
    // Only root can become another user; and another user is denied without that.
    let is_root = rustix::process::geteuid().is_root();
    let folder = home.path("");
    let state = folder.join("state");
    fs::create_dir(&state).unwrap();
    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    if is_root {
        for name in ["config.json", "token.json", "source.pem", "gmail.pem"] {
            std::os::unix::fs::chown(home.path(name), Some(65_534), Some(65_534)).unwrap();
        }
    }
    mode(&state, 0o555);
    mode(&folder, 0o555);
    let before = files(&folder);
    let mut command = program(&folder);
    command.args([
        "check",
        "--config",
        "config.json",
        "--state-file",
        "state/sync_state.json",
    ]);
    if is_root {
        use std::os::unix::process::CommandExt;
        command.uid(65_534).gid(65_534);
    }
    let run: Run = command.output().unwrap().into();
    assert!(before == files(&folder));
    mode(&folder, 0o755);
    mode(&state, 0o755);
    assert_eq!(run.status, Some(74), "{run:?}");
    for part in [
        "  FAIL  access  ",
        "  warn  token file  ",
        "Permission denied",
    ] {
        assert!(run.stdout.contains(part), "{part:?} in {}", run.stdout);
    }
}

#[test]
fn a_state_that_the_next_run_replaces_is_a_warning_and_one_that_ends_it_is_a_failure() {
    let home = synced_home();
    let good = home.read("sync_state.json");
    for (state, exit, result) in [
        ("{", 0, "warn"),
        ("[]", 0, "warn"),
        ("\"\n", 0, "warn"),
        ("{\"version\": 99}", 78, "fail"),
    ] {
        home.write("sync_state.json", state);
        let report = report_with(&home, exit);
        let finding = report.assert_found("state", "content", result, "/sync_state.json: ");
        if result == "warn" {
            report.assert_remedy("state", "content", "the next run keeps a copy");
        }
        assert!(
            !finding["found"].as_str().unwrap().contains(r"\\u"),
            "{finding}"
        );
        report.assert_all_ok("source");
        report.assert_all_ok("gmail");
    }
    home.write("sync_state.json", &good);
    home.configure(&json!({ "source_folder": "inbox" }));
    report_with(&home, 0);
    home.configure(&json!({ "source_folder": "Other" }));
    let report = report_with(&home, 78);
    report.assert_found(
        "state",
        "content",
        "fail",
        "this state is for user/INBOX to ",
    );
    report.assert_remedy("state", "content", "--same-account");
}

#[test]
fn mail_that_was_refused_is_warned_of_for_as_long_as_status_does() {
    let home = synced_home();
    for (days, result, part) in [
        (6, "warn", "0 parked, 1 refused within 7 days"),
        (8, "ok", "1 refused, more than 7 days ago"),
    ] {
        let mut state = home.state();
        let when = Utc::now() - chrono::TimeDelta::days(days);
        state["refused"] = json!({ "2": { "id": "<x@x>", "when": when, "why": "too large" } });
        home.write("sync_state.json", &state.to_string());
        report_with(&home, 0).assert_found("state", "messages", result, part);
    }
}

#[test]
fn what_others_can_write_and_runs_trust_is_warned_of() {
    let home = Home::new();
    for folder in ["state", "token"] {
        fs::create_dir(home.path(folder)).unwrap();
    }
    fs::rename(home.path("token.json"), home.path("token/token.json")).unwrap();
    home.configure(&json!({ "target_token_file": "token/token.json" }));
    let run = home
        .command()
        .args(["--state-file", "state/sync_state.json"])
        .output();
    assert!(run.unwrap().status.success());
    deliver(&home, "first");
    let run = home
        .command()
        .args(["--state-file", "state/sync_state.json"])
        .output();
    assert!(run.unwrap().status.success());
    let words = [
        "--config",
        "config.json",
        "--state-file",
        "state/sync_state.json",
        "--json",
    ];
    for name in [
        "state/sync_state.json",
        "state/sync_state.json.journal",
        "source.pem",
        "gmail.pem",
        "token",
    ] {
        let path = home.path(name);
        let before = fs::metadata(&path).unwrap().permissions();
        for mode in [0o666, 0o602] {
            let mode = if path.is_dir() { mode | 0o111 } else { mode };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let run = check_harmlessly(&home, &words);
            let json: Value = serde_json::from_str(&run.stdout).unwrap();
            let report = Report {
                exit: run.status.unwrap(),
                json: json[0].clone(),
            };
            report.assert_found(
                "files",
                "protection",
                "warn",
                "can be written by others (owner ",
            );
            report.assert_remedy("files", "protection", "type: chmod go-w ");
            report.assert_remedy("files", "protection", name);
        }
        fs::set_permissions(&path, before).unwrap();
        let run = check_harmlessly(&home, &words[..4]);
        assert!(
            run.stdout.ends_with("everything works\n"),
            "{name}: {run:?}"
        );
    }
}

#[test]
fn all_mistakes_of_the_configuration_are_told_and_nobody_is_asked() {
    let home = Home::new();
    home.configure(&json!({ "target_user": "Alice <alice@gmail.com>", "sourc_port": 1 }));
    let report = report_with(&home, 78);
    let found = report.assert_found("configuration", "content", "fail", "target_user must be");
    assert!(
        found["found"].as_str().unwrap().contains("sourc_port"),
        "{found}"
    );
    assert_eq!(report.findings().len(), 1);
    assert_eq!(home.source.connections() + home.gmail.connections(), 0);
    for words in [
        &[][..],
        &["--config", "a", "--config", "b", "--state-file", "c"],
    ] {
        let run = check_harmlessly(&home, words);
        assert_eq!((run.status, run.stdout.as_str()), (Some(64), ""), "{run:?}");
        assert!(run.stderr.starts_with("imap-to-gmail-sync: --"), "{run:?}");
    }
    let run = check_harmlessly(&home, &["--config", "none"]);
    assert_eq!(run.status, Some(78), "{run:?}");
    fs::create_dir(home.path("empty")).unwrap();
    let run = check_harmlessly(&home, &["--config", "empty", "--json"]);
    assert_eq!((run.status, run.stdout.as_str()), (Some(78), "[]\n"));
    assert!(
        run.stderr.contains("this folder holds no configuration"),
        "{run:?}"
    );
}

#[test]
fn a_check_beside_a_watching_process_says_so_and_does_not_disturb_it() {
    let home = synced_home();
    let mut watch = home.command();
    let mut watch = watch.arg("--watch").stdout(Stdio::null()).spawn().unwrap();
    let is_idle = || home.source.commands().iter().any(|line| line == "IDLE");
    wait_for(is_idle);
    let report = report_with(&home, 0);
    let holder = format!("process {} is running", watch.id());
    report.assert_found("state", "lock", "ok", &holder);
    deliver(&home, "second");
    wait_for(|| home.gmail.messages("INBOX").len() == 2);
    assert!(watch.try_wait().unwrap().is_none());
    let pid = watch.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(killed.unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let report = report_with(&home, 0);
    report.assert_found("state", "lock", "ok", "no run is active");
}

#[test]
fn of_several_accounts_each_has_a_line_with_its_worst_finding() {
    let home = synced_home();
    for name in ["alice", "bob", "carol"] {
        fs::create_dir_all(home.path(&format!("lib/{name}"))).unwrap();
    }
    fs::create_dir(home.path("etc")).unwrap();
    let write = |name: &str, fields: &Value| {
        let mut config = home.config();
        for file in ["source_ca_file", "target_ca_file", "target_token_file"] {
            config[file] = json!(home.path(config[file].as_str().unwrap()));
        }
        for (field, value) in fields.as_object().unwrap() {
            config[field] = value.clone();
        }
        home.write(&format!("etc/{name}.json"), &config.to_string());
    };
    write("alice", &json!({ "source_pass": "wrong" }));
    write("bob", &json!({}));
    write(
        "carol",
        &json!({ "source_folder": "INBX", "target_folder": "[Gmail]/Stared" }),
    );
    let words = ["--config", "etc", "--state-folder", "lib"];
    let run = check_harmlessly(&home, &words);
    assert_eq!(run.status, Some(78), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines[0].starts_with("alice  FAIL  source, log-in: localhost:"),
        "{lines:#?}"
    );
    assert_eq!(lines[1], "bob    ok    everything works");
    assert!(
        lines[2].starts_with("carol  FAIL  source, folder: "),
        "{lines:#?}"
    );
    assert!(
        lines[2].ends_with("; did you mean \"INBOX\"?"),
        "{lines:#?}"
    );
    write("carol", &json!({ "target_folder": "[Gmail]/Stared" }));
    write("alice", &json!({}));
    let run = check_harmlessly(&home, &words);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(
        run.stdout.contains("\ncarol  warn  gmail, folder: "),
        "{run:?}"
    );
    let run = check_harmlessly(&home, &[&words[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let names: Vec<&Value> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["account"])
        .collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
}

/// The line of the first account is there while the second one's server says nothing.
#[test]
fn an_account_that_hangs_does_not_hide_the_others_and_a_signal_ends_the_check() {
    let home = synced_home();
    home.write("a.json", &home.read("config.json"));
    home.write("b.json", &home.read("config.json"));
    for name in ["a", "b"] {
        fs::create_dir_all(home.path(&format!("lib/{name}"))).unwrap();
    }
    let logins = home.source.logins();
    let mut seen = 0;
    let is_second = move |event: &Event| {
        seen += usize::from(event.is_command("EXAMINE"));
        seen > 1
    };
    home.source.faults().always(is_second, Fault::Stall);
    let out = home
        .path("../")
        .join(format!("check-{}.out", std::process::id()));
    let mut command = program(&home.path(""));
    command.args(["check", "--config", "a.json", "--config", "b.json"]);
    command.args(["--state-folder", "lib"]);
    command
        .stdout(fs::File::create(&out).unwrap())
        .stderr(Stdio::piped());
    let check = command.spawn().unwrap();
    wait_for(|| home.source.logins() == logins + 2);
    wait_for(|| fs::read_to_string(&out).unwrap() == "a  ok    everything works\n");
    let pid = check.id().to_string();
    let began = Instant::now();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let run: Run = check.wait_with_output().unwrap().into();
    assert!(began.elapsed() < Duration::from_secs(20), "{run:?}");
    assert_eq!(run.status, Some(69), "{run:?}");
    assert_eq!(run.stderr, INTERRUPTED);
    fs::remove_file(out).unwrap();
    home.source.faults().clear();
    home.source.faults().release();
}

const INTERRUPTED: &str = "imap-to-gmail-sync: ended by a signal before everything was checked\n";

/// Also while the password command runs, and by a second signal.
#[test]
fn a_check_that_a_signal_ends_says_so_and_is_not_complete() {
    for is_repeated in [false, true] {
        let home = Home::new();
        let password =
            json!({ "source_pass": null, "source_pass_command": "touch asked; sleep 20" });
        home.configure(&password);
        home.write("b.json", &home.read("config.json"));
        fs::create_dir(home.path("config")).unwrap();
        let mut command = program(&home.path(""));
        command.args(["check", "--json", "--config", "config.json"]);
        command.args(["--config", "b.json", "--state-folder", "."]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut check = command.spawn().unwrap();
        wait_for(|| home.path("asked").exists());
        let pid = check.id().to_string();
        let kill = || Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(kill().success());
        while is_repeated && check.try_wait().unwrap().is_none() {
            assert!(kill().success());
        }
        let run: Run = check.wait_with_output().unwrap().into();
        assert_eq!(run.status, Some(69), "{run:?}");
        assert_eq!(run.stderr, INTERRUPTED);
        if is_repeated {
            continue;
        }
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        let accounts = json.as_array().unwrap().iter();
        let shown: Vec<String> = accounts
            .map(|it| {
                format!(
                    "{} {} {}",
                    it["account"], it["is_complete"], it["exit_status"]
                )
            })
            .collect();
        assert_eq!(shown, ["\"config\" false 69", "\"b\" false 69"]);
    }
}

/// Each finding depends on a server's response, which may not come.
#[test]
fn a_check_may_be_cut_off_at_any_event_of_either_server() {
    let home = synced_home();
    let events = || [home.source.events().len(), home.gmail.events().len()];
    let before = events();
    report_with(&home, 0);
    let after = events();
    for number in 0..after[0] - before[0] {
        home.source
            .faults()
            .cut_at(home.source.events().len() + number);
        let report = report_of(&home);
        assert!(
            [0, 69].contains(&report.exit),
            "{number}: {:#}",
            report.json
        );
        report.assert_all_ok("gmail");
        home.source.faults().clear();
    }
    for number in 0..after[1] - before[1] {
        home.gmail
            .faults()
            .cut_at(home.gmail.events().len() + number);
        let report = report_of(&home);
        assert!(
            [0, 69].contains(&report.exit),
            "{number}: {:#}",
            report.json
        );
        report.assert_all_ok("source");
        home.gmail.faults().clear();
    }
}

/// Whatever a server says first, or instead of the response to one command.
#[test]
fn hostile_lines_of_a_server_do_no_harm() {
    let home = synced_home();
    let responses = [
        "* BYE \u{1b}[2J\u{202e}evil",
        "<T> NO [ALERT] \u{1b}]0;x\u{7} \"secret\"",
        "<T> BAD \u{0}\u{9b}2J",
        "<T> OK [CAPABILITY \u{1b}[2J APPENDLIMIT=99999999999999999999] done",
    ];
    let lines = [
        "* LIST (\\All \\Noselect) \"/\" \"\u{1b}[2J\"",
        "* LIST () \"/\" \"INBOX\"",
        "* OK [UIDVALIDITY 0] \u{9b}",
        "* OK [ALERT] \u{1b}[2J",
        "* QUOTA \"\" (STORAGE 18446744073709551615 0)",
        "* 4294967295 EXISTS",
        "nonsense",
    ];
    let words = ["AUTHENTICATE", "ID", "EXAMINE", "LIST", "GETQUOTAROOT"];
    let responses = responses.map(|line| Fault::Instead(line.to_owned()));
    let lines = lines.map(|line| Fault::Before(line.to_owned()));
    for fault in responses.into_iter().chain(lines) {
        for word in words {
            for faults in [home.source.faults(), home.gmail.faults()] {
                faults.once(move |event| event.is_command(word), fault.clone());
            }
            // Output and files are checked within.
            report_of(&home);
            home.source.faults().clear();
            home.gmail.faults().clear();
        }
    }
}

#[test]
fn with_debug_the_dialogue_is_on_standard_error_without_secrets() {
    let home = Home::new();
    let run = check_harmlessly(&home, &["--config", "config.json", "--debug"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.stderr.contains("EXAMINE \"INBOX\""), "{}", run.stderr);
    assert!(!run.stdout.contains("EXAMINE"), "{}", run.stdout);
    let password = base64::engine::general_purpose::STANDARD.encode("\0user\0secret");
    assert!(!run.stderr.contains(&password), "{}", run.stderr);
}

fn german_home() -> Home {
    let source = SourceOptions {
        delimiter: '.',
        prefix: "INBOX.",
        forbidden: BTreeSet::from(["INBOX.Geheim".to_owned()]),
        ..SourceOptions::default()
    };
    let gmail = GmailOptions {
        language: Language::German,
        ..GmailOptions::default()
    };
    let home = Home::with(source, gmail);
    home.source.create_german_folders();
    for folder in [
        "INBOX.Listen.rust",
        "INBOX.Listen.&ZeVnLIqe-",
        "INBOX.Geheim",
    ] {
        home.source.mailboxes().create(folder);
    }
    deliver(&home, "first");
    home
}

#[test]
fn it_shows_which_folder_goes_where_whatever_their_language() {
    let home = german_home();
    home.configure(&json!({ "folders": [
        { "source": "INBOX", "labels": ["alte Adresse", "a/\"b\""], "archive": true },
        { "source": "\\Junk", "target": "\\Junk", "flags": false },
        { "source": "INBOX.Listen.%", "target": "=" },
        { "source": "INBOX.Geheim", "skip": true },
        { "source": "Alt*", "target": "=" },
        { "source": "\\Sent", "target": "\\Sent" },
    ] }));
    let report = report_with(&home, 0);
    report.assert_found("configuration", "content", "ok", "by 6 entries");
    let shown: Vec<(&str, &str)> = report
        .findings()
        .iter()
        .filter(|finding| finding["group"] == "folders")
        .map(|it| {
            (
                it["result"].as_str().unwrap(),
                it["found"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                "ok",
                "\"INBOX\"             goes to \"[Google Mail]/Alle Nachrichten\", labels \"alte \
                 Adresse\" \"a/\"b\"\", not in the inbox (1 message)"
            ),
            (
                "ok",
                "\"Spamverdacht\"      goes to \"[Google Mail]/Spam\", without flags (0 messages)"
            ),
            (
                "ok",
                "\"INBOX.Listen.rust\" goes to \"Listen/rust\" (0 messages)"
            ),
            (
                "ok",
                "\"INBOX.Listen.日本語\"  goes to \"Listen/日本語\" (0 messages)"
            ),
            (
                "ok",
                "\"Gesendet\"          goes to \"[Google Mail]/Gesendet\" (0 messages)"
            ),
            ("warn", "folders[5].source \"Alt*\" matches no folder"),
        ]
    );
    // Each side is logged in to once, and asked in a few round trips.
    assert_eq!((home.source.logins(), home.gmail.logins()), (1, 1));
    assert_eq!(home.source.connections(), 1);
    let screen = check_harmlessly(&home, &["--config", "config.json"]);
    assert!(
        screen.stdout.contains("\nfolders\n  ok    folder"),
        "{screen:?}"
    );
}

#[test]
fn a_folder_that_is_missing_or_forbidden_is_named_and_the_others_are_shown() {
    let home = german_home();
    home.configure(&json!({ "folders": [
        { "source": "Gesendt", "target": "\\Sent" },
        { "source": "INBOX" },
        { "source": "INBOX.Geheim", "target": "=" },
    ] }));
    let report = report_with(&home, 69);
    let failures: Vec<(&str, &str)> = report
        .findings()
        .iter()
        .filter(|finding| finding["result"] == "fail")
        .map(|it| {
            (
                it["found"].as_str().unwrap(),
                it["remedy"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(
        failures[0]
            .0
            .contains("\"INBOX.Geheim\" cannot be opened: the server says NO")
    );
    assert!(failures[0].1.contains("permissions"), "{failures:?}");
    assert!(
        failures[1]
            .0
            .contains("the source folder \"Gesendt\" does not exist")
    );
    assert_eq!(failures[1].1, "did you mean \"Gesendet\"?");
    report.assert_found("folders", "folder", "ok", "\"INBOX\"");
}

#[test]
fn what_gmail_does_not_take_or_hides_is_found_before_anything_is_copied() {
    let home = german_home();
    home.gmail
        .change(|options| options.hidden.push("\\Junk".to_owned()));
    home.source.mailboxes().create("Updates");
    home.configure(&json!({ "folders": [
        { "source": "\\Junk", "target": "\\Junk" },
        { "source": "INBOX", "labels": ["x^"] },
        { "source": "Updates", "target": "=" },
    ] }));
    let report = report_with(&home, 78);
    let failures: Vec<String> = report
        .findings()
        .iter()
        .filter(|finding| finding["result"] == "fail")
        .map(|it| {
            format!(
                "{}; {}",
                it["found"].as_str().unwrap(),
                it["remedy"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        failures,
        [
            "folders[1].target: Gmail shows no folder with the role \\Junk; in Gmail's settings, \
             Labels, tick \"Show in IMAP\" for Spam",
            "folders[2].labels: \"x^\" cannot be created: Gmail takes no \"^\" in a name; write \
             another name",
            "folders[3].target: \"=\" would create \"Updates\": Gmail keeps the names of its \
             categories to itself; put an entry before it: { \"source\": \"Updates\", \"target\": … }",
        ]
    );
    assert!(home.gmail.all_mail().is_empty());
}

#[test]
fn labels_and_the_archive_of_the_short_form_are_shown() {
    let home = Home::new();
    home.configure(&json!({ "labels": ["old"], "archive": true }));
    let report = report_with(&home, 0);
    let shown = report.assert_found("folders", "folder", "ok", "\"INBOX\" goes to ");
    let found = shown["found"].as_str().unwrap();
    assert!(
        found.contains("/All Mail\", labels \"old\", not in the inbox"),
        "{found}"
    );
    home.gmail
        .change(|options| options.without.push("X-GM-EXT-1".to_owned()));
    let report = report_with(&home, 78);
    report.assert_found(
        "folders",
        "entry",
        "fail",
        "labels: the target has no labels",
    );
}
