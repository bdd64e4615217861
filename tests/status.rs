//! What does `status` say of an account after real runs, and does it leave everything alone?

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/program.rs"]
mod program;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use double::{AppendResponse, Event, EventKind, Fault, login_rejections, token_rejections};
use serde_json::{Value, json};
use tempfile::TempDir;

use program::untouched::{assert_harmless, check_harmlessly, files};
use program::{Home, Run, program};

/// The three forms of one status.
struct Status {
    exit: i32,
    text: String,
    json: Value,
    metrics: String,
}

impl Status {
    /// The JSON object of the only account.
    fn account(&self) -> &Value {
        assert_eq!(self.json.as_array().unwrap().len(), 1);
        &self.json[0]
    }

    #[track_caller]
    fn assert_text(&self, exit: i32, part: &str) {
        assert_eq!(self.exit, exit, "{}", self.text);
        assert!(self.text.contains(part), "no {part:?} in\n{}", self.text);
    }

    /// The value of a metric of the only account.
    #[track_caller]
    fn metric(&self, name: &str) -> Option<f64> {
        let begin = format!("imap_to_gmail_sync_{name}{{account=\"config\"}} ");
        let mut lines = self.metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(&begin));
        value.map(|value| value.parse().unwrap())
    }
}

fn mail(name: &str) -> Vec<u8> {
    format!("Message-ID: <{name}@x>\r\nSubject: {name}\r\n\r\n{name}\r\n").into()
}

fn deliver(home: &Home, name: &str) {
    home.source
        .deliver(&mail(name), Utc::now().fixed_offset(), &[]);
}

/// A home whose first run has copied a message.
fn synced_home() -> Home {
    let home = Home::new();
    deliver(&home, "first");
    home.run_ok();
    home
}

/// A home whose second message causes this response.
fn home_after_response(response: &str) -> Home {
    let home = synced_home();
    let response = AppendResponse::Refusal(response.to_owned());
    home.gmail.change(|gmail| gmail.append_response = response);
    deliver(&home, "second");
    home.run();
    home
}

/// The connections and requests that the servers have noticed.
fn connections(home: &Home) -> [usize; 3] {
    let requests = home.endpoint.requests().len();
    [
        home.source.connections(),
        home.gmail.connections(),
        requests,
    ]
}

fn status_run(folder: &Path, words: &[&str]) -> Run {
    program(folder)
        .arg("status")
        .args(words)
        .output()
        .unwrap()
        .into()
}

/// The status in all three forms; asserts that they agree, and that no file and no server noticed.
#[track_caller]
fn status_of(home: &Home, words: &[&str]) -> Status {
    let before = connections(home);
    let status = status_beside_run(home, words);
    assert_eq!(before, connections(home));
    status
}

/// The same while a run may connect.
#[track_caller]
fn status_beside_run(home: &Home, words: &[&str]) -> Status {
    let metrics = tempfile::tempdir().unwrap();
    let file = metrics.path().join("sync.prom");
    let folder = home.path("");
    let before = files(&folder);
    let text = status_run(&folder, words);
    let with = [words, &["--json", "--metrics", file.to_str().unwrap()]].concat();
    let json = status_run(&folder, &with);
    assert!(before == files(&folder), "a file was touched");
    assert_eq!(text.status, json.status);
    assert_eq!((text.stderr.as_str(), json.stderr.as_str()), ("", ""));
    let metrics = fs::read_to_string(&file).unwrap();
    for output in [&text.stdout, &json.stdout, &metrics] {
        assert_harmless(home, output);
    }
    Status {
        exit: text.status.unwrap(),
        json: serde_json::from_str(&json.stdout).unwrap(),
        text: text.stdout,
        metrics,
    }
}

/// The status; and `check` must cope with the same files and servers.
fn status(home: &Home) -> Status {
    let status = status_of(home, &["--config", "config.json"]);
    check_harmlessly(home, &["--config", "config.json"]);
    status
}

fn set_last_success(home: &Home, ago: Duration) {
    let lock = File::options()
        .append(true)
        .open(home.path("sync_state.json.lock"));
    lock.unwrap().set_modified(SystemTime::now() - ago).unwrap();
}

