//! A run without new mail contacts only the source, in few round trips, and writes only the lock.

// A test fails by a panic, in its support code as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::SystemTime;

use double::SourceOptions;

use program::Home;

fn home(source: SourceOptions) -> Home {
    let home = Home::with(source, double::GmailOptions::default());
    for number in 0..5 {
        let message = format!("Message-ID: <{number}@x>\r\n\r\nbody\r\n");
        home.source
            .deliver(message.as_bytes(), chrono::Utc::now().fixed_offset(), &[]);
    }
    home.run_ok();
    assert_eq!(home.gmail.messages("INBOX").len(), 5);
    home
}

/// Every file of a home: its content and its time stamp.
fn files(home: &Home) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    fs::read_dir(home.path("."))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            (name, (fs::read(&path).unwrap(), modified))
        })
        .collect()
}

#[test]
fn it_contacts_neither_gmail_nor_the_token_endpoint_and_writes_only_the_lock() {
    let home = home(SourceOptions::default());
    let (connections, requests) = (home.gmail.connections(), home.endpoint.requests().len());
    let mut before = files(&home);
    let run = home.run_ok();
    assert_eq!(run.stdout + &run.stderr, "", "it has nothing to say");
    assert_eq!(home.gmail.connections(), connections);
    assert_eq!(home.endpoint.requests().len(), requests);
    let mut after = files(&home);
    let lock_before = before.remove("sync_state.json.lock").unwrap();
    let lock_after = after.remove("sync_state.json.lock").unwrap();
    assert!(
        lock_after.1 > lock_before.1,
        "the time stamp tells that a run came to its end"
    );
    assert_eq!(after, before);
}

