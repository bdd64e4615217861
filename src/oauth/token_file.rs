//! `token.json`, in google-auth's format.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use oauth2::TokenUrl;
use serde_json::{Map, Value, json};

use crate::atomic_file::WriteGuard;
use crate::config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::endpoint::{
    ClientRegistration, IssuedTokens, MAIL_SCOPE, MUST_BE_PROTECTED, is_protected,
};
use crate::oauth::google_hosts::foreign_host_warning;
use crate::oauth::token_health::TokenHealth;
use crate::secret::Secret;
use crate::timestamp;
use crate::untrusted::Untrusted;

/// Google's token endpoint, for a file without `token_uri`.
const DEFAULT_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// The field with the time at which Google issued the refresh token. This field and the next two are
/// ours; google-auth ignores unknown fields.
const ISSUED: &str = "refresh_token_issued";

/// The field with the time of our first renewal by a refresh token that another program obtained.
const FIRST_USED: &str = "refresh_token_first_used";

/// The field with the time at which the refresh token expires, if Google announced it.
const EXPIRES: &str = "refresh_token_expires";

/// Google's access tokens expire after this long.
const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// The fields that must be strings, if they are present.
const STRING_FIELDS: [&str; 5] = [
    "token",
    "refresh_token",
    "client_id",
    "client_secret",
    "token_uri",
];

/// The content of `token.json`. Fields of other programs are kept.
pub(crate) struct TokenFile {
    path: PathBuf,
    fields: Map<String, Value>,
    octets: Vec<u8>,
    token_uri: TokenUrl,
    new_token_remedy: String,
}

