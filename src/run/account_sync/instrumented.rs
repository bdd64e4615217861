//! Decorators for both sides of a pass: each step first checks for an exit request and extends the
//! watchdog's deadline.

use std::cell::Cell;

use chrono::{DateTime, FixedOffset};

use crate::error::Result;
use crate::message::{Listed, Message, Uid, UidSet};
use crate::process::signals::SignalRequests;
use crate::process::systemd;
use crate::process::watchdog::Watchdog;
use crate::sync::{
    Fetched, LookupQuery, LookupResult, Outcome, Source, SourceSearch, Target, TargetStatus,
};
use crate::timeouts::PASS_STEP_TIMEOUT;

/// What both decorators of a pass share.
pub(super) struct PassMonitor<'a> {
    requests: &'a SignalRequests,
    watchdog: &'a Watchdog,
    used_gmail: Cell<bool>,
    is_copying: Cell<bool>,
}

impl PassMonitor<'_> {
    pub fn new<'a>(requests: &'a SignalRequests, watchdog: &'a Watchdog) -> PassMonitor<'a> {
        PassMonitor {
            requests,
            watchdog,
            used_gmail: Cell::new(false),
            is_copying: Cell::new(false),
        }
    }

    /// Whether Gmail was used, and so is available if nothing failed.
    pub fn used_gmail(&self) -> bool {
        self.used_gmail.get()
    }

    /// Shows in `systemctl status` that there is new mail, because copying it may take hours.
    fn report_copying(&self) {
        if !self.is_copying.replace(true) {
            systemd::status("copying new mail");
        }
    }

    /// Runs a step, unless an exit was requested.
    fn step<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.requests.exit_requested() {
            return Err(SignalRequests::exit_error());
        }
        self.final_step(step)
    }

    /// Runs a step that is also part of an orderly exit.
    fn final_step<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.watchdog.extend_deadline(PASS_STEP_TIMEOUT);
        step()
    }
}

/// A source whose steps are monitored.
pub(super) struct MonitoredSource<'a> {
    source: &'a mut dyn Source,
    monitor: &'a PassMonitor<'a>,
}

impl<'a> MonitoredSource<'a> {
    pub fn new(source: &'a mut dyn Source, monitor: &'a PassMonitor<'a>) -> MonitoredSource<'a> {
        MonitoredSource { source, monitor }
    }
}

impl Source for MonitoredSource<'_> {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        self.monitor.step(|| self.source.search(search))
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        self.monitor.report_copying();
        self.monitor.step(|| self.source.list(uids))
    }

    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>> {
        self.monitor.step(|| self.source.fetch(uids))
    }
}

/// A target whose steps are monitored.
pub(super) struct MonitoredTarget<'a> {
    target: &'a mut dyn Target,
    monitor: &'a PassMonitor<'a>,
}

impl<'a> MonitoredTarget<'a> {
    pub fn new(target: &'a mut dyn Target, monitor: &'a PassMonitor<'a>) -> MonitoredTarget<'a> {
        MonitoredTarget { target, monitor }
    }
}

impl Target for MonitoredTarget<'_> {
    fn status(&mut self) -> Result<TargetStatus> {
        self.monitor.used_gmail.set(true);
        self.monitor.step(|| self.target.status())
    }

    fn announce_backlog(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.target.announce_backlog(backlog, oldest);
    }

    fn holds(&mut self, queries: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.monitor.used_gmail.set(true);
        self.monitor.step(|| self.target.holds(queries))
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        self.monitor.step(|| self.target.submit(message))
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.target.settled()
    }

    fn finish(&mut self) -> Result<()> {
        self.monitor.final_step(|| self.target.finish())
    }
}
