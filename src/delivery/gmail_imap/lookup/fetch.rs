//! What a look-up reads of the messages that a search found, and how it compares them.

use std::collections::HashMap;

use crate::delivery::gmail_imap::account::GmailAccount;
use crate::delivery::gmail_imap::found_message::{FoundMessage, holding_of_others, whole};
use crate::delivery::gmail_imap::lookup::{Lookup, LookupError};
use crate::delivery::gmail_imap::responses::is_about_the_command;
use crate::error::Result;
use crate::imap::session;
use crate::message::{BodyDigest, Uid, UidSet};
use crate::sync::{LookupQuery, LookupResult, UncertainAppend};

/// One FETCH asks for the header fields of so many messages.
const PAGE: usize = 500;

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
        for page in uids.chunks(PAGE) {
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
        let command = format!(
            "UID FETCH {set} (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM \
             SUBJECT)])"
        );
        let answer = self.fetch(&command, account)?;
        Ok(answer.map(|answer| {
            let fetched = session::fetch_responses(&answer);
            fetched
                .filter_map(|attributes| FoundMessage::from_attributes(&attributes))
                .collect()
        }))
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
        let witness = self.logged_in.session.transcript().clone();
        witness.set_allowance(candidate.size.saturating_mul(2));
        let command = format!("UID FETCH {} (UID BODY.PEEK[])", candidate.uid);
        let answer = self.fetch(&command, account);
        witness.set_allowance(0);
        let answer = answer?.unwrap_or_default();
        let digest = session::fetch_responses(&answer)
            .filter(|attributes| session::uid_attribute(attributes) == Some(candidate.uid))
            .find_map(|attributes| whole(&attributes).map(BodyDigest::of_message));
        Ok(digest)
    }

    /// Runs a FETCH; none if the server refuses this very one.
    fn fetch(
        &mut self,
        command: &str,
        account: &GmailAccount,
    ) -> Result<Option<Vec<u8>>, LookupError> {
        match self.logged_in.session.command(command) {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if is_about_the_command(&failure) => Ok(None),
            Err(failure) => Err(LookupError::from_command_error(failure, account)),
        }
    }
}
