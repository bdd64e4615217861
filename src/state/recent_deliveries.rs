//! From which folder messages were delivered lately: one that is in another folder, too, gets the labels of
//! both.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::message::{Digest, MessageId};
use crate::state::State;

/// More are remembered only in part.
const MAX_RECENT: usize = 20_000;

/// How long a folder may fail before it counts as one that will not be copied: a message that is moved later
/// must not pass for a copy for ever.
const FAILURE_TIME: TimeDelta = TimeDelta::days(1);

/// A delivery agent stores the copies of a message one after the other. A run may see the first one, and only
/// the next run the second.
const COPY_TIME: TimeDelta = TimeDelta::minutes(10);

/// Messages that were appended, with their source folders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct RecentDeliveries(BTreeMap<MessageId, Folders>);

/// The folder that a message was delivered from, and those whose labels it got besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrSeveral", into = "OneOrSeveral")]
struct Folders(Vec<String>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl From<OneOrSeveral> for Folders {
    fn from(folders: OneOrSeveral) -> Folders {
        match folders {
            OneOrSeveral::One(folder) => Folders(vec![folder]),
            OneOrSeveral::Several(folders) => Folders(folders),
        }
    }
}

impl From<Folders> for OneOrSeveral {
    fn from(Folders(folders): Folders) -> OneOrSeveral {
        match <[String; 1]>::try_from(folders) {
            Ok([folder]) => OneOrSeveral::One(folder),
            Err(folders) => OneOrSeveral::Several(folders),
        }
    }
}

impl RecentDeliveries {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl State {
    /// The folders whose labels a message has, if it was delivered since all folders were last copied, or a
    /// moment ago: the one that it was delivered from, and those where copies were found.
    pub(crate) fn recently_delivered_from(
        &self,
        id: &MessageId,
        now: DateTime<Utc>,
    ) -> Option<&[String]> {
        let recent = self.recent_deliveries.0.get(id);
        let (folders, time) = match recent {
            Some(folders) => (folders, FAILURE_TIME),
            None => (self.earlier_deliveries.0.get(id)?, COPY_TIME),
        };
        self.was_delivered_after(id, now - time)
            .then_some(folders.0.as_slice())
    }

    /// Whether there are messages that were delivered since all folders were last copied.
    pub(crate) fn has_recent_deliveries(&self) -> bool {
        !self.recent_deliveries.is_empty()
    }

    /// A message was appended. The only folder of an earlier release has no name, and no other folder.
    pub(super) fn note_delivery(&mut self, id: &MessageId, digest: Digest) {
        self.withdraw_refusals(id, digest);
        if !self.folder_name.is_empty() {
            let folder = Folders(vec![self.folder_name.clone()]);
            let recent = &mut self.recent_deliveries.0;
            // A folder that is never copied to its end must not make the state grow.
            if recent.len() >= MAX_RECENT {
                recent.pop_first();
            }
            recent.insert(id.clone(), folder);
        }
    }

    /// A copy of this message in the current folder gets labels.
    pub(super) fn note_copy(&mut self, id: &MessageId) {
        for deliveries in [&mut self.recent_deliveries, &mut self.earlier_deliveries] {
            if let Some(Folders(folders)) = deliveries.0.get_mut(id)
                && !folders.contains(&self.folder_name)
            {
                folders.push(self.folder_name.clone());
            }
        }
    }

    /// Drops what is too old to count.
    pub(super) fn prune_deliveries(&mut self, now: DateTime<Utc>) {
        let is_kept = |id: &MessageId| self.was_delivered_after(id, now - FAILURE_TIME);
        let ids = self.recent_deliveries.0.keys();
        let old: Vec<MessageId> = ids.filter(|id| !is_kept(id)).cloned().collect();
        for id in old {
            self.recent_deliveries.0.remove(&id);
        }
    }

    /// All folders are copied.
    pub(super) fn forget_deliveries(&mut self) {
        self.earlier_deliveries = std::mem::take(&mut self.recent_deliveries);
    }
}
