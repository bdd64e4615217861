//! Notices that the host was suspended, by comparing the wall clock with the monotonic clock, which
//! stops during suspend.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// Connections outlive a shorter suspend, and time synchronization sets a clock by less.
const MIN_SUSPEND: TimeDelta = TimeDelta::seconds(10);

/// Both clocks at one moment.
pub(crate) struct ClockReading {
    wall_clock: DateTime<Utc>,
    monotonic: Instant,
}

impl ClockReading {
    pub fn now() -> ClockReading {
        ClockReading {
            wall_clock: Utc::now(),
            monotonic: Instant::now(),
        }
    }

    /// The time since then, without suspends.
    pub fn elapsed(&self) -> Duration {
        self.monotonic.elapsed()
    }

    /// How long the host was suspended in between, if it was. A clock that was set forward looks the
    /// same, and does no harm.
    pub fn suspended_until(&self, later: &ClockReading) -> Option<Duration> {
        let ahead = self.divergence(later);
        ahead.to_std().ok().filter(|_| ahead >= MIN_SUSPEND)
    }

    /// Whether the host was suspended in between, or its clock was set forward or back.
    pub fn clocks_diverged_until(&self, later: &ClockReading) -> bool {
        self.divergence(later).abs() > MIN_SUSPEND
    }

    /// By how much more the wall clock advanced than the monotonic clock.
    fn divergence(&self, later: &ClockReading) -> TimeDelta {
        let monotonic = later.monotonic.saturating_duration_since(self.monotonic);
        let monotonic = TimeDelta::from_std(monotonic).unwrap_or_default();
        later.wall_clock - self.wall_clock - monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspend_lasted_as_long_as_the_wall_clock_is_ahead() {
        let before = ClockReading::now();
        let suspended = |wall: u64, monotonic: u64| {
            before.suspended_until(&ClockReading {
                wall_clock: before.wall_clock + Duration::from_secs(wall),
                monotonic: before.monotonic + Duration::from_secs(monotonic),
            })
        };
        assert_eq!(suspended(540, 540), None);
        assert_eq!(suspended(545, 540), None, "time synchronization");
        assert_eq!(suspended(3700, 100), Some(Duration::from_hours(1)));
        let set_back = ClockReading {
            wall_clock: before.wall_clock - Duration::from_hours(1),
            monotonic: before.monotonic,
        };
        assert_eq!(before.suspended_until(&set_back), None);
    }

    #[test]
    fn clocks_that_differ_by_more_than_ten_seconds_have_diverged() {
        let before = ClockReading::now();
        let later = |wall: i64| ClockReading {
            wall_clock: if wall < 0 {
                before.wall_clock - Duration::from_secs(wall.unsigned_abs())
            } else {
                before.wall_clock + Duration::from_secs(wall.unsigned_abs())
            },
            monotonic: before.monotonic + Duration::from_secs(5),
        };
        let cases = [
            (5, false),
            (14, false),
            (16, true),
            (3600, true),
            (-6, true),
        ];
        for (wall, expected) in cases {
            assert_eq!(
                before.clocks_diverged_until(&later(wall)),
                expected,
                "{wall}"
            );
        }
    }
}
