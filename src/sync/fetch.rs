//! Searching, listing and reading the source.

use std::collections::HashSet;

use log::Level;

use crate::error::Result;
use crate::message::{
    Envelope, FETCH_PAGE_SIZE, HashedOctets, Listed, LoggedMessage, Mailbox, Uid, UidSet,
};
use crate::state::{DatePass, ParkedMessage, State};
use crate::sync::group::PlannedMessage;
use crate::sync::ledger::Ledger;
use crate::sync::{Fetched, Source, SourceSearch, is_same_mailbox, plan};

/// Reads the source; records messages that turn out to be gone or unreadable.
pub(super) struct Fetch<'a> {
    source: &'a mut dyn Source,
    /// The messages that were read in this pass.
    read: UidSet,
    /// The UIDs that a search of this pass asked for, and those that it found.
    searched: UidSet,
    found: UidSet,
}

/// The UIDs that a date pass considers.
pub(super) struct FoundByDate {
    /// Received since the day that the pass goes back to.
    pub since: UidSet,
    /// Those, and the ones received on a day of an orphaned parked message.
    pub all: UidSet,
}

/// A message and its octets.
pub(super) struct ReadMessage {
    pub planned: PlannedMessage,
    pub octets: HashedOctets,
}

/// A message that a FETCH did not return although it ended with OK.
pub(super) struct MissingMessage {
    pub listed: Listed,
    /// A search still finds it.
    pub exists: bool,
}

