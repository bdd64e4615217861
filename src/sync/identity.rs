//! What the identity of a listed message means for it. Pure.
//!
//! Twins are two messages of equal identity: the same Message-ID and the same header digest. Twins
//! whose bodies are equal too are one message; the second settles as the first does.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::message::{Digest, Listed, MessageId, Uid};
use crate::state::{KEEP_IDS, Knowledge, State};
use crate::sync::in_flight::InFlight;
use crate::sync::{LookupResult, SearchScope};

/// How a message was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SelectedBy {
    /// Its UID is above the cursor, or it was parked: it is new in the mailbox.
    Uid,
    /// A date pass found it: it may have been delivered under another UID.
    Date,
}

/// What to do with a listed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdentityDecision {
    /// Nothing: it was delivered.
    Known,
    /// Read it: its body shows whether it was delivered.
    CompareBody,
    /// Look it up at Gmail.
    LookUp(SearchScope, IfAbsent),
}

/// What to do with a message if Gmail has nothing under its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfAbsent {
    Deliver,
    /// Nothing: it was delivered, and the user has deleted it for good.
    Leave,
}

/// Decides what to do with a listed message from what the state knows about its identity.
pub(super) fn decide(state: &State, listed: &Listed, selected_by: SelectedBy) -> IdentityDecision {
    let look_up_everywhere =
        |if_absent| IdentityDecision::LookUp(SearchScope::AllMailTrashAndJunk, if_absent);
    let is_unknown = match selected_by {
        SelectedBy::Uid if may_be_forgotten(state, listed) => look_up_everywhere(IfAbsent::Deliver),
        SelectedBy::Uid => IdentityDecision::LookUp(SearchScope::AllMail, IfAbsent::Deliver),
        SelectedBy::Date => look_up_everywhere(IfAbsent::Deliver),
    };
    let Some(id) = &listed.identity.id else {
        return is_unknown;
    };
    match (state.known_digests(id), selected_by) {
        (Knowledge::Unknown, _) => is_unknown,
        (Knowledge::IdOnly, SelectedBy::Date) => look_up_everywhere(IfAbsent::Leave),
        (Knowledge::IdOnly, SelectedBy::Uid) => look_up_everywhere(IfAbsent::Deliver),
        (Knowledge::Digests(digests), _) => {
            let same: Vec<&Digest> = digests
                .iter()
                .filter(|digest| digest.header == listed.identity.header)
                .collect();
            // In a date pass an equal identity means the same message under another UID, unless
            // this very pass has delivered a twin.
            let is_renumbered =
                selected_by == SelectedBy::Date && !state.was_delivered_in_date_pass(id);
            if same.is_empty() {
                // The original may have delivered it under this id; once another message of the id
                // is delivered, the state no longer says so. The user may have deleted it.
                look_up_everywhere(IfAbsent::Deliver)
            } else if is_renumbered || same.iter().any(|digest| digest.body.is_none()) {
                IdentityDecision::Known
            } else {
                IdentityDecision::CompareBody
            }
        }
    }
}

/// Whether a message is so old that it may have been delivered from another folder, which the state does
/// not remember any more: it was moved here long after its arrival.
pub(super) fn may_be_forgotten(state: &State, listed: &Listed) -> bool {
    let last = state.folder.last_sync.filter(|_| !state.has_one_folder());
    let date = listed.internal_date;
    last.zip(date)
        .is_some_and(|(last, date)| date.to_utc() < last - KEEP_IDS)
}

/// Says whether a message must be delivered, given what Gmail answered.
pub(super) fn must_deliver(result: LookupResult, if_absent: IfAbsent) -> bool {
    match (result, if_absent) {
        (LookupResult::Found, _) | (LookupResult::NotFound, IfAbsent::Leave) => false,
        (LookupResult::OtherMessage | LookupResult::Unclear, _)
        | (LookupResult::NotFound, IfAbsent::Deliver) => true,
    }
}

/// A twin that may be at Gmail already: its append is uncertain.
pub(super) struct UncertainTwin {
    /// `None` for an orphaned parked message: its UID is no longer valid.
    pub uid: Option<Uid>,
    pub retry_after: DateTime<Utc>,
}

