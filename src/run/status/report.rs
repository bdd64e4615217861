//! The status of an account, and whether it is well. Pure.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::Serialize;

use crate::delivery::gmail_imap::STORAGE_FULL_REMEDY;
use crate::error::{Error, RestReason};
use crate::message::DeliveryMethod;
use crate::retry::REJECTED_CREDENTIALS;
use crate::run::account_sync::{account_names, describe};
use crate::run::status::entries::{
    CursorStatus, DatePassStatus, FolderEntry, LoginDelay, OwedLabelsStatus, ParkedEntry,
    RefusedEntry, RestStatus, TokenStatus, reason,
};
use crate::run::status::{AccountFacts, StatusLimits, TokenFacts};
use crate::state::{GmailState, RejectedToken, State};
use crate::timestamp::{format_duration, format_time};
use crate::untrusted::Untrusted;

/// The exit status of an account that is not well.
const NOT_WELL: u8 = 1;

/// The status of an account; its JSON form has the same names. All text in it is escaped.
#[derive(Debug, Default, Serialize)]
pub(crate) struct StatusReport {
    pub account: String,
    pub config: String,
    pub state_file: String,
    /// Whether there is no problem.
    #[serde(rename = "well")]
    pub is_well: bool,
    pub exit_status: u8,
    /// Whether copying goes on only after a person has acted.
    pub action_required: bool,
    pub problems: Vec<String>,
    /// What will become a problem.
    pub warnings: Vec<String>,
    pub source: Option<String>,
    pub target: Option<String>,
    pub last_success: Option<DateTime<Utc>>,
    pub last_success_age_seconds: Option<i64>,
    /// Of the only folder.
    pub cursor: Option<CursorStatus>,
    /// If there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<FolderEntry>,
    pub remembered_messages: Option<usize>,
    pub parked: Vec<ParkedEntry>,
    pub refused: Vec<RefusedEntry>,
    pub resting: Option<RestStatus>,
    pub source_login_delay: Option<LoginDelay>,
    pub uploaded_in_24_hours: Option<u64>,
    /// Only if messages were imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported_in_24_hours: Option<u64>,
    pub daily_upload_limit: Option<u64>,
    /// If there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owed_labels: Option<OwedLabelsStatus>,
    pub token: Option<TokenStatus>,
    pub date_pass: Option<DatePassStatus>,
}

impl StatusReport {
    /// A file of the account is wrong, or cannot be read.
    pub(super) fn add_failure(&mut self, error: &Error) {
        self.problems.push(error.to_string());
        self.exit_status = self.exit_status.max(error.kind().exit_status());
        self.action_required = true;
    }

    fn add_problem(&mut self, problem: String) {
        self.problems.push(problem);
        self.exit_status = self.exit_status.max(NOT_WELL);
    }

    fn add_action(&mut self, problem: String) {
        self.add_problem(problem);
        self.action_required = true;
    }

    /// Fills in what is known, and decides whether that is well.
    pub(super) fn describe(
        &mut self,
        facts: &AccountFacts<'_>,
        limits: StatusLimits,
        now: DateTime<Utc>,
    ) {
        self.source = Some(Untrusted::new(&facts.config.describe_source()).to_string());
        self.target = Some(Untrusted::new(&facts.config.describe_target()).to_string());
        self.daily_upload_limit = facts.config.daily_upload_limit;
        let state = match &facts.state {
            Ok(state) => state.as_ref(),
            Err(error) => {
                self.add_failure(error);
                None
            }
        };
        let last_sync = state.and_then(State::last_sync);
        let last_success = facts.last_pass.or(last_sync);
        if facts.state.is_ok() {
            if state.is_none() && last_success.is_none() {
                self.add_problem("no run was made yet".to_owned());
            } else {
                self.describe_last_success(last_success, limits.max_age, now);
            }
        }
        if let Some(state) = state {
            self.describe_account(state, facts);
            self.describe_messages(state, limits.refused_within, now);
            self.describe_gmail(&state.gmail, now);
            self.owed_labels = OwedLabelsStatus::of(state);
            self.describe_source_login(state, facts, now);
        }
        let rejected = state.and_then(|state| state.gmail.rejected_token.as_ref());
        self.describe_token(facts, rejected, last_success, now);
        self.is_well = self.problems.is_empty();
    }

    fn describe_last_success(
        &mut self,
        last: Option<DateTime<Utc>>,
        max_age: TimeDelta,
        now: DateTime<Utc>,
    ) {
        let Some(last) = last else {
            self.add_problem("no pass has been complete yet".to_owned());
            return;
        };
        let age = now.signed_duration_since(last);
        self.last_success = Some(last.trunc_subsecs(0));
        self.last_success_age_seconds = Some(age.num_seconds());
        // A time further in the future was written while the clock was wrong.
        if age.abs() > max_age {
            let last = describe_age(age);
            let max_age = format_duration(max_age.to_std().unwrap_or_default());
            self.add_problem(format!("last success {last} (more than {max_age})"));
        }
    }

