//! The files of the state, and what can be done with them.
//!
//! The operations are as small as the file system's own, so that a model of a disk which forgets
//! what was not synced can stand in for the real one.

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
    /// `sync_state.json.new`, on its way to become the snapshot.
    New,
    /// `sync_state.json.journal`.
    Journal,
    /// `sync_state.json.unreadable-<time>`, for a person to look at.
    Unreadable(String),
}

/// A folder that holds the state.
pub trait Storage {
    /// The whole of a file; `None` if there is none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>>;

    /// When a file was last written.
    ///
    /// # Errors
    /// The file cannot be looked at.
    fn modified(&mut self, name: &StateFile) -> io::Result<DateTime<Utc>>;

    /// Makes a file empty, creating it (0600) if there is none.
    ///
    /// # Errors
    /// The file cannot be written.
    fn create(&mut self, name: &StateFile) -> io::Result<()>;

    /// Writes at the end of a file that [`create`](Storage::create) made or emptied.
    ///
    /// # Errors
    /// The file cannot be written; part of it may have been.
    fn append(&mut self, name: &StateFile, octets: &[u8]) -> io::Result<()>;

    /// Makes what was written outlast a loss of power.
    ///
    /// # Errors
    /// The file system cannot promise it.
    fn sync(&mut self, name: &StateFile) -> io::Result<()>;

    /// Gives a file another name, replacing the one that had it.
    ///
    /// # Errors
    /// The file cannot be renamed.
    fn rename(&mut self, from: &StateFile, to: &StateFile) -> io::Result<()>;

    /// Makes new names outlast a loss of power.
    ///
    /// # Errors
    /// The file system cannot promise it.
    fn sync_folder(&mut self) -> io::Result<()>;

    /// How a file is called in messages to a person.
    fn path(&self, name: &StateFile) -> PathBuf;
}

/// The real thing: files beside the snapshot.
#[derive(Debug)]
pub struct FolderStorage {
    snapshot: PathBuf,
    /// Kept open: one write a line, one fdatasync a checkpoint.
    journal: Option<File>,
}

impl FolderStorage {
    /// The folder that holds this snapshot, or will. A symbolic link is followed, so that the
    /// files that belong together lie together.
    #[must_use]
    pub fn new(snapshot: &Path) -> FolderStorage {
        let snapshot = fs::canonicalize(snapshot).unwrap_or_else(|_| snapshot.to_owned());
        FolderStorage {
            snapshot,
            journal: None,
        }
    }

    fn open(&self, name: &StateFile) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.path(name))
    }
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
            // Truncated and still open for appending from the new end.
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
        let mut path = self.snapshot.clone().into_os_string();
        match name {
            StateFile::Snapshot => {}
            StateFile::New => path.push(".new"),
            StateFile::Journal => path.push(".journal"),
            StateFile::Unreadable(time) => {
                path.push(".unreadable-");
                path.push(time);
            }
        }
        PathBuf::from(path)
    }
}
