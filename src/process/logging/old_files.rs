//! The old log files by their numbers: `sync.log.1.zst` is the newest.
//!
//! A number has a file as it was (`sync.log.1`), packed by zstd (`.zst`) or gzip (`.gz`); all are
//! counted alike, whoever made them. Every function continues what a killed process began.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::file_access::{during, rename_to_new};
use crate::process::logging::packing::{self, PackFormat, Relation};
use crate::process::logging::rotation::kill_point;
use crate::untrusted::quote_for_shell;

/// As it was, or packed.
type Form = Option<PackFormat>;

/// In this order they are newer to older if one number has several: then another program, such as
/// logrotate, added one.
const FORMS: [Form; 3] = [None, Some(PackFormat::Zstd), Some(PackFormat::Gzip)];

/// The old files of a log.
#[derive(Debug)]
pub(super) struct OldFiles<'a> {
    log: &'a Path,
}

impl OldFiles<'_> {
    pub(super) fn of(log: &Path) -> OldFiles<'_> {
        OldFiles { log }
    }

    pub(super) fn name(&self, number: u32, form: Form) -> PathBuf {
        let mut name = OsString::from(self.log);
        name.push(format!(".{number}"));
        if let Some(format) = form {
            name.push(format.suffix());
        }
        name.into()
    }

    /// Where a file is packed before it gets its name.
    pub(super) fn temporary_name(&self) -> PathBuf {
        let mut name = OsString::from(self.log);
        name.push(".packing");
        name.into()
    }

    /// Removes what a killed process left while it packed.
    pub(super) fn remove_temporary(&self) -> io::Result<()> {
        remove(&self.temporary_name())
    }

    /// The forms that the number has; none if it is free.
    fn forms(&self, number: u32) -> io::Result<Vec<Form>> {
        let mut forms = Vec::new();
        for form in FORMS {
            let name = self.name(number, form);
            match fs::symlink_metadata(&name) {
                Ok(_) => forms.push(form),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(doing("looking for", &name, &error)),
            }
        }
        Ok(forms)
    }

    /// The numbers from the first one that are in use. A killed process left one gap at most: a name
    /// beyond two free numbers, such as `sync.log.2024`, is none of ours.
    fn numbers(&self, first: u32) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        let mut gap = 0;
        for number in first..=u32::MAX {
            if self.forms(number)?.is_empty() {
                gap += 1;
                if gap == 2 {
                    break;
                }
            } else {
                gap = 0;
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Gives each file a number of its own. A process that was killed after it packed a file left
    /// both; the unpacked one goes if the packed one is whole.
    pub(super) fn settle(&self) -> io::Result<()> {
        for number in self.numbers(1)? {
            while let [newer, older, ..] = self.forms(number)?.as_slice() {
                let older_name = self.name(number, *older);
                let newer_name = self.name(number, *newer);
                match packing::compare(&newer_name, &older_name, *newer, *older) {
                    Relation::Same => remove(&newer_name)?,
                    // Somebody wrote on while the file was packed.
                    Relation::Continued => remove(&older_name)?,
                    Relation::Other => {
                        self.free(number + 1)?;
                        rename(&older_name, &self.name(number + 1, *older))?;
                    }
                }
                kill_point();
            }
        }
        Ok(())
    }

    /// Frees a number: the files from there up to the next free number move up by one, the last first.
    pub(super) fn free(&self, first: u32) -> io::Result<()> {
        let mut end = first;
        while !self.forms(end)?.is_empty() {
            end += 1;
        }
        for number in (first..end).rev() {
            for form in self.forms(number)? {
                rename(&self.name(number, form), &self.name(number + 1, form))?;
                kill_point();
            }
        }
        Ok(())
    }

    /// Removes the files above the number, the last first, so that a killed process leaves no gap.
    pub(super) fn remove_above(&self, max_files: u32) -> io::Result<()> {
        let Some(first) = max_files.checked_add(1) else {
            return Ok(());
        };
        for number in self.numbers(first)?.into_iter().rev() {
            for form in self.forms(number)? {
                remove(&self.name(number, form))?;
                kill_point();
            }
        }
        Ok(())
    }
}

/// Says in the error what was done to a file.
pub(super) fn doing(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    during(&format!("{verb} {}", quote_for_shell(path)), error)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_to_new(from, to).map_err(|error| doing("renaming", from, &error))
}

/// Removes a file, if it exists.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(doing("removing", path, &error))
        }
        _ => Ok(()),
    }
}
