//! The groups of messages that the source was asked for ahead of their turn.

use std::collections::{BTreeMap, VecDeque};

use crate::imap::{CommandError, Session, Tag, take_bodies};
use crate::message::{HashedOctets, Uid};

/// Messages by UID; `None` for a NIL.
pub(super) type Bodies = BTreeMap<Uid, Option<HashedOctets>>;

/// FETCH commands that were sent and not needed yet, in the order of their responses; they belong to
/// one session.
#[derive(Default)]
pub(super) struct FetchesAhead {
    groups: VecDeque<FetchAhead>,
    /// Messages of a later group that came with the response to an earlier one: a server may delay
    /// tagged responses (RFC 3501 5.5).
    early: Bodies,
}

struct FetchAhead {
    uids: Vec<Uid>,
    answer: Answer,
}

enum Answer {
    Awaited(Tag),
    Received(Result<Bodies, CommandError>),
}

impl FetchesAhead {
    /// Asks for these groups, unless they were asked for. What was asked for besides is dropped. It asks for no
    /// more if the connection breaks, which shows in the next command.
    pub(super) fn ask_for(&mut self, groups: &[Vec<Uid>], session: &mut Session, allowance: u64) {
        let asked = self.groups.iter().zip(groups);
        let known = asked.take_while(|(asked, uids)| asked.uids == **uids);
        let known = known.count();
        for dropped in self.groups.drain(known..) {
            for uid in &dropped.uids {
                self.early.remove(uid);
            }
            dropped.drop_response(session);
        }
        for uids in groups.iter().skip(known) {
            let set = uids.iter().copied().collect();
            let Ok(tag) = session.start_fetch_bodies(set, allowance) else {
                return;
            };
            self.groups.push_back(FetchAhead {
                uids: uids.clone(),
                answer: Answer::Awaited(tag),
            });
        }
    }

    /// All messages that were asked for.
    pub(super) fn uids(&self) -> impl Iterator<Item = Uid> + '_ {
        self.groups.iter().flat_map(|group| &group.uids).copied()
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.groups.iter().any(FetchAhead::is_awaited)
    }

    /// Waits for the responses, because another command follows: a server may delay tagged responses, and
    /// what it responds to that one would be taken for a part of these responses.
    pub(super) fn settle(&mut self, session: &mut Session, allowance: u64) {
        for group in &mut self.groups {
            if let Answer::Awaited(tag) = group.answer
                && session.is_usable()
            {
                group.answer = Answer::Received(receive(tag, session, allowance));
            }
        }
    }

    /// The response to the group that is next, if these messages are in it; otherwise all responses are
    /// dropped, and only another FETCH may follow.
    pub(super) fn take(
        &mut self,
        uids: &[Uid],
        session: &mut Session,
        allowance: u64,
    ) -> Option<Result<Bodies, CommandError>> {
        let group = self.groups.pop_front()?;
        if !uids.iter().all(|uid| group.uids.contains(uid)) {
            group.drop_response(session);
            self.drop_responses(session);
            return None;
        }
        let received = match group.answer {
            Answer::Awaited(tag) => receive(tag, session, allowance),
            Answer::Received(received) => received,
        };
        Some(received.map(|bodies| self.exchange_early(&group.uids, bodies)))
    }

    /// Keeps what belongs to later groups, and adds what came earlier.
    fn exchange_early(&mut self, uids: &[Uid], mut bodies: Bodies) -> Bodies {
        for uid in uids {
            if let Some(Some(body)) = self.early.remove(uid) {
                bodies.entry(*uid).or_default().get_or_insert(body);
            }
        }
        let later: Vec<Uid> = self.uids().collect();
        for uid in later {
            if let Some(body) = bodies.remove(&uid) {
                self.early.insert(uid, body);
            }
        }
        bodies
    }

    fn drop_responses(&mut self, session: &mut Session) {
        self.early.clear();
        for group in self.groups.drain(..) {
            group.drop_response(session);
        }
    }
}

impl FetchAhead {
    fn is_awaited(&self) -> bool {
        matches!(self.answer, Answer::Awaited(_))
    }

    /// Drops the response, whether it has arrived or not. Only another FETCH may follow.
    fn drop_response(self, session: &mut Session) {
        if let Answer::Awaited(tag) = self.answer {
            session.drop_fetch(tag);
        }
    }
}

fn receive(tag: Tag, session: &mut Session, allowance: u64) -> Result<Bodies, CommandError> {
    session.finish_fetch(tag, allowance).map(take_bodies)
}
