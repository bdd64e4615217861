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
    /// When a wait last began or timed out: what follows is no silence until the next wait begins.
    last_wait: Option<Instant>,
}

impl SharedSilence {
    /// The server has sent something, or another pass begins: every wait has its whole time again.
    pub(crate) fn end(&self) {
        *self.state() = SilenceState {
            last_octet: Some(Instant::now()),
            ..SilenceState::default()
        };
    }

    /// A wait has timed out.
    pub(crate) fn record_timeout(&self, began: Instant, ended: Instant) {
        let mut state = self.state();
        state.last_wait = Some(ended);
        // Another connection may have received something since.
        let began = state.last_octet.map_or(began, |octet| octet.max(began));
        state.since = Some(state.since.map_or(began, |earlier| earlier.min(began)));
    }

    /// The deadline of a wait that begins: this one, or the end of the longest silence.
    pub(crate) fn limit(&self, began: Instant, deadline: Instant, max: Duration) -> Instant {
        let mut state = self.state();
        let Some(since) = state.since else {
            return deadline;
        };
        // A server that was asked nothing was not silent.
        let last_wait = state.last_wait.replace(began).unwrap_or(began);
        let since = since + began.saturating_duration_since(last_wait);
        state.since = Some(since);
        deadline.min(since + max)
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
        let (ended, long_after) = (start + minute, start + 10 * minute);
        assert_eq!(silence.limit(start, ended, max), ended);
        silence.record_timeout(start + Duration::from_secs(5), ended);
        silence.record_timeout(start, ended);
        assert_eq!(silence.limit(ended, long_after, max), start + max);
        assert_eq!(silence.limit(ended, ended, max), ended);
        silence.end();
        assert_eq!(silence.limit(ended, long_after, max), long_after);
        // The silence counts from the last octet.
        silence.record_timeout(start, ended);
        assert!(silence.limit(ended, long_after, max) >= start + max);
        assert!(silence.state().since > Some(start));
    }

    #[test]
    fn while_a_server_is_asked_nothing_it_is_not_silent() {
        let (minute, max) = (Duration::from_mins(1), Duration::from_secs(90));
        let silence = SharedSilence::default();
        let start = Instant::now();
        silence.record_timeout(start, start + minute);
        let asked_again = start + 3 * minute;
        let long_after = start + 10 * minute;
        let end = silence.limit(asked_again, long_after, max);
        assert_eq!(end, asked_again + Duration::from_secs(30));
        // The wait of another connection begins during this one.
        let next = asked_again + Duration::from_secs(5);
        assert!(silence.limit(next, long_after, max) < long_after);
        silence.record_timeout(asked_again, end);
        assert!(silence.limit(end, long_after, max) <= end + Duration::from_secs(5));
    }
}
