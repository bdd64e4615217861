//! The programs that are compared: their configuration, and the cost of a run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::dovecot::PASSWORD;
use crate::servers::{Line, Servers, SourceMailbox, TARGET_FOLDER};

/// A program, with the number of its connections to the target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    Ours { connections: usize },
    Mbsync,
}

/// The resources of a run.
#[derive(Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    /// In user and in kernel mode.
    pub cpu: Duration,
    pub peak_kilobytes: u64,
}

/// The files of a program for a source mailbox and a target user, and its state once it ran.
pub struct Account {
    pub candidate: Candidate,
    pub target_user: String,
    program: PathBuf,
    folder: TempDir,
}

impl Account {
    /// An empty mailbox at the target, and no state. The files are in a new folder below `files`.
    pub fn open(
        servers: &mut Servers,
        candidate: Candidate,
        program: &Path,
        files: &Path,
    ) -> Account {
        let folder = TempDir::with_prefix_in("account-", files).expect("a folder");
        Account {
            candidate,
            target_user: servers.new_target_user(),
            program: program.to_owned(),
            folder,
        }
    }

    /// Writes the configuration. Both programs verify the same certificates, by the same addresses.
    pub fn configure(&self, servers: &Servers, mailbox: &SourceMailbox, line: &Line) {
        let certificates = [servers.source.ca_file(), servers.target.ca_file()];
        match self.candidate {
            Candidate::Ours { connections } => {
                self.configure_ours(mailbox, line, &certificates, connections);
            }
            Candidate::Mbsync => self.configure_mbsync(mailbox, line, &certificates),
        }
    }

    fn configure_ours(
        &self,
        mailbox: &SourceMailbox,
        line: &Line,
        certificates: &[PathBuf; 2],
        connections: usize,
    ) {
        let config = json!({
            "source_server": "127.0.0.1",
            "source_port": line.source,
            "source_user": mailbox.user,
            "source_pass": PASSWORD,
            "source_ca_file": certificates[0],
            "target_server": "127.0.0.1",
            "target_port": line.target,
            "target_user": self.target_user,
            "target_token_file": "token.json",
            "target_ca_file": certificates[1],
            "target_folder": TARGET_FOLDER,
            "target_connections": connections,
            "first_run_days": 365,
            "daily_upload_limit": "none",
        });
        self.write("config.json", &config.to_string());
        // The token of a user is the user's name.
        let token = json!({ "token": self.target_user });
        self.write("token.json", &token.to_string());
    }

    fn configure_mbsync(&self, mailbox: &SourceMailbox, line: &Line, certificates: &[PathBuf; 2]) {
        let password = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
        let store = |name: &str, port: u16, user: &str, certificate: &Path| {
            format!(
                "IMAPAccount {name}\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass \"{password}\"\n\
                 SSLType IMAPS\nSystemCertificates no\nCertificateFile \"{}\"\n\nIMAPStore {name}\nAccount {name}\n\n",
                certificate.display()
            )
        };
        let text = format!(
            "FSync yes\n\n{}{}Channel copy\nFar :source:INBOX\nNear \":target:{TARGET_FOLDER}\"\n\
             Sync PullNew\nCopyArrivalDate yes\nSyncState \"{}/\"\n",
            store("source", line.source, &mailbox.user, &certificates[0]),
            store("target", line.target, &self.target_user, &certificates[1]),
            self.folder.path().display()
        );
        self.write("mbsyncrc", &text);
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    /// The program and its arguments.
    fn words(&self) -> Vec<String> {
        let words = match self.candidate {
            Candidate::Ours { .. } => [
                &*self.program.to_string_lossy(),
                "--config",
                "config.json",
                "",
            ],
            Candidate::Mbsync => ["mbsync", "-c", "mbsyncrc", "copy"],
        };
        let words = words.into_iter().filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }

    /// A command in the folder, with its output in a file there.
    pub fn command(&self, words: &[String]) -> Command {
        let output = fs::File::create(self.folder.path().join("output")).expect("a file");
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("a file descriptor"))
            .stdout(output);
        for name in [
            "STATE_DIRECTORY",
            "RUNTIME_DIRECTORY",
            "CREDENTIALS_DIRECTORY",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Our program with `--watch`.
    pub fn watch_command(&self) -> Command {
        let mut words = self.words();
        words.push("--watch".to_owned());
        self.command(&words)
    }

    /// Runs the program under time(1), and asserts that it succeeds.
    ///
    /// A child's peak memory is at least that of the process it was forked from, so this process must not be
    /// the parent: time(1) is small.
    pub fn run(&self) -> Cost {
        let mut words: Vec<String> = ["/usr/bin/time", "-o", "time", "-f", "%U %S %M"]
            .map(str::to_owned)
            .into();
        words.extend(self.words());
        let start = Instant::now();
        self.succeed(&words);
        let wall = start.elapsed();
        let text = fs::read_to_string(self.folder.path().join("time")).expect("its output");
        let mut numbers = text.split_whitespace().map(|word| {
            let number = word.parse::<f64>();
            number.expect("a number")
        });
        let mut next = || numbers.next().expect("three numbers");
        Cost {
            wall,
            cpu: Duration::from_secs_f64(next() + next()),
            peak_kilobytes: next() as u64,
        }
    }

    /// The mean cost of short runs: the kernel shows the CPU time of children in ticks of 10 ms, but adds it
    /// up exactly.
    pub fn run_often(&self, times: u32) -> Cost {
        let peak_kilobytes = self.run().peak_kilobytes;
        let words = self.words();
        let (start, before) = (Instant::now(), cpu_of_children());
        for _ in 0..times {
            self.succeed(&words);
        }
        Cost {
            wall: start.elapsed() / times,
            cpu: cpu_of_children().saturating_sub(before) / times,
            peak_kilobytes,
        }
    }

    fn succeed(&self, words: &[String]) {
        let status = self.command(words).status().expect("the program starts");
        assert!(status.success(), "{words:?}: {status}: {}", self.output());
    }

    pub fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

/// The CPU time of all children that have ended: `cutime` and `cstime` of proc(5).
fn cpu_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a /proc");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = after_name.split_whitespace().skip(13).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u32>().expect("ticks"));
    Duration::from_millis(10) * ticks.sum::<u32>()
}
