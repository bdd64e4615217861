//! What the state knows of the messages that were delivered or found at Gmail.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::message::{Digest, HeaderDigest, InternalDate, MessageId, Uid};
use crate::state::{FolderState, State};

mod lazy;

pub(super) use lazy::LazyKnown;

/// Ids are remembered this long after delivery, as in the Python original.
pub(crate) const KEEP_IDS: TimeDelta = TimeDelta::days(31);

/// A date pass that has gone on for longer never ends.
const MAX_DATE_PASS: TimeDelta = TimeDelta::days(90);

/// The digests that are remembered of one id, at most: a device may use one id for all its mail.
const MAX_DIGESTS_PER_ID: usize = 100;

/// The messages without Message-ID and of the same octets that are remembered, at most: with, and
/// as many without their UID.
const MAX_COPIES_PER_ID: usize = 1_000;

/// The known messages, by id.
pub(super) type KnownMessages = HashMap<MessageId, KnownMessage>;

/// Where the delivered messages of the same octets and without Message-ID are at the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CopiesIn")]
pub(super) struct Copies {
    /// UID and INTERNALDATE of each, by folder.
    folders: BTreeMap<String, Uids>,
    /// INTERNALDATE of those whose UID is not known: UIDVALIDITY has changed since they were
    /// delivered. They may be in any folder.
    elsewhere: Vec<InternalDate>,
    /// The same of those whose folder is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    elsewhere_in: BTreeMap<String, Vec<InternalDate>>,
    /// When UIDVALIDITY last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    renumbered: Option<DateTime<Utc>>,
}

/// Messages of one folder.
type Uids = BTreeMap<Uid, InternalDate>;

/// [`Copies`] as they are read: earlier releases wrote the messages of their only folder apart.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CopiesIn {
    folders: BTreeMap<String, Uids>,
    uids: Uids,
    elsewhere: Vec<InternalDate>,
    elsewhere_in: BTreeMap<String, Vec<InternalDate>>,
    renumbered: Option<DateTime<Utc>>,
}

/// Under which UID a known message without Message-ID was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviousUid {
    /// Under this one: it was moved out of the mailbox and back.
    Moved(Uid),
    /// Under one that is not known.
    Renumbered,
    /// In another folder: this is a copy of it, or the message itself, moved.
    InOtherFolder,
}

/// Messages of one id that were delivered or found at Gmail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownMessage {
    /// When the last of them was.
    pub(super) at: DateTime<Utc>,
    /// Empty if the original delivered it: it recorded ids only.
    pub(super) digests: Vec<Digest>,
    /// Only for messages without Message-ID.
    pub(super) copies: Copies,
}

/// What the state knows of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knowledge<'a> {
    /// Nothing.
    Unknown,
    /// The original delivered a message of this id, and recorded no more.
    IdOnly,
    /// Messages with these digests were delivered or found at Gmail.
    Digests(&'a [Digest]),
}

impl From<CopiesIn> for Copies {
    fn from(read: CopiesIn) -> Copies {
        let mut folders = read.folders;
        if !read.uids.is_empty() {
            // Its name is empty in the state, too, until a run names it.
            folders.insert(String::new(), read.uids);
        }
        Copies {
            folders,
            elsewhere: read.elsewhere,
            elsewhere_in: read.elsewhere_in,
            renumbered: read.renumbered,
        }
    }
}

impl Copies {
    /// What an id without Message-ID implies that has digests and no entry here, as earlier releases
    /// wrote it: one message was delivered.
    pub(super) fn implied() -> Copies {
        Copies {
            elsewhere: vec![None],
            ..Copies::default()
        }
    }

    /// Adds a message at this UID.
    pub(super) fn add(
        &mut self,
        folder: &str,
        uid: Uid,
        date: InternalDate,
        previous: Option<PreviousUid>,
    ) {
        let uids = match self.folders.get_mut(folder) {
            Some(uids) => uids,
            None => self.folders.entry(folder.to_owned()).or_default(),
        };
        match previous {
            Some(PreviousUid::Moved(from)) => drop(uids.remove(&from)),
            Some(PreviousUid::Renumbered) => {
                let in_folder = self.elsewhere_in.get_mut(folder);
                let elsewhere = match in_folder.filter(|dates| !dates.is_empty()) {
                    Some(dates) => dates,
                    None => &mut self.elsewhere,
                };
                let same_date = elsewhere.iter().position(|other| *other == date);
                let any = (!elsewhere.is_empty()).then_some(0);
                same_date.or(any).map(|index| elsewhere.remove(index));
            }
            Some(PreviousUid::InOtherFolder) | None => {}
        }
        uids.insert(uid, date);
        if uids.len() > MAX_COPIES_PER_ID
            && let Some((_, date)) = uids.pop_first()
        {
            self.add_elsewhere(date);
        }
    }

    /// Adds a message whose UID is not known.
    pub(super) fn add_elsewhere(&mut self, date: InternalDate) {
        self.elsewhere.push(date);
        self.limit_elsewhere();
    }

