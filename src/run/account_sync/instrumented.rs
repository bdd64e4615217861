//! A decorator for both sides of a pass: each step first checks for an exit request and extends the
//! watchdog's deadline.

use std::cell::Cell;

use chrono::{DateTime, FixedOffset};

use crate::error::Result;
use crate::message::{Listed, Mailbox, Message, MessagePlace, Uid, UidSet};
use crate::process::signals::SignalRequests;
use crate::process::systemd;
use crate::run::context::RunContext;
use crate::sync::{
    Fetched, FoundPlace, LabelRequest, LookupQuery, LookupResult, MessageVersion, Outcome,
    RejectedLabels, Source, SourceSearch, Target, TargetStatus,
};
use crate::timeouts::PASS_STEP_TIMEOUT;

/// What both sides of a pass share.
pub(super) struct PassMonitor<'a> {
    context: &'a RunContext<'a>,
    /// Whether Gmail was used, and so is available if nothing failed.
    pub used_gmail: Cell<bool>,
    is_copying: Cell<bool>,
}

/// A source or a target whose steps are monitored.
pub(super) struct Monitored<'a, T: ?Sized> {
    inner: &'a mut T,
    monitor: &'a PassMonitor<'a>,
}

impl<'a> PassMonitor<'a> {
    pub fn new(context: &'a RunContext<'a>) -> PassMonitor<'a> {
        PassMonitor {
            context,
            used_gmail: Cell::new(false),
            is_copying: Cell::new(false),
        }
    }

    pub fn monitor<T: ?Sized>(&'a self, inner: &'a mut T) -> Monitored<'a, T> {
        let monitor = self;
        Monitored { inner, monitor }
    }

    /// Runs a step, unless an exit was requested.
    fn step<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_ending() {
            return Err(SignalRequests::exit_error());
        }
        self.final_step(step)
    }

    fn is_ending(&self) -> bool {
        self.context.requests.exit_requested()
    }

    /// Runs a step that is also part of an orderly exit.
    fn final_step<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.context.watchdog.extend_deadline(PASS_STEP_TIMEOUT);
        step()
    }
}

impl<S: Source + ?Sized> Source for Monitored<'_, S> {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        self.monitor.step(|| self.inner.search(search))
    }

    fn correct_uid_next(&mut self, mailbox: &Mailbox) -> Result<Option<Uid>> {
        self.monitor.step(|| self.inner.correct_uid_next(mailbox))
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        // There is new mail, and copying it may take hours.
        if !self.monitor.is_copying.replace(true) {
            systemd::status("copying new mail");
        }
        self.monitor.step(|| self.inner.list(uids))
    }

    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>> {
        self.monitor.step(|| self.inner.fetch(uids))
    }

    fn prefetch(&mut self, groups: &[Vec<Uid>]) {
        if !self.monitor.is_ending() {
            self.inner.prefetch(groups);
        }
    }
}

impl<T: Target + ?Sized> Target for Monitored<'_, T> {
    fn status(&mut self) -> Result<TargetStatus> {
        self.monitor.used_gmail.set(true);
        self.monitor.step(|| self.inner.status())
    }

    fn refresh_status(&mut self) -> Result<TargetStatus> {
        self.monitor.step(|| self.inner.refresh_status())
    }

    fn prepare(&mut self) {
        if !self.monitor.is_ending() {
            self.inner.prepare();
        }
    }

    fn announce_backlog(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.inner.announce_backlog(backlog, oldest);
    }

    fn holds(&mut self, queries: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.monitor.used_gmail.set(true);
        self.monitor.step(|| self.inner.holds(queries))
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        self.monitor.step(|| self.inner.submit(message))
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.inner.settled()
    }

    fn finish(&mut self) -> Result<()> {
        self.monitor.final_step(|| self.inner.finish())
    }

    fn prepare_labels(&mut self) {
        if !self.monitor.is_ending() {
            self.inner.prepare_labels();
        }
    }

    fn find_places(&mut self, queries: &[LookupQuery]) -> Result<Vec<FoundPlace>> {
        self.monitor.used_gmail.set(true);
        self.monitor.step(|| self.inner.find_places(queries))
    }

    fn versions(&mut self, places: &[MessagePlace]) -> Result<Vec<MessageVersion>> {
        self.monitor.used_gmail.set(true);
        self.monitor.step(|| self.inner.versions(places))
    }

    fn set_labels(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>> {
        self.monitor.step(|| self.inner.set_labels(requests))
    }
}
