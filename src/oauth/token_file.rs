//! `token.json`, in the form that google-auth reads and writes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use oauth2::TokenUrl;
use oauth2::url::{Host, Url};
use serde_json::{Map, Value, json};

use crate::atomic_file::WriteGuard;
use crate::config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::{ClientRegistration, IssuedTokens, MAIL_SCOPE, TokenHealth};
use crate::secret::Secret;
use crate::timestamp;
use crate::untrusted::Untrusted;

/// Where Google renews tokens; for files that do not say.
const GOOGLE: &str = "https://oauth2.googleapis.com/token";

/// When Google gave the refresh token. This key and the next two are ours; google-auth ignores
/// what it does not know.
const ISSUED: &str = "refresh_token_issued";

/// When this program first used a refresh token that another program got.
const FIRST_USED: &str = "refresh_token_first_used";

/// When a refresh token dies whose end Google told.
const DIES: &str = "refresh_token_expires";

/// An access token's life, as google-auth and Google have it.
const HOUR: TimeDelta = TimeDelta::hours(1);

/// What `token.json` says; keys that are not ours are kept.
pub(crate) struct TokenFile {
    path: PathBuf,
    fields: Map<String, Value>,
    octets: Vec<u8>,
    token_uri: TokenUrl,
    new_token_remedy: String,
}

impl TokenFile {
    /// Reads the file and checks all of it that will be used. `make_another` is what a person does
    /// about one that is worth nothing.
    pub(crate) fn read(path: &Path, make_another: &str) -> Result<TokenFile> {
        let octets = config::read(path).map_err(|error| {
            wrong(path, format_args!("cannot be read: {error}"))
                .remedy(format_args!("correct target_token_file, or {make_another}"))
        })?;
        TokenFile::parse(path, octets, make_another)
    }

    /// The file of a token that a person has just consented to; not on disk yet.
    pub(crate) fn from_consent(
        path: &Path,
        application: &ClientRegistration,
        grant: &IssuedTokens,
        refresh: &Secret,
        now: DateTime<Utc>,
    ) -> TokenFile {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("token", json!(grant.access.expose()));
        set("refresh_token", json!(refresh.expose()));
        set("token_uri", json!(application.token_uri.as_str()));
        set("client_id", json!(application.client_id));
        if let Some(secret) = &application.client_secret {
            set("client_secret", json!(secret.expose()));
        }
        set("scopes", json!([MAIL_SCOPE]));
        set("universe_domain", json!("googleapis.com"));
        set("account", json!(""));
        set("expiry", json!(written(later(now, grant.expires_in))));
        set(ISSUED, json!(written(now)));
        if let Some(life) = grant.refresh_token_expires_in {
            set(DIES, json!(written(later(now, life))));
        }
        TokenFile {
            path: path.to_owned(),
            fields,
            octets: Vec::new(),
            token_uri: application.token_uri.clone(),
            new_token_remedy: String::new(),
        }
    }

    /// Says what the octets of a token file mean.
    fn parse(path: &Path, octets: Vec<u8>, make_another: &str) -> Result<TokenFile> {
        // serde_json says where a mistake is, and never repeats what stands there.
        let fields: Map<String, Value> = serde_json::from_slice(&octets).map_err(|error| {
            wrong(path, format_args!("is not a JSON object: {error}")).remedy(make_another)
        })?;
        for name in [
            "token",
            "refresh_token",
            "client_id",
            "client_secret",
            "token_uri",
        ] {
            match fields.get(name) {
                None | Some(Value::Null | Value::String(_)) => {}
                Some(_) => {
                    let what = format_args!("{name} must be a string");
                    return Err(wrong(path, what).remedy(make_another));
                }
            }
        }
        let token_uri = text(&fields, "token_uri").unwrap_or(GOOGLE);
        let token_uri = TokenUrl::new(token_uri.to_owned())
            .ok()
            .filter(|uri| is_protected(uri.url()))
            .ok_or_else(|| {
                let what = "token_uri must begin with https:// (http:// only to this host itself)";
                wrong(path, what)
            })?;
        let file = TokenFile {
            path: path.to_owned(),
            fields,
            octets,
            token_uri,
            new_token_remedy: make_another.to_owned(),
        };
        if file.access().is_none() && file.refresh().is_none() {
            let what = "holds neither token nor refresh_token";
            return Err(wrong(path, what).remedy(make_another));
        }
        Ok(file)
    }

    /// The access token.
    pub(crate) fn access(&self) -> Option<Secret> {
        self.secret("token")
    }

    /// The token that gives access tokens.
    pub(crate) fn refresh(&self) -> Option<Secret> {
        self.secret("refresh_token")
    }

    /// The program that the person allowed in, if the file names it.
    pub(crate) fn client(&self) -> Option<ClientRegistration> {
        Some(ClientRegistration {
            client_id: text(&self.fields, "client_id")?.to_owned(),
            client_secret: self.secret("client_secret"),
            token_uri: self.token_uri.clone(),
        })
    }

    /// Where access tokens are renewed.
    pub(crate) fn token_uri(&self) -> &TokenUrl {
        &self.token_uri
    }

    /// When the access token expires, if the file says so in a form that can be read.
    pub(crate) fn expiry(&self) -> Option<DateTime<Utc>> {
        self.moment("expiry")
    }

