//! A sign of life for systemd's watchdog, for as long as the loop vouches for itself.
//!
//! A server that keeps the loop waiting is no reason to be restarted, and one thread cannot wait and
//! give signs. So a thread gives them on the loop's behalf, but only until the moment by which the
//! loop has promised to be heard of again: a loop that hangs breaks its deadline, and then there are
//! no more signs.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::systemd;

/// The loop's deadline, kept by a thread; by none where nobody wants signs of life.
#[derive(Debug, Default)]
pub struct Watchdog(Option<WatchdogThread>);

#[derive(Debug)]
struct WatchdogThread {
    deadline: Arc<Deadline>,
    /// The thread ends when this is gone.
    _thread: Sender<()>,
}

/// Until when the loop is believed to live.
#[derive(Debug)]
struct Deadline(Mutex<Instant>);

impl Watchdog {
    /// Begins to give signs of life if systemd wants them; the loop is believed to live so long.
    #[must_use]
    pub fn start(first: Duration) -> Watchdog {
        Watchdog::start_with(systemd::watchdog_limit(), first, systemd::watchdog)
    }

    fn start_with(
        limit: Option<Duration>,
        first: Duration,
        sign: impl Fn() + Send + 'static,
    ) -> Watchdog {
        let Some(limit) = limit else {
            return Watchdog::default();
        };
        let deadline = Arc::new(Deadline(Mutex::new(Instant::now() + first)));
        let (thread, ended) = channel();
        let for_thread = Arc::clone(&deadline);
        thread::spawn(move || keep(&for_thread, limit / 2, &ended, sign));
        Watchdog(Some(WatchdogThread {
            deadline,
            _thread: thread,
        }))
    }

    /// The loop lives, and will be heard of again within this time.
    pub fn extend_deadline(&self, time: Duration) {
        if let Some(kept) = &self.0 {
            kept.deadline.extend(Instant::now() + time);
        }
    }
}

impl Deadline {
    fn extend(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_pending(&self, now: Instant) -> bool {
        now < *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(deadline: &Deadline, interval: Duration, ended: &Receiver<()>, sign: impl Fn()) {
    loop {
        if deadline.is_pending(Instant::now()) {
            sign();
        }
        match ended.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_promise_holds_until_its_time_and_no_longer() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let deadline = Deadline(Mutex::new(after(10)));
        assert!(deadline.is_pending(after(9)));
        assert!(!deadline.is_pending(after(10)), "the loop hangs");
        deadline.extend(after(20));
        assert!(deadline.is_pending(after(19)));
    }

    fn wait_until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn signs_come_while_the_loop_vouches_and_none_while_it_hangs() {
        let signs = Arc::new(AtomicUsize::new(0));
        let in_a_minute = || Instant::now() + Duration::from_mins(1);
        let deadline = Arc::new(Deadline(Mutex::new(in_a_minute())));
        let (count, broken) = (Arc::clone(&signs), Arc::clone(&deadline));
        // The deadline breaks with the third sign: no further one can be on its way.
        let sign = move || {
            if count.fetch_add(1, Ordering::SeqCst) == 2 {
                broken.extend(Instant::now());
            }
        };
        let (ours, ended) = channel();
        let kept = Arc::clone(&deadline);
        let thread = thread::spawn(move || keep(&kept, Duration::from_millis(2), &ended, sign));
        wait_until(|| signs.load(Ordering::SeqCst) >= 3);
        // Time for some more; on a slow host there are fewer, which proves less and harms nobody.
        thread::sleep(Duration::from_millis(40));
        assert_eq!(signs.load(Ordering::SeqCst), 3);
        deadline.extend(in_a_minute());
        wait_until(|| signs.load(Ordering::SeqCst) > 3);
        drop(ours);
        thread.join().unwrap();
    }

    #[test]
    fn the_thread_hears_what_is_vouched_for_and_ends_with_the_loop() {
        let signs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&signs);
        let limit = Some(Duration::from_millis(4));
        let vigil = Watchdog::start_with(limit, Duration::ZERO, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        vigil.extend_deadline(Duration::from_mins(1));
        wait_until(|| signs.load(Ordering::SeqCst) > 0);
        drop(vigil);
        wait_until(|| Arc::strong_count(&signs) == 1);
    }

    #[test]
    fn without_a_watchdog_nothing_is_kept() {
        let vigil = Watchdog::start_with(None, Duration::from_mins(1), || panic!("nobody asked"));
        vigil.extend_deadline(Duration::from_mins(1));
        assert!(vigil.0.is_none());
    }
}
