//! The silence of a server on all connections to it.
//!
//! Each wait for a server has its own time-out. A server that has stopped answering would let them
//! add up: of each append connection, of the lookup, and of each connection that replaces one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Since when a server is silent on the connections that share this, once a wait for it has timed out.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SharedSilence(Arc<Mutex<Option<Instant>>>);

impl SharedSilence {
    /// The server has sent something, or another pass begins: every wait has its whole time again.
    pub(crate) fn end(&self) {
        *self.since() = None;
    }

    /// A wait that began at this time has timed out.
    pub(crate) fn record_timeout(&self, began: Instant) {
        let mut since = self.since();
        *since = Some(since.map_or(began, |earlier| earlier.min(began)));
    }

    /// The deadline of a wait: this one, or the end of the longest silence.
    pub(crate) fn limit(&self, deadline: Instant, max: Duration) -> Instant {
        self.since()
            .map_or(deadline, |since| deadline.min(since + max))
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_for_a_silent_server_end_together() {
        let (minute, max) = (Duration::from_mins(1), Duration::from_secs(90));
        let silence = SharedSilence::default();
        let start = Instant::now();
        let deadline = start + minute;
        assert_eq!(silence.limit(deadline, max), deadline);
        silence.record_timeout(start + Duration::from_secs(5));
        silence.record_timeout(start);
        assert_eq!(silence.limit(deadline + minute, max), start + max);
        assert_eq!(silence.limit(deadline, max), deadline);
        silence.end();
        assert_eq!(silence.limit(deadline + minute, max), deadline + minute);
    }
}
