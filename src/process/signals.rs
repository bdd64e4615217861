//! Signals: requests to exit, to reload the configuration and the log file, or to check the source.
//!
//! A thread receives the signals and sets flags, which the main loop reads where it can act on them.
//! An exit request also ends waits: see [`Canceller`].

use std::fs;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::process::cancel::Canceller;
use crate::process::logging::LogHandle;
use crate::timeouts::{EXIT_IO_TIMEOUT, FORCED_EXIT_TIMEOUT};

/// The requests that signals have made.
#[derive(Debug, Default)]
pub(crate) struct SignalRequests {
    exit: AtomicBool,
    reload: AtomicBool,
    poll: AtomicBool,
}

impl SignalRequests {
    pub fn exit_requested(&self) -> bool {
        self.exit.load(Ordering::SeqCst)
    }

    /// Requests that the configuration is reloaded, as SIGHUP does.
    pub fn request_reload(&self) {
        self.reload.store(true, Ordering::SeqCst);
    }

    pub fn reload_requested(&self) -> bool {
        self.reload.load(Ordering::SeqCst)
    }

    /// Whether the configuration must be reloaded; clears the request.
    pub fn take_reload_request(&self) -> bool {
        self.reload.swap(false, Ordering::SeqCst)
    }

    /// Whether the source must be checked now; clears the request.
    pub fn take_poll_request(&self) -> bool {
        self.poll.swap(false, Ordering::SeqCst)
    }

    /// The error of an operation that ends because of an exit request.
    pub fn exit_error() -> Error {
        let what = "ended by a signal; the next run continues from here";
        Error::new(Side::Host, ErrorKind::Resting, env!("CARGO_PKG_NAME"), what)
    }

    /// After an exit request, which makes connections fail, replaces an error by
    /// [`exit_error`](Self::exit_error). A failure on this host stays.
    pub fn replace_error(&self, error: Error) -> Error {
        let is_on_host = matches!(error.kind(), ErrorKind::Disk | ErrorKind::Internal);
        if is_on_host || !self.exit_requested() {
            return error;
        }
        SignalRequests::exit_error()
    }
}

/// The signals that a one-shot run handles. It reloads nothing but the log file.
pub(crate) const RUN_SIGNALS: &[i32] = &[SIGTERM, SIGINT, SIGHUP];

/// The signals that `--watch` handles.
pub(crate) const WATCH_SIGNALS: &[i32] = &[SIGTERM, SIGINT, SIGHUP, SIGUSR1];

/// Exits the process, because it did not end in time after an exit request, or got a second one.
pub(crate) type ForcedExit = Arc<dyn Fn() + Send + Sync>;

/// A run may end at any moment, as is in order: the next one continues from there.
pub(crate) fn exit_of_a_run() -> ForcedExit {
    Arc::new(|| process::exit(0))
}

/// Starts the thread that receives these signals.
pub(crate) fn listen(
    signals: &[i32],
    canceller: Canceller,
    log: LogHandle,
    forced_exit: ForcedExit,
) -> Result<Arc<SignalRequests>> {
    let reload_on_hangup = hangup_means_reload();
    let signals = Signals::new(signals).map_err(|error| {
        Error::new(Side::Host, ErrorKind::Internal, "signals", error).during("registering them")
    })?;
    let requests = Arc::new(SignalRequests::default());
    let for_thread = Arc::clone(&requests);
    thread::spawn(move || {
        receive_signals(
            signals,
            reload_on_hangup,
            &for_thread,
            &canceller,
            &log,
            &forced_exit,
        );
    });
    Ok(requests)
}

/// Whether a signal ends process 1 at once: see [`let_signals_end_process_1`].
static ENDS_PROCESS_1: LazyLock<Arc<AtomicBool>> =
    LazyLock::new(|| Arc::new(AtomicBool::new(true)));

/// Exits on SIGINT and SIGTERM if this is process 1, as it is in a container: the kernel ignores them
/// for process 1 as long as it has no handler. For a command that otherwise does not handle signals.
pub(crate) fn let_signals_end_process_1() {
    if process::id() != 1 {
        return;
    }
    for signal in [SIGINT, SIGTERM] {
        let ends = Arc::clone(&ENDS_PROCESS_1);
        // Without the handler the signal is ignored, as before.
        let _ = flag::register_conditional_shutdown(signal, exit_status_of(signal), ends);
    }
}

/// The exit status of a process that a signal ended, as shells have it.
fn exit_status_of(signal: i32) -> i32 {
    128 + signal
}

/// Runs `work` with SIGINT and SIGTERM held back: one that arrives meanwhile ends the process
/// afterwards. For the end of a command that otherwise does not handle signals.
pub(crate) fn after<T>(work: impl FnOnce() -> T) -> T {
    let received = Arc::new(AtomicUsize::new(0));
    ENDS_PROCESS_1.store(false, Ordering::SeqCst);
    for signal in [SIGINT, SIGTERM] {
        // A signal that cannot be held back ends the process at once, as before.
        if let Ok(number) = usize::try_from(signal) {
            let _ = flag::register_usize(signal, Arc::clone(&received), number);
        }
    }
    let done = work();
    if let Ok(signal @ 1..) = i32::try_from(received.load(Ordering::SeqCst)) {
        if process::id() == 1 {
            process::exit(exit_status_of(signal));
        }
        let _ = low_level::emulate_default_handler(signal);
    }
    done
}

fn receive_signals(
    mut signals: Signals,
    reload_on_hangup: bool,
    requests: &SignalRequests,
    canceller: &Canceller,
    log: &LogHandle,
    forced_exit: &ForcedExit,
) {
    for signal in signals.forever() {
        match signal {
            SIGHUP if reload_on_hangup => {
                log.reopen();
                requests.request_reload();
            }
            SIGUSR1 => requests.poll.store(true, Ordering::SeqCst),
            _ => request_exit(requests, canceller, forced_exit),
        }
        canceller.wake();
    }
}

/// Requests an exit, and enforces it after a time-out. A second request exits at once: appends in
/// flight are in the journal, and the next run looks them up.
fn request_exit(requests: &SignalRequests, canceller: &Canceller, forced_exit: &ForcedExit) {
    if requests.exit.swap(true, Ordering::SeqCst) {
        forced_exit();
    }
    canceller.cancel_at(Instant::now() + EXIT_IO_TIMEOUT);
    let forced_exit = Arc::clone(forced_exit);
    thread::spawn(move || {
        thread::sleep(FORCED_EXIT_TIMEOUT);
        forced_exit();
    });
}

/// Whether SIGHUP means that a service manager or the user wants the configuration reloaded; else the
/// controlling terminal was closed, and the process exits.
fn hangup_means_reload() -> bool {
    // Every process of a session with a terminal can open it by this name (tty(4)).
    let has_terminal = fs::File::open("/dev/tty").is_ok();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    !has_terminal || ignores_hangup(&status)
}

/// Whether the process was started so that it outlives the terminal (nohup(1)).
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
    fn a_request_is_taken_once() {
        let requests = SignalRequests::default();
        requests.poll.store(true, Ordering::SeqCst);
        assert!(requests.take_poll_request());
        assert!(!requests.take_poll_request());
        assert!(!requests.take_reload_request() && !requests.exit_requested());
    }
}
