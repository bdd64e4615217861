//! Every retry schedule: how long to wait before the next attempt, and when to give up. Pure.
//!
//! The README and the manual page state these schedules, too.

use std::time::Duration;

use chrono::TimeDelta;

/// Delays before the next attempt, by the number of failures so far; the last delay repeats.
///
/// The delays are kept in the state and hold across runs: a run that comes earlier leaves the matter
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySchedule {
    minutes: &'static [i64],
}

/// A message that Gmail did not accept, or that the source could not give.
pub const PARKED_MESSAGE: RetrySchedule = RetrySchedule {
    minutes: &[1, 5, 15, 60, 6 * 60, 24 * 60],
};

/// Credentials that a server rejected: the source's password, Google's refresh token. Servers ban
/// clients that come too often with a wrong password.
pub const REJECTED_CREDENTIALS: RetrySchedule = RetrySchedule {
    minutes: &[1, 5, 15, 60],
};

/// A parked message is refused for good after at least this many attempts…
pub const MAX_ATTEMPTS: u32 = 8;

/// …over at least this long, if Gmail accepted other mail meanwhile.
pub const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(7);

/// `--watch` ends when a server has rejected the credentials this many times in a row.
pub const MAX_REJECTED_LOGINS: u32 = 3;

/// Rests of the Gmail account, in minutes: the first, and the longest. Each rest is twice as long as
/// the one before, until Gmail accepts a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestSchedule {
    /// The first rest.
    pub first_minutes: u32,
    /// The longest rest.
    pub max_minutes: u32,
}

/// `[OVERQUOTA]`, bandwidth limits, the daily limit, or three messages refused in a row.
pub const QUOTA_REST: RestSchedule = RestSchedule {
    first_minutes: 15,
    max_minutes: 240,
};

/// Too many simultaneous connections.
pub const CONNECTIONS_REST: RestSchedule = RestSchedule {
    first_minutes: 1,
    max_minutes: 15,
};

/// Between the three requests to the token endpoint; google-auth waits as long.
pub const TOKEN_REQUEST_DELAYS: [Duration; 2] = if cfg!(test) {
    [Duration::from_millis(1), Duration::from_millis(2)]
} else {
    [Duration::from_secs(1), Duration::from_secs(2)]
};

/// Between the three log-ins that verify a new token: a broken connection must not cost a consent.
pub const CONSENT_LOGIN_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Between attempts of `--watch` to reach a server that is unavailable: the first delay, and the
/// longest ([`Backoff`]).
pub const RECONNECT_DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

impl RetrySchedule {
    /// The delay before the next attempt, after this many failures.
    #[must_use]
    pub fn delay_after(self, failures: u32) -> TimeDelta {
        let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let minutes = self.minutes.get(index).copied();
        TimeDelta::minutes(minutes.unwrap_or_else(|| self.last()))
    }

    /// The longest delay. A time that lies further in the future was written while the clock was
    /// wrong.
    #[must_use]
    pub fn max_delay(self) -> TimeDelta {
        TimeDelta::minutes(self.last())
    }

    fn last(self) -> i64 {
        self.minutes.last().copied().unwrap_or_default()
    }
}

impl RestSchedule {
    /// The minutes of the next rest; `last_minutes` is 0 if the account did not rest before.
    #[must_use]
    pub fn next_minutes(self, last_minutes: u32) -> u32 {
        last_minutes
            .saturating_mul(2)
            .clamp(self.first_minutes, self.max_minutes)
    }
}

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

    #[test]
    fn delays_follow_the_table_and_then_repeat_the_last() {
        let minutes = |schedule: RetrySchedule, failures: &[u32]| -> Vec<i64> {
            let delays = failures.iter();
            delays
                .map(|failures| schedule.delay_after(*failures).num_minutes())
                .collect()
        };
        let failures = [0, 1, 2, 3, 4, 5, 6, 7, 100, u32::MAX];
        let parked = [1, 1, 5, 15, 60, 360, 1440, 1440, 1440, 1440];
        assert_eq!(minutes(PARKED_MESSAGE, &failures), parked);
        let rejected = [1, 1, 5, 15, 60, 60, 60, 60, 60, 60];
        assert_eq!(minutes(REJECTED_CREDENTIALS, &failures), rejected);
        assert_eq!(PARKED_MESSAGE.max_delay(), TimeDelta::days(1));
        assert_eq!(REJECTED_CREDENTIALS.max_delay(), TimeDelta::hours(1));
    }

    #[test]
    fn each_rest_is_twice_as_long_up_to_the_longest() {
        let rests = |schedule: RestSchedule| {
            let mut last = 0;
            [(); 7].map(|()| {
                last = schedule.next_minutes(last);
                last
            })
        };
        assert_eq!(rests(QUOTA_REST), [15, 30, 60, 120, 240, 240, 240]);
        assert_eq!(rests(CONNECTIONS_REST), [1, 2, 4, 8, 15, 15, 15]);
    }

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
