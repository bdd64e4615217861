//! The files of the state, and the operations on them.
//!
//! The operations are as small as those of a file system, so that tests can put a model of a disk
//! in its place that loses what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Side};
use crate::file_access::{self, folder_of};
use crate::untrusted::Untrusted;

/// After the name of the snapshot.
const NEW: &str = ".new";
const JOURNAL: &str = ".journal";
pub(super) const LOCK: &str = ".lock";

/// Between the name of the snapshot and the time in the name of an unreadable copy.
const UNREADABLE: &str = ".unreadable-";

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

    /// Removes a file.
    fn remove(&mut self, name: &StateFile) -> io::Result<()>;

    /// The [`StateFile::Unreadable`] copies, the oldest first.
    fn unreadable_copies(&mut self) -> io::Result<Vec<StateFile>>;

    /// Makes changed names of files durable.
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
        file_access::open(&self.path(name), OpenOptions::new().append(true))
    }

    /// Empties the file, or creates it. Its name stays in place, because a new one would have to be
    /// made durable.
    fn empty_or_create(&self, name: &StateFile) -> io::Result<File> {
        let path = self.path(name);
        match file_access::create_new(&path, OpenOptions::new().append(true)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created,
        }
        let file = self.open(name)?;
        // Only after its owner was checked.
        file.set_len(0)?;
        Ok(file)
    }
}

/// The snapshot's default path: in the folder that systemd created for the service, else in the
/// current folder, as in the Python original.
pub(crate) fn default_path(state_directory: Option<&Path>) -> PathBuf {
    state_directory
        .unwrap_or(Path::new(""))
        .join("sync_state.json")
}

/// The files that stand for the state, whether they exist or not.
pub(crate) fn files(snapshot: &Path) -> Vec<PathBuf> {
    let snapshot = canonical_path(snapshot);
    let beside = [NEW, JOURNAL, LOCK].map(|suffix| with_suffix(&snapshot, suffix));
    [snapshot].into_iter().chain(beside).collect()
}

/// Follows symbolic links, except those of other users: all links to one snapshot share its journal
/// and its lock. The user may have put the link there; the files beside the snapshot are never links.
pub(super) fn canonical_path(snapshot: &Path) -> PathBuf {
    let file = file_access::resolve_link(snapshot);
    match (fs::canonicalize(folder_of(&file)), file.file_name()) {
        (Ok(folder), Some(name)) if file.exists() => folder.join(name),
        _ => file,
    }
}

/// The path of a file beside the snapshot.
pub(super) fn with_suffix(snapshot: &Path, suffix: &str) -> PathBuf {
    let mut path = snapshot.to_owned().into_os_string();
    path.push(suffix);
    PathBuf::from(path)
}

impl Storage for FolderStorage {
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>> {
        let opened = file_access::open(&self.path(name), OpenOptions::new().read(true));
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut octets = Vec::new();
        file.read_to_end(&mut octets)?;
        Ok(Some(octets))
    }

    fn modified(&mut self, name: &StateFile) -> io::Result<DateTime<Utc>> {
        fs::symlink_metadata(self.path(name))?
            .modified()
            .map(DateTime::from)
    }

    fn create(&mut self, name: &StateFile) -> io::Result<()> {
        let file = self.empty_or_create(name)?;
        if *name == StateFile::Journal {
            self.journal = Some(file);
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

    fn remove(&mut self, name: &StateFile) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn unreadable_copies(&mut self) -> io::Result<Vec<StateFile>> {
        let prefix = with_suffix(&self.snapshot, UNREADABLE);
        let prefix = prefix.file_name().unwrap_or_default().as_bytes();
        let mut copies = Vec::new();
        for entry in fs::read_dir(folder_of(&self.snapshot))? {
            let name = entry?.file_name();
            let time = name.as_bytes().strip_prefix(prefix);
            copies.extend(time.and_then(|time| String::from_utf8(time.to_vec()).ok()));
        }
        copies.sort();
        Ok(copies.into_iter().map(StateFile::Unreadable).collect())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        File::open(folder_of(&self.snapshot))?.sync_all()
    }

    fn path(&self, name: &StateFile) -> PathBuf {
        match name {
            StateFile::Snapshot => self.snapshot.clone(),
            StateFile::New => with_suffix(&self.snapshot, NEW),
            StateFile::Journal => with_suffix(&self.snapshot, JOURNAL),
            StateFile::Unreadable(time) => {
                with_suffix(&self.snapshot, &format!("{UNREADABLE}{time}"))
            }
        }
    }
}

/// Writes at the end of a file.
pub(super) struct StorageWriter<'a> {
    pub(super) storage: &'a mut dyn Storage,
    pub(super) name: StateFile,
}

impl Write for StorageWriter<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.storage.append(&self.name, octets)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

    fn remove(&mut self, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn unreadable_copies(&mut self) -> io::Result<Vec<StateFile>> {
        Ok(Vec::new())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &StateFile) -> PathBuf {
        self.0.path(name)
    }
}

pub(super) fn storage_error(storage: &dyn Storage, name: &StateFile, error: &io::Error) -> Error {
    Error::new(
        Side::State,
        ErrorKind::Disk,
        Untrusted::path(&storage.path(name)),
        error,
    )
    .during("reading or writing the state")
    .remedy(
        file_access::remedy(error)
            .unwrap_or("make it readable and writable, with space left on the disk"),
    )
}
