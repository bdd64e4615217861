//! Looks up messages without Message-ID: by the day on which they were received.

use std::collections::HashMap;

use crate::delivery::gmail_imap::found_message::FoundMessage;
use crate::delivery::gmail_imap::lookup::fetch::{BodyDigests, MAX_MESSAGE_SIZE};
use crate::delivery::gmail_imap::lookup::{Lookup, LookupError, newest};
use crate::delivery::gmail_imap::search;
use crate::message::BodyDigest;
use crate::sync::{LookupQuery, LookupResult};

/// For each folder the search that was listed last, and what it found: a device that mails without
/// Message-ID does so several times a day. What is appended later is missing, but the state knows it.
#[derive(Default)]
pub(super) struct ListedDays(HashMap<String, (String, Vec<FoundMessage>)>);

impl Lookup {
    /// Looks for a message without Message-ID: INTERNALDATE, header and body must be equal.
    pub(super) fn look_up_octets(
        &mut self,
        query: &LookupQuery,
        body: BodyDigest,
    ) -> Result<LookupResult, LookupError> {
        for folder in self.folders.all() {
            for criteria in search::by_days(query.date.into_iter()) {
                if self.has_octets(&folder, criteria, query, body)? {
                    return Ok(LookupResult::Found);
                }
            }
        }
        Ok(LookupResult::NotFound)
    }

    fn has_octets(
        &mut self,
        folder: &str,
        criteria: String,
        query: &LookupQuery,
        body: BodyDigest,
    ) -> Result<bool, LookupError> {
        let listed = match self.listed_days.0.remove(folder) {
            Some((listed, messages)) if listed == criteria => messages,
            _ => {
                self.examine_if_needed(folder)?;
                let found = self.search(&criteria)?.unwrap_or_default();
                self.fetch_identities(newest(found))?
            }
        };
        let has_body = self.is_body_among(folder, &listed, query, body);
        self.listed_days
            .0
            .insert(folder.to_owned(), (criteria, listed));
        has_body
    }

    fn is_body_among(
        &mut self,
        folder: &str,
        listed: &[FoundMessage],
        query: &LookupQuery,
        body: BodyDigest,
    ) -> Result<bool, LookupError> {
        let mut bodies = BodyDigests::default();
        let may_match = |message: &&FoundMessage| {
            message.internal_date == query.date
                && message.identity == query.identity
                && message.size <= MAX_MESSAGE_SIZE
        };
        for message in listed.iter().filter(may_match) {
            self.examine_if_needed(folder)?;
            if self.body_of(message, &mut bodies)? == Some(body) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
