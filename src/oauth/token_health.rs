//! How a refresh token is: its age, when it dies, and of what it probably died.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::oauth::token_file::moment;

/// How long a refresh token of an app in "Testing" lives (GMAIL.md 7.4).
const IN_TESTING: TimeDelta = TimeDelta::days(7);

/// A refresh token that nobody used for so long is worthless: six months (GMAIL.md 7.4), less a
/// few days because Google does not say how it counts.
const UNUSED: TimeDelta = TimeDelta::days(175);

/// How exactly Google is believed to keep to these times.
const MORE_OR_LESS: TimeDelta = TimeDelta::hours(2);

/// So long before it dies a person is told.
const WARNED: TimeDelta = TimeDelta::days(2);

/// What is known of a refresh token's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenHealth {
    /// When Google gave it.
    pub issued: Option<DateTime<Utc>>,
    /// When this program first used it: it is at least so old.
    pub first_used: Option<DateTime<Utc>>,
    /// When Google will not take it any more; said only of an app in "Testing".
    pub expires: Option<DateTime<Utc>>,
    /// When it last gave an access token.
    pub last_used: Option<DateTime<Utc>>,
    /// When that access token expires.
    pub access_token_expires: Option<DateTime<Utc>>,
}

impl TokenHealth {
    /// What a person should do before it is too late, if anything.
    #[must_use]
    pub fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let expires = self
            .expires
            .filter(|expires| expires.signed_duration_since(now) <= WARNED)?;
        Some(format!(
            "the app is in \"Testing\", and the token dies at {}",
            moment(expires)
        ))
    }

    /// Why Google probably refuses it, the likeliest first.
    #[must_use]
    pub fn likely_causes(&self, now: DateTime<Utc>) -> String {
        if self.expires.is_some_and(|expires| expires <= now) {
            return "the app is in \"Testing\", where a token lives 7 days (publish it)".to_owned();
        }
        let mut causes = Vec::new();
        if self.may_be_in_testing(now) {
            causes.push("the app is in \"Testing\", where a token lives 7 days (publish it)");
        }
        causes.extend(["the account's password was changed", "access was revoked"]);
        if self.may_have_been_unused(now) {
            causes.push("the token was unused for 6 months");
        }
        causes.join(", or ")
    }

    /// Says whether it may have died at the end of its seven days: it was not used after them, and
    /// they are over.
    fn may_be_in_testing(&self, now: DateTime<Utc>) -> bool {
        let first = self.issued.or(self.first_used);
        let worked_longer = first.zip(self.last_used).is_some_and(|(first, last)| {
            last.signed_duration_since(first) > IN_TESTING + MORE_OR_LESS
        });
        let is_younger = self
            .issued
            .is_some_and(|issued| now.signed_duration_since(issued) < IN_TESTING - MORE_OR_LESS);
        !worked_longer && !is_younger
    }

    fn may_have_been_unused(&self, now: DateTime<Utc>) -> bool {
        let last = self.last_used.or(self.issued).or(self.first_used);
        last.is_none_or(|last| now.signed_duration_since(last) >= UNUSED)
    }
}

impl fmt::Display for TokenHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.issued, self.first_used) {
            (Some(issued), _) => parts.push(format!("made at {}", moment(issued))),
            (None, Some(first)) => parts.push(format!("in use since {}", moment(first))),
            (None, None) => parts.push("of unknown age".to_owned()),
        }
        if let Some(expires) = self.expires {
            parts.push(format!("dies at {}", moment(expires)));
        }
        if let Some(access_token_expires) = self.access_token_expires {
            parts.push(format!(
                "access token until {}",
                moment(access_token_expires)
            ));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTING: &str = "the app is in \"Testing\", where a token lives 7 days (publish it)";
    const UNUSED: &str = "the token was unused for 6 months";

    fn day(days: i64) -> DateTime<Utc> {
        let first: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        first + TimeDelta::days(days)
    }

    /// Which of the two causes that age tells about are named, for a token known from these days,
    /// refused today.
    fn named(health: TokenHealth, today: i64) -> (bool, bool) {
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
        // Refused younger than seven days: it is not "Testing".
        assert_eq!(named(issued(0, 3), 4), (false, false));
        // Refused just after them.
        assert_eq!(named(issued(0, 6), 7), (true, false));
        // It worked on the tenth day.
        assert_eq!(named(issued(0, 10), 11), (false, false));
        // Not used since the second day.
        assert_eq!(named(issued(0, 2), 100), (true, false));
        assert_eq!(named(issued(0, 2), 200), (true, true));
        assert_eq!(named(issued(0, 30), 300), (false, true));
        // Of one that another program made, the age is a lower bound.
        let used = |first: i64, last: i64| TokenHealth {
            first_used: Some(day(first)),
            last_used: Some(day(last)),
            ..TokenHealth::default()
        };
        assert_eq!(named(used(0, 3), 4), (true, false));
        assert_eq!(named(used(0, 8), 9), (false, false));
        // Nothing is known: nothing is excluded.
        assert_eq!(named(TokenHealth::default(), 0), (true, true));
    }

    #[test]
    fn a_known_end_is_the_cause_and_is_announced() {
        let health = TokenHealth {
            issued: Some(day(0)),
            expires: Some(day(7)),
            ..TokenHealth::default()
        };
        assert_eq!(health.likely_causes(day(7)), TESTING);
        assert_eq!(health.warning(day(4)), None);
        assert_eq!(
            health.warning(day(5)).unwrap(),
            "the app is in \"Testing\", and the token dies at 2026-01-08T00:00:00Z"
        );
        assert_eq!(TokenHealth::default().warning(day(0)), None);
    }

    #[test]
    fn a_person_reads_it() {
        let health = TokenHealth {
            issued: Some(day(0)),
            expires: Some(day(7)),
            access_token_expires: Some(day(1)),
            ..TokenHealth::default()
        };
        assert_eq!(
            health.to_string(),
            "made at 2026-01-01T00:00:00Z, dies at 2026-01-08T00:00:00Z, access token until \
             2026-01-02T00:00:00Z"
        );
        assert_eq!(TokenHealth::default().to_string(), "of unknown age");
    }
}
