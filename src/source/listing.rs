//! Listing messages, and the listing that a check for new mail has prefetched.

use std::collections::BTreeMap;

use log::warn;

use crate::error::Result;
use crate::imap::{CommandError, MessageAttributes, listing_command, read_attributes};
use crate::message::{Listed, Uid, UidSet};
use crate::source::ImapSource;

/// Messages of one listing that may each break the connection: with more, the server itself is at
/// fault. Finding each takes some ten log-ins.
const MAX_BREAKERS: u32 = 10;

/// The listing that a check for new mail made, so that the pass after it needs no round trip.
#[derive(Debug, Default)]
pub(super) struct PrefetchedListing {
    /// The UIDs that it covers: all messages from the first to the last are in `listed`.
    first: u32,
    last: u32,
    listed: BTreeMap<Uid, Listed>,
}

impl PrefetchedListing {
    pub(super) fn new(first: Uid, last: Uid, listed: Vec<Listed>) -> PrefetchedListing {
        PrefetchedListing {
            first: first.get(),
            last: last.get(),
            listed: listed
                .into_iter()
                .map(|listed| (listed.uid, listed))
                .collect(),
        }
    }

    /// Takes out the listing of these ascending UIDs; none if it does not cover them. Each is given
    /// once only: a second listing is meant to be up to date.
    pub(super) fn take(&mut self, uids: &[Uid]) -> Option<Vec<Listed>> {
        let (first, last) = (uids.first()?.get(), uids.last()?.get());
        if first < self.first || self.last < last {
            return None;
        }
        self.first = last.saturating_add(1);
        Some(
            uids.iter()
                .filter_map(|uid| self.listed.remove(uid))
                .collect(),
        )
    }
}

impl ImapSource {
    /// Lists these messages. Where that fails, it lists each half, down to the single message that
    /// cannot be listed, which is left out.
    pub(super) fn list_page(
        &mut self,
        uids: &[Uid],
        breakers: &mut u32,
        into: &mut Vec<Listed>,
    ) -> Result<()> {
        let mut result = self.try_list(uids)?;
        if result.is_err() && uids.len() > 1 {
            let (first, second) = uids.split_at(uids.len() / 2);
            self.list_page(first, breakers, into)?;
            return self.list_page(second, breakers, into);
        }
        // The connection may have broken by chance.
        if result.as_ref().is_err_and(is_connection_lost) {
            result = self.try_list(uids)?;
        }
        match result {
            Ok(listed) => into.extend(listed),
            Err(error) => {
                *breakers += u32::from(is_connection_lost(&error));
                if *breakers > MAX_BREAKERS {
                    return Err(self.unavailable(&error, "listing messages"));
                }
                let uid: UidSet = uids.iter().copied().collect();
                warn!("the source cannot list message UID {uid}: {error}");
            }
        }
        Ok(())
    }

    fn try_list(&mut self, uids: &[Uid]) -> Result<Result<Vec<Listed>, CommandError>> {
        let uids: UidSet = uids.iter().copied().collect();
        let result = self.session()?.command(&listing_command(&uids));
        Ok(result.map(|response| {
            let mut messages = read_attributes(&response);
            // Servers report changes of other messages, too.
            messages.retain(|uid, _| uids.contains(*uid));
            complete_listings(messages)
        }))
    }
}

fn is_connection_lost(error: &CommandError) -> bool {
    !error.leaves_session_usable()
}

/// Leaves out the messages for which the server sent no size or no header.
pub(super) fn complete_listings(messages: BTreeMap<Uid, MessageAttributes>) -> Vec<Listed> {
    messages
        .into_iter()
        .filter_map(|(uid, attributes)| {
            Some(Listed {
                uid,
                size: attributes.size?,
                internal_date: attributes.internal_date,
                flags: attributes.flags,
                identity: attributes.identity?,
            })
        })
        .collect()
}
