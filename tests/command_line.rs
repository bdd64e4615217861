//! Mistakes in the command line and in the configuration: the error line and the exit status.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use chrono::Utc;
use serde_json::{Value, json};
use tempfile::TempDir;

use program::{Home, Run, program};

/// A folder with a configuration whose servers are unreachable: nothing listens on port 1.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.configure(&json!({}));
        folder.write("token.json", r#"{"token": "t"}"#);
        folder
    }

    /// Writes the configuration with some fields changed; null removes one.
    fn configure(&self, fields: &Value) {
        let mut config = json!({
            "source_server": "127.0.0.1",
            "source_port": 1,
            "source_tls": "none",
            "source_user": "alice",
            "source_pass": "s3cret",
            "target_server": "127.0.0.1",
            "target_port": 1,
            "target_user": "alice@gmail.com",
            "target_token_file": "token.json",
        });
        let written = config.as_object_mut().unwrap();
        written.extend(fields.as_object().unwrap().clone());
        written.retain(|_, value| !value.is_null());
        self.write("config.json", config.to_string());
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), text).unwrap();
        self.permit(name, 0o600);
    }

    fn permit(&self, name: &str, mode: u32) {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.0.path().join(name), mode).unwrap();
    }

    fn holds(&self, name: &str) -> bool {
        self.0.path().join(name).exists()
    }

    fn run(&self, words: &[&str]) -> Run {
        program(self.0.path()).args(words).output().unwrap().into()
    }

    /// Runs the program with standard output and standard error in one pipe; returns what is in it.
    fn run_with_one_pipe(&self, words: &[&str]) -> (Option<i32>, String) {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = program(self.0.path());
        command.args(words).stdout(writer.try_clone().unwrap());
        let mut run = command.stderr(writer).spawn().unwrap();
        // It holds the writing ends.
        drop(command);
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        (run.wait().unwrap().code(), output)
    }
}

#[test]
fn a_mistake_in_the_command_line_is_one_line_on_standard_error() {
    let folder = Folder::new();
    let cases: [(&[&str], &str); 8] = [
        (
            &[],
            "--config FILE is missing; see imap-to-gmail-sync --help",
        ),
        (&["--config"], "--config requires a value"),
        (
            &["--config=config.json", "--dryrun"],
            "unknown option --dryrun (did you mean --dry-run?)",
        ),
        (&["config.json"], "unexpected argument \"config.json\""),
        (&["--debug=1"], "--debug takes no value"),
        (
            &["--config", "config.json", "--log-format", "yaml"],
            "--log-format requires text or json",
        ),
        (
            &["auth", "--config", "config.json"],
            "--credentials FILE is missing; see imap-to-gmail-sync auth --help",
        ),
        (
            &["--config", "config.json", "--log-max-size", "10 MB"],
            "--log-max-size requires a size such as 100K, 10M or 1G",
        ),
    ];
    for (words, line) in cases {
        let run = folder.run(words);
        assert_eq!(run.status, Some(64), "{words:?}");
        assert_eq!(run.stderr, format!("imap-to-gmail-sync: {line}\n"));
        assert_eq!(run.stdout, "", "{words:?}");
    }
    assert!(!folder.holds("sync_state.json.lock"));
}

#[test]
fn an_argument_that_is_not_utf_8_is_a_mistake() {
    let folder = Folder::new();
    let word = OsString::from_vec(b"caf\xe9.json".to_vec());
    let mut command = program(folder.0.path());
    let run: Run = command.arg("--config").arg(word).output().unwrap().into();
    assert_eq!(run.status, Some(64));
    assert_eq!(
        run.stderr,
        "imap-to-gmail-sync: argument \"caf\u{fffd}.json\" is not UTF-8\n"
    );
}

#[test]
fn help_and_version_are_printed_on_standard_output() {
    let folder = Folder::new();
    for word in ["--help", "-h"] {
        let run = folder.run(&[word]);
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
        assert!(run.stdout.starts_with("Usage: imap-to-gmail-sync "));
        assert!(run.stdout.ends_with("78 configuration.\n"), "{run:?}");
    }
    for word in ["--version", "-V"] {
        let run = folder.run(&[word]);
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(run.stdout, format!("imap-to-gmail-sync {version}\n"));
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    for words in [
        &["completions", "--shell", "bash"][..],
        &["status", "--config", "config.json"],
    ] {
        let folder = Folder::new();
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let run = program(folder.0.path())
            .args(words)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(74), "{run:?}");
        let line = String::from_utf8(run.stderr).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.starts_with("standard output: printing: "), "{line}");
    }
}

