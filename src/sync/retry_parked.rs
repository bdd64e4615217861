//! Parked messages that are due: uncertain appends are looked up at Gmail, messages that left the
//! source are given up, and orphaned parked messages are found again or given up.
//!
//! An orphaned parked message (orphan) was parked before UIDVALIDITY changed: its UID is no longer
//! valid, and a date pass finds it again by Message-ID and date.

use chrono::{DateTime, TimeDelta, Utc};
use log::Level;

use crate::error::Result;
use crate::message::{Listed, LoggedMessage, Uid, UidSet};
use crate::retry::STORE_TIMEOUT;
use crate::state::{ParkedMessage, SentMark};
use crate::sync::ledger::{AtSource, Ledger};
use crate::sync::{LookupQuery, LookupResult, Target, group, lookup};

/// An uncertain append that Gmail does not show is looked up this often in the end.
const UNCLEAR_INTERVAL: TimeDelta = TimeDelta::days(1);

/// Why an append stays uncertain after a lookup.
const UNCLEAR: &str = "Gmail does not show whether it stored it";

/// Looks up the uncertain appends among these messages. One that is found is done; one that is not
/// found, and was sent long enough ago, can be sent again.
pub(super) fn look_up_uncertain(
    uids: &[Uid],
    target: &mut dyn Target,
    ledger: &mut Ledger,
) -> Result<()> {
    let parked = &ledger.state().folder.parked;
    let in_flight = &ledger.in_flight;
    let uncertain: Vec<(ParkedMessage, LookupQuery)> = uids
        .iter()
        .filter(|uid| !in_flight.is_not_stored(**uid) && !in_flight.contains(**uid))
        .filter_map(|uid| Some((uid, parked.get(uid)?)))
        .filter(|(_, parked)| parked.sent.is_some())
        .filter_map(|(uid, parked)| Some((parked.clone(), lookup::query_for_parked(*uid, parked)?)))
        .collect();
    for group in uncertain.chunks(group::MAX_MESSAGES) {
        let queries: Vec<LookupQuery> = group.iter().map(|(_, query)| query.clone()).collect();
        let results = target.holds(&queries)?;
        for ((parked, query), result) in group.iter().zip(results) {
            if resolve_uncertain(query.uid, parked, result, ledger)? == Resolved::NotStored {
                ledger.in_flight.mark_not_stored(query.uid);
            }
        }
    }
    Ok(())
}

/// What a lookup showed of an uncertain append.
#[derive(PartialEq, Eq)]
pub(super) enum Resolved {
    NotStored,
    /// It is recorded.
    Other,
}

/// Records what a lookup shows of an uncertain append, unless it shows that it was not stored.
pub(super) fn resolve_uncertain(
    uid: Uid,
    parked: &ParkedMessage,
    result: LookupResult,
    ledger: &mut Ledger,
) -> Result<Resolved> {
    let (Some(id), Some(digest), Some(sent)) = (parked.id.clone(), parked.digest, parked.sent)
    else {
        return Ok(Resolved::Other);
    };
    let logged = LoggedMessage {
        id: Some(&id),
        uid: Some(uid),
        octets: None,
    };
    if result == LookupResult::Found {
        let what = "is at Gmail: only the response to its append was lost";
        logged.log(Level::Info, format_args!("{logged} {what}"));
        ledger.settle_parked_found(uid, id, digest, parked, AtSource::Present)?;
        return Ok(Resolved::Other);
    }
    let now = ledger.now();
    let is_unclear = result == LookupResult::Unclear;
    if now - sent.at >= STORE_TIMEOUT && !is_unclear {
        return Ok(Resolved::NotStored);
    }
    // A time in the future was written while the clock was wrong: the time-out starts now.
    let at = sent.at.min(now);
    let mut parked = ParkedMessage {
        retry_after: at + STORE_TIMEOUT,
        sent: Some(SentMark { at, ..sent }),
        ..parked.clone()
    };
    if is_unclear {
        // It may stay so for ever: after as long as it has been so, and in the end once a day.
        let delay = (now - at).clamp(STORE_TIMEOUT, UNCLEAR_INTERVAL);
        parked.retry_after = now + delay;
        if parked.why != UNCLEAR || delay == UNCLEAR_INTERVAL {
            let text =
                format_args!("{logged}: {UNCLEAR}; it is not sent again until that is clear");
            logged.log(Level::Warn, text);
        }
        UNCLEAR.clone_into(&mut parked.why);
    }
    ledger.keep_uncertain(uid, parked)?;
    Ok(Resolved::Other)
}

