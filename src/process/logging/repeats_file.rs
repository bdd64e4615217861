//! The repeated warnings and errors of one-shot runs, between them: a timer starts a process each minute,
//! and an error that lasts is logged as by a single process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file::WriteGuard;
use crate::process::logging::repeats::Repeats;

const FILE_NAME: &str = "log_repeats.json";

/// A file in `$RUNTIME_DIRECTORY`, which systemd keeps until the machine restarts
/// (`RuntimeDirectoryPreserve=yes`).
pub(super) struct RepeatsFile {
    path: PathBuf,
    /// What the file contains.
    saved: Repeats,
}

impl RepeatsFile {
    /// Reads the file. One that is missing or damaged is like an empty one: a line is then logged again.
    pub fn load(folder: &Path) -> RepeatsFile {
        let path = folder.join(FILE_NAME);
        let octets = fs::read(&path).unwrap_or_default();
        let saved = serde_json::from_slice(&octets).unwrap_or_default();
        RepeatsFile { path, saved }
    }

    pub fn saved(&self) -> Repeats {
        self.saved.clone()
    }

    /// Writes the file, if something has changed.
    pub fn save(&self, repeats: &Repeats) -> io::Result<()> {
        if *repeats == self.saved {
            return Ok(());
        }
        let octets = serde_json::to_vec(repeats)?;
        WriteGuard::lock(&self.path)?.write(&octets)
    }
}
