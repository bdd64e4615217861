//! The error response of the token endpoint, and its description for the user.

use std::fmt;

use oauth2::ErrorResponse;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// An error response of the token endpoint (RFC 6749 5.2), with Google's additions.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OAuthError {
    error: String,
    error_description: Option<String>,
    error_subtype: Option<String>,
}

impl ErrorResponse for OAuthError {}

// Required by oauth2; users see `describe`.
impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Untrusted::new(&self.error).fmt(f)
    }
}

impl OAuthError {
    pub(crate) fn code(&self) -> &str {
        &self.error
    }

    /// Google's explanation, or the empty string.
    pub(crate) fn description(&self) -> &str {
        self.error_description.as_deref().unwrap_or_default()
    }

    /// Whether a Workspace's session control requires a new log-in ("rapt": reauth proof token).
    pub(crate) fn is_session_control(&self) -> bool {
        let subtype = self.error_subtype.as_deref().unwrap_or_default();
        subtype.contains("rapt") || self.description().contains("rapt")
    }

    /// Whether this is a failure at Google; the same codes as in google-auth.
    pub(crate) fn is_transient(&self) -> bool {
        const CODES: [&str; 3] = [
            "internal_failure",
            "server_error",
            "temporarily_unavailable",
        ];
        CODES.contains(&self.code()) || CODES.contains(&self.description())
    }

    /// The code and the explanation, unless they repeat one of these secrets.
    pub(crate) fn describe<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
        let text = format!("{} {}", self.error, self.description());
        let mut secrets = secrets.into_iter();
        if secrets.any(|secret| text.contains(secret.expose())) {
            return "an error that is not shown, because it repeats a secret".to_owned();
        }
        match self.description() {
            "" => self.to_string(),
            description => format!("{self} ({})", Untrusted::new(description)),
        }
    }

    /// The remedy, if the error concerns the client registration and not a token. `file` is where
    /// the client's id and secret come from.
    pub(crate) fn client_remedy(&self, file: &str) -> Option<String> {
        if self.code() == "invalid_grant" || self.is_admin_policy() {
            return None;
        }
        Some(match self.code() {
            "invalid_client" => format!(
                "client_id or client_secret in {file} is not known to Google: download \
                 client_secret.json again"
            ),
            "deleted_client" => {
                "Google deletes one that is unused for 6 months: create a new one, download its \
                 client_secret.json"
                    .to_owned()
            }
            "invalid_request" if self.description().contains("client_secret") => format!(
                "{file} needs the client_secret of the OAuth client: download \
                 client_secret.json again"
            ),
            _ => "check that the OAuth client is of type \"Desktop app\", download its \
                  client_secret.json"
                .to_owned(),
        })
    }

    /// Whether a policy of the account's Workspace denies access.
    pub(crate) fn is_admin_policy(&self) -> bool {
        ["admin_policy_enforced", "access_denied", "org_internal"].contains(&self.code())
    }
}
