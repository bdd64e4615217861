//! Rotation: the active file becomes `.1`, which is then packed; the old files move up.
//!
//! Several processes write the file, and each of them may be killed at any step.
//!
//! - The lock of the active file is held while files are renamed: one process rotates.
//! - A file keeps its lock when it becomes `.1`, until it is packed. So a process that finds `.1`
//!   unpacked knows by the lock whether somebody packs it; if not, it was left, and is packed first.
//! - No rename replaces a file. An unpacked file is removed only when its packed form is on the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use crate::file_access::{self, ROOT, create_new, folder_of, our_user};
use crate::process::logging::log_file::is_same_file;
use crate::process::logging::old_files::{OldFiles, doing, remove, rename};
use crate::process::logging::packing::PackFormat;

/// The result of [`rotate`].
#[derive(Debug)]
pub(super) enum Rotation {
    /// Another process packs `.1`: the active file may become larger than its limit meanwhile.
    Postponed,
    /// This locked, unpacked `.1` is to be packed first.
    Leftover(File),
    /// The active file is `.1` now, unpacked.
    Moved,
    /// No old files are kept: the active file is empty now.
    Emptied,
}

/// Rotates the active file, whose lock is held. `returns_leftover` is false if the leftover could not
/// be packed: then it moves up as it is.
pub(super) fn rotate(
    log: &Path,
    active: &File,
    max_files: u32,
    returns_leftover: bool,
) -> io::Result<Rotation> {
    let old_files = OldFiles::of(log);
    let unpacked = match lock_unpacked(&old_files)? {
        Unpacked::None => None,
        Unpacked::Locked(file) => Some(file),
        Unpacked::Busy => return Ok(Rotation::Postponed),
    };
    old_files.remove_temporary()?;
    kill_point();
    old_files.settle()?;
    old_files.remove_above(max_files)?;
    if max_files == 0 {
        active
            .set_len(0)
            .map_err(|error| doing("emptying", log, &error))?;
        return Ok(Rotation::Emptied);
    }
    // Nobody else packs the file while this process holds its lock and moves it up.
    let _held = match unpacked {
        Some(file) if returns_leftover && is_named(&old_files.name(1, None), &file) => {
            return Ok(Rotation::Leftover(file));
        }
        held => held,
    };
    old_files.free(1)?;
    old_files.remove_above(max_files)?;
    rename(log, &old_files.name(1, None))?;
    kill_point();
    Ok(Rotation::Moved)
}

/// The unpacked `.1`.
enum Unpacked {
    None,
    Locked(File),
    /// Another process packs it.
    Busy,
}

fn lock_unpacked(old_files: &OldFiles<'_>) -> io::Result<Unpacked> {
    let path = old_files.name(1, None);
    let file = match file_access::open(&path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Unpacked::None),
        Err(error) => return Err(doing("opening", &path, &error)),
    };
    match file.try_lock() {
        // Another process has just packed and removed it.
        Ok(()) if !is_named(&path, &file) => Ok(Unpacked::None),
        Ok(()) => Ok(Unpacked::Locked(file)),
        Err(TryLockError::WouldBlock) => Ok(Unpacked::Busy),
        Err(TryLockError::Error(error)) => Err(doing("locking", &path, &error)),
    }
}

fn is_named(path: &Path, file: &File) -> bool {
    let named = fs::symlink_metadata(path);
    matches!((named, file.metadata()), (Ok(named), Ok(open)) if is_same_file(&named, &open))
}

