//! What lets another thread, a signal's, end waits on connections.
//!
//! Everything here that waits does so by one `poll` over its socket and the tether, so it notices
//! at once. Only the look-up of a host name cannot be ended from outside: the system's resolver
//! has its own time-outs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::process::suspend::ClockReading;

/// How soon an earlier limit than the one that holds is noticed.
const NOTICE: Duration = Duration::from_millis(50);

/// How soon a wait for news notices that the clocks went apart, because the host slept.
const CLOCK_LOOK: Duration = Duration::from_secs(5);

/// What lets another thread end waits on connections. Clones share it.
///
/// The default is one that nobody ever pulls, for those who need none.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Option<Arc<CancelState>>);

#[derive(Debug)]
struct CancelState {
    /// Has an octet in it while a call was not heard yet.
    wake_pipe: WakePipe,
    /// Has an octet in it, for ever, once there is a limit: whoever waits must look at it.
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
    /// The time has come, or the host slept meanwhile.
    Elapsed,
    /// Somebody called.
    Woken,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitResult {
    /// The socket can be used.
    Ready,
    /// The time has come.
    Elapsed,
    /// The clocks went apart: the host slept, or its clock was set.
    ClockJump,
    /// Somebody called.
    Woken,
    /// The limit has passed.
    Cancelled,
}

/// Whether a wait is one for news, which a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakeOn {
    WakeOrCancel,
    CancelOnly,
}

impl Canceller {
    /// A tether that can be pulled.
    ///
    /// # Errors
    /// The system gives no more file descriptors.
    pub fn new() -> io::Result<Canceller> {
        Ok(Canceller(Some(Arc::new(CancelState {
            wake_pipe: WakePipe::new()?,
            cancel_pipe: WakePipe::new()?,
            deadline: Mutex::new(None),
        }))))
    }

    /// Ends a wait for news (`ImapSource::wait_for_mail`, [`sleep`](Canceller::sleep)) that is on, or else the
    /// next one. It does not disturb commands.
    pub fn wake(&self) {
        if let Some(line) = &self.0 {
            line.wake_pipe.notify();
        }
    }

    /// From now on nothing on a connection that is tied to it lasts past this moment: connecting,
    /// TLS, reading, writing, waiting. It holds at once, also for who waits already; of several,
    /// the earliest counts. Looking up a host name is not begun any more, but goes on if it has
    /// begun.
    pub fn cancel_at(&self, at: Instant) {
        let Some(line) = &self.0 else {
            return;
        };
        let mut limit = line.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        *limit = Some(limit.map_or(at, |before| before.min(at)));
        line.cancel_pipe.notify();
    }

    /// Sleeps until this moment, a call, or the limit. Ends at once, as if the time had come, when
    /// the host was suspended meanwhile (within seconds of waking up).
    #[must_use]
    pub fn sleep(&self, until: Instant) -> SleepResult {
        match self.wait(None, until, WakeOn::WakeOrCancel) {
            Ok(WaitResult::Woken) => SleepResult::Woken,
            _ => SleepResult::Elapsed,
        }
    }

