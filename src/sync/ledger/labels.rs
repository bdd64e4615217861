//! Records which labels are owed.

use crate::error::Result;
use crate::message::{DeliveryMethod, Digest, Listed, MessageId, MessagePlace, Uid, UidSet};
use crate::state::{Event, Knowledge, OwedEntry, OwedLabels, ParkedMessage, SentMark};
use crate::sync::identity::SelectedBy;
use crate::sync::ledger::Ledger;

/// Whether a parked message is still in the source mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum AtSource {
    Present,
    Gone,
}

/// The labels that a message gets that was delivered before and is new in this folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sync) struct LabelsOfKnown {
    /// The names.
    pub labels: Vec<String>,
    /// Whether it gets them if it was moved here, or copied later.
    pub if_moved: bool,
}

impl Ledger<'_> {
    /// The labels that this message gets although it was delivered before: it is in another folder, too,
    /// or was moved from there and the user wants that. A message that was in this folder before has had its
    /// labels.
    pub fn labels_of_known(&self, id: &MessageId, selected_by: SelectedBy) -> Option<Vec<String>> {
        let LabelsOfKnown { labels, if_moved } = &self.labels_of_known;
        let state = self.state();
        let is_new_here = selected_by == SelectedBy::Uid || state.folder.is_unsynced();
        let from = state.recently_delivered_from(id, self.now());
        let is_here = |folders: &[String]| folders.iter().any(|it| it == state.folder_name());
        let is_copy = from.is_some_and(|folders| !is_here(folders));
        let is_moved = *if_moved && from.is_none();
        let owes = !labels.is_empty() && is_new_here && (is_copy || is_moved);
        owes.then(|| labels.clone())
    }

    /// This message was delivered before, and gets labels.
    pub fn settle_known_with_labels(
        &mut self,
        listed: &Listed,
        id: MessageId,
        digest: Digest,
        labels: Vec<String>,
    ) -> Result<()> {
        self.report.known += 1;
        self.progress.settled(0);
        let uids = UidSet::from_iter([listed.uid]);
        self.record_known_with_labels(Event::Settled { uids }, listed, id, digest, labels)
    }

    pub(super) fn record_known_with_labels(
        &mut self,
        settled: Event,
        listed: &Listed,
        id: MessageId,
        digest: Digest,
        labels: Vec<String>,
    ) -> Result<()> {
        let at = self.now();
        let owed = OwedLabels {
            labels,
            at,
            place: None,
            version: None,
            tries: 0,
            id,
            digest,
            date: listed.internal_date,
            sent: SentMark {
                at,
                mark: None,
                method: DeliveryMethod::Append,
            },
        };
        self.store.record(Event::StoredWithoutLabels {
            stored: Box::new(settled),
            number: self.state().next_owed_number(),
            owed: OwedEntry::from(&owed),
        })
    }

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
