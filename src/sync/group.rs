//! Groups of messages: one lookup, one FETCH and one write of intents for all messages of a group.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::iter::Peekable;

use crate::error::Result;
use crate::message::{Digest, Listed, MessageId, UidSet};
use crate::state::Knowledge;
use crate::sync::identity::{self, IdentityDecision, SelectedBy};
use crate::sync::ledger::Ledger;

/// The most messages of a group, also where a lookup takes several parked messages…
pub(super) const MAX_MESSAGES: usize = 10;

/// …and the most octets, unless a single message has more.
pub(super) const MAX_OCTETS: u64 = 8 * 1024 * 1024;

/// The groups that are foreseen, and asked for ahead: several, because each would cost a round trip.
const GROUPS_AHEAD: usize = 4;

/// A listed message and what to do with it.
pub(super) struct PlannedMessage {
    pub listed: Listed,
    pub selected_by: SelectedBy,
    pub decision: IdentityDecision,
}

/// Takes the next group from the queue. Known messages are settled, and messages that wait for an
/// uncertain twin are parked; the group may be empty.
///
/// A twin of a message in flight is decided only after that one has settled: `finish_in_flight`
/// waits for it.
pub(super) fn take_group(
    queue: &mut VecDeque<Listed>,
    selected_by: SelectedBy,
    ledger: &mut Ledger,
    finish_in_flight: &mut dyn FnMut(&mut Ledger) -> Result<()>,
) -> Result<Vec<PlannedMessage>> {
    let mut group: Vec<PlannedMessage> = Vec::new();
    let mut octets = 0;
    let mut known = UidSet::default();
    while let Some(listed) = queue.front() {
        if !fits(&group, octets, listed) {
            break;
        }
        if has_twin_in_flight(ledger, listed) {
            if !group.is_empty() {
                break;
            }
            finish_in_flight(ledger)?;
        }
        let Some(listed) = queue.pop_front() else {
            break;
        };
        if waits_for_twin(ledger, &listed)? {
            continue;
        }
        match identity::decide(ledger.state(), &listed, selected_by) {
            IdentityDecision::Known => match labels_of_known(&listed, selected_by, ledger) {
                None => known.insert(listed.uid),
                Some((id, digest, labels)) => {
                    ledger.settle_known_with_labels(&listed, id, digest, labels)?;
                }
            },
            decision => {
                octets += listed.size;
                group.push(PlannedMessage {
                    listed,
                    selected_by,
                    decision,
                });
            }
        }
    }
    ledger.settle_known(known)?;
    Ok(group)
}

/// The labels that a known message gets, if any, and what finds it at the target.
fn labels_of_known(
    listed: &Listed,
    selected_by: SelectedBy,
    ledger: &Ledger,
) -> Option<(MessageId, Digest, Vec<String>)> {
    let id = listed.identity.id.as_ref()?;
    let labels = ledger.labels_of_known(id, selected_by)?;
    let Knowledge::Digests(digests) = ledger.state().known_digests(id) else {
        return None;
    };
    let is_it = |digest: &&Digest| digest.header == listed.identity.header && digest.body.is_some();
    let digest = digests.iter().find(is_it)?;
    Some((id.clone(), *digest, labels))
}

/// Foresees the next groups: what [`take_group`] returns if nothing changes until then. Together they
/// have no more octets than one may have, unless a single message has more.
pub(super) fn foresee_groups(
    queue: &VecDeque<Listed>,
    selected_by: SelectedBy,
    ledger: &Ledger,
) -> Vec<Vec<PlannedMessage>> {
    let mut groups: Vec<Vec<PlannedMessage>> = Vec::new();
    let (mut queue, mut octets) = (queue.iter().peekable(), 0);
    while groups.len() < GROUPS_AHEAD {
        let group = foresee_group(&mut queue, selected_by, ledger);
        octets += group.iter().map(|planned| planned.listed.size).sum::<u64>();
        // A twin would end its group earlier, because the other one is in flight by then.
        let is_twin = |planned: &PlannedMessage| {
            let mut before = groups.iter();
            before.any(|group| has_twin(group, &planned.listed))
        };
        let is_too_large = !groups.is_empty() && octets > MAX_OCTETS;
        if group.is_empty() || is_too_large || group.iter().any(is_twin) {
            break;
        }
        groups.push(group);
    }
    groups
}

fn foresee_group(
    queue: &mut Peekable<Iter<Listed>>,
    selected_by: SelectedBy,
    ledger: &Ledger,
) -> Vec<PlannedMessage> {
    let mut group: Vec<PlannedMessage> = Vec::new();
    let mut octets = 0;
    while let Some(listed) =
        queue.next_if(|listed| fits(&group, octets, listed) && !has_twin_in_flight(ledger, listed))
    {
        let decision = identity::decide(ledger.state(), listed, selected_by);
        if decision != IdentityDecision::Known {
            octets += listed.size;
            group.push(PlannedMessage {
                listed: listed.clone(),
                selected_by,
                decision,
            });
        }
    }
    group
}

/// Whether a group of so many octets takes one more message.
fn fits(group: &[PlannedMessage], octets: u64, listed: &Listed) -> bool {
    let is_full = group.len() >= MAX_MESSAGES || octets + listed.size > MAX_OCTETS;
    group.is_empty() || !(is_full || has_twin(group, listed))
}

fn has_twin(group: &[PlannedMessage], listed: &Listed) -> bool {
    let mut others = group.iter().map(|planned| &planned.listed.identity);
    listed.identity.id.is_some() && others.any(|other| *other == listed.identity)
}

fn has_twin_in_flight(ledger: &Ledger, listed: &Listed) -> bool {
    let id = listed.identity.id.as_ref();
    id.is_some_and(|id| ledger.in_flight.has_twin_of(id, listed.identity.header))
}

fn waits_for_twin(ledger: &mut Ledger, listed: &Listed) -> Result<bool> {
    let Some(id) = &listed.identity.id else {
        return Ok(false);
    };
    let digest = Digest::of_header(listed.identity.header);
    ledger.park_if_twin_is_uncertain(listed, id.clone(), digest)
}
