//! `client_secret.json`: the client registration, as the Google Cloud console provides it.

use std::path::Path;

use oauth2::{AuthUrl, TokenUrl};
use serde_json::{Map, Value};

use crate::config;
use crate::error::{Error, Result, Side};
use crate::oauth::endpoint::{ClientRegistration, MUST_BE_PROTECTED, is_protected};
use crate::oauth::google_hosts::foreign_host_warning;
use crate::oauth::token_file::string_field;
use crate::secret::Secret;

/// The remedy for a file that is something else.
const REMEDY: &str = "in the Google Cloud console create an OAuth client of type \"Desktop app\" and \
                      download its client_secret.json (docs/token.md)";

/// `client_secret.json` of a "Desktop app" client.
#[derive(Debug)]
pub(super) struct ClientSecretFile {
    /// Identifies us at the token endpoint.
    pub(super) client: ClientRegistration,
    /// The address of the consent page.
    pub(super) auth_uri: AuthUrl,
}

impl ClientSecretFile {
    /// Reads the file; the error names what a wrong file is instead.
    pub(super) fn read(path: &Path) -> Result<ClientSecretFile> {
        let octets = config::read_file(Side::Token, path).map_err(|error| {
            error.remedy(
                "correct --credentials; it must name the client_secret.json of a \"Desktop app\" \
                 client",
            )
        })?;
        parse(&octets).map_err(|mistake| Error::in_file(Side::Token, path, mistake).remedy(REMEDY))
    }

    /// A warning for each address that names another host than Google's.
    pub(super) fn foreign_host_warnings(&self, path: &Path) -> impl Iterator<Item = String> {
        let addresses = [
            ("auth_uri", self.auth_uri.url()),
            ("token_uri", self.client.token_uri.url()),
        ];
        addresses
            .into_iter()
            .filter_map(|(field, address)| foreign_host_warning(path, field, address))
    }
}

/// Parses the file's octets. The mistake never repeats a value, which may be a secret.
fn parse(octets: &[u8]) -> Result<ClientSecretFile, String> {
    let fields: Map<String, Value> = serde_json::from_slice(octets)
        .map_err(|error| format!("is not the JSON object that Google provides: {error}"))?;
    let Some(installed) = fields.get("installed") else {
        return Err(describe_other_file(&fields).to_owned());
    };
    let Some(installed) = installed.as_object() else {
        return Err("its \"installed\" is not an object".to_owned());
    };
    let names = ["client_id", "client_secret", "auth_uri", "token_uri"];
    let is_missing = |name: &&str| string_field(installed, name).is_none();
    let missing: Vec<&str> = names.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(format!("its \"installed\" object lacks {missing}"));
    }
    let text = |name| string_field(installed, name).unwrap_or_default().to_owned();
    let unprotected = |name| format!("its {name} {MUST_BE_PROTECTED}");
    let token_uri = TokenUrl::new(text("token_uri")).ok();
    let auth_uri = AuthUrl::new(text("auth_uri")).ok();
    Ok(ClientSecretFile {
        client: ClientRegistration {
            client_id: text("client_id"),
            client_secret: Some(Secret::new(text("client_secret"))),
            token_uri: token_uri
                .filter(|uri| is_protected(uri.url()))
                .ok_or_else(|| unprotected("token_uri"))?,
        },
        auth_uri: auth_uri
            .filter(|uri| is_protected(uri.url()))
            .ok_or_else(|| unprotected("auth_uri"))?,
    })
}

/// Says which of the files that are often mistaken for `client_secret.json` this is.
fn describe_other_file(fields: &Map<String, Value>) -> &'static str {
    let kind = fields.get("type").and_then(Value::as_str);
    if fields.contains_key("web") {
        "belongs to a client of type \"Web application\", for which Google redirects no browser to \
         this host"
    } else if kind == Some("service_account") {
        "is the key of a service account, which has no Gmail account"
    } else if kind == Some("authorized_user") {
        "holds the credentials of a gcloud log-in"
    } else if fields.contains_key("refresh_token") || fields.contains_key("token") {
        "is a token file, which this command creates"
    } else if fields.contains_key("source_server") || fields.contains_key("target_user") {
        "is the configuration, which --config names"
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
    fn the_file_that_google_provides_is_read() {
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
    fn another_file_is_recognized() {
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
            (r#"{"installed":"s3cret"}"#, "is not an object"),
            (r#"["s3cret"]"#, "is not the JSON"),
            ("s3cret", "is not the JSON"),
        ];
        for (text, expected) in cases {
            let mistake = mistake(text);
            assert!(mistake.contains(expected), "{mistake}");
        }
    }

    #[test]
    fn all_missing_fields_are_reported_together() {
        assert_eq!(
            mistake(r#"{"installed":{"client_secret":"s3cret","client_id":"","auth_uri":5}}"#),
            "its \"installed\" object lacks client_id, auth_uri, token_uri"
        );
    }

    #[test]
    fn no_address_without_tls_is_accepted_except_loopback() {
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
