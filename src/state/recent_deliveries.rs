//! From which folder messages were delivered since all folders were last copied: one that is in another
//! folder, too, gets the labels of both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::MessageId;
use crate::state::State;

/// More are remembered only in part.
const MAX_RECENT: usize = 20_000;

/// Messages that were appended lately, with their source folders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct RecentDeliveries(BTreeMap<MessageId, String>);

impl RecentDeliveries {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl State {
    /// The folder that a message was delivered from, if that was since all folders were last copied.
    pub(crate) fn recently_delivered_from(&self, id: &MessageId) -> Option<&str> {
        self.recent_deliveries.0.get(id).map(String::as_str)
    }

    /// Whether there are such messages.
    pub(crate) fn has_recent_deliveries(&self) -> bool {
        !self.recent_deliveries.is_empty()
    }

    /// A message was appended. The only folder of an earlier release has no name, and no other folder.
    pub(super) fn note_delivery(&mut self, id: &MessageId) {
        if !self.folder_name.is_empty() {
            let folder = self.folder_name.clone();
            let recent = &mut self.recent_deliveries.0;
            // A folder that is never copied to its end must not make the state grow.
            if recent.len() >= MAX_RECENT {
                recent.pop_first();
            }
            recent.insert(id.clone(), folder);
        }
    }

    /// All folders are copied.
    pub(super) fn forget_deliveries(&mut self) {
        self.recent_deliveries = RecentDeliveries::default();
    }
}
