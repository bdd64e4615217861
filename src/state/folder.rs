//! What is remembered of each source folder.
//!
//! UIDs, and what is remembered by them, belong to one folder. The identities of delivered messages are
//! shared by all: a message that is in two folders, or moved from one to another, is delivered once.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::message::{Digest, Uid, UidSet, UidValidity};
use crate::retry::DATE_PASS_RETRY_DELAY;
use crate::state::{Cursor, DatePass, ParkedMessage, RefusedMessage, State};

/// `last_sync` is written at least this often when nothing is new.
const LAST_SYNC_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// What is remembered of one source folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FolderState {
    /// Just before the EXAMINE of the last pass that settled or parked all it listed.
    pub last_sync: Option<DateTime<Utc>>,
    /// The UID of the cursor as the original writes it, which has one folder: if it is another one
    /// there, the original ran in between.
    pub last_source_uid: u32,
    /// Everything up to here is settled or parked; `None` if a date pass must find out.
    pub cursor: Option<Cursor>,
    /// UIDs above the cursor that were settled out of order.
    pub settled: UidSet,
    /// See [`FolderState::samples`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) samples: BTreeMap<Uid, Digest>,
    /// The date pass that is not complete yet.
    pub date_pass: Option<DatePass>,
    /// Unfinished messages: not accepted by Gmail, not readable at the source, or uncertain.
    pub parked: BTreeMap<Uid, ParkedMessage>,
    /// Messages that were given up for good, by UID: a report for the user, never consulted.
    pub refused: BTreeMap<String, RefusedMessage>,
    /// When a run first found this folder beside others, if no pass of it was ever complete. Its first pass
    /// goes back from there, whenever it comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<DateTime<Utc>>,
    /// The UIDNEXT that the server announces was too low once: each run looks for higher UIDs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wrong_uid_next: bool,
}

impl FolderState {
    /// The highest UID that it mentions. A mailbox whose UIDNEXT is not above it was restored from a
    /// backup.
    #[must_use]
    pub fn highest_uid(&self) -> u32 {
        let cursor = self.cursor.as_ref().map_or(0, |cursor| cursor.uid);
        let settled = self.settled.last().map_or(0, Uid::get);
        let parked = self.parked.last_key_value().map_or(0, |(uid, _)| uid.get());
        cursor.max(settled).max(parked)
    }

    /// Whether no pass of it was ever complete.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.cursor.is_none() && self.last_sync.is_none()
    }

    /// Whether the last complete pass is so old that its time is written though nothing is new.
    pub(crate) fn is_last_sync_old(&self, now: DateTime<Utc>) -> bool {
        let age = self.last_sync.map(|last| now - last);
        // A negative age was written while the clock was wrong.
        age.is_none_or(|age| age >= LAST_SYNC_INTERVAL || age < TimeDelta::zero())
    }

    /// A pass over it is complete.
    pub(super) fn record_sync(&mut self, at: DateTime<Utc>) {
        self.last_sync = Some(at);
        self.first_seen = None;
    }

    pub(super) fn record_seen(&mut self, at: DateTime<Utc>) {
        self.first_seen.get_or_insert(at);
    }

    /// When it was last known to be there: written hourly, if nothing is new.
    pub(crate) fn last_seen(&self) -> Option<DateTime<Utc>> {
        self.last_sync.max(self.first_seen)
    }

    /// Whether messages of it are parked or refused.
    pub(crate) fn has_parked_or_refused(&self) -> bool {
        !(self.parked.is_empty() && self.orphans().is_empty() && self.refused.is_empty())
    }

    /// Whether the cursor may pass a UID.
    pub(crate) fn is_settled_or_parked(&self, uid: Uid) -> bool {
        self.settled.contains(uid) || self.parked.contains_key(&uid)
    }

    /// The mailbox that its UIDs belong to, `user@host/folder`, and their UIDVALIDITY.
    pub(crate) fn source_mailbox(&self) -> Option<(&str, UidValidity)> {
        if let Some(cursor) = &self.cursor {
            return Some((&cursor.source, cursor.uid_validity));
        }
        let pass = self.date_pass.as_ref()?;
        Some((&pass.source, pass.uid_validity))
    }

    /// Header digests of messages that were settled lately, by UID. A mailbox that has the same ones
    /// under the same UIDs is the same mailbox, whatever its name is.
    pub(crate) fn samples(&self) -> &BTreeMap<Uid, Digest> {
        &self.samples
    }

    /// When retries are due, though nothing new arrived: of parked messages, and of a date pass
    /// that waits for some.
    pub(crate) fn retry_times(
        &self,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let date_pass = self.date_pass.as_ref().map(|_| now + DATE_PASS_RETRY_DELAY);
        let parked = self.parked.values().map(move |parked| {
            if parked.is_due(now) {
                now
            } else {
                parked.retry_after
            }
        });
        parked.chain(date_pass)
    }

    /// The parked messages of before this date pass that it has not found again.
    pub(crate) fn orphans(&self) -> &[ParkedMessage] {
        let pass = self.date_pass.as_ref();
        pass.map_or(&[], |pass| pass.orphans.as_slice())
    }

    /// Discards what depends on UIDs. A date pass finds out how far the mailbox was copied; it begins at
    /// `since` or earlier.
    pub(super) fn discard_uids(&mut self, since: Option<DateTime<Utc>>) {
        self.cursor = None;
        self.settled = UidSet::default();
        self.samples.clear();
        self.last_sync = self.last_sync.min(since).or(since);
        if let Some(pass) = &mut self.date_pass {
            // Without a mailbox it holds for none; its successor takes over what is parked.
            pass.source.clear();
        }
    }
}

