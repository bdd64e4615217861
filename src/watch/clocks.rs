//! Whether the host slept: while it does, only one of its clocks goes on.

use std::time::{Duration, Instant, SystemTime};

/// Connections outlive a shorter sleep; and a clock that is set right by seconds is no sleep.
const SHORTEST: Duration = Duration::from_secs(10);

/// What both clocks showed at a moment.
pub(super) struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    pub fn now() -> Clocks {
        Clocks {
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
        self.slept_until(&Clocks::now())
    }

    fn slept_until(&self, later: &Clocks) -> Option<Duration> {
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
        let before = Clocks::now();
        let slept = |wall: u64, steady: u64| {
            before.slept_until(&Clocks {
                wall: before.wall + Duration::from_secs(wall),
                steady: before.steady + Duration::from_secs(steady),
            })
        };
        assert_eq!(slept(540, 540), None);
        assert_eq!(slept(545, 540), None, "set right by the network");
        assert_eq!(slept(3700, 100), Some(Duration::from_hours(1)));
        let set_back = Clocks {
            wall: before.wall - Duration::from_hours(1),
            steady: before.steady,
        };
        assert_eq!(before.slept_until(&set_back), None);
    }
}
