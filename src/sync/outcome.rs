//! What the outcome of a submitted message means for it.

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::message::Uid;
use crate::retry::{GIVE_UP_AFTER, MAX_ATTEMPTS};
use crate::state::{ParkedMessage, State};
use crate::sync::in_flight::InFlightMessage;
use crate::sync::ledger::Ledger;
use crate::sync::{Outcome, Uploaded};

/// Records the outcome of a message. One that cannot be imported stands as before.
pub(super) fn record(
    uid: Uid,
    message: InFlightMessage,
    outcome: Outcome,
    ledger: &mut Ledger,
) -> Result<()> {
    let octets = message.octets;
    match outcome {
        Outcome::Delivered(receipt) => ledger.settle_delivered(uid, message, &receipt),
        Outcome::Refused(why) => ledger.refuse(uid, Some(message.id), octets, why),
        Outcome::Parked(why) => {
            if is_hopeless(&message.intent, ledger.state(), ledger.now()) {
                return ledger.refuse(uid, Some(message.id), octets, why);
            }
            // Gmail said that it did not store this append: it is not uncertain.
            let parked = ParkedMessage {
                sent: None,
                labels: None,
                ..message.intent
            };
            ledger.park(uid, Some(octets), parked, why)
        }
        Outcome::Unsent(why) => {
            let before = message.before.filter(|before| before.sent.is_some());
            let (sent, labels) = before.map_or((None, None), |it| (it.sent, it.labels));
            let parked = ParkedMessage {
                sent,
                labels,
                ..message.intent
            };
            ledger.park(uid, Some(octets), parked, why)
        }
        Outcome::Uncertain(why) => ledger.park(uid, Some(octets), message.intent, why),
        Outcome::Returned(uploaded) | Outcome::NotImportable { uploaded, .. } => {
            ledger.return_unsent(uid, message.before, unsent(uploaded, octets))
        }
    }
}

/// How many octets of a message that count as uploaded were certainly not sent. Those that were sent in
/// part count as a whole.
pub(super) fn unsent(uploaded: Uploaded, octets: u64) -> u64 {
    match uploaded {
        Uploaded::Nothing => octets,
        Uploaded::Octets => 0,
    }
}

/// Says whether to give a message up: it failed often and for days, while Gmail accepted others.
fn is_hopeless(parked: &ParkedMessage, state: &State, now: DateTime<Utc>) -> bool {
    let last_accepted = state.gmail.last_accepted;
    parked.tries >= MAX_ATTEMPTS
        && now - parked.since >= GIVE_UP_AFTER
        && last_accepted.is_some_and(|accepted| accepted > parked.since)
}
