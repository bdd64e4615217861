//! Messages without Message-ID whose octets were delivered before: the same message under another
//! UID, or another message, as from a meter that mails "alarm" again and again.

use log::Level;

use crate::error::Result;
use crate::message::{Digest, InternalDate, LoggedMessage, MessageId, Uid, UidSet};
use crate::state::{ParkedMessage, PreviousUid, State};
use crate::sync::fetch::Fetch;
use crate::sync::group::PlannedMessage;
use crate::sync::identity::{SelectedBy, may_be_forgotten};
use crate::sync::ledger::Ledger;

/// What the state knows of a message whose octets were delivered before.
struct SameOctets {
    /// The UIDs of delivered messages of its INTERNALDATE: if one of them no longer exists, that message
    /// was moved out of the mailbox and back.
    uids: Vec<Uid>,
    /// Otherwise: whether it was delivered before UIDVALIDITY changed, or is another message.
    is_delivered: bool,
}

/// Settles a message whose octets were delivered before, if it is the message that was delivered.
pub(super) fn settle_if_delivered(
    planned: &PlannedMessage,
    id: &MessageId,
    digest: Digest,
    fetch: &mut Fetch,
    ledger: &mut Ledger,
) -> Result<bool> {
    let PlannedMessage {
        listed,
        selected_by,
        ..
    } = planned;
    let uid = listed.uid;
    let logged = LoggedMessage {
        id: Some(id),
        ..LoggedMessage::from(listed)
    };
    let parked = ledger.state().folder.parked.get(&uid);
    if let Some(parked) = parked.filter(|parked| was_sent(parked)) {
        if let Some(previous) = was_delivered_since(parked, id, ledger.state()) {
            ledger.settle_known_octets(listed, id.clone(), digest, previous, None)?;
            return Ok(true);
        }
        // When it was sent, it was another message, and Gmail has not stored it.
        return Ok(false);
    }
    if ledger.state().is_known_at(id, uid, listed.internal_date) {
        // A requested date pass finds delivered messages under their own UIDs.
        ledger.settle_known(UidSet::from_iter([uid]))?;
        return Ok(true);
    }
    let is_found_by_date = is_found_by_date(*selected_by, parked);
    let SameOctets { uids, is_delivered } =
        decide(ledger.state(), id, listed.internal_date, is_found_by_date);
    if ledger
        .state()
        .is_known_in_other_folder(id, listed.internal_date)
    {
        // A message that is copied or moved keeps its INTERNALDATE.
        logged.log(
            Level::Debug,
            format_args!("{logged} was delivered before, from another folder"),
        );
        let previous = PreviousUid::InOtherFolder;
        let labels = ledger.labels_of_known(id, *selected_by);
        ledger.settle_known_octets(listed, id.clone(), digest, previous, labels)?;
        return Ok(true);
    }
    let gone = fetch.first_gone(&uids, ledger.state())?;
    let previous = if let Some(from) = gone {
        let text = format_args!("{logged} was delivered before, when it was at uid {from}");
        logged.log(Level::Info, text);
        PreviousUid::Moved(from)
    } else if is_delivered {
        logged.log(Level::Debug, format_args!("{logged} was delivered before"));
        PreviousUid::Renumbered
    } else {
        let what = "has the octets of another message that was delivered";
        logged.log(Level::Info, format_args!("{logged} {what}"));
        return Ok(false);
    };
    ledger.settle_known_octets(listed, id.clone(), digest, previous, None)?;
    Ok(true)
}

/// Whether Gmail may have a message that the state does not know: a date pass found it, and it has no
/// Message-ID that the lookup before could find. Not if one of its octets and INTERNALDATE is known: the
/// lookup would take that one for it.
pub(super) fn may_be_at_target(planned: &PlannedMessage, id: &MessageId, state: &State) -> bool {
    let listed = &planned.listed;
    let parked = state.folder.parked.get(&listed.uid);
    !id.is_from_field()
        && listed.internal_date.is_some()
        && (is_found_by_date(planned.selected_by, parked) || may_be_forgotten(state, listed))
        && !parked.is_some_and(was_sent)
        && !state.is_known_with(id, listed.internal_date)
}

fn is_found_by_date(selected_by: SelectedBy, parked: Option<&ParkedMessage>) -> bool {
    selected_by == SelectedBy::Date || parked.is_some_and(|parked| parked.by_date)
}

/// Where a parked message was delivered after it was parked: under another UID, if it was moved out of
/// the mailbox and back, and UIDVALIDITY changed before the parked one was tried again; or from another
/// folder, if it was copied there. Only a message of exactly its INTERNALDATE counts.
fn was_delivered_since(
    parked: &ParkedMessage,
    id: &MessageId,
    state: &State,
) -> Option<PreviousUid> {
    if state.is_known_elsewhere_with(id, parked.date) && state.was_delivered_after(id, parked.since)
    {
        Some(PreviousUid::Renumbered)
    } else if state.is_known_in_other_folder(id, parked.date) {
        Some(PreviousUid::InOtherFolder)
    } else {
        None
    }
}

/// Whether a parked message was sent: it was attempted, and its octets were known. One that only waits
/// for a lost one of the same octets has known octets, too, and no attempt.
fn was_sent(parked: &ParkedMessage) -> bool {
    parked.tries > 0 && parked.digest.is_some_and(|digest| digest.body.is_some())
}

fn decide(state: &State, id: &MessageId, date: InternalDate, is_found_by_date: bool) -> SameOctets {
    if state.is_known_elsewhere_with(id, date) {
        return SameOctets {
            uids: Vec::new(),
            is_delivered: true,
        };
    }
    // A message that is moved keeps its INTERNALDATE (RFC 3501 6.4.7). Where there is none, nothing
    // shows a move.
    let has_its_date =
        |other: InternalDate| date.zip(other).is_some_and(|(date, other)| date == other);
    let uids = state
        .known_uids(id)
        .filter(|(_, other)| has_its_date(*other))
        .map(|(uid, _)| uid)
        .collect();
    SameOctets {
        uids,
        is_delivered: state.may_be_known_elsewhere(id, date)
            || (is_found_by_date && state.is_known_elsewhere(id)),
    }
}
