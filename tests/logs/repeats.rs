//! Warnings that are repeated.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::Command;

use chrono::{TimeDelta, Utc};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::{Home, Run};
use crate::watching::Watching;

#[test]
fn a_repeated_warning_is_logged_once_and_summed_up_at_the_end() {
    let home = Home::new();
    let config = home.path("config.json");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    for reloads in 1..=3 {
        watching.signal(Signal::HUP);
        watching.wait_until("a reload", || watching.count("was reloaded") == reloads);
    }
    let run = watching.terminate();
    let warning = "config.json holds a secret and can be read by others; \
                   type: chmod 600 config.json";
    let logged = run.logged("warn");
    assert_eq!((logged.len(), logged[0]), (2, warning), "{run:?}");
    let (count, repeated) = logged[1].split_once(" since ").unwrap();
    assert_eq!(count, "repeated 3 times");
    assert!(repeated.ends_with(&format!(": {warning}")), "{repeated}");
    let last = run.stdout.lines().last().unwrap();
    assert!(last.contains("repeated 3 times"), "{run:?}");
}

/// The remembered lines, in the folder of a home.
const FILE: &str = "runtime/log_repeats.json";

/// A run as the timer of the units starts it.
fn run_of_timer(home: &Home) -> Run {
    let mut command = home.command();
    command.env("RUNTIME_DIRECTORY", home.path("runtime"));
    command.output().unwrap().into()
}

#[test]
fn an_error_of_each_run_of_a_timer_is_logged_once_an_hour() {
    let mut home = Home::new();
    let port = home.source.port();
    fs::create_dir(home.path("runtime")).unwrap();
    assert_eq!(run_of_timer(&home).status, Some(0));
    assert_eq!(fs::read_dir(home.path("runtime")).unwrap().count(), 0);
    home.source.stop();
    let first = run_of_timer(&home);
    assert_eq!(first.status, Some(69));
    let error = first.logged("error")[0].to_owned();
    assert!(error.starts_with(&format!("localhost:{port}: ")), "{error}");
    for _ in 0..2 {
        let run = run_of_timer(&home);
        assert_eq!((run.status, run.stdout.as_str()), (Some(69), ""));
        // Who starts a run by hand sees why it failed.
        assert_eq!(run.stderr, format!("{error}\n"));
    }
    // Another error is another line.
    home.configure(&json!({ "source_port": 1 }));
    assert_eq!(run_of_timer(&home).logged("error").len(), 1);
    home.configure(&json!({ "source_port": port }));

    let file = FILE;
    let mut remembered: Value = serde_json::from_str(&home.read(file)).unwrap();
    for text in remembered["texts"].as_array_mut().unwrap() {
        text["written_at"] = json!(Utc::now() - TimeDelta::minutes(61));
    }
    home.write(file, &remembered.to_string());
    let run = run_of_timer(&home);
    let logged = run.logged("error");
    assert_eq!(logged.len(), 1, "{run:?}");
    assert!(logged[0].starts_with("repeated 3 times since "), "{run:?}");
    assert!(logged[0].ends_with(&error), "{run:?}");

    // It is over when the next run with something to say comes.
    run_of_timer(&home);
    let mut remembered: Value = serde_json::from_str(&home.read(file)).unwrap();
    for text in remembered["texts"].as_array_mut().unwrap() {
        text["written_at"] = json!(Utc::now() - TimeDelta::minutes(61));
        text["logged_at"] = json!(Utc::now() - TimeDelta::minutes(50));
    }
    home.write(file, &remembered.to_string());
    home.configure(&json!({ "source_port": 1 }));
    let run = run_of_timer(&home);
    let logged = run.logged("warn");
    assert_eq!(logged.len(), 1, "{run:?}");
    assert!(logged[0].starts_with("repeated 1 time since "), "{run:?}");
    assert!(
        logged[0].contains(", last at ") && logged[0].ends_with(&error),
        "{run:?}"
    );
    home.configure(&json!({ "source_port": port }));

    // A damaged file costs a line.
    home.write(file, "{");
    assert_eq!(run_of_timer(&home).logged("error"), [&*error]);
    assert_eq!(run_of_timer(&home).logged("error").len(), 0);
}

/// Runs of a timer that fail, where what is at the place of the remembered lines must stay as it is.
#[track_caller]
fn assert_kept(home: &mut Home, problem: &str) {
    for _ in 0..2 {
        let run = run_of_timer(home);
        assert_eq!(run.status, Some(69), "{run:?}");
        assert_eq!(run.logged("error").len(), 1, "{run:?}");
        let warning = run.logged("warn")[0];
        let begin = format!("{}: saving the repeated lines: ", home.path(FILE).display());
        assert!(
            warning.starts_with(&begin) && warning.contains(problem),
            "{run:?}"
        );
    }
}

#[test]
fn what_is_no_regular_file_is_neither_read_nor_replaced_for_the_remembered_lines() {
    let mut home = Home::new();
    home.source.stop();
    fs::create_dir(home.path("runtime")).unwrap();
    let file = home.path(FILE);
    home.write("precious", "{}");
    symlink(home.path("precious"), &file).unwrap();
    assert_kept(&mut home, "it is a symbolic link of user ");
    assert_eq!(home.read("precious"), "{}");
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());

    fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    assert_kept(&mut home, "it is a pipe or a device, not a file; move ");
    assert!(fs::symlink_metadata(&file).unwrap().file_type().is_fifo());
}

#[test]
fn remembered_lines_of_impossible_times_or_numbers_end_no_run() {
    let home = Home::new();
    fs::create_dir(home.path("runtime")).unwrap();
    for (time, zone) in [
        ("+262142-12-31T23:59:59Z", "Asia/Tokyo"),
        ("-262143-01-01T00:00:00Z", "America/New_York"),
    ] {
        let text = json!({ "level": "ERROR", "text": "x", "written_at": time, "logged_at": time, "repeated": 5 });
        home.write(FILE, &json!({ "texts": [text] }).to_string());
        let mut command = home.command();
        command.env("RUNTIME_DIRECTORY", home.path("runtime"));
        let run: Run = command.env("TZ", zone).output().unwrap().into();
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        assert!(!run.stdout.contains("repeated"), "{run:?}");
    }
}
