//! Messages at Gmail that may be the one asked for (pure).

use imap_proto::{AttributeValue, MessageSection, SectionPath};

use crate::imap::session;
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
    /// Reads a response to FETCH; none if it does not tell of a message's header.
    pub(super) fn from_attributes(attributes: &[AttributeValue<'_>]) -> Option<FoundMessage> {
        let header = attributes.iter().find_map(|attribute| match attribute {
            AttributeValue::BodySection {
                section: Some(SectionPath::Full(MessageSection::Header)),
                data: Some(data),
                ..
            } => Some(data),
            _ => None,
        })?;
        let size = attributes.iter().find_map(|attribute| match attribute {
            AttributeValue::Rfc822Size(size) => Some(u64::from(*size)),
            _ => None,
        });
        Some(FoundMessage {
            uid: session::uid_attribute(attributes)?,
            identity: Identity::of_header(header),
            size: size.unwrap_or_default(),
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

/// The octets of a whole message in a response to FETCH.
pub(super) fn whole<'a>(attributes: &'a [AttributeValue<'_>]) -> Option<&'a [u8]> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::BodySection {
            section: None,
            data: Some(data),
            ..
        } => Some(data.as_ref()),
        _ => None,
    })
}