    /// Says whether the limit has passed: nothing more can be done.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.deadline().is_some_and(|limit| limit <= Instant::now())
    }

    /// Waits until the socket can be used, or for nothing; not past this moment.
    ///
    /// # Errors
    /// The system cannot wait.
    pub(crate) fn wait(
        &self,
        socket: Option<(BorrowedFd<'_>, PollFlags)>,
        until: Instant,
        hears: WakeOn,
    ) -> io::Result<WaitResult> {
        let clocks = ClockReading::now();
        loop {
            let now = Instant::now();
            let limit = self.deadline();
            if limit.is_some_and(|limit| limit <= now) {
                return Ok(WaitResult::Cancelled);
            }
            let stir = self.poll_once(socket, slice(now, until, limit, hears), hears)?;
            match stir {
                Some(stir) => return Ok(stir),
                None if hears == WakeOn::WakeOrCancel && clocks.clocks_diverged() => {
                    return Ok(WaitResult::ClockJump);
                }
                None if until <= Instant::now() => return Ok(WaitResult::Elapsed),
                None => {}
            }
        }
    }

    /// One poll.
    fn poll_once(
        &self,
        socket: Option<(BorrowedFd<'_>, PollFlags)>,
        at_most: Duration,
        hears: WakeOn,
    ) -> io::Result<Option<WaitResult>> {
        let mut asked: Vec<(PollFd<'_>, Option<WaitResult>)> = Vec::with_capacity(3);
        if let Some((socket, flags)) = socket {
            asked.push((
                PollFd::from_borrowed_fd(socket, flags),
                Some(WaitResult::Ready),
            ));
        }
        if let Some(line) = &self.0 {
            if hears == WakeOn::WakeOrCancel {
                let calls = line.wake_pipe.reader.as_fd();
                asked.push((
                    PollFd::from_borrowed_fd(calls, PollFlags::IN),
                    Some(WaitResult::Woken),
                ));
            }
            if self.deadline().is_none() {
                let limits = line.cancel_pipe.reader.as_fd();
                asked.push((PollFd::from_borrowed_fd(limits, PollFlags::IN), None));
            }
        }
        let (mut descriptors, meanings): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let timeout = Timespec::try_from(at_most).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut stirred = descriptors
            .iter()
            .zip(meanings)
            .filter(|(descriptor, _)| !descriptor.revents().is_empty());
        let stir = stirred.next().and_then(|(_, stir)| stir);
        if let (Some(WaitResult::Woken), Some(line)) = (stir, &self.0) {
            line.wake_pipe.drain();
        }
        Ok(stir)
    }

    fn deadline(&self) -> Option<Instant> {
        let line = self.0.as_ref()?;
        *line.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long one poll may last.
fn slice(now: Instant, until: Instant, limit: Option<Instant>, hears: WakeOn) -> Duration {
    let mut left = until.saturating_duration_since(now);
    if let Some(limit) = limit {
        left = left.min(limit.saturating_duration_since(now)).min(NOTICE);
    }
    match hears {
        WakeOn::WakeOrCancel => left.min(CLOCK_LOOK),
        WakeOn::CancelOnly => left,
    }
}

impl WakePipe {
    fn new() -> io::Result<WakePipe> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(WakePipe { reader, writer })
    }

    /// A pipe that is full says what is to be said.
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

    /// Far longer than a test lasts: what ends before was ended.
    const LONG: Duration = Duration::from_mins(5);

    #[test]
    fn a_sleep_ends_in_time_or_by_a_call_whenever_it_came() {
        let tether = Canceller::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(tether.sleep(soon), SleepResult::Elapsed);
        assert!(soon <= Instant::now());
        tether.wake();
        tether.wake();
        assert_eq!(tether.sleep(Instant::now() + LONG), SleepResult::Woken);
        assert_eq!(
            tether.sleep(Instant::now()),
            SleepResult::Elapsed,
            "heard once"
        );
        let caller = tether.clone();
        let sleeper = thread::spawn(move || tether.sleep(Instant::now() + LONG));
        caller.wake();
        assert_eq!(sleeper.join().unwrap(), SleepResult::Woken);
    }

    #[test]
    fn a_tether_that_nobody_pulls_only_sleeps() {
        let tether = Canceller::default();
        tether.wake();
        tether.cancel_at(Instant::now());
        assert!(!tether.is_cancelled());
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(tether.sleep(soon), SleepResult::Elapsed);
        assert!(soon <= Instant::now());
    }

    #[test]
    fn a_limit_ends_all_who_wait_and_only_the_earliest_counts() {
        let tether = Canceller::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let wait = |hears| {
            let (tether, silent) = (tether.clone(), silent.try_clone().unwrap());
            thread::spawn(move || {
                let socket = Some((silent.as_fd(), PollFlags::IN));
                tether.wait(socket, Instant::now() + LONG, hears).unwrap()
            })
        };
        let waiting = [
            wait(WakeOn::CancelOnly),
            wait(WakeOn::CancelOnly),
            wait(WakeOn::WakeOrCancel),
        ];
        tether.cancel_at(Instant::now() + LONG);
        tether.cancel_at(Instant::now() + Duration::from_millis(100));
        tether.cancel_at(Instant::now() + LONG);
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), WaitResult::Cancelled);
        }
        assert!(tether.is_cancelled());
    }

    #[test]
    fn a_call_does_not_disturb_commands() {
        let tether = Canceller::new().unwrap();
        tether.wake();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(
            tether.wait(None, soon, WakeOn::CancelOnly).unwrap(),
            WaitResult::Elapsed
        );
        assert_eq!(tether.sleep(Instant::now() + LONG), SleepResult::Woken);
    }
}
