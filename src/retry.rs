//! Every retry schedule: how long to wait before the next attempt, and when to give up. Pure.
//!
//! docs/ and the manual page state these schedules, too; a test compares them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use chrono::TimeDelta;

/// Minutes before the next attempt, by the number of failures so far; the last delay repeats.
///
/// The state remembers when the next attempt is due, so the delays hold across runs: an earlier run
/// does not try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetrySchedule(&'static [i64]);

/// For a message that Gmail did not accept or the source did not return.
pub(crate) const PARKED_MESSAGE: RetrySchedule = RetrySchedule(&[1, 5, 15, 60, 6 * 60, 24 * 60]);

/// For log-ins that a server rejected, so that a person must act: the password at the source, the
/// refresh token at Google.
/// Servers ban clients that try a wrong password too often.
pub(crate) const REJECTED_CREDENTIALS: RetrySchedule = RetrySchedule(&[1, 5, 15, 60]);

/// After the source said that there were too many log-ins or connections: each attempt may prolong
/// that.
pub(crate) const LIMITED_LOGINS: RetrySchedule = RetrySchedule(&[1, 5, 15]);

/// An uncertain append counts as not stored only this long after it was sent: the server may finish
/// an append whose connection is gone.
pub(crate) const STORE_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// A parked message is refused for good after at least this many attempts…
pub(crate) const MAX_ATTEMPTS: u32 = 8;

/// …over at least this long, if Gmail accepted other mail meanwhile.
pub(crate) const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(7);

/// `--watch` ends when a server has rejected the credentials this many times in a row.
pub(crate) const MAX_REJECTED_LOGINS: u32 = 3;

/// How long the Gmail account rests, in minutes. Each rest is twice as long as the one before, until
/// Gmail accepts a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RestSchedule {
    pub first_minutes: u32,
    pub max_minutes: u32,
}

/// After `[OVERQUOTA]`, a bandwidth limit, the daily limit, or three messages rejected in a row.
pub(crate) const QUOTA_REST: RestSchedule = RestSchedule {
    first_minutes: 15,
    max_minutes: 240,
};

/// After "Too many simultaneous connections".
pub(crate) const CONNECTIONS_REST: RestSchedule = RestSchedule {
    first_minutes: 1,
    max_minutes: 15,
};

/// Between the three requests to the token endpoint; the delays of google-auth.
pub(crate) const TOKEN_REQUEST_DELAYS: [Duration; 2] = if cfg!(test) {
    [Duration::from_millis(1), Duration::from_millis(2)]
} else {
    [Duration::from_secs(1), Duration::from_secs(2)]
};

/// Between imports of a message while the Gmail API says that there are too many requests a minute; then
/// the account rests. All of them are longer than a minute.
pub(crate) const IMPORT_RATE_DELAYS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
];

/// Between questions how much of an upload the Gmail API has, as long as that does not grow.
pub(crate) const RESUME_DELAYS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Between the three log-ins that verify a new token, so that a broken connection does not cost the
/// user another consent.
pub(crate) const CONSENT_LOGIN_DELAYS: [Duration; 2] =
    [Duration::from_secs(1), Duration::from_secs(3)];

/// Between attempts of `--watch` to reach a server that is unavailable: the first delay, and the
/// longest ([`Backoff`]).
pub(crate) const RECONNECT_DELAYS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_mins(5));

/// Until a folder is watched on a connection of its own again, after the source has refused that.
pub(crate) const REFUSED_CONNECTION_DELAY: Duration = Duration::from_hours(1);

/// Between attempts of `--watch` to finish a date pass that messages without an outcome keep open.
pub(crate) const DATE_PASS_RETRY_DELAY: TimeDelta = TimeDelta::minutes(1);

impl RetrySchedule {
    pub fn delay_after(self, failures: u32) -> TimeDelta {
        let minutes = self.0.get(failures.saturating_sub(1) as usize);
        minutes.map_or(self.max_delay(), |minutes| TimeDelta::minutes(*minutes))
    }

    /// The longest delay. A due time further in the future was written while the clock was wrong.
    pub fn max_delay(self) -> TimeDelta {
        TimeDelta::minutes(self.0.last().copied().unwrap_or_default())
    }
}

impl RestSchedule {
    /// The minutes of the next rest; `last_minutes` is 0 if the account did not rest before.
    pub fn next_minutes(self, last_minutes: u32) -> u32 {
        last_minutes
            .saturating_mul(2)
            .clamp(self.first_minutes, self.max_minutes)
    }
}

