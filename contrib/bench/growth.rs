//! How the cost of a run grows with the source mailbox, with the remembered ids, and with the backlog.
//!
//! The servers are doubles on loopback. The source claims its messages and makes each when it is asked for
//! it; Gmail counts what it receives and forgets it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use double::{
    ClaimedMail, DiscardedMail, Gmail, GmailOptions, Source, SourceOptions, TokenEndpoint,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

mod usage;

use usage::Usage;

/// The runs without new mail of which the mean is shown, at most; the kernel counts in steps of 10 ms.
const MAX_RUNS: u32 = 100;

/// The same at least, if they take longer than this together.
const MIN_RUNS: u32 = 5;
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// The same of runs that write the state whole.
const FOLDS: u32 = 5;

/// The size of a message of the backlog.
const MESSAGE: usize = 2_000;

/// After this many settled messages the program makes a checkpoint.
const CHECKPOINT: usize = 10;

/// The messages that are copied to measure a checkpoint.
const CHECKPOINT_MESSAGES: u32 = 500;

/// Only a measurement that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(30);

/// Measures, and returns Markdown: a table for each kind of growth. `quick` leaves the large ones out.
///
/// # Errors
/// A run failed, or did not copy each message once.
pub fn report(program: &Path, quick: bool) -> Result<String, String> {
    let up_to = |limit: usize, sizes: &'static [u32]| if quick { &sizes[..limit] } else { sizes };
    let mut report = String::new();
    let mut add = |table: String| {
        print!("{table}");
        report.push_str(&table);
    };
    add(nothing_new_by_mailbox(
        program,
        up_to(2, &[1_000, 10_000, 100_000, 1_000_000]),
    )?);
    add(nothing_new_by_ids(
        program,
        up_to(2, &[0, 1_000, 10_000, 100_000, 300_000]),
    )?);
    add(backlog(program, up_to(1, &[1_000, 5_000, 10_000, 50_000]))?);
    add(checkpoint(program, up_to(1, &[1_000, 300_000]))?);
    Ok(report)
}

fn nothing_new_by_mailbox(program: &Path, sizes: &[u32]) -> Result<String, String> {
    let mut table = "\nNothing new, by the messages in the source mailbox\n\n\
         | messages | CPU | wall | peak memory |\n| ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for &size in sizes {
        let account = Account::open(program, size, TimeDelta::days(60));
        account.run()?;
        let usage = account.run_often()?;
        let _ = writeln!(table, "| {size} | {usage} |");
    }
    Ok(table)
}

fn nothing_new_by_ids(program: &Path, sizes: &[u32]) -> Result<String, String> {
    let mut table =
        "\nNothing new, by the ids that are remembered; a fold writes the state whole\n\n\
         | ids | state file | CPU | wall | peak memory | CPU of a fold | wall | peak memory |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    for &size in sizes {
        let account = Account::open(program, 1_000, TimeDelta::days(60));
        account.run()?;
        account.remember_ids(size);
        let usage = account.run_often()?;
        let octets = account.state_octets();
        let with_fold = account.run_with_folds()?;
        let _ = writeln!(
            table,
            "| {size} | {:.1} MB | {usage} | {} |",
            megabytes(octets),
            with_fold.beyond(usage)
        );
    }
    Ok(table)
}

fn backlog(program: &Path, sizes: &[u32]) -> Result<String, String> {
    let mut table = format!(
        "\nA backlog of messages of {MESSAGE} octets\n\n\
         | messages | CPU a message | wall a message | peak memory | state file |\n\
         | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for &size in sizes {
        let account = Account::open(program, size, TimeDelta::days(1));
        let usage = account.run()?;
        account.verify(size)?;
        let octets = account.state_octets();
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(size);
        let _ = writeln!(
            table,
            "| {size} | {:.3} ms | {:.3} ms | {:.1} MB | {:.1} MB |",
            each(usage.cpu),
            each(usage.wall),
            megabytes(usage.peak_octets),
            megabytes(octets)
        );
    }
    Ok(table)
}

/// With `--watch` the journal stays for some minutes, and shows what the checkpoints wrote.
fn checkpoint(program: &Path, sizes: &[u32]) -> Result<String, String> {
    let mut table = format!(
        "\nA checkpoint ({CHECKPOINT} messages), by the ids that are remembered\n\n\
         | ids | octets written |\n| ---: | ---: |\n"
    );
    for &size in sizes {
        let account = Account::open(program, 0, TimeDelta::days(1));
        account.run()?;
        account.remember_ids(size);
        account.claim(CHECKPOINT_MESSAGES, TimeDelta::days(1));
        let snapshot = fs::read(account.state_file()).map_err(|error| error.to_string())?;
        let watcher = Watcher(account.command().arg("--watch").spawn().map_err(failed)?);
        wait_until(|| account.gmail.discarded().count >= CHECKPOINT_MESSAGES)?;
        let journal = account.state_file().with_added_extension("journal");
        // The last outcomes are journal lines soon after.
        let mut octets = 0;
        wait_until(|| {
            std::thread::sleep(Duration::from_secs(1));
            let before =
                std::mem::replace(&mut octets, fs::metadata(&journal).map_or(0, |f| f.len()));
            before == octets
        })?;
        let kept = fs::read(account.state_file()).map_err(|error| error.to_string())?;
        drop(watcher);
        if kept != snapshot || octets == 0 {
            return Err("the state was folded during the measurement".to_owned());
        }
        let checkpoints = u64::from(CHECKPOINT_MESSAGES) / CHECKPOINT as u64;
        let _ = writeln!(table, "| {size} | {} |", octets / checkpoints);
    }
    Ok(table)
}

