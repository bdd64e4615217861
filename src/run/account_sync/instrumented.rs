//! Decorators for both sides of a pass: each step first checks for a requested exit and extends the
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

/// What is known of a pass besides its report.
pub(super) struct PassMonitor<'a> {
    orders: &'a SignalRequests,
    vigil: &'a Watchdog,
    asked_gmail: Cell<bool>,
    is_at_work: Cell<bool>,
}

impl PassMonitor<'_> {
    pub fn new<'a>(orders: &'a SignalRequests, vigil: &'a Watchdog) -> PassMonitor<'a> {
        PassMonitor {
            orders,
            vigil,
            asked_gmail: Cell::new(false),
            is_at_work: Cell::new(false),
        }
    }

    /// Whether Gmail was asked anything, and so was reached if nothing failed.
    pub fn gmail_was_asked(&self) -> bool {
        self.asked_gmail.get()
    }

    /// There is something to do: a pass may take hours, and a person wants to know what it does.
    fn begins_work(&self) {
        if !self.is_at_work.replace(true) {
            systemd::status("copying new mail");
        }
    }

    /// Runs a step, unless an exit was requested.
    fn step<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.orders.exit_requested() {
            return Err(SignalRequests::exit_error());
        }
        self.final_step(step)
    }

    /// Runs a step that also belongs to an orderly exit.
    fn final_step<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.vigil.extend_deadline(PASS_STEP_TIMEOUT);
        step()
    }
}

/// A source under oversight.
pub(super) struct MonitoredSource<'a> {
    source: &'a mut dyn Source,
    oversight: &'a PassMonitor<'a>,
}

impl<'a> MonitoredSource<'a> {
    pub fn new(source: &'a mut dyn Source, oversight: &'a PassMonitor<'a>) -> MonitoredSource<'a> {
        MonitoredSource { source, oversight }
    }
}

impl Source for MonitoredSource<'_> {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        self.oversight.step(|| self.source.search(search))
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        self.oversight.begins_work();
        self.oversight.step(|| self.source.list(uids))
    }

    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>> {
        self.oversight.step(|| self.source.fetch(uids))
    }
}

/// A target under oversight.
pub(super) struct MonitoredTarget<'a> {
    target: &'a mut dyn Target,
    oversight: &'a PassMonitor<'a>,
}

impl<'a> MonitoredTarget<'a> {
    pub fn new(target: &'a mut dyn Target, oversight: &'a PassMonitor<'a>) -> MonitoredTarget<'a> {
        MonitoredTarget { target, oversight }
    }
}

impl Target for MonitoredTarget<'_> {
    fn status(&mut self) -> Result<TargetStatus> {
        self.oversight.asked_gmail.set(true);
        self.oversight.step(|| self.target.status())
    }

    fn announce_backlog(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.target.announce_backlog(backlog, oldest);
    }

    fn holds(&mut self, questions: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.oversight.asked_gmail.set(true);
        self.oversight.step(|| self.target.holds(questions))
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        self.oversight.step(|| self.target.submit(message))
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.target.settled()
    }

    fn finish(&mut self) -> Result<()> {
        self.oversight.final_step(|| self.target.finish())
    }
}
