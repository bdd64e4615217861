//! Reports to systemd's watchdog as long as the main loop meets its deadlines.
//!
//! The main loop may wait for a server longer than systemd's limit, and a thread that waits cannot
//! report. So a second thread reports, but only until the deadline that the main loop last set: a
//! main loop that hangs misses its deadline, and then the reports stop.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::systemd;

/// The deadline of the main loop, watched by a thread; no thread if systemd wants no reports.
#[derive(Debug, Default)]
pub(crate) struct Watchdog(Option<WatchdogThread>);

#[derive(Debug)]
struct WatchdogThread {
    deadline: Arc<Deadline>,
    /// The thread ends when this sender is dropped.
    _thread: Sender<()>,
}

/// By when the main loop sets another deadline, unless it hangs.
#[derive(Debug)]
struct Deadline(Mutex<Instant>);

impl Watchdog {
    /// Starts the reports if systemd wants them; `first` is the time until the first deadline.
    pub fn start(first: Duration) -> Watchdog {
        Watchdog::start_with(systemd::watchdog_limit(), first, systemd::watchdog)
    }

    fn start_with(
        limit: Option<Duration>,
        first: Duration,
        report: impl Fn() + Send + 'static,
    ) -> Watchdog {
        let Some(limit) = limit else {
            return Watchdog::default();
        };
        let deadline = Arc::new(Deadline(Mutex::new(Instant::now() + first)));
        let (thread, ended) = channel();
        let for_thread = Arc::clone(&deadline);
        thread::spawn(move || report_while_alive(&for_thread, limit / 2, &ended, report));
        Watchdog(Some(WatchdogThread {
            deadline,
            _thread: thread,
        }))
    }

    /// Sets the deadline to `time` from now.
    pub fn extend_deadline(&self, time: Duration) {
        if let Some(thread) = &self.0 {
            thread.deadline.set(Instant::now() + time);
        }
    }
}

impl Deadline {
    fn set(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_pending(&self, now: Instant) -> bool {
        now < *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report_while_alive(
    deadline: &Deadline,
    interval: Duration,
    ended: &Receiver<()>,
    report: impl Fn(),
) {
    loop {
        if deadline.is_pending(Instant::now()) {
            report();
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
    fn a_deadline_is_pending_until_it_passes_or_is_set_again() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let deadline = Deadline(Mutex::new(after(10)));
        assert!(deadline.is_pending(after(9)));
        assert!(!deadline.is_pending(after(10)), "the main loop hangs");
        deadline.set(after(20));
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
    fn reports_stop_while_the_main_loop_misses_its_deadline() {
        let reports = Arc::new(AtomicUsize::new(0));
        let in_a_minute = || Instant::now() + Duration::from_mins(1);
        let deadline = Arc::new(Deadline(Mutex::new(in_a_minute())));
        let (count, missed) = (Arc::clone(&reports), Arc::clone(&deadline));
        // The deadline passes with the third report, so that no further one can be in progress.
        let report = move || {
            if count.fetch_add(1, Ordering::SeqCst) == 2 {
                missed.set(Instant::now());
            }
        };
        let (sender, ended) = channel();
        let kept = Arc::clone(&deadline);
        let thread = thread::spawn(move || {
            report_while_alive(&kept, Duration::from_millis(2), &ended, report);
        });
        wait_until(|| reports.load(Ordering::SeqCst) >= 3);
        // Time for some more; a slow host makes the test weaker, not wrong.
        thread::sleep(Duration::from_millis(40));
        assert_eq!(reports.load(Ordering::SeqCst), 3);
        deadline.set(in_a_minute());
        wait_until(|| reports.load(Ordering::SeqCst) > 3);
        drop(sender);
        thread.join().unwrap();
    }

    #[test]
    fn the_thread_sees_a_new_deadline_and_ends_with_the_watchdog() {
        let reports = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reports);
        let limit = Some(Duration::from_millis(4));
        let watchdog = Watchdog::start_with(limit, Duration::ZERO, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        watchdog.extend_deadline(Duration::from_mins(1));
        wait_until(|| reports.load(Ordering::SeqCst) > 0);
        drop(watchdog);
        wait_until(|| Arc::strong_count(&reports) == 1);
    }

    #[test]
    fn without_a_limit_there_is_no_thread() {
        let watchdog = Watchdog::start_with(None, Duration::from_mins(1), || {
            panic!("no report is wanted")
        });
        watchdog.extend_deadline(Duration::from_mins(1));
        assert!(watchdog.0.is_none());
    }
}
