//! The appends of this pass that have no outcome yet.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::message::{Digest, HeaderDigest, LoggedMessage, MessageId, Uid};
use crate::size::format_size;
use crate::state::ParkedMessage;
use crate::sync::Receipt;
use crate::timestamp::{format_elapsed, logged_seconds};

/// The appends of this pass that have no outcome yet, and the uncertain ones that it has resolved.
///
/// In the state, a message in flight is parked by its intent, like an uncertain one.
#[derive(Default)]
pub(super) struct InFlight {
    messages: HashMap<Uid, InFlightMessage>,
    /// Uncertain appends that a lookup showed not to be stored: they can be sent again.
    not_stored: HashSet<Uid>,
}

/// A message whose intent is recorded and whose outcome is not.
pub(super) struct InFlightMessage {
    pub id: MessageId,
    pub digest: Digest,
    pub octets: u64,
    /// Its parked entry until the outcome is known.
    pub intent: ParkedMessage,
    /// Its parked entry before, if it was parked.
    pub before: Option<ParkedMessage>,
    /// When the engine decided to send it; for a log line only.
    pub intended_at: Instant,
}

impl InFlightMessage {
    /// Logs that Gmail stored this message.
    pub fn log_copied(&self, uid: Uid, receipt: &Receipt) {
        let octets = self.octets;
        let logged = LoggedMessage {
            id: Some(&self.id),
            uid: Some(uid),
            octets: Some(octets),
        };
        let took = self.intended_at.elapsed();
        let (appended_uid, imported_id, is_spam) = match receipt {
            Receipt::Appended(place) => (Some(place.uid.get()), None, None),
            Receipt::Imported(imported) => (None, Some(&imported.id), Some(imported.is_spam)),
        };
        log::info!(
            message_id = logged.id_text().as_deref(),
            uid = uid.get(),
            gmail_uid = appended_uid,
            gmail_id = imported_id.map(String::as_str),
            is_spam,
            octets,
            seconds = logged_seconds(took);
            "copied {logged} to Gmail {receipt}: {}, {}",
            format_size(octets),
            format_elapsed(took)
        );
    }
}

impl InFlight {
    pub fn contains(&self, uid: Uid) -> bool {
        self.messages.contains_key(&uid)
    }

    /// Says whether a message with this id and header is in flight.
    pub fn has_twin_of(&self, id: &MessageId, header: HeaderDigest) -> bool {
        let mut messages = self.messages.values();
        messages.any(|message| message.id == *id && message.digest.header == header)
    }

    pub fn insert(&mut self, uid: Uid, message: InFlightMessage) {
        self.not_stored.remove(&uid);
        self.messages.insert(uid, message);
    }

    pub fn remove(&mut self, uid: Uid) -> Option<InFlightMessage> {
        self.messages.remove(&uid)
    }

    pub fn mark_not_stored(&mut self, uid: Uid) {
        self.not_stored.insert(uid);
    }

    pub fn is_not_stored(&self, uid: Uid) -> bool {
        self.not_stored.contains(&uid)
    }
}
