//! When a failure that lasts is logged: at its start, every quarter of an hour, and at its end. Pure.

use std::time::{Duration, Instant};

/// Between two log lines about a failure that lasts.
const LOG_INTERVAL: Duration = Duration::from_mins(15);

/// Whether something fails, and when that was last logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FailureLogThrottle(Option<OngoingFailure>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct OngoingFailure {
    since: Instant,
    logged_at: Instant,
}

impl FailureLogThrottle {
    /// Records a failure; returns whether to log it.
    pub fn record_failure(&mut self, now: Instant) -> bool {
        let (is_new, since, logged_at) = (self.0.is_none(), now, now);
        let failure = self.0.get_or_insert(OngoingFailure { since, logged_at });
        let is_due = is_new || now.saturating_duration_since(failure.logged_at) >= LOG_INTERVAL;
        if is_due {
            failure.logged_at = now;
        }
        is_due
    }

    /// Records that it works again; returns how long it failed, if it did.
    pub fn record_recovery(&mut self, now: Instant) -> Option<Duration> {
        let failure = self.0.take()?;
        Some(now.saturating_duration_since(failure.since))
    }

    pub fn is_failing(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_at_first_every_quarter_of_an_hour_and_at_its_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut throttle = FailureLogThrottle::default();
        let logged: Vec<u64> = (0..=3600)
            .step_by(10)
            .filter(|seconds| throttle.record_failure(at(*seconds)))
            .collect();
        assert_eq!(logged, [0, 900, 1800, 2700, 3600]);
        assert_eq!(
            throttle.record_recovery(at(3605)),
            Some(Duration::from_secs(3605))
        );
        assert_eq!(
            throttle.record_recovery(at(3606)),
            None,
            "the end is logged once"
        );
        assert!(throttle.record_failure(at(3607)), "another one starts");
    }
}