    /// What the file tells of the refresh token's life.
    pub(crate) fn health(&self) -> TokenHealth {
        let access_token_expires = self.expiry();
        TokenHealth {
            issued: self.moment(ISSUED),
            first_used: self.moment(FIRST_USED),
            expires: self.moment(DIES),
            last_used: access_token_expires.and_then(|expires| expires.checked_sub_signed(HOUR)),
            access_token_expires,
        }
    }

    /// What a person does about a file that is worth nothing.
    pub(crate) fn new_token_remedy(&self) -> &str {
        &self.new_token_remedy
    }

    /// The file as it is on disk now, if it is another one than was read or written last.
    pub(crate) fn changed(&self) -> Option<TokenFile> {
        let octets = config::read(&self.path).ok()?;
        if octets == self.octets {
            return None;
        }
        TokenFile::parse(&self.path, octets, &self.new_token_remedy).ok()
    }

    /// Takes what a renewal gave, and notes how old the refresh token is at least.
    pub(crate) fn apply_renewal(&mut self, grant: &IssuedTokens, now: DateTime<Utc>) {
        let rotated = grant
            .refresh
            .as_ref()
            .filter(|token| self.refresh().as_ref() != Some(*token));
        let knows_age = self.fields.contains_key(ISSUED) || self.fields.contains_key(FIRST_USED);
        let mut set = |name: &str, value: String| {
            self.fields.insert(name.to_owned(), Value::String(value));
        };
        set("token", grant.access.expose().to_owned());
        set("expiry", written(later(now, grant.expires_in)));
        if let Some(refresh) = rotated {
            set("refresh_token", refresh.expose().to_owned());
            set(ISSUED, written(now));
            self.fields.remove(FIRST_USED);
            self.fields.remove(DIES);
        } else if !knows_age {
            set(FIRST_USED, written(now));
        }
        if let Some(life) = grant.refresh_token_expires_in {
            let dies = written(later(now, life));
            self.fields.insert(DIES.to_owned(), Value::String(dies));
        }
    }

    /// Keeps others from replacing the file.
    pub(crate) fn lock(&self) -> io::Result<WriteGuard> {
        WriteGuard::lock(&self.path)
    }

    /// Writes the file whole and for its owner only.
    pub(crate) fn save(&mut self, held: &WriteGuard) -> io::Result<()> {
        let mut octets = serde_json::to_vec_pretty(&self.fields)?;
        octets.push(b'\n');
        held.write(&octets)?;
        self.octets = octets;
        Ok(())
    }

    /// A failure at this file.
    pub(crate) fn error(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        Error::new(Side::Token, kind, shown(&self.path), what)
    }

    fn moment(&self, name: &str) -> Option<DateTime<Utc>> {
        text(&self.fields, name).and_then(timestamp::parse)
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        text(&self.fields, name).map(|value| Secret::new(value.to_owned()))
    }
}

/// A string field; an empty one counts as none.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let value = fields.get(name)?.as_str()?;
    (!value.is_empty()).then_some(value)
}

/// Says whether secrets may go there: by https, or to this very host.
pub(crate) fn is_protected(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    match url.scheme() {
        "https" => true,
        "http" => is_loopback,
        _ => false,
    }
}

/// A moment as google-auth of Python reads it: it cannot read an offset.
fn written(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// So long after a moment; an absurd time counts as an hour.
fn later(moment: DateTime<Utc>, life: Duration) -> DateTime<Utc> {
    let life = TimeDelta::from_std(life).unwrap_or(HOUR);
    moment.checked_add_signed(life).unwrap_or(moment)
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(Side::Token, ErrorKind::Config, shown(path), what)
}

fn shown(path: &Path) -> String {
    Untrusted::path(path).to_string()
}

/// A moment as a log line or an error shows it.
pub(crate) fn moment(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
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
            "make another",
        )
    }

    fn granted(access: &str, refresh: Option<&str>) -> IssuedTokens {
        IssuedTokens {
            access: Secret::new(access.to_owned()),
            refresh: refresh.map(|token| Secret::new(token.to_owned())),
            expires_in: Duration::from_hours(1),
            refresh_token_expires_in: None,
            has_mail_scope: true,
        }
    }

    #[test]
    fn the_age_of_a_refresh_token_is_kept_until_another_takes_its_place() {
        let at = |text: &str| timestamp::parse(text).unwrap();
        let (first, second) = (at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"));
        let mut file = parse(r#"{"refresh_token":"r"}"#).unwrap();
        assert_eq!(file.health(), TokenHealth::default());
        file.apply_renewal(&granted("a", None), first);
        file.apply_renewal(&granted("b", Some("r")), second);
        let health = file.health();
        assert_eq!((health.issued, health.first_used), (None, Some(first)));
        assert_eq!(health.last_used, Some(second));
        file.fields
            .insert(DIES.to_owned(), json!("2026-01-09T00:00:00Z"));
        file.apply_renewal(&granted("c", Some("r2")), second);
        let health = file.health();
        assert_eq!((health.issued, health.first_used), (Some(second), None));
        assert_eq!(health.expires, None);
    }

    #[test]
    fn an_expiry_is_read_in_every_form() {
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
            assert_eq!(file.token_uri().as_str(), GOOGLE);
        }
    }

    #[test]
    fn a_mistake_names_the_file_and_never_what_stands_in_it() {
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
    fn plain_http_goes_to_loopback_only() {
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
    fn a_saved_file_keeps_what_is_not_ours_and_is_its_owners_alone() {
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
        file.apply_renewal(&granted("t2", None), now);
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
