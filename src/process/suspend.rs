//! Both clocks of the host. While it sleeps, only one of them goes on.

use std::time::{Duration, Instant, SystemTime};

/// Connections outlive a shorter sleep; and a clock that is set right by seconds is no sleep.
const SHORTEST: Duration = Duration::from_secs(10);

/// Clocks that went apart so far were not just set right by a little.
const JUMP: Duration = Duration::from_secs(10);

/// What both clocks showed at a moment.
pub(crate) struct ClockReading {
    wall_clock: SystemTime,
    monotonic: Instant,
}

impl ClockReading {
    pub fn now() -> ClockReading {
        ClockReading {
            wall_clock: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    /// How long it is since then, sleep apart.
    pub fn elapsed(&self) -> Duration {
        self.monotonic.elapsed()
    }

    /// How long the host has slept since, if it has; or its clock was set on by so much, which
    /// cannot be told apart and does no harm.
    pub fn suspended_for(&self) -> Option<Duration> {
        self.suspended_until(&ClockReading::now())
    }

    /// Whether the host has slept since, or its clock was set, forward or back.
    pub fn clocks_diverged(&self) -> bool {
        self.clocks_diverged_until(&ClockReading::now())
    }

    fn clocks_diverged_until(&self, later: &ClockReading) -> bool {
        let steady = later.monotonic.saturating_duration_since(self.monotonic);
        let apart = match later.wall_clock.duration_since(self.wall_clock) {
            Ok(wall) => wall.abs_diff(steady),
            Err(back) => back.duration() + steady,
        };
        apart > JUMP
    }

    fn suspended_until(&self, later: &ClockReading) -> Option<Duration> {
        let wall = later.wall_clock.duration_since(self.wall_clock).ok()?;
        let steady = later.monotonic.saturating_duration_since(self.monotonic);
        wall.checked_sub(steady).filter(|slept| *slept >= SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_what_the_wall_clock_is_ahead() {
        let before = ClockReading::now();
        let slept = |wall: u64, steady: u64| {
            before.suspended_until(&ClockReading {
                wall_clock: before.wall_clock + Duration::from_secs(wall),
                monotonic: before.monotonic + Duration::from_secs(steady),
            })
        };
        assert_eq!(slept(540, 540), None);
        assert_eq!(slept(545, 540), None, "set right by the network");
        assert_eq!(slept(3700, 100), Some(Duration::from_hours(1)));
        let set_back = ClockReading {
            wall_clock: before.wall_clock - Duration::from_hours(1),
            monotonic: before.monotonic,
        };
        assert_eq!(before.suspended_until(&set_back), None);
    }

    #[test]
    fn a_host_that_slept_is_known_by_its_clocks() {
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
