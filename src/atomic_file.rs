//! Replaces a file, which may contain a secret, atomically, one process at a time.
//!
//! Readers see the old file or the new one, also after a power failure. Root may write into a folder
//! that belongs to a service: a symbolic link of another user is never followed.
//!
//! The crate `tempfile` would provide the new file's mode 0600 and `O_EXCL` only, which are two
//! options of the standard library. Owner, `fsync`, the link rule and the removal of what a killed
//! process left would stay here, and its errors would show the temporary name to the user.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::file_access::{
    self, ROOT, check_folder, create_new, explain, folder_of, our_user, resolve_link,
};
use crate::timeouts::FILE_LOCK_TIMEOUT;

/// As large as a token file, so that a full disk is noticed before the user is asked for consent.
const PROBE: [u8; 4096] = [b' '; 4096];

/// Allows replacing a file. Other processes wait until it is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct WriteGuard {
    file: PathBuf,
    folder: PathBuf,
    /// Absent if the file system cannot lock, or another process holds the lock for too long.
    _lock: Option<File>,
}

impl WriteGuard {
    /// Locks the file's folder; waits at most [`FILE_LOCK_TIMEOUT`] for other processes. Removes the
    /// temporary files of a process that was killed while it wrote.
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub(crate) fn lock(path: &Path) -> io::Result<WriteGuard> {
        WriteGuard::lock_resolved(resolve_link(path))
    }

    /// Locks as [`lock`](WriteGuard::lock) does, but follows no link.
    ///
    /// # Errors
    /// There is something else than a regular file of a trusted owner.
    pub(crate) fn lock_regular(path: &Path) -> io::Result<WriteGuard> {
        match file_access::open(path, OpenOptions::new().read(true)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(_) | Err(_) => WriteGuard::lock_resolved(path.to_owned()),
        }
    }

    fn lock_resolved(file: PathBuf) -> io::Result<WriteGuard> {
        let folder = folder_of(&file).to_owned();
        let lock = lock_folder(File::open(&folder).map_err(|error| explain(&file, error))?);
        if lock.is_some() {
            remove_leftovers(&folder, &file);
        }
        Ok(WriteGuard {
            file,
            folder,
            _lock: lock,
        })
    }

    /// Writes the file, readable by its owner only. When root replaces it, an existing file keeps its
    /// owner; a new one belongs to the folder's.
    ///
    /// # Errors
    /// The file cannot be written; the old one is unchanged.
    pub(crate) fn write(&self, octets: &[u8]) -> io::Result<()> {
        self.write_with_mode(octets, 0o600)
    }

    /// [`write`](WriteGuard::write) with another mode, whatever the umask is.
    pub(crate) fn write_with_mode(&self, octets: &[u8], mode: u32) -> io::Result<()> {
        let new = self.temporary_name();
        let written = self
            .write_new(&new, octets)
            .and_then(|()| fs::set_permissions(&new, fs::Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&new, &self.file));
        if written.is_err() {
            // No part of the secret stays; the first error is reported.
            let _ = fs::remove_file(&new);
        }
        written.map_err(explain_busy)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Checks that the file can be written, without writing it.
    pub(crate) fn probe(&self) -> io::Result<()> {
        if is_mounted(&self.file) {
            return Err(mounted_error());
        }
        let new = self.temporary_name();
        let written = self.write_new(&new, &PROBE);
        let removed = fs::remove_file(&new);
        written.and(removed)
    }

    fn write_new(&self, new: &Path, octets: &[u8]) -> io::Result<()> {
        let mut file = create_new(new, OpenOptions::new().write(true))?;
        // Only root can change the owner, and only root has to: a system call filter may end any other
        // process that asks for it.
        if our_user() == ROOT
            && let Ok(old) = fs::symlink_metadata(&self.file)
        {
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        }
        file.write_all(octets)?;
        file.sync_all()
    }

    /// A random name: the process id may be the same in another container.
    fn temporary_name(&self) -> PathBuf {
        let random = RandomState::new().hash_one(std::process::id());
        let mut name = self.file.as_os_str().to_owned();
        name.push(format!(".new-{random:016x}"));
        PathBuf::from(name)
    }
}

/// Removes the temporary files that killed processes left.
fn remove_leftovers(folder: &Path, file: &Path) {
    let Some(name) = file.file_name() else {
        return;
    };
    let prefix = [name.as_bytes(), b".new-"].concat();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_bytes().starts_with(&prefix)) {
        let _ = fs::remove_file(entry.path());
    }
}

fn lock_folder(folder: File) -> Option<File> {
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

/// Checks, without writing anything, that the file can be replaced.
pub(crate) fn check_replaceable(file: &Path) -> io::Result<()> {
    let file = resolve_link(file);
    if is_mounted(&file) {
        return Err(mounted_error());
    }
    check_folder(&file)
}

/// Whether the file itself is a mount point, as in containers: then it cannot be replaced.
fn is_mounted(file: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut mount_points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    mount_points.any(|point| OsStr::new(point) == file.as_os_str())
}

fn explain_busy(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ResourceBusy => mounted_error(),
        _ => error,
    }
}

fn mounted_error() -> io::Error {
    io::Error::other("the file is mounted by itself and cannot be replaced: mount its folder")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

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
    fn only_the_leftovers_of_a_killed_process_are_removed() {
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
    fn a_probe_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token.json");
        WriteGuard::lock(&file).unwrap().probe().unwrap();
        assert!(names(folder.path()).is_empty());
        assert!(WriteGuard::lock(&folder.path().join("none/token.json")).is_err());
    }

    #[test]
    fn a_second_writer_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token.json");
        let held = WriteGuard::lock(&file).unwrap();
        let other = file.clone();
        let waiting = thread::spawn(move || WriteGuard::lock(&other).unwrap().write(b"second"));
        // The second writer removes this file as soon as it gets the lock.
        let unfinished = folder.path().join("token.json.new-1");
        fs::write(&unfinished, "").unwrap();
        held.write(b"first").unwrap();
        assert!(
            unfinished.exists(),
            "the second writer got the lock too early"
        );
        drop(held);
        waiting.join().unwrap().unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_link_is_followed_even_if_its_target_does_not_exist_yet() {
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

    /// As when root writes into a service's folder.
    #[test]
    fn a_link_of_another_user_is_replaced_and_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "kept").unwrap();
        let link = folder.path().join("token.json");
        symlink(&precious, &link).unwrap();
        if std::os::unix::fs::lchown(&link, Some(12_345), Some(12_345)).is_err() {
            assert_ne!(crate::file_access::our_user(), 0);
            return;
        }
        WriteGuard::lock(&link).unwrap().write(b"{}").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
        assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
        let known = fs::symlink_metadata(&link).unwrap();
        assert!(known.is_file());
        assert_eq!(known.uid(), 12_345, "the service keeps it");
    }

    #[test]
    fn a_file_that_is_a_mount_point_is_recognized() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount_point = mounts.lines().find_map(|line| line.split(' ').nth(4));
        assert!(is_mounted(Path::new(mount_point.unwrap())));
        assert!(!is_mounted(Path::new("/proc/self/mountinfo")));
    }
}