fn wait_until(mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        if Instant::now() > deadline {
            return Err("the messages do not arrive".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> String {
    format!("the program does not start: {error}")
}

fn megabytes(octets: u64) -> f64 {
    f64::from(u32::try_from(octets / 1000).unwrap_or(u32::MAX)) / 1000.0
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The message with a UID: another Message-ID and other octets each.
fn message(uid: u32) -> Vec<u8> {
    let mut octets = format!(
        "From: Sender {uid} <sender{uid}@example.com>\r\nTo: user@example.com\r\n\
         Subject: message {uid}\r\nDate: Sun, 22 Nov 2026 20:15:00 +0100\r\n\
         Message-ID: <{uid}.{}@mail.example.com>\r\n\r\n",
        u64::from(uid) * 7_919
    );
    while octets.len() < MESSAGE {
        let _ = write!(octets, "line {} of message {uid}\r\n", octets.len());
    }
    octets.into_bytes()
}

/// The program's folder between two servers.
struct Account {
    source: Source,
    gmail: Gmail,
    endpoint: TokenEndpoint,
    folder: TempDir,
    program: PathBuf,
}

/// A process with `--watch`; dropping ends it.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Account {
    /// A source that claims this many messages of that age.
    fn open(program: &Path, messages: u32, age: TimeDelta) -> Account {
        let source = Source::start(SourceOptions::default());
        let gmail = Gmail::start(GmailOptions {
            discards_mail: true,
            ..GmailOptions::default()
        });
        let endpoint = TokenEndpoint::start(&gmail);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let account = Account {
            source,
            gmail,
            endpoint,
            folder,
            program: program.to_owned(),
        };
        account.claim(messages, age);
        account.write_files();
        account
    }

    fn claim(&self, count: u32, age: TimeDelta) {
        self.source.change(|options| {
            options.claimed = Some(ClaimedMail {
                count,
                internal_date: (Utc::now() - age).fixed_offset(),
                octets: message,
            });
        });
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
            "daily_upload_limit": "none",
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

    fn state_octets(&self) -> u64 {
        fs::metadata(self.state_file()).map_or(0, |file| file.len())
    }

    fn state_file(&self) -> PathBuf {
        self.folder.path().join("sync_state.json")
    }

    /// The program, without the variables of this process's environment.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--config", "config.json"])
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    fn run(&self) -> Result<Usage, String> {
        usage::of_run(&mut self.command(), Duration::from_millis(5))
    }

    /// The mean of several runs: of fewer if they take long.
    fn run_often(&self) -> Result<Usage, String> {
        let started = Instant::now();
        let (mut total, mut runs) = (Usage::default(), 0);
        while runs < MIN_RUNS || (runs < MAX_RUNS && started.elapsed() < LONG_ENOUGH) {
            let usage = usage::of_run(&mut self.command(), Duration::from_micros(500))?;
            total = [total, usage].into_iter().sum();
            runs += 1;
        }
        Ok(total.mean(runs))
    }

    /// The mean of runs that also record the time of the last pass, as once an hour.
    fn run_with_folds(&self) -> Result<Usage, String> {
        let mut total = Usage::default();
        for _ in 0..FOLDS {
            let text = fs::read_to_string(self.state_file()).expect("a state");
            let (before, after) = text.split_once("\"last_sync\": \"").expect("a time");
            let (_, after) = after.split_once('"').expect("its end");
            let earlier = (Utc::now() - TimeDelta::hours(2)).format("%Y-%m-%dT%H:%M:%S+00:00");
            let aged = format!("{before}\"last_sync\": \"{earlier}\"{after}");
            self.write("sync_state.json", &aged);
            total = [total, self.run()?].into_iter().sum();
            let folded = fs::read_to_string(self.state_file()).expect("a state");
            if folded.contains(&earlier.to_string()) {
                return Err("the run did not write the state".to_owned());
            }
        }
        Ok(total.mean(FOLDS))
    }

    /// Fills the state as a month of much mail does.
    fn remember_ids(&self, count: u32) {
        let text = fs::read_to_string(self.state_file()).expect("a state");
        let mut state: Value = serde_json::from_str(&text).expect("a state");
        let now = Utc::now().format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let (mut ids, mut digests) = (Map::new(), Map::new());
        for number in 0..u64::from(count) {
            let id = format!("<{number}.{}@remembered.example.com>", number * 7_919);
            ids.insert(id.clone(), json!(now));
            digests.insert(id, json!([format!("{number:016x}:{number:016x}")]));
        }
        state["synced_message_ids"] = ids.into();
        state["digests"] = digests.into();
        let text = serde_json::to_string_pretty(&state).expect("JSON");
        self.write("sync_state.json", &text);
    }

    /// Each message arrived once, octet for octet.
    fn verify(&self, count: u32) -> Result<(), String> {
        let mut expected = DiscardedMail::default();
        (1..=count).for_each(|uid| expected.add(&message(uid)));
        let arrived = self.gmail.discarded();
        if arrived == expected {
            return Ok(());
        }
        Err(format!("{expected:?} was to arrive, and {arrived:?} did"))
    }
}
