//! What earlier passes left unfinished: sent without an answer, refused for now, or gone meanwhile.

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Result;
use crate::message::{FETCH_PAGE_SIZE, Identity, Listed, MessageId, Uid, UidSet};
use crate::state::{Event, ParkedMessage, RefusedMessage, SentMark};
use crate::sync::copy::GROUP_MESSAGES;
use crate::sync::engine::Engine;
use crate::sync::plan::SelectedBy;
use crate::sync::{LookupQuery, LookupResult, SearchScope, UncertainAppend};

/// A message that is not found counts as not stored only so long after it was sent: a server may
/// finish an append whose connection is gone.
const STORING: TimeDelta = TimeDelta::seconds(60);

/// What is told of a message that was parked and is at the source no longer.
const LEFT: &str = "it left the source before Gmail took it";

impl Engine<'_> {
    /// Looks up those of the parked messages that were sent without an answer. What is found is
    /// done; what is not, and was sent long enough ago, may be sent again.
    pub fn look_up_uncertain(&mut self, due: &[Uid]) -> Result<()> {
        let state = self.store.state();
        let uncertain: Vec<(ParkedMessage, LookupQuery)> = due
            .iter()
            .filter(|uid| !self.not_stored.contains(uid) && !self.in_flight.contains_key(uid))
            .filter_map(|uid| Some((uid, state.parked.get(uid)?)))
            .filter(|(_, parked)| parked.sent.is_some())
            .filter_map(|(uid, parked)| Some((parked.clone(), lookup(*uid, parked)?)))
            .collect();
        for group in uncertain.chunks(GROUP_MESSAGES) {
            let questions: Vec<LookupQuery> =
                group.iter().map(|(_, question)| question.clone()).collect();
            let holdings = self.target.holds(&questions)?;
            for ((parked, question), holding) in group.iter().zip(holdings) {
                self.conclude(question.uid, parked, holding)?;
            }
        }
        Ok(())
    }

    fn conclude(&mut self, uid: Uid, parked: &ParkedMessage, holding: LookupResult) -> Result<()> {
        let now = (self.now)();
        let (Some(id), Some(digest), Some(sent)) = (parked.id.clone(), parked.digest, parked.sent)
        else {
            return Ok(());
        };
        if holding == LookupResult::Found {
            log::info!("{id} (uid {uid}) was stored by gmail, which had not been heard");
            self.report.already_there += 1;
            return self.store.record(Event::Done {
                uid,
                id,
                digest,
                at: now,
                appended: false,
            });
        }
        let is_unclear = holding == LookupResult::Unclear;
        if was_long_ago(sent, now) && !is_unclear {
            self.not_stored.insert(uid);
            return Ok(());
        }
        if is_unclear {
            log::warn!("{id} (uid {uid}): gmail does not show whether it stored it");
        }
        // Too early to tell; or a clock was set back, and the minute begins anew.
        let sent = SentMark {
            at: sent.at.min(now),
            ..sent
        };
        let since = if is_unclear { now } else { sent.at };
        let parked = ParkedMessage {
            retry_after: since + STORING,
            sent: Some(sent),
            ..parked.clone()
        };
        self.store.record(Event::Parked { uid, parked })
    }

    /// Tries the parked messages whose time has come.
    pub fn retry_parked(&mut self) -> Result<()> {
        self.finish()?;
        let now = (self.now)();
        let due: Vec<Uid> = self
            .store
            .state()
            .parked
            .iter()
            .filter(|(_, parked)| parked.is_due(now))
            .map(|(uid, _)| *uid)
            .collect();
        self.look_up_uncertain(&due)?;
        let ready: Vec<Uid> = due
            .into_iter()
            .filter(|uid| self.may_be_sent(*uid))
            .collect();
        for page in ready.chunks(FETCH_PAGE_SIZE) {
            let mut listed = self.list(page)?;
            // What could not be listed before may be one that was parked before this pass by date.
            let strays = self.find_strays(&mut listed)?;
            let page: Vec<Uid> = page
                .iter()
                .copied()
                .filter(|uid| !strays.contains(*uid))
                .collect();
            let again = self.sort_out(&page, listed)?;
            self.copy(again, SelectedBy::Uid)?;
        }
        Ok(())
    }

    fn may_be_sent(&self, uid: Uid) -> bool {
        let parked = self.store.state().parked.get(&uid);
        parked.is_some_and(|parked| parked.sent.is_none() || self.not_stored.contains(&uid))
    }

    /// Of parked messages, gives back those that are still there; gives up those that are gone.
    fn sort_out(&mut self, uids: &[Uid], listed: Vec<Listed>) -> Result<Vec<Listed>> {
        for uid in uids {
            let Some(parked) = self.store.state().parked.get(uid).cloned() else {
                continue;
            };
            // Another message under this UID (a backup was restored) is a new one.
            let is_there = listed
                .iter()
                .any(|listed| listed.uid == *uid && parked.matches(listed));
            let is_silent = !parked.is_due((self.now)());
            if !is_there && !is_silent {
                self.leave(*uid, &parked)?;
            }
        }
        Ok(listed)
    }

    /// Gives a parked message up that is at the source no longer, unless Gmail has it.
    pub fn leave(&mut self, uid: Uid, parked: &ParkedMessage) -> Result<()> {
        let is_there = self.is_at_gmail(uid, parked)?;
        match (parked.id.clone(), parked.digest) {
            (Some(id), Some(digest)) if is_there => {
                let at = (self.now)();
                self.report.already_there += 1;
                self.store.record(Event::Done {
                    uid,
                    id,
                    digest,
                    at,
                    appended: false,
                })
            }
            (id, _) => self.refuse(uid, id, LEFT.to_owned()),
        }
    }

    /// Asks Gmail for a message of which only what was written down is left.
    fn is_at_gmail(&mut self, uid: Uid, parked: &ParkedMessage) -> Result<bool> {
        let question = lookup(uid, parked)
            .filter(|question| question.identity.id.is_some() || question.uncertain.is_some());
        match question {
            Some(question) => {
                Ok(self.target.holds(&[question])?.first() == Some(&LookupResult::Found))
            }
            None => Ok(false),
        }
    }

    /// What was parked before this pass by date and is not found again.
    pub fn strays(&self) -> &[ParkedMessage] {
        self.store
            .state()
            .date_pass
            .as_ref()
            .map_or(&[], |pass| pass.orphans.as_slice())
    }

    /// Takes those out of a listing that were parked before this pass by date; they are parked
    /// under their new UIDs, with what is known of them. Gives these UIDs.
    pub fn find_strays(&mut self, listed: &mut Vec<Listed>) -> Result<UidSet> {
        let mut found = UidSet::default();
        let mut others = Vec::new();
        for message in std::mem::take(listed) {
            let is_it = |stray: &ParkedMessage| stray.digest.is_some() && stray.matches(&message);
            match self.strays().iter().position(is_it) {
                Some(stray) => {
                    let uid = message.uid;
                    self.store
                        .record(Event::OrphanFound { uid, orphan: stray })?;
                    found.insert(uid);
                }
                None => others.push(message),
            }
        }
        *listed = others;
        Ok(found)
    }

    /// Gives up the strays that this pass by date did not find. One that was sent a moment ago
    /// stays: whether it arrived cannot be told yet.
    pub fn give_up_strays(&mut self) -> Result<()> {
        let mut stray = 0;
        while let Some(parked) = self.strays().get(stray).cloned() {
            let is_found = self.is_at_gmail(Uid::MIN, &parked)?;
            // A moment to come was written by a clock that was wrong.
            let age = parked.sent.map(|sent| ((self.now)() - sent.at).abs());
            let is_early = age.is_some_and(|age| age < STORING);
            if is_early && !is_found {
                stray += 1;
                continue;
            }
            let at = (self.now)();
            if is_found {
                self.report.already_there += 1;
                self.store
                    .record(Event::OrphanDelivered { orphan: stray, at })?;
                continue;
            }
            let id = parked
                .id
                .as_ref()
                .map_or_else(|| "a message".to_owned(), ToString::to_string);
            log::error!("not copied: {id}: {LEFT}");
            self.report.refused += 1;
            let refused = RefusedMessage {
                id: parked.id,
                when: at,
                why: LEFT.to_owned(),
            };
            self.store.record(Event::OrphanLost {
                orphan: stray,
                refused,
            })?;
        }
        Ok(())
    }
}

/// Says whether an append that was sent then is over by now, stored or not.
fn was_long_ago(sent: SentMark, now: DateTime<Utc>) -> bool {
    now - sent.at >= STORING
}

/// The question whether Gmail has a parked message, wherever the reader put it.
fn lookup(uid: Uid, parked: &ParkedMessage) -> Option<LookupQuery> {
    let digest = parked.digest?;
    let uncertain = match (parked.sent, digest.body) {
        (Some(sent), Some(body)) => Some(UncertainAppend {
            at: sent.at,
            mark: sent.mark,
            body,
        }),
        _ => None,
    };
    Some(LookupQuery {
        uid,
        identity: Identity {
            id: parked.id.clone().filter(MessageId::is_from_field),
            header: digest.header,
        },
        scope: SearchScope::AllMailTrashAndJunk,
        uncertain,
    })
}