    fn describe_account(&mut self, state: &State, facts: &AccountFacts<'_>) {
        let configured = account_names(facts.config);
        let other = state
            .account
            .as_ref()
            .filter(|names| !names.is_same(&configured) && state.is_bound_to_account());
        if let Some(other) = other {
            let (other, configured) = (describe(other), describe(&configured));
            self.add_action(format!(
                "the state is for {other}, and the configuration names {configured}"
            ));
        }
    }

    fn describe_messages(&mut self, state: &State, refused_within: TimeDelta, now: DateTime<Utc>) {
        self.remembered_messages = Some(state.known_id_count());
        for (name, folder) in state
            .folders()
            .filter(|(name, _)| !name.is_empty() || state.has_one_folder())
        {
            let shown = (!state.has_one_folder()).then_some(name);
            let parked = folder.parked.iter();
            let parked = parked.map(|(uid, parked)| (Some(uid.get()), parked));
            let orphans = folder.orphans().iter().map(|orphan| (None, orphan));
            self.parked.extend(
                parked
                    .chain(orphans)
                    .map(|(uid, parked)| ParkedEntry::new(shown, uid, parked, now)),
            );
            let refused = folder.refused.iter();
            self.refused
                .extend(refused.map(|(uid, refused)| RefusedEntry::new(shown, uid, refused)));
            if shown.is_some() {
                self.folders.push(FolderEntry::new(name, folder));
            } else {
                self.cursor = CursorStatus::of(folder);
                self.date_pass = DatePassStatus::of(folder);
            }
        }
        self.folders
            .sort_by(|one, other| one.folder.cmp(&other.folder));
        self.refused
            .sort_by_key(|refused| std::cmp::Reverse(refused.at));
        let is_recent =
            |refused: &&RefusedEntry| now.signed_duration_since(refused.at).abs() <= refused_within;
        match self.refused.iter().filter(is_recent).count() {
            0 => {}
            1 => self.add_problem("1 message is refused".to_owned()),
            count => self.add_problem(format!("{count} messages are refused")),
        }
    }

    fn describe_gmail(&mut self, gmail: &GmailState, now: DateTime<Utc>) {
        self.uploaded_in_24_hours = Some(gmail.sent_in_last_day(DeliveryMethod::Append, now));
        let imported = gmail.sent_in_last_day(DeliveryMethod::Import, now);
        self.imported_in_24_hours = Some(imported).filter(|octets| *octets > 0);
        self.resting = gmail.resting_until(now).map(|until| RestStatus {
            until: until.trunc_subsecs(0),
            reason: rest_reason(gmail),
        });
        if gmail.is_storage_full {
            self.add_action(format!("Gmail: {STORAGE_FULL_REMEDY}"));
        }
        if let Some(since) = gmail.limited_for_long(now) {
            let since = format_time(since);
            self.warnings.push(format!(
                "Gmail has limited the account since {since}: perhaps its storage is full"
            ));
        }
    }

    fn describe_source_login(
        &mut self,
        state: &State,
        facts: &AccountFacts<'_>,
        now: DateTime<Utc>,
    ) {
        let source = &state.source;
        if source.rejected_logins == 0 && source.limited_logins == 0 {
            return;
        }
        let max = now + REJECTED_CREDENTIALS.max_delay();
        let due = source.retry_after.filter(|due| *due > now && *due <= max);
        let next_attempt = due.filter(|_| !facts.has_corrected_credentials);
        let remedy = source.remedy.as_deref().map(reason);
        if source.limited_logins == 0 && !facts.has_corrected_credentials {
            let default = "correct source_user or the password";
            self.add_action(format!(
                "the source rejects the log-in: {}",
                remedy.as_deref().unwrap_or(default)
            ));
        }
        self.source_login_delay = Some(LoginDelay {
            rejected_logins: source.rejected_logins,
            limited_logins: source.limited_logins,
            next_attempt: next_attempt.map(|at| at.trunc_subsecs(0)),
            remedy,
        });
    }