#[test]
fn a_run_that_fails_does_not_change_the_time_stamp_of_the_lock() {
    let home = home(SourceOptions::default());
    let before = fs::metadata(home.path("sync_state.json.lock"))
        .unwrap()
        .modified()
        .unwrap();
    home.source
        .change(|source| source.password = "another".to_owned());
    assert_eq!(home.run().status, Some(77));
    let after = fs::metadata(home.path("sync_state.json.lock"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(after, before);
    assert_eq!(home.state()["source"]["refused_logins"], 1);
}

#[test]
fn it_waits_for_at_most_two_round_trips_after_tls() {
    for volunteers_capabilities in [true, false] {
        let home = home(SourceOptions {
            volunteers_capabilities,
            ..SourceOptions::default()
        });
        let (before, commands) = (home.source.round_trips(), home.source.commands().len());
        home.run_ok();
        let commands = home.source.commands().split_off(commands);
        assert!(commands.iter().any(|command| command.starts_with("ID (")));
        // CAPABILITY, where the greeting holds none; the log-in with ID, EXAMINE and the listing of new mail;
        // and LOGOUT, which is not waited for.
        let round_trips = home.source.round_trips() - before;
        let expected = if volunteers_capabilities { 2 } else { 3 };
        assert_eq!(round_trips, expected, "{commands:?}");
    }
}

#[test]
fn new_mail_is_listed_in_the_round_trip_of_the_log_in() {
    let home = home(SourceOptions::default());
    let now = chrono::Utc::now().fixed_offset();
    for number in 5..8 {
        let message = format!("Message-ID: <{number}@x>\r\n\r\nbody\r\n");
        home.source.deliver(message.as_bytes(), now, &[]);
    }
    let (before, commands) = (home.source.round_trips(), home.source.commands().len());
    home.run_ok();
    assert_eq!(home.gmail.messages("INBOX").len(), 8);
    let commands = home.source.commands().split_off(commands);
    let listings = commands.iter().filter(|it| it.contains("RFC822.SIZE"));
    assert_eq!(listings.count(), 1, "{commands:?}");
    // The log-in with the listing, the messages, LOGOUT.
    assert_eq!(home.source.round_trips() - before, 3, "{commands:?}");
}

#[test]
fn it_does_not_wait_until_the_server_answers_its_logout() {
    let home = home(SourceOptions::default());
    let is_logout = |event: &double::Event| event.is_command("LOGOUT");
    home.source.faults().once(is_logout, double::Fault::Stall);
    let run = home.run_with(&["--debug"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    // The server gets it all the same, and nobody misses the answer.
    let commands = home.source.commands();
    assert_eq!(commands.last().map(String::as_str), Some("LOGOUT"));
    assert!(!run.stdout.contains("logging out"), "{run:?}");
    assert!(!run.stdout.contains("BYE"), "{run:?}");
}

#[test]
fn mail_that_was_deleted_before_the_run_is_skipped_once() {
    let home = home(SourceOptions::default());
    let uid = home.source.deliver(
        b"Message-ID: <gone@x>\r\n\r\n",
        chrono::Utc::now().fixed_offset(),
        &[],
    );
    home.source.expunge(uid);
    home.run_ok();
    assert_eq!(home.state()["cursor"]["uid"], uid);
    let before = files(&home);
    let commands = home.source.commands().len();
    home.run_ok();
    let commands = home.source.commands().split_off(commands);
    assert!(commands.len() <= 5, "{commands:?}");
    assert_eq!(files(&home)["sync_state.json"], before["sync_state.json"]);
}

#[test]
fn a_broken_token_file_is_noticed_all_the_same() {
    let home = home(SourceOptions::default());
    let whole = home.read("token.json");
    let connections = home.gmail.connections();
    let missing = "token.json: cannot be read: No such file or directory (os error 2); correct";
    let garbage = "token.json: is not a JSON object: expected value at line 1 column 1; make a new";
    for (token, line) in [(None, missing), (Some("garbage"), garbage)] {
        match token {
            None => fs::remove_file(home.path("token.json")).unwrap(),
            Some(text) => home.write("token.json", text),
        }
        for options in [&[] as &[&str], &["--dry-run"], &["--watch"]] {
            let run = home.run_with(options);
            assert_eq!(run.status, Some(78), "{options:?}: {run:?}");
            assert!(run.stderr.contains(line), "{options:?}: {run:?}");
            assert!(!run.stdout.contains("watching"), "{run:?}");
        }
    }
    assert_eq!(home.gmail.connections(), connections);
    home.write("token.json", &whole);
    home.run_ok();
}

#[test]
fn only_a_first_run_logs_in_to_gmail() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        let answer = "<T> NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)";
        gmail.login_response = Some(vec![answer.to_owned()]);
    });
    let rejected = home.run();
    assert_eq!(rejected.status, Some(77), "{rejected:?}");
    assert!(rejected.stderr.contains("check that target_user"));
    home.gmail.change(|gmail| gmail.login_response = None);
    home.age_by_minutes(60);
    let connections = home.gmail.connections();
    home.run_ok();
    assert_eq!(
        home.gmail.connections(),
        connections + 1,
        "nothing was synced"
    );
    home.run_ok();
    assert_eq!(
        home.gmail.connections(),
        connections + 1,
        "it is no first run"
    );
}

#[test]
fn a_first_dry_run_logs_in_to_gmail_too() {
    let home = Home::new();
    // It renews the access token; a dry run does not, and cannot log in without.
    home.run_ok();
    fs::remove_file(home.path("sync_state.json")).unwrap();
    let connections = home.gmail.connections();
    assert_eq!(home.run_with(&["--dry-run"]).status, Some(0));
    assert_eq!(home.gmail.connections(), connections + 1);
}

#[test]
fn a_dry_run_says_how_many_messages_would_be_copied_and_since_when_they_came() {
    let home = home(SourceOptions::default());
    let total = || {
        // A zone that no test machine is in.
        let mut command = home.command();
        let run: program::Run = command
            .env("TZ", "XYZ-5:30")
            .arg("--dry-run")
            .output()
            .unwrap()
            .into();
        assert_eq!(run.status, Some(0), "{run:?}");
        run.stdout.lines().last().unwrap().to_owned()
    };
    let last_sync = home.state()["last_sync"].as_str().unwrap().to_owned();
    let last_sync = chrono::DateTime::parse_from_rfc3339(&last_sync).unwrap();
    let offset = chrono::FixedOffset::east_opt(19_800).unwrap();
    let since = last_sync.with_timezone(&offset);
    let since = since.format("%Y-%m-%d %H:%M:%S +0530").to_string();
    assert_eq!(
        total(),
        format!("0 messages would be copied, received since {since}")
    );
    let now = chrono::Utc::now().fixed_offset();
    home.source
        .deliver(b"Message-ID: <new@x>\r\n\r\n", now, &[]);
    assert_eq!(
        total(),
        format!("1 message would be copied, received since {since}")
    );
    fs::remove_file(home.path("sync_state.json")).unwrap();
    fs::remove_file(home.path("token.json")).unwrap();
    home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
    let week = (chrono::Utc::now() - chrono::TimeDelta::days(7)).with_timezone(&offset);
    let total = total();
    let begin = "6 messages would be copied unless Gmail has them already, received since ";
    let since = total.strip_prefix(begin).unwrap();
    let since = chrono::DateTime::parse_from_str(since, "%Y-%m-%d %H:%M:%S %z").unwrap();
    assert!(
        (since - week).abs() < chrono::TimeDelta::hours(1),
        "{total}"
    );
}

#[test]
fn a_warning_is_logged_once_a_day_and_then_it_writes_only_the_lock() {
    let home = home(SourceOptions::default());
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(home.path("token.json"), open).unwrap();
    let warning = "token.json holds a secret and can be read by others; type: chmod 600 token.json";
    assert_eq!(home.run_ok().logged("warn"), [warning]);
    let mut before = files(&home);
    assert_eq!(home.run_ok().stdout, "");
    let mut after = files(&home);
    for files in [&mut before, &mut after] {
        files.remove("sync_state.json.lock").unwrap();
    }
    assert_eq!(after, before);
    // A person who tries it is told each time.
    assert_eq!(home.run_with(&["--dry-run"]).logged("warn"), [warning]);
    // Another warning is logged at once.
    fs::set_permissions(home.path("token.json"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(home.path("config.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let warning = warning.replace("token.json", "config.json");
    assert_eq!(home.run_ok().logged("warn"), [&warning]);
    home.age_by_minutes(24 * 60 - 5);
    assert_eq!(home.run_ok().stdout, "");
    home.age_by_minutes(10);
    assert_eq!(home.run_ok().logged("warn"), [&warning]);
}

#[test]
fn a_folder_of_the_state_that_others_can_write_is_warned_about() {
    let home = home(SourceOptions::default());
    fs::create_dir(home.path("state")).unwrap();
    let run = |mode: u32| {
        fs::set_permissions(home.path("state"), fs::Permissions::from_mode(mode)).unwrap();
        home.run_with(&["--state-file", "state/sync_state.json"])
    };
    assert!(run(0o1777).logged("warn").is_empty());
    let folder = fs::canonicalize(home.path("state")).unwrap();
    let folder = folder.display();
    let owner = fs::metadata(home.path("state")).unwrap().uid();
    assert_eq!(
        run(0o757).logged("warn"),
        [format!(
            "{folder}, the folder of the state, can be written by others (owner {owner}, mode \
             0757); type: chmod go-w {folder}"
        )]
    );
}
