//! Messages without Message-ID whose octets were delivered before: the same message under another
//! UID, or another message, as from a meter that mails "alarm" again and again.

use crate::error::Result;
use crate::message::{Digest, InternalDate, MessageId, Uid};
use crate::state::{PreviousUid, State};
use crate::sync::fetch::Fetch;
use crate::sync::group::PlannedMessage;
use crate::sync::identity::SelectedBy;
use crate::sync::ledger::Ledger;

/// What the state knows of a message whose octets were delivered before.
#[derive(Debug, PartialEq, Eq)]
enum SameOctets {
    /// It was delivered before UIDVALIDITY changed.
    Delivered,
    /// It is another message.
    Another,
    /// It was delivered under one of these UIDs and moved out of the mailbox and back, if that UID no
    /// longer exists; otherwise it is another message.
    MovedOrAnother(Vec<Uid>),
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
    let parked = ledger.state().parked.get(&uid);
    let is_found_by_date =
        *selected_by == SelectedBy::Date || parked.is_some_and(|parked| parked.by_date);
    let previous = match decide(ledger.state(), id, listed.internal_date, is_found_by_date) {
        SameOctets::Delivered => Some(PreviousUid::Renumbered),
        SameOctets::Another => None,
        SameOctets::MovedOrAnother(uids) => fetch
            .first_gone(&uids, ledger.state())?
            .map(PreviousUid::Moved),
    };
    match previous {
        Some(PreviousUid::Moved(from)) => {
            log::info!("{id} (uid {uid}) was delivered when it was at uid {from}");
        }
        Some(PreviousUid::Renumbered) => log::debug!("uid {uid} was delivered before"),
        None => log::info!("{id} (uid {uid}) is another message of octets that were delivered"),
    }
    let Some(previous) = previous else {
        return Ok(false);
    };
    ledger.settle_known_octets(listed, id.clone(), digest, previous)?;
    Ok(true)
}

fn decide(state: &State, id: &MessageId, date: InternalDate, is_found_by_date: bool) -> SameOctets {
    if state.may_be_known_elsewhere(id, date) || (is_found_by_date && state.is_known_elsewhere(id))
    {
        return SameOctets::Delivered;
    }
    // A message that is moved keeps its INTERNALDATE (RFC 3501 6.4.7).
    let has_its_date =
        |other: InternalDate| date.zip(other).is_none_or(|(date, other)| date == other);
    let uids: Vec<Uid> = state
        .known_uids(id)
        .filter(|(_, other)| has_its_date(*other))
        .map(|(uid, _)| uid)
        .collect();
    if uids.is_empty() {
        SameOctets::Another
    } else {
        SameOctets::MovedOrAnother(uids)
    }
}