/// Returns a twin of this message whose append is uncertain, if there is one.
pub(super) fn uncertain_twin(
    state: &State,
    in_flight: &InFlight,
    uid: Uid,
    id: &MessageId,
    digest: Digest,
) -> Option<UncertainTwin> {
    // One that is not stored is sent again. If this one arrived before it, and the pass ended before
    // it is sent, the next lookup would take this one for it: without Message-ID nothing tells them
    // apart.
    let waits_for_not_stored = !id.is_from_field() && !in_flight.is_not_stored(uid);
    let is_another =
        |twin: Uid| twin != uid && (waits_for_not_stored || !in_flight.is_not_stored(twin));
    state
        .uncertain_twins(id, digest)
        .find(|(twin, _)| twin.is_none_or(is_another))
        .map(|(uid, parked)| UncertainTwin {
            uid,
            retry_after: parked.retry_after,
        })
}

impl fmt::Display for UncertainTwin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "uid {uid}"),
            None => f.write_str("one that was sent under another uid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BodyDigest, Flags, Identity};
    use crate::state::Event;

    fn state(events: impl IntoIterator<Item = Event>) -> State {
        let mut state = State::default();
        events.into_iter().for_each(|event| state.apply(event));
        state
    }

    fn listed(message: &str) -> Listed {
        Listed {
            uid: Uid::MIN,
            size: 1,
            internal_date: None,
            flags: Flags::default(),
            identity: Identity::of_header(message.as_bytes()),
        }
    }

    fn done(message: &str, with_body: bool) -> Event {
        let Identity { id, header } = Identity::of_header(message.as_bytes());
        let body = with_body.then(|| BodyDigest::of_message(message.as_bytes()));
        let digest = Digest { header, body };
        Event::Done {
            uid: Uid::MIN,
            id: id.unwrap(),
            digest,
            at: DateTime::UNIX_EPOCH,
            appended: true,
            date: None,
            previous: None,
        }
    }

    #[test]
    fn what_the_state_knows_about_an_identity_decides() {
        const SCAN: &str = "Message-ID: <a@b>\r\nSubject: scan\r\n\r\nbody\r\n";
        const OTHER: &str = "Message-ID: <a@b>\r\nSubject: other\r\n\r\nbody\r\n";
        const WITHOUT_ID: &str = "Subject: scan\r\n\r\nbody\r\n";
        let nothing = State::default();
        let delivered = state([done(SCAN, true)]);
        let held = state([done(SCAN, false)]);
        let ask = |reach| IdentityDecision::LookUp(reach, IfAbsent::Deliver);
        let (all_mail, everywhere) = (
            ask(SearchScope::AllMail),
            ask(SearchScope::AllMailTrashAndJunk),
        );
        let cases = [
            (&nothing, SCAN, SelectedBy::Uid, all_mail),
            (&nothing, SCAN, SelectedBy::Date, everywhere),
            (
                &delivered,
                SCAN,
                SelectedBy::Uid,
                IdentityDecision::CompareBody,
            ),
            (&delivered, SCAN, SelectedBy::Date, IdentityDecision::Known),
            (&delivered, OTHER, SelectedBy::Uid, everywhere),
            (&delivered, OTHER, SelectedBy::Date, everywhere),
            (&held, SCAN, SelectedBy::Uid, IdentityDecision::Known),
            (&held, OTHER, SelectedBy::Uid, everywhere),
            (&delivered, WITHOUT_ID, SelectedBy::Uid, all_mail),
        ];
        for (state, message, selected_by, expected) in cases {
            assert_eq!(
                decide(state, &listed(message), selected_by),
                expected,
                "{message} {selected_by:?}"
            );
        }
    }

    #[test]
    fn the_lookup_decides_what_is_delivered() {
        use IfAbsent::{Deliver, Leave};
        use LookupResult::{Found, NotFound, OtherMessage};
        for (result, if_absent, delivers) in [
            (Found, Deliver, false),
            (Found, Leave, false),
            (OtherMessage, Deliver, true),
            (OtherMessage, Leave, true),
            (NotFound, Deliver, true),
            (NotFound, Leave, false),
        ] {
            assert_eq!(
                must_deliver(result, if_absent),
                delivers,
                "{result:?} {if_absent:?}"
            );
        }
    }
}