#[test]
fn every_help_text_fits_a_screen_and_shows_examples() {
    let folder = Folder::new();
    for command in ["auth", "check", "status", "completions", ""] {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let run = folder.run(&words);
        assert_eq!(run.status, Some(0), "{words:?}");
        let too_long = |line: &&str| line.chars().count() > 80;
        let lines: Vec<&str> = run.stdout.lines().filter(too_long).collect();
        assert!(lines.is_empty(), "{words:?}: {lines:#?}");
        assert!((20..=40).contains(&run.stdout.lines().count()), "{run:?}");
        assert!(run.stdout.contains("Examples:\n"), "{run:?}");
    }
}

#[test]
fn with_quiet_a_run_that_fails_prints_one_line() {
    let folder = Folder::new();
    // That `--no-idle` has no effect here is no warning.
    let words = ["--config", "config.json", "--quiet", "--no-idle"];
    for log in ["stdout", "stderr"] {
        let (status, output) = folder.run_with_one_pipe(&[&words[..], &["--log", log]].concat());
        assert_eq!(status, Some(69), "{output}");
        assert_eq!(output.lines().count(), 1, "{output}");
        assert!(output.contains(" error 127.0.0.1:1: "), "{output}");
    }
}

#[test]
fn with_quiet_warnings_are_logged() {
    let folder = Folder::new();
    folder.permit("config.json", 0o644);
    let run = folder.run(&["--config", "config.json", "--quiet"]);
    let logged = ["warn", "error"].map(|level| run.logged(level).len());
    assert_eq!(logged, [1, 1], "{run:?}");
    assert_eq!(run.stdout.lines().count(), 2, "{run:?}");
}

#[test]
fn with_quiet_copying_is_silent_and_a_dry_run_still_prints_its_list() {
    let home = Home::new();
    let octets = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let listed = home.run_with(&["--dry-run", "--quiet"]);
    assert_eq!((listed.status, listed.stderr.as_str()), (Some(0), ""));
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
    assert!(listed.stdout.contains("| <a@x> | new"), "{listed:?}");
    let copied = home.run_with(&["--quiet"]);
    assert_eq!(copied.status, Some(0), "{copied:?}");
    assert_eq!((copied.stdout.as_str(), copied.stderr.as_str()), ("", ""));
    assert_eq!(home.gmail.messages("INBOX").len(), 1);
}

#[test]
fn debug_and_quiet_exclude_each_other() {
    let folder = Folder::new();
    let run = folder.run(&["--config", "config.json", "--debug", "--quiet"]);
    assert_eq!(run.status, Some(64), "{run:?}");
    assert_eq!(
        run.stderr,
        "imap-to-gmail-sync: --debug and --quiet cannot be used together\n"
    );
}

#[test]
fn a_year_of_two_digits_does_not_request_the_whole_mailbox() {
    let folder = Folder::new();
    for day in ["26-01-31", "0026-01-31", "2026-31-01", "yesterday"] {
        let run = folder.run(&["--config", "config.json", "--since", day]);
        assert_eq!(run.status, Some(64), "{run:?}");
        let line = "imap-to-gmail-sync: --since requires a date such as 2026-01-31\n";
        assert_eq!(run.stderr, line);
    }
}

#[test]
fn a_closed_standard_output_is_no_failure() {
    let folder = Folder::new();
    for (word, status) in [("--help", 0), ("--nonsense", 64)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program(folder.0.path());
        command
            .arg(word)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer);
        assert_eq!(command.status().unwrap().code(), Some(status), "{word}");
    }
}

