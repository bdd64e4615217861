//! Proof that `status` and `check` leave files and servers alone, and say nothing that harms.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use super::{Home, Run, program};

/// Commands that change nothing at a server; AUTHENTICATE, to log in.
const HARMLESS: [&str; 13] = [
    "AUTHENTICATE",
    "CAPABILITY",
    "EXAMINE",
    "GETQUOTAROOT",
    "ID",
    "LIST",
    "LOGIN",
    "LOGOUT",
    "NAMESPACE",
    "NOOP",
    "STARTTLS",
    "STATUS",
    "UID FETCH * (UID)",
];

/// What can be seen of each file below a folder.
pub fn files(folder: &Path) -> BTreeMap<String, (Vec<u8>, [i64; 5])> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        let mut octets = Vec::new();
        if found.is_dir() {
            files.extend(self::files(&path));
        } else if found.is_file() {
            // A pipe would be waited for.
            octets = fs::read(&path).unwrap_or_default();
        }
        let seen = [
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
            found.mode().into(),
        ];
        files.insert(path.display().to_string(), (octets, seen));
    }
    files
}

/// Asserts that the output contains no control character and no secret.
#[track_caller]
pub fn assert_harmless(home: &Home, output: &str) {
    let is_harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!output.contains(is_harmful), "{output:?}");
    let token = fs::read_to_string(home.path("token.json")).unwrap_or_default();
    let token: Value = serde_json::from_str(&token).unwrap_or_default();
    for name in ["token", "refresh_token", "client_secret"] {
        if let Some(secret) = token[name].as_str() {
            assert!(!output.contains(secret), "{name} in {output}");
        }
    }
    assert!(!output.contains("secret\""), "{output}");
}

/// Runs `check` with these options; asserts that it ends in order and changes nothing.
#[track_caller]
pub fn check_harmlessly(home: &Home, words: &[&str]) -> Run {
    let folder = home.path("");
    let before = files(&folder);
    let commands = || [home.source.commands(), home.gmail.commands()];
    let [at_source, at_gmail] = commands().map(|commands| commands.len());
    let run: Run = program(&folder)
        .arg("check")
        .args(words)
        .output()
        .unwrap()
        .into();
    let all = [0, 64, 69, 74, 77, 78];
    assert!(all.contains(&run.status.unwrap()), "{run:?}");
    assert!(before == files(&folder), "a file was touched: {run:?}");
    let [source, gmail] = commands();
    for command in source[at_source..].iter().chain(&gmail[at_gmail..]) {
        let is_harmless = HARMLESS.iter().any(|word| command.starts_with(word));
        assert!(is_harmless, "{command:?} was sent");
    }
    assert_harmless(home, &run.stdout);
    run
}
