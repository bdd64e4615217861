//! A machine of its own: a real systemd as process 1 of its own namespaces, over a copy of this machine's files.
//! It shares the network, so that the doubles are its servers.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Home, Run};
use crate::unit_file::{UnitFile, folder};

/// Only a test that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The user with a manager of its own.
const ALICE: &str = "4711";

/// The files of a machine that is not booted yet.
pub struct Image(TempDir);

impl Image {
    /// With all units of the system, and those of users.
    pub fn new() -> Image {
        let image = Image(tempfile::tempdir().unwrap());
        for unit in crate::unit_file::units("") {
            image.write(
                &format!("etc/systemd/system/{}", unit.path),
                &unit.text,
                0o644,
            );
        }
        for unit in crate::unit_file::units("user/") {
            image.write(&format!("usr/lib/systemd/{}", unit.path), &unit.text, 0o644);
        }
        // Tests start units more often than five times in ten seconds.
        for folder in ["system", "user"] {
            for unit in ["imap-to-gmail-sync@", "imap-to-gmail-sync-status@"] {
                let path = format!("etc/systemd/{folder}/{unit}.service.d/often.conf");
                image.write(&path, "[Unit]\nStartLimitIntervalSec=0\n", 0o644);
            }
        }
        let quiet = "run-credentials-.mount.d/imap-to-gmail-sync.conf";
        let text = fs::read_to_string(folder().join(quiet)).unwrap();
        image.write(&format!("etc/systemd/system/{quiet}"), &text, 0o644);
        for (file, line) in [
            (
                "etc/passwd",
                format!("alice:x:{ALICE}:{ALICE}::/home/alice:/bin/sh"),
            ),
            ("etc/group", format!("alice:x:{ALICE}:")),
        ] {
            let text = fs::read_to_string(Path::new("/").join(file)).unwrap();
            image.write(file, &format!("{text}{line}\n"), 0o644);
        }
        image
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join("add").join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Replaces a part of a unit of the system or of users, for example a wait that is too long for a test.
    pub fn edit(&self, unit: &str, from: &str, to: &str) {
        let text = UnitFile::read(unit).text;
        assert!(text.contains(from), "no {from} in {unit}");
        let folder = if unit.starts_with("user/") {
            "usr/lib/systemd"
        } else {
            "etc/systemd/system"
        };
        self.write(&format!("{folder}/{unit}"), &text.replace(from, to), 0o644);
    }

    /// The files of an account where the units of the system expect them, as the documentation installs them.
    pub fn add_account(&self, home: &Home, name: &str) {
        let etc = format!("etc/imap-to-gmail-sync/{name}");
        self.write(&format!("{etc}.json"), &home.read("config.json"), 0o600);
        self.write(&format!("{etc}.password"), "secret\n", 0o600);
        for file in ["token.json", "source.pem", "gmail.pem"] {
            let path = format!("var/lib/imap-to-gmail-sync/{name}/{file}");
            self.write(&path, &home.read(file), 0o600);
        }
    }

    /// Boots it, with the program at this path.
    pub fn boot(self, program: &str) -> Machine {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/units/boot");
        let messages = self.0.path().join("messages");
        // If this process is killed, the machine is killed, too.
        let mut booted = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount"])
            .arg(script)
            .arg(self.0.path())
            .arg(env!("CARGO_BIN_EXE_imap-to-gmail-sync"))
            .arg(program)
            .stdin(Stdio::null())
            .stderr(File::create(&messages).unwrap())
            .spawn()
            .unwrap();
        let pid = self.0.path().join("pid");
        let end = Instant::now() + TIMEOUT;
        while !pid.exists() {
            let ended = booted.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "it does not boot: {}",
                fs::read_to_string(&messages).unwrap()
            );
            thread::sleep(Duration::from_millis(20));
        }
        let manager = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let machine = Machine {
            _image: self,
            booted,
            manager: Pid::from_raw(manager).unwrap(),
        };
        machine.wait_until("the end of the boot", || {
            machine.run(&["systemctl", "is-system-running"]).stdout == "running\n"
        });
        machine
    }
}

/// A running machine. It ends when it is dropped.
pub struct Machine {
    _image: Image,
    booted: Child,
    manager: Pid,
}

/// A line of the journal.
#[derive(Debug)]
pub struct JournalLine {
    pub priority: String,
    pub identifier: String,
    pub message: String,
}

impl Machine {
    /// Runs a command as root.
    pub fn run(&self, words: &[&str]) -> Run {
        self.run_in("/root", &[], words)
    }

    #[track_caller]
    pub fn run_ok(&self, words: &[&str]) -> String {
        succeeded(words, self.run(words))
    }

    /// Runs a command as the user Alice.
    pub fn run_as_alice(&self, words: &[&str]) -> Run {
        let identity = [
            "setpriv",
            "--reuid",
            ALICE,
            "--regid",
            ALICE,
            "--clear-groups",
            "--",
        ];
        self.run_in("/home/alice", &identity, words)
    }

    #[track_caller]
    pub fn run_as_alice_ok(&self, words: &[&str]) -> String {
        succeeded(words, self.run_as_alice(words))
    }

    fn run_in(&self, home: &str, before: &[&str], words: &[&str]) -> Run {
        let manager = self.manager.as_raw_nonzero().to_string();
        Command::new("nsenter")
            .args(["--target", &manager, "--all", "--wdns=/", "--"])
            .args(before)
            .args(words)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", format!("/run/user/{ALICE}"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .into()
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let property = format!("--property={name}");
        let value = self.run_ok(&["systemctl", "show", "--value", &property, unit]);
        value.trim_end().to_owned()
    }

    pub fn is_active(&self, unit: &str) -> bool {
        self.property(unit, "ActiveState") == "active"
    }

    /// The lines of the journal up to now.
    pub fn journal(&self) -> Vec<JournalLine> {
        self.run_ok(&["journalctl", "--sync"]);
        let lines = self.run_ok(&["journalctl", "--output=json", "--no-pager"]);
        let lines = lines.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            JournalLine {
                priority: field("PRIORITY"),
                identifier: field("SYSLOG_IDENTIFIER"),
                message: field("MESSAGE"),
            }
        });
        lines.collect()
    }

    /// How many lines of the journal contain this.
    pub fn count(&self, part: &str) -> usize {
        let journal = self.journal();
        let lines = journal.iter().filter(|line| line.message.contains(part));
        lines.count()
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !condition() {
            assert!(Instant::now() < end, "{what}: {:#?}", self.journal());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = kill_process(self.manager, Signal::KILL);
        let _ = self.booted.wait();
    }
}

#[track_caller]
fn succeeded(words: &[&str], run: Run) -> String {
    assert_eq!(run.status, Some(0), "{words:?}: {run:?}");
    run.stdout
}
