//! False notifications: a server that reports new mail again and again, and has none, must not make a
//! busy loop.

use std::time::{Duration, Instant};

use crate::imap::FolderStatuses;
use crate::retry::Backoff;
use crate::run::failure_log_throttle::FailureLogThrottle;
use crate::run::timing::Timing;

/// How many in a row may be chance: mail that another client moved away, a race with the check.
const MAX_FALSE_NOTIFICATIONS: u32 = 3;

/// The notifications of the source, and whether the checks after them found new mail.
pub(super) struct FalseNotifications {
    /// A notification that comes after a longer wait makes no busy loop.
    long_wait: Duration,
    backoff: Backoff,
    in_a_row: u32,
    /// The folders at the last check.
    last_check: FolderStatuses,
    log_throttle: FailureLogThrottle,
}

impl FalseNotifications {
    pub fn new(timing: &Timing) -> FalseNotifications {
        FalseNotifications {
            long_wait: timing.stable_session,
            backoff: Backoff::new(timing.first_retry_delay, timing.max_retry_delay),
            in_a_row: 0,
            last_check: FolderStatuses::new(),
            log_throttle: FailureLogThrottle::default(),
        }
    }

    /// Records the folders at a check. If there is new mail, the last notification was true.
    pub fn record_check(&mut self, found: FolderStatuses) {
        let has_new_mail = found.iter().any(|(folder, mailbox)| {
            self.last_check.get(folder).is_none_or(|last| {
                last.uid_validity != mailbox.uid_validity || last.uid_next < mailbox.uid_next
            })
        });
        if has_new_mail {
            self.reset();
        }
        self.last_check = found;
    }

    /// Records a notification after a wait; returns how long to ignore it, if it is probably false.
    pub fn record_notification(&mut self, waited: Duration) -> Option<Duration> {
        if waited >= self.long_wait {
            self.reset();
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row <= MAX_FALSE_NOTIFICATIONS {
            return None;
        }
        if self.log_throttle.record_failure(Instant::now()) {
            log::warn!("the source repeatedly reports new mail and has none; checking less often");
        }
        Some(self.backoff.next_delay())
    }

    fn reset(&mut self) {
        self.in_a_row = 0;
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Mailbox, Uid, UidValidity};

    /// INBOX, and one other folder.
    fn folders(uid_next: u32, other_uid_next: u32) -> FolderStatuses {
        let mailbox = |uid_next| Mailbox {
            uid_validity: UidValidity::new(7).unwrap(),
            uid_next: Uid::new(uid_next).unwrap(),
            exists: 1,
        };
        FolderStatuses::from([
            ("INBOX".to_owned(), mailbox(uid_next)),
            ("Lists".to_owned(), mailbox(other_uid_next)),
        ])
    }

    fn notifications() -> FalseNotifications {
        let mut notifications = FalseNotifications::new(&Timing::default());
        notifications.record_check(folders(5, 5));
        notifications
    }

    /// Which of this many notifications without new mail are ignored for a while.
    fn notify(notifications: &mut FalseNotifications, times: usize, waited: u64) -> Vec<bool> {
        (0..times)
            .map(|_| {
                let delay = notifications.record_notification(Duration::from_secs(waited));
                notifications.record_check(folders(5, 5));
                delay.is_some()
            })
            .collect()
    }

    #[test]
    fn from_the_fourth_false_notification_on_there_is_a_growing_delay() {
        let mut notifications = notifications();
        assert_eq!(
            notify(&mut notifications, 5, 0),
            [false, false, false, true, true]
        );
        for _ in 0..7 {
            notifications.record_notification(Duration::ZERO);
        }
        let delay = notifications.record_notification(Duration::ZERO).unwrap();
        assert!(delay > Duration::from_mins(2), "{delay:?}");
    }

    #[test]
    fn a_true_notification_or_one_after_a_long_wait_starts_again() {
        let mut notifications = notifications();
        for found in [folders(6, 5), folders(6, 6)] {
            notify(&mut notifications, 9, 0);
            notifications.record_check(found);
            assert_eq!(notifications.record_notification(Duration::ZERO), None);
        }
        assert_eq!(notify(&mut notifications, 9, 31), [false; 9]);
    }
}
