//! An error as the token endpoint words it, and what a person is told about it.

use std::fmt;

use oauth2::ErrorResponse;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// An error as the token endpoint words it (RFC 6749 5.2).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OAuthError {
    error: String,
    error_description: Option<String>,
    error_subtype: Option<String>,
}

impl ErrorResponse for OAuthError {}

// What the library's error type shows; people are shown `quoted`.
impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Untrusted::new(&self.error).fmt(f)
    }
}

impl OAuthError {
    /// The error's code.
    pub(crate) fn code(&self) -> &str {
        &self.error
    }

    /// Google's explanation, if it gives one.
    pub(crate) fn description(&self) -> &str {
        self.error_description.as_deref().unwrap_or_default()
    }

    /// Says whether a Workspace's session control asks for a new log-in.
    pub(crate) fn is_session_control(&self) -> bool {
        let subtype = self.error_subtype.as_deref().unwrap_or_default();
        subtype.contains("rapt") || self.description().contains("rapt")
    }

    /// Says whether this is Google's trouble and not about us; the texts are google-auth's.
    pub(crate) fn is_transient(&self) -> bool {
        let transient = |text: &str| {
            matches!(
                text,
                "internal_failure" | "server_error" | "temporarily_unavailable"
            )
        };
        transient(&self.error) || transient(self.description())
    }

    /// Google's code and explanation, unless they repeat one of these.
    pub(crate) fn describe<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
        let said = format!("{} {}", self.error, self.description());
        if secrets
            .into_iter()
            .any(|secret| said.contains(secret.expose()))
        {
            return "an error that is not shown, because it repeats a secret".to_owned();
        }
        match self.description() {
            "" => self.to_string(),
            description => format!("{self} ({})", Untrusted::new(description)),
        }
    }

    /// What is wrong with the application and how it is mended, if the complaint is about it and
    /// not about a token. `where_from` is the file that told its id and secret.
    pub(crate) fn client_remedy(&self, where_from: &str) -> Option<String> {
        Some(match self.code() {
            "invalid_client" => format!(
                "client_id or client_secret in {where_from} is not known to Google: download \
                 client_secret.json anew"
            ),
            "deleted_client" => {
                "Google deletes one that is unused for 6 months: create a new one, \
                                 download its client_secret.json"
                    .to_owned()
            }
            "invalid_request" if self.description().contains("client_secret") => format!(
                "{where_from} needs the client_secret of the OAuth client: download \
                 client_secret.json anew"
            ),
            "admin_policy_enforced" | "access_denied" | "org_internal" | "invalid_grant" => {
                return None;
            }
            _ => "check that the OAuth client is of type \"Desktop app\", download its \
                  client_secret.json"
                .to_owned(),
        })
    }

    /// Says whether the administrator of the account's Workspace stands in the way.
    pub(crate) fn is_admin_policy(&self) -> bool {
        matches!(
            self.code(),
            "admin_policy_enforced" | "access_denied" | "org_internal"
        )
    }
}