/// Packs the unpacked `.1`, whose lock is held, by the first format that succeeds. If none does, it
/// stays as it is.
pub(super) fn pack(log: &Path, file: &File, formats: &[PackFormat]) -> io::Result<()> {
    let old_files = OldFiles::of(log);
    let unpacked = old_files.name(1, None);
    if !is_named(&unpacked, file) {
        // Another program has moved the log file at the same moment.
        return Ok(());
    }
    let mut failed = None;
    for format in formats {
        match write_packed(&old_files, file, *format) {
            Ok(()) => {
                kill_point();
                // Also after a power failure one of both files is there.
                let _ = File::open(folder_of(log)).and_then(|folder| folder.sync_all());
                return if is_named(&unpacked, file) {
                    remove(&unpacked)
                } else {
                    Ok(())
                };
            }
            Err(error) => {
                let _ = old_files.remove_temporary();
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(()), |error| Err(doing("packing", &unpacked, &error)))
}

/// Writes the packed file with the owner, the mode and the time of the unpacked one; it gets its name
/// when it is whole and on the disk.
fn write_packed(old_files: &OldFiles<'_>, mut file: &File, format: PackFormat) -> io::Result<()> {
    let temporary = old_files.temporary_name();
    remove(&temporary)?;
    kill_point();
    let packed = create_new(&temporary, OpenOptions::new().write(true))?;
    kill_point();
    file.rewind()?;
    let size = format.pack(file, &packed)?;
    let unpacked = file.metadata()?;
    if unpacked.len() != size {
        return Err(io::Error::other("another process wrote on meanwhile"));
    }
    // Only root can change the owner, and only root has to.
    if our_user() == ROOT {
        let _ = fchown(&packed, Some(unpacked.uid()), Some(unpacked.gid()));
    }
    packed.set_permissions(fs::Permissions::from_mode(unpacked.mode() & 0o777))?;
    packed.set_modified(unpacked.modified()?)?;
    packed.sync_all()?;
    kill_point();
    // If logrotate moved `.1` meanwhile, another process may be packing the next one by now.
    if !is_named(&old_files.name(1, None), file) || !is_named(&temporary, &packed) {
        return Err(io::Error::other("another program moved the file meanwhile"));
    }
    file_access::rename_to_new(&temporary, &old_files.name(1, Some(format)))
}

/// Here a unit test can end the rotation, as a kill does.
#[cfg(not(test))]
pub(super) fn kill_point() {}
#[cfg(test)]
pub(super) use tests::kill_point;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::io::Read;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::path::PathBuf;

    use super::*;
    use crate::process::logging::log_file::{LogFile, RotationLimits};
    use crate::process::logging::packing::FORMATS;

    thread_local! {
        /// The number of steps until this thread is "killed".
        static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Unwinding closes the files and cleans nothing up, as a kill does.
    pub(in crate::process::logging) fn kill_point() {
        match STEPS_LEFT.get() {
            Some(0) => {
                STEPS_LEFT.set(None);
                resume_unwind(Box::new("killed"));
            }
            left => STEPS_LEFT.set(left.map(|steps| steps - 1)),
        }
    }

    const GZIP: &[PackFormat] = &[PackFormat::Gzip];

    struct Logs {
        folder: tempfile::TempDir,
        formats: &'static [PackFormat],
        max_files: u32,
        /// The lines that are written.
        lines: Vec<String>,
    }

    impl Logs {
        fn new(formats: &'static [PackFormat], max_files: u32) -> Logs {
            Logs {
                folder: tempfile::tempdir().unwrap(),
                formats,
                max_files,
                lines: Vec::new(),
            }
        }

        fn path(&self, suffix: &str) -> PathBuf {
            self.folder.path().join(format!("sync.log{suffix}"))
        }

        /// Writes lines until the next rotation and a bit more, or the kill; returns whether it was
        /// killed. The file has room for 5 lines.
        fn write(&mut self, steps: Option<u32>) -> bool {
            let limits = RotationLimits {
                max_size: 50,
                max_files: self.max_files,
            };
            let log = LogFile::open_with(&self.path(""), limits, self.formats).unwrap();
            STEPS_LEFT.set(steps);
            let killed = (0..7).any(|_| {
                let line = format!("line {:04}", self.lines.len());
                let killed = catch_unwind(AssertUnwindSafe(|| log.write(&line).unwrap())).is_err();
                if !killed {
                    self.lines.push(line);
                }
                killed
            });
            STEPS_LEFT.set(None);
            assert!(log.take_rotation_error().is_none());
            killed
        }

        /// Puts lines into an old file by hand.
        fn add_old(&mut self, suffix: &str, format: Option<PackFormat>) {
            let lines: Vec<String> = (0..3)
                .map(|more| format!("line {:04}", self.lines.len() + more))
                .collect();
            self.copy_old(suffix, format, &(lines.join("\n") + "\n"));
            self.lines.extend(lines);
        }

        fn copy_old(&self, suffix: &str, format: Option<PackFormat>, text: &str) {
            match format {
                None => fs::write(self.path(suffix), text).unwrap(),
                Some(format) => {
                    let file = File::create(self.path(suffix)).unwrap();
                    format.pack(text.as_bytes(), &file).unwrap();
                }
            }
        }

        fn names(&self) -> BTreeSet<String> {
            let entries = fs::read_dir(self.folder.path()).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        }

        /// All lines, the oldest first. Asserts that there is nothing but the log and old files of
        /// consecutive numbers, all packed.
        fn read(&self) -> Vec<String> {
            let mut names = self.names();
            assert!(names.remove("sync.log"), "{names:?}");
            let mut text = fs::read_to_string(self.path("")).unwrap();
            for number in 1.. {
                let forms: Vec<_> = [PackFormat::Zstd, PackFormat::Gzip]
                    .into_iter()
                    .filter(|format| names.remove(&format!("sync.log.{number}{}", format.suffix())))
                    .collect();
                let [format] = forms.as_slice() else {
                    break;
                };
                let packed =
                    File::open(self.path(&format!(".{number}{}", format.suffix()))).unwrap();
                let mut old = String::new();
                format
                    .unpack(packed)
                    .unwrap()
                    .read_to_string(&mut old)
                    .unwrap();
                text.insert_str(0, &old);
            }
            assert_eq!(names, BTreeSet::new(), "leftovers");
            text.lines().map(str::to_owned).collect()
        }
    }

    const LAYOUTS: u32 = 7;

    /// Puts there what may be there before a rotation: old files, and what killed processes left.
    fn arrange(logs: &mut Logs, layout: u32) {
        let format = logs.formats.first().copied();
        let packed = |number: u32| format!(".{number}{}", format.unwrap().suffix());
        match layout {
            0 => {}
            1 => {
                logs.add_old(&packed(3), format);
                logs.add_old(".2.gz", Some(PackFormat::Gzip));
                logs.add_old(&packed(1), format);
            }
            // Killed before it packed.
            2 => {
                logs.add_old(&packed(2), format);
                logs.add_old(".1", None);
                fs::write(logs.path(".packing"), "half").unwrap();
            }
            // Killed before it removed the unpacked file.
            3 => {
                logs.add_old(".1", None);
                let text = fs::read_to_string(logs.path(".1")).unwrap();
                logs.copy_old(&packed(1), format, &text);
            }
            // The unpacked file grew after it was packed.
            4 => {
                logs.add_old(".1", None);
                let text = fs::read_to_string(logs.path(".1")).unwrap();
                logs.copy_old(
                    &packed(1),
                    format,
                    text.split_inclusive('\n').next().unwrap(),
                );
            }
            // Killed while it moved files up.
            5 => {
                logs.add_old(&packed(5), format);
                logs.add_old(&packed(4), format);
                logs.add_old(&packed(2), format);
                logs.add_old(&packed(1), format);
            }
            // Another program added the newer one.
            6 => {
                logs.add_old(&packed(2), format);
                logs.add_old(&packed(1), format);
                logs.add_old(".1", None);
            }
            _ => panic!("there are {LAYOUTS} layouts"),
        }
    }

    #[test]
    fn a_rotation_may_be_killed_at_every_step_and_the_next_one_recovers() {
        for formats in [FORMATS, GZIP] {
            for layout in 0..LAYOUTS {
                for steps in 0.. {
                    let mut logs = Logs::new(formats, 1000);
                    arrange(&mut logs, layout);
                    let killed = logs.write(Some(steps));
                    // The second kill strikes the recovery.
                    logs.write(Some(steps / 2));
                    logs.write(None);
                    logs.write(None);
                    assert_eq!(logs.read(), logs.lines, "layout {layout}, step {steps}");
                    if !killed {
                        assert!(steps >= 4, "layout {layout} has {steps} steps");
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn a_killed_rotation_keeps_the_newest_files_and_no_more_than_it_should() {
        for max_files in [0, 1, 2, 4] {
            for layout in 0..LAYOUTS {
                for steps in 0.. {
                    let mut logs = Logs::new(FORMATS, max_files);
                    arrange(&mut logs, layout);
                    let killed = logs.write(Some(steps));
                    logs.write(None);
                    logs.write(None);
                    let read = logs.read();
                    let old_files = u32::try_from(logs.names().len() - 1).unwrap();
                    assert!(old_files <= max_files, "{:?}", logs.names());
                    assert!(logs.lines.ends_with(&read), "layout {layout}, step {steps}");
                    assert!(old_files == max_files || read == logs.lines);
                    if !killed {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn files_that_are_none_of_the_log_stay() {
        let mut logs = Logs::new(FORMATS, 2);
        let strange = [
            ".2024",
            ".bak",
            ".1.xz",
            ".01",
            ".1.zst.old",
            ".-1",
            ".5.gz",
            ".99999999999",
        ];
        for suffix in strange {
            fs::write(logs.path(suffix), suffix).unwrap();
        }
        for _ in 0..10 {
            logs.write(None);
        }
        for suffix in strange {
            // Numbers that follow the kept ones are those of a higher --log-max-files.
            if suffix != ".5.gz" {
                assert_eq!(fs::read_to_string(logs.path(suffix)).unwrap(), suffix);
            }
        }
        assert_eq!(
            logs.names().len(),
            strange.len() - 1 + 3,
            "{:?}",
            logs.names()
        );
    }
}