#[test]
fn all_mistakes_in_the_configuration_are_reported_in_one_line() {
    let folder = Folder::new();
    let run = || folder.run(&["--config", "config.json"]);

    folder.run(&["--config", "none.json"]).assert_error(
        78,
        "none.json: cannot be read: No such file or directory (os error 2); correct --config",
    );

    folder.write(
        "config.json",
        "{\n  \"source_pass\": \"s3cret\"\n  \"x\": 1\n}",
    );
    run().assert_error(
        78,
        "config.json: bad JSON: expected `,` or `}` at line 3 column 3",
    );

    folder.write("config.json", "[\"s3cret\"]");
    run().assert_error(
        78,
        "config.json: must contain an object, { \"source_server\": … }, not a list",
    );

    folder.configure(&json!({
        "source_server": null,
        "source_sever": "mail.example.com",
        "source_port": "imaps",
        "source_pass_file": "password",
        "target_connections": 50,
    }));
    run().assert_error(
        78,
        "config.json: unknown field \"source_sever\" (did you mean source_server?); \
         source_server is missing; \
         source_pass and source_pass_file cannot be used together; give one; \
         source_port must be a whole number from 1 to 65535, not a string; \
         target_connections must be a whole number from 1 to 10, not 50",
    );

    folder.configure(&json!({ "source_server": "mail.example.com" }));
    run().assert_error(
        78,
        "config.json: source_tls \"none\" is for a source_server on this machine only \
         (localhost, 127.0.0.1)",
    );
    assert!(!folder.holds("sync_state.json.lock"));
}

#[test]
fn a_password_that_cannot_be_read_is_a_mistake_in_the_configuration() {
    let folder = Folder::new();
    let run = || folder.run(&["--config", "config.json"]);

    folder.configure(&json!({
        "source_pass": null,
        "source_pass_command": "echo 'gpg: no secret key' >&2; exit 2",
    }));
    run().assert_error(
        78,
        "source_pass_command: failed (exit status: 2); its error output begins: \"gpg: no secret \
         key\"",
    );

    folder.configure(&json!({ "source_pass": null, "source_pass_file": "password" }));
    let path = folder.0.path().join("config.json");
    folder
        .run(&["--config", path.to_str().unwrap()])
        .assert_error(
            78,
            &format!(
                "{}/password: reading the password: cannot be read: No such file or directory \
             (os error 2); correct source_pass_file",
                folder.0.path().display()
            ),
        );

    // A pipe can be read only once.
    folder.configure(&json!({ "source_pass": null, "source_pass_file": "/dev/stdin" }));
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"s3cret\n").unwrap();
    drop(writer);
    let mut command = program(folder.0.path());
    command.args(["--config", "config.json"]).stdin(reader);
    let first: Run = command.output().unwrap().into();
    assert_eq!(first.status, Some(69), "{first:?}");

    folder.configure(&json!({ "source_pass": null, "source_pass_file": "password" }));
    folder.write("password", "\nsecond line\n");
    run().assert_error(78, "source_pass_file: the password is empty");
}

