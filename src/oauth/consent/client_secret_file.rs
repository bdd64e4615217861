//! `client_secret.json`: the program that the person allows in, as Google knows it.

use std::path::Path;

use oauth2::{AuthUrl, TokenUrl};
use serde_json::{Map, Value};

use crate::config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::{ClientRegistration, is_protected};
use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// What is needed instead of a file that is something else.
const NEEDED: &str = "in the Google Cloud console create an OAuth client of type \"Desktop app\" and \
                      download its client_secret.json (README, \"The token\")";

/// What `client_secret.json` says of a "Desktop app" client.
#[derive(Debug)]
pub(super) struct ClientSecretFile {
    /// Who asks, and where for tokens.
    pub(super) client: ClientRegistration,
    /// Where the person is asked.
    pub(super) auth_uri: AuthUrl,
}

impl ClientSecretFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: it cannot be read, or is something else, which is named.
    pub(super) fn read(path: &Path) -> Result<ClientSecretFile> {
        let octets = config::read(path).map_err(|error| {
            wrong(path, format_args!("cannot be read: {error}"))
                .remedy("correct --credentials; it wants the client_secret.json of a \"Desktop app\" client")
        })?;
        parse(&octets).map_err(|mistake| wrong(path, mistake).remedy(NEEDED))
    }
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> Error {
    let shown = Untrusted::path(path);
    Error::new(Side::Token, ErrorKind::Config, shown, what)
}

/// What the octets mean; else what they are, and nothing of what stands in them.
fn parse(octets: &[u8]) -> Result<ClientSecretFile, String> {
    let fields: Map<String, Value> = serde_json::from_slice(octets)
        .map_err(|error| format!("is not the JSON that Google gives: {error}"))?;
    let Some(installed) = fields.get("installed") else {
        return Err(another_file(&fields).to_owned());
    };
    let Some(installed) = installed.as_object() else {
        return Err("its \"installed\" is no object".to_owned());
    };
    let text = |name| {
        let value = installed.get(name).and_then(Value::as_str);
        value.filter(|value| !value.is_empty())
    };
    let (Some(client_id), Some(client_secret), Some(auth_uri), Some(token_uri)) = (
        text("client_id"),
        text("client_secret"),
        text("auth_uri"),
        text("token_uri"),
    ) else {
        let missing: Vec<&str> = ["client_id", "client_secret", "auth_uri", "token_uri"]
            .into_iter()
            .filter(|name| text(name).is_none())
            .collect();
        return Err(format!(
            "its \"installed\" is incomplete: without {}",
            missing.join(", ")
        ));
    };
    let unsafe_uri =
        |name| format!("its {name} must begin with https:// (http:// only to this host itself)");
    let auth_uri = AuthUrl::new(auth_uri.to_owned()).ok();
    let token_uri = TokenUrl::new(token_uri.to_owned()).ok();
    Ok(ClientSecretFile {
        client: ClientRegistration {
            client_id: client_id.to_owned(),
            client_secret: Some(Secret::new(client_secret.to_owned())),
            token_uri: token_uri
                .filter(|uri| is_protected(uri.url()))
                .ok_or_else(|| unsafe_uri("token_uri"))?,
        },
        auth_uri: auth_uri
            .filter(|uri| is_protected(uri.url()))
            .ok_or_else(|| unsafe_uri("auth_uri"))?,
    })
}

/// Which of the files that are taken for it this is.
fn another_file(fields: &Map<String, Value>) -> &'static str {
    let kind = fields.get("type").and_then(Value::as_str);
    if fields.contains_key("web") {
        "is of a client of type \"Web application\", to which Google does not send a browser on \
         this host back"
    } else if kind == Some("service_account") {
        "is the key of a service account, which has no Gmail account"
    } else if kind == Some("authorized_user") {
        "is what gcloud keeps of a log-in of its own"
    } else if fields.contains_key("refresh_token") || fields.contains_key("token") {
        "is a token file, which is what is to be made"
    } else if fields.contains_key("source_server") || fields.contains_key("target_user") {
        "is the configuration, which goes to --config"
    } else {
        "has no \"installed\" object"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        let mistake = parse(text.as_bytes()).unwrap_err();
        assert!(!mistake.contains("s3cret"), "{mistake}");
        mistake
    }

    #[test]
    fn the_file_that_google_gives_is_read() {
        let read = parse(
            br#"{"installed":{"client_id":"123-abc.apps.googleusercontent.com",
                "project_id":"my-proj","auth_uri":"https://accounts.google.com/o/oauth2/auth",
                "token_uri":"https://oauth2.googleapis.com/token","client_secret":"GOCSPX-s3cret",
                "redirect_uris":["http://localhost"]}}"#,
        )
        .unwrap();
        assert_eq!(read.client.client_id, "123-abc.apps.googleusercontent.com");
        let secret = read.client.client_secret.as_ref().unwrap();
        assert_eq!(secret.expose(), "GOCSPX-s3cret");
        assert_eq!(
            read.auth_uri.as_str(),
            "https://accounts.google.com/o/oauth2/auth"
        );
        assert!(!format!("{read:?}").contains("s3cret"));
    }

    #[test]
    fn another_file_is_named() {
        let cases = [
            (r#"{"web":{"client_secret":"s3cret"}}"#, "Web application"),
            (
                r#"{"type":"service_account","private_key":"s3cret"}"#,
                "service account",
            ),
            (
                r#"{"type":"authorized_user","refresh_token":"s3cret"}"#,
                "gcloud",
            ),
            (r#"{"refresh_token":"s3cret"}"#, "token file"),
            (r#"{"source_server":"s3cret"}"#, "configuration"),
            ("{}", "no \"installed\""),
            (r#"{"installed":"s3cret"}"#, "is no object"),
            (r#"["s3cret"]"#, "is not the JSON"),
            ("s3cret", "is not the JSON"),
        ];
        for (text, expected) in cases {
            let mistake = mistake(text);
            assert!(mistake.contains(expected), "{mistake}");
        }
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        assert_eq!(
            mistake(r#"{"installed":{"client_secret":"s3cret","client_id":"","auth_uri":5}}"#),
            "its \"installed\" is incomplete: without client_id, auth_uri, token_uri"
        );
    }

    #[test]
    fn nothing_goes_out_in_the_clear() {
        let with = |auth: &str, token: &str| {
            let text = format!(
                r#"{{"installed":{{"client_id":"i","client_secret":"s3cret",
                    "auth_uri":"{auth}","token_uri":"{token}"}}}}"#
            );
            parse(text.as_bytes()).err()
        };
        let safe = "https://example.com/";
        assert_eq!(with(safe, safe), None);
        assert_eq!(with("http://127.0.0.1:80/", "http://localhost/"), None);
        assert!(
            with("http://example.com/", safe)
                .unwrap()
                .contains("auth_uri")
        );
        assert!(
            with(safe, "http://example.com/")
                .unwrap()
                .contains("token_uri")
        );
        assert!(with("file:///etc/passwd", safe).is_some());
        assert!(with("nonsense", safe).is_some());
    }
}
