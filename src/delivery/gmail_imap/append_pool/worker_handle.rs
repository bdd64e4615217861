//! The pool's view of a worker: what it has to do, and whether it accepts more.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;

use crate::message::{Message, Uid};

/// Octets in flight at one worker, at most; a larger message is sent alone.
const MAX_OCTETS_IN_FLIGHT: u64 = 8 * 1024 * 1024;

/// …and at all workers together: with many connections, large messages would need much memory.
const MAX_OCTETS_IN_FLIGHT_AT_ALL: u64 = 32 * 1024 * 1024;

/// Larger messages in flight at one worker, at most: enough that it never waits, few enough that a
/// worker that is added later finds something to do.
const MAX_LARGE_IN_FLIGHT: usize = 5;

/// Messages in flight at one worker, at most: small ones are sent many at a time.
const MAX_MESSAGES_IN_FLIGHT: usize = 32;

/// What every server that takes a message unasked takes so (RFC 7888 5).
const MAX_SMALL_SIZE: u64 = 4096;

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

    pub(super) fn octets_in_flight(&self) -> u64 {
        self.in_flight.iter().map(|(_, size)| size).sum()
    }

    /// Orders workers for a message of this size: small messages cost a round trip each, large ones
    /// their octets.
    pub(super) fn load(&self, size: u64) -> (bool, u64, usize) {
        let is_full = !self.has_place_for(size);
        (is_full, self.octets_in_flight(), self.in_flight.len())
    }

    fn has_place_for(&self, size: u64) -> bool {
        let is_large = |size: u64| size > MAX_SMALL_SIZE;
        let in_flight = self.in_flight.iter();
        let large = in_flight.filter(|(_, size)| is_large(*size)).count();
        self.in_flight.len() < MAX_MESSAGES_IN_FLIGHT
            && (!is_large(size) || large < MAX_LARGE_IN_FLIGHT)
    }

    pub(super) fn accepts_messages(&self) -> bool {
        self.is_logged_in && self.messages.is_some()
    }

    pub(super) fn has_room_for(&self, size: u64) -> bool {
        self.in_flight.is_empty()
            || self.has_place_for(size) && self.octets_in_flight() + size <= MAX_OCTETS_IN_FLIGHT
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

/// Whether workers that have so many octets in flight together take a message of this size.
pub(super) fn all_have_room_for(octets_in_flight: u64, size: u64) -> bool {
    octets_in_flight == 0 || octets_in_flight + size <= MAX_OCTETS_IN_FLIGHT_AT_ALL
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// How many messages of this size a worker takes that has these already.
    fn taken(before: &[u64], size: u64) -> usize {
        let mut worker = WorkerHandle::new(channel().0);
        worker
            .in_flight
            .extend(before.iter().map(|size| (Uid::MIN, *size)));
        while worker.has_room_for(size) && worker.in_flight.len() < 100 {
            worker.in_flight.push_back((Uid::MIN, size));
        }
        worker.in_flight.len() - before.len()
    }

    #[test]
    fn a_worker_takes_many_small_messages_and_few_large_ones() {
        assert_eq!(taken(&[], 4096), 32);
        assert_eq!(taken(&[], 4097), 5);
        assert_eq!(taken(&[1_000_000; 5], 4096), 27);
        assert_eq!(taken(&[100; 30], 10_000), 2);
        assert_eq!(taken(&[100; 32], 10_000), 0);
    }

    #[test]
    fn a_worker_takes_at_most_eight_mebibytes_but_any_single_message() {
        let mebibyte = 1024 * 1024;
        assert_eq!(taken(&[], 4 * mebibyte), 2);
        assert_eq!(taken(&[], 25 * mebibyte), 1);
        assert_eq!(taken(&[8 * mebibyte], 1), 0);
        assert_eq!(taken(&[8 * mebibyte - 10_000], 4_000), 2);
    }

    #[test]
    fn all_workers_together_take_one_large_message_or_several_smaller_ones() {
        let mebibyte = 1024 * 1024;
        assert!(all_have_room_for(0, 50 * mebibyte));
        assert!(!all_have_room_for(25 * mebibyte, 25 * mebibyte));
        assert!(all_have_room_for(24 * mebibyte, 8 * mebibyte));
        assert!(!all_have_room_for(50 * mebibyte, 1));
    }

    #[test]
    fn a_worker_that_has_no_place_for_a_message_comes_after_all_others() {
        let worker = |sizes: &[u64]| {
            let mut worker = WorkerHandle::new(channel().0);
            worker
                .in_flight
                .extend(sizes.iter().map(|size| (Uid::MIN, *size)));
            worker
        };
        let (many_small, few_large) = (worker(&[10; 32]), worker(&[100_000; 4]));
        assert!(many_small.load(10) > few_large.load(10));
        assert!(worker(&[5_000; 5]).load(5_000) > few_large.load(5_000));
        assert!(worker(&[5_000; 5]).load(10) < few_large.load(10));
    }
}
