//! Copying: what a pass does with each group of messages that is not a dry run.

use std::collections::VecDeque;

use crate::error::Result;
use crate::message::{FETCH_PAGE_SIZE, Listed, Uid};
use crate::sync::action::{Action, Parts};
use crate::sync::deliver::Delivery;
use crate::sync::fetch::Fetch;
use crate::sync::group::{self, PlannedMessage};
use crate::sync::identity::{self, IdentityDecision, IfAbsent, SelectedBy};
use crate::sync::ledger::Ledger;
use crate::sync::look_ahead::LookAhead;
use crate::sync::plan::{self, DatePassStart, Due, Plan};
use crate::sync::{LookupResult, SearchScope, other_folders, retry_parked};
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// A new group of up to so many octets is asked for before its lookup: if Gmail has its messages all
/// the same, little was transferred in vain.
const MAX_OCTETS_BEFORE_LOOKUP: u64 = 256 * 1024;

/// Copies the messages that are neither known nor at Gmail.
pub(super) struct Copy {
    pub delivery: Delivery,
}

impl Action for Copy {
    fn start_round(&mut self, plan: &Plan, parts: &mut Parts) -> Result<()> {
        let Parts { target, ledger, .. } = &mut *parts;
        self.delivery.labels.set_before_mail(*target, ledger)?;
        retry_parked::look_up_uncertain(&plan.parked, parts.target, &mut parts.ledger)?;
        if let Due::ByDate(pass, DatePassStart::New) = &plan.due {
            log::info!(
                "{}: copying messages received since {}",
                Untrusted::new(&pass.source),
                format_time(pass.since)
            );
        }
        Ok(())
    }

    fn handle_page(
        &mut self,
        page: Vec<Listed>,
        selected_by: SelectedBy,
        parts: &mut Parts,
    ) -> Result<()> {
        let is_new = |listed| {
            let state = parts.ledger.state();
            identity::decide(state, listed, selected_by) != IdentityDecision::Known
        };
        if page.iter().any(is_new) {
            parts.target.prepare();
            self.delivery.labels.prepare(parts.target);
        }
        let mut queue: VecDeque<Listed> = page.into();
        let mut look_ahead = LookAhead::default();
        while !queue.is_empty() {
            let Parts { target, ledger, .. } = parts;
            let mut finish = |ledger: &mut Ledger| self.delivery.finish(*target, ledger);
            let group = group::take_group(&mut queue, selected_by, ledger, &mut finish)?;
            if group.is_empty() {
                continue;
            }
            announce_if_small(&group, &look_ahead, parts);
            let results = look_ahead.look_up(&group, &queue, selected_by, parts)?;
            let absent = settle_those_at_gmail(group, results, parts)?;
            let next = |ledger: &Ledger| group::foresee_groups(&queue, selected_by, ledger);
            self.copy_absent(absent, &next, &look_ahead, parts)?;
        }
        Ok(())
    }

    fn finish_round(&mut self, parts: &mut Parts) -> Result<()> {
        self.retry_parked(parts)?;
        self.delivery.finish(parts.target, &mut parts.ledger)
    }

    fn finish_date_pass(&mut self, parts: &mut Parts) -> Result<bool> {
        retry_parked::give_up_orphans(parts.target, &mut parts.ledger)?;
        Ok(parts.ledger.orphans().is_empty())
    }
}

impl Copy {
    /// Copies the messages of a group that Gmail does not have. When the source has returned them, the
    /// next groups are announced to it, which it answers while this one is sent.
    fn copy_absent(
        &mut self,
        absent: Vec<PlannedMessage>,
        next: &dyn Fn(&Ledger) -> Vec<Vec<PlannedMessage>>,
        look_ahead: &LookAhead,
        parts: &mut Parts,
    ) -> Result<()> {
        if absent.is_empty() {
            return Ok(());
        }
        let Parts {
            fetch,
            target,
            ledger,
        } = parts;
        // After the lookup, because a target can ask for its limits in the same round trip; before
        // the fetch, because what is too large is not fetched.
        let fitting = self.delivery.refuse_too_large(absent, *target, ledger)?;
        let is_large = fitting.iter().any(is_larger_than_a_group);
        let (read, missing) = fetch.read(fitting, ledger)?;
        if !is_large {
            let mut next = next(ledger);
            for group in &mut next {
                group.retain(|planned| {
                    look_ahead.must_read(planned, ledger)
                        && !self.delivery.is_too_large(planned.listed.size)
                });
            }
            announce(&next, fetch, ledger);
        }
        for missing in missing {
            let uid = missing.listed.uid;
            if missing.exists {
                ledger.park_unreadable(
                    missing.listed,
                    "it is listed, but missing from the response",
                )?;
            } else if let Some(parked) = ledger.state().folder.parked.get(&uid).cloned() {
                retry_parked::give_up(uid, &parked, *target, ledger)?;
            }
        }
        self.delivery.deliver(read, parts)
    }

