//! Fetches what a lookup compares: the identities of found messages, and bodies.

use std::collections::HashMap;

use crate::delivery::gmail_imap::found_message::{FoundMessage, compare_ids};
use crate::delivery::gmail_imap::lookup::{Lookup, LookupError};
use crate::error::Result;
use crate::imap::{Command, FetchItems, take_bodies};
use crate::message::{BodyDigest, FETCH_PAGE_SIZE, Identity, Uid, UidSet};
use crate::sync::{LookupResult, UncertainAppend};

/// A larger message at Gmail was not appended by this program, and its body is not fetched.
pub(super) const MAX_MESSAGE_SIZE: u64 = 256 * 1024 * 1024;

/// Digests of bodies that were fetched; `None` if the server does not return the body.
#[derive(Default)]
pub(super) struct BodyDigests(HashMap<Uid, Option<BodyDigest>>);

impl Lookup {
    pub(super) fn fetch_identities(
        &mut self,
        mut uids: Vec<Uid>,
    ) -> Result<Vec<FoundMessage>, LookupError> {
        uids.sort_unstable();
        uids.dedup();
        let mut messages = Vec::new();
        for page in uids.chunks(FETCH_PAGE_SIZE) {
            match self.fetch_page(page)? {
                Some(found) => messages.extend(found),
                None => messages.extend(self.fetch_one_by_one(page)?),
            }
        }
        Ok(messages)
    }

    /// A server that rejects one message rejects the whole FETCH. The message that it rejects alone
    /// is left out.
    fn fetch_one_by_one(&mut self, page: &[Uid]) -> Result<Vec<FoundMessage>, LookupError> {
        let mut messages = Vec::new();
        for uid in page.chunks(1) {
            messages.extend(self.fetch_page(uid)?.unwrap_or_default());
        }
        Ok(messages)
    }

    fn fetch_page(&mut self, page: &[Uid]) -> Result<Option<Vec<FoundMessage>>, LookupError> {
        let set: UidSet = page.iter().copied().collect();
        let identities = Command::UidFetch(set.into(), FetchItems::Identity);
        let result = self.gmail.session.command(identities);
        let responses = self.unless_rejected(result)?;
        Ok(responses.map(|responses| FoundMessage::read(&responses).collect()))
    }

    /// Looks for an uncertain message among the candidates: its body must be equal, too. A
    /// candidate whose body the server does not return may be the message; sending it again could
    /// double it.
    pub(super) fn compare_uncertain(
        &mut self,
        wanted: &Identity,
        sent: &UncertainAppend,
        candidates: &[FoundMessage],
        bodies: &mut BodyDigests,
    ) -> Result<LookupResult, LookupError> {
        let mut is_unclear = false;
        for candidate in candidates
            .iter()
            .filter(|candidate| candidate.may_match(wanted) && candidate.size <= MAX_MESSAGE_SIZE)
            .filter(|candidate| candidate.may_be_this_import(wanted, sent))
        {
            let body = self.body_of(candidate, bodies)?;
            if body == Some(sent.body) {
                return Ok(LookupResult::Found);
            }
            is_unclear |= body.is_none();
        }
        if is_unclear {
            return Ok(LookupResult::Unclear);
        }
        Ok(compare_ids(wanted, candidates))
    }

    pub(super) fn body_of(
        &mut self,
        candidate: &FoundMessage,
        bodies: &mut BodyDigests,
    ) -> Result<Option<BodyDigest>, LookupError> {
        if let Some(body) = bodies.0.get(&candidate.uid) {
            return Ok(*body);
        }
        let body = self.fetch_body(candidate)?;
        bodies.0.insert(candidate.uid, body);
        Ok(body)
    }

    /// The digest of a message's body; none if the server does not return the body.
    fn fetch_body(&mut self, candidate: &FoundMessage) -> Result<Option<BodyDigest>, LookupError> {
        let allowance = candidate.size.saturating_mul(2);
        let only = UidSet::from_iter([candidate.uid]);
        let result = self.gmail.session.fetch_bodies(only, allowance);
        let responses = self.unless_rejected(result)?.unwrap_or_default();
        let body = take_bodies(responses).remove(&candidate.uid).flatten();
        Ok(body.map(|hashed| hashed.body))
    }
}
