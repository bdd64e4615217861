//! The dry run: reports what a pass would copy, and copies nothing.
//!
//! It runs the steps of a pass over a state that is only changed in memory, so that it selects the
//! same messages in the same groups.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::AddAssign;

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::message::{FETCH_PAGE_SIZE, Identity, Listed, Message, MessagePlace, Uid, UidSet};
use crate::sync::action::{Action, Parts};
use crate::sync::group::{self, PlannedMessage};
use crate::sync::identity::{self, IdentityDecision, SelectedBy};
use crate::sync::plan::{Due, Plan};
use crate::sync::{
    FoundPlace, LabelRequest, LookupQuery, LookupResult, MessageVersion, Outcome, RejectedLabels,
    Target, TargetStatus, lookup, retry_parked,
};

/// What a pass would do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRunResult {
    /// It would be copied; one without Message-ID only if its octets do not show that it was
    /// delivered before.
    New,
    /// It would be copied unless Gmail has it: there is no valid token to look it up with.
    NewUnlessAtGmail,
    /// It was delivered before, or Gmail has it.
    Known,
    /// Its Message-ID is in use: its body decides.
    NeedsBody,
    /// It is parked, and would be retried when it is due.
    Parked,
}

/// How many messages got each result, and since when they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DryRunTotal {
    /// [`DryRunResult::New`].
    pub new: u64,
    /// [`DryRunResult::NewUnlessAtGmail`].
    pub new_unless_at_gmail: u64,
    /// [`DryRunResult::NeedsBody`].
    pub needs_body: u64,
    /// [`DryRunResult::Parked`].
    pub parked: u64,
    /// The octets of those, except the parked ones.
    pub octets: u64,
    /// What was received before is not considered: the begin of the date pass, else the last complete
    /// pass.
    pub since: Option<DateTime<Utc>>,
}