/// Exponential backoff with jitter: each delay is about twice as long as the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff {
            first,
            max,
            next: first,
        }
    }

    /// The delay after another failure. Random jitter lengthens it, so that many clients of one
    /// server do not all come back at the same moment.
    pub fn next_delay(&mut self) -> Duration {
        // The standard library seeds its hash maps at random, which is random enough here.
        let [jitter, ..] = RandomState::new().build_hasher().finish().to_be_bytes();
        self.next_delay_with(jitter)
    }

    /// Jitter lengthens the delay by up to half, but not beyond `max`.
    fn next_delay_with(&mut self, jitter: u8) -> Duration {
        let extra = self.next / 2 * u32::from(jitter) / u32::from(u8::MAX);
        let delay = self.next.saturating_add(extra).min(self.max);
        // Two thirds of the maximum leave room for jitter.
        let doubled = self.next.saturating_mul(2);
        self.next = doubled.min(self.max * 2 / 3).max(self.first);
        delay
    }

    /// Starts again with the first delay, after a success.
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
        let limited = [1, 1, 5, 15, 15, 15, 15, 15, 15, 15];
        assert_eq!(minutes(LIMITED_LOGINS, &failures), limited);
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

    fn delays(backoff: &mut Backoff, jitter: u8) -> Vec<u64> {
        (0..10)
            .map(|_| backoff.next_delay_with(jitter).as_secs())
            .collect()
    }

    #[test]
    fn delays_double_from_a_second_to_five_minutes() {
        assert_eq!(
            delays(&mut backoff(), 0),
            [1, 2, 4, 8, 16, 32, 64, 128, 200, 200]
        );
        assert_eq!(
            delays(&mut backoff(), u8::MAX),
            [1, 3, 6, 12, 24, 48, 96, 192, 300, 300]
        );
    }

    #[test]
    fn jitter_keeps_two_clients_apart_even_at_the_longest_delay() {
        let (mut one, mut other) = (backoff(), backoff());
        assert_ne!(delays(&mut one, 10)[9], delays(&mut other, 200)[9]);
    }

    #[test]
    fn a_success_starts_again_with_the_first_delay() {
        let mut backoff = backoff();
        delays(&mut backoff, 0);
        backoff.reset();
        assert_eq!(delays(&mut backoff, 0)[..3], [1, 2, 4]);
    }

    #[test]
    fn a_maximum_below_the_first_delay_holds() {
        let mut backoff = Backoff::new(Duration::from_secs(9), Duration::from_secs(3));
        assert_eq!(delays(&mut backoff, 255), [3; 10]);
    }

    /// `1, 5 and 15`
    fn enumerate(numbers: impl Iterator<Item = i64>) -> String {
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        let (last, others) = numbers.split_last().unwrap();
        format!("{} and {last}", others.join(", "))
    }

    fn in_words<N: TryInto<usize>>(number: N) -> &'static str {
        let words = "no one two three four five six seven eight nine".split(' ');
        words.collect::<Vec<_>>()[number.try_into().ok().unwrap()]
    }

    /// How often the last delay of a schedule repeats.
    fn repeats(schedule: RetrySchedule) -> &'static str {
        match schedule.max_delay().num_minutes() {
            60 => "hourly",
            1440 => "daily",
            minutes => panic!("no word for every {minutes} minutes"),
        }
    }

    #[test]
    fn the_readme_and_the_manual_page_state_these_schedules() {
        let parked = PARKED_MESSAGE.0.iter().copied();
        let rejected = REJECTED_CREDENTIALS.0.iter().copied();
        let hour = 60;
        let (first_rest, max_rest) = (QUOTA_REST.first_minutes, QUOTA_REST.max_minutes / 60);
        assert_eq!(RECONNECT_DELAYS.0, Duration::from_secs(1));
        let sentences = [
            format!(
                "retried after {} minutes, after {} hours, and then {}.",
                enumerate(parked.clone().filter(|minutes| *minutes < hour)),
                enumerate(parked.filter(|minutes| *minutes >= hour).map(|m| m / hour)),
                repeats(PARKED_MESSAGE),
            ),
            format!(
                "After {} attempts over {} days, ",
                in_words(MAX_ATTEMPTS),
                in_words(GIVE_UP_AFTER.num_days()),
            ),
            format!(
                "retry only after {} minutes and then {}",
                enumerate(rejected),
                repeats(REJECTED_CREDENTIALS),
            ),
            format!(
                "later runs log in only after {} minutes",
                enumerate(LIMITED_LOGINS.0.iter().copied())
            ),
            format!(
                "for {first_rest} minutes, and for up to {} hours",
                in_words(max_rest)
            ),
            format!(
                "retries after a second, then at growing intervals of up to {} minutes",
                in_words(RECONNECT_DELAYS.1.as_secs() / 60)
            ),
            format!(
                "rejected the log-in {} times in a row",
                in_words(MAX_REJECTED_LOGINS)
            ),
        ];
        for (document, text) in [
            (
                "docs",
                concat!(
                    include_str!("../docs/running.md"),
                    include_str!("../docs/troubleshooting.md")
                ),
            ),
            (
                "the manual page",
                include_str!("../contrib/man/imap-to-gmail-sync.1"),
            ),
        ] {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for sentence in &sentences {
                assert!(text.contains(sentence), "{document}: {sentence}");
            }
        }
    }
}