impl TokenFile {
    /// Reads the file and checks the fields that are used. `new_token_remedy` tells the user how to
    /// obtain a new token.
    pub(crate) fn read(path: &Path, new_token_remedy: &str) -> Result<TokenFile> {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let what = "is a folder or a device, not a token file";
            return Err(Error::in_file(Side::Token, path, what).remedy("correct target_token_file"));
        }
        let octets = config::read_file(Side::Token, path).map_err(|error| {
            error.remedy(format_args!(
                "correct target_token_file, or {new_token_remedy}"
            ))
        })?;
        TokenFile::parse(path, octets, new_token_remedy)
    }

    /// Creates the content for the tokens of a new consent; does not save it.
    pub(crate) fn from_consent(
        path: &Path,
        client: &ClientRegistration,
        tokens: &IssuedTokens,
        now: DateTime<Utc>,
    ) -> TokenFile {
        let fields = [
            ("token_uri", json!(client.token_uri.as_str())),
            ("client_id", json!(client.client_id)),
            ("scopes", json!([MAIL_SCOPE])),
            ("universe_domain", json!("googleapis.com")),
            ("account", json!("")),
        ];
        let mut file = TokenFile {
            path: path.to_owned(),
            fields: fields
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
            octets: Vec::new(),
            token_uri: client.token_uri.clone(),
            new_token_remedy: String::new(),
        };
        if let Some(secret) = &client.client_secret {
            file.set("client_secret", secret.expose());
        }
        file.store_tokens(tokens, now);
        file
    }

    fn parse(path: &Path, octets: Vec<u8>, new_token_remedy: &str) -> Result<TokenFile> {
        let wrong = |what: String| Error::in_file(Side::Token, path, what);
        let unusable = |what: String| wrong(what).remedy(new_token_remedy);
        // serde_json's errors give the position and never repeat the content.
        let fields: Map<String, Value> = serde_json::from_slice(&octets)
            .map_err(|error| unusable(format!("is not a JSON object: {error}")))?;
        let is_wrong = |name: &&str| {
            let value = fields.get(*name);
            !matches!(value, None | Some(Value::Null | Value::String(_)))
        };
        if let Some(name) = STRING_FIELDS.into_iter().find(is_wrong) {
            return Err(unusable(format!("{name} must be a string")));
        }
        let token_uri = string_field(&fields, "token_uri").unwrap_or(DEFAULT_TOKEN_URI);
        let token_uri = TokenUrl::new(token_uri.to_owned())
            .ok()
            .filter(|uri| is_protected(uri.url()))
            .ok_or_else(|| wrong(format!("token_uri {MUST_BE_PROTECTED}")))?;
        let file = TokenFile {
            path: path.to_owned(),
            fields,
            octets,
            token_uri,
            new_token_remedy: new_token_remedy.to_owned(),
        };
        if file.access().is_none() && file.refresh().is_none() {
            let what = "holds neither token nor refresh_token";
            return Err(unusable(what.to_owned()));
        }
        Ok(file)
    }

    pub(crate) fn access(&self) -> Option<Secret> {
        self.secret("token")
    }

    pub(crate) fn refresh(&self) -> Option<Secret> {
        self.secret("refresh_token")
    }

    /// A warning if a renewal sends secrets to another host than Google's.
    pub(crate) fn foreign_host_warning(&self) -> Option<String> {
        foreign_host_warning(&self.path, "token_uri", self.token_uri.url())
    }

    /// The error of a check that needs a renewal by another host than Google's.
    pub(crate) fn unasked_host_error(&self) -> Error {
        let host = self.token_uri.url().host_str().unwrap_or_default();
        let what = format!(
            "Gmail was not logged in to: the access token has expired or is rejected, and a check does \
             not request one from {} (token_uri), which is not Google's and would get the client \
             secret and the refresh token",
            Untrusted::new(host)
        );
        let new_token = &self.new_token_remedy;
        self.error(ErrorKind::Rejected, what).remedy(format_args!(
            "with the client_secret.json that Google provides, {new_token}"
        ))
    }

    /// The client registration, if the file contains one.
    pub(crate) fn client(&self) -> Option<ClientRegistration> {
        Some(ClientRegistration {
            client_id: string_field(&self.fields, "client_id")?.to_owned(),
            client_secret: self.secret("client_secret"),
            token_uri: self.token_uri.clone(),
        })
    }

    /// Whether it says that the token is for mail; `None` if it does not say.
    pub(crate) fn names_mail_scope(&self) -> Option<bool> {
        let scopes = self.fields.get("scopes")?.as_array()?;
        Some(scopes.iter().any(|scope| scope == MAIL_SCOPE))
    }

    /// When the access token expires; `None` if the field is missing or cannot be parsed.
    pub(crate) fn expiry(&self) -> Option<DateTime<Utc>> {
        self.time("expiry")
    }

    /// What the file says about the refresh token's age and expiry.
    pub(crate) fn health(&self) -> TokenHealth {
        let access_token_expires = self.expiry();
        TokenHealth {
            issued: self.time(ISSUED),
            first_used: self.time(FIRST_USED),
            expires: self.time(EXPIRES),
            last_used: access_token_expires
                .and_then(|expires| expires.checked_sub_signed(ACCESS_TOKEN_LIFETIME)),
            access_token_expires,
        }
    }

    /// How the user obtains a new token.
    pub(crate) fn new_token_remedy(&self) -> &str {
        &self.new_token_remedy
    }

    /// The file on disk, if it has changed since it was last read or written.
    pub(crate) fn changed(&self) -> Option<TokenFile> {
        let octets = config::read_file(Side::Token, &self.path).ok()?;
        if octets == self.octets {
            return None;
        }
        TokenFile::parse(&self.path, octets, &self.new_token_remedy).ok()
    }

    /// Stores issued tokens, and the time from which the refresh token's age counts.
    pub(crate) fn store_tokens(&mut self, tokens: &IssuedTokens, now: DateTime<Utc>) {
        let old_refresh = self.refresh();
        self.set("token", tokens.access.expose());
        self.set("expiry", &format_expiry(now, tokens.expires_in));
        if let Some(refresh) = &tokens.refresh
            && old_refresh.as_ref() != Some(refresh)
        {
            self.set("refresh_token", refresh.expose());
            self.set(ISSUED, &format_time(now));
            self.fields.remove(FIRST_USED);
            self.fields.remove(EXPIRES);
        } else if !self.fields.contains_key(ISSUED) && !self.fields.contains_key(FIRST_USED) {
            self.set(FIRST_USED, &format_time(now));
        }
        if let Some(expires_in) = tokens.refresh_token_expires_in {
            self.set(EXPIRES, &format_expiry(now, expires_in));
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.fields.insert(name.to_owned(), json!(value));
    }

    /// Keeps other processes from replacing the file.
    pub(crate) fn lock(&self) -> io::Result<WriteGuard> {
        WriteGuard::lock(&self.path)
    }

    /// Replaces the file; only its owner can read it.
    pub(crate) fn save(&mut self, guard: &WriteGuard) -> io::Result<()> {
        let mut octets = serde_json::to_vec_pretty(&self.fields)?;
        octets.push(b'\n');
        guard.write(&octets)?;
        self.octets = octets;
        Ok(())
    }

    /// An error that a new token corrects.
    pub(crate) fn unusable(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        self.error(kind, what).remedy(&self.new_token_remedy)
    }

    /// An error that names this file.
    pub(crate) fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        Error::new(Side::Token, kind, Untrusted::path(&self.path), what)
    }

    fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        string_field(&self.fields, name).and_then(timestamp::parse)
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        string_field(&self.fields, name).map(|value| Secret::new(value.to_owned()))
    }
}

/// A string field; an empty string counts as missing.
pub(super) fn string_field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let value = fields.get(name)?.as_str()?;
    (!value.is_empty()).then_some(value)
}

