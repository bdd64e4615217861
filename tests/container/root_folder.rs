//! The root folder of the image, and the program in it as an engine starts it: process 1 of its own
//! process and mount namespaces, without capabilities. The network is the host's.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::dockerfile::{Image, ids};

/// The part of the base image that counts: the C library without anything that a package of this
/// machine needs besides, a shell and a few commands.
const BASE: &str = r#"
    cd "$1"
    mkdir -p usr/bin usr/sbin usr/lib usr/lib64 etc proc dev tmp run
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
    files() {
        dpkg --listfiles libc6 libgcc-s1 | while read -r file; do
            if ! test -d "$file"; then echo "$file"; fi
        done
        for program in /bin/dash /bin/cat /usr/bin/env; do
            echo "$program"
            ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p'
        done
    }
    files | grep -v '^/usr/share/' | sort -u | xargs cp -a --parents --target-directory .
    ln -sf dash usr/bin/sh
    # `cp` leaves folders that it reached by a link to their owner alone.
    find . -type d -exec chmod 755 {} +
    chmod 1777 tmp
    # The libraries that ldd found may be links.
    for library in $(find usr/lib -type l -name '*.so*'); do
        test -e "$library" || cp -a --dereference --remove-destination "/$library" "$library"
    done
"#;

/// Mounts what an engine mounts, then executes the program in the root folder.
const START: &str = r#"
    root=$1 owner=$2 folder=$3 access=$4 mounts=$5
    shift 5
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom tty; do
        : >"$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    printf '%s' "$mounts" | while IFS=: read -r from to mode; do
        mount --bind "$from" "$root$to"
        mount -o "remount,bind,$mode" "$root$to"
    done
    mount -o "remount,bind,$access" "$root"
    exec chroot --userspec="$owner" --groups= "$root" /usr/bin/env -i -C "$folder" "$@"
"#;

/// The image, unpacked.
pub struct RootFolder {
    image: Image,
    folder: TempDir,
}

/// The options of `docker run`.
pub struct Container<'a> {
    root: &'a RootFolder,
    user: String,
    is_read_only: bool,
    mounts: Vec<String>,
}

impl RootFolder {
    pub fn unpack() -> RootFolder {
        let root = RootFolder {
            image: Image::read(),
            folder: tempfile::tempdir().unwrap(),
        };
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        run(Command::new("sh")
            .args(["-euc", BASE, "sh"])
            .arg(root.path()));
        for copied in &root.image.copied {
            let to = root.inside(&copied.to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            match copied.from.as_str() {
                "/image/imap-to-gmail-sync" => {
                    fs::copy(env!("CARGO_BIN_EXE_imap-to-gmail-sync"), &to).unwrap();
                }
                "/image/data" => fs::create_dir(&to).unwrap(),
                // The builder is a Debian, too.
                file @ "/etc/ssl/certs/ca-certificates.crt" => {
                    fs::copy(file, &to).unwrap();
                }
                other => panic!("this test does not know what {other} of the builder is"),
            }
            if let Some((user, group)) = copied.owner {
                chown(&to, Some(user), Some(group)).unwrap();
            }
        }
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            fs::copy(file, root.inside(file)).unwrap();
        }
        root
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn container(&self) -> Container<'_> {
        Container {
            root: self,
            user: self.image.user.clone(),
            is_read_only: false,
            mounts: Vec::new(),
        }
    }

    /// Adds an authority to those that the image trusts.
    pub fn trust(&self, authority: &str) {
        let file = self.inside("/etc/ssl/certs/ca-certificates.crt");
        let mut authorities = OpenOptions::new().append(true).open(file).unwrap();
        authorities.write_all(authority.as_bytes()).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.path().join(path.trim_start_matches('/'))
    }
}

impl Container<'_> {
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    pub fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// Mounts a folder, and gives it to the user of the container.
    pub fn volume(self, from: &Path, to: &str) -> Self {
        give(from, &self.user);
        self.mount(from, to, "rw")
    }

    pub fn mount(mut self, from: &Path, to: &str, mode: &str) -> Self {
        fs::create_dir_all(self.root.inside(to)).unwrap();
        self.mounts
            .push(format!("{}:{to}:{mode}\n", from.display()));
        self
    }

    /// The image's program with these arguments.
    pub fn run(&self, arguments: &[impl AsRef<str>]) -> Command {
        let program = self.root.image.entrypoint.iter().map(String::as_str);
        self.execute(program.chain(arguments.iter().map(AsRef::as_ref)))
    }

    /// The image's program with the arguments of the image.
    pub fn run_default(&self) -> Command {
        self.run(&self.root.image.command)
    }

    /// The health check, in a container of its own with the same files.
    pub fn check_health(&self) -> Command {
        self.execute(self.root.image.health_check.iter().map(String::as_str))
    }

    fn execute<'w>(&self, words: impl Iterator<Item = &'w str>) -> Command {
        let image = &self.root.image;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--"])
            .args(["sh", "-euc", START, "sh"])
            .arg(self.root.path())
            .args([&self.user, &image.folder])
            .arg(if self.is_read_only { "ro" } else { "rw" })
            .arg(self.mounts.concat())
            .args(["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/"])
            .args(&image.environment)
            .args(words)
            .stdin(Stdio::null());
        command
    }
}

/// Gives a folder and its files to this user.
pub fn give(folder: &Path, owner: &str) {
    let (user, group) = ids(owner);
    for entry in fs::read_dir(folder).unwrap() {
        chown(entry.unwrap().path(), Some(user), Some(group)).unwrap();
    }
    chown(folder, Some(user), Some(group)).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
