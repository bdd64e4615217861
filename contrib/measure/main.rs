//! Measures a run without new mail, and a run with a message of 25 MB, by the release build between
//! doubles on loopback:
//!
//! ```text
//! cargo build --release --locked && cargo run --locked --example measure
//! ```
//!
//! With `PROGRAM ACCOUNTS SECONDS` it measures that many processes with `--watch` at once, which are idle
//! for that time and then copy a burst of mail.

// A measurement fails by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod process;
mod watchers;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use chrono::{TimeDelta, Utc};
use double::{Gmail, GmailOptions, Source, SourceOptions, TokenEndpoint};
use process::Cost;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const MESSAGES: usize = 10_000;
const REMEMBERED_IDS: usize = 5_000;
const RUNS: u32 = 20;
const LARGE: usize = 25_000_000;

/// The program's folder between two servers.
struct Account {
    source: Source,
    gmail: Gmail,
    endpoint: TokenEndpoint,
    folder: TempDir,
    program: PathBuf,
}

/// The measured values, and whether they are within their limits.
struct Figures {
    all_within_limits: bool,
}

fn main() -> ExitCode {
    let program = match std::env::args_os().nth(1) {
        Some(program) => PathBuf::from(program),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/imap-to-gmail-sync"),
    };
    let Ok(program) = program.canonicalize() else {
        eprintln!("there is no {}: cargo build --release", program.display());
        return ExitCode::FAILURE;
    };
    println!("{}\n", program.display());
    let mut numbers = std::env::args().skip(2).map(|word| word.parse::<usize>());
    if let (Some(Ok(accounts)), Some(Ok(seconds))) = (numbers.next(), numbers.next()) {
        watchers::measure(&program, accounts, Duration::from_secs(seconds as u64));
        return ExitCode::SUCCESS;
    }
    let mut figures = Figures {
        all_within_limits: true,
    };
    nothing_new(&program, &mut figures);
    large_message(&program, &mut figures);
    if figures.all_within_limits {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A run without new mail, with a large mailbox and a large state.
fn nothing_new(program: &Path, figures: &mut Figures) {
    println!("No new mail: {MESSAGES} messages at the source, {REMEMBERED_IDS} ids remembered");
    let account = Account::open(program);
    let months_ago = (Utc::now() - TimeDelta::days(60)).fixed_offset();
    for number in 0..MESSAGES {
        let octets = format!("Message-ID: <{number}@example.com>\r\n\r\nbody\r\n");
        account.source.deliver(octets.as_bytes(), months_ago, &[]);
    }
    account.run();
    account.remember_ids();
    // The program writes the state in its own form.
    account.run();

    // The first run also logs in to Gmail.
    let to_gmail = || {
        (
            account.gmail.connections(),
            account.endpoint.requests().len(),
        )
    };
    let (connections, requests) = to_gmail();
    let (commands, files) = (account.source.commands().len(), account.files());
    let cost = account.run();
    let commands = account.source.commands().split_off(commands);
    figures.show("command round trips after TLS", commands.len(), 4);
    for command in &commands {
        println!("        {}", command.split(' ').next().unwrap_or_default());
    }
    let (connections, requests) = (to_gmail().0 - connections, to_gmail().1 - requests);
    figures.show("connections to Gmail", connections, 0);
    figures.show("token requests", requests, 0);
    let changed = account.changed_since(&files);
    let written = changed.iter().filter(|(_, what)| *what == "octets").count();
    figures.show("files whose octets changed", written, 1);
    for (name, what) in &changed {
        println!("        {name}: {what}");
    }
    figures.show("peak memory, kB", cost.peak_kilobytes, 12 * 1024);
    let costs = (0..RUNS).map(|_| account.run().cpu);
    let milliseconds = costs.sum::<Duration>().as_millis() / u128::from(RUNS);
    let milliseconds = usize::try_from(milliseconds).unwrap();
    figures.show("CPU time a run, ms", milliseconds, 15);
}

/// A message of the maximum size that Gmail sends.
fn large_message(program: &Path, figures: &mut Figures) {
    println!("\nA message of {LARGE} octets");
    let account = Account::open(program);
    let mut octets = b"Message-ID: <large@example.com>\r\nSubject: large\r\n\r\n".to_vec();
    let line = [b"0123456789abcdef".repeat(4), b"\r\n".to_vec()].concat();
    while octets.len() < LARGE {
        octets.extend_from_slice(&line);
    }
    let now = Utc::now().fixed_offset();
    account.source.deliver(&octets, now, &[]);
    let cost = account.run();
    let arrived = account.gmail.messages("INBOX");
    assert!(arrived.len() == 1 && arrived[0].octets == octets);
    figures.show("peak memory, kB", cost.peak_kilobytes, 100 * 1024);
    let milliseconds = usize::try_from(cost.cpu.as_millis()).unwrap();
    println!("    CPU time, ms: {milliseconds}");
}

impl Figures {
    fn show(&mut self, what: &str, figure: usize, limit: usize) {
        let remark = if figure <= limit { "" } else { "  TOO MUCH" };
        println!("    {what}: {figure} (at most {limit}){remark}");
        self.all_within_limits &= figure <= limit;
    }
}

impl Account {
    fn open(program: &Path) -> Account {
        let source = Source::start(SourceOptions::default());
        let gmail = Gmail::start(GmailOptions::default());
        let endpoint = TokenEndpoint::start(&gmail);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let account = Account {
            source,
            gmail,
            endpoint,
            folder,
            program: program.to_owned(),
        };
        account.write_files();
        account
    }

    fn write_files(&self) {
        let config = json!({
            "source_server": "localhost",
            "source_port": self.source.port(),
            "source_user": "user",
            "source_pass": "secret",
            "source_ca_file": "source.pem",
            "target_user": self.gmail.user(),
            "target_token_file": "token.json",
            "target_server": "localhost",
            "target_port": self.gmail.port(),
            "target_ca_file": "gmail.pem",
        });
        self.write("config.json", &config.to_string());
        self.write("token.json", &self.endpoint.token_json(&self.gmail.user()));
        self.write("source.pem", self.source.ca_pem());
        self.write("gmail.pem", self.gmail.ca_pem());
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    /// Runs the program and asserts that it succeeds.
    fn run(&self) -> Cost {
        process::run(&self.program, self.folder.path())
    }

    /// Fills the state as a month of much mail does.
    fn remember_ids(&self) {
        let text = fs::read_to_string(self.folder.path().join("sync_state.json")).unwrap();
        let mut state: Value = serde_json::from_str(&text).unwrap();
        let now = Utc::now().format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let (mut ids, mut digests) = (Map::new(), Map::new());
        for number in 0..REMEMBERED_IDS {
            let id = format!("<{number}.{}@mail.example.com>", number * 7_919);
            ids.insert(id.clone(), json!(now));
            digests.insert(id, json!([format!("{number:016x}:{number:016x}")]));
        }
        state["synced_message_ids"] = ids.into();
        state["digests"] = digests.into();
        self.write("sync_state.json", &state.to_string());
    }

    /// Each file of the folder: its octets and time stamp.
    fn files(&self) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                (name, (fs::read(&path).unwrap(), modified))
            })
            .collect()
    }

    /// The files that differ, and whether octets or time stamp changed.
    fn changed_since(
        &self,
        before: &BTreeMap<String, (Vec<u8>, SystemTime)>,
    ) -> Vec<(String, &'static str)> {
        self.files()
            .into_iter()
            .filter_map(|(name, (octets, modified))| match before.get(&name) {
                Some((then, _)) if *then != octets => Some((name, "octets")),
                Some((_, then)) if *then != modified => Some((name, "time stamp")),
                Some(_) => None,
                None => Some((name, "octets")),
            })
            .collect()
    }
}
