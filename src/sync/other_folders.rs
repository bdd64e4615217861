//! Uncertain appends of other folders that messages of this one wait for.
//!
//! Their folder may never be opened again: it was renamed or deleted, or is no longer copied. So they are
//! looked up from here. That one was not stored is recorded, not only remembered: what is sent from here
//! must not be taken for it later.

use std::cmp::Reverse;

use crate::error::Result;
use crate::message::{Mark, Uid};
use crate::state::{ParkedAt, ParkedMessage};
use crate::sync::ledger::Ledger;
use crate::sync::retry_parked::{self, Resolved};
use crate::sync::{LookupResult, Target, lookup};

/// An uncertain append of another folder.
#[derive(PartialEq, Eq)]
struct Twin {
    folder: String,
    place: ParkedAt,
    parked: ParkedMessage,
}

/// Looks up the uncertain appends of other folders that these parked messages wait for.
pub(super) fn look_up_twins(
    uids: &[Uid],
    target: &mut dyn Target,
    ledger: &mut Ledger,
) -> Result<()> {
    for twin in twins(uids, ledger) {
        let uid = match twin.place {
            ParkedAt::Uid(uid) => uid,
            ParkedAt::Orphan(_) => Uid::MIN,
        };
        let Some(query) = lookup::query_for_parked(uid, &twin.parked) else {
            continue;
        };
        let result = target.holds(&[query])?.first().copied();
        let result = result.unwrap_or(LookupResult::NotFound);
        let mark = target.status()?.mark;
        let result = seen_from_here(result, &twin.parked, mark);
        ledger.in_folder(&twin.folder, |ledger| resolve(uid, &twin, result, ledger))?;
    }
    Ok(())
}

/// A lookup searches where messages of this folder go. Where those of the other folder go to another
/// place, a message that is not found proves nothing.
fn seen_from_here(result: LookupResult, twin: &ParkedMessage, mark: Option<Mark>) -> LookupResult {
    let validity = |mark: Mark| mark.uid_validity;
    let theirs = twin.sent.and_then(|sent| sent.mark).map(validity);
    let is_found = result == LookupResult::Found;
    if is_found || theirs.is_none() || theirs == mark.map(validity) {
        result
    } else {
        LookupResult::Unclear
    }
}

fn twins(uids: &[Uid], ledger: &Ledger) -> Vec<Twin> {
    let state = ledger.state();
    let mut twins = Vec::new();
    for parked in uids.iter().filter_map(|uid| state.folder.parked.get(uid)) {
        let Some((id, digest)) = parked.id.as_ref().zip(parked.digest) else {
            continue;
        };
        for (folder, place, parked) in state.uncertain_in_other_folders(id, digest) {
            let twin = Twin {
                folder: folder.to_owned(),
                place,
                parked: parked.clone(),
            };
            if !twins.contains(&twin) {
                twins.push(twin);
            }
        }
    }
    // An orphan that is removed changes the places of those behind it.
    twins.sort_by_key(|twin| match twin.place {
        ParkedAt::Orphan(index) => Reverse(Some(index)),
        ParkedAt::Uid(_) => Reverse(None),
    });
    twins
}

fn resolve(uid: Uid, twin: &Twin, result: LookupResult, ledger: &mut Ledger) -> Result<()> {
    let Twin { place, parked, .. } = twin;
    let is_not_stored = match place {
        ParkedAt::Uid(_) => {
            let resolved = retry_parked::resolve_uncertain(uid, parked, result, ledger)?;
            resolved == Resolved::NotStored
        }
        ParkedAt::Orphan(orphan) if result == LookupResult::Found => {
            return ledger.settle_orphan(*orphan);
        }
        ParkedAt::Orphan(_) => {
            let is_clear = result != LookupResult::Unclear;
            is_clear && !retry_parked::was_just_sent(parked, ledger.now())
        }
    };
    if is_not_stored {
        ledger.record_not_stored(*place, parked.clone())?;
    }
    Ok(())
}
