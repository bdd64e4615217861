//! The pool's view of a worker: what it has to do, and whether it accepts more.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;

use crate::message::{Message, Uid};

/// Octets in flight at one worker, at most; a larger message is sent alone.
const MAX_OCTETS_IN_FLIGHT: u64 = 8 * 1024 * 1024;

/// Messages in flight at one worker, at most: enough that it never waits, few enough that a worker
/// that is added later finds something to do.
const MAX_MESSAGES_IN_FLIGHT: usize = 5;

pub(super) struct WorkerHandle {
    /// `None` if it gets no more messages.
    pub(super) messages: Option<Sender<Message>>,
    pub(super) is_logged_in: bool,
    /// Messages that it has and that have no outcome yet, with their sizes.
    pub(super) in_flight: VecDeque<(Uid, u64)>,
}

impl WorkerHandle {
    pub(super) fn new(messages: Sender<Message>) -> WorkerHandle {
        WorkerHandle {
            messages: Some(messages),
            is_logged_in: false,
            in_flight: VecDeque::new(),
        }
    }

    fn octets_in_flight(&self) -> u64 {
        self.in_flight.iter().map(|(_, size)| size).sum()
    }

    /// Orders workers: small messages cost a round trip each, large ones their octets.
    pub(super) fn load(&self) -> (bool, u64, usize) {
        let is_full = self.in_flight.len() >= MAX_MESSAGES_IN_FLIGHT;
        (is_full, self.octets_in_flight(), self.in_flight.len())
    }

    pub(super) fn accepts_messages(&self) -> bool {
        self.is_logged_in && self.messages.is_some()
    }

    pub(super) fn has_room_for(&self, size: u64) -> bool {
        self.in_flight.is_empty()
            || self.in_flight.len() < MAX_MESSAGES_IN_FLIGHT
                && self.octets_in_flight() + size <= MAX_OCTETS_IN_FLIGHT
    }

    /// Hands a message over; returns it if the worker has ended.
    pub(super) fn send(&mut self, message: Message) -> Result<(), Message> {
        let entry = (message.uid, message.octets.len() as u64);
        let result = match &self.messages {
            Some(messages) => messages.send(message).map_err(|error| error.0),
            None => Err(message),
        };
        match result {
            Ok(()) => self.in_flight.push_back(entry),
            Err(_) => self.messages = None,
        }
        result
    }
}
