//! How much was sent to Gmail, and how long it must be left alone; pure.
//!
//! Gmail locks an account at about 500 MB of uploads in a day, for up to a day, phones included.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::error::{Consequence, RestReason};
use crate::retry::{CONNECTIONS_REST, QUOTA_REST, REJECTED_CREDENTIALS};
use crate::state::{GmailState, RejectedToken};

/// Until when the account rests, if it does.
#[must_use]
pub fn rests_until(gmail: &GmailState, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // A time that lies further in the future was written while the clock was wrong.
    let max = TimeDelta::minutes(QUOTA_REST.max_minutes.into());
    gmail
        .retry_after
        .filter(|until| *until > now && *until <= now + max)
}

/// Says whether so many octets more stay within the daily limit. A message larger than the whole
/// limit goes when nothing else was sent.
#[must_use]
pub fn allows(limit: Option<u64>, sent: u64, octets: u64) -> bool {
    limit.is_none_or(|limit| sent == 0 || sent.saturating_add(octets) <= limit)
}

/// Octets sent in the last 24 hours, to the hour.
#[must_use]
pub fn sent_in_a_day(uploaded: &BTreeMap<String, u64>, now: DateTime<Utc>) -> u64 {
    uploaded
        .iter()
        .filter(|(hour, _)| is_of_last_day(hour, now))
        .fold(0, |sum, (_, octets)| sum.saturating_add(*octets))
}

/// Counts octets that are about to be sent.
pub(super) fn count(uploaded: &mut BTreeMap<String, u64>, octets: u64, at: DateTime<Utc>) {
    let hour = uploaded.entry(hour(at)).or_default();
    *hour = hour.saturating_add(octets);
}

/// Takes back octets that were counted then and never sent.
pub(super) fn take_back(uploaded: &mut BTreeMap<String, u64>, octets: u64, at: DateTime<Utc>) {
    if let Some(hour) = uploaded.get_mut(&hour(at)) {
        *hour = hour.saturating_sub(octets);
    }
}

/// Forgets the hours that count no longer, those to come (a clock was wrong) among them.
pub(super) fn prune(uploaded: &mut BTreeMap<String, u64>, now: DateTime<Utc>) {
    uploaded.retain(|hour, _| is_of_last_day(hour, now));
}

/// What is remembered of Gmail after a failure that has consequences.
#[must_use]
pub fn after(gmail: &GmailState, consequence: &Consequence, now: DateTime<Utc>) -> GmailState {
    let mut gmail = gmail.clone();
    match consequence {
        Consequence::Rest(rest) => {
            let schedule = match rest {
                RestReason::Quota | RestReason::Refusals => QUOTA_REST,
                RestReason::Connections => CONNECTIONS_REST,
            };
            gmail.rest_minutes = schedule.next_minutes(gmail.rest_minutes);
            gmail.retry_after = Some(now + TimeDelta::minutes(i64::from(gmail.rest_minutes)));
        }
        Consequence::TokenRejected { refresh_token }
        | Consequence::LoginRejected { refresh_token } => {
            let before = gmail
                .rejected_token
                .filter(|before| before.refresh_token == *refresh_token);
            let tries = before
                .as_ref()
                .map_or(0, |before| before.tries)
                .saturating_add(1);
            gmail.rejected_token = Some(RejectedToken {
                refresh_token: refresh_token.clone(),
                since: before.map_or(now, |before| before.since),
                tries,
                retry_after: now + REJECTED_CREDENTIALS.delay_after(tries),
            });
        }
    }
    gmail
}

/// The hour of a moment, as it is written.
fn hour(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H").to_string()
}

fn is_of_last_day(hour: &str, now: DateTime<Utc>) -> bool {
    let begin = NaiveDateTime::parse_from_str(&format!("{hour}:00:00"), "%Y-%m-%dT%H:%M:%S");
    // An hour counts until its last minute is a day old.
    begin.is_ok_and(|begin| begin.and_utc() <= now && now < begin.and_utc() + TimeDelta::hours(25))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_24_hours_count_and_hours_to_come_do_not() {
        let mut uploaded = BTreeMap::new();
        count(&mut uploaded, 1, at("2026-11-21T19:59:00Z"));
        count(&mut uploaded, 10, at("2026-11-21T20:10:00Z"));
        count(&mut uploaded, 100, at("2026-11-22T20:10:00Z"));
        count(&mut uploaded, 100, at("2026-11-22T20:30:00Z"));
        count(&mut uploaded, 1000, at("2026-11-22T21:00:00Z"));
        uploaded.insert("nonsense".to_owned(), 7);
        count(&mut uploaded, 5, at("2026-11-22T20:35:00Z"));
        take_back(&mut uploaded, 5, at("2026-11-22T20:36:00Z"));
        take_back(&mut uploaded, 5, at("2026-11-20T20:36:00Z"));
        let now = at("2026-11-22T20:40:00Z");
        assert_eq!(sent_in_a_day(&uploaded, now), 210);
        prune(&mut uploaded, now);
        assert_eq!(uploaded.len(), 2);
    }

    #[test]
    fn a_message_larger_than_the_limit_goes_when_nothing_else_went() {
        assert!(allows(Some(100), 0, 500));
        assert!(allows(Some(100), 60, 40));
        assert!(!allows(Some(100), 60, 41));
        assert!(allows(None, 60, u64::MAX));
    }

    #[test]
    fn rests_double_up_to_their_longest() {
        let now = at("2026-11-22T20:40:00Z");
        let mut gmail = GmailState::default();
        let mut minutes = Vec::new();
        for _ in 0..6 {
            gmail = after(&gmail, &Consequence::Rest(RestReason::Quota), now);
            minutes.push(gmail.rest_minutes);
        }
        assert_eq!(minutes, [15, 30, 60, 120, 240, 240]);
        assert_eq!(rests_until(&gmail, now), Some(now + TimeDelta::hours(4)));
        assert_eq!(rests_until(&gmail, now + TimeDelta::hours(4)), None);
        assert_eq!(
            rests_until(&gmail, now - TimeDelta::minutes(1)),
            None,
            "a clock that jumped"
        );
        gmail = after(&gmail, &Consequence::Rest(RestReason::Connections), now);
        assert_eq!(gmail.rest_minutes, 15);
    }

    #[test]
    fn a_refused_token_is_tried_less_and_less_often_and_another_one_anew() {
        let now = at("2026-11-22T20:40:00Z");
        let refused = |token: &str| Consequence::TokenRejected {
            refresh_token: token.to_owned(),
        };
        let mut gmail = GmailState::default();
        let mut minutes = Vec::new();
        for _ in 0..5 {
            gmail = after(&gmail, &refused("a"), now);
            minutes.push((gmail.rejected_token.as_ref().unwrap().retry_after - now).num_minutes());
        }
        assert_eq!(minutes, [1, 5, 15, 60, 60]);
        gmail = after(&gmail, &refused("b"), now);
        assert_eq!(gmail.rejected_token.unwrap().tries, 1);
    }
}