/// The format that google-auth for Python parses; it does not accept an offset.
fn format_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// An absurd lifetime counts as an hour.
fn format_expiry(now: DateTime<Utc>, expires_in: Duration) -> String {
    let expires_in = TimeDelta::from_std(expires_in).unwrap_or(ACCESS_TOKEN_LIFETIME);
    format_time(now.checked_add_signed(expires_in).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse(text: &str) -> Result<TokenFile> {
        TokenFile::parse(
            Path::new("dir/token.json"),
            text.as_bytes().to_vec(),
            "make a new token",
        )
    }

    fn issued(access: &str, refresh: Option<&str>) -> IssuedTokens {
        IssuedTokens {
            access: Secret::new(access.to_owned()),
            refresh: refresh.map(|token| Secret::new(token.to_owned())),
            expires_in: Duration::from_hours(1),
            refresh_token_expires_in: None,
            has_mail_scope: true,
            server_time: None,
        }
    }

    #[test]
    fn the_age_of_a_refresh_token_is_kept_until_it_is_replaced() {
        let at = |text: &str| timestamp::parse(text).unwrap();
        let (first, second) = (at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"));
        let mut file = parse(r#"{"refresh_token":"r"}"#).unwrap();
        assert_eq!(file.health(), TokenHealth::default());
        file.store_tokens(&issued("a", None), first);
        file.store_tokens(&issued("b", Some("r")), second);
        let health = file.health();
        assert_eq!((health.issued, health.first_used), (None, Some(first)));
        assert_eq!(health.last_used, Some(second));
        file.fields
            .insert(EXPIRES.to_owned(), json!("2026-01-09T00:00:00Z"));
        file.store_tokens(&issued("c", Some("r2")), second);
        let health = file.health();
        assert_eq!((health.issued, health.first_used), (Some(second), None));
        assert_eq!(health.expires, None);
    }

    #[test]
    fn an_expiry_is_parsed_in_every_format() {
        let expected = DateTime::parse_from_rfc3339("2026-01-02T03:04:05Z").unwrap();
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.000000Z",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02T03:04:05.000000+00:00",
            "2026-01-02T04:34:05+01:30",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.000000",
            "2026-01-02 03:04:05",
            " 2026-01-02T03:04:05.000000000Z ",
        ] {
            assert_eq!(timestamp::parse(text), Some(expected.to_utc()), "{text}");
        }
        for text in ["", "soon", "2026-01-02", "2026-13-02T03:04:05Z"] {
            assert_eq!(timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn scopes_may_be_a_list_a_string_or_nothing() {
        for scopes in [
            "",
            r#","scopes":["a","b"]"#,
            r#","scopes":"a b""#,
            r#","scopes":null"#,
        ] {
            let file = parse(&format!(r#"{{"token":"t","refresh_token":null{scopes}}}"#)).unwrap();
            assert_eq!(file.access().unwrap().expose(), "t");
            assert!(file.refresh().is_none());
            assert_eq!(file.token_uri.as_str(), DEFAULT_TOKEN_URI);
        }
    }

    #[test]
    fn a_mistake_names_the_file_and_never_repeats_its_content() {
        let cases = [
            (r#"{"token":"s3cret","#, "is not a JSON object"),
            (r#"["s3cret"]"#, "is not a JSON object"),
            (r#"{"token":["s3cret"]}"#, "token must be a string"),
            (
                r#"{"client_id":"s3cret"}"#,
                "holds neither token nor refresh_token",
            ),
            (
                r#"{"token":"s3cret","token_uri":"ftp://s3cret/"}"#,
                "token_uri must begin",
            ),
            (
                r#"{"token":"s3cret","token_uri":"s3cret"}"#,
                "token_uri must begin",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config);
            let line = error.to_string();
            assert!(line.starts_with("dir/token.json: "), "{line}");
            assert!(
                line.contains(expected) && !line.contains("s3cret"),
                "{line}"
            );
        }
    }

    #[test]
    fn plain_http_is_accepted_for_loopback_only() {
        let allowed = |uri: &str| parse(&format!(r#"{{"token":"t","token_uri":"{uri}"}}"#)).is_ok();
        assert!(allowed("https://example.com/token"));
        assert!(allowed("http://127.0.0.1:8080/token"));
        assert!(allowed("http://[::1]:8080/token"));
        assert!(allowed("http://localhost/token"));
        assert!(!allowed("http://example.com/token"));
        assert!(!allowed("http://localhost.example.com/token"));
        assert!(!allowed("http://127.0.0.1@example.com/token"));
        assert!(!allowed("file:///etc/passwd"));
    }

    #[test]
    fn a_saved_file_keeps_unknown_fields_and_is_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        let old =
            r#"{"token":"t","refresh_token":"r","scopes":["s"],"rapt_token":{"a":1},"expiry":"x"}"#;
        fs::write(&path, old).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();

        let mut file = TokenFile::read(&link, "").unwrap();
        let now = timestamp::parse("2026-01-02T02:04:05.678901Z").unwrap();
        file.store_tokens(&issued("t2", None), now);
        file.save(&file.lock().unwrap()).unwrap();
        assert!(file.changed().is_none());

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let fields: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = serde_json::json!({
            "token": "t2", "refresh_token": "r", "scopes": ["s"], "rapt_token": {"a": 1},
            "expiry": "2026-01-02T03:04:05.678901Z",
            "refresh_token_first_used": "2026-01-02T02:04:05.678901Z",
        });
        assert_eq!(fields, expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