impl AddAssign for DryRunTotal {
    fn add_assign(&mut self, other: DryRunTotal) {
        self.new += other.new;
        self.new_unless_at_gmail += other.new_unless_at_gmail;
        self.needs_body += other.needs_body;
        self.parked += other.parked;
        self.octets += other.octets;
        self.since = match (self.since, other.since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

impl DryRunTotal {
    fn count(&mut self, result: DryRunResult, octets: u64) {
        if !matches!(result, DryRunResult::Known | DryRunResult::Parked) {
            self.octets += octets;
        }
        let count = match result {
            DryRunResult::New => &mut self.new,
            DryRunResult::NewUnlessAtGmail => &mut self.new_unless_at_gmail,
            DryRunResult::NeedsBody => &mut self.needs_body,
            DryRunResult::Parked => &mut self.parked,
            DryRunResult::Known => return,
        };
        *count += 1;
    }
}

/// Reports the selected messages.
pub(super) struct DryRun<'a> {
    can_ask_gmail: bool,
    report: &'a mut dyn FnMut(&Listed, DryRunResult),
    /// The messages that were reported: a requested date pass finds them again.
    reported: UidSet,
    total: DryRunTotal,
    /// The identities of the messages reported as to be copied.
    copied: HashSet<Identity>,
    /// Parked messages that were looked up, and may be done since.
    looked_up: UidSet,
}

impl<'a> DryRun<'a> {
    pub fn new(
        can_ask_gmail: bool,
        report: &'a mut dyn FnMut(&Listed, DryRunResult),
    ) -> DryRun<'a> {
        DryRun {
            can_ask_gmail,
            report,
            reported: UidSet::default(),
            total: DryRunTotal::default(),
            copied: HashSet::new(),
            looked_up: UidSet::default(),
        }
    }

    /// Reports the parked messages, due or not; returns the total.
    pub fn finish(mut self, parts: &mut Parts) -> Result<DryRunTotal> {
        let Parts { fetch, ledger, .. } = parts;
        let mut uids = std::mem::take(&mut self.looked_up);
        let parked = ledger.state().folder.parked.keys();
        parked.for_each(|uid| uids.insert(*uid));
        let uids: Vec<Uid> = uids.iter().collect();
        for page in uids.chunks(FETCH_PAGE_SIZE) {
            for listed in fetch.list(page, ledger)? {
                let is_parked = ledger.state().folder.parked.contains_key(&listed.uid);
                let result = if is_parked {
                    DryRunResult::Parked
                } else {
                    DryRunResult::Known
                };
                self.report(&listed, result);
            }
        }
        Ok(self.total)
    }

    fn report(&mut self, listed: &Listed, result: DryRunResult) {
        self.total.count(result, listed.size);
        (self.report)(listed, result);
    }

    fn decide(&mut self, planned: &PlannedMessage, lookup: Option<LookupResult>) -> DryRunResult {
        let result = match (planned.decision, lookup) {
            (IdentityDecision::CompareBody, _) => DryRunResult::NeedsBody,
            (IdentityDecision::LookUp(..), None) => DryRunResult::NewUnlessAtGmail,
            (IdentityDecision::LookUp(_, if_absent), Some(lookup))
                if identity::must_deliver(lookup, if_absent) =>
            {
                DryRunResult::New
            }
            (IdentityDecision::Known | IdentityDecision::LookUp(..), _) => DryRunResult::Known,
        };
        if matches!(result, DryRunResult::New | DryRunResult::NewUnlessAtGmail) {
            self.copied.insert(planned.listed.identity.clone());
        }
        result
    }
}

impl Action for DryRun<'_> {
    fn start_round(&mut self, plan: &Plan, parts: &mut Parts) -> Result<()> {
        let since = match &plan.due {
            Due::ByDate(pass, _) => Some(pass.since),
            Due::Nothing | Due::Between(..) => parts.ledger.state().folder.last_sync,
        };
        self.total.since = match (self.total.since, since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        plan.parked
            .iter()
            .for_each(|uid| self.looked_up.insert(*uid));
        retry_parked::look_up_uncertain(&plan.parked, parts.target, &mut parts.ledger)
    }

    fn handle_page(
        &mut self,
        mut page: Vec<Listed>,
        selected_by: SelectedBy,
        parts: &mut Parts,
    ) -> Result<()> {
        let Parts { target, ledger, .. } = parts;
        page.retain(|listed| !self.reported.contains(listed.uid));
        let mut results: HashMap<Uid, DryRunResult> = HashMap::new();
        let mut queue: VecDeque<Listed> = page.clone().into();
        while !queue.is_empty() {
            let group = group::take_group(&mut queue, selected_by, ledger, &mut |_| Ok(()))?;
            let lookups = if self.can_ask_gmail {
                lookup::look_up_group(&group, *target)?
            } else {
                vec![None; group.len()]
            };
            for (planned, lookup) in group.iter().zip(lookups) {
                let result = self.decide(planned, lookup);
                if result != DryRunResult::NeedsBody {
                    ledger.record_identity(&planned.listed)?;
                }
                results.insert(planned.listed.uid, result);
            }
        }
        for listed in page {
            let result = match results.get(&listed.uid) {
                Some(result) => *result,
                // Reported at the end.
                None if ledger.state().folder.parked.contains_key(&listed.uid) => continue,
                // A pass compares it with its twin, which it has copied before.
                None if self.copied.contains(&listed.identity) => DryRunResult::NeedsBody,
                None => DryRunResult::Known,
            };
            self.reported.insert(listed.uid);
            self.report(&listed, result);
        }
        Ok(())
    }

    fn finish_round(&mut self, _: &mut Parts) -> Result<()> {
        Ok(())
    }

    fn finish_date_pass(&mut self, parts: &mut Parts) -> Result<bool> {
        let now = parts.ledger.now();
        let mut orphans = parts.ledger.orphans().iter();
        Ok(!orphans.any(|orphan| retry_parked::was_just_sent(orphan, now)))
    }
}

/// A target that stores nothing and has nothing: for a dry run without a valid token.
pub struct NullTarget;

impl Target for NullTarget {
    fn status(&mut self) -> Result<TargetStatus> {
        // Whether it has labels shows when there is a token.
        Ok(TargetStatus {
            has_labels: true,
            ..TargetStatus::default()
        })
    }

    fn refresh_status(&mut self) -> Result<TargetStatus> {
        self.status()
    }

    fn holds(&mut self, queries: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        Ok(vec![LookupResult::NotFound; queries.len()])
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

    fn find_places(&mut self, queries: &[LookupQuery]) -> Result<Vec<FoundPlace>> {
        Ok(vec![FoundPlace::Absent; queries.len()])
    }

    fn versions(&mut self, places: &[MessagePlace]) -> Result<Vec<MessageVersion>> {
        Ok(vec![MessageVersion::Gone; places.len()])
    }

    fn set_labels(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>> {
        Ok(vec![RejectedLabels::default(); requests.len()])
    }
}
