//! The log file: lines of several threads and processes go into one file, which rotates.
//!
//! Each line is one `write` at the end of the file, under the file's lock (flock(2)). Once the lock is
//! held, the file is used only if its path still names it: another process may have rotated it, or
//! logrotate moved it. See `rotation` for what happens when the file is full.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::file_access::{create_with_mode, during, open_file_or_device, problem, resolve_link};
use crate::process::logging::packing::{self, PackFormat};
use crate::process::logging::rotation::{self, Rotation};
use crate::timeouts::LOG_LOCK_TIMEOUT;

/// The mode of a new log file, before the umask: the group (`adm` in many systems) may read it.
const MODE: u32 = 0o640;

/// A rotation that failed is tried again when the file has grown by this part of its limit.
const RETRY_GROWTH: u64 = 8;

/// The longest pause between two attempts to lock the file.
const MAX_LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How large a log file may become, and how many old ones are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationLimits {
    /// The size in octets that the file does not exceed, unless by a single line.
    pub max_size: u64,
    /// The number of old files that are kept.
    pub max_files: u32,
}

/// A log file that rotates, or a character device such as `/dev/null`, which does not.
#[derive(Debug)]
pub struct LogFile {
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    /// As the user named it; may be a symbolic link.
    path: PathBuf,
    limits: RotationLimits,
    /// Tried in this order.
    formats: &'static [PackFormat],
    active: Option<ActiveFile>,
    /// The lock was not available for [`LOG_LOCK_TIMEOUT`], so that nobody waits for it any more.
    is_lock_stuck: bool,
    errors: RotationErrors,
}

impl LogFile {
    /// Opens the file, or creates it with mode 0640. On a full disk the first write creates it.
    ///
    /// # Errors
    /// The file cannot be opened or created.
    pub fn open(path: &Path, limits: RotationLimits) -> io::Result<LogFile> {
        Self::open_with(path, limits, packing::FORMATS)
    }

    pub(super) fn open_with(
        path: &Path,
        limits: RotationLimits,
        formats: &'static [PackFormat],
    ) -> io::Result<LogFile> {
        let active = match ActiveFile::open(path) {
            Ok(active) => Some(active),
            Err(error) if is_full(&error) => None,
            Err(error) => return Err(error),
        };
        let writer = Writer {
            path: path.to_owned(),
            limits,
            formats,
            active,
            is_lock_stuck: false,
            errors: RotationErrors::default(),
        };
        Ok(LogFile {
            writer: Mutex::new(writer),
        })
    }

    /// Writes a line, given without line end. Rotates the file first if the line would exceed the
    /// size limit.
    ///
    /// # Errors
    /// The line is not written.
    pub fn write(&self, line: &str) -> io::Result<()> {
        self.writer().write(line)
    }

    /// Returns why a rotation failed since the last call. The same error is returned once until a
    /// rotation succeeds.
    pub fn take_rotation_error(&self) -> Option<io::Error> {
        self.writer().errors.pending.take()
    }

