//! Warnings that are repeated.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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

    let file = "runtime/log_repeats.json";
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

    // A damaged file costs a line.
    home.write(file, "{");
    assert_eq!(run_of_timer(&home).logged("error"), [&*error]);
    assert_eq!(run_of_timer(&home).logged("error").len(), 0);
}
