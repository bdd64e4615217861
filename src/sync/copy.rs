//! Copying: what a pass does with each group of messages that is not a dry run.

use std::collections::VecDeque;

use crate::error::Result;
use crate::message::{FETCH_PAGE_SIZE, Listed, Uid};
use crate::sync::action::{Action, Parts};
use crate::sync::deliver::Delivery;
use crate::sync::group::{self, PlannedMessage};
use crate::sync::identity::{self, IdentityDecision, SelectedBy};
use crate::sync::ledger::Ledger;
use crate::sync::plan::{self, DatePassStart, Due, Plan};
use crate::sync::{lookup, retry_parked};
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// Copies the messages that are neither known nor at Gmail.
pub(super) struct Copy {
    pub delivery: Delivery,
}

impl Action for Copy {
    fn start_round(&mut self, plan: &Plan, parts: &mut Parts) -> Result<()> {
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
        let mut queue: VecDeque<Listed> = page.into();
        while !queue.is_empty() {
            let Parts { target, ledger, .. } = parts;
            let mut finish = |ledger: &mut Ledger| self.delivery.finish(*target, ledger);
            let group = group::take_group(&mut queue, selected_by, ledger, &mut finish)?;
            self.copy_group(group, parts)?;
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
    fn copy_group(&mut self, group: Vec<PlannedMessage>, parts: &mut Parts) -> Result<()> {
        if group.is_empty() {
            return Ok(());
        }
        let absent = settle_those_at_gmail(group, parts)?;
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
        let (read, missing) = fetch.read(fitting, ledger)?;
        for missing in missing {
            let uid = missing.listed.uid;
            if missing.exists {
                ledger.park_unreadable(
                    missing.listed,
                    "it is listed, but missing from the response",
                )?;
            } else if let Some(parked) = ledger.state().parked.get(&uid).cloned() {
                retry_parked::give_up(uid, &parked, *target, ledger)?;
            }
        }
        self.delivery.deliver(read, parts)
    }

    /// Retries the parked messages that are due.
    fn retry_parked(&mut self, parts: &mut Parts) -> Result<()> {
        let Parts { target, ledger, .. } = parts;
        self.delivery.finish(*target, ledger)?;
        let mut due = plan::due_parked(ledger.state(), ledger.now());
        retry_parked::look_up_uncertain(&due, *target, ledger)?;
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

/// Looks a group up at Gmail, settles what needs no delivery, and returns the others.
fn settle_those_at_gmail(
    group: Vec<PlannedMessage>,
    parts: &mut Parts,
) -> Result<Vec<PlannedMessage>> {
    let results = lookup::look_up_group(&group, parts.target)?;
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
