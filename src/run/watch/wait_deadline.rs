//! When a wait for new mail must end: at the first thing that is due without new mail. Pure.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::timing::Clock;

/// What is due already has just been tried, so it is not tried again before this has passed.
const MIN_RETRY_DELAY: TimeDelta = TimeDelta::seconds(10);

pub(super) struct WaitDeadline {
    deadline: Instant,
    min_deadline: Instant,
}

impl WaitDeadline {
    /// A wait of `max`, which later calls shorten, but not below `min`: something that stays due
    /// must not make a busy loop.
    pub fn between(min: Duration, max: Duration) -> WaitDeadline {
        let now = Instant::now();
        WaitDeadline {
            deadline: now + max,
            min_deadline: now + min,
        }
    }

    pub fn at_latest(&mut self, at: impl Into<Option<Instant>>) {
        if let Some(at) = at.into() {
            self.deadline = self.deadline.min(at);
        }
    }

    pub fn at_latest_date(&mut self, date: impl Into<Option<DateTime<Utc>>>, clock: &Clock) {
        if let Some(date) = date.into() {
            let date = date.max(clock.now() + MIN_RETRY_DELAY);
            self.at_latest(Instant::now() + clock.duration_until(date));
        }
    }

    pub fn get(&self) -> Instant {
        self.deadline.max(self.min_deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds_left(deadline: &WaitDeadline) -> u64 {
        let left = deadline.get().saturating_duration_since(Instant::now());
        // Rounded, because some time has passed.
        (left + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn the_earliest_holds_but_never_the_past() {
        let clock = Clock::default();
        let mut deadline = WaitDeadline::between(Duration::from_secs(2), Duration::from_mins(9));
        assert_eq!(seconds_left(&deadline), 540);
        deadline.at_latest_date(clock.now() + TimeDelta::hours(1), &clock);
        assert_eq!(seconds_left(&deadline), 540);
        deadline.at_latest_date(clock.now() + TimeDelta::minutes(5), &clock);
        assert_eq!(seconds_left(&deadline), 300);
        deadline.at_latest(Instant::now() + Duration::from_mins(1));
        assert_eq!(seconds_left(&deadline), 60);
        deadline.at_latest_date(clock.now() - TimeDelta::hours(1), &clock);
        assert_eq!(seconds_left(&deadline), 10, "an overdue date");
        deadline.at_latest(Instant::now());
        assert_eq!(seconds_left(&deadline), 2, "something that stays due");
    }
}