#[test]
fn a_password_command_cannot_ask_on_standard_input() {
    let folder = Folder::new();
    folder.configure(&json!({ "source_pass": null, "source_pass_command": "cat" }));
    let child = program(folder.0.path())
        .args(["--config", "config.json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_ref().unwrap().write_all(b"typed\n").unwrap();
    let run: Run = child.wait_with_output().unwrap().into();
    run.assert_error(78, "source_pass_command: prints nothing");
}

#[test]
fn a_password_file_is_looked_for_among_systemds_credentials() {
    let folder = Folder::new();
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("password"), "").unwrap();
    folder.write("password", "s3cret");
    folder.configure(&json!({ "source_pass": null, "source_pass_file": "password" }));
    let run: Run = program(folder.0.path())
        .args(["--config", "config.json"])
        .env("CREDENTIALS_DIRECTORY", credentials.path())
        .output()
        .unwrap()
        .into();
    run.assert_error(78, "source_pass_file: the password is empty");
}

#[test]
fn files_that_others_can_read_cause_a_warning_and_the_run_goes_on() {
    let folder = Folder::new();
    folder.permit("config.json", 0o644);
    folder.permit("token.json", 0o660);
    let run = folder.run(&["--config", "config.json"]);
    assert_eq!(run.status, Some(69), "{run:?}");
    assert_eq!(
        run.logged("warn"),
        [
            "config.json holds a secret and can be read by others; type: chmod 600 config.json",
            "token.json holds a secret and can be read by others; type: chmod 600 token.json",
        ]
    );
}

#[test]
fn polling_options_of_the_original_are_accepted() {
    let folder = Folder::new();
    let words = [
        "--no-idle",
        "--poll-interval",
        "30",
        "--config",
        "config.json",
    ];
    let run = folder.run(&words);
    assert_eq!(run.status, Some(69), "{run:?}");
    assert_eq!(
        run.logged("info"),
        [
            "--no-idle has no effect without --watch",
            "--poll-interval has no effect without --watch",
        ]
    );
}

#[test]
fn an_error_that_ends_a_run_is_seen_once_where_standard_error_is() {
    let folder = Folder::new();
    let count = |text: &str| text.matches("127.0.0.1:1: ").count();
    // On standard output, on standard error, and in the file.
    let cases: [(&str, [usize; 3]); 3] = [
        ("stdout", [1, 1, 0]),
        ("stderr", [0, 1, 0]),
        ("sync.log", [0, 1, 1]),
    ];
    for (log, expected) in cases {
        let words = ["--config", "config.json", "--log", log];
        let run = folder.run(&words);
        assert_eq!(run.status, Some(69), "{run:?}");
        let file = fs::read_to_string(folder.0.path().join("sync.log")).unwrap_or_default();
        let found = [&run.stdout, &run.stderr, &file].map(|text| count(text));
        assert_eq!(found, expected, "{log}: {run:?}");
        // As under cron, where both are the same pipe.
        let (_, output) = folder.run_with_one_pipe(&words);
        assert_eq!(count(&output), 1, "{log}: {output}");
    }
    // The log file is that of a redirection, too.
    let path = folder.0.path().join("cron.log");
    let stderr = fs::File::options().append(true).create(true).open(&path);
    let mut command = program(folder.0.path());
    command.args(["--config", "config.json", "--log", "cron.log"]);
    command.stderr(stderr.unwrap()).output().unwrap();
    let output = fs::read_to_string(path).unwrap();
    assert_eq!(count(&output), 1, "{output}");
}

#[test]
fn an_error_that_ends_a_run_is_seen_once_on_a_terminal_and_coloured_unless_no_color_is_set() {
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_imap-to-gmail-sync");
    let command = format!("{program} --config config.json");
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]);
        script.current_dir(folder.0.path()).stdin(Stdio::null());
        script.env_remove("NO_COLOR").env("TERM", "xterm");
        script.envs(variables.iter().copied());
        let run: Run = script.output().unwrap().into();
        assert_eq!(run.status, Some(69), "{run:?}");
        assert_eq!(run.stdout.matches("127.0.0.1:1: ").count(), 1, "{run:?}");
        run.stdout.contains("\x1b[31merror\x1b[0m 127.0.0.1:1: ")
    };
    assert!(on_terminal(&[]));
    assert!(on_terminal(&[("NO_COLOR", "")]));
    assert!(!on_terminal(&[("NO_COLOR", "1")]));
    assert!(!on_terminal(&[("TERM", "dumb")]));
}

