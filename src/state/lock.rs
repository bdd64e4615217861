//! One run per state file.
//!
//! The lock file lies beside the state and is never deleted: to delete it is to give two runs two
//! locks. Its time stamp says when a run last came to its end; it is the one thing that a run with
//! nothing new writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs2::FileExt;

use crate::error::{Error, ErrorKind, Result, Side};
use crate::untrusted::Untrusted;

/// The lock, for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// What came of trying to take the lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// It is ours.
    Acquired(Lock),
    /// Another run has it.
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it said so.
        holder: Option<u32>,
    },
}

impl Lock {
    /// Takes the lock of a state file, without waiting.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if the lock file cannot be opened or locked.
    pub fn take(state: &Path) -> Result<LockAttempt> {
        let path = path_of(state);
        let failed = |error: &io::Error| {
            Error::new(Side::State, ErrorKind::Disk, Untrusted::path(&path), error)
                .during("taking the lock")
                .remedy("the folder of the state must be writable")
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        match file.try_lock_exclusive() {
            Ok(()) => Ok(LockAttempt::Acquired(Lock { file, path })),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {
                Ok(LockAttempt::Busy {
                    holder: holder(&mut file),
                    path,
                })
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Writes down which process holds it, for a person who wonders. The time stamp stays as it is:
    /// it tells of runs that came to their end, and this one has just begun.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if the lock file cannot be written.
    pub fn sign(&mut self, pid: u32) -> Result<()> {
        self.write(pid).map_err(|error| self.failed(&error))
    }

    fn write(&mut self, pid: u32) -> io::Result<()> {
        let before = self.file.metadata()?;
        // A lock file that has just been made tells of no run at all.
        let ended = if before.len() == 0 {
            SystemTime::UNIX_EPOCH
        } else {
            before.modified()?
        };
        let text = format!("{pid}\n");
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.set_modified(ended)
    }

    /// Notes by its time stamp that a run came to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if the time stamp cannot be written.
    pub fn touch(&self, now: SystemTime) -> Result<()> {
        self.file
            .set_modified(now)
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::new(
            Side::State,
            ErrorKind::Disk,
            Untrusted::path(&self.path),
            error,
        )
        .during("writing the lock file")
    }
}

/// The lock file of a state file: beside the real file, wherever a link to it lies.
fn path_of(state: &Path) -> PathBuf {
    let state = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    let mut path = state.into_os_string();
    path.push(".lock");
    PathBuf::from(path)
}

/// The process that the file names.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(state: &Path) -> Lock {
        match Lock::take(state).unwrap() {
            LockAttempt::Acquired(lock) => lock,
            LockAttempt::Busy { .. } => panic!("busy"),
        }
    }

    #[test]
    fn the_second_run_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("sync_state.json");
        let mut lock = ours(&state);
        lock.sign(4711).unwrap();
        match Lock::take(&state).unwrap() {
            LockAttempt::Busy { path, holder } => {
                assert_eq!(path, folder.path().join("sync_state.json.lock"));
                assert_eq!(holder, Some(4711));
            }
            LockAttempt::Acquired(_) => panic!("two locks"),
        }
        drop(lock);
        let mut lock = ours(&state);
        lock.sign(1).unwrap();
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
        let _lock = ours(&link);
        assert!(matches!(
            Lock::take(&state).unwrap(),
            LockAttempt::Busy { .. }
        ));
    }

    #[test]
    fn touching_it_changes_its_time_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut lock = ours(&state);
        lock.sign(7).unwrap();
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        lock.touch(then).unwrap();
        let path = folder.path().join("state.lock");
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), then);
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
    }

    #[test]
    fn signing_it_leaves_its_time_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let modified = || {
            fs::metadata(folder.path().join("state.lock"))
                .unwrap()
                .modified()
                .unwrap()
        };
        let mut lock = ours(&state);
        lock.sign(7).unwrap();
        assert_eq!(
            modified(),
            SystemTime::UNIX_EPOCH,
            "no run came to its end yet"
        );
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        lock.touch(then).unwrap();
        lock.sign(8).unwrap();
        assert_eq!(modified(), then);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_so() {
        let error = Lock::take(Path::new("/nonexistent/state")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disk);
        assert!(
            error
                .to_string()
                .starts_with("/nonexistent/state.lock: taking the lock: ")
        );
    }
}
