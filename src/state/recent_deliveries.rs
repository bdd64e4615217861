//! From which folder messages were delivered since all folders were last copied: one that is in another
//! folder, too, gets the labels of both.

use std::collections::HashMap;

use crate::message::MessageId;
use crate::state::State;

/// Messages that were appended lately, with their source folders. It is not in the snapshot: what an
/// interrupted run has appended is in its journal.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentDeliveries(HashMap<MessageId, String>);

/// States are compared by what the snapshot holds.
impl PartialEq for RecentDeliveries {
    fn eq(&self, _: &RecentDeliveries) -> bool {
        true
    }
}

impl State {
    /// The folder that a message was delivered from, if that was since all folders were last copied.
    pub(crate) fn recently_delivered_from(&self, id: &MessageId) -> Option<&str> {
        self.recent_deliveries.0.get(id).map(String::as_str)
    }

    pub(super) fn note_delivery(&mut self, id: &MessageId) {
        let folder = self.folder_name.clone();
        self.recent_deliveries.0.insert(id.clone(), folder);
    }

    /// All folders are copied.
    pub(super) fn forget_deliveries(&mut self) {
        self.recent_deliveries.0.clear();
    }
}