impl State {
    /// A state of which only the time of its last complete pass is known.
    pub(super) fn synced_last_at(last_sync: DateTime<Utc>) -> State {
        State {
            folder: FolderState {
                last_sync: Some(last_sync),
                ..FolderState::default()
            },
            ..State::default()
        }
    }

    /// All folders, by name: that of the events first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = (&str, &FolderState)> {
        let others = self.other_folders.iter();
        let others = others.map(|(name, folder)| (name.as_str(), folder));
        std::iter::once((self.folder_name.as_str(), &self.folder)).chain(others)
    }

    pub(super) fn folders_mut(&mut self) -> impl Iterator<Item = &mut FolderState> {
        let others = self.other_folders.values_mut();
        std::iter::once(&mut self.folder).chain(others)
    }

    /// What is remembered of a folder, if anything is.
    #[must_use]
    pub fn folder_named(&self, name: &str) -> Option<&FolderState> {
        if name == self.folder_name {
            Some(&self.folder)
        } else {
            self.other_folders.get(name)
        }
    }

    /// The name of the folder that the events are about; empty in a state of an earlier release, which had
    /// one folder.
    #[must_use]
    pub fn folder_name(&self) -> &str {
        &self.folder_name
    }

    /// Whether no pass of any folder was ever complete.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.folders().all(|(_, folder)| folder.is_unsynced())
    }

    /// When retries are due, though nothing new arrived: [in the folders](FolderState::retry_times) that are
    /// copied, and of owed labels.
    pub(crate) fn retry_times(
        &self,
        now: DateTime<Utc>,
        is_copied: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let labels = (!self.owed_labels().is_empty()).then_some(now + DATE_PASS_RETRY_DELAY);
        let copied: Vec<&FolderState> = self
            .folders()
            .filter(|(name, _)| is_copied(name))
            .map(|(_, folder)| folder)
            .collect();
        copied
            .into_iter()
            .flat_map(move |folder| folder.retry_times(now))
            .chain(labels)
    }

    /// Just before the EXAMINE of the last pass of a folder that settled or parked all it listed.
    #[must_use]
    pub fn last_sync(&self) -> Option<DateTime<Utc>> {
        self.folders()
            .filter_map(|(_, folder)| folder.last_sync)
            .max()
    }

    /// Whether it has no other folder.
    #[must_use]
    pub fn has_one_folder(&self) -> bool {
        self.other_folders.is_empty()
    }

    /// The events that follow are about this folder.
    pub(super) fn select_folder(&mut self, name: String) {
        if name == self.folder_name {
            return;
        }
        let folder = self.other_folders.remove(&name).unwrap_or_default();
        if self.first_folder.is_empty() {
            self.first_folder.clone_from(&name);
        }
        let before = std::mem::replace(&mut self.folder, folder);
        let name_before = std::mem::replace(&mut self.folder_name, name);
        if before != FolderState::default() {
            self.other_folders.insert(name_before, before);
        }
    }

    /// The folder of the events has this name from now on.
    pub(super) fn rename_folder(&mut self, name: String) {
        self.rename_known_folder(&self.folder_name.clone(), &name);
        if self.first_folder == self.folder_name {
            self.first_folder.clone_from(&name);
        }
        self.folder_name = name;
    }
}
