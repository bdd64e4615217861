//! Records which labels are owed.

use crate::error::Result;
use crate::message::{Digest, MessageId, MessagePlace, Uid};
use crate::state::{Event, Knowledge, OwedEntry, OwedLabels, ParkedMessage};
use crate::sync::ledger::Ledger;

/// Whether a parked message is still in the source mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum AtSource {
    Present,
    Gone,
}

impl Ledger<'_> {
    /// Gmail has this parked message. If it is our own append, it owes the labels that it was promised.
    pub fn settle_parked_found(
        &mut self,
        uid: Uid,
        id: MessageId,
        digest: Digest,
        parked: &ParkedMessage,
        at_source: AtSource,
    ) -> Result<()> {
        self.report.already_there += 1;
        let done = self.done(uid, id, digest, parked.date, false);
        self.record_found(done, parked, at_source)
    }

    /// Records that a parked message was found at Gmail. If an equal one was delivered before, that one
    /// was found, and had its labels then. One without Message-ID that is still at the source is a message
    /// of its own.
    pub(super) fn record_found(
        &mut self,
        found: Event,
        parked: &ParkedMessage,
        at_source: AtSource,
    ) -> Result<()> {
        let (Some(id), Some(digest)) = (&parked.id, parked.digest) else {
            return self.store.record(found);
        };
        let known = self.state().known_digests(id);
        let is_known = matches!(known, Knowledge::Digests(known) if known.contains(&digest));
        if is_known && (id.is_from_field() || at_source == AtSource::Gone) {
            return self.store.record(found);
        }
        self.record_with_labels(found, parked, None)
    }

    /// Records what shows that a message is stored, and the labels that it owes, in one line.
    pub(super) fn record_with_labels(
        &mut self,
        stored: Event,
        intent: &ParkedMessage,
        place: Option<MessagePlace>,
    ) -> Result<()> {
        let owed = OwedLabels::of_intent(intent, place, self.now());
        let number = self.state().next_owed_number();
        self.store.record(match owed {
            Some(owed) => Event::StoredWithoutLabels {
                stored: Box::new(stored),
                number,
                owed: OwedEntry::from(&owed),
            },
            None => stored,
        })
    }

    /// The labels of these numbers are set or given up; of those, more is known.
    pub fn settle_labels(
        &mut self,
        settled: Vec<u64>,
        changed: &[(u64, OwedLabels)],
    ) -> Result<()> {
        let changed = changed.iter();
        let mut events: Vec<Event> = changed
            .map(|(number, owed)| labels_owed(*number, owed))
            .collect();
        if !settled.is_empty() {
            events.push(Event::LabelsSettled { numbers: settled });
        }
        self.store.record_all(events)
    }

    /// Makes everything recorded so far durable.
    pub fn sync(&mut self) -> Result<()> {
        self.store.sync()
    }
}

fn labels_owed(number: u64, owed: &OwedLabels) -> Event {
    Event::LabelsOwed {
        number,
        owed: OwedEntry::from(owed),
    }
}
