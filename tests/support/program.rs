//! The real program in a folder of its own, between doubles.

// Each test uses its own part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use double::{Gmail, GmailOptions, Source, SourceOptions, Stored, TokenEndpoint};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a configuration, a token, and the two servers that they name.
pub struct Home {
    pub source: Source,
    pub gmail: Gmail,
    pub endpoint: TokenEndpoint,
    folder: TempDir,
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Run {
    /// The exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Home {
        Home::with(SourceOptions::default(), GmailOptions::default())
    }

    pub fn with(source: SourceOptions, gmail: GmailOptions) -> Home {
        let source = Source::start(source);
        let gmail = Gmail::start(gmail);
        let endpoint = TokenEndpoint::start(&gmail);
        let home = Home {
            source,
            gmail,
            endpoint,
            folder: tempfile::tempdir().unwrap(),
        };
        home.write("source.pem", home.source.ca_pem());
        home.write("gmail.pem", home.gmail.ca_pem());
        home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
        home.write("config.json", &home.config().to_string());
        home
    }

    /// The configuration that a new home has.
    pub fn config(&self) -> Value {
        json!({
            "source_server": "localhost",
            "source_port": self.source.port(),
            "source_user": "user",
            "source_pass": "secret",
            "source_ca_file": "source.pem",
            "target_server": "localhost",
            "target_port": self.gmail.port(),
            "target_user": self.gmail.user(),
            "target_token_file": "token.json",
            "target_ca_file": "gmail.pem",
        })
    }

    /// Changes fields of the configuration; null takes one out.
    pub fn configure(&self, fields: &Value) {
        self.configure_text(&self.read("config.json"), fields);
    }

    /// Makes this the configuration, with fields of it changed.
    pub fn configure_text(&self, config: &str, fields: &Value) {
        let mut config: Value = serde_json::from_str(config).unwrap();
        for (name, value) in fields.as_object().unwrap() {
            match value {
                Value::Null => config.as_object_mut().unwrap().remove(name),
                value => config
                    .as_object_mut()
                    .unwrap()
                    .insert(name.clone(), value.clone()),
            };
        }
        self.write("config.json", &config.to_string());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner can read.
    pub fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The command line of a run in this folder.
    pub fn command(&self) -> Command {
        let mut command = program(self.folder.path());
        command.args(["--config", "config.json"]);
        command
    }

    /// Runs the program to its end.
    pub fn run(&self) -> Run {
        self.run_with(&[])
    }

    pub fn run_with(&self, options: &[&str]) -> Run {
        self.command().args(options).output().unwrap().into()
    }

    /// Runs it, and demands that all went well.
    pub fn run_well(&self) -> Run {
        let run = self.run();
        assert_eq!(run.status, Some(0), "{run:?}");
        run
    }

    /// Starts the program and does not wait.
    pub fn start(&self) -> Child {
        self.command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.read("sync_state.json")).unwrap()
    }

    /// Lets so many minutes pass for what the state remembers: every time in it at which something
    /// was sent, or may be tried again, moves back.
    pub fn let_pass(&self, minutes: i64) {
        self.let_pass_for("sync_state.json", minutes);
    }

    /// The same for seconds.
    pub fn let_pass_seconds(&self, seconds: i64) {
        self.let_pass_by("sync_state.json", chrono::TimeDelta::seconds(seconds));
    }

    /// The same for a state file of another name.
    pub fn let_pass_for(&self, state: &str, minutes: i64) {
        self.let_pass_by(state, chrono::TimeDelta::minutes(minutes));
    }

    fn let_pass_by(&self, state: &str, time: chrono::TimeDelta) {
        for name in [state, &format!("{state}.journal")] {
            let Ok(text) = fs::read_to_string(self.path(name)) else {
                continue;
            };
            let aged: Vec<String> = match serde_json::from_str::<Value>(&text) {
                Ok(whole) => vec![aged(whole, time).to_string()],
                Err(_) => text.lines().map(|line| aged_line(line, time)).collect(),
            };
            self.write(name, &(aged.join("\n") + "\n"));
        }
    }

    /// What Gmail holds in its inbox, by octets.
    pub fn delivered(&self) -> BTreeMap<String, Vec<Stored>> {
        let mut delivered: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
        for stored in self.gmail.messages("INBOX") {
            delivered
                .entry(stored.octets.escape_ascii().to_string())
                .or_default()
                .push(stored);
        }
        delivered
    }
}

impl Run {
    /// Demands that a mistake was told by this line alone: on standard error, and in the log.
    pub fn told(&self, status: i32, line: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.stderr, format!("{line}\n"));
        assert_eq!(self.logged("error"), [line], "{self:?}");
    }

    /// The lines of a level in the log on standard output, without their time.
    pub fn logged(&self, level: &str) -> Vec<&str> {
        self.stdout
            .lines()
            .filter_map(|line| line.get("2026-11-22 20:15:00 ".len()..))
            .filter_map(|line| line.split_once(' '))
            .filter(|(of, _)| *of == level)
            .map(|(_, line)| line.trim_start())
            .collect()
    }
}

fn aged_line(line: &str, time: chrono::TimeDelta) -> String {
    serde_json::from_str(line)
        .map_or_else(|_| line.to_owned(), |value| aged(value, time).to_string())
}

fn aged(value: Value, time: chrono::TimeDelta) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| match value.as_str() {
                    Some(at) if ["at", "retry_after"].contains(&name.as_str()) => {
                        let at: chrono::DateTime<chrono::Utc> = at.parse().unwrap();
                        (name, json!(at - time))
                    }
                    _ => (name, aged(value, time)),
                })
                .collect(),
        ),
        Value::Array(values) => values.into_iter().map(|value| aged(value, time)).collect(),
        other => other,
    }
}

/// The program, in a folder and with nothing of this process's environment that matters to it.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imap-to-gmail-sync"));
    command.current_dir(folder).stdin(Stdio::null());
    for name in [
        "STATE_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
        "JOURNAL_STREAM",
        "BROWSER",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "SSH_CONNECTION",
        "container",
    ] {
        command.env_remove(name);
    }
    command
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
