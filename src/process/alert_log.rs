//! Which alerts of servers have been logged (RFC 3501 7.1 wants each shown to the user), so that a
//! server cannot flood the log.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same alert is logged once in this time.
const REPEAT_INTERVAL: Duration = Duration::from_hours(1);

/// How many different alerts are logged in this time.
const MAX_ALERTS: usize = 10;

/// The alerts logged in the last hour, on any connection. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct AlertLog(Arc<Mutex<LoggedAlerts>>);

#[derive(Debug, Default)]
struct LoggedAlerts {
    window_start: Option<Instant>,
    alerts: HashSet<(String, Vec<u8>)>,
}

impl AlertLog {
    /// Whether to log an alert of the server at this place; if so, counts it as logged.
    pub(crate) fn should_log(&self, place: &str, line: &[u8], now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_ended = |start: Instant| now.saturating_duration_since(start) >= REPEAT_INTERVAL;
        if logged.window_start.is_none_or(has_ended) {
            logged.window_start = Some(now);
            logged.alerts.clear();
        }
        logged.alerts.len() < MAX_ALERTS && logged.alerts.insert((place.to_owned(), line.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_logged_once_an_hour_and_a_flood_is_not() {
        let alerts = AlertLog::default();
        let now = Instant::now();
        assert!(alerts.should_log("a", b"full", now));
        assert!(
            !alerts.clone().should_log("a", b"full", now),
            "another session"
        );
        assert!(alerts.should_log("b", b"full", now), "another server");
        assert!(alerts.should_log("a", b"full", now + REPEAT_INTERVAL));
        let logged = (0..1000u32)
            .filter(|number| alerts.should_log("a", &number.to_be_bytes(), now + REPEAT_INTERVAL));
        assert_eq!(logged.count(), MAX_ALERTS - 1);
    }
}
