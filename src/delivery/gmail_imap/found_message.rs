//! Messages at Gmail that may be the one asked for (pure).

use crate::imap::read_attributes;
use crate::message::{Identity, Uid};
use crate::sync::LookupResult;

/// A message at Gmail that may be the one asked for.
pub(super) struct FoundMessage {
    pub(super) uid: Uid,
    pub(super) identity: Identity,
    /// In octets, as the server says.
    pub(super) size: u64,
}

impl FoundMessage {
    /// Reads the messages that FETCH responses name with a header.
    pub(super) fn read(response: &[u8]) -> impl Iterator<Item = FoundMessage> {
        let messages = read_attributes(response).into_iter();
        messages.filter_map(|(uid, attributes)| {
            Some(FoundMessage {
                uid,
                identity: attributes.identity?,
                size: attributes.size.unwrap_or_default(),
            })
        })
    }

    /// Says whether its body may make it the message that was sent: the header matches, and the id
    /// if there is one.
    pub(super) fn may_match(&self, wanted: &Identity) -> bool {
        let matches_id = wanted.id.is_none() || self.identity.id == wanted.id;
        matches_id && self.identity.header == wanted.header
    }

    fn has_id_of(&self, wanted: &Identity) -> bool {
        wanted.id.is_some() && self.identity.id == wanted.id
    }
}

/// Whether the message asked for is one of these: id and header must both match.
pub(super) fn holding_of(wanted: &Identity, candidates: &[FoundMessage]) -> LookupResult {
    let is_it = |candidate: &FoundMessage| wanted.id.is_some() && candidate.identity == *wanted;
    if candidates.iter().any(is_it) {
        LookupResult::Found
    } else {
        holding_of_others(wanted, candidates)
    }
}

/// What it says of the message asked for that it is none of these.
pub(super) fn holding_of_others(wanted: &Identity, candidates: &[FoundMessage]) -> LookupResult {
    if candidates
        .iter()
        .any(|candidate| candidate.has_id_of(wanted))
    {
        LookupResult::OtherMessage
    } else {
        LookupResult::NotFound
    }
}
