//! How long to wait before the next try; pure.

use std::time::Duration;

/// The pauses between tries at a server that fails: each about twice as long as the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

/// Chance, for many clients of one server must not come back to it all at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(pub u8);

impl Jitter {
    /// Another each time.
    #[must_use]
    pub fn random() -> Jitter {
        use std::hash::{BuildHasher, Hasher};
        // The standard library seeds its hash maps at random; that is chance enough here.
        let [jitter, ..] = std::hash::RandomState::new()
            .build_hasher()
            .finish()
            .to_be_bytes();
        Jitter(jitter)
    }
}

impl Backoff {
    /// Pauses from `first` to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff {
            first,
            max,
            next: first,
        }
    }

    /// The pause after another failure: the step and up to half of it again, `max` at most.
    pub fn next_delay(&mut self, Jitter(jitter): Jitter) -> Duration {
        let more = self.next / 2 * u32::from(jitter) / u32::from(u8::MAX);
        let pause = self.next.saturating_add(more).min(self.max);
        // Two thirds of the max leave room for chance.
        self.next = self
            .next
            .saturating_mul(2)
            .min(self.max * 2 / 3)
            .max(self.first);
        pause
    }

    /// After a success the next failure is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_secs(1), Duration::from_mins(5))
    }

    fn pauses(backoff: &mut Backoff, jitter: u8) -> Vec<u64> {
        (0..10)
            .map(|_| backoff.next_delay(Jitter(jitter)).as_secs())
            .collect()
    }

    #[test]
    fn pauses_double_from_a_second_to_five_minutes() {
        assert_eq!(
            pauses(&mut backoff(), 0),
            [1, 2, 4, 8, 16, 32, 64, 128, 200, 200]
        );
        assert_eq!(
            pauses(&mut backoff(), u8::MAX),
            [1, 3, 6, 12, 24, 48, 96, 192, 300, 300]
        );
    }

    #[test]
    fn chance_keeps_two_clients_apart_even_at_the_longest_pause() {
        let (mut one, mut other) = (backoff(), backoff());
        assert_ne!(pauses(&mut one, 10)[9], pauses(&mut other, 200)[9]);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = backoff();
        pauses(&mut backoff, 0);
        backoff.reset();
        assert_eq!(pauses(&mut backoff, 0)[..3], [1, 2, 4]);
    }

    #[test]
    fn a_longest_pause_below_the_first_is_kept_to() {
        let mut backoff = Backoff::new(Duration::from_secs(9), Duration::from_secs(3));
        assert_eq!(pauses(&mut backoff, 255), [3; 10]);
    }
}
