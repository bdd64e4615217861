//! Which alerts of servers a person was told of (RFC 3501 7.1): all, but no flood of them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same alert is told once in this time.
const AGAIN: Duration = Duration::from_hours(1);

/// So many different ones are told in this time; a person has read enough then.
const MOST: usize = 10;

/// The alerts that were told of in the last hour, by whatever connection. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct AlertLog(Arc<Mutex<LoggedAlerts>>);

#[derive(Debug, Default)]
struct LoggedAlerts {
    window_start: Option<Instant>,
    alerts: HashSet<(String, Vec<u8>)>,
}

impl AlertLog {
    /// Says whether to tell of an alert of the server at this place, and counts it as told.
    pub(crate) fn should_log(&self, place: &str, line: &[u8], now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |since: Instant| now.saturating_duration_since(since) >= AGAIN;
        if told.window_start.is_none_or(is_old) {
            told.window_start = Some(now);
            told.alerts.clear();
        }
        told.alerts.len() < MOST && told.alerts.insert((place.to_owned(), line.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_told_once_an_hour_and_a_flood_is_not() {
        let alerts = AlertLog::default();
        let now = Instant::now();
        assert!(alerts.should_log("a", b"full", now));
        assert!(
            !alerts.clone().should_log("a", b"full", now),
            "another session"
        );
        assert!(alerts.should_log("b", b"full", now), "another server");
        assert!(alerts.should_log("a", b"full", now + AGAIN));
        let told = (0..1000u32)
            .filter(|number| alerts.should_log("a", &number.to_be_bytes(), now + AGAIN));
        assert_eq!(told.count(), MOST - 1);
    }
}
