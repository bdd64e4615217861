//! Messages that a lookup found, and how they are compared with the wanted one. Pure.

use chrono::TimeDelta;

use crate::imap::{Responses, read_attributes};
use crate::message::{DeliveryMethod, Identity, InternalDate, Uid};
use crate::sync::{LookupResult, UncertainAppend};

/// The clock of this host may be ahead of Gmail's by so much.
const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(10);

/// A message at Gmail that may be the wanted one.
pub(super) struct FoundMessage {
    pub(super) uid: Uid,
    pub(super) identity: Identity,
    /// RFC822.SIZE.
    pub(super) size: u64,
    pub(super) internal_date: InternalDate,
}

impl FoundMessage {
    /// The messages in a response to FETCH that have a header.
    pub(super) fn read(responses: &Responses) -> impl Iterator<Item = FoundMessage> + use<> {
        let messages = read_attributes(responses).into_iter();
        messages.filter_map(|(uid, attributes)| {
            Some(FoundMessage {
                uid,
                identity: attributes.identity?,
                size: attributes.size.unwrap_or_default(),
                internal_date: attributes.internal_date,
            })
        })
    }

    /// Whether it is the wanted message if the body is equal: the header is, and the id if the wanted
    /// message has one.
    pub(super) fn may_match(&self, wanted: &Identity) -> bool {
        let matches_id = wanted.id.is_none() || self.identity.id == wanted.id;
        matches_id && self.identity.header == wanted.header
    }

    /// Whether it is as new as this import, if it was one: an import has the date of its arrival at Gmail, and
    /// an equal message without Message-ID may have been there before.
    pub(super) fn may_be_this_import(&self, wanted: &Identity, sent: &UncertainAppend) -> bool {
        let first = sent.at - MAX_CLOCK_DIFFERENCE;
        sent.method == DeliveryMethod::Append
            || wanted.id.is_some()
            || self.internal_date.is_none_or(|date| date >= first)
    }

    fn has_id_of(&self, wanted: &Identity) -> bool {
        wanted.id.is_some() && self.identity.id == wanted.id
    }
}

/// Whether one of the messages is the wanted one: its id and its header digest are equal.
pub(super) fn compare(wanted: &Identity, found: &[FoundMessage]) -> LookupResult {
    let is_wanted = |message: &FoundMessage| wanted.id.is_some() && message.identity == *wanted;
    if found.iter().any(is_wanted) {
        LookupResult::Found
    } else {
        compare_ids(wanted, found)
    }
}

/// The result if none of the messages is the wanted one.
pub(super) fn compare_ids(wanted: &Identity, found: &[FoundMessage]) -> LookupResult {
    if found.iter().any(|message| message.has_id_of(wanted)) {
        LookupResult::OtherMessage
    } else {
        LookupResult::NotFound
    }
}
