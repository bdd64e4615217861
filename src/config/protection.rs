//! Which other users can read or write the files of the configuration.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::{Config, Environment, Password, paths};
use crate::error::{Error, Result, Side};
use crate::file_access::{
    ROOT, folder_of, is_ours_or_roots, others_may_write, our_group, our_user, owner_and_mode,
};
use crate::untrusted::quote_for_shell;

/// Someone else can change the configuration.
struct OtherWriter {
    what: String,
    remedy: String,
}

impl Config {
    /// Fails if other users can write the configuration, and it decides what root does or which
    /// command is run. Returns a warning if it decides less.
    pub(super) fn check_writers(&self, path: &Path, opened: &Metadata) -> Result<Option<String>> {
        let Some(other) = other_writer(path, opened) else {
            return Ok(None);
        };
        let error = |what: String| Error::in_file(Side::Config, path, what).remedy(other.remedy);
        if matches!(self.source.password, Password::Command(_)) {
            let why = "and it names a command (source_pass_command)";
            return Err(error(format!("{}, {why}", other.what)));
        }
        if our_user() == 0 {
            return Err(error(format!(
                "{}, and the program runs as root",
                other.what
            )));
        }
        Ok(Some(error(other.what).to_string()))
    }

    /// A warning for each file that contains a secret and that other users can read.
    pub(super) fn readable_by_others(&self, path: &Path, environment: &Environment) -> Vec<String> {
        let password_file = self.source.password.file();
        let credentials = environment.credentials_directory.as_deref();
        // A configuration that only names the password file contains no secret, and systemd protects
        // its credentials itself.
        let is_unprotected =
            |file: &&Path| !credentials.is_some_and(|folder| file.starts_with(folder));
        let config_file = Some(path).filter(|_| password_file.is_none());
        let config_file = config_file.filter(is_unprotected);
        let password_file = password_file.filter(is_unprotected);
        let token_file = Some(self.target.token_file.as_path()).filter(|file| is_token_file(file));
        [config_file, password_file, token_file]
            .into_iter()
            .flatten()
            .filter_map(secret_warning)
            .collect()
    }
}

/// A warning if other users can read a file that holds a secret.
fn secret_warning(file: &Path) -> Option<String> {
    is_readable_by_others(file).then(|| {
        let shown = quote_for_shell(file);
        format!("{shown} holds a secret and can be read by others; type: chmod 600 {shown}")
    })
}

/// Who can change the configuration besides root and this user: in the file as it was opened, or by
/// replacing it in the folder that holds it, or the link to it.
fn other_writer(path: &Path, opened: &Metadata) -> Option<OtherWriter> {
    let writer = |place: &str, shown: &Path, found: &Metadata| {
        let shown = quote_for_shell(shown);
        let (who, remedy) = if !is_ours_or_roots(found) {
            let us = our_user();
            (
                "belongs to another user",
                format!("type: chown {us} {shown}"),
            )
        } else if others_may_write(found) {
            (
                "can be written by others",
                format!("type: chmod go-w {shown}"),
            )
        } else {
            return None;
        };
        let state = owner_and_mode(found);
        let what = format!("{place}{who} ({state})");
        Some(OtherWriter { what, remedy })
    };
    let target: Option<PathBuf> = fs::canonicalize(path).ok();
    let folders = [target.as_deref(), Some(path)];
    writer("it ", path, opened).or_else(|| {
        folders.into_iter().flatten().find_map(|file| {
            let folder = folder_of(file);
            let found = fs::metadata(folder).ok()?;
            writer(
                &format!("its folder {} ", quote_for_shell(folder)),
                folder,
                &found,
            )
        })
    })
}

/// Whether the file holds tokens: a wrong path must not lead to a recommendation to close that file
/// to others.
fn is_token_file(file: &Path) -> bool {
    let octets = paths::read_if_regular(file).unwrap_or_default();
    let fields: Option<Map<String, Value>> = serde_json::from_slice(&octets).ok();
    fields
        .is_some_and(|fields| fields.contains_key("token") || fields.contains_key("refresh_token"))
}

/// Whether other users than the owner can read or write the file, and this user can change that. Root
/// may show a file to the group of this process: Kubernetes does so with a secret.
fn is_readable_by_others(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| {
        let is_shown_to_us =
            found.uid() == ROOT && our_user() != ROOT && found.gid() == our_group();
        let bits = if is_shown_to_us { 0o037 } else { 0o077 };
        found.is_file() && is_ours_or_roots(&found) && found.mode() & bits != 0
    })
}
