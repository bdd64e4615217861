//! Gmail's append connections. Several messages are open on each: the next APPEND is sent before the
//! answer to the last one. A server processes and answers the messages of a connection in order.

use std::collections::VecDeque;

use chrono::TimeDelta;
use imap_to_gmail_sync::error::Result;
use imap_to_gmail_sync::message::{DeliveryMethod, Message, Uid, UidValidity};
use imap_to_gmail_sync::sync::{AppendUid, ImportedMessage, Outcome, Receipt, Uploaded};

use super::{Place, World, without_nul};

const CONNECTIONS: usize = 2;

/// The most messages that are open on a connection.
const MAX_OPEN: usize = 3;

#[derive(Debug, Default)]
pub struct AppendConnections {
    /// The open messages of each, in the order in which they were sent.
    open: [VecDeque<Message>; CONNECTIONS],
}

/// How far the messages of a broken connection came, by their position: `stored <= late <= sent`.
#[derive(Debug, Clone, Copy)]
struct Reached {
    /// Those before were processed when the connection broke.
    stored: usize,
    /// Those before are processed seconds later.
    late: usize,
    /// Those before were sent to their last octet.
    sent: usize,
}

/// What happens to the messages of a broken connection that were not sent to their last octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// They have an outcome.
    Settled,
    /// The first may have an outcome; the others are sent over a new connection.
    SentAgain,
}

impl AppendConnections {
    pub fn is_empty(&self) -> bool {
        self.open.iter().all(VecDeque::is_empty)
    }

    fn those_where(&self, is_it: impl Fn(&VecDeque<Message>) -> bool) -> Vec<usize> {
        let connections = self.open.iter().enumerate();
        let those = connections.filter(|(_, open)| is_it(open));
        those.map(|(index, _)| index).collect()
    }
}

impl World {
    /// Sends a message over a connection; if each is full, an answer must come first.
    pub(super) fn append(&mut self, message: Message) -> Result<()> {
        let mut free = self.connections_where(|open| open.len() < MAX_OPEN);
        while free.is_empty() {
            self.settle_one()?;
            free = self.connections_where(|open| open.len() < MAX_OPEN);
        }
        let connection = free[self.pick(free.len())];
        self.gmail.connections.open[connection].push_back(message);
        Ok(())
    }

    fn connections_where(&self, is_it: impl Fn(&VecDeque<Message>) -> bool) -> Vec<usize> {
        self.gmail.connections.those_where(is_it)
    }

    fn pick(&mut self, count: usize) -> usize {
        self.dice.below(u32::try_from(count).unwrap()) as usize
    }

    /// Produces the outcome of the first message of a connection, or of several if it breaks.
    pub(super) fn settle_one(&mut self) -> Result<()> {
        let used = self.connections_where(|open| !open.is_empty());
        if used.is_empty() {
            return Ok(());
        }
        self.step()?;
        let connection = used[self.pick(used.len())];
        let faults = self.faults;
        if self.gmail.gone || self.dice.chance(faults.gmail_gone) {
            self.gmail.gone = true;
            return self.lose_all();
        }
        let count = self.gmail.connections.open[connection].len();
        // The first message was sent to its last octet.
        let sent = 1 + self.pick(count);
        if self.dice.chance(faults.cut_before) {
            return self.lose(
                connection,
                Reached {
                    stored: 0,
                    late: 0,
                    sent,
                },
            );
        }
        if self.dice.chance(faults.stored_late) {
            let late = 1 + self.pick(sent);
            return self.lose(
                connection,
                Reached {
                    stored: 0,
                    late,
                    sent,
                },
            );
        }
        if self.dice.chance(faults.cut_after) {
            let stored = 1 + self.pick(sent);
            let late = stored + self.pick(sent - stored + 1);
            return self.lose(connection, Reached { stored, late, sent });
        }
        let open = &mut self.gmail.connections.open[connection];
        let message = open.pop_front().unwrap();
        let uid = message.uid;
        let outcome = self.answer(&message)?;
        self.gmail.settled.push_back((uid, outcome));
        Ok(())
    }

