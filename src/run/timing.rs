//! The delays and time-outs of a run, and its clock; tests shorten and accelerate them.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::retry::RECONNECT_DELAYS;
use crate::timeouts::{GMAIL_IDLE_TIMEOUT, Timeouts};

/// The delays and time-outs of a run, and its clock.
#[derive(Debug, Clone)]
pub struct Timing {
    /// The clock for dates, retries and the token.
    pub clock: Clock,
    /// The time-outs of connections.
    pub timeouts: Timeouts,
    /// A check follows a wait after this time even without new mail, because routers drop quiet
    /// connections and servers forget to report new mail.
    pub max_wait: Duration,
    /// The delay after the first failure of a side.
    pub first_retry_delay: Duration,
    /// The longest delay after a failure.
    pub max_retry_delay: Duration,
    /// How long the connections to Gmail stay open after the last message.
    pub gmail_keep_open: Duration,
    /// A session that lasts this long is stable: its end is not another failure in a row.
    pub stable_session: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let timeouts = Timeouts::default();
        Timing {
            clock: Clock::default(),
            timeouts,
            max_wait: timeouts.idle_max,
            first_retry_delay: RECONNECT_DELAYS.0,
            max_retry_delay: RECONNECT_DELAYS.1,
            gmail_keep_open: GMAIL_IDLE_TIMEOUT,
            stable_session: Duration::from_secs(30),
        }
    }
}

/// The wall clock: the system's, or one that runs faster.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: DateTime<Utc>,
    speed: u32,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::accelerated(1, DateTime::UNIX_EPOCH)
    }
}

impl Clock {
    /// A clock that shows `start` when the system's does, and from then on runs `speed` times faster.
    #[must_use]
    pub fn accelerated(speed: u32, start: DateTime<Utc>) -> Clock {
        Clock {
            start,
            speed: speed.max(1),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let now = Utc::now();
        if self.speed == 1 {
            return now;
        }
        let passed = now.signed_duration_since(self.start);
        i32::try_from(self.speed)
            .ok()
            .and_then(|speed| passed.checked_mul(speed))
            .and_then(|passed| self.start.checked_add_signed(passed))
            .unwrap_or(now)
    }

    /// How long to wait until a date on this clock; zero if it has passed.
    #[must_use]
    pub fn duration_until(&self, date: DateTime<Utc>) -> Duration {
        let left = date.signed_duration_since(self.now());
        left.to_std().unwrap_or_default() / self.speed
    }
}

/// The time of a retry: a date on the wall clock, or the same time on the monotonic clock, whichever
/// comes first. Neither a clock that is set back nor a suspended host delays the retry.
pub(crate) struct RetryTime {
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

    #[test]
    fn an_accelerated_clock_shortens_waits() {
        let clock = Clock::accelerated(60, Utc::now());
        let hour = clock.now() + TimeDelta::hours(1);
        let wait = clock.duration_until(hour);
        assert!(wait <= Duration::from_mins(1) && wait > Duration::from_secs(50));
        assert_eq!(
            clock.duration_until(hour - TimeDelta::hours(2)),
            Duration::ZERO,
            "the date has passed"
        );
    }

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