#[track_caller]
fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_account_whose_last_pass_is_recent_is_well() {
    let home = synced_home();
    let status = status(&home);
    status.assert_text(0, "\nwell           yes\n");
    for part in [
        "account        config\n",
        "copies         user@localhost/INBOX to user@gmail.com/INBOX\n",
        "cursor         uid 1 (UIDVALIDITY ",
        "remembered     1 message\n",
        " of 400.0 MiB in 24 hours\n",
        "last success   ",
        "token          ",
    ] {
        assert!(
            status.text.contains(part),
            "no {part:?} in\n{}",
            status.text
        );
    }
    let account = status.account();
    assert_eq!(account["account"], "config");
    assert_eq!(account["well"], true);
    assert_eq!(account["exit_status"], 0);
    assert_eq!(account["problems"], json!([]));
    assert_eq!(account["cursor"]["uid"], 1);
    assert_eq!(account["remembered_messages"], 1);
    assert_eq!(account["daily_upload_limit"], 400 << 20);
    let last: DateTime<Utc> = account["last_success"].as_str().unwrap().parse().unwrap();
    assert!((Utc::now() - last).num_seconds() < 60, "{account}");
    assert!(account["last_success"].as_str().unwrap().ends_with('Z'));
    assert!(account["uploaded_in_24_hours"].as_u64().unwrap() > 0);
    assert_eq!(status.metric("well"), Some(1.0));
    assert_eq!(status.metric("cursor_uid"), Some(1.0));
    assert_eq!(status.metric("parked_messages"), Some(0.0));
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let expected = last.timestamp() as f64;
    let seen = status.metric("last_success_timestamp_seconds").unwrap();
    assert!((seen - expected).abs() < 1.5);
    // Each metric has one HELP and one TYPE.
    let types = status
        .metrics
        .lines()
        .filter(|line| line.starts_with("# TYPE "));
    let helps = status
        .metrics
        .lines()
        .filter(|line| line.starts_with("# HELP "));
    assert_eq!(types.count(), helps.count());
}

#[test]
fn an_account_without_a_state_says_that_no_run_was_made() {
    let home = Home::new();
    let none = status(&home);
    none.assert_text(1, "NOT WELL       no run was made yet\n");
    assert_eq!(none.account()["problems"], json!(["no run was made yet"]));
    assert_eq!(none.account()["last_success"], Value::Null);
    assert_eq!(none.metric("well"), Some(0.0));
    assert_eq!(none.metric("last_success_timestamp_seconds"), None);
    // A run that fails makes a state, and no complete pass.
    home.configure(&json!({ "source_port": 1 }));
    assert_eq!(home.run().status, Some(69));
    status(&home).assert_text(1, "no pass has been complete yet");
}

#[test]
fn a_last_success_that_is_older_than_max_age_is_not_well() {
    let home = synced_home();
    set_last_success(&home, Duration::from_mins(125));
    status(&home).assert_text(
        1,
        "NOT WELL       last success 2 h 5 min ago (more than 1 h 0 min)\n",
    );
    for (age, exit) in [("90s", 1), ("120m", 1), ("3h", 0), ("1d", 0)] {
        let status = status_of(&home, &["--config", "config.json", "--max-age", age]);
        assert_eq!(status.exit, exit, "{age}: {}", status.text);
    }
    let lock = File::options()
        .append(true)
        .open(home.path("sync_state.json.lock"));
    let future = SystemTime::now() + Duration::from_hours(24);
    lock.unwrap().set_modified(future).unwrap();
    status(&home).assert_text(1, "in the future");
}

#[test]
fn parked_mail_is_listed_with_its_reason_and_is_well() {
    let home = home_after_response("NO [CANNOT] \u{1b}[2JBad \u{202e}\"message\"");
    let status = status(&home);
    status.assert_text(0, "parked         1 message\n");
    status.assert_text(0, "uid 2 | <second@x> | attempts 1 | next ");
    let parked = &status.account()["parked"][0];
    assert_eq!(parked["uid"], 2);
    assert_eq!(parked["message_id"], "<second@x>");
    assert_eq!(parked["attempts"], 1);
    assert_eq!(parked["uncertain"], false);
    assert!(
        parked["reason"].as_str().unwrap().contains("[2JBad"),
        "{parked}"
    );
    let next: DateTime<Utc> = parked["next_attempt"].as_str().unwrap().parse().unwrap();
    assert!(next > Utc::now(), "{parked}");
    assert_eq!(status.metric("parked_messages"), Some(1.0));
}

