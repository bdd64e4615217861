//! The parts of an account's status. Pure.

use std::path::Path;

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;

use crate::oauth::TokenHealth;
use crate::state::{FolderState, ParkedMessage, RefusedMessage, RejectedToken, State};
use crate::untrusted::{Untrusted, escape_harmful};

/// Longer reasons are truncated.
const MAX_REASON_LENGTH: usize = 400;

#[derive(Debug, Serialize)]
pub(crate) struct CursorStatus {
    pub uid_validity: u32,
    pub uid: u32,
}

/// One of several folders.
#[derive(Debug, Serialize)]
pub(crate) struct FolderEntry {
    pub folder: String,
    pub last_pass: Option<DateTime<Utc>>,
    pub cursor: Option<CursorStatus>,
    pub date_pass: Option<DatePassStatus>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ParkedEntry {
    /// `None` if there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// `None` if UIDVALIDITY changed since.
    pub uid: Option<u32>,
    pub message_id: Option<String>,
    pub since: DateTime<Utc>,
    pub attempts: u32,
    pub next_attempt: DateTime<Utc>,
    /// Whether it may have arrived at Gmail.
    pub uncertain: bool,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct RefusedEntry {
    /// `None` if there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    pub uid: String,
    pub message_id: Option<String>,
    pub at: DateTime<Utc>,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct RestStatus {
    pub until: DateTime<Utc>,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct LoginDelay {
    pub rejected_logins: u32,
    pub limited_logins: u32,
    pub next_attempt: Option<DateTime<Utc>>,
    pub remedy: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TokenStatus {
    pub file: String,
    pub issued: Option<DateTime<Utc>>,
    /// When this program first used it, if it is not known when it was issued.
    pub first_used: Option<DateTime<Utc>>,
    pub expires: Option<DateTime<Utc>>,
    pub last_renewed: Option<DateTime<Utc>>,
    pub rejected: bool,
    pub rejected_since: Option<DateTime<Utc>>,
    pub next_attempt: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DatePassStatus {
    /// Messages received at or after this time are considered.
    pub since: DateTime<Utc>,
}

/// Messages that are at Gmail and lack labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OwedLabelsStatus {
    pub messages: usize,
    /// Since when the first of them.
    pub since: DateTime<Utc>,
}

impl OwedLabelsStatus {
    /// None if no message lacks labels.
    pub(super) fn of(state: &State) -> Option<OwedLabelsStatus> {
        let owed = state.owed_labels();
        Some(OwedLabelsStatus {
            messages: owed.len(),
            since: owed.values().map(|owed| owed.at).min()?.trunc_subsecs(0),
        })
    }
}

impl FolderEntry {
    pub(super) fn new(name: &str, folder: &FolderState) -> FolderEntry {
        FolderEntry {
            folder: Untrusted::new(name).to_string(),
            last_pass: folder.last_sync.map(|last| last.trunc_subsecs(0)),
            cursor: CursorStatus::of(folder),
            date_pass: DatePassStatus::of(folder),
        }
    }
}

impl CursorStatus {
    pub(super) fn of(folder: &FolderState) -> Option<CursorStatus> {
        folder.cursor.as_ref().map(|cursor| CursorStatus {
            uid_validity: cursor.uid_validity.get(),
            uid: cursor.uid,
        })
    }
}

impl DatePassStatus {
    pub(super) fn of(folder: &FolderState) -> Option<DatePassStatus> {
        folder.date_pass.as_ref().map(|pass| DatePassStatus {
            since: pass.since.trunc_subsecs(0),
        })
    }
}

impl ParkedEntry {
    pub(super) fn new(
        folder: Option<&str>,
        uid: Option<u32>,
        parked: &ParkedMessage,
        now: DateTime<Utc>,
    ) -> ParkedEntry {
        let next_attempt = if parked.is_due(now) {
            now
        } else {
            parked.retry_after
        };
        let reason = if parked.why.is_empty() {
            "it is being sent".to_owned()
        } else {
            reason(&parked.why)
        };
        ParkedEntry {
            folder: folder.map(|name| Untrusted::new(name).to_string()),
            uid,
            message_id: parked.id.as_ref().map(ToString::to_string),
            since: parked.since.trunc_subsecs(0),
            attempts: parked.tries,
            next_attempt: next_attempt.trunc_subsecs(0),
            uncertain: parked.sent.is_some(),
            reason,
        }
    }
}

impl RefusedEntry {
    pub(super) fn new(folder: Option<&str>, uid: &str, refused: &RefusedMessage) -> RefusedEntry {
        RefusedEntry {
            folder: folder.map(|name| Untrusted::new(name).to_string()),
            uid: Untrusted::new(uid).to_string(),
            message_id: refused.id.as_ref().map(ToString::to_string),
            at: refused.when.trunc_subsecs(0),
            reason: reason(&refused.why),
        }
    }
}

impl TokenStatus {
    pub(super) fn new(
        token_file: &Path,
        health: TokenHealth,
        rejected: Option<&RejectedToken>,
    ) -> TokenStatus {
        let seconds = |time: Option<DateTime<Utc>>| time.map(|time| time.trunc_subsecs(0));
        TokenStatus {
            file: Untrusted::path(token_file).to_string(),
            issued: seconds(health.issued),
            first_used: seconds(health.first_used),
            expires: seconds(health.expires),
            last_renewed: seconds(health.last_used),
            rejected: rejected.is_some(),
            rejected_since: seconds(rejected.map(|rejected| rejected.since)),
            next_attempt: seconds(rejected.map(|rejected| rejected.retry_after)),
        }
    }
}

/// Text that the program composed and recorded: what is from a server in it was escaped then, unless
/// somebody else wrote the file.
pub(super) fn reason(recorded: &str) -> String {
    let escaped = escape_harmful(recorded);
    match escaped.char_indices().nth(MAX_REASON_LENGTH) {
        Some((end, _)) => format!("{}…", escaped.get(..end).unwrap_or_default()),
        None => escaped,
    }
}
