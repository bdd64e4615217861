//! A clock that tests move on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

/// The system's time plus what tests have added to it; clones are the same clock.
///
/// It follows the system's time because the program under test does so, too.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead: Arc<Mutex<TimeDelta>>,
}

impl Clock {
    /// The time by this clock, in whole seconds, as IMAP tells it.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let now = Utc::now() + *self.ahead.lock().unwrap();
        DateTime::from_timestamp(now.timestamp(), 0).unwrap()
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        *self.ahead.lock().unwrap() += TimeDelta::from_std(by).unwrap();
    }
}

/// A date from its RFC 3339 form; for tests, which know what they write.
#[must_use]
pub fn date(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).unwrap()
}
