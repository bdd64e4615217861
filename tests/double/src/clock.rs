//! A clock that tests advance.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

/// The system's time plus what tests have added; clones share one clock.
///
/// It follows the system's time because the program under test does.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead: Arc<Mutex<TimeDelta>>,
}

impl Clock {
    /// The current time in whole seconds, as in IMAP.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let now = Utc::now() + *self.ahead.lock().unwrap();
        DateTime::from_timestamp(now.timestamp(), 0).unwrap()
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        *self.ahead.lock().unwrap() += TimeDelta::from_std(by).unwrap();
    }
}

/// Parses a date in the form of RFC 3339; panics if it is none.
#[must_use]
pub fn date(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).unwrap()
}
