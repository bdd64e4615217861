//! Limits on uploads to Gmail: the daily limit, rests of the account, a rejected token. Pure.
//!
//! Gmail locks an account for up to a day at about 500 MB of uploads a day, phones included
//! (GMAIL.md 6.1).

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::error::{Consequence, RestReason};
use crate::message::DeliveryMethod;
use crate::retry::{CONNECTIONS_REST, QUOTA_REST, REJECTED_CREDENTIALS};
use crate::state::{GmailState, RejectedToken};

/// Gmail's limits are for a day (GMAIL.md 6.1).
const LONG_LIMIT: TimeDelta = TimeDelta::hours(24);

/// Whether a message of this size may be uploaded after `sent` octets in the last 24 hours. A
/// message larger than the limit may, once nothing else was uploaded.
pub(crate) fn allows(limit: Option<u64>, sent: u64, octets: u64) -> bool {
    limit.is_none_or(|limit| sent == 0 || sent.saturating_add(octets) <= limit)
}

impl GmailState {
    /// The end of the account's rest, if it rests.
    #[must_use]
    pub fn resting_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // A time further away than the longest rest was written while the clock was wrong.
        let max = TimeDelta::minutes(QUOTA_REST.max_minutes.into());
        self.retry_after
            .filter(|until| *until > now && *until <= now + max)
    }

    /// Since when Gmail has limited the account, if that has lasted so long that it may be for
    /// another reason than what was sent in a day.
    pub(crate) fn limited_for_long(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.limited_since
            .filter(|since| now - *since >= LONG_LIMIT)
    }

    /// Gmail has accepted a message.
    pub(super) fn record_accepted(&mut self, at: DateTime<Utc>) {
        self.last_accepted = Some(at);
        self.rest_minutes = 0;
        self.rest_reason = None;
        self.rejected_token = None;
        self.is_storage_full = false;
        self.limited_since = None;
    }

    /// Octets sent by this method in the last 24 hours, rounded up to whole hours.
    pub(crate) fn sent_in_last_day(&self, method: DeliveryMethod, now: DateTime<Utc>) -> u64 {
        let by_hour = match method {
            DeliveryMethod::Append => &self.uploaded,
            DeliveryMethod::Import => &self.imported,
        };
        by_hour
            .iter()
            .filter(|(hour, _)| is_in_last_day(hour, now))
            .fold(0, |sum, (_, octets)| sum.saturating_add(*octets))
    }

    /// Counts octets that are about to be uploaded.
    pub(super) fn add_upload(&mut self, method: DeliveryMethod, octets: u64, at: DateTime<Utc>) {
        let hour = self.sent_by(method).entry(hour(at)).or_default();
        *hour = hour.saturating_add(octets);
    }

    /// Subtracts octets that were counted at this time and not uploaded.
    pub(super) fn subtract_upload(
        &mut self,
        method: DeliveryMethod,
        octets: u64,
        at: DateTime<Utc>,
    ) {
        if let Some(hour) = self.sent_by(method).get_mut(&hour(at)) {
            *hour = hour.saturating_sub(octets);
        }
    }

    fn sent_by(&mut self, method: DeliveryMethod) -> &mut BTreeMap<String, u64> {
        match method {
            DeliveryMethod::Append => &mut self.uploaded,
            DeliveryMethod::Import => &mut self.imported,
        }
    }

    /// Drops hours that no longer count, and hours in the future (the clock was wrong).
    pub(super) fn prune_uploads(&mut self, now: DateTime<Utc>) {
        self.uploaded.retain(|hour, _| is_in_last_day(hour, now));
        self.imported.retain(|hour, _| is_in_last_day(hour, now));
    }

    /// The state after a failure with this consequence.
    pub(crate) fn after_failure(
        &self,
        consequence: &Consequence,
        now: DateTime<Utc>,
    ) -> GmailState {
        let mut gmail = self.clone();
        match consequence {
            Consequence::Rest(reason) => {
                let schedule = match reason {
                    RestReason::Quota
                    | RestReason::DailyLimit
                    | RestReason::StorageFull
                    | RestReason::Refusals
                    | RestReason::RetryAfter(_) => QUOTA_REST,
                    RestReason::Connections => CONNECTIONS_REST,
                };
                match reason {
                    RestReason::StorageFull => gmail.is_storage_full = true,
                    RestReason::Quota | RestReason::RetryAfter(_) => {
                        gmail.is_storage_full = false;
                        gmail.limited_since.get_or_insert(now);
                    }
                    RestReason::DailyLimit | RestReason::Refusals | RestReason::Connections => {}
                }
                gmail.rest_reason = Some(*reason);
                gmail.rest_minutes = match reason {
                    RestReason::RetryAfter(minutes) => (*minutes).clamp(1, schedule.max_minutes),
                    _ => schedule.next_minutes(gmail.rest_minutes),
                };
                gmail.retry_after = Some(now + TimeDelta::minutes(i64::from(gmail.rest_minutes)));
            }
            Consequence::TokenRejected {
                refresh_token,
                remedy,
            } => gmail.record_rejection(refresh_token, None, remedy, now),
            Consequence::LoginRejected {
                refresh_token,
                user,
                remedy,
            } => gmail.record_rejection(refresh_token, Some(user), remedy, now),
            Consequence::SourceLoginLimited => {}
        }
        gmail
    }

    fn record_rejection(
        &mut self,
        refresh_token: &str,
        user: Option<&String>,
        remedy: &str,
        now: DateTime<Utc>,
    ) {
        let before = self
            .rejected_token
            .take()
            .filter(|before| before.refresh_token == refresh_token && before.user.as_ref() == user);
        let tries = before.as_ref().map_or(0, |before| before.tries);
        let tries = tries.saturating_add(1);
        self.rejected_token = Some(RejectedToken {
            refresh_token: refresh_token.to_owned(),
            since: before.map_or(now, |before| before.since),
            tries,
            retry_after: now + REJECTED_CREDENTIALS.delay_after(tries),
            user: user.cloned(),
            remedy: Some(remedy.to_owned()),
        });
    }
}

