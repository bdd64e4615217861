//! Reports to systemd's watchdog as long as the main loop meets its deadlines.
//!
//! The main loop may wait for a server longer than systemd's limit, and a thread that waits cannot
//! report. So a second thread reports, but only until the deadline that the main loop last set: a
//! main loop that hangs misses its deadline, and then the reports stop. A transfer extends the
//! deadline as long as octets are sent or received.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::octet_counter::OctetCounter;
use crate::process::systemd;

/// The watchdog's thread, which receives each deadline of the main loop and ends when this is
/// dropped; no thread if systemd wants no reports.
#[derive(Debug, Default)]
pub(crate) struct Watchdog(Option<Sender<Instant>>);

impl Watchdog {
    /// Starts the reports if systemd wants them; `first` is the time until the first deadline.
    /// Each transfer of octets extends a deadline to the same time from then.
    pub fn start(first: Duration, octets: OctetCounter) -> Watchdog {
        Watchdog::start_with(systemd::watchdog_limit(), first, octets, systemd::watchdog)
    }

    fn start_with(
        limit: Option<Duration>,
        first: Duration,
        octets: OctetCounter,
        report: impl Fn() + Send + 'static,
    ) -> Watchdog {
        Watchdog(limit.map(|limit| {
            let (sender, deadlines) = channel();
            let deadline = Instant::now() + first;
            let transfers = Transfers {
                counted: octets.count(),
                octets,
                extension: first,
            };
            thread::spawn(move || {
                report_while_alive(deadline, limit / 2, &deadlines, transfers, report);
            });
            sender
        }))
    }

    /// Sets the deadline to `time` from now.
    pub fn extend_deadline(&self, time: Duration) {
        if let Some(deadlines) = &self.0 {
            // Fails only if the thread has panicked; then systemd gets no reports, and restarts us.
            let _ = deadlines.send(Instant::now() + time);
        }
    }
}

/// The transfers of octets, which extend a deadline.
struct Transfers {
    octets: OctetCounter,
    counted: u64,
    extension: Duration,
}

impl Transfers {
    /// Extends the deadline if octets were transferred since the last call.
    fn extend(&mut self, deadline: Instant) -> Instant {
        let count = self.octets.count();
        if count == self.counted {
            return deadline;
        }
        self.counted = count;
        deadline.max(Instant::now() + self.extension)
    }
}

fn report_while_alive(
    mut deadline: Instant,
    interval: Duration,
    deadlines: &Receiver<Instant>,
    mut transfers: Transfers,
    report: impl Fn(),
) {
    let mut next_report = Instant::now();
    loop {
        let now = Instant::now();
        match deadlines.recv_timeout(next_report.saturating_duration_since(now)) {
            Ok(extended) => deadline = extended,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let now = Instant::now();
                deadline = transfers.extend(deadline);
                if now < deadline {
                    report();
                }
                next_report = now + interval;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn no_transfers() -> Transfers {
        Transfers {
            octets: OctetCounter::default(),
            counted: 0,
            extension: Duration::ZERO,
        }
    }

    #[test]
    fn a_transfer_extends_the_deadline_and_its_absence_does_not() {
        let octets = OctetCounter::default();
        let mut transfers = Transfers {
            octets: octets.clone(),
            counted: 0,
            extension: Duration::from_mins(15),
        };
        let missed = Instant::now();
        assert_eq!(transfers.extend(missed), missed);
        octets.add(1);
        let extended = transfers.extend(missed);
        assert!(extended >= missed + Duration::from_mins(15));
        assert_eq!(transfers.extend(extended), extended, "no octet since");
        // A longer deadline stays.
        octets.add(1);
        let later = missed + Duration::from_hours(1);
        assert_eq!(transfers.extend(later), later);
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
        let (sender, deadlines) = channel();
        let (count, missed) = (Arc::clone(&reports), Cell::new(Some(sender.clone())));
        // The deadline passes with the third report, so that no further one can be in progress.
        let report = move || {
            if count.fetch_add(1, Ordering::SeqCst) == 2 {
                missed.take().unwrap().send(Instant::now()).unwrap();
            }
        };
        let thread = thread::spawn(move || {
            let (interval, transfers) = (Duration::from_millis(2), no_transfers());
            report_while_alive(in_a_minute(), interval, &deadlines, transfers, report);
        });
        wait_until(|| reports.load(Ordering::SeqCst) >= 3);
        // Time for some more; a slow host makes the test weaker, not wrong.
        thread::sleep(Duration::from_millis(40));
        assert_eq!(reports.load(Ordering::SeqCst), 3);
        sender.send(in_a_minute()).unwrap();
        wait_until(|| reports.load(Ordering::SeqCst) > 3);
        drop(sender);
        thread.join().unwrap();
    }

    #[test]
    fn the_thread_sees_a_new_deadline_and_ends_with_the_watchdog() {
        let reports = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reports);
        let limit = Some(Duration::from_millis(4));
        let octets = OctetCounter::default();
        let watchdog = Watchdog::start_with(limit, Duration::ZERO, octets, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        watchdog.extend_deadline(Duration::from_mins(1));
        wait_until(|| reports.load(Ordering::SeqCst) > 0);
        drop(watchdog);
        wait_until(|| Arc::strong_count(&reports) == 1);
    }

    #[test]
    fn without_a_limit_there_is_no_thread() {
        let octets = OctetCounter::default();
        let watchdog = Watchdog::start_with(None, Duration::from_mins(1), octets, || {
            panic!("no report is wanted")
        });
        watchdog.extend_deadline(Duration::from_mins(1));
        assert!(watchdog.0.is_none());
    }
}
