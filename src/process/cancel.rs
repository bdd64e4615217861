//! Cancellation: lets another thread, such as the signal handler, end a blocking wait.
//!
//! Every wait is one `poll` of the socket and of two pipes of the [`Canceller`], so a cancellation
//! takes effect at once. Only a host name lookup cannot be cancelled; the system's resolver has its
//! own time-outs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

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
    /// Holds an octet from a [`wake`](Canceller::wake) until a wait has ended by it.
    wake_pipe: WakePipe,
    /// Holds an octet for ever once there is a deadline, so that every wait looks at it.
    cancel_pipe: WakePipe,
    deadline: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct WakePipe {
    reader: OwnedFd,
    writer: OwnedFd,
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
    /// The time has passed.
    Elapsed,
    /// The clocks diverged: the host was suspended, or its clock was set.
    ClockJump,
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
        Ok(Canceller(Some(Arc::new(CancelState {
            wake_pipe: WakePipe::new()?,
            cancel_pipe: WakePipe::new()?,
            deadline: Mutex::new(None),
        }))))
    }

    /// Ends the current wait for new mail (`ImapSource::wait_for_mail`) or
    /// [`sleep`](Canceller::sleep), or else the next one. Commands are not disturbed.
    pub fn wake(&self) {
        if let Some(state) = &self.0 {
            state.wake_pipe.notify();
        }
    }

    /// Makes every operation on a connection that uses this handle fail after `at`: connecting, TLS,
    /// reading, writing, waiting. It also holds for operations in progress; of several deadlines the
    /// earliest holds. After it no host name lookup starts, but one in progress continues.
    pub fn cancel_at(&self, at: Instant) {
        let Some(state) = &self.0 else {
            return;
        };
        let mut deadline = state
            .deadline
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *deadline = Some(deadline.map_or(at, |earlier| earlier.min(at)));
        state.cancel_pipe.notify();
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
        self.deadline()
            .is_some_and(|deadline| deadline <= Instant::now())
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
        loop {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(WaitResult::Cancelled);
            }
            let timeout = poll_timeout(now, until, deadline, wake_on);
            match self.poll_once(socket, timeout, wake_on)? {
                Some(result) => return Ok(result),
                None if wake_on == WakeOn::WakeOrCancel
                    && start.clocks_diverged_until(&ClockReading::now()) =>
                {
                    return Ok(WaitResult::ClockJump);
                }
                None if until <= Instant::now() => return Ok(WaitResult::Elapsed),
                None => {}
            }
        }
    }

    /// One `poll`; `None` if nothing happened that ends the wait.
    fn poll_once(
        &self,
        socket: Option<(BorrowedFd<'_>, PollFlags)>,
        timeout: Duration,
        wake_on: WakeOn,
    ) -> io::Result<Option<WaitResult>> {
        let mut polled: Vec<(PollFd<'_>, Option<WaitResult>)> = Vec::with_capacity(3);
        if let Some((socket, flags)) = socket {
            polled.push((
                PollFd::from_borrowed_fd(socket, flags),
                Some(WaitResult::Ready),
            ));
        }
        if let Some(state) = &self.0 {
            if wake_on == WakeOn::WakeOrCancel {
                polled.push((
                    PollFd::from_borrowed_fd(state.wake_pipe.reader.as_fd(), PollFlags::IN),
                    Some(WaitResult::Woken),
                ));
            }
            if self.deadline().is_none() {
                polled.push((
                    PollFd::from_borrowed_fd(state.cancel_pipe.reader.as_fd(), PollFlags::IN),
                    None,
                ));
            }
        }
        let (mut descriptors, results): (Vec<_>, Vec<_>) = polled.into_iter().unzip();
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = descriptors
            .iter()
            .zip(results)
            .filter(|(descriptor, _)| !descriptor.revents().is_empty());
        let result = ready.next().and_then(|(_, result)| result);
        if let (Some(WaitResult::Woken), Some(state)) = (result, &self.0) {
            state.wake_pipe.drain();
        }
        Ok(result)
    }

    fn deadline(&self) -> Option<Instant> {
        let state = self.0.as_ref()?;
        *state
            .deadline
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long one `poll` of a wait may last.
fn poll_timeout(
    now: Instant,
    until: Instant,
    deadline: Option<Instant>,
    wake_on: WakeOn,
) -> Duration {
    let mut left = until.saturating_duration_since(now);
    if let Some(deadline) = deadline {
        left = left
            .min(deadline.saturating_duration_since(now))
            .min(DEADLINE_CHECK_INTERVAL);
    }
    match wake_on {
        WakeOn::WakeOrCancel => left.min(CLOCK_CHECK_INTERVAL),
        WakeOn::CancelOnly => left,
    }
}

impl WakePipe {
    fn new() -> io::Result<WakePipe> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(WakePipe { reader, writer })
    }

    /// Makes the pipe readable. A full pipe is readable already, so the error does not matter.
    fn notify(&self) {
        let _ = rustix::io::write(&self.writer, b".");
    }

    fn drain(&self) {
        let mut octets = [0; 64];
        while rustix::io::read(&self.reader, &mut octets).is_ok_and(|length| length > 0) {}
    }
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
}
