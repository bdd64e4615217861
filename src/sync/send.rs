//! Sending what was read: the intents first, then the messages.

use crate::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use crate::message::{BodyDigest, Digest, Flags, Listed, Message, MessageId, Uid, UidSet};
use crate::retry::PARKED_MESSAGE;
use crate::state::{Event, Knowledge, ParkedMessage, SentMark, upload_quota};
use crate::sync::TargetStatus;
use crate::sync::copy::{PlannedMessage, too_large};
use crate::sync::engine::{Engine, InFlight};
use crate::sync::plan::IdentityDecision;

/// A message that was read, ready to be sent.
struct PreparedMessage {
    message: Message,
    digest: Digest,
}

impl Engine<'_> {
    /// Sends what was read, as far as its octets do not show that it was delivered before.
    pub fn send(
        &mut self,
        read: Vec<(PlannedMessage, Vec<u8>)>,
        terms: TargetStatus,
    ) -> Result<()> {
        let mut batch: Vec<PreparedMessage> = Vec::new();
        for (candidate, octets) in read {
            let ready = self.ready(&candidate.listed, octets);
            if self.has_content_twin(&ready, &batch) {
                // Only its octets show that it is the same as one just sent or about to be.
                self.submit(std::mem::take(&mut batch), terms)?;
                self.finish()?;
            }
            if let Some(ready) = self.still_to_send(ready, &candidate, terms)? {
                batch.push(ready);
            }
        }
        self.submit(batch, terms)
    }

    fn ready(&self, listed: &Listed, octets: Vec<u8>) -> PreparedMessage {
        let id = listed
            .identity
            .id
            .clone()
            .unwrap_or_else(|| MessageId::of_octets(&octets));
        let body = BodyDigest::of_message(&octets);
        let flags = if self.settings.copy_flags {
            listed.flags
        } else {
            Flags::default()
        };
        PreparedMessage {
            digest: Digest {
                header: listed.identity.header,
                body: Some(body),
            },
            message: Message {
                uid: listed.uid,
                id,
                internal_date: listed.internal_date,
                flags,
                octets,
            },
        }
    }

    fn has_content_twin(&self, ready: &PreparedMessage, batch: &[PreparedMessage]) -> bool {
        let (id, header) = (&ready.message.id, ready.digest.header);
        let mut others = batch.iter();
        others.any(|other| other.message.id == *id && other.digest.header == header)
            || self.has_in_flight(id, header)
    }

    /// What is left to be sent once the octets are known.
    fn still_to_send(
        &mut self,
        ready: PreparedMessage,
        candidate: &PlannedMessage,
        terms: TargetStatus,
    ) -> Result<Option<PreparedMessage>> {
        let uid = ready.message.uid;
        let octets = ready.message.octets.len() as u64;
        if let Some(limit) = terms.append_limit.filter(|limit| octets > *limit) {
            self.progress.settled(0);
            self.refuse(uid, Some(ready.message.id), too_large(octets, limit))?;
            return Ok(None);
        }
        if let Knowledge::Digests(digests) = self.store.state().known_digests(&ready.message.id) {
            if digests.contains(&ready.digest) {
                self.settle_known(UidSet::from_iter([uid]))?;
                return Ok(None);
            }
            if candidate.verdict == IdentityDecision::CompareBody {
                log::info!(
                    "{} (uid {uid}) is another message under an id in use",
                    ready.message.id
                );
            }
        }
        let (id, digest) = (ready.message.id.clone(), ready.digest);
        if self.park_with_twin(&candidate.listed, id, digest)? {
            return Ok(None);
        }
        Ok(Some(ready))
    }

    /// Writes the intents down, then hands the messages over.
    fn submit(&mut self, batch: Vec<PreparedMessage>, terms: TargetStatus) -> Result<()> {
        let mut allowed = Vec::new();
        let mut intents = Vec::new();
        let mut exhausted = false;
        for ready in batch {
            let (uid, intent, octets) = self.intent(&ready, terms);
            let planned: u64 = intents.iter().map(|(_, _, octets)| *octets).sum();
            let sent = planned + self.store.state().gmail.uploaded_in_last_day((self.now)());
            if !upload_quota::allows(self.settings.daily_upload_limit, sent, octets) {
                exhausted = true;
                break;
            }
            intents.push((uid, intent, octets));
            allowed.push(ready);
        }
        self.write_intents(&intents)?;
        self.hand_over(allowed, intents)?;
        self.drain()?;
        if exhausted {
            Err(self.daily_limit_reached())
        } else {
            Ok(())
        }
    }

    fn intent(&self, ready: &PreparedMessage, terms: TargetStatus) -> (Uid, ParkedMessage, u64) {
        let now = (self.now)();
        let before = self.store.state().parked.get(&ready.message.uid);
        let tries = before.map_or(0, |before| before.tries) + 1;
        let intent = ParkedMessage {
            id: Some(ready.message.id.clone()),
            date: ready.message.internal_date,
            digest: Some(ready.digest),
            since: before.map_or(now, |before| before.since),
            tries,
            retry_after: now + PARKED_MESSAGE.delay_after(tries),
            why: "it was sent, and the answer did not come".to_owned(),
            sent: Some(SentMark {
                at: now,
                mark: terms.mark,
            }),
        };
        (ready.message.uid, intent, ready.message.octets.len() as u64)
    }

    fn write_intents(&mut self, intents: &[(Uid, ParkedMessage, u64)]) -> Result<()> {
        for (uid, intent, octets) in intents {
            let before = self.store.state().parked.get(uid).cloned();
            let (Some(id), Some(digest)) = (intent.id.clone(), intent.digest) else {
                continue;
            };
            let message = InFlight {
                id,
                digest,
                octets: *octets,
                intent: intent.clone(),
                before,
            };
            self.not_stored.remove(uid);
            self.in_flight.insert(*uid, message);
        }
        let events = intents
            .iter()
            .cloned()
            .map(|(uid, parked, octets)| Event::Intent {
                uid,
                parked,
                octets,
            })
            .collect();
        self.store.record_all(events)?;
        self.store.sync()
    }

    fn hand_over(
        &mut self,
        ready: Vec<PreparedMessage>,
        intents: Vec<(Uid, ParkedMessage, u64)>,
    ) -> Result<()> {
        let mut failed = None;
        for (ready, (uid, _, unsent)) in ready.into_iter().zip(intents) {
            if failed.is_none() {
                match self.target.submit(ready.message) {
                    Ok(()) => {
                        // What has settled meanwhile may say that no more should be sent.
                        failed = self.drain().err();
                        continue;
                    }
                    Err(error) => failed = Some(error),
                }
            }
            // It was not sent: it stands as before.
            let before = self
                .in_flight
                .remove(&uid)
                .and_then(|message| message.before);
            self.store.record(Event::Returned {
                uid,
                before,
                unsent,
            })?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn daily_limit_reached(&self) -> Error {
        let sent = self.store.state().gmail.uploaded_in_last_day((self.now)());
        Error::new(
            Side::Gmail,
            ErrorKind::Resting,
            "gmail",
            format!("{sent} octets were sent in the last 24 hours"),
        )
        .during("appending")
        .remedy("the account rests; daily_upload_limit says how much it may get")
        .with_consequence(Consequence::Rest(RestReason::Quota))
    }
}
