//! Until when to wait for news: until the first thing that is to be done without any; pure.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::run::timing::Clock;

/// What is due already was just tried: not again at once, whatever its date says.
const NOT_BEFORE: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// The next thing that is to be done without news.
pub(super) struct WaitDeadline {
    next: Instant,
    earliest: Instant,
}

impl WaitDeadline {
    /// Nothing but a look after the longest time. The shortest passes in any case: an appointment
    /// that is past and that nobody struck out must not keep us busy.
    pub fn between(shortest: Duration, longest: Duration) -> WaitDeadline {
        let now = Instant::now();
        WaitDeadline {
            next: now + longest,
            earliest: now + shortest,
        }
    }

    pub fn at_latest(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }

    pub fn at_latest_date(&mut self, date: DateTime<Utc>, calendar: &Clock) {
        let date = date.max(calendar.now() + NOT_BEFORE);
        self.at_latest(Instant::now() + calendar.duration_until(date));
    }

    pub fn get(&self) -> Instant {
        self.next.max(self.earliest)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn wait(appointments: &WaitDeadline) -> u64 {
        let left = appointments.get().saturating_duration_since(Instant::now());
        // Rounded: some time has passed.
        (left + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn the_first_of_all_counts_and_never_the_past() {
        let calendar = Clock::default();
        let mut next = WaitDeadline::between(Duration::from_secs(2), Duration::from_mins(9));
        assert_eq!(wait(&next), 540);
        next.at_latest_date(calendar.now() + TimeDelta::hours(1), &calendar);
        assert_eq!(wait(&next), 540);
        next.at_latest_date(calendar.now() + TimeDelta::minutes(5), &calendar);
        assert_eq!(wait(&next), 300);
        next.at_latest(Instant::now() + Duration::from_mins(1));
        assert_eq!(wait(&next), 60);
        next.at_latest_date(calendar.now() - TimeDelta::hours(1), &calendar);
        assert_eq!(wait(&next), 10, "what is overdue does not keep us busy");
        next.at_latest(Instant::now());
        assert_eq!(wait(&next), 2, "nor does what nobody struck out");
    }
}
