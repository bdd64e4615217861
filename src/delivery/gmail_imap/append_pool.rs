//! The append connections: how many there are, and who sends what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::delivery::gmail_imap::account::GmailAccount;
use crate::delivery::gmail_imap::append::{AppendWorker, WorkerReport};
use crate::error::{Consequence, Error, ErrorKind, RestReason, Result};
use crate::message::{Message, Uid};
use crate::sync::Outcome;

/// Octets on their way in one lane; a larger message goes alone.
const MOST_OCTETS: u64 = 8 * 1024 * 1024;

/// Messages on their way in one lane: enough that it never waits, few enough that a lane which is
/// opened later finds something to do.
const MOST_MESSAGES: usize = 5;

/// The append connections of an account.
pub(super) struct AppendPool {
    account: Arc<GmailAccount>,
    workers: BTreeMap<usize, WorkerHandle>,
    next_number: usize,
    /// The most that the account bears, as far as is known.
    max_workers: usize,
    reports: Receiver<WorkerReport>,
    /// For new lanes.
    report_sender: Sender<WorkerReport>,
    outcomes: VecDeque<(Uid, Outcome)>,
    /// What a lane gave back, to be sent by another.
    requeued: VecDeque<Message>,
    failure: Option<Error>,
    stop: Arc<AtomicBool>,
}

/// A lane as seen from outside.
struct WorkerHandle {
    /// None once it is not to be given any more.
    work: Option<Sender<Message>>,
    is_logged_in: bool,
    /// What was handed to it and has no outcome yet.
    in_flight: VecDeque<(Uid, u64)>,
}

impl WorkerHandle {
    fn octets(&self) -> u64 {
        self.in_flight.iter().map(|(_, size)| size).sum()
    }

    /// How much it has to do: small messages cost a round trip each, large ones their octets.
    fn load(&self) -> (bool, u64, usize) {
        let is_full = self.in_flight.len() >= MOST_MESSAGES;
        (is_full, self.octets(), self.in_flight.len())
    }

    fn accepts_work(&self) -> bool {
        self.is_logged_in && self.work.is_some()
    }

