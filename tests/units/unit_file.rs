//! The files in `systemd/`, and the drop-ins in `docs/systemd.md`.

use std::fs;
use std::path::{Path, PathBuf};

/// A unit: its path below `systemd/`, and its text.
#[derive(Debug, Clone)]
pub struct UnitFile {
    pub path: String,
    pub text: String,
}

impl UnitFile {
    pub fn read(path: &str) -> UnitFile {
        UnitFile {
            path: path.to_owned(),
            text: fs::read_to_string(folder().join(path)).unwrap(),
        }
    }

    /// The values of a setting, in order.
    pub fn values(&self, setting: &str) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| line.split_once('='));
        lines
            .filter(|(name, _)| *name == setting)
            .map(|(_, value)| value)
            .collect()
    }

    /// The values of a setting that is a list.
    pub fn words(&self, setting: &str) -> Vec<&str> {
        let values = self.values(setting);
        values.into_iter().flat_map(str::split_whitespace).collect()
    }

    /// The only value of a setting.
    #[track_caller]
    pub fn value(&self, setting: &str) -> &str {
        let values = self.values(setting);
        assert_eq!(values.len(), 1, "{setting} of {}", self.path);
        values[0]
    }

    pub fn is_user_unit(&self) -> bool {
        self.path.starts_with("user/")
    }
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// All units of the system, or of users.
pub fn units(of: &str) -> Vec<UnitFile> {
    let mut paths: Vec<String> = fs::read_dir(folder().join(of))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_file())
        .map(|entry| format!("{of}{}", entry.file_name().to_str().unwrap()))
        .collect();
    paths.sort();
    assert!(paths.len() >= 7, "{paths:?}");
    paths.iter().map(|path| UnitFile::read(path)).collect()
}

/// The drop-in with this path in `docs/systemd.md`.
pub fn documented_drop_in(path: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd.md");
    let page = fs::read_to_string(page).unwrap();
    let begin = format!("```ini\n# {path}\n");
    let (_, text) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no {path}"));
    text.split_once("```").unwrap().0.to_owned()
}
