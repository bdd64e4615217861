//! The files of the state, and the operations on them.
//!
//! The operations are as small as those of a file system, so that tests can put a model of a disk
//! in its place that loses what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

/// A file of the state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StateFile {
    /// `sync_state.json`.
    Snapshot,
    /// `sync_state.json.new`: the next snapshot, before it is renamed.
    New,
    /// `sync_state.json.journal`.
    Journal,
    /// `sync_state.json.unreadable-<time>`: kept for the user to look at.
    Unreadable(String),
}

/// The folder of the state.
#[allow(
    clippy::missing_errors_doc,
    reason = "every error is one of the file system"
)]
pub trait Storage {
    /// The whole of a file; `None` if it does not exist.
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>>;

    /// When a file was last written.
    fn modified(&mut self, name: &StateFile) -> io::Result<DateTime<Utc>>;

    /// Empties a file, or creates it (0600).
    fn create(&mut self, name: &StateFile) -> io::Result<()>;

    /// Writes at the end of a file that [`create`](Storage::create) created or emptied. After an
    /// error a part may have been written.
    fn append(&mut self, name: &StateFile, octets: &[u8]) -> io::Result<()>;

    /// Makes the content of a file durable: it survives a power loss.
    fn sync(&mut self, name: &StateFile) -> io::Result<()>;

    /// Renames a file, replacing the one that has the name.
    fn rename(&mut self, from: &StateFile, to: &StateFile) -> io::Result<()>;

    /// Makes new names of files durable.
    fn sync_folder(&mut self) -> io::Result<()>;

    /// The path of a file, for messages.
    fn path(&self, name: &StateFile) -> PathBuf;
}

/// Files beside the snapshot.
#[derive(Debug)]
pub struct FolderStorage {
    snapshot: PathBuf,
    /// Kept open: every line is a write, and every checkpoint an fdatasync.
    journal: Option<File>,
}

impl FolderStorage {
    /// The folder of this snapshot, which need not exist yet.
    #[must_use]
    pub fn new(snapshot: &Path) -> FolderStorage {
        FolderStorage {
            snapshot: canonical_path(snapshot),
            journal: None,
        }
    }

    fn open(&self, name: &StateFile) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.path(name))
    }
}

/// The snapshot's default path: in the folder that systemd created for the service, else in the
/// current folder, as in the Python original.
pub(crate) fn default_path(state_directory: Option<&Path>) -> PathBuf {
    state_directory
        .unwrap_or(Path::new(""))
        .join("sync_state.json")
}

/// Follows symbolic links: all links to one snapshot share its journal and its lock.
pub(super) fn canonical_path(snapshot: &Path) -> PathBuf {
    fs::canonicalize(snapshot).unwrap_or_else(|_| snapshot.to_owned())
}

/// The path of a file beside the snapshot.
pub(super) fn with_suffix(snapshot: &Path, suffix: &str) -> PathBuf {
    let mut path = snapshot.to_owned().into_os_string();
    path.push(suffix);
    PathBuf::from(path)
}

impl Storage for FolderStorage {
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(octets) => Ok(Some(octets)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn modified(&mut self, name: &StateFile) -> io::Result<DateTime<Utc>> {
        fs::metadata(self.path(name))?
            .modified()
            .map(DateTime::from)
    }

    fn create(&mut self, name: &StateFile) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))?;
        if *name == StateFile::Journal {
            // Opened once more, for appending: another handle could write into the middle.
            drop(file);
            self.journal = Some(self.open(name)?);
        }
        Ok(())
    }

    fn append(&mut self, name: &StateFile, octets: &[u8]) -> io::Result<()> {
        match &mut self.journal {
            Some(journal) if *name == StateFile::Journal => journal.write_all(octets),
            _ => self.open(name)?.write_all(octets),
        }
    }

    fn sync(&mut self, name: &StateFile) -> io::Result<()> {
        match &self.journal {
            Some(journal) if *name == StateFile::Journal => journal.sync_data(),
            _ => self.open(name)?.sync_all(),
        }
    }

    fn rename(&mut self, from: &StateFile, to: &StateFile) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let folder = self
            .snapshot
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn path(&self, name: &StateFile) -> PathBuf {
        match name {
            StateFile::Snapshot => self.snapshot.clone(),
            StateFile::New => with_suffix(&self.snapshot, ".new"),
            StateFile::Journal => with_suffix(&self.snapshot, ".journal"),
            StateFile::Unreadable(time) => {
                with_suffix(&self.snapshot, &format!(".unreadable-{time}"))
            }
        }
    }
}

/// Reads files of another storage and ignores every write: for a dry run.
pub(super) struct ReadOnlyStorage<'a>(pub(super) &'a mut dyn Storage);

impl Storage for ReadOnlyStorage<'_> {
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>> {
        self.0.read(name)
    }

    fn modified(&mut self, name: &StateFile) -> io::Result<DateTime<Utc>> {
        self.0.modified(name)
    }

    fn create(&mut self, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, _: &StateFile, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, _: &StateFile, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &StateFile) -> PathBuf {
        self.0.path(name)
    }
}