#[test]
fn an_error_on_standard_error_has_its_priority_if_that_is_the_journal() {
    let folder = Folder::new();
    let cases: [(&[&str], &str); 2] = [
        (
            &["--config", "config.json", "--log", "sync.log"],
            "127.0.0.1:1: ",
        ),
        (&["--dryrun"], "imap-to-gmail-sync: unknown option"),
    ];
    for (words, begin) in cases {
        let path = folder.0.path().join("stderr");
        let file = fs::File::create(&path).unwrap();
        let stream = file.metadata().unwrap();
        let mut command = program(folder.0.path());
        let named = format!("{}:{}", stream.dev(), stream.ino());
        command.args(words).env("JOURNAL_STREAM", named);
        let status = command.stderr(file).status().unwrap();
        assert!(!status.success());
        let printed = fs::read_to_string(path).unwrap();
        assert!(printed.starts_with(&format!("<3>{begin}")), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_ends_the_run_before_it_begins() {
    let folder = Folder::new();
    fs::create_dir(folder.0.path().join("logs")).unwrap();
    let cases = [
        (
            "logs",
            "logs: opening the log: it is a folder, not a file; move logs away, or name another file",
        ),
        (
            "missing/sync.log",
            "missing/sync.log: opening the log: the folder missing does not exist; type: mkdir -p missing",
        ),
    ];
    for (log, line) in cases {
        let run = folder.run(&["--config", "config.json", "--log", log]);
        assert_eq!(run.status, Some(74), "{run:?}");
        assert_eq!(run.stderr, format!("{line}\n"));
        assert_eq!(run.stdout, "");
        assert!(!folder.holds("sync_state.json.lock"));
    }
}

#[test]
fn a_file_that_the_program_needs_does_not_become_the_log() {
    let folder = Folder::new();
    folder.configure(&json!({
        "source_pass": null, "source_pass_file": "password",
        "source_ca_file": "ca.pem", "source_tls": "implicit",
    }));
    folder.write("password", "secret\n");
    folder.write("ca.pem", "-----BEGIN");
    folder.write("sync_state.json", "{}");
    std::os::unix::fs::symlink("config.json", folder.0.path().join("link")).unwrap();
    let state = "it belongs to the state";
    let named = "it is a file that the configuration names";
    let cases = [
        ("config.json", "it is the configuration"),
        ("link", "it is the configuration"),
        ("sync_state.json", state),
        ("sync_state.json.journal", state),
        ("./sync_state.json.lock", state),
        ("token.json", named),
        ("password", named),
        ("ca.pem", named),
    ];
    let files = |folder: &Folder| {
        let entries = fs::read_dir(folder.0.path()).unwrap();
        let read = |path| (fs::read(&path).unwrap(), path);
        let mut files: Vec<_> = entries.map(|entry| read(entry.unwrap().path())).collect();
        files.sort();
        files
    };
    let before = files(&folder);
    for (log, what) in cases {
        let run = folder.run(&["--config", "config.json", "--log", log, "--no-idle"]);
        let line = format!("{log}: opening the log: {what}; name another target with --log\n");
        assert_eq!((run.status, run.stderr), (Some(64), line));
        assert_eq!(run.stdout, "");
        assert_eq!(files(&folder), before, "{log}");
    }
}

#[test]
fn a_pipe_into_which_nobody_writes_is_an_error_and_one_with_a_writer_is_read() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.path().join(name);
    let made = Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    let with_pipe = |name: &str, fields: &Value| {
        folder.configure(fields);
        fs::rename(path("config.json"), path(name)).unwrap();
    };
    with_pipe(
        "password.json",
        &json!({ "source_pass": null, "source_pass_file": "pipe" }),
    );
    with_pipe(
        "ca.json",
        &json!({ "source_tls": "implicit", "source_ca_file": "pipe" }),
    );
    folder.configure(&json!({}));
    let what = "it is a pipe, and nothing was written into it";
    let cases = [
        ("pipe", "pipe: cannot be read: ", "correct --config"),
        (
            "password.json",
            "/pipe: reading the password: cannot be read: ",
            "correct source_pass_file",
        ),
        (
            "ca.json",
            "/pipe: reading certificates: ",
            "name a PEM file that holds the certificates to trust",
        ),
    ];
    let starts = cases.map(|(config, ..)| {
        let mut command = program(folder.0.path());
        command.args(["--config", path(config).to_str().unwrap()]);
        command.args([
            "--state-file",
            &format!("{config}.state"),
            "--log",
            "stderr",
        ]);
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        command.spawn().unwrap()
    });
    for (start, (config, begin, remedy)) in starts.into_iter().zip(cases) {
        let run: Run = start.wait_with_output().unwrap().into();
        assert_eq!(run.status, Some(78), "{config}: {run:?}");
        let line = format!("{begin}{what}; {remedy}\n");
        assert!(run.stderr.ends_with(&line), "{config}: {run:?}");
    }
    // Both configurations are complete: no server answers.
    for words in [
        "cat config.json > pipe & \"$0\" --config pipe",
        "\"$0\" --config <(cat config.json)",
    ] {
        let mut command = Command::new("bash");
        command.args(["-c", words, env!("CARGO_BIN_EXE_imap-to-gmail-sync")]);
        let run: Run = command
            .current_dir(folder.0.path())
            .output()
            .unwrap()
            .into();
        assert_eq!(run.status, Some(69), "{words}: {run:?}");
    }
}

#[test]
fn the_state_is_where_the_command_line_or_systemd_says() {
    let folder = Folder::new();
    for name in ["one", "two"] {
        fs::create_dir(folder.0.path().join(name)).unwrap();
    }
    let run = |words: &[&str], folders: Option<&str>| {
        let mut command = program(folder.0.path());
        command.args(["--config", "config.json"]).args(words);
        if let Some(folders) = folders {
            command.env("STATE_DIRECTORY", folders);
        }
        let run: Run = command.output().unwrap().into();
        assert_eq!(run.status, Some(69), "{run:?}");
    };
    run(&["--state-file", "mine.json"], Some("two"));
    assert!(folder.holds("mine.json.lock") && !folder.holds("two/sync_state.json.lock"));
    run(&[], Some("one:two"));
    assert!(folder.holds("one/sync_state.json.lock") && !folder.holds("two/sync_state.json.lock"));
    assert!(!folder.holds("sync_state.json.lock"));
    run(&[], None);
    assert!(folder.holds("sync_state.json.lock"));
}
