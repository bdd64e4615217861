//! The group of messages that the source was asked for ahead of its turn.

use crate::imap::{CommandResult, Session, Tag};
use crate::message::Uid;

/// A FETCH that was sent and not needed yet; it belongs to one session.
pub(super) struct FetchAhead {
    uids: Vec<Uid>,
    answer: Answer,
}

enum Answer {
    Awaited(Tag),
    Received(CommandResult),
}

impl FetchAhead {
    /// Asks for these messages; none if the connection breaks, which shows in the next command.
    pub(super) fn start(session: &mut Session, uids: &[Uid], allowance: u64) -> Option<FetchAhead> {
        let set = uids.iter().copied().collect();
        let tag = session.start_fetch_bodies(set, allowance).ok()?;
        Some(FetchAhead {
            uids: uids.to_vec(),
            answer: Answer::Awaited(tag),
        })
    }

    /// Whether the messages were asked for, and perhaps others.
    pub(super) fn covers(&self, uids: &[Uid]) -> bool {
        uids.iter().all(|uid| self.uids.contains(uid))
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.answer, Answer::Awaited(_))
    }

    /// Waits for the response, because another command follows: a server may delay tagged responses, and
    /// what it responds to that one would be taken for a part of this response.
    pub(super) fn settle(&mut self, session: &mut Session) {
        if let Answer::Awaited(tag) = self.answer {
            self.answer = Answer::Received(session.finish_fetch(tag));
        }
    }

    pub(super) fn finish(self, session: &mut Session) -> CommandResult {
        match self.answer {
            Answer::Awaited(tag) => session.finish_fetch(tag),
            Answer::Received(result) => result,
        }
    }

    /// Drops the response, whether it has arrived or not. Only another FETCH may follow.
    pub(super) fn drop_response(self, session: &mut Session) {
        if let Answer::Awaited(tag) = self.answer {
            session.drop_fetch(tag);
        }
    }
}
