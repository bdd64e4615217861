//! Cancellation: lets another thread, such as the signal handler, end a blocking wait.
//!
//! Every wait is one `poll` of the socket and of two events of the [`Canceller`], so a cancellation
//! takes effect at once. What can only block runs on a thread of its own, which is left behind.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::process::suspend::ClockReading;

/// How often a wait looks for a deadline that became earlier.
const DEADLINE_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How often a wait that can be woken compares the clocks, to notice that the host was suspended.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Cancellation handle: lets another thread end a blocking wait. Clones share their state.
///
/// The default handle never cancels anything.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Option<Arc<CancelState>>);

#[derive(Debug)]
struct CancelState {
    /// Readable from a [`wake`](Canceller::wake) until a wait has ended by it.
    wake_event: OwnedFd,
    /// Readable for ever once there is a deadline, so that every wait looks at it.
    cancel_event: OwnedFd,
    deadline: Mutex<Option<Instant>>,
}

/// The canceller's deadline has passed. Of a kind that no caller retries.
pub(crate) fn cancelled_error() -> io::Error {
    io::Error::other("this program is exiting")
}

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SleepResult {
    /// The time has passed, the host was suspended meanwhile, or the sleep was cancelled.
    Elapsed,
    /// [`wake`](Canceller::wake) was called.
    Woken,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitResult {
    /// The socket is ready.
    Ready,
    /// The time has passed, or the clocks diverged: the host was suspended, or its clock was set.
    Elapsed,
    /// [`wake`](Canceller::wake) was called.
    Woken,
    /// The deadline of [`cancel_at`](Canceller::cancel_at) has passed.
    Cancelled,
}

/// What ends a wait early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakeOn {
    /// [`wake`](Canceller::wake), a clock jump, or a cancellation.
    WakeOrCancel,
    /// A cancellation only, as for commands.
    CancelOnly,
}

