//! A worker: one append connection on a thread of its own. Messages in, outcomes out, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use crate::delivery::gmail_imap::append::{AppendAttempt, AppendConnection};
use crate::error::{Error, ErrorKind};
use crate::message::{Message, Uid};
use crate::sync::Outcome;

/// What a worker reports to the pool.
pub(super) enum WorkerReport {
    /// It is logged in.
    LoggedIn,
    /// A message has its outcome.
    Settled(Uid, Outcome),
    /// It sends no more messages, and ends when the pool drops the sender of its messages.
    Failed(Error),
    /// It has ended, and these messages were not sent.
    Ended(Vec<Message>),
}

pub(super) struct AppendWorker {
    connection: AppendConnection,
    number: usize,
    reports: Sender<(usize, WorkerReport)>,
    /// Set when the pass has failed: nothing more is sent.
    stop: Arc<AtomicBool>,
    unsent: Vec<Message>,
    has_ended: bool,
}

impl AppendWorker {
    pub(super) fn new(
        connection: AppendConnection,
        number: usize,
        reports: Sender<(usize, WorkerReport)>,
        stop: Arc<AtomicBool>,
    ) -> AppendWorker {
        AppendWorker {
            connection,
            number,
            reports,
            stop,
            unsent: Vec::new(),
            has_ended: false,
        }
    }

    /// Appends messages until the pool drops their sender.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        match self.connection.open() {
            Ok(()) => self.report(WorkerReport::LoggedIn),
            Err(error) => self.fail(error, messages),
        }
        for message in messages {
            self.append(message, messages);
        }
        self.connection.close();
        self.has_ended = true;
        let unsent = std::mem::take(&mut self.unsent);
        self.report(WorkerReport::Ended(unsent));
    }

    fn append(&mut self, mut message: Message, messages: &Receiver<Message>) {
        if self.stop.load(Ordering::Relaxed) {
            self.unsent.push(message);
            return;
        }
        match self.connection.append(&mut message) {
            AppendAttempt::Settled(outcome) | AppendAttempt::StaleConnection(outcome) => {
                self.report(WorkerReport::Settled(message.uid, outcome));
            }
            AppendAttempt::SettledAndFailed(outcome, error) => {
                // The error first: with its last outcome the pass would seem complete.
                self.report(WorkerReport::Failed(error));
                self.report(WorkerReport::Settled(message.uid, outcome));
                self.unsent.extend(messages);
            }
            AppendAttempt::Unsent(error) => {
                self.unsent.push(message);
                self.fail(error, messages);
            }
        }
    }

    /// Reports a failure and collects what the pool sends until it has read the report.
    fn fail(&mut self, error: Error, messages: &Receiver<Message>) {
        self.report(WorkerReport::Failed(error));
        self.unsent.extend(messages);
    }

    fn report(&self, report: WorkerReport) {
        // It fails only if the pool is gone, at the end of the run.
        let _ = self.reports.send((self.number, report));
    }
}

/// A worker that panics reports its end, too: the pool must not wait for it.
impl Drop for AppendWorker {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.report(WorkerReport::Failed(self.connection.account().error(
            ErrorKind::Internal,
            "an append connection ended unexpectedly",
        )));
        self.report(WorkerReport::Ended(Vec::new()));
    }
}
