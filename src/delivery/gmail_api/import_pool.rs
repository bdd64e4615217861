//! Imports several messages at the same time, each on a thread of its own; they share the connections.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::delivery::gmail_api::destination::ImportDestination;
use crate::delivery::gmail_api::importer::{ImportResult, Importer};
use crate::error::{Error, Result};
use crate::message::{Message, Uid};
use crate::sync::{Outcome, Uploaded};

/// Octets in flight at most, unless a single message has more.
const MAX_OCTETS_IN_FLIGHT: usize = 32 << 20;

/// The outcome of a message that was too many at the same time, with all its octets.
const RETURNED: Outcome = Outcome::Returned(Uploaded::Octets);

pub(super) struct ImportPool {
    importer: Arc<Importer>,
    destination: Arc<ImportDestination>,
    /// The requests at the same time that the account allows, as far as is known.
    max_in_flight: usize,
    /// The messages that are being imported, with their sizes.
    in_flight: HashMap<Uid, usize>,
    reports: Receiver<(Uid, ImportResult)>,
    /// Cloned for each thread.
    report_sender: Sender<(Uid, ImportResult)>,
    outcomes: VecDeque<(Uid, Outcome)>,
    /// Messages that were too many at the same time.
    requeued: VecDeque<Arc<Message>>,
    /// The error that ends the pass.
    failure: Option<Error>,
}

/// Reports the result of an import, also if its thread panics: the pool must not wait for it.
struct Reporter {
    uid: Uid,
    reports: Sender<(Uid, ImportResult)>,
    result: Option<ImportResult>,
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| {
            let why = "the import ended unexpectedly".to_owned();
            ImportResult::Settled(Outcome::Uncertain(why))
        });
        // It fails only if the pool is gone, at the end of the run.
        let _ = self.reports.send((self.uid, result));
    }
}

impl ImportPool {
    pub fn new(importer: Importer, max_in_flight: usize) -> ImportPool {
        let (report_sender, reports) = channel();
        ImportPool {
            importer: Arc::new(importer),
            destination: Arc::default(),
            max_in_flight,
            in_flight: HashMap::new(),
            reports,
            report_sender,
            outcomes: VecDeque::new(),
            requeued: VecDeque::new(),
            failure: None,
        }
    }

    /// Another pass begins; its messages go there.
    pub fn start_pass(&mut self, destination: ImportDestination, max_in_flight: usize) {
        self.destination = Arc::new(destination);
        self.max_in_flight = max_in_flight;
        self.failure = None;
    }

    /// Begins to import a message; blocks while too many are being imported.
    pub fn submit(&mut self, message: Message) -> Result<()> {
        self.apply_pending_reports();
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if self.requeued.is_empty() && self.has_room_for(message.octets.len()) {
                self.spawn(Arc::new(message));
                return Ok(());
            }
            self.wait_for_report();
        }
    }

    /// The next outcome that is known.
    pub fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.apply_pending_reports();
        self.outcomes.pop_front()
    }

    /// Waits until every message has its outcome.
    pub fn finish(&mut self) -> Result<()> {
        self.apply_pending_reports();
        while !self.in_flight.is_empty() || !self.requeued.is_empty() {
            self.wait_for_report();
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    fn has_room_for(&self, octets: usize) -> bool {
        let in_flight: usize = self.in_flight.values().sum();
        self.in_flight.is_empty()
            || self.in_flight.len() < self.max_in_flight
                && in_flight + octets <= MAX_OCTETS_IN_FLIGHT
    }

    fn spawn(&mut self, message: Arc<Message>) {
        let uid = message.uid;
        self.in_flight.insert(uid, message.octets.len());
        let (importer, destination) = (Arc::clone(&self.importer), Arc::clone(&self.destination));
        let reporter = Reporter {
            uid,
            reports: self.report_sender.clone(),
            result: None,
        };
        thread::spawn(move || {
            // The thread owns all of it, not only the field that is set.
            let mut reporter = reporter;
            reporter.result = Some(importer.import(message, &destination));
        });
    }

    /// Applies the reports that have arrived, without waiting.
    fn apply_pending_reports(&mut self) {
        while let Ok((uid, result)) = self.reports.try_recv() {
            self.apply(uid, result);
        }
        self.spawn_requeued();
    }

    fn wait_for_report(&mut self) {
        // It cannot fail: the pool has a sender itself.
        if let Ok((uid, result)) = self.reports.recv() {
            self.apply(uid, result);
        }
        self.apply_pending_reports();
    }

    fn apply(&mut self, uid: Uid, result: ImportResult) {
        self.in_flight.remove(&uid);
        match result {
            ImportResult::Settled(outcome) => self.outcomes.push_back((uid, outcome)),
            ImportResult::SettledAndFailed(outcome, error) => {
                self.outcomes.push_back((uid, outcome));
                self.fail(error);
            }
            ImportResult::TooManyConnections(message, error) => {
                if self.in_flight.is_empty() {
                    self.outcomes.push_back((uid, RETURNED));
                    self.fail(error);
                } else {
                    self.max_in_flight = self.in_flight.len();
                    let others = self.max_in_flight;
                    log::info!("going on with {others} imports at a time: {error}");
                    self.requeued.push_back(message);
                }
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure = Some(match self.failure.take() {
            Some(failure) => failure.more_severe(error),
            None => error,
        });
    }

    /// Imports messages that were too many before; after a failure, returns them to the engine.
    fn spawn_requeued(&mut self) {
        while let Some(message) = self.requeued.pop_front() {
            if self.failure.is_some() {
                self.outcomes.push_back((message.uid, RETURNED));
            } else if self.has_room_for(message.octets.len()) {
                self.spawn(message);
            } else {
                self.requeued.push_front(message);
                break;
            }
        }
    }
}
