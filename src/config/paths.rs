//! Where the files are that the configuration names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::Environment;
use crate::untrusted::Untrusted;

/// A larger file is no configuration.
const LARGEST: u64 = 1 << 20;

/// The folders in which a relative path is looked up.
pub(super) struct PathResolver<'a> {
    beside_config: &'a Path,
    credentials: Option<&'a Path>,
}

impl<'a> PathResolver<'a> {
    /// Those of a configuration file.
    pub(super) fn new(config: &'a Path, environment: &'a Environment) -> PathResolver<'a> {
        PathResolver {
            beside_config: config.parent().unwrap_or(Path::new("")),
            credentials: environment.credentials_directory.as_deref(),
        }
    }

    /// Beside `config.json`, else in the current folder; one that is not there yet is to be made
    /// beside `config.json`.
    pub(super) fn resolve(&self, name: &str) -> PathBuf {
        let beside = self.beside_config.join(name);
        if !is_there(&beside) && is_there(Path::new(name)) {
            return PathBuf::from(name);
        }
        beside
    }

    /// Among systemd's credentials, else as [`of_file`](PathResolver::resolve).
    pub(super) fn resolve_credential(&self, name: &str) -> PathBuf {
        self.credentials
            .filter(|_| Path::new(name).is_relative())
            .map(|folder| folder.join(name))
            .filter(|file| is_there(file))
            .unwrap_or_else(|| self.resolve(name))
    }

    /// The command that makes the token file of this configuration anew, in the folder with
    /// Google's `client_secret.json`.
    pub(super) fn auth_command(&self, config: &Path, token_file: &Path) -> String {
        let typed = |file: &Path| {
            as_typed_in_a_shell(&path::absolute(file).unwrap_or_else(|_| file.to_owned()))
        };
        // systemd's copy is there only while the service runs; its original is not known here.
        let config = match self.credentials {
            Some(folder) if config.starts_with(folder) => "CONFIG.json".to_owned(),
            _ => typed(config),
        };
        // One in the current folder would not be found from another.
        let is_elsewhere = token_file.is_relative() && !token_file.starts_with(self.beside_config);
        let token = if is_elsewhere {
            format!(" --token {}", typed(token_file))
        } else {
            String::new()
        };
        format!(
            "imap-to-gmail-sync auth --credentials client_secret.json --config {config}{token} --force"
        )
    }
}

/// A file that cannot be looked at counts as there: the error in opening it says why.
fn is_there(file: &Path) -> bool {
    file.try_exists().unwrap_or(true)
}

/// Reads a file whole, if it is not absurdly large.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(octets)
}

/// Whether anybody but its owner may read or write the file.
pub(super) fn can_be_read_by_others(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|known| known.permissions().mode() & 0o077 != 0)
}

/// A text that changes when what the files hold changes.
///
/// Not made of time stamps: systemd's credentials and Kubernetes's secrets are written anew for
/// every run, and each would seem to be a corrected one. Not of a whole digest either, by which a
/// password could be guessed: 16 bits say "another" and nothing more.
pub(super) fn stamp(config: &[u8], password_file: Option<&Path>) -> String {
    let of_octets = |octets: &[u8]| match Sha256::digest(octets).as_slice() {
        [first, second, ..] => format!("{}:{first:02x}{second:02x}", octets.len()),
        _ => String::new(),
    };
    let password = password_file.map(|file| match read_if_regular(file) {
        Ok(octets) => of_octets(&octets),
        Err(_) => "-".to_owned(),
    });
    [Some(of_octets(config)), password]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a pipe holds can be read once only, and is left for who needs it.
fn read_if_regular(file: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(file)?.is_file() {
        read(file)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

/// The path as a person can paste it behind a command.
pub(super) fn as_typed_in_a_shell(file: &Path) -> String {
    let shown = Untrusted::path(file).to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+:@%,".contains(character);
    if shown.chars().all(is_plain) {
        return shown;
    }
    format!("'{}'", shown.replace('\'', r"'\''"))
}