    /// The answer to a message, which says nothing about those behind it.
    fn answer(&mut self, message: &Message) -> Result<Outcome> {
        let octets = without_nul(&message.octets);
        let method = message.method;
        let is_import = method == DeliveryMethod::Import;
        if is_import && (self.gmail.refuses.contains(&octets) || self.refuses_import()) {
            let why = "HTTP status 400 invalidArgument".to_owned();
            return Ok(Outcome::NotImportable {
                message: Box::new(message.clone()),
                uploaded: Uploaded::Octets,
                why,
            });
        }
        if self.gmail.refuses.contains(&octets) {
            let why = "BAD Invalid Arguments: Unable to parse message";
            return Ok(Outcome::Refused(why.to_owned()));
        }
        if self.dice.chance(self.faults.refusal) {
            let why = "NO Unable to append message to folder (Failure)";
            return Ok(Outcome::Parked(why.to_owned()));
        }
        let uid = self.store_by(method, octets, message.internal_date, self.now);
        if is_import {
            let is_spam = self
                .gmail
                .messages
                .iter()
                .any(|it| it.uid == uid && it.place == Place::Spam);
            let id = format!("{uid:x}");
            self.step()?;
            return Ok(Outcome::Delivered(Receipt::Imported(ImportedMessage {
                id,
                is_spam,
            })));
        }
        let answered = AppendUid {
            uid_validity: UidValidity::new(self.gmail.labels.inbox_validity).unwrap(),
            uid: Uid::new(uid).unwrap(),
        };
        // The run may crash before it receives the response.
        self.step()?;
        Ok(Outcome::Delivered(Receipt::Appended(answered)))
    }

    /// Whether the API refuses a message for its content that an append takes.
    fn refuses_import(&mut self) -> bool {
        let refusal = self.faults.refusal;
        self.gmail.labels.dice.chance(refusal)
    }

    /// A connection breaks.
    fn lose(&mut self, connection: usize, reached: Reached) -> Result<()> {
        let outcomes = self.break_connection(connection, reached, Rest::SentAgain);
        self.receive(outcomes)
    }

    /// Every connection breaks, for the rest of the run.
    fn lose_all(&mut self) -> Result<()> {
        let mut outcomes = Vec::new();
        for connection in 0..CONNECTIONS {
            let reached = self.any_reached(connection);
            outcomes.extend(self.break_connection(connection, reached, Rest::Settled));
        }
        self.receive(outcomes)
    }

    fn any_reached(&mut self, connection: usize) -> Reached {
        let count = self.gmail.connections.open[connection].len();
        let sent = self.pick(count + 1);
        let stored = self.pick(sent + 1);
        let late = stored + self.pick(sent - stored + 1);
        Reached { stored, late, sent }
    }

    /// Hands the outcomes back, each in a step of its own.
    fn receive(&mut self, outcomes: Vec<(Uid, Outcome)>) -> Result<()> {
        for (index, outcome) in outcomes.into_iter().enumerate() {
            if index > 0 {
                self.step()?;
            }
            self.gmail.settled.push_back(outcome);
        }
        Ok(())
    }

    /// Decides what becomes of the open messages of a connection, and returns their outcomes.
    fn break_connection(
        &mut self,
        connection: usize,
        reached: Reached,
        rest: Rest,
    ) -> Vec<(Uid, Outcome)> {
        let open = std::mem::take(&mut self.gmail.connections.open[connection]);
        let mut outcomes = Vec::new();
        let mut at = self.now + TimeDelta::seconds(self.dice.below(40).into());
        for (position, message) in open.into_iter().enumerate() {
            let uid = message.uid;
            if position < reached.sent {
                let octets = without_nul(&message.octets);
                let date = message.internal_date;
                let is_refused = self.gmail.refuses.contains(&octets);
                if position < reached.stored && !is_refused {
                    self.store_by(message.method, octets, date, self.now);
                } else if position < reached.late && !is_refused {
                    self.gmail.late.push((at, octets, date, message.method));
                    at += TimeDelta::seconds(self.dice.below(3).into());
                }
                let why = "the connection broke";
                outcomes.push((uid, Outcome::Uncertain(why.to_owned())));
            } else if self.dice.chance(500) && (position == reached.sent || rest == Rest::Settled) {
                let why = "the connection broke before its last octet";
                outcomes.push((uid, Outcome::Unsent(why.to_owned())));
            } else if rest == Rest::Settled {
                outcomes.push((uid, Outcome::Returned(Uploaded::Octets)));
            } else {
                self.gmail.connections.open[connection].push_back(message);
            }
        }
        outcomes
    }

    /// The run crashed: each connection breaks, and nobody receives the outcomes.
    pub(super) fn abandon_connections(&mut self) {
        for connection in 0..CONNECTIONS {
            let reached = self.any_reached(connection);
            self.break_connection(connection, reached, Rest::Settled);
        }
        self.gmail.settled.clear();
    }
}