#[test]
fn refused_mail_is_not_well() {
    let home = synced_home();
    home.gmail.change(|gmail| gmail.append_limit = 1000);
    let large = [mail("large"), b"x".repeat(2000)].concat();
    home.source.deliver(&large, Utc::now().fixed_offset(), &[]);
    home.run_ok();
    let status = status(&home);
    status.assert_text(1, "NOT WELL       1 message is refused\n");
    status.assert_text(1, "uid 2 | <large@x> | ");
    let refused = &status.account()["refused"][0];
    assert_eq!(refused["uid"], "2");
    assert!(
        refused["reason"].as_str().unwrap().contains("octets"),
        "{refused}"
    );
    assert_eq!(status.account()["action_required"], false);
    assert_eq!(status.metric("refused_messages"), Some(1.0));
}

#[test]
fn mail_that_was_refused_long_ago_is_listed_and_no_longer_a_problem() {
    let home = synced_home();
    let mut state = home.state();
    let long_ago = Utc::now() - TimeDelta::days(8);
    state["refused"] = json!({ "2": { "id": "<large@x>", "when": long_ago, "why": "too large" } });
    home.write("sync_state.json", &state.to_string());
    status(&home).assert_text(0, "refused        1 message\n");
    for (within, exit_status) in [("7d", 0), ("9d", 1)] {
        let words = ["--config", "config.json", "--refused-within", within];
        let status = status_of(&home, &words);
        assert_eq!(status.exit, exit_status, "{within}");
    }
}

#[test]
fn an_account_that_rests_says_until_when_and_why() {
    let home = home_after_response("NO [OVERQUOTA] no");
    let over_quota = status(&home);
    over_quota.assert_text(
        0,
        ", because Gmail reports that it has exceeded its limits\n",
    );
    let rest = &over_quota.account()["resting"];
    let until: DateTime<Utc> = rest["until"].as_str().unwrap().parse().unwrap();
    assert!(until > Utc::now() + TimeDelta::minutes(10), "{rest}");
    assert_eq!(over_quota.metric("resting"), Some(1.0));

    let home = synced_home();
    home.configure(&json!({ "daily_upload_limit": "10" }));
    deliver(&home, "second");
    home.run_ok();
    status(&home).assert_text(0, ", because daily_upload_limit is reached\n");
}

#[test]
fn a_full_storage_needs_a_person() {
    let home = synced_home();
    home.gmail.change(|gmail| gmail.storage = 80);
    deliver(&home, "second");
    assert_eq!(home.run().status, Some(77));
    let full = status(&home);
    full.assert_text(1, "NOT WELL       Gmail: its storage is full");
    full.assert_text(1, ", because its storage is full\n");
    assert_eq!(full.account()["action_required"], true);
    home.gmail.change(|gmail| gmail.storage = 1_000_000);
    home.age_by_minutes(20);
    home.run_ok();
    assert_eq!(status(&home).exit, 0);
}

fn expire_token(home: &Home) {
    let mut token: Value = serde_json::from_str(&home.read("token.json")).unwrap();
    token["expiry"] = json!("2026-01-01T00:00:00Z");
    home.write("token.json", &token.to_string());
}

#[test]
fn a_rejected_token_needs_a_person_until_there_is_another() {
    let home = synced_home();
    expire_token(&home);
    home.endpoint
        .change(|options| options.refusal = Some(token_rejections().remove(0)));
    deliver(&home, "second");
    assert_eq!(home.run().status, Some(77));
    let rejected = status(&home);
    rejected.assert_text(1, "NOT WELL       Google rejects the token: ");
    rejected.assert_text(1, ", rejected since ");
    let account = rejected.account();
    assert_eq!(account["action_required"], true);
    assert_eq!(account["token"]["rejected"], true);
    assert_eq!(rejected.metric("token_rejected"), Some(1.0));
    home.endpoint.change(|options| options.refusal = None);
    home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
    let replaced = status(&home);
    assert_eq!(
        (replaced.exit, replaced.metric("token_rejected")),
        (0, Some(0.0))
    );
}

