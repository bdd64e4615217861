//! A pass that moves nothing: what would be copied, a line a message.

use crate::error::Result;
use crate::message::{FETCH_PAGE_SIZE, Listed, Mailbox, Message, Uid, UidSet};
use crate::state::Event;
use crate::sync::copy::{GROUP_MESSAGES, PlannedMessage};
use crate::sync::engine::Engine;
use crate::sync::plan::{DatePassStart, Due, IdentityDecision, SelectedBy};
use crate::sync::{
    LookupQuery, LookupResult, Outcome, PassOptions, SourceSearch, Target, TargetStatus, plan,
};

/// What a pass would do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRunResult {
    /// It would be copied.
    New,
    /// It would be copied, unless Gmail has it: Gmail could not be asked.
    NewUnlessAtGmail,
    /// Gmail has it, or it was delivered.
    Known,
    /// Its id is in use: its octets decide.
    NeedsBody,
    /// It waits for its next try.
    Parked,
}

impl Engine<'_> {
    /// Tells of each message that a pass would look at.
    pub fn rehearse(
        mut self,
        mailbox: &Mailbox,
        can_ask: bool,
        tell: &mut dyn FnMut(&Listed, DryRunResult),
    ) -> Result<()> {
        let PassOptions {
            source,
            first_run_days,
            ..
        } = self.settings;
        let plan = plan::due(
            self.store.state(),
            mailbox,
            source,
            *first_run_days,
            (self.now)(),
        );
        let (uids, pass): (UidSet, _) = match plan.due {
            Due::Nothing => (UidSet::default(), None),
            Due::Between(first, last) => {
                let mut range = UidSet::default();
                range.insert_range(first, last);
                (
                    self.source
                        .search(&SourceSearch::Uids(range))?
                        .into_iter()
                        .collect(),
                    None,
                )
            }
            Due::ByDate(pass, begun) => {
                let found = self
                    .source
                    .search(&SourceSearch::Since(plan::ask_since(&pass)))?;
                if begun == DatePassStart::New {
                    self.store.record(Event::DatePass(pass.clone()))?;
                }
                let below = found.into_iter().filter(|uid| *uid < pass.uid_next);
                (below.collect(), Some(pass))
            }
        };
        let parked: Vec<Uid> = self.store.state().parked.keys().copied().collect();
        let todo: Vec<Uid> = uids
            .iter()
            .filter(|uid| !self.store.state().is_settled_or_parked(*uid))
            .collect();
        for page in todo.chunks(FETCH_PAGE_SIZE) {
            let mut listed = self.list(page)?;
            listed.retain(|listed| {
                pass.as_ref()
                    .is_none_or(|pass| plan::is_late_enough(pass, listed))
            });
            let manner = if pass.is_some() {
                SelectedBy::Date
            } else {
                SelectedBy::Uid
            };
            self.tell(&listed, manner, can_ask, tell)?;
        }
        for page in parked.chunks(FETCH_PAGE_SIZE) {
            self.list(page)?
                .iter()
                .for_each(|listed| tell(listed, DryRunResult::Parked));
        }
        Ok(())
    }

    fn tell(
        &mut self,
        listed: &[Listed],
        manner: SelectedBy,
        can_ask: bool,
        tell: &mut dyn FnMut(&Listed, DryRunResult),
    ) -> Result<()> {
        for group in listed.chunks(GROUP_MESSAGES) {
            let group: Vec<_> = group
                .iter()
                .map(|listed| PlannedMessage {
                    verdict: plan::verdict(self.store.state(), listed, manner),
                    listed: listed.clone(),
                })
                .collect();
            let holdings = if can_ask {
                self.holdings(&group)?
            } else {
                vec![None; group.len()]
            };
            for (candidate, holding) in group.iter().zip(holdings) {
                tell(&candidate.listed, rehearsed(candidate.verdict, holding));
            }
        }
        Ok(())
    }
}

fn rehearsed(verdict: IdentityDecision, holding: Option<LookupResult>) -> DryRunResult {
    match (verdict, holding) {
        (IdentityDecision::CompareBody, _) => DryRunResult::NeedsBody,
        (IdentityDecision::LookUp(..), None) => DryRunResult::NewUnlessAtGmail,
        (IdentityDecision::LookUp(_, if_absent), Some(holding))
            if plan::must_deliver(holding, if_absent) =>
        {
            DryRunResult::New
        }
        (IdentityDecision::Known | IdentityDecision::LookUp(..), _) => DryRunResult::Known,
    }
}

/// Stands where no target is: nothing is ever asked of it or given to it.
pub struct NullTarget;

impl Target for NullTarget {
    fn status(&mut self) -> Result<TargetStatus> {
        Ok(TargetStatus::default())
    }

    fn holds(&mut self, questions: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        Ok(vec![LookupResult::NotFound; questions.len()])
    }

    fn submit(&mut self, _: Message) -> Result<()> {
        Ok(())
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        None
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