/// Says whether a parked message can be sent: it is not uncertain, or known not to be stored.
pub(super) fn can_be_sent(uid: Uid, ledger: &Ledger) -> bool {
    let parked = ledger.state().folder.parked.get(&uid);
    parked.is_some_and(|parked| parked.sent.is_none() || ledger.in_flight.is_not_stored(uid))
}

/// Gives up those of the parked messages that are no longer at the source.
pub(super) fn give_up_gone(
    uids: &[Uid],
    listed: &[Listed],
    target: &mut dyn Target,
    ledger: &mut Ledger,
) -> Result<()> {
    for uid in uids {
        let Some(parked) = ledger.state().folder.parked.get(uid).cloned() else {
            continue;
        };
        // Another message under this UID is a new one: a backup was restored.
        let is_there = listed
            .iter()
            .any(|listed| listed.uid == *uid && parked.matches(listed));
        // The listing has just parked it again: it is there and could not be listed.
        let is_unlisted = !parked.is_due(ledger.now());
        if !is_there && !is_unlisted {
            give_up(*uid, &parked, target, ledger)?;
        }
    }
    Ok(())
}

/// Gives up a parked message that is no longer at the source, unless Gmail has it.
pub(super) fn give_up(
    uid: Uid,
    parked: &ParkedMessage,
    target: &mut dyn Target,
    ledger: &mut Ledger,
) -> Result<()> {
    let is_found = lookup::is_at_gmail(uid, parked, target)?;
    match (parked.id.clone(), parked.digest) {
        (Some(id), Some(digest)) if is_found => {
            log_at_gmail(Some(uid), parked);
            ledger.settle_parked_found(uid, id, digest, parked, AtSource::Gone)
        }
        (id, digest) => ledger.refuse_gone(uid, id, digest),
    }
}

fn log_at_gmail(uid: Option<Uid>, parked: &ParkedMessage) {
    let logged = LoggedMessage {
        id: parked.id.as_ref(),
        uid,
        octets: None,
    };
    logged.log(Level::Info, format_args!("{logged} is at Gmail already"));
}

/// Finds orphans in a listing: they are parked under their new UIDs and taken out of the listing.
/// Returns these UIDs.
pub(super) fn find_orphans(listed: &mut Vec<Listed>, ledger: &mut Ledger) -> Result<UidSet> {
    let mut found = UidSet::default();
    for message in listed.iter() {
        // One that could not even be listed has no digest, and would match every message.
        let is_it = |orphan: &ParkedMessage| orphan.digest.is_some() && orphan.matches(message);
        if let Some(index) = ledger.orphans().iter().position(is_it) {
            ledger.adopt_orphan(message.uid, index)?;
            found.insert(message.uid);
        }
    }
    listed.retain(|message| !found.contains(message.uid));
    Ok(found)
}

/// Gives up the orphans that the date pass did not find, unless Gmail has them. One that was sent a
/// moment ago stays: nothing shows yet whether Gmail stores it.
pub(super) fn give_up_orphans(target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
    let mut index = 0;
    while let Some(orphan) = ledger.orphans().get(index).cloned() {
        let is_found = lookup::is_at_gmail(Uid::MIN, &orphan, target)?;
        if is_found {
            log_at_gmail(None, &orphan);
            ledger.settle_orphan(index)?;
        } else if was_just_sent(&orphan, ledger.now()) {
            index += 1;
        } else {
            ledger.refuse_orphan(index, orphan.id, orphan.digest)?;
        }
    }
    Ok(())
}

/// Says whether Gmail may still be storing an uncertain append.
pub(super) fn was_just_sent(parked: &ParkedMessage, now: DateTime<Utc>) -> bool {
    // A time in the future was written while the clock was wrong.
    let age = parked.sent.map(|sent| (now - sent.at).abs());
    age.is_some_and(|age| age < STORE_TIMEOUT)
}