#[test]
fn a_rejected_log_in_at_gmail_needs_a_person_until_a_pass_is_complete() {
    let home = Home::new();
    let answer = Some(login_rejections().remove(0));
    home.gmail.change(|gmail| gmail.login_response = answer);
    assert_eq!(home.run().status, Some(77));
    status(&home).assert_text(
        1,
        "NOT WELL       Gmail rejects the log-in as user@gmail.com: ",
    );
    home.gmail.change(|gmail| gmail.login_response = None);
    home.age_by_minutes(2);
    home.run_ok();
    status(&home).assert_text(0, "\nwell           yes\n");
}

#[test]
fn a_token_that_is_missing_or_has_expired_needs_a_person() {
    let home = synced_home();
    let mut token: Value = serde_json::from_str(&home.read("token.json")).unwrap();
    let soon = Utc::now() + TimeDelta::hours(5);
    token["refresh_token_expires"] = json!(soon.to_rfc3339());
    home.write("token.json", &token.to_string());
    let expiring = status(&home);
    expiring.assert_text(
        0,
        "warning        the app is in \"Testing\", and the token expires at ",
    );
    assert!(expiring.metric("token_expires_timestamp_seconds").is_some());
    token["refresh_token_expires"] = json!((Utc::now() - TimeDelta::hours(1)).to_rfc3339());
    home.write("token.json", &token.to_string());
    status(&home).assert_text(
        1,
        "NOT WELL       the token has expired: make a new token by ",
    );
    fs::remove_file(home.path("token.json")).unwrap();
    status(&home).assert_text(1, "NOT WELL       token.json: cannot be read: No such file");
}

