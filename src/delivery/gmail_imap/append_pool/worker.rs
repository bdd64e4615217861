//! A worker: one append connection on a thread of its own. Messages in, outcomes out, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use crate::delivery::gmail_imap::append::{AppendAttempt, AppendConnection, Finished};
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
    /// The next message, which the connection has no room for yet.
    held: Option<Message>,
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
            held: None,
            has_ended: false,
        }
    }

    /// Appends messages until the pool drops their sender.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        match self.connection.open() {
            Ok(()) => self.report(WorkerReport::LoggedIn),
            Err(error) => self.fail(error, messages),
        }
        loop {
            let batch = self.next_batch(messages);
            if !batch.is_empty() {
                let finished = self.connection.send(batch);
                self.report_finished(finished, messages);
            } else if self.connection.is_idle() {
                break;
            }
            if self.stop.load(Ordering::Relaxed) {
                self.end(messages);
            } else if !self.connection.is_idle() {
                let finished = self.connection.receive();
                self.report_finished(finished, messages);
            }
        }
        self.connection.close();
        self.has_ended = true;
        let unsent = std::mem::take(&mut self.unsent);
        self.report(WorkerReport::Ended(unsent));
    }

    /// The messages to send now; waits for one if nothing else is to be done. Empty also if the pool
    /// has dropped their sender.
    fn next_batch(&mut self, messages: &Receiver<Message>) -> Vec<Message> {
        let mut batch: Vec<Message> = Vec::new();
        loop {
            let waiting = self.held.take().or_else(|| self.connection.take_again());
            let next = waiting.or_else(|| {
                let must_wait = batch.is_empty() && self.connection.is_idle();
                if must_wait {
                    messages.recv().ok()
                } else {
                    messages.try_recv().ok()
                }
            });
            let Some(message) = next else {
                return batch;
            };
            if self.stop.load(Ordering::Relaxed) {
                self.unsent.push(message);
            } else if self.connection.has_room_for(&message, &batch) {
                batch.push(message);
            } else {
                self.held = Some(message);
                return batch;
            }
        }
    }

    fn report_finished(&mut self, finished: Vec<Finished>, messages: &Receiver<Message>) {
        if self.report_attempts(finished) {
            self.end(messages);
        }
    }

    /// Reports what became of messages; says whether this worker must send no more. The pool keeps the
    /// most severe error: it may be that the account must rest.
    fn report_attempts(&mut self, finished: Vec<Finished>) -> bool {
        let mut has_failed = false;
        for Finished { message, attempt } in finished {
            match attempt {
                AppendAttempt::Settled(outcome) => {
                    self.report(WorkerReport::Settled(message.uid, outcome));
                }
                AppendAttempt::SettledAndFailed(outcome, error) => {
                    // The error first: with its last outcome the pass would seem complete.
                    self.report(WorkerReport::Failed(error));
                    self.report(WorkerReport::Settled(message.uid, outcome));
                    has_failed = true;
                }
                AppendAttempt::Unsent(error) => {
                    self.unsent.push(message);
                    self.report(WorkerReport::Failed(error));
                    has_failed = true;
                }
            }
        }
        has_failed
    }

    /// Reports a failure and collects what the pool sends until it has read the report.
    fn fail(&mut self, error: Error, messages: &Receiver<Message>) {
        self.report(WorkerReport::Failed(error));
        self.end(messages);
    }

    /// Sends nothing more: waits for the answers to what was sent, and collects what the pool sends
    /// until it has read that this worker failed.
    fn end(&mut self, messages: &Receiver<Message>) {
        let finished = self.connection.drain();
        self.report_attempts(finished);
        self.unsent.extend(self.held.take());
        while let Some(message) = self.connection.take_again() {
            self.unsent.push(message);
        }
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