    fn describe_token(
        &mut self,
        facts: &AccountFacts<'_>,
        rejected: Option<&RejectedToken>,
        last_success: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) {
        let TokenFacts { health, digest } = match &facts.token {
            Ok(token) => token,
            Err(error) => {
                self.add_action(error.to_string());
                return;
            }
        };
        let user = &facts.config.target.user;
        let rejected = rejected.filter(|rejected| {
            rejected.refresh_token == *digest
                && rejected
                    .user
                    .as_ref()
                    .is_none_or(|rejected| rejected == user)
                && !has_recovered(rejected, last_success)
        });
        if let Some(rejected) = rejected {
            let what = match &rejected.user {
                None => "Google rejects the token".to_owned(),
                Some(user) => format!("Gmail rejects the log-in as {}", Untrusted::new(user)),
            };
            let remedy = rejected.remedy.as_deref().map(reason);
            let remedy = remedy.unwrap_or_else(|| new_token_remedy(facts));
            self.add_action(format!("{what}: {remedy}"));
        } else if health.expires.is_some_and(|expires| expires <= now) {
            self.add_action(format!(
                "the token has expired: {}",
                new_token_remedy(facts)
            ));
        } else {
            self.warnings.extend(health.warning(now));
        }
        self.token = Some(TokenStatus::new(facts.token_file, *health, rejected));
    }
}

/// How long ago something was.
pub(crate) fn describe_age(age: TimeDelta) -> String {
    let words = |age: TimeDelta| format_duration(age.to_std().unwrap_or(Duration::ZERO));
    if age < TimeDelta::seconds(-1) {
        return format!("{} in the future", words(-age));
    }
    format!("{} ago", words(age))
}

/// Whether a pass was complete after the last rejection: a pass that needs Gmail cannot be while it
/// rejects the token. (The state forgets the rejection when Gmail accepts a message.)
fn has_recovered(rejected: &RejectedToken, last_success: Option<DateTime<Utc>>) -> bool {
    let delay = REJECTED_CREDENTIALS.delay_after(rejected.tries);
    let last_attempt = rejected.retry_after.checked_sub_signed(delay);
    last_success
        .zip(last_attempt)
        .is_some_and(|(success, attempt)| success > attempt)
}

fn new_token_remedy(facts: &AccountFacts<'_>) -> String {
    format!(
        "make a new token by \"{}\"",
        facts.config.target.auth_command
    )
}

fn rest_reason(gmail: &GmailState) -> String {
    let reason = match gmail.rest_reason {
        Some(RestReason::StorageFull) => "its storage is full",
        Some(RestReason::Quota) => "Gmail reports that it has exceeded its limits",
        Some(RestReason::DailyLimit) => "daily_upload_limit is reached",
        Some(RestReason::Refusals) => "Gmail rejected three messages in a row",
        Some(RestReason::Connections) => "Gmail reports too many connections",
        Some(RestReason::RetryAfter(_)) => "Gmail asked for it",
        // An earlier release wrote the state.
        None if gmail.is_storage_full => "its storage is full",
        None => "of a limit",
    };
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-22T20:40:00Z".parse().unwrap()
    }

    #[test]
    fn a_last_success_is_well_up_to_the_maximum_age_in_either_direction() {
        let max_age = TimeDelta::hours(1);
        let is_well = |age| {
            let mut report = StatusReport::default();
            report.describe_last_success(Some(now() - age), max_age, now());
            report.problems.is_empty()
        };
        let second = TimeDelta::seconds(1);
        assert!(is_well(max_age));
        assert!(!is_well(max_age + second));
        assert!(is_well(-second));
        assert!(!is_well(-max_age - second), "the clock was wrong");
    }

    #[test]
    fn only_a_pass_after_the_last_attempt_shows_that_a_log_in_succeeds_again() {
        let rejected = RejectedToken {
            refresh_token: String::new(),
            since: now() - TimeDelta::hours(3),
            tries: 2,
            // The second attempt was five minutes before.
            retry_after: now() + TimeDelta::minutes(5),
            user: None,
            remedy: None,
        };
        let second = TimeDelta::seconds(1);
        assert!(has_recovered(&rejected, Some(now() + second)));
        assert!(!has_recovered(&rejected, Some(now() - second)));
        assert!(!has_recovered(&rejected, None));
    }

    #[test]
    fn a_rest_has_the_reason_that_the_state_holds() {
        let reason = |gmail: &GmailState| {
            let mut report = StatusReport::default();
            report.describe_gmail(gmail, now());
            report.resting.map(|rest| rest.reason)
        };
        let mut gmail = GmailState {
            retry_after: Some(now() + TimeDelta::minutes(15)),
            rest_reason: Some(RestReason::Connections),
            ..GmailState::default()
        };
        assert_eq!(
            reason(&gmail).unwrap(),
            "Gmail reports too many connections"
        );
        gmail.rest_reason = None;
        assert_eq!(reason(&gmail).unwrap(), "of a limit");
        gmail.retry_after = Some(now());
        assert_eq!(reason(&gmail), None);
    }

    #[test]
    fn an_age_is_in_words() {
        assert_eq!(describe_age(TimeDelta::minutes(5)), "5 min ago");
        assert_eq!(describe_age(TimeDelta::milliseconds(-900)), "0 s ago");
        assert_eq!(describe_age(TimeDelta::minutes(-5)), "5 min in the future");
    }
}
