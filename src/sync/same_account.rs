//! Whether mailboxes with new names are those of the state.

use crate::error::Result;
use crate::message::{Identity, Listed, Mailbox, Uid, UidSet};
use crate::state::State;
use crate::sync::{LookupQuery, LookupResult, SearchScope, Source, Target};

/// So many of the samples must be left, if there are as many: one message may be in several mailboxes.
const MIN_EQUAL_SAMPLES: usize = 2;

/// This many delivered messages are looked up.
const MAX_LOOKUPS: usize = 16;

/// Whether the mailbox is the one that the state's UIDs belong to: under the UIDs of messages that
/// were settled lately it has the same messages. False also if too few of them are left.
///
/// # Errors
/// The source is unavailable.
pub fn is_same_mailbox(state: &State, mailbox: &Mailbox, source: &mut dyn Source) -> Result<bool> {
    let is_valid = state
        .folder
        .source_mailbox()
        .is_some_and(|(_, uid_validity)| uid_validity == mailbox.uid_validity)
        && mailbox.uid_next.get() > state.folder.highest_uid();
    let samples = state.folder.samples();
    if !is_valid || samples.is_empty() || mailbox.exists == 0 {
        return Ok(false);
    }
    let uids: UidSet = samples.keys().copied().collect();
    let listed = source.list(&uids)?;
    let is_same = |listed: &Listed| {
        let sample = samples.get(&listed.uid)?;
        Some(sample.header == listed.identity.header)
    };
    let compared: Vec<bool> = listed.iter().filter_map(is_same).collect();
    let enough = samples.len().min(MIN_EQUAL_SAMPLES);
    Ok(compared.len() >= enough && compared.into_iter().all(|is_same| is_same))
}

/// Whether the Gmail account is the one that the state's messages were delivered to: it has at least
/// half of the latest. True if nothing was delivered yet.
///
/// # Errors
/// Gmail is unavailable.
pub fn is_same_gmail_account(state: &State, target: &mut dyn Target) -> Result<bool> {
    let queries: Vec<LookupQuery> = state
        .latest_known(MAX_LOOKUPS)
        .map(|(id, header)| LookupQuery {
            uid: Uid::MIN,
            identity: Identity {
                id: Some(id.clone()),
                header,
            },
            date: None,
            octets: None,
            scope: SearchScope::AllMailTrashAndJunk,
            uncertain: None,
        })
        .collect();
    if queries.is_empty() {
        return Ok(state.known_id_count() == 0 && state.gmail.last_accepted.is_none());
    }
    let results = target.holds(&queries)?;
    let has_id = |result: &&LookupResult| !matches!(result, LookupResult::NotFound);
    Ok(2 * results.iter().filter(has_id).count() >= queries.len())
}
