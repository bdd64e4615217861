//! Until when to wait for news: until the first thing that is to be done without any; pure.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::pace::Calendar;

/// What is due already was just tried: not again at once, whatever its date says.
const NOT_BEFORE: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// The next thing that is to be done without news.
pub(super) struct Appointments(Instant);

impl Appointments {
    /// Nothing but a look after so long.
    pub fn within(longest: Duration) -> Appointments {
        Appointments(Instant::now() + longest)
    }

    pub fn not_after(&mut self, at: Instant) {
        self.0 = self.0.min(at);
    }

    pub fn not_after_date(&mut self, date: DateTime<Utc>, calendar: &Calendar) {
        let date = date.max(calendar.now() + NOT_BEFORE);
        self.not_after(Instant::now() + calendar.until(date));
    }

    pub fn next(&self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn wait(appointments: &Appointments) -> u64 {
        let left = appointments
            .next()
            .saturating_duration_since(Instant::now());
        // Rounded: some time has passed.
        (left + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn the_first_of_all_counts_and_never_the_past() {
        let calendar = Calendar::default();
        let mut next = Appointments::within(Duration::from_mins(9));
        assert_eq!(wait(&next), 540);
        next.not_after_date(calendar.now() + TimeDelta::hours(1), &calendar);
        assert_eq!(wait(&next), 540);
        next.not_after_date(calendar.now() + TimeDelta::minutes(5), &calendar);
        assert_eq!(wait(&next), 300);
        next.not_after(Instant::now() + Duration::from_mins(1));
        assert_eq!(wait(&next), 60);
        next.not_after_date(calendar.now() - TimeDelta::hours(1), &calendar);
        assert_eq!(wait(&next), 10, "what is overdue does not keep us busy");
    }
}