/// The key of the hour that a time is in.
fn hour(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H").to_string()
}

fn is_in_last_day(hour: &str, now: DateTime<Utc>) -> bool {
    let begin = NaiveDateTime::parse_from_str(&format!("{hour}:00:00"), "%Y-%m-%dT%H:%M:%S");
    // An hour counts until its last minute is a day old.
    begin.is_ok_and(|begin| begin.and_utc() <= now && now < begin.and_utc() + TimeDelta::hours(25))
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPEND: DeliveryMethod = DeliveryMethod::Append;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_24_hours_count_and_hours_in_the_future_do_not() {
        let mut gmail = GmailState::default();
        gmail.add_upload(APPEND, 1, at("2026-11-21T19:59:00Z"));
        gmail.add_upload(APPEND, 10, at("2026-11-21T20:10:00Z"));
        gmail.add_upload(APPEND, 100, at("2026-11-22T20:10:00Z"));
        gmail.add_upload(APPEND, 100, at("2026-11-22T20:30:00Z"));
        gmail.add_upload(APPEND, 1000, at("2026-11-22T21:00:00Z"));
        gmail.uploaded.insert("nonsense".to_owned(), 7);
        gmail.add_upload(APPEND, 5, at("2026-11-22T20:35:00Z"));
        gmail.subtract_upload(APPEND, 5, at("2026-11-22T20:36:00Z"));
        gmail.subtract_upload(APPEND, 5, at("2026-11-20T20:36:00Z"));
        let now = at("2026-11-22T20:40:00Z");
        gmail.add_upload(DeliveryMethod::Import, 3, at("2026-11-22T20:30:00Z"));
        assert_eq!(gmail.sent_in_last_day(APPEND, now), 210);
        assert_eq!(gmail.sent_in_last_day(DeliveryMethod::Import, now), 3);
        gmail.prune_uploads(now);
        assert_eq!(gmail.uploaded.len(), 2);
    }

    #[test]
    fn a_message_larger_than_the_limit_is_sent_when_nothing_else_was() {
        assert!(allows(Some(100), 0, 500));
        assert!(allows(Some(100), 60, 40));
        assert!(!allows(Some(100), 60, 41));
        assert!(allows(None, 60, u64::MAX));
    }

    #[test]
    fn each_rest_is_twice_as_long_up_to_the_longest() {
        let now = at("2026-11-22T20:40:00Z");
        let mut gmail = GmailState::default();
        let mut minutes = Vec::new();
        for _ in 0..6 {
            gmail = gmail.after_failure(&Consequence::Rest(RestReason::Quota), now);
            minutes.push(gmail.rest_minutes);
        }
        assert_eq!(minutes, [15, 30, 60, 120, 240, 240]);
        assert_eq!(gmail.resting_until(now), Some(now + TimeDelta::hours(4)));
        assert_eq!(gmail.resting_until(now + TimeDelta::hours(4)), None);
        assert_eq!(
            gmail.resting_until(now - TimeDelta::minutes(1)),
            None,
            "a clock that jumped"
        );
        gmail = gmail.after_failure(&Consequence::Rest(RestReason::Connections), now);
        assert_eq!(gmail.rest_minutes, 15);
    }

    #[test]
    fn a_rest_lasts_as_long_as_gmail_says_up_to_the_longest() {
        let now = at("2026-11-22T20:40:00Z");
        for (said, expected) in [(0, 1), (7, 7), (90, 90), (1_000, 240)] {
            let consequence = Consequence::Rest(RestReason::RetryAfter(said));
            let gmail = GmailState::default().after_failure(&consequence, now);
            assert_eq!(gmail.rest_minutes, expected, "{said}");
            let until = now + TimeDelta::minutes(expected.into());
            assert_eq!(gmail.resting_until(now), Some(until), "{said}");
        }
    }

    #[test]
    fn a_rejected_token_is_tried_less_and_less_often_and_another_one_at_once() {
        let now = at("2026-11-22T20:40:00Z");
        let rejected = |token: &str| Consequence::TokenRejected {
            refresh_token: token.to_owned(),
            remedy: "make a new token".to_owned(),
        };
        let mut gmail = GmailState::default();
        let mut minutes = Vec::new();
        for _ in 0..5 {
            gmail = gmail.after_failure(&rejected("a"), now);
            minutes.push((gmail.rejected_token.as_ref().unwrap().retry_after - now).num_minutes());
        }
        assert_eq!(minutes, [1, 5, 15, 60, 60]);
        gmail = gmail.after_failure(&rejected("b"), now);
        assert_eq!(gmail.rejected_token.unwrap().tries, 1);
    }
}
