//! News that proves to be none: a server that tells of mail again and again and has none must not
//! keep us busy.

use std::time::{Duration, Instant};

use crate::message::Mailbox;
use crate::retry::{Backoff, Jitter};
use crate::run::failure_log_throttle::FailureLogThrottle;
use crate::run::timing::Timing;

/// So many in a row may be chance: mail that another client moved away, a race with our own look.
const BORNE: u32 = 3;

/// The alarms of the source, and what came of them.
pub(super) struct FalseNotifications {
    /// An alarm that comes after a longer wait keeps nobody busy.
    long_wait: Duration,
    backoff: Backoff,
    false_in_a_row: u32,
    /// The folder as the last look showed it.
    last_mailbox: Option<Mailbox>,
    log_throttle: FailureLogThrottle,
}

impl FalseNotifications {
    pub fn new(pace: &Timing) -> FalseNotifications {
        FalseNotifications {
            long_wait: pace.stable_session,
            backoff: Backoff::new(pace.first_retry_delay, pace.max_retry_delay),
            false_in_a_row: 0,
            last_mailbox: None,
            log_throttle: FailureLogThrottle::default(),
        }
    }

    /// A look showed the folder so: with something new, what was told before was true.
    pub fn record_check(&mut self, mailbox: &Mailbox) {
        let is_news = self.last_mailbox.is_none_or(|seen| {
            seen.uid_validity != mailbox.uid_validity || seen.uid_next < mailbox.uid_next
        });
        if is_news {
            self.reset();
        }
        self.last_mailbox = Some(*mailbox);
    }

    /// The server told of mail after so long a wait; gives how long not to believe it.
    pub fn notified(&mut self, waited: Duration) -> Option<Duration> {
        if waited >= self.long_wait {
            self.reset();
        }
        self.false_in_a_row = self.false_in_a_row.saturating_add(1);
        if self.false_in_a_row <= BORNE {
            return None;
        }
        if self.log_throttle.record_failure(Instant::now()) {
            log::warn!(
                "the source tells of new mail again and again and has none; looking less often"
            );
        }
        Some(self.backoff.next_delay(Jitter::random()))
    }

    fn reset(&mut self) {
        self.false_in_a_row = 0;
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Uid, UidValidity};

    fn mailbox(uid_next: u32) -> Mailbox {
        Mailbox {
            uid_validity: UidValidity::new(7).unwrap(),
            uid_next: Uid::new(uid_next).unwrap(),
            exists: 1,
        }
    }

    fn alarms() -> FalseNotifications {
        let mut alarms = FalseNotifications::new(&Timing::default());
        alarms.record_check(&mailbox(5));
        alarms
    }

    /// What becomes of so many alarms at which a look finds nothing.
    fn ring(alarms: &mut FalseNotifications, times: usize, waited: u64) -> Vec<bool> {
        (0..times)
            .map(|_| {
                let pause = alarms.notified(Duration::from_secs(waited));
                alarms.record_check(&mailbox(5));
                pause.is_some()
            })
            .collect()
    }

    #[test]
    fn from_the_fourth_false_alarm_on_there_is_a_growing_pause() {
        let mut alarms = alarms();
        assert_eq!(ring(&mut alarms, 5, 0), [false, false, false, true, true]);
        for _ in 0..7 {
            alarms.notified(Duration::ZERO);
        }
        let pause = alarms.notified(Duration::ZERO).unwrap();
        assert!(pause > Duration::from_mins(2), "{pause:?}");
    }

    #[test]
    fn one_that_proves_true_or_comes_after_a_while_begins_anew() {
        let mut alarms = alarms();
        ring(&mut alarms, 9, 0);
        alarms.record_check(&mailbox(6));
        assert_eq!(alarms.notified(Duration::ZERO), None);
        assert_eq!(ring(&mut alarms, 9, 31), [false; 9]);
    }
}
