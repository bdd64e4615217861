//! The real program in a folder of its own, between the two doubles.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use double::{Gmail, GmailOptions, Source, SourceOptions, StoredMessage, TokenEndpoint};
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "untouched.rs"]
pub mod untouched;

/// A temporary folder with a configuration and a token, and the two doubles that they name.
pub struct Home {
    pub source: Source,
    pub gmail: Gmail,
    pub endpoint: TokenEndpoint,
    folder: TempDir,
}

/// A finished run of the program.
#[derive(Debug)]
pub struct Run {
    /// The exit status; `None` if a signal killed it.
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

    /// The initial configuration.
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

    /// Changes fields of the configuration; null removes a field.
    pub fn configure(&self, fields: &Value) {
        self.configure_text(&self.read("config.json"), fields);
    }

    /// Writes this configuration with these fields changed.
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

    /// Writes a file with mode 0600.
    pub fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program with this configuration.
    pub fn command(&self) -> Command {
        let mut command = program(self.folder.path());
        command.args(["--config", "config.json"]);
        command
    }

    pub fn run(&self) -> Run {
        self.run_with(&[])
    }

    /// Runs the program, and waits until both servers have read what it sent last.
    pub fn run_with(&self, options: &[&str]) -> Run {
        let servers: [&double::Server; 2] = [&self.source, &self.gmail];
        let before = servers.map(double::Server::open_connections);
        let run = self.command().args(options).output().unwrap().into();
        for (server, open) in servers.into_iter().zip(before) {
            server.wait_until_open(open);
        }
        run
    }

    /// Runs the program and asserts that it exits with 0.
    pub fn run_ok(&self) -> Run {
        let run = self.run();
        assert_eq!(run.status, Some(0), "{run:?}");
        run
    }

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

    /// Moves the times at which something was sent or is due for a retry back in the state, as if that
    /// many minutes had passed.
    pub fn age_by_minutes(&self, minutes: i64) {
        self.age_file_by_minutes("sync_state.json", minutes);
    }

    pub fn age_by_seconds(&self, seconds: i64) {
        self.age_state("sync_state.json", chrono::TimeDelta::seconds(seconds));
    }

    /// The same in another state file.
    pub fn age_file_by_minutes(&self, state: &str, minutes: i64) {
        self.age_state(state, chrono::TimeDelta::minutes(minutes));
    }

    fn age_state(&self, state: &str, time: chrono::TimeDelta) {
        for name in [state, &format!("{state}.journal")] {
            let Ok(text) = fs::read_to_string(self.path(name)) else {
                continue;
            };
            let lines: Vec<String> = match serde_json::from_str::<Value>(&text) {
                Ok(whole) => vec![age(whole, time).to_string()],
                Err(_) => text.lines().map(|line| age_line(line, time)).collect(),
            };
            self.write(name, &(lines.join("\n") + "\n"));
        }
    }

    /// The messages in the Gmail inbox, by their octets.
    pub fn delivered(&self) -> BTreeMap<String, Vec<StoredMessage>> {
        let mut delivered: BTreeMap<String, Vec<StoredMessage>> = BTreeMap::new();
        for stored in self.gmail.messages("INBOX") {
            delivered
                .entry(stored.octets.escape_ascii().to_string())
                .or_default()
                .push(stored);
        }
        delivered
    }
}

/// With `CHECK` set, `check` and `status` look at what each test leaves.
impl Drop for Home {
    fn drop(&mut self) {
        if std::env::var_os("CHECK").is_none() || std::thread::panicking() {
            return;
        }
        // A password command of a test may write files.
        let config = fs::read_to_string(self.path("config.json"));
        if config.is_ok_and(|config| !config.contains("source_pass_command")) {
            untouched::check_harmlessly(self, &["--config", "config.json"]);
        }
        // A handshake with a server without TLS.
        self.source.take_violations();
    }
}

impl Run {
    /// Asserts the exit status, and that this line is the only error: on standard error and in the log.
    pub fn assert_error(&self, status: i32, line: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.stderr, format!("{line}\n"));
        assert_eq!(self.logged("error"), [line], "{self:?}");
    }

    /// The lines with this level in the log on standard output, without level and time.
    pub fn logged(&self, level: &str) -> Vec<&str> {
        self.stdout
            .lines()
            .filter_map(|line| line.get("2026-11-22 20:15:00 +0000 ".len()..))
            .filter_map(|line| line.split_once(' '))
            .filter(|(of, _)| *of == level)
            .map(|(_, line)| line.trim_start())
            .collect()
    }
}

fn age_line(line: &str, time: chrono::TimeDelta) -> String {
    serde_json::from_str(line)
        .map_or_else(|_| line.to_owned(), |value| age(value, time).to_string())
}

fn age(value: Value, time: chrono::TimeDelta) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| match value.as_str() {
                    Some(at) if ["at", "retry_after", "limited_since"].contains(&name.as_str()) => {
                        let at: chrono::DateTime<chrono::Utc> = at.parse().unwrap();
                        (name, json!(at - time))
                    }
                    _ => (name, age(value, time)),
                })
                .collect(),
        ),
        Value::Array(values) => values.into_iter().map(|value| age(value, time)).collect(),
        other => other,
    }
}

/// The program in a folder, without the variables of this process's environment that it reads.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imap-to-gmail-sync"));
    command.current_dir(folder).stdin(Stdio::null());
    for name in [
        "STATE_DIRECTORY",
        "RUNTIME_DIRECTORY",
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
