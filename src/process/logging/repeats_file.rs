//! The repeated warnings and errors of one-shot runs, between them: a timer starts a process each minute,
//! and an error that lasts is logged as by a single process.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::Utc;

use crate::atomic_file::WriteGuard;
use crate::file_access;
use crate::process::logging::repeats::Repeats;

const FILE_NAME: &str = "log_repeats.json";

/// A larger file is a mistake.
const MAX_FILE_LENGTH: u64 = 1 << 20;

/// A file in `$RUNTIME_DIRECTORY`, which systemd keeps until the machine restarts
/// (`RuntimeDirectoryPreserve=yes`).
pub(super) struct RepeatsFile {
    path: PathBuf,
    /// What the file contains.
    saved: Repeats,
}

impl RepeatsFile {
    /// Reads the file. One that is missing, damaged or no regular file is like an empty one: a line is
    /// then logged again.
    pub fn load(folder: &Path) -> RepeatsFile {
        let path = folder.join(FILE_NAME);
        let octets = read(&path).unwrap_or_default();
        let saved: Repeats = serde_json::from_slice(&octets).unwrap_or_default();
        RepeatsFile {
            path,
            saved: saved.plausible(Utc::now()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
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
        WriteGuard::lock_regular(&self.path)?.write(&octets)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = file_access::open(path, OpenOptions::new().read(true))?;
    let mut octets = Vec::new();
    file.take(MAX_FILE_LENGTH).read_to_end(&mut octets)?;
    Ok(octets)
}
