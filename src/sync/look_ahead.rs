//! Lookups made ahead: one call of the target answers for the messages of several groups.
//!
//! A message is handled later than it is looked up, and meanwhile the pass delivers others. Its result
//! holds all the same:
//! - `Found`: the message was there after it arrived at the source. If the user has deleted it since,
//!   it must not come back.
//! - Another result could only be wrong if the message came to Gmail meanwhile. If this pass has
//!   delivered its twin, the state knows the identity, and the decision is no longer a lookup; a twin
//!   in flight is waited for, and an uncertain one parks the message: all before a result is used. If
//!   this pass has delivered another message of its id, the result would be `OtherMessage` now: that
//!   and `NotFound` have the same consequence unless the decision is to leave what is absent, and it
//!   is not once the state has a digest of the id. Where such a decision searches in other folders,
//!   it has another scope, and is asked anew.
//! - What reaches Gmail another way at that time may be missed, as between a lookup and its append at
//!   any time: therefore a result is kept for a short time only.
//!
//! A result is used once, and only for the page that it was asked for: a message that is retried in
//! the same pass is looked up again.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Result;
use crate::message::{Listed, Uid};
use crate::sync::action::Parts;
use crate::sync::group::{self, PlannedMessage};
use crate::sync::identity::{self, IdentityDecision, SelectedBy};
use crate::sync::ledger::Ledger;
use crate::sync::{LookupQuery, LookupResult, SearchScope, lookup};

/// The most messages that are looked up in one call: ten groups.
const MAX_QUERIES: usize = 100;

/// A result is asked for again when it is older.
const MAX_AGE: TimeDelta = TimeDelta::seconds(60);

/// The results of a page that have not been used yet.
#[derive(Default)]
pub(super) struct LookAhead {
    kept: HashMap<Uid, KeptResult>,
}

struct KeptResult {
    scope: SearchScope,
    result: LookupResult,
    asked_at: DateTime<Utc>,
}

impl LookAhead {
    /// Looks up those messages of a group that need it; returns `None` for the others. A call of
    /// the target is for the messages behind them in the queue, too, and follows as soon as one of the
    /// next groups needs one: meanwhile the source answers for those before it.
    pub fn look_up(
        &mut self,
        group: &[PlannedMessage],
        queue: &VecDeque<Listed>,
        selected_by: SelectedBy,
        parts: &mut Parts,
    ) -> Result<Vec<Option<LookupResult>>> {
        let ledger = &parts.ledger;
        let next = group::foresee_groups(queue, selected_by, ledger);
        let has_results = |group: &Vec<PlannedMessage>| self.has_results_for(group, ledger);
        if !self.has_results_for(group, ledger) || !next.iter().all(has_results) {
            let queries = self.missing(group, queue, selected_by, ledger);
            let asked_at = ledger.now();
            let results = parts.target.holds(&queries)?;
            for (query, result) in queries.into_iter().zip(results) {
                let LookupQuery { uid, scope, .. } = query;
                let kept = KeptResult {
                    scope,
                    result,
                    asked_at,
                };
                self.kept.insert(uid, kept);
            }
        }
        let mut results = Vec::new();
        for planned in group {
            let query = lookup::query_for_planned(planned);
            results.push(query.map(|query| self.take(&query)));
        }
        Ok(results)
    }

    /// Whether no call of the target is needed for these messages.
    pub fn has_results_for(&self, group: &[PlannedMessage], ledger: &Ledger) -> bool {
        let mut queries = group.iter().filter_map(lookup::query_for_planned);
        queries.all(|query| self.result(&query, ledger.now()).is_some())
    }

    /// Whether this message is certain to be read: Gmail does not have it, or its body decides.
    pub fn must_read(&self, planned: &PlannedMessage, ledger: &Ledger) -> bool {
        let query = lookup::query_for_planned(planned);
        let result = query.and_then(|query| self.result(&query, ledger.now()));
        match (planned.decision, result) {
            (IdentityDecision::CompareBody, _) => true,
            (IdentityDecision::LookUp(_, if_absent), Some(result)) => {
                identity::must_deliver(result, if_absent)
            }
            (IdentityDecision::Known | IdentityDecision::LookUp(..), _) => false,
        }
    }

    /// The queries for a group and for what is behind it, without those that have a result.
    fn missing(
        &self,
        group: &[PlannedMessage],
        queue: &VecDeque<Listed>,
        selected_by: SelectedBy,
        ledger: &Ledger,
    ) -> Vec<LookupQuery> {
        let now = ledger.now();
        let behind = queue.iter().filter_map(|listed| {
            match identity::decide(ledger.state(), listed, selected_by) {
                IdentityDecision::LookUp(scope, _) => Some(lookup::query(listed, scope)),
                IdentityDecision::Known | IdentityDecision::CompareBody => None,
            }
        });
        let queries = group
            .iter()
            .filter_map(lookup::query_for_planned)
            .chain(behind);
        let missing = queries.filter(|query| self.result(query, now).is_none());
        missing.take(MAX_QUERIES).collect()
    }

    fn result(&self, query: &LookupQuery, now: DateTime<Utc>) -> Option<LookupResult> {
        let kept = self.kept.get(&query.uid)?;
        // A negative age: the clock was set back.
        let age = (now - kept.asked_at).abs();
        (kept.scope == query.scope && age <= MAX_AGE).then_some(kept.result)
    }

    fn take(&mut self, query: &LookupQuery) -> LookupResult {
        let kept = self.kept.remove(&query.uid);
        kept.map_or(LookupResult::NotFound, |kept| kept.result)
    }
}