impl<'a> Fetch<'a> {
    pub fn new(source: &'a mut dyn Source) -> Fetch<'a> {
        Fetch {
            source,
            read: UidSet::default(),
            searched: UidSet::default(),
            found: UidSet::default(),
        }
    }

    /// See [`Source::correct_uid_next`].
    pub fn correct_uid_next(&mut self, mailbox: &Mailbox) -> Result<Option<Uid>> {
        self.source.correct_uid_next(mailbox)
    }

    /// See [`is_same_mailbox`].
    pub fn is_mailbox_of(&mut self, state: &State, mailbox: &Mailbox) -> Result<bool> {
        is_same_mailbox(state, mailbox, self.source)
    }

    /// Returns the UIDs of the messages from `first` to `last`; some of them may not exist.
    pub fn search_between(&mut self, mailbox: &Mailbox, first: Uid, last: Uid) -> Result<Vec<Uid>> {
        let is_narrow =
            last.get() - first.get() < u32::try_from(FETCH_PAGE_SIZE).unwrap_or(u32::MAX);
        if mailbox.exists == 0 {
            return Ok(Vec::new());
        }
        if is_narrow {
            // Saves the search: the listing shows which ones do not exist.
            return Ok((first.get()..=last.get()).filter_map(Uid::new).collect());
        }
        let mut range = UidSet::default();
        range.insert_range(first, last);
        let mut found = self.source.search(&SourceSearch::Uids(range))?;
        found.retain(|uid| first <= *uid && *uid <= last);
        Ok(found)
    }

    /// Returns the UIDs of the messages that a date pass considers.
    pub fn search_by_date(
        &mut self,
        pass: &DatePass,
        orphans: &[ParkedMessage],
    ) -> Result<FoundByDate> {
        let since = self.search_below(&SourceSearch::Since(plan::since_day(pass)), pass)?;
        let mut all = since.clone();
        for day in plan::orphan_days(orphans.iter()) {
            let found = self.search_below(&SourceSearch::On(day), pass)?;
            found.iter().for_each(|uid| all.insert(uid));
        }
        Ok(FoundByDate { since, all })
    }

    fn search_below(&mut self, search: &SourceSearch, pass: &DatePass) -> Result<UidSet> {
        let found = self.source.search(search)?.into_iter();
        Ok(found.filter(|uid| *uid < pass.uid_next).collect())
    }

    /// Lists messages. One that is missing from the listing is gone only if a search does not find
    /// it either; otherwise it is listed once more, and parked if it is missing again.
    pub fn list(&mut self, uids: &[Uid], ledger: &mut Ledger) -> Result<Vec<Listed>> {
        let mut listed = self.source.list(&uids.iter().copied().collect())?;
        let existing = self.settle_gone(&missing(uids, &listed), ledger)?;
        if !existing.is_empty() {
            listed.extend(self.source.list(&existing.iter().copied().collect())?);
            listed.sort_by_key(|listed| listed.uid);
            for uid in missing(&existing, &listed) {
                ledger.park_unlisted(uid)?;
            }
        }
        Ok(listed)
    }

    /// Settles those of the UIDs that a search does not find, unless they are parked; returns
    /// those that it finds.
    fn settle_gone(&mut self, uids: &[Uid], ledger: &mut Ledger) -> Result<Vec<Uid>> {
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let search = SourceSearch::Uids(uids.iter().copied().collect());
        let found = self.source.search(&search)?;
        let (existing, gone): (Vec<Uid>, Vec<Uid>) =
            uids.iter().partition(|uid| found.contains(uid));
        ledger.settle_gone(&gone)?;
        Ok(existing)
    }

    /// Returns the first of these UIDs of known messages that no longer exists. One search asks
    /// for the UIDs of all known messages.
    pub fn first_gone(&mut self, uids: &[Uid], state: &State) -> Result<Option<Uid>> {
        let is_read = |uid: &Uid| self.read.contains(*uid);
        let asked: Vec<Uid> = uids.iter().copied().filter(|uid| !is_read(uid)).collect();
        if asked.is_empty() {
            return Ok(None);
        }
        if !asked.iter().all(|uid| self.searched.contains(*uid)) {
            let mut range = UidSet::default();
            if let Some((first, last)) = state.known_uid_range() {
                range.insert_range(first, last);
            }
            let found = self.source.search(&SourceSearch::Uids(range.clone()))?;
            self.searched = range;
            self.found = found.into_iter().collect();
        }
        Ok(asked.into_iter().find(|uid| !self.found.contains(*uid)))
    }

    /// See [`Source::prefetch`].
    pub fn announce(&mut self, groups: &[Vec<Uid>]) {
        if !groups.is_empty() {
            self.source.prefetch(groups);
        }
    }

    /// Reads the octets of a group. After a failure of the group the rest of it is read one by one,
    /// so that one bad message does not stop the others; a message that fails twice is parked.
    pub fn read(
        &mut self,
        group: Vec<PlannedMessage>,
        ledger: &mut Ledger,
    ) -> Result<(Vec<ReadMessage>, Vec<MissingMessage>)> {
        let uids: Vec<Uid> = group.iter().map(|planned| planned.listed.uid).collect();
        let mut fetched = if uids.is_empty() {
            Vec::new().into_iter()
        } else {
            self.source.fetch(&uids)?.into_iter()
        };
        let mut read = Vec::new();
        let mut missing = Vec::new();
        for planned in group {
            let mut result = fetched.next().unwrap_or(Fetched::Missing);
            if let Fetched::Unreadable(_) = result {
                let mut retried = self.source.fetch(&[planned.listed.uid])?.into_iter();
                result = retried.next().unwrap_or(Fetched::Missing);
            }
            match result {
                Fetched::Octets(octets) => {
                    self.read.insert(planned.listed.uid);
                    log_envelope(&planned.listed, &octets.octets);
                    read.push(ReadMessage { planned, octets });
                }
                Fetched::Missing => missing.push(planned.listed),
                Fetched::Unreadable(why) => ledger.park_unreadable(planned.listed, &why)?,
            }
        }
        let uids: Vec<Uid> = missing.iter().map(|listed| listed.uid).collect();
        let existing = self.settle_gone(&uids, ledger)?;
        let missing = missing.into_iter().map(|listed| MissingMessage {
            exists: existing.contains(&listed.uid),
            listed,
        });
        Ok((read, missing.collect()))
    }
}

/// Sender and subject are in the log at `--debug` only.
fn log_envelope(listed: &Listed, octets: &[u8]) {
    if log::log_enabled!(Level::Debug) {
        let (logged, envelope) = (LoggedMessage::from(listed), Envelope::of_message(octets));
        logged.log(Level::Debug, format_args!("fetched {logged}: {envelope}"));
    }
}

/// The UIDs that are missing from a listing.
fn missing(uids: &[Uid], listed: &[Listed]) -> Vec<Uid> {
    let listed: HashSet<Uid> = listed.iter().map(|listed| listed.uid).collect();
    let missing = uids.iter().filter(|uid| !listed.contains(uid));
    missing.copied().collect()
}
