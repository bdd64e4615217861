//! What the process is asked to do from outside: end, read its configuration again, look now.
//!
//! A thread hears the signals and leaves orders, which the loop finds where it can act on them. To
//! end is urgent: whatever waits for a server then waits no longer than the grace that is left.

use std::fs;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::process::cancel::Canceller;
use crate::timeouts::EXIT_IO_TIMEOUT;
use crate::timeouts::FORCED_EXIT_TIMEOUT;

/// What was asked for and not done yet.
#[derive(Debug, Default)]
pub struct SignalRequests {
    exit: AtomicBool,
    reload: AtomicBool,
    poll: AtomicBool,
}

impl SignalRequests {
    /// Says whether the process shall end.
    #[must_use]
    pub fn exit_requested(&self) -> bool {
        self.exit.load(Ordering::SeqCst)
    }

    /// Says whether the configuration shall be read again, and takes the order.
    #[must_use]
    pub fn take_reload_request(&self) -> bool {
        self.reload.swap(false, Ordering::SeqCst)
    }

    /// Says the same, and leaves the order.
    #[must_use]
    pub fn reload_requested(&self) -> bool {
        self.reload.load(Ordering::SeqCst)
    }

    /// Says whether to look now, and takes the order.
    #[must_use]
    pub fn take_poll_request(&self) -> bool {
        self.poll.swap(false, Ordering::SeqCst)
    }

    /// What ends a run that was asked to end.
    #[must_use]
    pub fn exit_error() -> Error {
        let what = "ended by a signal; the next run goes on from here";
        Error::new(Side::Host, ErrorKind::Resting, env!("CARGO_PKG_NAME"), what)
    }

    /// The same in place of what failed because connections were ended; what the disk does not
    /// take is worth its own words even then.
    #[must_use]
    pub fn replace_error(error: Error) -> Error {
        match error.kind() {
            ErrorKind::Disk | ErrorKind::Internal => error,
            _ => SignalRequests::exit_error(),
        }
    }
}

/// How long the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessMode {
    /// For one pass: it can be ended.
    OneShot,
    /// Until it is ended: it can also be told to read its configuration, or to look.
    Resident,
}

/// Hears signals from now on.
///
/// # Errors
/// [`ErrorKind::Internal`] if the system does not let us.
pub fn hear(life: ProcessMode, tether: Canceller) -> Result<Arc<SignalRequests>> {
    let heard: &[i32] = match life {
        ProcessMode::OneShot => &[SIGTERM, SIGINT],
        ProcessMode::Resident => &[SIGTERM, SIGINT, SIGHUP, SIGUSR1],
    };
    let hangup = HangupAction::of_this_process();
    let signals = Signals::new(heard).map_err(|error| {
        Error::new(Side::Host, ErrorKind::Internal, "signals", error).during("asking for them")
    })?;
    let orders = Arc::new(SignalRequests::default());
    let for_thread = Arc::clone(&orders);
    thread::spawn(move || obey(signals, hangup, &for_thread, &tether));
    Ok(orders)
}

/// Does something during which no signal ends the process: one that comes meanwhile does so after
/// it. For the end of a command that hears no signals otherwise.
pub fn after<T>(work: impl FnOnce() -> T) -> T {
    let came = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        // One that cannot be held back ends the process, as before.
        if let Ok(number) = usize::try_from(signal) {
            let _ = flag::register_usize(signal, Arc::clone(&came), number);
        }
    }
    let done = work();
    if let Ok(signal @ 1..) = i32::try_from(came.load(Ordering::SeqCst)) {
        let _ = low_level::emulate_default_handler(signal);
    }
    done
}

fn obey(mut signals: Signals, hangup: HangupAction, orders: &SignalRequests, tether: &Canceller) {
    for signal in signals.forever() {
        match signal {
            SIGHUP if hangup == HangupAction::Reload => orders.reload.store(true, Ordering::SeqCst),
            SIGUSR1 => orders.poll.store(true, Ordering::SeqCst),
            _ => end(orders, tether),
        }
        tether.wake();
    }
}

/// Asks the loop to end, and sees to it that it does. Whoever asks twice wants it at once: what is
/// on its way stands in the journal, and the next run finds out what became of it.
fn end(orders: &SignalRequests, tether: &Canceller) {
    if orders.exit.swap(true, Ordering::SeqCst) {
        process::exit(0);
    }
    tether.cancel_at(Instant::now() + EXIT_IO_TIMEOUT);
    thread::spawn(|| {
        thread::sleep(FORCED_EXIT_TIMEOUT);
        process::exit(0);
    });
}

/// What SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HangupAction {
    /// The terminal that we belong to is gone.
    Exit,
    /// A service manager, or a person, wants the files read again.
    Reload,
}

impl HangupAction {
    fn of_this_process() -> HangupAction {
        // Every process of a session with a terminal can open it by this name (tty(4)).
        let has_terminal = fs::File::open("/dev/tty").is_ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if has_terminal && !ignores_hangup(&status) {
            HangupAction::Exit
        } else {
            HangupAction::Reload
        }
    }
}

/// Says whether whoever started us wanted us to outlive the terminal (nohup(1)).
fn ignores_hangup(status: &str) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (SIGHUP - 1) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_recognized() {
        assert!(ignores_hangup(
            "Name:\tx\nSigBlk:\t0000\nSigIgn:\t0000000000001001\n"
        ));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }

    #[test]
    fn an_order_is_taken_once() {
        let orders = SignalRequests::default();
        orders.poll.store(true, Ordering::SeqCst);
        assert!(orders.take_poll_request());
        assert!(!orders.take_poll_request());
        assert!(!orders.take_reload_request() && !orders.exit_requested());
    }
}