#[test]
fn a_rejected_log_in_at_the_source_needs_a_person_until_the_configuration_changes() {
    let home = synced_home();
    home.configure(&json!({ "source_pass": "another" }));
    assert_eq!(home.run().status, Some(77));
    let rejected = status(&home);
    rejected.assert_text(
        1,
        "NOT WELL       the source rejects the log-in: correct source_user or",
    );
    rejected.assert_text(1, "source log-in  rejected (1 in a row); next attempt at ");
    let delay = &rejected.account()["source_login_delay"];
    assert_eq!(
        (&delay["rejected_logins"], &delay["limited_logins"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(rejected.metric("source_login_failures"), Some(1.0));
    home.configure(&json!({ "source_pass": "secret" }));
    status(&home).assert_text(0, "rejected (1 in a row); the next run tries again\n");
}

#[test]
fn log_ins_that_the_source_limits_are_delayed_and_need_nobody() {
    let home = synced_home();
    let is_log_in = |event: &Event| matches!(event.kind, EventKind::LoggedIn(_));
    let fault = Fault::Instead("<T> NO [LIMIT] Slowly.".to_owned());
    home.source.faults().once(is_log_in, fault);
    assert_eq!(home.run().status, Some(69));
    let limited = status(&home);
    limited.assert_text(0, "source log-in  limited (1 in a row); next attempt at ");
    assert_eq!(limited.account()["action_required"], false);
}

#[test]
fn the_state_of_the_python_original_is_understood() {
    let home = Home::new();
    let hour_ago = Utc::now() - TimeDelta::minutes(50);
    let last_sync = hour_ago.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
    home.write(
        "sync_state.json",
        &json!({ "synced_message_ids": ["<a@x>", "<b@x>"], "last_sync": last_sync }).to_string(),
    );
    let status = status(&home);
    status.assert_text(0, "(50 min ago)\n");
    assert_eq!(status.account()["remembered_messages"], 2);
    assert_eq!(status.account()["cursor"], Value::Null);
}

#[test]
fn a_pending_date_pass_is_shown() {
    let home = synced_home();
    let mut state = home.state();
    state["date_pass"] = json!({
        "source": "user@localhost/INBOX", "since": "2026-11-01T00:00:00Z", "uid_validity": 7, "uid_next": 9,
        "strays": [{ "id": "<lost@x>", "date": null, "digest": null, "since": "2026-11-01T00:00:00Z",
            "tries": 2, "retry_after": "2026-11-02T00:00:00Z", "why": "why not" }],
    });
    home.write("sync_state.json", &state.to_string());
    let status = status(&home);
    status.assert_text(0, "date pass      pending: mail received since ");
    status.assert_text(0, "no uid | <lost@x> | attempts 2 | next ");
    assert_eq!(
        status.account()["date_pass"]["since"],
        "2026-11-01T00:00:00Z"
    );
    assert_eq!(status.metric("date_pass_pending"), Some(1.0));
}

/// The journal says what the snapshot does not, while the run works and after it was killed.
#[test]
fn a_run_at_work_and_a_journal_that_is_not_folded_are_read_undisturbed() {
    let home = synced_home();
    let stored = |event: &Event| event.is_literal();
    home.gmail.faults().always(stored, Fault::Stall);
    deliver(&home, "second");
    let mut run = home.command().stdout(Stdio::null()).spawn().unwrap();
    let journal = home.path("sync_state.json.journal");
    let is_stalled = || home.gmail.events().iter().any(Event::is_literal);
    wait_for(|| is_stalled() && fs::metadata(&journal).is_ok_and(|journal| journal.len() > 0));
    let check = |status: Status| {
        status.assert_text(0, "uid 2 | <second@x> | ");
        let parked = &status.account()["parked"][0];
        assert_eq!(
            (&parked["uid"], &parked["uncertain"]),
            (&json!(2), &json!(true))
        );
    };
    check(status_beside_run(&home, &["--config", "config.json"]));
    run.kill().unwrap();
    run.wait().unwrap();
    check(status(&home));
    assert_eq!(home.state()["parked"], json!({}), "the journal was folded");
    home.gmail.faults().clear();
    home.gmail.faults().release();
}

#[test]
fn a_state_that_cannot_be_read_is_reported_and_kept() {
    let home = synced_home();
    let good = home.read("sync_state.json");
    let cases = [
        ("", 74),
        ("{", 74),
        ("[]", 74),
        ("null", 74),
        ("\u{1b}[2J", 74),
        (r#"{"version": 2, "parked": {"0": {}}}"#, 74),
        (r#"{"version": 2, "gmail": {"retry_after": "boredom"}}"#, 74),
        (&good[..good.len() / 2], 74),
        (r#"{"version": 99}"#, 78),
        (r#"{"version": 99, "parked": 1}"#, 78),
    ];
    for (state, exit) in cases {
        home.write("sync_state.json", state);
        let status = status(&home);
        status.assert_text(exit, "/sync_state.json: ");
        assert_eq!(status.account()["exit_status"], exit);
        assert_eq!(status.metric("well"), Some(0.0));
        assert_eq!(status.metric("parked_messages"), None);
    }
    fs::remove_file(home.path("sync_state.json")).unwrap();
    fs::create_dir(home.path("sync_state.json")).unwrap();
    status(&home).assert_text(74, "/sync_state.json: ");
}

#[test]
fn a_state_of_another_account_is_not_well() {
    let home = synced_home();
    home.configure(&json!({ "source_user": "another" }));
    status(&home).assert_text(
        1,
        "the state is for user/INBOX to user@gmail.com/INBOX, and the",
    );
}

#[test]
fn absurd_values_in_state_and_token_do_no_harm() {
    let home = synced_home();
    for time in [
        "-262143-01-01T00:00:00Z",
        "+262142-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
    ] {
        let mut state = home.state();
        state["last_sync"] = json!(time);
        let message = json!({
            "id": "<\u{1b}]0;a\u{7}@x>", "date": time, "digest": null, "since": time,
            "tries": u32::MAX, "retry_after": time, "why": "\u{1b}[2J\n\u{202e}".repeat(1000),
        });
        state["parked"] = json!({ "4294967295": message });
        state["refused"] = json!({ "\n": { "id": null, "when": time, "why": "\r\n" } });
        let token: Value = serde_json::from_str(&home.read("token.json")).unwrap();
        let digest = json!({
            "refresh_token": "0", "since": time, "tries": u32::MAX, "retry_after": time,
        });
        state["gmail"] = json!({
            "retry_after": time, "limited_since": time, "token_refused": digest,
            "uploaded": { "2026-11-28T00": u64::MAX, "x": u64::MAX },
        });
        state["source"] = json!({
            "retry_after": time, "refused_logins": u32::MAX, "limited_logins": u32::MAX,
        });
        home.write("sync_state.json", &state.to_string());
        let mut absurd = token.clone();
        for name in ["expiry", "refresh_token_issued", "refresh_token_expires"] {
            absurd[name] = json!(time.trim_end_matches('Z'));
        }
        home.write("token.json", &absurd.to_string());
        set_last_success(&home, Duration::from_mins(1));
        // The token expires at that time, and times far from now say nothing about refused mail.
        let exit = i32::from(!time.starts_with('+'));
        status(&home).assert_text(exit, "refused        1 message\n");
        fs::remove_file(home.path("sync_state.json.lock")).unwrap();
        status(&home).assert_text(1, "refused        1 message\n");
        home.write("sync_state.json.lock", "1\n");
        home.write("token.json", &token.to_string());
    }
}

/// A folder as the units in `systemd/` have it: configurations in one, states and tokens in others.
fn accounts(names: &[&str]) -> (Home, TempDir) {
    let home = synced_home();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    for name in names {
        let state = folder.path().join("lib").join(name);
        fs::create_dir_all(&state).unwrap();
        for file in ["sync_state.json", "sync_state.json.lock", "token.json"] {
            fs::copy(home.path(file), state.join(file)).unwrap();
        }
        let mut config = home.config();
        for file in ["source_ca_file", "target_ca_file"] {
            config[file] = json!(home.path(config[file].as_str().unwrap()));
        }
        let path = folder.path().join(format!("etc/{name}.json"));
        fs::write(&path, config.to_string()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    (home, folder)
}

#[test]
fn of_several_accounts_there_is_a_line_each_and_the_highest_status() {
    let (_home, folder) = accounts(&["alice", "bob", "carol"]);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("etc/token.json.bak"), "{}").unwrap();
    fs::write(path("etc/client_secret.json"), "{}").unwrap();
    let all = ["--config", "etc", "--state-folder", "lib"];
    let before = files(folder.path());
    let well = status_run(folder.path(), &all);
    assert_eq!(well.status, Some(0), "{well:?}");
    let lines: Vec<&str> = well.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines[0].starts_with("alice  well      last success "),
        "{lines:#?}"
    );
    assert!(before == files(folder.path()));

    fs::remove_dir_all(path("lib/bob")).unwrap();
    let missing = status_run(folder.path(), &all);
    assert_eq!(missing.status, Some(1), "{missing:?}");
    let bob = missing.stdout.lines().nth(1).unwrap();
    assert!(
        bob.starts_with("bob    NOT WELL  no run was made yet; "),
        "{bob}"
    );

    fs::write(path("etc/carol.json"), "{\"source_user\": 1").unwrap();
    let [a, b] = ["etc/alice.json", "etc/carol.json"];
    let two = [
        "--config",
        a,
        "--config",
        b,
        "--state-folder=lib",
        "--json",
        "--metrics=m.prom",
    ];
    let broken = status_run(folder.path(), &two);
    assert_eq!(broken.status, Some(78), "{broken:?}");
    let json: Value = serde_json::from_str(&broken.stdout).unwrap();
    let exits: Vec<&Value> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["exit_status"])
        .collect();
    assert_eq!(exits, [&json!(0), &json!(78)]);
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&json[0]), keys(&json[1]), "the keys are stable");
    let metrics = fs::read_to_string(path("m.prom")).unwrap();
    assert!(
        metrics.contains("_well{account=\"alice\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("_well{account=\"carol\"} 0\n"),
        "{metrics}"
    );
}

#[test]
fn metrics_can_be_read_by_all_and_are_replaced_whole() {
    let (_home, folder) = accounts(&["alice"]);
    let words = [
        "--config=etc",
        "--state-folder=lib",
        "--metrics",
        "m/sync.prom",
    ];
    let failed = status_run(folder.path(), &words);
    assert_eq!(failed.status, Some(74), "{failed:?}");
    assert!(
        failed
            .stderr
            .starts_with("m/sync.prom: writing the metrics: "),
        "{failed:?}"
    );
    assert!(failed.stdout.contains("alice  well"), "{failed:?}");
    fs::create_dir(folder.path().join("m")).unwrap();
    let file = folder.path().join("m/sync.prom");
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let old = File::open(&file).unwrap();
    let status = program(folder.path())
        .arg("status")
        .args(words)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    assert_eq!(
        std::io::read_to_string(old).unwrap(),
        "old",
        "it was not replaced whole"
    );
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    assert_eq!(files(&folder.path().join("m")).len(), 1);
}

#[test]
fn the_metrics_replace_regular_files_only_and_none_that_an_account_needs() {
    let (_home, folder) = accounts(&["alice"]);
    let path = |name: &str| folder.path().join(name);
    let run = |metrics: &str| {
        let words = ["--config=etc", "--state-folder=lib", "--metrics", metrics];
        status_run(folder.path(), &words)
    };
    fs::write(path("precious"), "kept").unwrap();
    symlink("precious", path("link")).unwrap();
    symlink("missing", path("dangling")).unwrap();
    let made = Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    fs::create_dir(path("folder")).unwrap();
    let kind = |name: &str| fs::symlink_metadata(path(name)).unwrap().file_type();
    let cases = [
        ("link", "it is a symbolic link of user "),
        ("dangling", "it is a symbolic link of user "),
        ("pipe", "it is a pipe or a device, not a file"),
        ("folder", "it is a folder, not a file"),
    ];
    for (name, what) in cases {
        let before = kind(name);
        let refused = run(name);
        assert_eq!(refused.status, Some(74), "{refused:?}");
        let begin = format!("{name}: writing the metrics: {what}");
        assert!(refused.stderr.starts_with(&begin), "{refused:?}");
        assert!(
            refused
                .stderr
                .ends_with("; name another file by --metrics\n"),
            "{refused:?}"
        );
        assert_eq!(kind(name), before);
    }
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "kept");
    assert!(!path("missing").exists());

    symlink("etc/alice.json", path("config")).unwrap();
    let cases = [
        ("etc/alice.json", "it is the configuration"),
        ("config", "it is the configuration"),
        ("lib/alice/sync_state.json", "it belongs to the state"),
        (
            "lib/alice/sync_state.json.journal",
            "it belongs to the state",
        ),
        (
            "lib/alice/token.json",
            "it is a file that the configuration names",
        ),
    ];
    for (name, what) in cases {
        let before = fs::read(path(name)).ok();
        let refused = run(name);
        let line = format!("{name}: writing the metrics: {what}; name another file by --metrics\n");
        assert_eq!((refused.status, refused.stderr), (Some(64), line));
        assert_eq!(fs::read(path(name)).ok(), before, "{name}");
    }
}

#[test]
fn a_mistake_in_command_line_or_configuration_has_its_status() {
    let (_home, folder) = accounts(&["alice"]);
    let run = |words: &[&str]| status_run(folder.path(), words);
    let file = run(&["--config", "etc", "--state-file", "s"]);
    assert_eq!(file.status, Some(64), "{file:?}");
    assert!(file.stderr.contains("use --state-folder"), "{file:?}");
    let empty = run(&["--config", "lib"]);
    assert_eq!(empty.status, Some(78), "{empty:?}");
    assert!(
        empty
            .stderr
            .starts_with("lib: this folder holds no configuration"),
        "{empty:?}"
    );
    let missing = run(&["--config", "none.json"]);
    assert_eq!(missing.status, Some(78), "{missing:?}");
    assert!(
        missing.stdout.contains("none.json: cannot be read: "),
        "{missing:?}"
    );
}
