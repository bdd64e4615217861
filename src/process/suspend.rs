//! Both clocks of the host. While it sleeps, only one of them goes on.

use std::time::{Duration, Instant, SystemTime};

/// Connections outlive a shorter sleep; and a clock that is set right by seconds is no sleep.
const SHORTEST: Duration = Duration::from_secs(10);

/// Clocks that went apart so far were not just set right by a little.
const JUMP: Duration = Duration::from_secs(10);

/// What both clocks showed at a moment.
pub(crate) struct ClockReading {
    wall: SystemTime,
    steady: Instant,
}

impl ClockReading {
    pub fn now() -> ClockReading {
        ClockReading {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// How long it is since then, sleep apart.
    pub fn passed(&self) -> Duration {
        self.steady.elapsed()
    }

    /// How long the host has slept since, if it has; or its clock was set on by so much, which
    /// cannot be told apart and does no harm.
    pub fn slept(&self) -> Option<Duration> {
        self.slept_until(&ClockReading::now())
    }

    /// Whether the host has slept since, or its clock was set, forward or back.
    pub fn went_apart(&self) -> bool {
        self.went_apart_until(&ClockReading::now())
    }

    fn went_apart_until(&self, later: &ClockReading) -> bool {
        let steady = later.steady.saturating_duration_since(self.steady);
        let apart = match later.wall.duration_since(self.wall) {
            Ok(wall) => wall.abs_diff(steady),
            Err(back) => back.duration() + steady,
        };
        apart > JUMP
    }

    fn slept_until(&self, later: &ClockReading) -> Option<Duration> {
        let wall = later.wall.duration_since(self.wall).ok()?;
        let steady = later.steady.saturating_duration_since(self.steady);
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
            before.slept_until(&ClockReading {
                wall: before.wall + Duration::from_secs(wall),
                steady: before.steady + Duration::from_secs(steady),
            })
        };
        assert_eq!(slept(540, 540), None);
        assert_eq!(slept(545, 540), None, "set right by the network");
        assert_eq!(slept(3700, 100), Some(Duration::from_hours(1)));
        let set_back = ClockReading {
            wall: before.wall - Duration::from_hours(1),
            steady: before.steady,
        };
        assert_eq!(before.slept_until(&set_back), None);
    }

    #[test]
    fn a_host_that_slept_is_known_by_its_clocks() {
        let before = ClockReading::now();
        let later = |wall: i64| ClockReading {
            wall: if wall < 0 {
                before.wall - Duration::from_secs(wall.unsigned_abs())
            } else {
                before.wall + Duration::from_secs(wall.unsigned_abs())
            },
            steady: before.steady + Duration::from_secs(5),
        };
        let cases = [
            (5, false),
            (14, false),
            (16, true),
            (3600, true),
            (-6, true),
        ];
        for (wall, expected) in cases {
            assert_eq!(before.went_apart_until(&later(wall)), expected, "{wall}");
        }
    }
}
