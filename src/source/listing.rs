//! Listing messages, and what was listed ahead of being asked for.

use std::collections::BTreeMap;

use log::warn;

use crate::error::{Error, ErrorKind, Result, Side};
use crate::message::{Listed, Uid, UidSet};
use crate::source::responses::read_listing;
use crate::source::{ImapSource, LISTING};

/// Messages of one listing that each break the connection, as far as it is put up with: more, and
/// it is the server. Each costs some ten log-ins until it is found.
const BREAKERS_BORNE: u32 = 10;

/// What a look for new mail listed, for the pass that follows: it costs no round trip of its own.
#[derive(Debug, Default)]
pub(super) struct PrefetchedListing {
    /// From this UID on…
    from: u32,
    /// …up to this one all that there was is here.
    last: u32,
    listed: BTreeMap<Uid, Listed>,
}

impl PrefetchedListing {
    /// All messages from one UID to another.
    pub(super) fn from_listing(from: Uid, last: Uid, listed: Vec<Listed>) -> PrefetchedListing {
        PrefetchedListing {
            from: from.get(),
            last: last.get(),
            listed: listed
                .into_iter()
                .map(|listed| (listed.uid, listed))
                .collect(),
        }
    }

    /// What is known of these messages, once: who asks again wants to know it anew.
    pub(super) fn take(&mut self, uids: &[Uid]) -> Option<Vec<Listed>> {
        let (first, last) = (uids.first()?.get(), uids.last()?.get());
        if first < self.from || self.last < last {
            return None;
        }
        self.from = last.saturating_add(1);
        Some(
            uids.iter()
                .filter_map(|uid| self.listed.remove(uid))
                .collect(),
        )
    }
}

impl ImapSource {
    /// Lists these messages; a failure is narrowed down to the message to blame, which is left out.
    pub(super) fn list_chunk(
        &mut self,
        uids: &[Uid],
        breakers: &mut u32,
        into: &mut Vec<Listed>,
    ) -> Result<()> {
        let set: UidSet = uids.iter().copied().collect();
        let mut failure = match self
            .session()?
            .command(&format!("UID FETCH {set} {LISTING}"))
        {
            Ok(answer) => {
                into.extend(read_listing(&answer, &set));
                return Ok(());
            }
            Err(failure) => failure,
        };
        let (first, second) = uids.split_at(uids.len() / 2);
        if !first.is_empty() {
            self.list_chunk(first, breakers, into)?;
            return self.list_chunk(second, breakers, into);
        }
        // One message alone; a connection may break by chance.
        if !failure.leaves_session_usable() {
            match self
                .session()?
                .command(&format!("UID FETCH {set} {LISTING}"))
            {
                Ok(answer) => {
                    into.extend(read_listing(&answer, &set));
                    return Ok(());
                }
                Err(again) => failure = again,
            }
        }
        if !failure.leaves_session_usable() {
            *breakers += 1;
        }
        if *breakers > BREAKERS_BORNE {
            let place = self.connector.server.address();
            return Err(
                Error::new(Side::Source, ErrorKind::Unavailable, place, failure)
                    .during("listing messages"),
            );
        }
        warn!("the source cannot list message UID {set}: {failure}");
        Ok(())
    }
}
