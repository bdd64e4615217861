//! The pool of append workers: how many there are, and which of them gets a message.
//!
//! The pool knows messages and outcomes, not IMAP; a worker knows its connection, not the others.

mod worker;
mod worker_handle;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::delivery::gmail_imap::account::GmailAccount;
use crate::delivery::gmail_imap::append::AppendConnection;
use crate::delivery::gmail_imap::append_pool::worker::{AppendWorker, WorkerReport};
use crate::delivery::gmail_imap::append_pool::worker_handle::WorkerHandle;
use crate::error::{Consequence, Error, ErrorKind, RestReason, Result};
use crate::message::{Message, Uid};
use crate::sync::{Outcome, Uploaded};

pub(super) struct AppendPool {
    account: Arc<GmailAccount>,
    workers: BTreeMap<usize, WorkerHandle>,
    next_number: usize,
    /// The connections that the account allows, as far as is known.
    max_workers: usize,
    reports: Receiver<(usize, WorkerReport)>,
    /// Cloned for each worker.
    report_sender: Sender<(usize, WorkerReport)>,
    outcomes: VecDeque<(Uid, Outcome)>,
    /// Messages that a worker returned unsent, for another one.
    requeued: VecDeque<Message>,
    /// The error that ends the pass.
    failure: Option<Error>,
    /// Whether messages were submitted since the last [`finish`](AppendPool::finish): without them a
    /// connection that could not be opened in advance is no failure.
    has_submitted: bool,
    /// Tells the workers of this pass to send nothing more.
    stop: Arc<AtomicBool>,
}

impl AppendPool {
    pub(super) fn new(account: Arc<GmailAccount>) -> AppendPool {
        let (report_sender, reports) = channel();
        AppendPool {
            max_workers: account.config().connections.max(1),
            account,
            workers: BTreeMap::new(),
            next_number: 0,
            reports,
            report_sender,
            outcomes: VecDeque::new(),
            requeued: VecDeque::new(),
            failure: None,
            has_submitted: false,
            stop: Arc::default(),
        }
    }

