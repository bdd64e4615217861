//! The silence of a server on all connections to it.
//!
//! Each wait for a server has its own time-out. A server that has stopped answering would let them
//! add up: of each append connection, of the lookup, and of each connection that replaces one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Since when a server is silent on the connections that share this. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SharedSilence(Arc<Mutex<SilenceState>>);

#[derive(Debug, Default)]
struct SilenceState {
    last_octet: Option<Instant>,
    /// Set once a wait has timed out.
    since: Option<Instant>,
}

impl SharedSilence {
    /// The server has sent something, or another pass begins: every wait has its whole time again.
    pub(crate) fn end(&self) {
        *self.state() = SilenceState {
            last_octet: Some(Instant::now()),
            since: None,
        };
    }

    /// A wait that began at this time has timed out.
    pub(crate) fn record_timeout(&self, began: Instant) {
        let mut state = self.state();
        // Another connection may have received something since.
        let began = state.last_octet.map_or(began, |octet| octet.max(began));
        state.since = Some(state.since.map_or(began, |earlier| earlier.min(began)));
    }

    /// The deadline of a wait: this one, or the end of the longest silence.
    pub(crate) fn limit(&self, deadline: Instant, max: Duration) -> Instant {
        let since = self.state().since;
        since.map_or(deadline, |since| deadline.min(since + max))
    }

    fn state(&self) -> MutexGuard<'_, SilenceState> {
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
        // The silence counts from the last octet.
        silence.record_timeout(start);
        assert!(silence.limit(deadline + minute, max) >= start + max);
        assert!(silence.state().since > Some(start));
    }
}
