//! Copying what was listed, in groups: one question, one FETCH and one write of intents for ten.

use std::collections::VecDeque;

use crate::error::Result;
use crate::message::{Digest, HeaderDigest, Identity, Listed, MessageId, Uid, UidSet};
use crate::state::{Event, ParkedMessage};
use crate::sync::engine::Engine;
use crate::sync::plan::{IdentityDecision, SelectedBy};
use crate::sync::{Fetched, LookupQuery, LookupResult, SearchScope, TargetStatus, plan};

/// A group has at most this many messages…
pub(super) const GROUP_MESSAGES: usize = 10;

/// …and octets, unless one message alone has more.
const GROUP_OCTETS: u64 = 8 * 1024 * 1024;

/// A listed message and what is to be done with it.
pub(super) struct PlannedMessage {
    pub listed: Listed,
    pub verdict: IdentityDecision,
}

impl Engine<'_> {
    /// Copies what is listed, as far as it is not known and Gmail does not have it.
    pub fn copy(&mut self, listed: Vec<Listed>, manner: SelectedBy) -> Result<()> {
        let mut queue: VecDeque<Listed> = listed.into();
        while !queue.is_empty() {
            let group = self.take_group(&mut queue, manner)?;
            self.copy_group(group)?;
        }
        Ok(())
    }

    /// Takes the next group from the queue, and settles what needs no asking.
    pub fn take_group(
        &mut self,
        queue: &mut VecDeque<Listed>,
        manner: SelectedBy,
    ) -> Result<Vec<PlannedMessage>> {
        let mut group: Vec<PlannedMessage> = Vec::new();
        let mut octets = 0;
        let mut known = UidSet::default();
        while let Some(listed) = queue.front() {
            let is_full = group.len() >= GROUP_MESSAGES || octets + listed.size > GROUP_OCTETS;
            if !group.is_empty() && (is_full || has_twin(&group, listed)) {
                break;
            }
            if self.is_twin_of_one_in_flight(listed) {
                if !group.is_empty() {
                    break;
                }
                // Of twins the second settles as the first.
                self.finish()?;
            }
            let Some(listed) = queue.pop_front() else {
                break;
            };
            if self.waits_for_twin(&listed)? {
                continue;
            }
            match plan::verdict(self.store.state(), &listed, manner) {
                IdentityDecision::Known => known.insert(listed.uid),
                verdict => {
                    octets += listed.size;
                    group.push(PlannedMessage { listed, verdict });
                }
            }
        }
        self.settle_known(known)?;
        Ok(group)
    }

    pub fn settle_known(&mut self, known: UidSet) -> Result<()> {
        if known.is_empty() {
            return Ok(());
        }
        known.iter().for_each(|uid| {
            log::debug!("uid {uid} was delivered before");
            self.report.known += 1;
            self.progress.settled(0);
        });
        self.store.record(Event::Settled { uids: known })
    }

    fn is_twin_of_one_in_flight(&self, listed: &Listed) -> bool {
        let Identity { id, header } = &listed.identity;
        id.as_ref()
            .is_some_and(|id| self.has_in_flight(id, *header))
    }

    /// Says whether a message of this id and header is on its way.
    pub fn has_in_flight(&self, id: &MessageId, header: HeaderDigest) -> bool {
        let mut messages = self.in_flight.values();
        messages.any(|message| message.id == *id && message.digest.header == header)
    }

    /// Parks a message along with its twin that may be at Gmail already: until that one is found,
    /// or known not to be there, nobody can tell whether this one must be sent.
    fn waits_for_twin(&mut self, listed: &Listed) -> Result<bool> {
        let Some(id) = &listed.identity.id else {
            return Ok(false);
        };
        let digest = Digest {
            header: listed.identity.header,
            body: None,
        };
        self.park_with_twin(listed, id.clone(), digest)
    }

    pub fn park_with_twin(
        &mut self,
        listed: &Listed,
        id: MessageId,
        digest: Digest,
    ) -> Result<bool> {
        let in_doubt = self.store.state().uncertain_twins(&id, digest);
        let is_another = |uid: Uid| uid != listed.uid && !self.not_stored.contains(&uid);
        let twin = in_doubt
            .filter(|(uid, _)| uid.is_none_or(is_another))
            .map(|(uid, parked)| (name_of(uid), parked.retry_after))
            .next();
        let Some((twin, retry_after)) = twin else {
            return Ok(false);
        };
        let now = (self.now)();
        log::debug!("uid {} waits for {twin}, which may be the same", listed.uid);
        let before = self.store.state().parked.get(&listed.uid);
        // What was itself sent must keep its mark and its body's digest: it is looked up for its
        // own sake.
        let sent = before.and_then(|before| before.sent);
        let read = before
            .and_then(|before| before.digest)
            .filter(|digest| digest.body.is_some());
        let parked = ParkedMessage {
            id: Some(id),
            date: listed.internal_date,
            digest: read.or(Some(digest)),
            since: before.map_or(now, |before| before.since),
            tries: before.map_or(0, |before| before.tries),
            retry_after,
            why: format!("waits for {twin}, which may be the same and at Gmail already"),
            sent,
        };
        self.store.record(Event::Parked {
            uid: listed.uid,
            parked,
        })?;
        Ok(true)
    }

    fn copy_group(&mut self, group: Vec<PlannedMessage>) -> Result<()> {
        if group.is_empty() {
            return Ok(());
        }
        let wanted = self.ask(group)?;
        if wanted.is_empty() {
            return Ok(());
        }
        // After the question, with which the target can get them in one round trip; before the
        // fetch, which must know the limit.
        let terms = self.target.status()?;
        let wanted = self.refuse_too_large(wanted, terms)?;
        let read = self.read(wanted)?;
        self.send(read, terms)
    }

    fn refuse_too_large(
        &mut self,
        group: Vec<PlannedMessage>,
        terms: TargetStatus,
    ) -> Result<Vec<PlannedMessage>> {
        let Some(limit) = terms.append_limit else {
            return Ok(group);
        };
        let (fitting, large): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|candidate| candidate.listed.size <= limit);
        for PlannedMessage { listed, .. } in large {
            self.progress.settled(0);
            self.refuse(
                listed.uid,
                listed.identity.id,
                too_large(listed.size, limit),
            )?;
        }
        Ok(fitting)
    }

    /// Asks Gmail which of the group it has, and gives back what must be read.
    fn ask(&mut self, group: Vec<PlannedMessage>) -> Result<Vec<PlannedMessage>> {
        let holdings = self.holdings(&group)?;
        let mut wanted = Vec::new();
        for (candidate, holding) in group.into_iter().zip(holdings) {
            match (candidate.verdict, holding) {
                (IdentityDecision::LookUp(_, if_absent), Some(holding))
                    if !plan::must_deliver(holding, if_absent) =>
                {
                    self.settle_there(candidate.listed, holding)?;
                }
                _ => wanted.push(candidate),
            }
        }
        Ok(wanted)
    }

    /// Settles what Gmail has, or had: what the original delivered and the reader deleted for good
    /// is remembered, too, with the header that it is now seen to have.
    fn settle_there(&mut self, listed: Listed, holding: LookupResult) -> Result<()> {
        let Listed {
            uid,
            identity: Identity { id, header },
            ..
        } = listed;
        match holding {
            LookupResult::Found => self.report.already_there += 1,
            LookupResult::OtherMessage | LookupResult::NotFound | LookupResult::Unclear => {
                self.report.known += 1
            }
        }
        self.progress.settled(0);
        let Some(id) = id else {
            return self.store.record(Event::Settled {
                uids: UidSet::from_iter([uid]),
            });
        };
        match holding {
            LookupResult::Found => log::info!("{id} (uid {uid}) is at gmail already"),
            _ => log::info!("{id} (uid {uid}) was delivered before, and is gone at gmail"),
        }
        let digest = Digest { header, body: None };
        self.store.record(Event::Done {
            uid,
            id,
            digest,
            at: (self.now)(),
            appended: false,
        })
    }

    /// What Gmail answers for each of the group; `None` where it need not be asked.
    pub fn holdings(&mut self, group: &[PlannedMessage]) -> Result<Vec<Option<LookupResult>>> {
        let questions: Vec<LookupQuery> = group
            .iter()
            .filter_map(|PlannedMessage { listed, verdict }| match verdict {
                IdentityDecision::LookUp(reach, _) => Some(question(listed, *reach)),
                IdentityDecision::Known | IdentityDecision::CompareBody => None,
            })
            .collect();
        let mut answers = if questions.is_empty() {
            Vec::new().into_iter()
        } else {
            self.target.holds(&questions)?.into_iter()
        };
        Ok(group
            .iter()
            .map(|candidate| match candidate.verdict {
                IdentityDecision::LookUp(..) => {
                    Some(answers.next().unwrap_or(LookupResult::NotFound))
                }
                IdentityDecision::Known | IdentityDecision::CompareBody => None,
            })
            .collect())
    }

    /// Reads the octets of a group. A group that cannot be read is read one by one; what cannot be
    /// read twice is parked, and so is what the server lists and does not give.
    fn read(&mut self, wanted: Vec<PlannedMessage>) -> Result<Vec<(PlannedMessage, Vec<u8>)>> {
        let uids: Vec<Uid> = wanted
            .iter()
            .map(|candidate| candidate.listed.uid)
            .collect();
        let fetched = if uids.is_empty() {
            Vec::new()
        } else {
            self.source.fetch(&uids)?
        };
        let mut read = Vec::new();
        let mut silent = Vec::new();
        let mut fetched = fetched.into_iter();
        for candidate in wanted {
            let mut octets = fetched.next().unwrap_or(Fetched::Missing);
            if let Fetched::Unreadable(_) = octets {
                let again = self.source.fetch(&[candidate.listed.uid])?;
                octets = again.into_iter().next().unwrap_or(Fetched::Missing);
            }
            match octets {
                Fetched::Octets(octets) => read.push((candidate, octets)),
                Fetched::Missing => silent.push(candidate),
                Fetched::Unreadable(why) => self.park_unread(candidate.listed, &why)?,
            }
        }
        let uids: Vec<Uid> = silent
            .iter()
            .map(|candidate| candidate.listed.uid)
            .collect();
        let there = self.settle_gone(&uids)?;
        for candidate in silent {
            if there.contains(&candidate.listed.uid) {
                self.park_unread(candidate.listed, "it is listed and not given")?;
            } else if let Some(parked) = self
                .store
                .state()
                .parked
                .get(&candidate.listed.uid)
                .cloned()
            {
                self.leave(candidate.listed.uid, &parked)?;
            }
        }
        Ok(read)
    }

    fn park_unread(&mut self, listed: Listed, why: &str) -> Result<()> {
        let now = (self.now)();
        let before = self.store.state().parked.get(&listed.uid).cloned();
        let why = format!("the source cannot give it: {why}");
        let parked = match before {
            Some(before) => ParkedMessage {
                tries: before.tries + 1,
                why,
                ..before
            },
            None => ParkedMessage {
                id: listed.identity.id,
                date: listed.internal_date,
                digest: Some(Digest {
                    header: listed.identity.header,
                    body: None,
                }),
                since: now,
                tries: 1,
                retry_after: now,
                why,
                sent: None,
            },
        };
        self.progress.settled(0);
        self.park(listed.uid, parked, now)
    }
}

/// The question whether Gmail has a listed message.
fn question(listed: &Listed, scope: SearchScope) -> LookupQuery {
    LookupQuery {
        uid: listed.uid,
        identity: listed.identity.clone(),
        scope,
        uncertain: None,
    }
}

/// What a person is told of a twin, whose UID may count no longer.
fn name_of(twin: Option<Uid>) -> String {
    match twin {
        Some(uid) => format!("uid {uid}"),
        None => "one that was sent under another uid".to_owned(),
    }
}

fn has_twin(group: &[PlannedMessage], listed: &Listed) -> bool {
    let is_same = |other: &Identity| other.id.is_some() && *other == listed.identity;
    group
        .iter()
        .any(|candidate| is_same(&candidate.listed.identity))
}

pub(super) fn too_large(octets: u64, limit: u64) -> String {
    format!("it has {octets} octets, and Gmail takes {limit}")
}