    fn limit_elsewhere(&mut self) {
        for dates in self.elsewhere_in.values_mut().chain([&mut self.elsewhere]) {
            let excess = dates.len().saturating_sub(MAX_COPIES_PER_ID);
            dates.drain(..excess);
        }
        self.elsewhere_in.retain(|_, dates| !dates.is_empty());
    }

    /// Whether there is a message whose UID is not known, and that may be in this folder.
    fn has_elsewhere(&self, folder: &str) -> bool {
        !self.elsewhere.is_empty() || self.elsewhere_in.contains_key(folder)
    }

    pub(super) fn is_implied(&self) -> bool {
        self.folders.is_empty()
            && self.elsewhere_in.is_empty()
            && self.renumbered.is_none()
            && matches!(self.elsewhere.as_slice(), [] | [None])
    }
}

impl State {
    /// What is known of an id.
    #[must_use]
    pub fn known_digests(&self, id: &MessageId) -> Knowledge<'_> {
        match self.known.get(id) {
            None => Knowledge::Unknown,
            Some(known) if known.digests.is_empty() => Knowledge::IdOnly,
            Some(known) => Knowledge::Digests(&known.digests),
        }
    }

    /// The UIDs and INTERNALDATEs of the known messages without Message-ID that have this id, in this
    /// folder.
    pub(crate) fn known_uids(
        &self,
        id: &MessageId,
    ) -> impl Iterator<Item = (Uid, InternalDate)> + '_ {
        let known = self.known.get(id);
        let uids = known.and_then(|known| known.copies.folders.get(&self.folder_name));
        uids.into_iter().flatten().map(|(uid, date)| (*uid, *date))
    }

    /// Whether another folder has more of the known messages without Message-ID that have this id and
    /// INTERNALDATE: so many of this folder may be copies of those, or those themselves, moved.
    pub(crate) fn is_known_in_other_folder(&self, id: &MessageId, date: InternalDate) -> bool {
        let Some(known) = self.known.get(id).filter(|_| date.is_some()) else {
            return false;
        };
        let folders = &known.copies.folders;
        let count = |uids: &Uids| uids.values().filter(|other| **other == date).count();
        let here = folders.get(&self.folder_name).map_or(0, count);
        folders.values().any(|uids| count(uids) > here)
    }

    /// Whether a message without Message-ID that has this id was delivered, from this folder or an
    /// unknown one, under a UID that is not known.
    pub(crate) fn is_known_elsewhere(&self, id: &MessageId) -> bool {
        let known = self.known.get(id);
        known.is_some_and(|known| known.copies.has_elsewhere(&self.folder_name))
    }

    /// Whether one of those has this INTERNALDATE.
    pub(crate) fn is_known_elsewhere_with(&self, id: &MessageId, date: InternalDate) -> bool {
        let known = self.known.get(id);
        let has_it = |copies: &Copies| {
            let mut in_folders = copies.elsewhere_in.values().chain([&copies.elsewhere]);
            in_folders.any(|dates| dates.contains(&date))
        };
        date.is_some() && known.is_some_and(|known| has_it(&known.copies))
    }

    /// Whether a message without Message-ID that has this id was delivered at this UID and INTERNALDATE.
    pub(crate) fn is_known_at(&self, id: &MessageId, uid: Uid, date: InternalDate) -> bool {
        let mut uids = self.known_uids(id);
        uids.any(|known| known == (uid, date))
    }

    /// Whether a message without Message-ID that has this id and this INTERNALDATE was delivered.
    pub(crate) fn is_known_with(&self, id: &MessageId, date: InternalDate) -> bool {
        let mut uids = self.known_uids(id);
        uids.any(|(_, other)| other == date) || self.is_known_elsewhere_with(id, date)
    }

    /// Whether a message of this INTERNALDATE may be one of those under another date: it is from
    /// before UIDVALIDITY changed.
    pub(crate) fn may_be_known_elsewhere(&self, id: &MessageId, date: InternalDate) -> bool {
        let renumbered = self.known.get(id).and_then(|known| known.copies.renumbered);
        let is_before = date
            .zip(renumbered)
            .is_some_and(|(date, renumbered)| date <= renumbered);
        is_before && self.is_known_elsewhere(id)
    }

    /// The lowest and the highest UID of all known messages of this folder without Message-ID.
    pub(crate) fn known_uid_range(&self) -> Option<(Uid, Uid)> {
        let uids = || {
            let folders = self.known.values().map(|known| &known.copies.folders);
            folders
                .filter_map(|folders| folders.get(&self.folder_name))
                .flat_map(BTreeMap::keys)
        };
        uids().min().copied().zip(uids().max().copied())
    }

    /// Whether a message of this id was delivered in the current date pass.
    pub(crate) fn was_delivered_in_date_pass(&self, id: &MessageId) -> bool {
        let began = self.folder.date_pass.as_ref().and_then(|pass| pass.began);
        began.is_some_and(|began| self.was_delivered_after(id, began))
    }

    /// Whether a message of this id was delivered at this time or later.
    pub(crate) fn was_delivered_after(&self, id: &MessageId, time: DateTime<Utc>) -> bool {
        self.known.get(id).is_some_and(|known| known.at >= time)
    }

    /// The messages that were delivered or found last, at most so many: those with a Message-ID and
    /// a digest.
    pub(crate) fn latest_known(
        &self,
        count: usize,
    ) -> impl Iterator<Item = (&MessageId, HeaderDigest)> {
        let mut known: Vec<_> = self
            .known
            .iter()
            .filter(|(id, _)| id.is_from_field())
            .filter_map(|(id, known)| Some((known.at, id, known.digests.last()?.header)))
            .collect();
        known.sort_unstable_by(|one, other| other.cmp(one));
        known
            .into_iter()
            .take(count)
            .map(|(_, id, header)| (id, header))
    }

    /// The number of ids that are remembered.
    #[must_use]
    pub fn known_id_count(&self) -> usize {
        self.known.len()
    }

    /// Remembers a message; returns the copies to add it to, if it has no Message-ID.
    pub(super) fn remember(
        &mut self,
        id: MessageId,
        digest: Digest,
        at: DateTime<Utc>,
    ) -> Option<&mut Copies> {
        let is_without_id = !id.is_from_field();
        let known = self.known.entry(id).or_insert(KnownMessage {
            at,
            // Nearly every id has one.
            digests: Vec::with_capacity(1),
            copies: Copies::default(),
        });
        known.at = at;
        if !known.digests.contains(&digest) {
            known.digests.push(digest);
        }
        // Dropping one loses nothing: Gmail is searched for it.
        let excess = known.digests.len().saturating_sub(MAX_DIGESTS_PER_ID);
        known.digests.drain(..excess);
        is_without_id.then_some(&mut known.copies)
    }

    /// The UIDs of known messages of this folder are no longer valid since this time.
    pub(super) fn forget_known_uids(&mut self, since: Option<DateTime<Utc>>) {
        let is_only_folder = self.has_one_folder();
        for KnownMessage { copies, .. } in self.known.values_mut() {
            let uids = copies.folders.remove(&self.folder_name).unwrap_or_default();
            if uids.is_empty() && !is_only_folder {
                continue;
            }
            if is_only_folder {
                copies.elsewhere.extend(uids.into_values());
            } else {
                let in_folder = copies.elsewhere_in.entry(self.folder_name.clone());
                in_folder.or_default().extend(uids.into_values());
            }
            copies.limit_elsewhere();
            copies.renumbered = since.filter(|_| copies.has_elsewhere(&self.folder_name));
        }
    }

    /// The known messages of a folder are in one of this name from now on.
    pub(super) fn rename_known_folder(&mut self, before: &str, name: &str) {
        for KnownMessage { copies, .. } in self.known.values_mut() {
            if let Some(uids) = copies.folders.remove(before) {
                copies.folders.insert(name.to_owned(), uids);
            }
            if let Some(dates) = copies.elsewhere_in.remove(before) {
                copies.elsewhere_in.insert(name.to_owned(), dates);
            }
        }
    }

    /// Drops the ids that are too old. They are kept while a date pass goes on, which may begin
    /// earlier than `KEEP_IDS` ago; but not for one of a folder that has vanished, which never ends.
    pub(super) fn prune_known(&mut self, now: DateTime<Utc>) {
        let goes_on = |folder: &FolderState| {
            let pass = folder.date_pass.as_ref();
            let began = pass.map(|pass| pass.began);
            began.is_some_and(|began| began.is_none_or(|began| now - began <= MAX_DATE_PASS))
        };
        if !self.folders().any(|(_, folder)| goes_on(folder)) {
            self.known.retain(|_, known| now - known.at <= KEEP_IDS);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Identity;
    use crate::state::Event;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// How many ids are left of one that was delivered in January, with this date pass.
    fn left(began: &str, now: &str) -> usize {
        let mut state = State::default();
        let Identity { id, header } = Identity::of_header(b"Message-ID: <a@b>\r\n\r\n");
        state.apply(Event::Done {
            uid: Uid::MIN,
            id: id.unwrap(),
            digest: Digest::of_header(header),
            at: at("2026-01-01T00:00:00Z"),
            appended: true,
            date: None,
            previous: None,
        });
        if !began.is_empty() {
            let pass = json!({
                "since": began,
                "source": "alice@mail.example.com/F1",
                "uid_validity": 1,
                "uid_next": 9,
                "began": began,
            });
            state.apply(Event::DatePass(serde_json::from_value(pass).unwrap()));
        }
        state.prune_known(at(now));
        state.known.len()
    }

    #[test]
    fn ids_are_forgotten_after_a_month_unless_a_date_pass_goes_on() {
        for (began, now, expected) in [
            ("", "2026-01-31T00:00:00Z", 1),
            ("", "2026-02-02T00:00:00Z", 0),
            ("2026-01-02T00:00:00Z", "2026-03-01T00:00:00Z", 1),
            // Its folder has vanished.
            ("2026-01-02T00:00:00Z", "2026-05-01T00:00:00Z", 0),
        ] {
            assert_eq!(left(began, now), expected, "{began} {now}");
        }
    }
}
