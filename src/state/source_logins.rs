//! What is remembered of log-ins at the source. Pure.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::retry::REJECTED_CREDENTIALS;

/// Log-ins at the source: those that failed, and how one succeeds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceState {
    /// When the next log-in is due, unless the credentials change before.
    pub retry_after: Option<DateTime<Utc>>,
    /// Log-ins rejected in a row.
    #[serde(rename = "refused_logins")]
    pub rejected_logins: u32,
    /// The server was seen to announce a UIDNEXT that a message has already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wrong_uid_next: bool,
    /// A fingerprint of the configuration and the password file at the last rejected log-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// A fingerprint of the output of the password command at the last rejected log-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_output: Option<String>,
    /// Log-ins in a row that the source limited: too many log-ins, or too many connections.
    #[serde(skip_serializing_if = "is_zero")]
    pub limited_logins: u32,
    /// What the user can do about the last rejected or limited log-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The form of the log-in that the source accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_form: Option<String>,
    /// The server was seen to lose commands that arrive in one packet with others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub loses_pipelined_commands: bool,
    /// The connection broke behind the last log-in that others were sent with.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pipeline_broke: bool,
}

impl SourceState {
    /// Until when these credentials must not be tried, if a log-in failed.
    pub(crate) fn login_delayed_until(
        &self,
        credentials_stamp: &str,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let is_unchanged = self.credentials.as_deref() == Some(credentials_stamp);
        let retry_after = self.retry_after.filter(|_| is_unchanged);
        // A time further away than the longest delay was written while the clock was wrong.
        let max = now + REJECTED_CREDENTIALS.max_delay();
        retry_after.filter(|until| *until > now && *until <= max)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
