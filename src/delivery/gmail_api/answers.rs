//! What the API answers, and what then happens; the table is in docs/gmail.md.

use std::fmt;

use serde::Deserialize;

use crate::delivery::gmail_api::client::ApiResponse;
use crate::oauth::GMAIL_API_CONSOLE;
use crate::untrusted::Untrusted;

/// A response that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    status: u16,
    /// Whether it is the API that answers, by its error object, and not a server before it.
    is_from_api: bool,
    /// Such as `invalidArgument`; empty if the response does not say it.
    reason: String,
    message: String,
}

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiErrorMeaning {
    /// The content of the message: it is not imported, and APPEND may take it.
    Content,
    /// A label that is gone.
    Label,
    /// The rate of requests: wait, and ask again.
    Rate,
    /// The number of requests at the same time.
    TooManyConnections,
    /// A limit of the account that lasts for hours.
    Limit,
    /// The API is not switched on.
    NotEnabled,
    /// The token does not permit it; a person must act.
    Forbidden,
    /// It is refused for a reason that is not known, so that it may pass.
    Refused,
    /// Something else that this message met: it is tried again later.
    Message,
    /// Gmail has failed; the message may be stored.
    Failure,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorResponse {
    error: Option<ErrorContent>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorContent {
    message: String,
    status: String,
    errors: Vec<ErrorItem>,
    details: Vec<ErrorItem>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorItem {
    reason: String,
}

impl ApiErrorMeaning {
    /// Whether the request is refused before it reaches the account.
    pub fn is_about_access(self) -> bool {
        matches!(
            self,
            ApiErrorMeaning::NotEnabled | ApiErrorMeaning::Forbidden | ApiErrorMeaning::Refused
        )
    }
}

impl ApiError {
    pub fn of(response: &ApiResponse) -> ApiError {
        let error = response
            .json::<ErrorResponse>()
            .and_then(|response| response.error);
        let is_from_api = error.is_some();
        let content = error.unwrap_or_default();
        let items = content.errors.into_iter().chain(content.details);
        let reason = items.map(|item| item.reason).find(|it| !it.is_empty());
        ApiError {
            status: response.status,
            is_from_api,
            reason: reason.unwrap_or(content.status),
            message: content.message,
        }
    }

    pub fn meaning(&self) -> ApiErrorMeaning {
        let message = self.message.to_lowercase();
        match (self.status, self.reason.as_str()) {
            (400 | 404, _) if message.contains("label") => ApiErrorMeaning::Label,
            (400, "failedPrecondition" | "FAILED_PRECONDITION") => ApiErrorMeaning::Forbidden,
            (413, _) => ApiErrorMeaning::Content,
            (400 | 415 | 422, _) if self.is_from_api => ApiErrorMeaning::Content,
            (403 | 429, _) if message.contains("concurrent") => ApiErrorMeaning::TooManyConnections,
            (403, "dailyLimitExceeded" | "quotaExceeded") => ApiErrorMeaning::Limit,
            (403, "rateLimitExceeded" | "userRateLimitExceeded" | "RATE_LIMIT_EXCEEDED")
            | (429, _) => ApiErrorMeaning::Rate,
            (403, "accessNotConfigured" | "SERVICE_DISABLED") => ApiErrorMeaning::NotEnabled,
            (401, _)
            | (
                403,
                "insufficientPermissions"
                | "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
                | "domainPolicy"
                | "forbidden"
                | "PERMISSION_DENIED",
            ) => ApiErrorMeaning::Forbidden,
            (403, _) => ApiErrorMeaning::Refused,
            (400..=499, _) if self.status != 408 => ApiErrorMeaning::Message,
            _ => ApiErrorMeaning::Failure,
        }
    }

    /// What a person can do about an error that is not about one message.
    pub fn remedy(&self) -> String {
        let remedy = match (self.meaning(), self.reason.as_str()) {
            (ApiErrorMeaning::NotEnabled, _) => {
                return format!(
                    "switch on the Gmail API of the project that the token is from \
                     ({GMAIL_API_CONSOLE}), or remove delivery from the configuration"
                );
            }
            (_, "domainPolicy") => {
                "ask the administrator of the domain to permit the Gmail API for this app"
            }
            (_, "failedPrecondition" | "FAILED_PRECONDITION") => {
                "check that the account has Gmail, and that IMAP works for it"
            }
            (_, "insufficientPermissions" | "ACCESS_TOKEN_SCOPE_INSUFFICIENT") => {
                "make a new token, and tick the box for mail in the browser"
            }
            _ => "remove delivery from the configuration to append messages instead",
        };
        remedy.to_owned()
    }
}

/// For the person: the status, the reason, and the beginning of the message.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}", self.status)?;
        if !self.reason.is_empty() {
            write!(f, " {}", Untrusted::new(&self.reason))?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", Untrusted::new(&self.message))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, reason: &str, message: &str) -> ApiError {
        ApiError {
            status,
            is_from_api: !reason.is_empty() || !message.is_empty(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn each_documented_error_has_a_meaning() {
        use ApiErrorMeaning::{
            Content, Failure, Forbidden, Label, Limit, Message, NotEnabled, Rate, Refused,
            TooManyConnections,
        };
        let attachment =
            "Invalid attachment. Please check https://support.google.com/mail/answer/6590.";
        for (status, reason, message, expected) in [
            (400, "invalidArgument", attachment, Content),
            (400, "invalidArgument", "Invalid label: Label_7", Label),
            (
                400,
                "failedPrecondition",
                "Mail service not enabled",
                Forbidden,
            ),
            (400, "", "", Message),
            (415, "", "", Message),
            (413, "", "", Content),
            (401, "authError", "Invalid Credentials", Forbidden),
            (
                403,
                "insufficientPermissions",
                "Insufficient Permission",
                Forbidden,
            ),
            (
                403,
                "accessNotConfigured",
                "Gmail API has not been used",
                NotEnabled,
            ),
            (
                403,
                "SERVICE_DISABLED",
                "Gmail API has not been used",
                NotEnabled,
            ),
            (403, "rateLimitExceeded", "Rate Limit Exceeded", Rate),
            (
                403,
                "userRateLimitExceeded",
                "User Rate Limit Exceeded",
                Rate,
            ),
            (403, "dailyLimitExceeded", "Daily Limit Exceeded", Limit),
            (
                403,
                "domainPolicy",
                "The domain administrators have disabled",
                Forbidden,
            ),
            (
                403,
                "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "Request had insufficient authentication scopes",
                Forbidden,
            ),
            (403, "forbidden", "Delegation denied for x", Forbidden),
            (
                403,
                "PERMISSION_DENIED",
                "The caller does not have permission",
                Forbidden,
            ),
            (403, "", "", Refused),
            (403, "aNewReason", "Try again", Refused),
            (404, "notFound", "Requested entity was not found.", Message),
            (404, "notFound", "labelId not found", Label),
            (408, "", "", Failure),
            (409, "aborted", "Conflict", Message),
            (413, "uploadTooLarge", "Request is too large.", Content),
            (429, "rateLimitExceeded", "Too many requests", Rate),
            (
                429,
                "",
                "Too many concurrent requests for user",
                TooManyConnections,
            ),
            (302, "", "", Failure),
            (500, "backendError", "Backend Error", Failure),
            (502, "", "", Failure),
            (503, "", "", Failure),
        ] {
            let error = error(status, reason, message);
            assert_eq!(error.meaning(), expected, "{error}");
        }
    }

    #[test]
    fn an_error_says_what_the_api_said_on_one_line() {
        let said = error(403, "a\nb", "see\r\nhttps://example.com \x1b[0m");
        let shown = said.to_string();
        assert!(shown.starts_with("HTTP status 403 a"), "{shown}");
        assert!(!shown.contains(['\n', '\r', '\x1b']), "{shown}");
        assert_eq!(error(502, "", "").to_string(), "HTTP status 502");
    }
}