    fn has_room_for(&self, size: u64) -> bool {
        let fits = self.octets() + size <= MOST_OCTETS && self.in_flight.len() < MOST_MESSAGES;
        fits || self.in_flight.is_empty()
    }
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
            stop: Arc::default(),
        }
    }

    /// Hands a message to the lane with the least to do, opening up to `wanted` lanes; blocks
    /// while all are full.
    pub(super) fn submit(&mut self, message: Message, wanted: usize) -> Result<()> {
        let size = message.octets.len() as u64;
        self.process_reports();
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            self.grow_to(wanted);
            if self
                .least_loaded()
                .is_some_and(|lane| lane.has_room_for(size))
            {
                self.dispatch(message);
                return Ok(());
            }
            self.wait_for_report();
        }
    }

    /// The next outcome that has come.
    pub(super) fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.process_reports();
        self.outcomes.pop_front()
    }

    /// Waits until everything has its outcome; after a failure, until all lanes have ended.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.process_reports();
        while self.is_busy() {
            self.wait_for_report();
        }
        let Some(failure) = self.failure.take() else {
            return Ok(());
        };
        // The next pass begins anew.
        self.stop = Arc::default();
        self.max_workers = self.account.config().connections.max(1);
        Err(failure)
    }

    /// Lets all lanes go but so many, without waiting for them: what a backlog needed is too much
    /// for what comes now and then.
    pub(super) fn shrink_to(&mut self, most: usize) {
        self.process_reports();
        for lane in self.workers.values_mut().skip(most) {
            lane.work = None;
        }
    }

    /// Takes leave of the server, which is waited for.
    pub(super) fn close(&mut self) {
        for lane in self.workers.values_mut() {
            lane.work = None;
        }
        while !self.workers.is_empty() {
            self.wait_for_report();
        }
        self.failure = None;
    }

    fn is_busy(&self) -> bool {
        if self.failure.is_some() {
            return !self.workers.is_empty();
        }
        let is_in_flight = |lane: &WorkerHandle| !lane.in_flight.is_empty();
        !self.requeued.is_empty() || self.workers.values().any(is_in_flight)
    }

    /// Hears what has been told since, without waiting.
    fn process_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.process_report(report);
        }
    }

    /// Hears the next that is told. Every lane tells something within the deadlines of its
    /// connection.
    fn wait_for_report(&mut self) {
        if self.workers.is_empty() && self.failure.is_none() {
            self.grow_to(1);
        }
        // It cannot fail: we hold a sender ourselves.
        if let Ok(report) = self.reports.recv() {
            self.process_report(report);
        }
        self.process_reports();
    }

    fn process_report(&mut self, report: WorkerReport) {
        match report {
            WorkerReport::Opened { lane } => {
                if let Some(lane) = self.workers.get_mut(&lane) {
                    lane.is_logged_in = true;
                }
                self.dispatch_requeued();
            }
            WorkerReport::Settled { lane, uid, outcome } => {
                if let Some(lane) = self.workers.get_mut(&lane) {
                    lane.in_flight.retain(|(in_flight, _)| *in_flight != uid);
                }
                self.outcomes.push_back((uid, outcome));
            }
            WorkerReport::Failing { lane, error } => self.worker_failed(lane, error),
            WorkerReport::Closed { lane, unsent } => self.worker_closed(lane, unsent),
        }
    }

    /// A lane that cannot be had is no failure while others go on.
    fn worker_failed(&mut self, number: usize, error: Error) {
        let Some(lane) = self.workers.get_mut(&number) else {
            return;
        };
        lane.work = None;
        let was_open = std::mem::take(&mut lane.is_logged_in);
        let others = self
            .workers
            .values()
            .filter(|lane| lane.accepts_work())
            .count();
        let too_many = Some(&Consequence::Rest(RestReason::Connections));
        let is_superfluous = error.consequence() == too_many || !was_open;
        let concerns_the_account =
            error.kind() != ErrorKind::Unavailable && error.consequence() != too_many;
        if others > 0 && is_superfluous && !concerns_the_account {
            log::info!("going on with fewer connections ({others}): {error}");
            self.max_workers = others;
            return;
        }
        self.failure = Some(match self.failure.take() {
            Some(failure) => failure.more_severe(error),
            None => error,
        });
        self.stop.store(true, Ordering::Relaxed);
        for lane in self.workers.values_mut() {
            lane.work = None;
        }
    }

    fn worker_closed(&mut self, number: usize, unsent: Vec<Message>) {
        let Some(lane) = self.workers.remove(&number) else {
            return;
        };
        let is_unsent = |uid: Uid| unsent.iter().any(|message| message.uid == uid);
        for (uid, _) in lane.in_flight {
            if !is_unsent(uid) {
                let why = "the append connection ended unexpectedly".to_owned();
                self.outcomes.push_back((uid, Outcome::Uncertain(why)));
            }
        }
        self.requeued.extend(unsent);
        self.dispatch_requeued();
    }

    /// Gives what a lane left behind to the others, or back.
    fn dispatch_requeued(&mut self) {
        while let Some(message) = self.requeued.pop_front() {
            if self.failure.is_some() {
                self.outcomes.push_back((message.uid, Outcome::Returned));
            } else if self.least_loaded().is_some() {
                self.dispatch(message);
            } else {
                self.requeued.push_front(message);
                break;
            }
        }
    }

    fn least_loaded(&self) -> Option<&WorkerHandle> {
        let open = self.workers.values().filter(|lane| lane.accepts_work());
        open.min_by_key(|lane| lane.load())
    }

    fn dispatch(&mut self, message: Message) {
        let open = self.workers.values_mut().filter(|lane| lane.accepts_work());
        let Some(lane) = open.min_by_key(|lane| lane.load()) else {
            self.requeued.push_back(message);
            return;
        };
        let entry = (message.uid, message.octets.len() as u64);
        match lane.work.as_ref().map(|work| work.send(message)) {
            Some(Ok(())) => lane.in_flight.push_back(entry),
            // It has died this moment; its farewell is on the way.
            Some(Err(unsent)) => {
                lane.work = None;
                self.requeued.push_back(unsent.0);
            }
            None => {}
        }
    }

    fn grow_to(&mut self, wanted: usize) {
        let wanted = wanted.clamp(1, self.max_workers.max(1));
        let working = |lanes: &BTreeMap<usize, WorkerHandle>| {
            lanes.values().filter(|lane| lane.work.is_some()).count()
        };
        while working(&self.workers) < wanted {
            self.spawn_worker();
        }
    }

    fn spawn_worker(&mut self) {
        let (work, receiver) = channel();
        let number = self.next_number;
        self.next_number += 1;
        let lane = AppendWorker::new(
            number,
            Arc::clone(&self.account),
            self.report_sender.clone(),
            Arc::clone(&self.stop),
        );
        self.workers.insert(
            number,
            WorkerHandle {
                work: Some(work),
                is_logged_in: false,
                in_flight: VecDeque::new(),
            },
        );
        thread::spawn(move || lane.run(&receiver));
    }
}
