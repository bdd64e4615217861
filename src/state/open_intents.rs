//! Imports whose outcome the journal does not have: the process ended while they were sent.

use chrono::{DateTime, Utc};

use crate::message::{DeliveryMethod, Uid};
use crate::retry::STORE_TIMEOUT;
use crate::state::{Event, ParkedMessage, State};

/// The intents of imports in a journal.
#[derive(Default)]
pub(super) struct OpenIntents(Vec<(Uid, ParkedMessage)>);

impl OpenIntents {
    /// Remembers the event if it is one.
    pub fn note(&mut self, event: &Event) {
        if let Event::Intent { uid, parked, .. } = event
            && let Some(sent) = parked.sent
            && sent.method == DeliveryMethod::Import
        {
            self.0.push((*uid, parked.clone()));
        }
    }

    /// Puts off the lookup of those that are still open. An import waits after its intent while Gmail limits
    /// the rate, so that it may have been sent just before the process ended: Gmail may still be storing it.
    pub fn put_off_lookups(&self, state: &mut State, now: DateTime<Utc>) {
        let stored_by = now + STORE_TIMEOUT;
        for folder in state.folders_mut() {
            for (uid, intent) in &self.0 {
                // An outcome has put something else there.
                if let Some(parked) = folder.parked.get_mut(uid)
                    && parked == intent
                {
                    parked.retry_after = parked.retry_after.max(stored_by);
                }
            }
        }
    }
}
