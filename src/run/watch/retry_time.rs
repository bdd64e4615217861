//! The time of a retry, on clocks that may be set and hosts that may be suspended.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::run::timing::Clock;

/// The time of a retry: a date on the wall clock, or the same time on the monotonic clock, whichever
/// comes first. Neither a clock that is set back nor a suspended host delays the retry.
pub(super) struct RetryTime {
    date: DateTime<Utc>,
    instant: Instant,
}

impl RetryTime {
    pub fn at(date: DateTime<Utc>, clock: &Clock) -> RetryTime {
        RetryTime {
            date,
            instant: Instant::now() + clock.duration_until(date),
        }
    }

    /// How long it is until then; `None` if the time has come.
    pub fn time_left(&self, clock: &Clock) -> Option<Duration> {
        let left = self.instant.saturating_duration_since(Instant::now());
        Some(clock.duration_until(self.date).min(left)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// A clock that is this many hours ahead.
    fn ahead_by(hours: i64) -> Clock {
        // Twice as fast since as many hours ago.
        Clock::accelerated(2, Utc::now() - TimeDelta::hours(hours))
    }

    #[test]
    fn a_retry_is_due_on_its_date_or_after_as_much_time() {
        let right = ahead_by(0);
        let retry = RetryTime::at(right.now() + TimeDelta::minutes(1), &right);
        let left = retry.time_left(&right).unwrap();
        assert!(left <= Duration::from_secs(30), "{left:?}");
        assert_eq!(
            retry.time_left(&ahead_by(1)),
            None,
            "the host was suspended"
        );
        let left = retry.time_left(&ahead_by(-1)).unwrap();
        assert!(left <= Duration::from_secs(30), "set back: {left:?}");
        let passed = RetryTime {
            instant: Instant::now(),
            ..retry
        };
        assert_eq!(
            passed.time_left(&ahead_by(-1)),
            None,
            "set back, and the time has passed"
        );
    }
}
