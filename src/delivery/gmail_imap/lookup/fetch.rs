//! What a look-up reads of the messages that a search found, and how it compares them.

use std::collections::HashMap;

use crate::delivery::gmail_imap::account::GmailAccount;
use crate::delivery::gmail_imap::found_message::{FoundMessage, holding_of_others};
use crate::delivery::gmail_imap::lookup::{Lookup, LookupError};
use crate::delivery::gmail_imap::responses::is_about_the_command;
use crate::error::Result;
use crate::imap::{CommandError, identity_command, read_bodies};
use crate::message::{BodyDigest, FETCH_PAGE_SIZE, Uid, UidSet};
use crate::sync::{LookupQuery, LookupResult, UncertainAppend};

/// A stored message larger than this is none of ours.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Bodies that were fetched already.
#[derive(Default)]
pub(super) struct BodyDigests(HashMap<Uid, Option<BodyDigest>>);

impl Lookup {
    pub(super) fn fetch_identities(
        &mut self,
        mut uids: Vec<Uid>,
        account: &GmailAccount,
    ) -> Result<Vec<FoundMessage>, LookupError> {
        uids.sort_unstable();
        uids.dedup();
        let mut candidates = Vec::new();
        for page in uids.chunks(FETCH_PAGE_SIZE) {
            match self.fetch_page(page, account)? {
                Some(found) => candidates.extend(found),
                None => candidates.extend(self.fetch_one_by_one(page, account)?),
            }
        }
        Ok(candidates)
    }

    /// One unreadable message spoils a whole FETCH; the one that is refused alone, and again, is
    /// left out.
    fn fetch_one_by_one(
        &mut self,
        page: &[Uid],
        account: &GmailAccount,
    ) -> Result<Vec<FoundMessage>, LookupError> {
        let mut candidates = Vec::new();
        for uid in page.chunks(1) {
            candidates.extend(self.fetch_page(uid, account)?.unwrap_or_default());
        }
        Ok(candidates)
    }

    fn fetch_page(
        &mut self,
        page: &[Uid],
        account: &GmailAccount,
    ) -> Result<Option<Vec<FoundMessage>>, LookupError> {
        let set: UidSet = page.iter().copied().collect();
        let result = self.logged_in.session.command(&identity_command(&set));
        let response = unless_rejected(result, account)?;
        Ok(response.map(|response| FoundMessage::read(&response).collect()))
    }

    /// A message that was sent and is looked for: its body must be the same as well. A candidate
    /// whose body the server does not show may be it: to send it again could double it.
    pub(super) fn holding_of_sent(
        &mut self,
        question: &LookupQuery,
        sent: &UncertainAppend,
        candidates: &[FoundMessage],
        bodies: &mut BodyDigests,
        account: &GmailAccount,
    ) -> Result<LookupResult, LookupError> {
        let wanted = &question.identity;
        let mut is_unclear = false;
        for candidate in candidates
            .iter()
            .filter(|candidate| candidate.may_match(wanted) && candidate.size <= LARGEST)
        {
            let body = if let Some(body) = bodies.0.get(&candidate.uid) {
                *body
            } else {
                let body = self.fetch_body(candidate, account)?;
                bodies.0.insert(candidate.uid, body);
                body
            };
            if body == Some(sent.body) {
                return Ok(LookupResult::Found);
            }
            is_unclear |= body.is_none();
        }
        if is_unclear {
            return Ok(LookupResult::Unclear);
        }
        Ok(holding_of_others(wanted, candidates))
    }

    /// The digest of a message's body; none if the server does not give it.
    fn fetch_body(
        &mut self,
        candidate: &FoundMessage,
        account: &GmailAccount,
    ) -> Result<Option<BodyDigest>, LookupError> {
        let session = &mut self.logged_in.session;
        let allowance = candidate.size.saturating_mul(2);
        let result = session.fetch_bodies(candidate.uid, allowance);
        let response = unless_rejected(result, account)?.unwrap_or_default();
        let body = read_bodies(&response).remove(&candidate.uid).flatten();
        Ok(body.map(|octets| BodyDigest::of_message(&octets)))
    }
}

/// The response to a FETCH; none if the server rejects this very one.
fn unless_rejected(
    result: Result<Vec<u8>, CommandError>,
    account: &GmailAccount,
) -> Result<Option<Vec<u8>>, LookupError> {
    match result {
        Ok(response) => Ok(Some(response)),
        Err(error) if is_about_the_command(&error) => Ok(None),
        Err(error) => Err(LookupError::from_command_error(error, account)),
    }
}