    /// Retries the parked messages that are due.
    fn retry_parked(&mut self, parts: &mut Parts) -> Result<()> {
        let Parts { target, ledger, .. } = parts;
        self.delivery.finish(*target, ledger)?;
        let mut due = plan::due_parked(&ledger.state().folder, ledger.now());
        retry_parked::look_up_uncertain(&due, *target, ledger)?;
        other_folders::look_up_twins(&due, *target, ledger)?;
        due.retain(|uid| retry_parked::can_be_sent(*uid, ledger));
        for page in due.chunks(FETCH_PAGE_SIZE) {
            self.retry_page(page, parts)?;
        }
        Ok(())
    }

    fn retry_page(&mut self, page: &[Uid], parts: &mut Parts) -> Result<()> {
        let Parts {
            fetch,
            target,
            ledger,
        } = parts;
        let mut listed = fetch.list(page, ledger)?;
        // A message that could not be listed when it was parked may turn out to be an orphan.
        let orphans = retry_parked::find_orphans(&mut listed, ledger)?;
        let mut others = page.to_vec();
        others.retain(|uid| !orphans.contains(*uid));
        retry_parked::give_up_gone(&others, &listed, *target, ledger)?;
        self.handle_page(listed, SelectedBy::Uid, parts)
    }
}

/// Announces a group before its lookup, if it is small and new: then it is nearly always absent at
/// Gmail, and both servers answer at the same time.
fn announce_if_small(group: &Vec<PlannedMessage>, look_ahead: &LookAhead, parts: &mut Parts) {
    let Parts { fetch, ledger, .. } = parts;
    let octets: u64 = group.iter().map(|planned| planned.listed.size).sum();
    let is_new = |planned: &PlannedMessage| {
        let if_unknown = IdentityDecision::LookUp(SearchScope::AllMail, IfAbsent::Deliver);
        planned.selected_by == SelectedBy::Uid && planned.decision == if_unknown
    };
    if octets <= MAX_OCTETS_BEFORE_LOOKUP
        && group.iter().all(is_new)
        && !look_ahead.has_results_for(group, ledger)
    {
        announce(std::slice::from_ref(group), fetch, ledger);
    }
}

/// Announces groups to the source, up to one with a message that was parked before, because that one
/// may be what the source cannot return, or with a large one, because its octets would come on top of
/// those that are being sent.
fn announce(groups: &[Vec<PlannedMessage>], fetch: &mut Fetch, ledger: &Ledger) {
    let is_parked = |uid: Uid| ledger.state().folder.parked.contains_key(&uid);
    let can_be_announced = |planned: &PlannedMessage| {
        !is_larger_than_a_group(planned) && !is_parked(planned.listed.uid)
    };
    let uids = |group: &Vec<PlannedMessage>| -> Vec<Uid> {
        group.iter().map(|planned| planned.listed.uid).collect()
    };
    let announced = groups
        .iter()
        .take_while(|group| group.iter().all(can_be_announced))
        .map(uids)
        .filter(|uids| !uids.is_empty());
    fetch.announce(&announced.collect::<Vec<_>>());
}

fn is_larger_than_a_group(planned: &PlannedMessage) -> bool {
    planned.listed.size > group::MAX_OCTETS
}

/// Settles those messages of a group that need no delivery, and returns the others.
fn settle_those_at_gmail(
    group: Vec<PlannedMessage>,
    results: Vec<Option<LookupResult>>,
    parts: &mut Parts,
) -> Result<Vec<PlannedMessage>> {
    let mut absent = Vec::new();
    for (planned, result) in group.into_iter().zip(results) {
        match (planned.decision, result) {
            (IdentityDecision::LookUp(_, if_absent), Some(result))
                if !identity::must_deliver(result, if_absent) =>
            {
                parts.ledger.settle_looked_up(&planned.listed, result)?;
            }
            _ => absent.push(planned),
        }
    }
    Ok(absent)
}