    /// Closes the file, and opens what the path names now. If that fails, the next write opens it.
    pub fn reopen(&self) {
        let mut writer = self.writer();
        writer.active = ActiveFile::open(&writer.path).ok();
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What a write may still do before it writes the line.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    rotation: bool,
    packing_of_leftover: bool,
}

impl Writer {
    fn write(&mut self, line: &str) -> io::Result<()> {
        let mut allowed = Allowed {
            rotation: true,
            packing_of_leftover: true,
        };
        loop {
            let is_locked = self.open_and_lock()?;
            let Some(mut active) = self.active.take() else {
                continue;
            };
            allowed.rotation &= is_locked;
            let max_size = self.limits.max_size.max(self.errors.retry_size);
            match active.has_room_for(line, max_size) {
                Ok(false) if allowed.rotation => {
                    self.active = self.rotate(active, &mut allowed);
                }
                Ok(_) => {
                    let written = active.append(line, is_locked);
                    active.unlock();
                    self.active = Some(active);
                    return written;
                }
                // The file is closed, which unlocks it.
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens and locks the file that the path names; returns whether it is locked. Waits at most
    /// [`LOG_LOCK_TIMEOUT`] for the lock.
    fn open_and_lock(&mut self) -> io::Result<bool> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        loop {
            let active = match self.active.take() {
                Some(active) => active,
                None => ActiveFile::open(&self.path)?,
            };
            if active.is_device {
                self.active = Some(active);
                return Ok(false);
            }
            let locked = active.file.try_lock();
            if !active.is_current() {
                // Another process may be packing the old file, whose lock it holds.
                continue;
            }
            self.active = Some(active);
            match locked {
                Ok(()) => {
                    self.is_lock_stuck = false;
                    return Ok(true);
                }
                Err(TryLockError::WouldBlock) => {
                    if !self.is_lock_stuck && start.elapsed() >= LOG_LOCK_TIMEOUT {
                        self.is_lock_stuck = true;
                        let what = "another process keeps its lock; perhaps that one is stopped";
                        self.errors.record(io::Error::other(what));
                    }
                    if self.is_lock_stuck {
                        return Ok(false);
                    }
                    thread::sleep(pause);
                    pause = MAX_LOCK_PAUSE.min(pause * 2);
                }
                Err(TryLockError::Error(error)) => {
                    let doing = "locking the log file, which does not rotate without the lock";
                    self.errors.record(during(doing, &error));
                    return Ok(false);
                }
            }
        }
    }

    /// Rotates the locked file. Returns it if the line still goes there or is to be tried again.
    fn rotate(&mut self, active: ActiveFile, allowed: &mut Allowed) -> Option<ActiveFile> {
        let log = active.path.clone();
        let max_files = self.limits.max_files;
        let leftover = allowed.packing_of_leftover;
        match rotation::rotate(&log, &active.file, max_files, leftover) {
            Ok(Rotation::Postponed) => allowed.rotation = false,
            Ok(Rotation::Leftover(file)) => {
                allowed.packing_of_leftover = false;
                // Packing takes time, and the lock of the leftover is enough for it.
                active.unlock();
                if let Err(error) = rotation::pack(&log, &file, self.formats) {
                    self.errors.record(error);
                }
            }
            Ok(Rotation::Emptied) => {
                allowed.rotation = false;
                self.errors.clear();
            }
            Ok(Rotation::Moved) => {
                allowed.rotation = false;
                // The lock is held until the file is packed, so that no other process packs it.
                match rotation::pack(&log, &active.file, self.formats) {
                    Ok(()) => self.errors.clear(),
                    Err(error) => self.errors.record(error),
                }
                active.unlock();
                return None;
            }
            Err(error) => {
                allowed.rotation = false;
                self.errors.record(error);
                let size = active.file.metadata().map_or(0, |found| found.len());
                self.errors.retry_size = size + self.limits.max_size / RETRY_GROWTH;
            }
        }
        Some(active)
    }
}

/// The open file that lines go to.
#[derive(Debug)]
struct ActiveFile {
    file: File,
    /// No symbolic link.
    path: PathBuf,
    is_device: bool,
    /// The size of the file after the last whole line of this process.
    end_of_line: Option<u64>,
}

impl ActiveFile {
    fn open(path: &Path) -> io::Result<ActiveFile> {
        let found = fs::metadata(path).map(|found| found.file_type()).ok();
        // A link such as /dev/stdout cannot be resolved then.
        if found.is_some_and(|found| found.is_fifo() || found.is_socket()) {
            let what = "it is a pipe or a socket, not a file".to_owned();
            let remedy = "name a file, or type: --log stdout".to_owned();
            return Err(problem(io::ErrorKind::InvalidInput, what, remedy));
        }
        let path = resolve_link(path);
        let mut options = OpenOptions::new();
        // Some devices can only be written.
        let is_read = !found.is_some_and(|found| found.is_char_device());
        options.append(true).read(is_read);
        let file = match open_file_or_device(&path, &mut options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match create_with_mode(&path, &mut options.clone(), MODE) {
                    // Another process created it.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        open_file_or_device(&path, &mut options)?
                    }
                    created => created?,
                }
            }
            opened => opened?,
        };
        Ok(ActiveFile {
            is_device: !file.metadata()?.is_file(),
            file,
            path,
            end_of_line: None,
        })
    }

    /// Whether the path still names this file.
    fn is_current(&self) -> bool {
        let named = fs::symlink_metadata(&self.path);
        let open = self.file.metadata();
        matches!((named, open), (Ok(named), Ok(open)) if is_same_file(&named, &open))
    }

    /// Whether the line may be appended without exceeding the size. A file that is empty has room for
    /// any line.
    fn has_room_for(&mut self, line: &str, max_size: u64) -> io::Result<bool> {
        if self.is_device {
            return Ok(true);
        }
        // A last line without end would run into the first one of the next file.
        let size = match self.end_last_line() {
            Ok(size) => size,
            // A rotation may make room on the disk.
            Err(_) => self.file.metadata()?.len(),
        };
        Ok(size == 0 || size.saturating_add(line.len() as u64 + 1) <= max_size)
    }

    fn append(&mut self, line: &str, is_locked: bool) -> io::Result<()> {
        let text = format!("{line}\n").into_bytes();
        if self.is_device {
            return self.file.write_all(&text);
        }
        let size = self.end_last_line()?;
        let mut written = 0;
        let result = write_all(&self.file, &text, &mut written);
        let end = size + written as u64;
        self.end_of_line = result.is_ok().then_some(end);
        // Another process may have written after this one if this one has no lock.
        if result.is_err() && is_locked && self.file.metadata().is_ok_and(|now| now.len() == end) {
            let _ = self.file.set_len(size);
        }
        result
    }

    /// Adds the line end that the last line lacks if the process that wrote it was killed, or the disk
    /// was full. Returns the size.
    fn end_last_line(&mut self) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        if size == 0 || self.end_of_line == Some(size) {
            return Ok(size);
        }
        let mut last = [0];
        match self.file.read_exact_at(&mut last, size - 1) {
            Ok(()) if last != *b"\n" => {
                self.file.write_all(b"\n")?;
                Ok(size + 1)
            }
            _ => Ok(size),
        }
    }

    fn unlock(&self) {
        // Closing the file unlocks it in any case.
        let _ = self.file.unlock();
    }
}

/// Counts the written octets also if it fails.
pub(super) fn write_all(mut file: &File, text: &[u8], written: &mut usize) -> io::Result<()> {
    while let Some(rest) = text.get(*written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(octets) => *written += octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// The errors of rotations since the last one that succeeded.
#[derive(Debug, Default)]
struct RotationErrors {
    pending: Option<io::Error>,
    /// The texts of all of them.
    known: Vec<String>,
    /// The size of the file at which the rotation is tried again.
    retry_size: u64,
}

impl RotationErrors {
    fn record(&mut self, error: io::Error) {
        let text = error.to_string();
        if !self.known.contains(&text) {
            self.known.push(text);
            self.pending = Some(error);
        }
    }

    /// A rotation has succeeded. An error that was not reported yet stays.
    fn clear(&mut self) {
        self.known.clear();
        self.retry_size = 0;
    }
}
