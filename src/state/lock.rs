//! The lock file: one run per state file.
//!
//! The lock file lies beside the snapshot and is never deleted: a run that created another one
//! would lock that. Its modification time says when a pass was last complete; it is the only thing
//! that a run with nothing new writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs2::FileExt;

use crate::error::{Error, ErrorKind, Result, Side};
use crate::file_access;
use crate::state::storage::{LOCK, canonical_path, with_suffix};
use crate::untrusted::Untrusted;

/// The acquired lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// The result of trying to acquire the lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// The lock is acquired.
    Acquired(Lock),
    /// Another run holds it.
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it has written its id.
        holder: Option<u32>,
    },
}

impl Lock {
    /// Acquires the lock of a state file, without waiting.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if the lock file cannot be opened or locked.
    pub fn try_acquire(snapshot: &Path) -> Result<LockAttempt> {
        let path = with_suffix(&canonical_path(snapshot), LOCK);
        let failed = |error: &io::Error| {
            let remedy = file_access::remedy(error);
            Error::new(Side::State, ErrorKind::Disk, Untrusted::path(&path), error)
                .during("taking the lock")
                .remedy(remedy.unwrap_or("the folder of the state must be writable"))
        };
        let mut file = open_or_create(&path).map_err(|error| failed(&error))?;
        match file.try_lock_exclusive() {
            Ok(()) => Ok(LockAttempt::Acquired(Lock { file, path })),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {
                Ok(LockAttempt::Busy {
                    holder: read_pid(&mut file),
                    path,
                })
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Writes the id of this process into the file, for the user. The modification time stays: it
    /// is that of the last complete pass, and this run has not made one.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if the lock file cannot be written.
    pub fn write_pid(&mut self, pid: u32) -> Result<()> {
        self.try_write_pid(pid)
            .map_err(|error| self.write_error(&error))
    }

    fn try_write_pid(&mut self, pid: u32) -> io::Result<()> {
        let before = self.file.metadata()?;
        // A lock file that was just created stands for no pass.
        let last_success = if before.len() == 0 {
            SystemTime::UNIX_EPOCH
        } else {
            before.modified()?
        };
        let text = format!("{pid}\n");
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.set_modified(last_success)
    }

    /// Records by the modification time that a pass is complete.
    pub(crate) fn touch(&self, now: SystemTime) -> Result<()> {
        self.file
            .set_modified(now)
            .map_err(|error| self.write_error(&error))
    }

    /// See [`folder_warning`].
    pub(crate) fn folder_warning(&self) -> Option<String> {
        folder_warning(&self.path)
    }

    fn write_error(&self, error: &io::Error) -> Error {
        Error::new(
            Side::State,
            ErrorKind::Disk,
            Untrusted::path(&self.path),
            error,
        )
        .during("writing the lock file")
    }
}

/// A warning if other users can replace the files of the state.
pub(crate) fn folder_warning(snapshot: &Path) -> Option<String> {
    let folder = file_access::folder_of(snapshot);
    file_access::write_warning(folder, "the folder of the state")
}

/// When a pass was last complete, by the lock file's modification time; `None` if none was. Takes no
/// lock.
///
/// # Errors
/// The lock file cannot be examined.
pub(crate) fn last_complete_pass(snapshot: &Path) -> io::Result<Option<SystemTime>> {
    let path = with_suffix(&canonical_path(snapshot), ".lock");
    match fs::symlink_metadata(path) {
        Ok(found) => {
            let modified = found.modified()?;
            Ok((modified > SystemTime::UNIX_EPOCH).then_some(modified))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who holds the lock of a state, as far as another process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockHolder {
    Nobody,
    /// This process.
    Process(u32),
    /// The system does not say.
    Unknown,
}

/// Reads from `/proc/locks` who holds the lock. To try to take it would turn away a run that starts
/// in the same moment. A holder in another container is not seen.
pub(crate) fn lock_holder(snapshot: &Path) -> LockHolder {
    let path = with_suffix(&canonical_path(snapshot), LOCK);
    let Ok(found) = fs::symlink_metadata(&path) else {
        return LockHolder::Nobody;
    };
    let Ok(locks) = fs::read_to_string("/proc/locks") else {
        return LockHolder::Unknown;
    };
    let written = file_access::open(&path, OpenOptions::new().read(true));
    let written = written.ok().and_then(|mut file| read_pid(&mut file));
    let (device, inode) = (found.dev(), found.ino());
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    let mut holders = locks.lines().filter_map(flock);
    // Some file systems (btrfs, overlayfs) show another device than the lock's.
    let holder = holders
        .find(|lock| lock.inode == inode && (lock.device == device || Some(lock.pid) == written));
    holder.map_or(LockHolder::Nobody, |lock| LockHolder::Process(lock.pid))
}

/// A line of `/proc/locks`, such as `1: FLOCK  ADVISORY  WRITE 708 08:01:1311 0 EOF`.
#[derive(Debug, PartialEq, Eq)]
struct LockLine {
    pid: u32,
    device: (u32, u32),
    inode: u64,
}

/// A lock that is held by flock(2); a waiting process has `->` in its line.
fn flock(line: &str) -> Option<LockLine> {
    let mut words = line.split_ascii_whitespace().skip(1);
    if words.next() != Some("FLOCK") {
        return None;
    }
    let pid = words.nth(2)?.parse().ok()?;
    let mut place = words.next()?.split(':');
    let mut number = || u32::from_str_radix(place.next()?, 16).ok();
    Some(LockLine {
        pid,
        device: (number()?, number()?),
        inode: place.next()?.parse().ok()?,
    })
}

/// Another run may create the file between the two attempts.
fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match file_access::create_new(path, &mut options.clone()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            file_access::open(path, &mut options)
        }
        created => created,
    }
}

/// The process id in the file.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquired(state: &Path) -> Lock {
        match Lock::try_acquire(state).unwrap() {
            LockAttempt::Acquired(lock) => lock,
            LockAttempt::Busy { .. } => panic!("busy"),
        }
    }

    #[test]
    fn the_second_run_learns_which_process_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("sync_state.json");
        let mut lock = acquired(&state);
        lock.write_pid(4711).unwrap();
        match Lock::try_acquire(&state).unwrap() {
            LockAttempt::Busy { path, holder } => {
                assert_eq!(path, folder.path().join("sync_state.json.lock"));
                assert_eq!(holder, Some(4711));
            }
            LockAttempt::Acquired(_) => panic!("two locks"),
        }
        drop(lock);
        let mut lock = acquired(&state);
        lock.write_pid(1).unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("sync_state.json.lock")).unwrap(),
            "1\n"
        );
    }

    #[test]
    fn links_to_one_state_share_one_lock() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let link = folder.path().join("link");
        fs::write(&state, "{}").unwrap();
        std::os::unix::fs::symlink(&state, &link).unwrap();
        let _lock = acquired(&link);
        assert!(matches!(
            Lock::try_acquire(&state).unwrap(),
            LockAttempt::Busy { .. }
        ));
    }

    #[test]
    fn touching_the_file_changes_its_time_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut lock = acquired(&state);
        lock.write_pid(7).unwrap();
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        lock.touch(then).unwrap();
        let path = folder.path().join("state.lock");
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), then);
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
    }

    #[test]
    fn writing_the_process_id_keeps_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let modified = || {
            fs::metadata(folder.path().join("state.lock"))
                .unwrap()
                .modified()
                .unwrap()
        };
        let mut lock = acquired(&state);
        lock.write_pid(7).unwrap();
        assert_eq!(
            modified(),
            SystemTime::UNIX_EPOCH,
            "no run came to its end yet"
        );
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        lock.touch(then).unwrap();
        lock.write_pid(8).unwrap();
        assert_eq!(modified(), then);
    }

    #[test]
    fn a_missing_folder_is_named_with_the_command_that_makes_it() {
        let error = Lock::try_acquire(Path::new("/nonexistent/state")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disk);
        assert_eq!(
            error.to_string(),
            "/nonexistent/state.lock: taking the lock: the folder /nonexistent does not exist; \
             type: mkdir -p /nonexistent"
        );
    }

    #[test]
    fn only_a_held_flock_is_read_from_the_systems_list() {
        let lock = |pid, device, inode| Some(LockLine { pid, device, inode });
        for (line, expected) in [
            (
                "1: FLOCK  ADVISORY  WRITE 708 fe:0a:5432947 0 EOF",
                lock(708, (0xfe, 0x0a), 5_432_947),
            ),
            ("2: -> FLOCK  ADVISORY  WRITE 709 fe:0a:5432947 0 EOF", None),
            ("3: POSIX  ADVISORY  WRITE 708 fe:0a:5432947 0 EOF", None),
            ("4: FLOCK  ADVISORY  WRITE", None),
            ("5: FLOCK  ADVISORY  WRITE x fe:0a:5432947", None),
            ("6: FLOCK  ADVISORY  WRITE 1 fe:0a", None),
            ("", None),
        ] {
            assert_eq!(flock(line), expected, "{line}");
        }
    }

    #[test]
    fn the_holder_is_seen_without_touching_the_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("sync_state.json");
        assert_eq!(lock_holder(&snapshot), LockHolder::Nobody);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let LockAttempt::Acquired(lock) = Lock::try_acquire(&snapshot).unwrap() else {
            panic!("it is locked");
        };
        let this = std::process::id();
        assert_eq!(lock_holder(&snapshot), LockHolder::Process(this));
        drop(lock);
        assert_eq!(lock_holder(&snapshot), LockHolder::Nobody);
    }
}
