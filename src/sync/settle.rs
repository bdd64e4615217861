//! What becomes of messages: the meaning of each outcome, and the checkpoints.

use chrono::{DateTime, Utc};

use crate::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use crate::message::{MessageId, Uid};
use crate::retry::{GIVE_UP_AFTER, MAX_ATTEMPTS, PARKED_MESSAGE};
use crate::state::{Event, ParkedMessage, RefusedMessage};
use crate::sync::Outcome;
use crate::sync::engine::{Engine, InFlight};

/// A checkpoint is made when so many messages have settled.
const CHECKPOINT: usize = 10;

/// So many messages parked one after the other, none taken between: it is Gmail, not they.
const PARKED_IN_A_ROW: u32 = 3;

impl Engine<'_> {
    /// Waits for what is on its way, and records what became of it.
    pub fn finish(&mut self) -> Result<()> {
        let finished = self.target.finish();
        let drained = self.drain();
        match (finished, drained) {
            (Err(one), Err(other)) => Err(one.more_severe(other)),
            (one, other) => one.and(other),
        }
    }

    /// Records the outcomes that have come.
    pub fn drain(&mut self) -> Result<()> {
        while let Some((uid, outcome)) = self.target.settled() {
            let Some(message) = self.in_flight.remove(&uid) else {
                return Err(Error::new(
                    Side::Host,
                    ErrorKind::Internal,
                    format!("uid {uid}"),
                    "settled twice",
                ));
            };
            self.progress.settled(message.octets);
            self.settle(uid, message, outcome)?;
            self.since_checkpoint += 1;
            if self.since_checkpoint >= CHECKPOINT {
                self.checkpoint()?;
            }
        }
        if self.parked_in_a_row >= PARKED_IN_A_ROW {
            self.parked_in_a_row = 0;
            return Err(Error::new(
                Side::Gmail,
                ErrorKind::Unavailable,
                "gmail",
                format!("{PARKED_IN_A_ROW} messages one after the other were not taken"),
            )
            .during("appending")
            .remedy("it rests for a while; the log above says why each was not")
            .with_consequence(Consequence::Rest(RestReason::Refusals)));
        }
        Ok(())
    }

    fn settle(&mut self, uid: Uid, message: InFlight, outcome: Outcome) -> Result<()> {
        let InFlight {
            id,
            digest,
            octets,
            intent,
            before,
        } = message;
        let now = (self.now)();
        match outcome {
            Outcome::Appended(place) => {
                self.parked_in_a_row = 0;
                self.report.appended += 1;
                self.report.octets += octets;
                log::info!("carried {id} (uid {uid}) as gmail uid {}", place.uid);
                self.store.record(Event::Done {
                    uid,
                    id,
                    digest,
                    at: now,
                    appended: true,
                })
            }
            Outcome::Refused(why) => self.refuse(uid, Some(id), why),
            Outcome::Parked(why) => {
                self.count_parked(&intent);
                if self.is_hopeless(&intent, now) {
                    return self.refuse(uid, Some(id), why);
                }
                self.park(
                    uid,
                    ParkedMessage {
                        sent: None,
                        why,
                        ..intent
                    },
                    now,
                )
            }
            Outcome::Unsent(why) => {
                self.count_parked(&intent);
                let sent = before.and_then(|before| before.sent);
                self.park(
                    uid,
                    ParkedMessage {
                        why,
                        sent,
                        ..intent
                    },
                    now,
                )
            }
            Outcome::Uncertain(why) => {
                self.count_parked(&intent);
                self.park(uid, ParkedMessage { why, ..intent }, now)
            }
            Outcome::Returned => self.store.record(Event::Returned {
                uid,
                before,
                unsent: 0,
            }),
        }
    }

    /// Counts a message that Gmail has just seen for the first time and not taken. One that was
    /// parked before says nothing new of Gmail.
    fn count_parked(&mut self, intent: &ParkedMessage) {
        if intent.tries == 1 {
            self.parked_in_a_row += 1;
        }
    }

    /// Parks a message that has just been tried.
    pub fn park(&mut self, uid: Uid, parked: ParkedMessage, now: DateTime<Utc>) -> Result<()> {
        let step = PARKED_MESSAGE.delay_after(parked.tries);
        let id = parked
            .id
            .as_ref()
            .map_or_else(|| "without id".to_owned(), ToString::to_string);
        log::warn!(
            "parked {id} (uid {uid}), to be tried again in {} min: {}",
            step.num_minutes(),
            parked.why
        );
        self.report.parked += 1;
        self.store.record(Event::Parked {
            uid,
            parked: ParkedMessage {
                retry_after: now + step,
                ..parked
            },
        })
    }

    /// Gives a message up, and tells.
    pub fn refuse(&mut self, uid: Uid, id: Option<MessageId>, why: String) -> Result<()> {
        let name = id
            .as_ref()
            .map_or_else(|| "without id".to_owned(), ToString::to_string);
        log::error!("not copied: {name} (uid {uid}): {why}");
        self.report.refused += 1;
        self.store.record(Event::Refused {
            uid,
            refused: RefusedMessage {
                id,
                when: (self.now)(),
                why,
            },
        })
    }

    /// A message that was tried often and for days while Gmail took others will not be taken.
    fn is_hopeless(&self, parked: &ParkedMessage, now: DateTime<Utc>) -> bool {
        let taken_since = self
            .store
            .state()
            .gmail
            .last_accepted
            .is_some_and(|taken| taken > parked.since);
        parked.tries >= MAX_ATTEMPTS && now - parked.since >= GIVE_UP_AFTER && taken_since
    }

    /// Makes what has settled durable, the cursor with it.
    fn checkpoint(&mut self) -> Result<()> {
        self.since_checkpoint = 0;
        self.raise_cursor()?;
        self.store.sync()
    }

    /// Remembers what later runs must know of a failure.
    pub fn remember(&mut self, consequence: &Consequence) -> Result<()> {
        let gmail = self
            .store
            .state()
            .gmail
            .after_failure(consequence, (self.now)());
        self.store.record(Event::Gmail(gmail))
    }
}
