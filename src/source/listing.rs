//! Listing messages, and the listing of new mail that was made ahead.

use std::collections::BTreeMap;

use log::warn;

use crate::error::Result;
use crate::imap::{
    Command, CommandError, FetchItems, MessageAttributes, Responses, read_attributes, take_bodies,
};
use crate::message::{HashedOctets, Identity, Listed, Mailbox, Uid, UidSet};
use crate::source::{ImapSource, MIN_ALLOWANCE};

/// Messages of one listing that may each break the connection. Finding each takes some ten log-ins.
const MAX_BREAKERS: u32 = 10;

/// New messages that are listed ahead; of more, the response could be too large.
pub(super) const MAX_PREFETCHED: u32 = 200;

/// The messages of one listing that break the connection when they are asked for.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    /// Those that cannot be listed. With more than [`MAX_BREAKERS`] no more are listed: all others
    /// are read.
    unlistable: u32,
    /// Those that cannot be read either. With more, the server itself is at fault.
    unreadable: u32,
}

/// The listing that the log-in or a check for new mail made, so that the pass after it needs no round trip.
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

    /// The messages to list ahead, from the first UID that a new message can have.
    pub(super) fn range(first: Uid) -> (Uid, Uid) {
        let last = first.get().saturating_add(MAX_PREFETCHED - 1);
        (first, Uid::new(last).unwrap_or(first))
    }

    /// The listing of this range that was made in this mailbox. It covers no UID from UIDNEXT on: such a
    /// message may have come later.
    pub(super) fn of_range(
        (first, last): (Uid, Uid),
        mailbox: &Mailbox,
        responses: &Responses,
    ) -> PrefetchedListing {
        let highest = Uid::new(mailbox.uid_next.get() - 1);
        let Some(last) = highest.map(|highest| highest.min(last)) else {
            return PrefetchedListing::default();
        };
        let mut messages = read_attributes(responses);
        messages.retain(|uid, _| first <= *uid && *uid <= last);
        PrefetchedListing::new(first, last, complete_listings(messages))
    }

    /// Takes out the listing of these ascending UIDs, as far as it covers them, and returns the UIDs that
    /// are left; none is taken if nothing was listed. Each is given once only: a second listing is meant
    /// to be up to date.
    pub(super) fn take<'u>(&mut self, uids: &'u [Uid]) -> (Vec<Listed>, &'u [Uid]) {
        let covered = uids.partition_point(|uid| uid.get() <= self.last);
        let (covered, others) = uids.split_at(covered);
        let (Some(first), Some(last)) = (covered.first(), covered.last()) else {
            return (Vec::new(), uids);
        };
        if first.get() < self.first {
            return (Vec::new(), uids);
        }
        self.first = last.get().saturating_add(1);
        let taken = covered.iter().filter_map(|uid| self.listed.remove(uid));
        let taken: Vec<Listed> = taken.collect();
        let left = if taken.is_empty() { uids } else { others };
        (taken, left)
    }
}

impl ImapSource {
    /// Lists these messages. Where that fails, it lists each half, down to the single message that
    /// cannot be listed: that one is read instead.
    pub(super) fn list_page(
        &mut self,
        uids: &[Uid],
        breakers: &mut Breakers,
        into: &mut Vec<Listed>,
    ) -> Result<()> {
        if breakers.unlistable > MAX_BREAKERS {
            return self.read_page(uids, breakers, into);
        }
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
            Ok(messages) => {
                for (uid, attributes) in messages {
                    match complete_listing(uid, attributes) {
                        Ok(listed) => into.push(listed),
                        Err(rest) => into.extend(self.list_by_octets(uid, rest, breakers)?),
                    }
                }
                Ok(())
            }
            Err(error) => {
                breakers.unlistable += u32::from(is_connection_lost(&error));
                self.warn_once(uids, &error);
                self.read_page(uids, breakers, into)
            }
        }
    }

    fn read_page(
        &mut self,
        uids: &[Uid],
        breakers: &mut Breakers,
        into: &mut Vec<Listed>,
    ) -> Result<()> {
        for uid in uids {
            into.extend(self.list_by_octets(*uid, MessageAttributes::default(), breakers)?);
        }
        Ok(())
    }

    fn try_list(
        &mut self,
        uids: &[Uid],
    ) -> Result<Result<BTreeMap<Uid, MessageAttributes>, CommandError>> {
        let uids: UidSet = uids.iter().copied().collect();
        let listing = Command::UidFetch(uids.clone().into(), FetchItems::Listing);
        let result = self.session()?.command(listing);
        Ok(result.map(|responses| {
            let mut messages = read_attributes(&responses);
            // Servers report changes of other messages, too.
            messages.retain(|uid, _| uids.contains(*uid));
            messages
        }))
    }

    /// Reads a whole message for what the listing does not say about it. None if it cannot be read
    /// either.
    fn list_by_octets(
        &mut self,
        uid: Uid,
        attributes: MessageAttributes,
        breakers: &mut Breakers,
    ) -> Result<Option<Listed>> {
        let only = UidSet::from_iter([uid]);
        let responses = match self.session()?.fetch_bodies(only, MIN_ALLOWANCE) {
            Ok(responses) => responses,
            Err(error) => {
                breakers.unreadable += u32::from(is_connection_lost(&error));
                if breakers.unreadable > MAX_BREAKERS {
                    return Err(self.unavailable(&error, "listing messages"));
                }
                self.warn_once(&[uid], &error);
                return Ok(None);
            }
        };
        let body = take_bodies(responses).remove(&uid).flatten();
        Ok(body.map(|HashedOctets { octets, .. }| Listed {
            uid,
            size: attributes.size.unwrap_or(octets.len() as u64),
            internal_date: attributes.internal_date,
            flags: attributes.flags,
            identity: attributes
                .identity
                .unwrap_or_else(|| Identity::of_header(&octets)),
        }))
    }

    /// Warns of messages that cannot be listed; a message that stays so is listed again and again.
    fn warn_once(&mut self, uids: &[Uid], error: &CommandError) {
        for uid in uids {
            if !self.unlistable.contains(*uid) {
                self.unlistable.insert(*uid);
                warn!(uid = uid.get(); "the source cannot list uid {uid}: {error}");
            }
        }
    }
}

fn is_connection_lost(error: &CommandError) -> bool {
    !error.leaves_session_usable()
}

/// The listings that are complete; the others are listed again when their turn comes.
pub(super) fn complete_listings(messages: BTreeMap<Uid, MessageAttributes>) -> Vec<Listed> {
    let messages = messages.into_iter();
    messages
        .filter_map(|(uid, attributes)| complete_listing(uid, attributes).ok())
        .collect()
}

/// A listing, unless the server sent no size or no header.
fn complete_listing(uid: Uid, attributes: MessageAttributes) -> Result<Listed, MessageAttributes> {
    match (attributes.size, attributes.identity) {
        (Some(size), Some(identity)) => Ok(Listed {
            uid,
            size,
            internal_date: attributes.internal_date,
            flags: attributes.flags,
            identity,
        }),
        (_, identity) => Err(MessageAttributes {
            identity,
            ..attributes
        }),
    }
}
