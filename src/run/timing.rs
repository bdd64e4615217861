//! How long things may take, and how fast the calendar runs: as for people, or faster in a test.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::retry::RECONNECT_DELAYS;
use crate::timeouts::{GMAIL_IDLE_TIMEOUT, Timeouts};

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// The calendar that dates, retries and the token go by.
    pub clock: Clock,
    /// For servers to answer.
    pub timeouts: Timeouts,
    /// A wait for news is followed by a look after so long, whatever the server said. Home routers
    /// forget a quiet connection after some minutes, and servers forget to tell.
    pub max_wait: Duration,
    /// The first pause after a failure.
    pub first_retry_delay: Duration,
    /// The longest.
    pub max_retry_delay: Duration,
    /// A connection to Gmail is kept so long after its last message.
    pub gmail_keep_open: Duration,
    /// A session that lived so long was a good one: what ends it is no repeated failure.
    pub stable_session: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            clock: Clock::default(),
            timeouts: Timeouts::default(),
            max_wait: Duration::from_mins(9),
            first_retry_delay: RECONNECT_DELAYS.0,
            max_retry_delay: RECONNECT_DELAYS.1,
            gmail_keep_open: GMAIL_IDLE_TIMEOUT,
            stable_session: Duration::from_secs(30),
        }
    }
}

/// The time of day: the system's, or one that runs faster.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    from: DateTime<Utc>,
    times: u32,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::accelerated(1, DateTime::UNIX_EPOCH)
    }
}

impl Clock {
    /// One that runs so many times faster than the system's from this moment on.
    #[must_use]
    pub fn accelerated(times: u32, from: DateTime<Utc>) -> Clock {
        Clock {
            from,
            times: times.max(1),
        }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let now = Utc::now();
        if self.times == 1 {
            return now;
        }
        let passed = now.signed_duration_since(self.from);
        i32::try_from(self.times)
            .ok()
            .and_then(|times| passed.checked_mul(times))
            .and_then(|passed| self.from.checked_add_signed(passed))
            .unwrap_or(now)
    }

    /// How long it is until a date: nothing if it has passed.
    #[must_use]
    pub fn duration_until(&self, date: DateTime<Utc>) -> Duration {
        let left = date.signed_duration_since(self.now());
        left.to_std().unwrap_or_default() / self.times
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_calendar_that_runs_faster_shortens_waits() {
        let calendar = Clock::accelerated(60, Utc::now());
        let hour = calendar.now() + TimeDelta::hours(1);
        let wait = calendar.duration_until(hour);
        assert!(wait <= Duration::from_mins(1) && wait > Duration::from_secs(50));
        assert_eq!(
            calendar.duration_until(hour - TimeDelta::hours(2)),
            Duration::ZERO,
            "what has passed needs no wait"
        );
    }
}
