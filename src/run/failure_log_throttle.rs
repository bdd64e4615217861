//! When a failure that lasts is told of: at its beginning, now and then, and when it is over; pure.

use std::time::{Duration, Instant};

/// A failure that lasts is told of no oftener than this.
const QUARTER: Duration = Duration::from_mins(15);

/// A side that works, or has failed for some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureLogThrottle(Option<OngoingFailure>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct OngoingFailure {
    since: Instant,
    logged_at: Instant,
}

impl FailureLogThrottle {
    /// It failed, perhaps again; says whether a person should read of it.
    #[must_use]
    pub fn record_failure(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            None => {
                let (since, logged_at) = (now, now);
                self.0 = Some(OngoingFailure { since, logged_at });
                true
            }
            Some(failing) if now.saturating_duration_since(failing.logged_at) >= QUARTER => {
                failing.logged_at = now;
                true
            }
            Some(_) => false,
        }
    }

    /// It works; gives how long it did not.
    pub fn record_recovery(&mut self, now: Instant) -> Option<Duration> {
        let failing = self.0.take()?;
        Some(now.saturating_duration_since(failing.since))
    }

    /// Says whether it fails at present.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_at_first_each_quarter_of_an_hour_and_when_it_is_over() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut outage = FailureLogThrottle::default();
        let told: Vec<u64> = (0..=3600)
            .step_by(10)
            .filter(|seconds| outage.record_failure(at(*seconds)))
            .collect();
        assert_eq!(told, [0, 900, 1800, 2700, 3600]);
        assert_eq!(
            outage.record_recovery(at(3605)),
            Some(Duration::from_secs(3605))
        );
        assert_eq!(outage.record_recovery(at(3606)), None, "it is over once");
        assert!(outage.record_failure(at(3607)), "another one begins");
    }
}
