//! The command lines of the units, as an unprivileged user, with files and modes as systemd makes them; without
//! a systemd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Signal, geteuid};
use serde_json::json;

use crate::program::{Home, Run};
use crate::unit_file::UnitFile;
use crate::watching::{Watching, arrived, deliver};

/// Any user but root: "nobody" on Debian.
const USER: u32 = 65534;

/// What systemd sets up for a service.
struct Service {
    home: Home,
    folder: PathBuf,
}

impl Service {
    fn new() -> Service {
        let home = Home::new();
        home.configure(&json!({ "source_pass": null, "source_pass_file": "alice.password" }));
        let folder = home.path("service");
        let service = Service { home, folder };
        let config = service.home.read("config.json");
        service.write("credentials/config.json", &config, 0o400);
        service.write("credentials/alice.password", "secret\n", 0o400);
        service.write("config/imap-to-gmail-sync/alice.json", &config, 0o600);
        service.write(
            "config/imap-to-gmail-sync/alice.password",
            "secret\n",
            0o600,
        );
        for file in ["token.json", "source.pem", "gmail.pem"] {
            let text = service.home.read(file);
            service.write(&format!("state/{file}"), &text, 0o600);
            service.write(&format!("config/imap-to-gmail-sync/{file}"), &text, 0o600);
        }
        service.mode("credentials", 0o500);
        service.mode("state", 0o700);
        service.mode("home/.local/state/imap-to-gmail-sync/alice", 0o700);
        service.mode("", 0o711);
        fs::set_permissions(service.home.path("."), fs::Permissions::from_mode(0o711)).unwrap();
        service
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        set_mode(&path, mode);
    }

    fn mode(&self, path: &str, mode: u32) {
        let path = self.folder.join(path);
        fs::create_dir_all(&path).unwrap();
        set_mode(&path, mode);
    }

    /// The command of a unit.
    fn command(&self, unit: &str) -> Command {
        let unit = UnitFile::read(unit);
        let folder = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let credentials = folder("credentials");
        let line = unit.value("ExecStart").trim_start_matches('-');
        let line = line
            .replace("${CREDENTIALS_DIRECTORY}", &credentials)
            .replace("%i", "alice")
            .replace("%E", &folder("config"))
            .replace("%h", &folder("home"))
            .replace("sleep 120", "sleep 0");
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--clear-groups", "--no-new-privs", "--inh-caps=-all"])
                .arg(format!("--reuid={USER}"))
                .arg(format!("--regid={USER}"))
                .arg("sh");
            command
        } else {
            Command::new("sh")
        };
        let program = Path::new(env!("CARGO_BIN_EXE_imap-to-gmail-sync"));
        let umask = unit.value("UMask");
        command
            .arg("-c")
            .arg(format!("umask {umask} && exec {line}"))
            .current_dir(self.folder.join("state"))
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
            )
            .stdin(Stdio::null());
        if unit.is_user_unit() {
            command.current_dir(self.folder.join("home"));
        } else {
            command
                .env("CREDENTIALS_DIRECTORY", &credentials)
                .env("STATE_DIRECTORY", folder("state"));
        }
        command
    }

    fn run(&self, unit: &str) -> Run {
        self.command(unit).output().unwrap().into()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if geteuid().is_root() {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
}

const RUN: &str = "imap-to-gmail-sync@.service";
const USER_RUN: &str = "user/imap-to-gmail-sync@.service";

#[test]
fn a_run_of_the_timer_copies_mail() {
    for (number, unit) in [RUN, USER_RUN].into_iter().enumerate() {
        let service = Service::new();
        deliver(&service.home, number);
        let run = service.run(unit);
        assert_eq!(run.status, Some(0), "{run:?}");
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains("copied <"), "{run:?}");
        assert_eq!(arrived(&service.home), 1);
        let quiet = service.run(unit);
        assert_eq!((quiet.status, quiet.stderr.as_str()), (Some(0), ""));
        for folder in ["credentials", "config"] {
            let changed = fs::read_dir(service.folder.join(folder)).unwrap().count();
            assert!(changed <= 2, "{folder}");
        }
    }
}

#[test]
fn the_watcher_is_ready_and_ends_by_sigterm() {
    for unit in [
        "imap-to-gmail-sync-watch@.service",
        "user/imap-to-gmail-sync-watch@.service",
    ] {
        let service = Service::new();
        let path = service.folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        set_mode(&path, 0o666);
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut command = service.command(unit);
        command.env("NOTIFY_SOCKET", &path);
        let watching = Watching::spawn(command);
        let mut octets = [0; 4096];
        let length = socket.recv(&mut octets).unwrap();
        assert_eq!(&octets[..length], b"READY=1\n");
        deliver(&service.home, 0);
        watching.wait_until("the message", || arrived(&service.home) == 1);
        watching.signal(Signal::TERM);
        assert_eq!(watching.wait_for_exit().status, Some(0));
    }
}

#[test]
fn the_status_is_0_when_mail_is_copied_and_1_when_the_last_success_is_old() {
    for (run, status, state) in [
        (RUN, "imap-to-gmail-sync-status@.service", "state"),
        (
            USER_RUN,
            "user/imap-to-gmail-sync-status@.service",
            "home/.local/state/imap-to-gmail-sync/alice",
        ),
    ] {
        let service = Service::new();
        assert_eq!(service.run(status).status, Some(1), "no run yet");
        assert_eq!(service.run(run).status, Some(0));
        let well = service.run(status);
        assert_eq!(well.status, Some(0), "{well:?}");
        let lock = service.folder.join(state).join("sync_state.json.lock");
        let old = SystemTime::now() - Duration::from_hours(2);
        let lock = fs::File::options().write(true).open(lock).unwrap();
        lock.set_modified(old).unwrap();
        let stale = service.run(status);
        assert_eq!(stale.status, Some(1), "{stale:?}");
        assert!(stale.stdout.contains("last success"), "{stale:?}");
    }
}
