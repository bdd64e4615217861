//! A log file: who may share it, and what renames it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use double::Fault;
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Home, Run};
use crate::watching::{Watching, arrived, deliver};

const LOG: &str = "sync.log";

/// The program with `--watch` and a log file, once it watches.
fn watch(home: &Home, options: &[&str]) -> Watching {
    let options = [&["--log", LOG], options].concat();
    let watching = Watching::start_with(home, &options);
    watching.wait_until("it watches", || log(home).contains("watching INBOX"));
    watching
}

fn log(home: &Home) -> String {
    fs::read_to_string(home.path(LOG)).unwrap_or_default()
}

fn terminate(watching: Watching) {
    watching.signal(Signal::TERM);
    let run = watching.wait_for_exit();
    assert_eq!(
        (run.status, run.stdout + &run.stderr),
        (Some(0), String::new())
    );
}

fn copy(home: &Home, watching: &Watching, number: usize) {
    deliver(home, number);
    let line = format!("copied <{number}@x>");
    watching.wait_until(&line, || log(home).contains(&line));
}

#[test]
fn runs_append_to_a_file_that_only_the_owner_and_the_group_can_read() {
    let home = Home::new();
    for number in 0..2 {
        deliver(&home, number);
        let mut command = Command::new("sh");
        command.current_dir(home.path("."));
        let program = env!("CARGO_BIN_EXE_imap-to-gmail-sync");
        command.args([
            "-c",
            "umask 022; exec \"$0\" --config config.json --log sync.log",
            program,
        ]);
        let run: Run = command.output().unwrap().into();
        assert_eq!(
            (run.status, run.stdout + &run.stderr),
            (Some(0), String::new())
        );
    }
    let log = log(&home);
    for line in ["copied <0@x>", "copied <1@x>"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    let mode = fs::metadata(home.path(LOG)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn lines_that_are_lost_until_the_end_are_told_of_on_standard_error() {
    let home = Home::new();
    deliver(&home, 0);
    let run = home.run_with(&["--log", "/dev/full"]);
    assert_eq!((run.status, arrived(&home)), (Some(0), 1));
    assert_eq!(run.stdout, "");
    let (count, rest) = run.stderr.split_once(" log lines since ").unwrap();
    assert!(count.parse::<u32>().unwrap() > 1, "{run:?}");
    let why = " could not be written: No space left on device (os error 28)\n";
    assert!(rest.ends_with(why), "{run:?}");
    // A reader that goes away, as `head` does, wants no more lines.
    deliver(&home, 1);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run: Run = home.command().stdout(writer).output().unwrap().into();
    assert_eq!((run.status, arrived(&home)), (Some(0), 2));
    assert_eq!(run.stderr, "");
}

#[test]
fn logrotate_may_rename_or_truncate_the_file_and_the_next_line_goes_to_the_right_one() {
    let home = Home::new();
    let watching = watch(&home, &[]);
    copy(&home, &watching, 0);
    // Renamed, and a signal as from a `postrotate` script.
    fs::rename(home.path(LOG), home.path("old")).unwrap();
    let old = home.read("old");
    watching.signal(Signal::HUP);
    watching.wait_until("a new file", || log(&home).contains("was reloaded"));
    copy(&home, &watching, 1);
    // Renamed without a signal, and made anew (`create`).
    fs::rename(home.path(LOG), home.path("older")).unwrap();
    let older = home.read("older");
    home.write(LOG, "");
    copy(&home, &watching, 2);
    // Copied and truncated (`copytruncate`).
    let file = fs::File::options().write(true).open(home.path(LOG));
    file.unwrap().set_len(0).unwrap();
    copy(&home, &watching, 3);
    assert!(log(&home).starts_with("20"), "{:?}", log(&home));
    terminate(watching);
    assert_eq!([home.read("old"), home.read("older")], [old, older]);
}

#[test]
fn a_one_shot_run_goes_on_after_the_signal_of_logrotate() {
    let home = Home::new();
    deliver(&home, 0);
    home.gmail
        .faults()
        .once(double::Event::is_literal, Fault::Stall);
    // In a session of its own there is no terminal whose end the signal could mean.
    let mut command = Command::new("setsid");
    command
        .current_dir(home.path("."))
        .arg(env!("CARGO_BIN_EXE_imap-to-gmail-sync"))
        .args(["--config", "config.json", "--log", LOG]);
    let running = Watching::spawn(command);
    running.wait_until("the stall", || {
        home.gmail.events().iter().any(double::Event::is_literal)
    });
    fs::rename(home.path(LOG), home.path("old")).unwrap();
    running.signal(Signal::HUP);
    running.wait_until("the file is opened anew", || home.path(LOG).exists());
    home.gmail.faults().release();
    let run = running.wait_for_exit();
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(arrived(&home), 1);
    assert!(log(&home).contains("copied <0@x>"));
}

#[test]
fn a_watcher_and_runs_that_find_the_lock_busy_share_the_file() {
    let home = Home::new();
    let watching = watch(&home, &["--debug"]);
    for number in 0..5 {
        deliver(&home, number);
        let run: Run = home.command().args(["--log", LOG]).output().unwrap().into();
        assert_eq!(
            (run.status, run.stdout + &run.stderr),
            (Some(0), String::new())
        );
        copy(&home, &watching, number + 100);
    }
    terminate(watching);
    let log = log(&home);
    assert_eq!(
        log.matches("another run holds the lock").count(),
        5,
        "{log}"
    );
    assert!(log.lines().count() > 100);
    for line in log.lines() {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line}");
        let levels = ["error ", "warn  ", "info  ", "debug "];
        assert!(levels.iter().any(|level| rest.starts_with(level)), "{line}");
    }
}

#[test]
fn a_file_that_grows_is_rotated_and_packed() {
    let home = Home::new();
    for number in 0..10 {
        deliver(&home, number);
        let options = [
            "--debug",
            "--log",
            LOG,
            "--log-max-size=2K",
            "--log-max-files=3",
        ];
        assert_eq!(home.run_with(&options).status, Some(0));
    }
    let kept = |number: usize| home.path(&format!("{LOG}.{number}.zst"));
    for number in 1..=3 {
        let packed = fs::read(kept(number)).unwrap();
        let lines = zstd::decode_all(packed.as_slice()).unwrap();
        assert!(lines.len() <= 2048 && lines.ends_with(b"\n"), "{number}");
    }
    assert!(!kept(4).exists() && !home.path("sync.log.1").exists());
    assert!(fs::metadata(home.path(LOG)).unwrap().size() <= 2048);
}

#[test]
fn a_copied_message_is_a_json_line_with_its_fields() {
    let home = Home::new();
    deliver(&home, 0);
    let run = home.run_with(&["--log-format", "json"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let keys = |line: &Value| {
        line.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let with = |key: &str| {
        let found = lines.iter().find(|line| line.get(key).is_some());
        found.unwrap_or_else(|| panic!("no {key} in {lines:?}"))
    };
    let message = with("message_id");
    assert_eq!(message["message_id"], "<0@x>");
    assert_eq!([&message["uid"], &message["gmail_uid"]], [1, 1]);
    assert_eq!(message["octets"], 41);
    assert!(message["seconds"].is_f64(), "{message}");
    let shared = ["level", "message", "pid", "time"];
    let own = ["gmail_uid", "message_id", "octets", "seconds", "uid"];
    let mut expected = [&shared[..], &own].concat();
    expected.sort_unstable();
    assert_eq!(keys(message), expected);
    let pass = with("copied");
    let own = [
        "already_there",
        "copied",
        "known",
        "octets",
        "parked",
        "refused",
        "seconds",
    ];
    let mut expected = [&shared[..], &own].concat();
    expected.sort_unstable();
    assert_eq!(keys(pass), expected);
    assert_eq!(pass["copied"], 1);
}
