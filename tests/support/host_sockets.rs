//! A mount namespace in which the sockets of syslog and of the journal are those of a test.
#![allow(dead_code, reason = "each suite uses a part")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Mounts the folders `dev` and `journal` in `$1` where the program looks for the sockets. `/run` is
/// hidden because it has other sockets of syslog.
const MOUNT: &str = r#"
    for device in null zero random urandom tty; do
        : >"$1/dev/$device"
        mount --bind "/dev/$device" "$1/dev/$device"
    done
    mount --rbind "$1/dev" /dev
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/journal
    mount --bind "$1/journal" /run/systemd/journal
    shift
    exec "$@"
"#;

/// The folders of the sockets.
pub struct HostSockets {
    folder: TempDir,
}

impl HostSockets {
    pub fn new() -> HostSockets {
        let folder = tempfile::tempdir().unwrap();
        for name in ["dev", "journal"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (name, target) in [("fd", ""), ("stdout", "/1"), ("stderr", "/2")] {
            let link = folder.path().join("dev").join(name);
            std::os::unix::fs::symlink(format!("/proc/self/fd{target}"), link).unwrap();
        }
        HostSockets { folder }
    }

    /// A file beside the folders.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The socket that is `/dev/log` in the namespace.
    pub fn syslog(&self) -> PathBuf {
        self.path("dev/log")
    }

    /// The socket that `systemd-cat` connects to in the namespace.
    pub fn journal(&self) -> PathBuf {
        self.path("journal/stdout")
    }

    /// The same command in the namespace; it keeps the process id of what is started.
    pub fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-euc", MOUNT, "sh"])
            .arg(self.folder.path())
            .arg(inner.get_program())
            .args(inner.get_args());
        if let Some(folder) = inner.get_current_dir() {
            command.current_dir(folder);
        }
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}
