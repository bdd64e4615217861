//! The files that the configuration names: where they are, who can read them, whether they changed.

use std::fmt::Display;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{self, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::Environment;
use crate::config::encoding::{SAVE_AS_UTF8, check_encoding};
use crate::error::{Error, Result, Side};
use crate::file_access;
pub(super) use crate::untrusted::quote_for_shell;

/// Configuration and token files are much smaller; a larger file is a mistake.
pub(super) const MAX_FILE_LENGTH: u64 = 1 << 20;

/// Resolves the relative paths of a configuration.
pub(super) struct PathResolver<'a> {
    beside_config: &'a Path,
    credentials: Option<&'a Path>,
    working_folders: &'a [PathBuf],
}

impl<'a> PathResolver<'a> {
    /// For the paths in this configuration file. A run has one working folder, the current one: "".
    pub(super) fn new(
        config: &'a Path,
        environment: &'a Environment,
        working_folders: &'a [PathBuf],
    ) -> PathResolver<'a> {
        PathResolver {
            beside_config: config.parent().unwrap_or(Path::new("")),
            credentials: environment.credentials_directory.as_deref(),
            working_folders,
        }
    }

    /// Looks beside `config.json`, then in the working folders. A file that does not exist yet belongs
    /// beside `config.json`.
    pub(super) fn resolve(&self, name: &str) -> PathBuf {
        let beside = self.beside_config.join(name);
        if exists(&beside) {
            return beside;
        }
        let in_working_folders = self.working_folders.iter().map(|folder| folder.join(name));
        let mut existing = in_working_folders.filter(|file| exists(file));
        existing.next().unwrap_or(beside)
    }

    /// Looks in systemd's credentials, then as [`resolve`](PathResolver::resolve).
    pub(super) fn resolve_credential(&self, name: &str) -> PathBuf {
        self.credentials
            .filter(|_| Path::new(name).is_relative())
            .map(|folder| folder.join(name))
            .filter(|file| exists(file))
            .unwrap_or_else(|| self.resolve(name))
    }

    /// The command that obtains a new token file for this configuration, in the folder with
    /// `client_secret.json`.
    pub(super) fn auth_command(&self, config: &Path, token_file: &Path) -> String {
        let quoted = |file: &Path| {
            quote_for_shell(&path::absolute(file).unwrap_or_else(|_| file.to_owned()))
        };
        // systemd's copy exists only while the service runs, and the original path is unknown here.
        let config = match self.credentials {
            Some(folder) if config.starts_with(folder) => "CONFIG.json".to_owned(),
            _ => quoted(config),
        };
        // A file in a working folder would not be found from another folder.
        let is_in = |folder: &PathBuf| {
            token_file.is_absolute() == folder.is_absolute() && token_file.starts_with(folder)
        };
        let is_elsewhere =
            !token_file.starts_with(self.beside_config) && self.working_folders.iter().any(is_in);
        let token = is_elsewhere.then(|| format!(" --token {}", quoted(token_file)));
        let token = token.unwrap_or_default();
        format!(
            "imap-to-gmail-sync auth --credentials client_secret.json --config {config}{token} --force"
        )
    }
}

/// A file that cannot be examined counts as existing: opening it reports why.
fn exists(file: &Path) -> bool {
    file.try_exists().unwrap_or(true)
}

/// Reads a whole text file that the user provides, without its byte order mark; a file above the
/// maximum length or in UTF-16 is an error.
pub(crate) fn read_file(side: Side, path: &Path) -> Result<Vec<u8>> {
    read_with_metadata(side, path).map(|(octets, _)| octets)
}

/// [`read_file`] with the metadata of the file that was read.
pub(super) fn read_with_metadata(side: Side, path: &Path) -> Result<(Vec<u8>, Metadata)> {
    let read = || {
        let mut octets = Vec::new();
        let file = file_access::open_to_read(path)?;
        let metadata = file.metadata()?;
        file.take(MAX_FILE_LENGTH + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > MAX_FILE_LENGTH {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok((octets, metadata))
    };
    let (octets, metadata) = read().map_err(|error| unreadable(side, path, error))?;
    let octets = check_encoding(octets).map_err(|what| wrong_encoding(side, path, &what))?;
    Ok((octets, metadata))
}

/// The error for a file that is not in UTF-8.
pub(super) fn wrong_encoding(side: Side, path: &Path, what: &dyn Display) -> Error {
    Error::in_file(side, path, format_args!("cannot be read: {what}")).remedy(SAVE_AS_UTF8)
}

/// The error for a file that cannot be read; names the owner of what denies access.
pub(super) fn unreadable(side: Side, path: &Path, error: io::Error) -> Error {
    let error = match error.kind() {
        io::ErrorKind::PermissionDenied => file_access::explain(path, error),
        _ => error,
    };
    let line = Error::in_file(side, path, format_args!("cannot be read: {error}"));
    match file_access::remedy(&error) {
        Some(remedy) => line.remedy(remedy),
        None => line,
    }
}

/// A text that changes when the content of the files changes.
///
/// It does not use time stamps, because systemd and Kubernetes write credentials anew for every run.
/// It does not use a whole digest, from which a password could be guessed: 16 bits show that the
/// content changed, and nothing more.
pub(super) fn stamp(config: &[u8], password_file: Option<&Path>) -> String {
    let of_octets = |octets: &[u8]| format!("{}:{}", octets.len(), short_digest(octets));
    match password_file.map(read_if_regular) {
        None => of_octets(config),
        Some(None) => format!("{} -", of_octets(config)),
        Some(Some(password)) => format!("{} {}", of_octets(config), of_octets(&password)),
    }
}

/// 16 bits of a digest.
pub(super) fn short_digest(octets: &[u8]) -> String {
    match Sha256::digest(octets).as_slice() {
        [first, second, ..] => format!("{first:02x}{second:02x}"),
        _ => String::new(),
    }
}

/// Reads regular files only: the content of a pipe could not be read again for the password.
pub(super) fn read_if_regular(file: &Path) -> Option<Vec<u8>> {
    let is_regular = fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
    is_regular.then(|| read_file(Side::Config, file).ok())?
}
