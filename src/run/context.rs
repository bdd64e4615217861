//! What a run needs of its process.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, Side};
use crate::net::ConnectionOptions;
use crate::process::alert_log::AlertLog;
use crate::process::cancel::Canceller;
use crate::process::logging::LogHandle;
use crate::process::octet_counter::OctetCounter;
use crate::process::signals::{self, ForcedExit, SignalRequests};
use crate::process::watchdog::Watchdog;
use crate::run::RunMode;
use crate::run::timing::Timing;
use crate::sync::Progress;
use crate::timeouts::PASS_STEP_TIMEOUT;

pub(crate) struct RunContext<'a> {
    pub timing: &'a Timing,
    /// Ends waits on all connections.
    pub canceller: Canceller,
    pub alert_log: AlertLog,
    pub requests: Arc<SignalRequests>,
    /// Reports to systemd that the run does not hang.
    pub watchdog: Watchdog,
    /// Counts what all connections transfer, for the watchdog.
    octets: OctetCounter,
    /// Makes the progress display of a pass.
    pub new_progress: &'a dyn Fn() -> Box<dyn Progress>,
}

impl<'a> RunContext<'a> {
    /// Starts to receive signals, and with `--watch` to report to systemd's watchdog.
    pub fn start(
        mode: RunMode,
        timing: &'a Timing,
        new_progress: &'a dyn Fn() -> Box<dyn Progress>,
        log: LogHandle,
        forced_exit: ForcedExit,
    ) -> Result<RunContext<'a>> {
        let canceller = Canceller::new()
            .map_err(|error| Error::new(Side::Host, ErrorKind::Internal, "pipe", error))?;
        let octets = OctetCounter::default();
        let (signals, watchdog) = match mode {
            RunMode::Watch(_) => {
                let watchdog = Watchdog::start(PASS_STEP_TIMEOUT, octets.clone());
                (signals::WATCH_SIGNALS, watchdog)
            }
            RunMode::Once | RunMode::DryRun => (signals::RUN_SIGNALS, Watchdog::default()),
        };
        Ok(RunContext {
            timing,
            requests: signals::listen(signals, canceller.clone(), log, forced_exit)?,
            canceller,
            alert_log: AlertLog::default(),
            watchdog,
            octets,
            new_progress,
        })
    }

    pub fn connection_options(&self) -> ConnectionOptions {
        ConnectionOptions {
            side: Side::Host,
            timeouts: self.timing.timeouts,
            canceller: self.canceller.clone(),
            alert_log: self.alert_log.clone(),
            octets: self.octets.clone(),
            silence: None,
            recorder: None,
        }
    }
}
