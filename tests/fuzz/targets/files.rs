//! The files that the user or another program writes.

use std::fs;
use std::path::PathBuf;

use chrono::Utc;
use imap_to_gmail_sync::config::{Config, Environment};
use imap_to_gmail_sync::oauth::{RenewalPolicy, Token};
use tempfile::TempDir;

use super::assert_harmless;

/// Any config.json is valid or fails with one line, which never contains its password.
pub fn config(octets: &[u8]) {
    let file = Written::of(octets);
    match Config::load(&file.path, &Environment::default()) {
        Ok(config) => {
            config
                .warnings()
                .iter()
                .for_each(|line| assert_harmless(line));
            let again = Config::load(&file.path, &Environment::default()).unwrap();
            assert_eq!(format!("{again:?}"), format!("{config:?}"));
            must_not_show(&format!("{config:?}"), password(octets).as_deref());
        }
        Err(error) => {
            assert_harmless(&error.to_string());
            must_not_show(&error.to_string(), password(octets).as_deref());
        }
    }
}

/// Any token.json loads or fails with one line, which never contains its secrets.
pub fn token(octets: &[u8]) {
    let file = Written::of(octets);
    match Token::load(&file.path, None, "auth", None) {
        Ok(token) => {
            let digest = token.refresh_token_digest();
            assert!(digest.len() == 16 && digest.bytes().all(|octet| octet.is_ascii_hexdigit()));
            let _ = (token.is_valid(Utc::now()), token.expires());
            // Without the fields for a renewal it sends no request.
            if let Err(error) = token.with_policy(RenewalPolicy::Never).access(Utc::now()) {
                assert_harmless(&error.to_string());
            }
        }
        Err(error) => assert_harmless(&error.to_string()),
    }
}

/// The password in a configuration, if it is long enough to be distinct from other text.
fn password(octets: &[u8]) -> Option<String> {
    let written: serde_json::Value = serde_json::from_slice(octets).ok()?;
    let password = written.get("source_pass")?.as_str()?.to_owned();
    (password.len() >= 8 && String::from_utf8_lossy(octets).matches(&password).count() == 1)
        .then_some(password)
}

fn must_not_show(text: &str, password: Option<&str>) {
    if let Some(password) = password {
        assert!(!text.contains(password), "{text}");
    }
}

/// A file that is deleted on drop.
struct Written {
    path: PathBuf,
    _folder: TempDir,
}

impl Written {
    fn of(octets: &[u8]) -> Written {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        fs::write(&path, octets).unwrap();
        Written {
            path,
            _folder: folder,
        }
    }
}
