//! How an access token is renewed, what a renewal showed, and a rejection that is remembered. Pure.

use chrono::{DateTime, Utc};

/// A rejected refresh token, or one with which Gmail rejected a log-in, remembered from an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedRejection {
    /// The digest of the rejected refresh token.
    pub refresh_token: String,
    /// The earliest time of the next renewal.
    pub retry_after: DateTime<Utc>,
    /// The user whose log-in Gmail rejected; `None` if Google rejected the token.
    pub user: Option<String>,
    /// What the user can do; `None`: make a new token.
    pub remedy: Option<String>,
}

/// Whether an access token that has expired is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RenewalPolicy {
    /// It is renewed, and saved.
    #[default]
    Save,
    /// For `check`: it is renewed at Google or on this host, and not saved. Google keeps the refresh
    /// token valid; another endpoint is not asked: it may replace it, and would get secrets for a mere check.
    KeepInMemory,
    /// For a dry run: it is not renewed.
    Never,
}

/// What a renewal showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// Whether the new access token gives access to mail.
    pub has_mail_scope: bool,
    /// The clock of the token endpoint.
    pub server_time: Option<DateTime<Utc>>,
    /// Whether the refresh token in the file was replaced, and so may no longer be valid.
    pub is_rotation_unsaved: bool,
}
