//! A folder with the configurations of several accounts.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::paths::{MAX_FILE_LENGTH, unreadable};
use crate::error::{Error, Result, Side};

/// The configurations in a folder, by name: the files `*.json`, except tokens, states and other JSON.
/// A file that cannot be read may be one.
///
/// # Errors
/// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the folder cannot be read, or has none.
pub(crate) fn configurations_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(Side::Config, folder, error).remedy("correct --config"))?;
    let files = entries.into_iter().map(|entry| entry.path());
    let mut configurations: Vec<PathBuf> =
        files.filter(|file| may_be_configuration(file)).collect();
    configurations.sort();
    if configurations.is_empty() {
        let what = "this folder holds no configuration (*.json)";
        return Err(Error::in_file(Side::Config, folder, what).remedy("correct --config"));
    }
    Ok(configurations)
}

fn may_be_configuration(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_bytes();
    if name.starts_with(b".") || !name.ends_with(b".json") {
        return false;
    }
    // A configuration is smaller; and a pipe would be waited for.
    if fs::metadata(file).is_ok_and(|found| !found.is_file() || found.len() > MAX_FILE_LENGTH) {
        return false;
    }
    let fields = fs::read(file).map(|octets| serde_json::from_slice::<Map<String, Value>>(&octets));
    let Ok(Ok(fields)) = fields else {
        return true;
    };
    let is_ours = |name: &String| name.starts_with("source_") || name.starts_with("target_");
    fields.keys().any(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_json_file_is_a_configuration_unless_it_holds_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert!(configurations_in(folder.path()).is_err());
        write("token.json", r#"{"refresh_token": "x"}"#);
        write("sync_state.json", r#"{"source": {}, "parked": {}}"#);
        write("large.json", &" ".repeat((1 << 20) + 1));
        write(".hidden.json", r#"{"source_user": "x"}"#);
        write("alice.json~", r#"{"source_user": "x"}"#);
        fs::create_dir(folder.path().join("folder.json")).unwrap();
        assert!(configurations_in(folder.path()).is_err());
        write("bob.json", r#"{"target_user": "x"}"#);
        write("alice.json", r#"{"source_user": "x"}"#);
        write("broken.json", "{");
        let found = configurations_in(folder.path()).unwrap();
        let names: Vec<_> = found.iter().filter_map(|file| file.file_stem()).collect();
        assert_eq!(names, ["alice", "bob", "broken"]);
        assert!(configurations_in(&folder.path().join("none")).is_err());
    }
}
