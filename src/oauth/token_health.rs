//! The health of a refresh token: its age, when it expires, and the likely causes of a rejection.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::timestamp::format_time;

/// A refresh token of an app in "Testing" expires after this long (GMAIL.md 7.4).
const TESTING_LIFETIME: TimeDelta = TimeDelta::days(7);

/// A refresh token expires when it is unused for six months (GMAIL.md 7.4); less a few days, because
/// Google does not say how it counts.
const UNUSED_LIFETIME: TimeDelta = TimeDelta::days(175);

/// How far Google's expiry may differ from these times.
const TOLERANCE: TimeDelta = TimeDelta::hours(2);

/// The warning begins this long before the refresh token expires.
const WARNING_PERIOD: TimeDelta = TimeDelta::days(2);

/// The cause of a rejection that the user can prevent.
const TESTING_EXPIRY: &str =
    "the app is in \"Testing\", where a token expires after 7 days (publish it)";

/// What is known about a refresh token's age and expiry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TokenHealth {
    /// When Google issued it.
    pub(crate) issued: Option<DateTime<Utc>>,
    /// When this program first used it: its minimum age.
    pub(crate) first_used: Option<DateTime<Utc>>,
    /// When it expires; Google announces this only for an app in "Testing".
    pub(crate) expires: Option<DateTime<Utc>>,
    /// When it was last used for a renewal.
    pub(crate) last_used: Option<DateTime<Utc>>,
    /// When the current access token expires.
    pub(crate) access_token_expires: Option<DateTime<Utc>>,
}

impl TokenHealth {
    /// The warning that the refresh token expires soon, if it does.
    pub(crate) fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let expires = self
            .expires
            .filter(|expires| expires.signed_duration_since(now) <= WARNING_PERIOD)?;
        Some(format!(
            "the app is in \"Testing\", and the token expires at {}",
            format_time(expires)
        ))
    }

    /// Why Google probably rejects it, the most likely cause first.
    pub(crate) fn likely_causes(&self, now: DateTime<Utc>) -> String {
        if self.expires.is_some_and(|expires| expires <= now) {
            return TESTING_EXPIRY.to_owned();
        }
        let mut causes = Vec::new();
        if self.may_be_in_testing(now) {
            causes.push(TESTING_EXPIRY);
        }
        causes.extend(["the account's password was changed", "access was revoked"]);
        if self.may_have_been_unused(now) {
            causes.push("the token was unused for 6 months");
        }
        causes.join(", or ")
    }

    /// Whether the seven days of "Testing" may be the cause: they are over, and the token was never
    /// used after them.
    fn may_be_in_testing(&self, now: DateTime<Utc>) -> bool {
        let first = self.issued.or(self.first_used);
        let worked_longer = first.zip(self.last_used).is_some_and(|(first, last)| {
            last.signed_duration_since(first) > TESTING_LIFETIME + TOLERANCE
        });
        let is_younger = self
            .issued
            .is_some_and(|issued| now.signed_duration_since(issued) < TESTING_LIFETIME - TOLERANCE);
        !worked_longer && !is_younger
    }

    fn may_have_been_unused(&self, now: DateTime<Utc>) -> bool {
        let last = self.last_used.or(self.issued).or(self.first_used);
        last.is_none_or(|last| now.signed_duration_since(last) >= UNUSED_LIFETIME)
    }
}

impl fmt::Display for TokenHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |time: DateTime<Utc>| format_time(time);
        match (self.issued, self.first_used) {
            (Some(issued), _) => write!(f, "issued at {}", at(issued))?,
            (None, Some(first)) => write!(f, "in use since {}", at(first))?,
            (None, None) => f.write_str("of unknown age")?,
        }
        if let Some(expires) = self.expires {
            write!(f, ", expires at {}", at(expires))?;
        }
        if let Some(expires) = self.access_token_expires {
            write!(f, ", access token expires at {}", at(expires))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTING: &str =
        "the app is in \"Testing\", where a token expires after 7 days (publish it)";
    const UNUSED: &str = "the token was unused for 6 months";

    fn day(days: i64) -> DateTime<Utc> {
        let first: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        first + TimeDelta::days(days)
    }

    /// Whether the causes "Testing" and "unused" are named for a token that is rejected today.
    fn named_causes(health: TokenHealth, today: i64) -> (bool, bool) {
        let causes = health.likely_causes(day(today));
        (causes.contains(TESTING), causes.contains(UNUSED))
    }

    #[test]
    fn the_likely_cause_follows_from_the_age() {
        let issued = |issued: i64, last: i64| TokenHealth {
            issued: Some(day(issued)),
            last_used: Some(day(last)),
            ..TokenHealth::default()
        };
        // Rejected before seven days: it is not "Testing".
        assert_eq!(named_causes(issued(0, 3), 4), (false, false));
        // Rejected just after them.
        assert_eq!(named_causes(issued(0, 6), 7), (true, false));
        // It worked on the tenth day.
        assert_eq!(named_causes(issued(0, 10), 11), (false, false));
        // Not used since the second day.
        assert_eq!(named_causes(issued(0, 2), 100), (true, false));
        assert_eq!(named_causes(issued(0, 2), 200), (true, true));
        assert_eq!(named_causes(issued(0, 30), 300), (false, true));
        // Another program obtained it: the age is a lower bound.
        let used = |first: i64, last: i64| TokenHealth {
            first_used: Some(day(first)),
            last_used: Some(day(last)),
            ..TokenHealth::default()
        };
        assert_eq!(named_causes(used(0, 3), 4), (true, false));
        assert_eq!(named_causes(used(0, 8), 9), (false, false));
        // Nothing is known: nothing is excluded.
        assert_eq!(named_causes(TokenHealth::default(), 0), (true, true));
    }

    #[test]
    fn a_known_expiry_is_the_cause_and_is_warned_of() {
        let health = TokenHealth {
            issued: Some(day(0)),
            expires: Some(day(7)),
            ..TokenHealth::default()
        };
        assert_eq!(health.likely_causes(day(7)), TESTING);
        assert_eq!(health.warning(day(4)), None);
        assert_eq!(
            health.warning(day(5)).unwrap(),
            format!(
                "the app is in \"Testing\", and the token expires at {}",
                format_time(day(7))
            )
        );
        assert_eq!(TokenHealth::default().warning(day(0)), None);
    }

    #[test]
    fn the_description_names_what_is_known() {
        let health = TokenHealth {
            issued: Some(day(0)),
            expires: Some(day(7)),
            access_token_expires: Some(day(1)),
            ..TokenHealth::default()
        };
        assert_eq!(
            health.to_string(),
            format!(
                "issued at {}, expires at {}, access token expires at {}",
                format_time(day(0)),
                format_time(day(7)),
                format_time(day(1))
            )
        );
        assert_eq!(TokenHealth::default().to_string(), "of unknown age");
    }
}
