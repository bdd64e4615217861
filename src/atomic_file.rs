//! A file with a secret in it that is replaced whole, by one process at a time.
//!
//! A reader sees the old one or the new one, and so it is after a power cut. The folder may belong
//! to a service while root writes into it: nothing here follows what a stranger has put there.

use crate::timeouts::FILE_LOCK_TIMEOUT;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// As much as a token file needs: a full disk is noticed before a person is asked for anything.
const PROBE: [u8; 4096] = [b' '; 4096];

/// The right to replace a file, for as long as it lives.
#[must_use]
#[derive(Debug)]
pub(crate) struct WriteGuard {
    file: PathBuf,
    folder: PathBuf,
    /// Locked, where the file system can do that.
    _lock: Option<File>,
}

impl WriteGuard {
    /// Waits until nobody else replaces a file of that folder, for a moment at most. What a process
    /// left there that was killed while it wrote is removed.
    ///
    /// # Errors
    /// There is no such folder.
    pub(crate) fn lock(path: &Path) -> io::Result<WriteGuard> {
        let file = target(path);
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .map_or_else(|| PathBuf::from("."), Path::to_owned);
        let lock = lock(File::open(&folder)?);
        if lock.is_some() {
            sweep(&folder, &file);
        }
        Ok(WriteGuard {
            file,
            folder,
            _lock: lock,
        })
    }

    /// Writes the file, for its owner only. Root may do so for a service that runs as another
    /// user: the file stays theirs.
    ///
    /// # Errors
    /// It cannot be written; what was there before is untouched.
    pub(crate) fn write(&self, octets: &[u8]) -> io::Result<()> {
        let new = self.new_name();
        let written = self
            .write_new(&new, octets)
            .and_then(|()| fs::rename(&new, &self.file));
        if written.is_err() {
            // Nothing of a secret is left lying about; the first error is the one to tell.
            let _ = fs::remove_file(&new);
        }
        written.map_err(in_plain_words)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Makes sure that the file can be written, and leaves nothing.
    ///
    /// # Errors
    /// It could not.
    pub(crate) fn probe(&self) -> io::Result<()> {
        if is_mounted(&self.file) {
            return Err(mounted());
        }
        let new = self.new_name();
        let written = self.write_new(&new, &PROBE);
        let removed = fs::remove_file(&new);
        written.and(removed)
    }

    fn write_new(&self, new: &Path, octets: &[u8]) -> io::Result<()> {
        // Never through a link, and never into what is there.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(new)?;
        if let Ok(known) = fs::symlink_metadata(&self.file) {
            // Only root can give files away, and only root needs to.
            let _ = fchown(&file, Some(known.uid()), Some(known.gid()));
        }
        file.write_all(octets)?;
        file.sync_all()
    }

    /// A name that nobody has, not even the same process number in another container.
    fn new_name(&self) -> PathBuf {
        let chance = RandomState::new().hash_one(std::process::id());
        let mut name = self.file.as_os_str().to_owned();
        name.push(format!(".new-{chance:016x}"));
        PathBuf::from(name)
    }
}

/// Removes what was to become the file and never will.
fn sweep(folder: &Path, file: &Path) {
    let Some(name) = file.file_name() else {
        return;
    };
    let beginning = [name.as_bytes(), b".new-"].concat();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_bytes().starts_with(&beginning)) {
        let _ = fs::remove_file(entry.path());
    }
}

/// The file that is meant. A link stays a link and what it names is replaced, unless the link is a
/// stranger's.
fn target(path: &Path) -> PathBuf {
    let Ok(link) = fs::symlink_metadata(path) else {
        return path.to_owned();
    };
    if !link.is_symlink() {
        return path.to_owned();
    }
    let named = fs::canonicalize(path).or_else(|_| {
        // One that names what is not there yet.
        let to = fs::read_link(path)?;
        io::Result::Ok(path.parent().unwrap_or(Path::new("")).join(to))
    });
    let is_trusted = |named: &PathBuf| {
        let owner = fs::metadata(named).map(|file| file.uid()).ok();
        let ours = fs::metadata("/proc/self").map(|process| process.uid()).ok();
        link.uid() == 0 || Some(link.uid()) == ours || Some(link.uid()) == owner
    };
    named
        .ok()
        .filter(is_trusted)
        .unwrap_or_else(|| path.to_owned())
}

fn lock(folder: File) -> Option<File> {
    let deadline = Instant::now() + FILE_LOCK_TIMEOUT;
    loop {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(_) => return None,
        }
    }
}

/// Says whether the file itself is mounted, as containers do it: it cannot be replaced then.
fn is_mounted(file: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places.any(|place| OsStr::new(place) == file.as_os_str())
}

fn in_plain_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ResourceBusy => mounted(),
        _ => error,
    }
}

fn mounted() -> io::Error {
    io::Error::other("the file is mounted by itself and cannot be replaced: mount its folder")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token.json");
        for name in [
            "token.json.new-12",
            "token.json.new-ab",
            "token.json.old",
            "b.json.new-1",
        ] {
            fs::write(folder.path().join(name), "s3cret").unwrap();
        }
        WriteGuard::lock(&file).unwrap().write(b"{}").unwrap();
        assert_eq!(
            names(folder.path()),
            ["b.json.new-1", "token.json", "token.json.old"]
        );
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_probe_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token.json");
        WriteGuard::lock(&file).unwrap().probe().unwrap();
        assert!(names(folder.path()).is_empty());
        assert!(WriteGuard::lock(&folder.path().join("none/token.json")).is_err());
    }

    #[test]
    fn one_waits_for_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token.json");
        let held = WriteGuard::lock(&file).unwrap();
        let other = file.clone();
        let waiting = thread::spawn(move || WriteGuard::lock(&other).unwrap().write(b"second"));
        // It sweeps as soon as it may: what is there is of the first.
        let unfinished = folder.path().join("token.json.new-1");
        fs::write(&unfinished, "").unwrap();
        held.write(b"first").unwrap();
        assert!(unfinished.exists(), "nobody else was in between");
        drop(held);
        waiting.join().unwrap().unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_link_is_followed_also_to_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        let link = folder.path().join("token.json");
        symlink("real/token.json", &link).unwrap();
        for octets in [b"1", b"2"] {
            WriteGuard::lock(&link).unwrap().write(octets).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(
                fs::read(folder.path().join("real/token.json")).unwrap(),
                octets
            );
        }
    }

    /// Root writes into a service's folder.
    #[test]
    fn a_strangers_link_is_replaced_and_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "kept").unwrap();
        let link = folder.path().join("token.json");
        symlink(&precious, &link).unwrap();
        if std::os::unix::fs::lchown(&link, Some(12_345), Some(12_345)).is_err() {
            assert_ne!(fs::metadata("/proc/self").unwrap().uid(), 0);
            return;
        }
        WriteGuard::lock(&link).unwrap().write(b"{}").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
        assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
        let known = fs::symlink_metadata(&link).unwrap();
        assert!(known.is_file());
        assert_eq!(known.uid(), 12_345, "it stays the service's");
    }

    #[test]
    fn a_file_that_is_mounted_by_itself_is_known() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let place = mounts.lines().find_map(|line| line.split(' ').nth(4));
        assert!(is_mounted(Path::new(place.unwrap())));
        assert!(!is_mounted(Path::new("/proc/self/mountinfo")));
    }
}