impl Canceller {
    /// A handle that can wake and cancel.
    ///
    /// # Errors
    /// The process has no file descriptors left.
    pub fn new() -> io::Result<Canceller> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Canceller(Some(Arc::new(CancelState {
            wake_event: eventfd(0, flags)?,
            cancel_event: eventfd(0, flags)?,
            deadline: Mutex::new(None),
        }))))
    }

    /// Ends the current wait for new mail (`ImapSource::wait_for_mail`) or
    /// [`sleep`](Canceller::sleep), or else the next one. Commands are not disturbed.
    pub fn wake(&self) {
        if let Some(state) = &self.0 {
            notify(&state.wake_event);
        }
    }

    /// Makes every operation on a connection that uses this handle fail after `at`: connecting, TLS,
    /// reading, writing, waiting. It also holds for operations in progress; of several deadlines the
    /// earliest holds.
    pub fn cancel_at(&self, at: Instant) {
        let Some(state) = &self.0 else {
            return;
        };
        let mut deadline = state.deadline();
        *deadline = Some(deadline.map_or(at, |earlier| earlier.min(at)));
        notify(&state.cancel_event);
    }

    /// Sleeps until `until`, a wake or a cancellation. Also returns within seconds after the host
    /// resumes from suspend.
    #[must_use]
    pub fn sleep(&self, until: Instant) -> SleepResult {
        match self.wait(None, until, WakeOn::WakeOrCancel) {
            Ok(WaitResult::Woken) => SleepResult::Woken,
            _ => SleepResult::Elapsed,
        }
    }

    /// Whether the deadline has passed, so that no operation can succeed any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let deadline = self.deadline();
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Runs an action that blocks, on a thread of its own, but does not wait for it past `until`. After a
    /// cancellation it does not begin.
    ///
    /// # Errors
    /// No thread can be made; or the time has passed, or the wait was cancelled: then an action that has
    /// begun goes on, and its result is lost.
    pub(crate) fn run_blocking<T: Send + 'static>(
        &self,
        until: Instant,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.is_cancelled() {
            return Err(cancelled_error());
        }
        // Readable once the thread has dropped its end.
        let (ended, running) = UnixStream::pair()?;
        let (sender, result) = channel();
        thread::Builder::new().spawn(move || {
            // Fails if nobody waits any more.
            let _ = sender.send(action());
            drop(running);
        })?;
        let ended = Some((ended.as_fd(), PollFlags::IN));
        match self.wait(ended, until, WakeOn::CancelOnly)? {
            WaitResult::Ready => result.recv().map_err(io::Error::other),
            WaitResult::Cancelled => Err(cancelled_error()),
            WaitResult::Elapsed | WaitResult::Woken => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits until the socket is ready, but not past `until`; without a socket, until then.
    ///
    /// # Errors
    /// `poll` failed.
    pub(crate) fn wait(
        &self,
        socket: Option<(BorrowedFd<'_>, PollFlags)>,
        until: Instant,
        wake_on: WakeOn,
    ) -> io::Result<WaitResult> {
        let start = ClockReading::now();
        while !self.is_cancelled() {
            if let Some(result) = self.poll_once(socket, until, wake_on)? {
                return Ok(result);
            }
            let clock_jumped = wake_on == WakeOn::WakeOrCancel
                && start.clocks_diverged_until(&ClockReading::now());
            if clock_jumped || until <= Instant::now() {
                return Ok(WaitResult::Elapsed);
            }
        }
        Ok(WaitResult::Cancelled)
    }

    /// One `poll`; `None` if nothing happened that ends the wait.
    fn poll_once(
        &self,
        socket: Option<(BorrowedFd<'_>, PollFlags)>,
        until: Instant,
        wake_on: WakeOn,
    ) -> io::Result<Option<WaitResult>> {
        let state = self.0.as_deref();
        // Read once: a deadline that is set from here on ends the poll by its event.
        let deadline = self.deadline();
        let wakes = state.filter(|_| wake_on == WakeOn::WakeOrCancel);
        let cancels = state.filter(|_| deadline.is_none());
        let (mut descriptors, results): (Vec<_>, Vec<_>) = [
            (socket, Some(WaitResult::Ready)),
            (
                wakes.map(|state| readable(&state.wake_event)),
                Some(WaitResult::Woken),
            ),
            (cancels.map(|state| readable(&state.cancel_event)), None),
        ]
        .into_iter()
        .filter_map(|(polled, result)| {
            let (descriptor, flags) = polled?;
            Some((PollFd::from_borrowed_fd(descriptor, flags), result))
        })
        .unzip();
        let timeout = poll_timeout(until, deadline, wake_on);
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = descriptors
            .iter()
            .position(|descriptor| !descriptor.revents().is_empty());
        let result = ready.and_then(|ready| *results.get(ready)?);
        if let (Some(WaitResult::Woken), Some(state)) = (result, state) {
            // Reading resets the event.
            let _ = rustix::io::read(&state.wake_event, &mut [0; 8]);
        }
        Ok(result)
    }

    fn deadline(&self) -> Option<Instant> {
        *self.0.as_ref()?.deadline()
    }
}

impl CancelState {
    fn deadline(&self) -> MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long one `poll` of a wait may last.
fn poll_timeout(until: Instant, deadline: Option<Instant>, wake_on: WakeOn) -> Duration {
    let left = |until: Instant| until.saturating_duration_since(Instant::now());
    let timeout = match deadline {
        Some(deadline) => left(until.min(deadline)).min(DEADLINE_CHECK_INTERVAL),
        None => left(until),
    };
    match wake_on {
        WakeOn::WakeOrCancel => timeout.min(CLOCK_CHECK_INTERVAL),
        WakeOn::CancelOnly => timeout,
    }
}

fn readable(event: &OwnedFd) -> (BorrowedFd<'_>, PollFlags) {
    (event.as_fd(), PollFlags::IN)
}

/// Makes the event readable. One that cannot count further is readable already, so the error does
/// not matter.
fn notify(event: &OwnedFd) {
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    /// Far longer than a test lasts: a wait that ends was ended by the canceller.
    const LONG: Duration = Duration::from_mins(5);

    #[test]
    fn a_sleep_ends_in_time_or_by_a_wake_before_or_during_it() {
        let canceller = Canceller::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(canceller.sleep(soon), SleepResult::Elapsed);
        assert!(soon <= Instant::now());
        canceller.wake();
        canceller.wake();
        assert_eq!(canceller.sleep(Instant::now() + LONG), SleepResult::Woken);
        assert_eq!(
            canceller.sleep(Instant::now()),
            SleepResult::Elapsed,
            "a wake ends one sleep"
        );
        let waker = canceller.clone();
        let sleeper = thread::spawn(move || canceller.sleep(Instant::now() + LONG));
        waker.wake();
        assert_eq!(sleeper.join().unwrap(), SleepResult::Woken);
    }

    #[test]
    fn the_default_canceller_never_cancels() {
        let canceller = Canceller::default();
        canceller.wake();
        canceller.cancel_at(Instant::now());
        assert!(!canceller.is_cancelled());
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(canceller.sleep(soon), SleepResult::Elapsed);
        assert!(soon <= Instant::now());
    }

    #[test]
    fn a_deadline_ends_all_waits_and_the_earliest_holds() {
        let canceller = Canceller::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let wait = |wake_on| {
            let (canceller, silent) = (canceller.clone(), silent.try_clone().unwrap());
            thread::spawn(move || {
                let socket = Some((silent.as_fd(), PollFlags::IN));
                canceller
                    .wait(socket, Instant::now() + LONG, wake_on)
                    .unwrap()
            })
        };
        let waiting = [
            wait(WakeOn::CancelOnly),
            wait(WakeOn::CancelOnly),
            wait(WakeOn::WakeOrCancel),
        ];
        canceller.cancel_at(Instant::now() + LONG);
        canceller.cancel_at(Instant::now() + Duration::from_millis(100));
        canceller.cancel_at(Instant::now() + LONG);
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), WaitResult::Cancelled);
        }
        assert!(canceller.is_cancelled());
    }

    #[test]
    fn a_wake_does_not_disturb_commands() {
        let canceller = Canceller::new().unwrap();
        canceller.wake();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(
            canceller.wait(None, soon, WakeOn::CancelOnly).unwrap(),
            WaitResult::Elapsed
        );
        assert_eq!(canceller.sleep(Instant::now() + LONG), SleepResult::Woken);
    }

    #[test]
    fn a_blocking_action_is_left_when_cancelled_or_when_its_time_is_over() {
        let canceller = Canceller::new().unwrap();
        let long = Instant::now() + Duration::from_mins(5);
        assert_eq!(canceller.run_blocking(long, || 7).unwrap(), 7);
        let (_never, receiver) = channel::<()>();
        let block = move || receiver.recv();
        let soon = Instant::now() + Duration::from_millis(20);
        let late = canceller.run_blocking(soon, block).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let (_never, receiver) = channel::<()>();
        canceller.cancel_at(Instant::now() + Duration::from_millis(20));
        let result = canceller.run_blocking(long, move || receiver.recv());
        assert_eq!(result.unwrap_err().to_string(), "this program is exiting");
        let (sender, receiver) = channel();
        let result = canceller.run_blocking(long, move || sender.send(()));
        assert_eq!(result.unwrap_err().to_string(), "this program is exiting");
        let did_begin = receiver.recv_timeout(Duration::from_secs(1)).is_ok();
        assert!(!did_begin, "it is cancelled already");
    }
}