    /// Sends a message to the worker with the least to do, after adding workers up to `wanted`;
    /// blocks while all are full.
    pub(super) fn submit(&mut self, message: Message, wanted: usize) -> Result<()> {
        let size = message.octets.len() as u64;
        self.has_submitted = true;
        self.apply_pending_reports();
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            self.grow_to(wanted);
            if self.has_room_for(size)
                && self
                    .least_loaded(size)
                    .is_some_and(|worker| worker.has_room_for(size))
            {
                self.dispatch(message);
                return Ok(());
            }
            self.wait_for_report();
        }
    }

    /// Opens a connection for messages that come soon.
    pub(super) fn prepare(&mut self) {
        self.apply_pending_reports();
        if self.failure.is_none() {
            self.grow_to(1);
        }
    }

    /// The next outcome that is known.
    pub(super) fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.apply_pending_reports();
        self.outcomes.pop_front()
    }

    /// Waits until every message has its outcome and, after a failure, until all workers have
    /// ended.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.apply_pending_reports();
        while self.is_busy() {
            self.wait_for_report();
        }
        let was_needed = std::mem::take(&mut self.has_submitted);
        let Some(failure) = self.failure.take() else {
            return Ok(());
        };
        // The next pass starts with as many workers as configured.
        self.stop = Arc::default();
        self.max_workers = self.account.config().connections.max(1);
        if was_needed { Err(failure) } else { Ok(()) }
    }

    /// Ends all workers but `count`, without waiting for them.
    pub(super) fn shrink_to(&mut self, count: usize) {
        self.apply_pending_reports();
        self.end_workers_after(count);
    }

    /// Ends all workers and waits until they have logged out.
    pub(super) fn close(&mut self) {
        self.end_workers_after(0);
        while !self.workers.is_empty() {
            self.wait_for_report();
        }
        self.failure = None;
    }

    fn end_workers_after(&mut self, count: usize) {
        for worker in self.workers.values_mut().skip(count) {
            worker.messages = None;
        }
    }

    fn is_busy(&self) -> bool {
        if self.failure.is_some() {
            return !self.workers.is_empty();
        }
        let is_in_flight = |worker: &WorkerHandle| !worker.in_flight.is_empty();
        !self.requeued.is_empty() || self.workers.values().any(is_in_flight)
    }

    /// Applies the reports that have arrived, without waiting.
    fn apply_pending_reports(&mut self) {
        while let Ok((number, report)) = self.reports.try_recv() {
            self.apply_report(number, report);
        }
    }

    /// Waits for a report. Each worker sends one within the time-outs of its connection.
    fn wait_for_report(&mut self) {
        if self.workers.is_empty() && self.failure.is_none() {
            self.grow_to(1);
        }
        // It does not fail, because the pool has a sender itself.
        if let Ok((number, report)) = self.reports.recv() {
            self.apply_report(number, report);
        }
        self.apply_pending_reports();
    }

    fn apply_report(&mut self, number: usize, report: WorkerReport) {
        match report {
            WorkerReport::LoggedIn => {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.is_logged_in = true;
                }
                self.dispatch_requeued();
            }
            WorkerReport::Settled(uid, outcome) => {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.in_flight.retain(|(in_flight, _)| *in_flight != uid);
                }
                self.outcomes.push_back((uid, outcome));
            }
            WorkerReport::Failed(error) => self.worker_failed(number, error),
            WorkerReport::Ended(unsent) => self.worker_ended(number, unsent),
        }
    }

    /// Ends the pass, unless the others can go on: one that could not log in, or that was one
    /// connection too many, is not needed.
    fn worker_failed(&mut self, number: usize, error: Error) {
        let Some(worker) = self.workers.get_mut(&number) else {
            return;
        };
        worker.messages = None;
        let was_logged_in = std::mem::take(&mut worker.is_logged_in);
        // Those that still log in count: the last one that fails ends the pass.
        let is_left = |worker: &&WorkerHandle| worker.messages.is_some();
        let others = self.workers.values().filter(is_left).count();
        let is_one_too_many =
            error.consequence() == Some(&Consequence::Rest(RestReason::Connections));
        let can_go_on = is_one_too_many || !was_logged_in && error.kind() == ErrorKind::Unavailable;
        if others > 0 && can_go_on {
            log::info!("going on with {others} connections to Gmail, because one failed: {error}");
            self.max_workers = others;
            return;
        }
        self.failure = Some(match self.failure.take() {
            Some(failure) => failure.more_severe(error),
            None => error,
        });
        self.stop.store(true, Ordering::Relaxed);
        self.end_workers_after(0);
    }

    fn worker_ended(&mut self, number: usize, unsent: Vec<Message>) {
        let Some(worker) = self.workers.remove(&number) else {
            return;
        };
        let is_unsent = |uid: Uid| unsent.iter().any(|message| message.uid == uid);
        for (uid, _) in worker.in_flight {
            if !is_unsent(uid) {
                let why = "the append connection ended unexpectedly".to_owned();
                self.outcomes.push_back((uid, Outcome::Uncertain(why)));
            }
        }
        self.requeued.extend(unsent);
        self.dispatch_requeued();
    }

    /// Sends requeued messages to other workers; after a failure, returns them to the engine.
    fn dispatch_requeued(&mut self) {
        while let Some(message) = self.requeued.pop_front() {
            if self.failure.is_some() {
                // Part of it may have been sent.
                let returned = Outcome::Returned(Uploaded::Octets);
                self.outcomes.push_back((message.uid, returned));
            } else if self.least_loaded(0).is_some() {
                self.dispatch(message);
            } else {
                self.requeued.push_front(message);
                break;
            }
        }
    }

    fn has_room_for(&self, size: u64) -> bool {
        let workers = self.workers.values();
        worker_handle::all_have_room_for(workers.map(WorkerHandle::octets_in_flight).sum(), size)
    }

    /// The worker that should get a message of this size.
    fn least_loaded(&mut self, size: u64) -> Option<&mut WorkerHandle> {
        self.workers
            .values_mut()
            .filter(|worker| worker.accepts_messages())
            .min_by_key(|worker| worker.load(size))
    }

    fn dispatch(&mut self, message: Message) {
        let result = match self.least_loaded(message.octets.len() as u64) {
            Some(worker) => worker.send(message),
            None => Err(message),
        };
        if let Err(message) = result {
            self.requeued.push_back(message);
        }
    }

    fn grow_to(&mut self, wanted: usize) {
        let wanted = wanted.clamp(1, self.max_workers.max(1));
        let gets_messages = |worker: &&WorkerHandle| worker.messages.is_some();
        while self.workers.values().filter(gets_messages).count() < wanted {
            self.spawn_worker();
        }
    }

    fn spawn_worker(&mut self) {
        let (sender, messages) = channel();
        let worker = AppendWorker::new(
            AppendConnection::new(Arc::clone(&self.account)),
            self.next_number,
            self.report_sender.clone(),
            Arc::clone(&self.stop),
        );
        self.workers
            .insert(self.next_number, WorkerHandle::new(sender));
        self.next_number += 1;
        thread::spawn(move || worker.run(&messages));
    }
}
