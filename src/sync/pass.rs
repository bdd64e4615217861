//! One pass, step by step.

use chrono::{DateTime, Utc};

use crate::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use crate::message::{FETCH_PAGE_SIZE, Listed, Mailbox, Uid};
use crate::state::DatePass;
use crate::state::journal::StateStore;
use crate::sync::action::{Action, Parts};
use crate::sync::copy::Copy;
use crate::sync::deliver::Delivery;
use crate::sync::dry_run::DryRun;
use crate::sync::fetch::Fetch;
use crate::sync::identity::SelectedBy;
use crate::sync::label_policy::LabelPolicy;
use crate::sync::ledger::Ledger;
use crate::sync::plan::{DatePassStart, Due, Plan};
use crate::sync::{
    CompletedPass, DryRunResult, DryRunTotal, ImportPolicy, Progress, Source, Target, plan,
    retry_parked,
};
use crate::untrusted::Untrusted;

/// A long listing begins with a short page: its messages are copied while most of it is still to be
/// listed.
const FIRST_PAGE_SIZE: usize = 50;

/// One pass: what it works on.
pub struct Pass<'a> {
    /// The source mailbox.
    pub source: &'a mut dyn Source,
    /// The target mailbox.
    pub target: &'a mut dyn Target,
    /// The state.
    pub store: &'a mut StateStore,
    /// The options.
    pub options: &'a PassOptions,
    /// The display of its progress.
    pub progress: &'a mut dyn Progress,
    /// The clock.
    pub now: &'a dyn Fn() -> DateTime<Utc>,
}

/// The options of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassOptions {
    /// The source mailbox: `user@host/folder`.
    pub source: String,
    /// A first run copies the messages of this many days.
    pub first_run_days: u32,
    /// Whether `\Seen`, `\Flagged` and `\Answered` are copied.
    pub copy_flags: bool,
    /// The most octets to send in 24 hours, if limited.
    pub daily_upload_limit: Option<u64>,
    /// Also copy what was received since this time; of a first run, instead of `first_run_days`.
    pub since: Option<DateTime<Utc>>,
    /// The folder that messages are appended to.
    pub target_folder: String,
    /// The source folder, if there are several: the report names it.
    pub one_of_several: Option<String>,
    /// The labels that a message gets when it is stored.
    pub labels: Vec<String>,
    /// Whether also a message gets them that was delivered before, and is moved to this folder.
    pub labels_moved: bool,
    /// Whether owed labels are set: not if that has failed in this run, in a pass over another folder.
    pub sets_labels: bool,
    /// Which messages are imported, if any.
    pub import: Option<ImportPolicy>,
}

impl<'a> Pass<'a> {
    /// Copies every new message. `started` is the time just before the EXAMINE that returned
    /// `mailbox`.
    ///
    /// Everything that happened is in the journal when this returns, also after an error; folding
    /// it is up to the caller.
    ///
    /// # Errors
    /// A server is unavailable or rejects the login, the account must rest, or the state cannot be
    /// written. What settled before stays settled. That labels cannot be set is no error of the pass.
    pub fn run(self, mailbox: &Mailbox, started: DateTime<Utc>) -> Result<CompletedPass> {
        let mut copy = Copy {
            delivery: Delivery::new(self.options),
        };
        let mut steps = self.steps(*mailbox);
        let done = steps.run(&mut copy);
        let done = done.and_then(|()| steps.parts.ledger.record_synced(started));
        finish(done, copy.delivery, steps.parts)
    }

    /// Reports each message that a pass would consider, and the total; copies nothing. The store must have
    /// been loaded read-only; without a valid token the target is a [`NullTarget`].
    ///
    /// # Errors
    /// As for [`run`](Pass::run).
    ///
    /// [`NullTarget`]: crate::sync::NullTarget
    pub fn dry_run(
        self,
        mailbox: &Mailbox,
        can_ask_gmail: bool,
        report: &mut dyn FnMut(&Listed, DryRunResult),
    ) -> Result<DryRunTotal> {
        let mut dry_run = DryRun::new(can_ask_gmail, report);
        let mut steps = self.steps(*mailbox);
        steps.run(&mut dry_run)?;
        dry_run.finish(&mut steps.parts)
    }

    fn steps(self, mailbox: Mailbox) -> Steps<'a> {
        Steps {
            mailbox,
            went_back_to: None,
            options: self.options,
            parts: Parts {
                fetch: Fetch::new(self.source),
                target: self.target,
                ledger: Ledger::new(self.store, self.progress, self.now, self.options),
            },
        }
    }
}

/// Ends a pass: every submitted message gets its outcome recorded, whatever happened before.
fn finish(done: Result<()>, mut delivery: Delivery, parts: Parts<'_>) -> Result<CompletedPass> {
    let Parts {
        target, mut ledger, ..
    } = parts;
    if let Err(error) = &done
        && error.kind() == ErrorKind::Disk
    {
        // No outcome can be recorded; the intents are already on disk.
        let _ = target.finish();
        ledger.log_report(false);
        return Err(error.clone());
    }
    let mut finished = delivery.finish(target, &mut ledger);
    let mut labels = Ok(());
    if finished.is_ok() && done.as_ref().err().is_none_or(permits_labels) {
        match delivery.labels.set_all(target, &mut ledger) {
            Ok(set) => labels = set,
            Err(error) => finished = Err(error),
        }
    }
    ledger.log_report(done.is_ok() && finished.is_ok());
    let failure = match (done, finished) {
        (Ok(()), Ok(())) => {
            let report = ledger.report();
            return Ok(CompletedPass { report, labels });
        }
        (Err(error), Ok(())) | (Ok(()), Err(error)) => error,
        (Err(first), Err(second)) => first.more_severe(second),
    };
    ledger.record_failure(&failure)?;
    Err(failure)
}

/// Whether labels can be set after this error: Gmail has not failed. The next run may be hours away.
fn permits_labels(error: &Error) -> bool {
    let daily_limit = Consequence::Rest(RestReason::DailyLimit);
    error.side() != Side::Gmail || error.consequence() == Some(&daily_limit)
}

/// How a round ended.
#[derive(PartialEq, Eq)]
enum RoundEnd {
    DatePassEnded,
    /// The round was no date pass, or the date pass waits for an orphan.
    Other,
}

/// The steps of a pass, whatever its action is.
struct Steps<'a> {
    mailbox: Mailbox,
    /// The beginning of the last date pass of this pass.
    went_back_to: Option<DateTime<Utc>>,
    options: &'a PassOptions,
    parts: Parts<'a>,
}

impl Steps<'_> {
    fn run(&mut self, action: &mut dyn Action) -> Result<()> {
        self.adopt_renamed_mailbox()?;
        self.correct_uid_next()?;
        if self.run_round(action)? == RoundEnd::DatePassEnded {
            // A resumed date pass considers only what was there when it began; what came later is
            // above the cursor that it leaves.
            self.run_round(action)?;
        }
        self.go_back(action)
    }

    /// Copies what was received since the requested time. What is above the cursor was copied before,
    /// because a date pass selects by date only, and ends with the cursor above it.
    fn go_back(&mut self, action: &mut dyn Action) -> Result<()> {
        let ledger = &self.parts.ledger;
        let is_reached = |since| self.went_back_to.is_some_and(|reached| reached <= since);
        let Some(since) = self.options.since.filter(|since| !is_reached(*since)) else {
            return Ok(());
        };
        let (state, now) = (ledger.state(), ledger.now());
        let pass = plan::date_pass_since(since, state, &self.mailbox, &self.options.source, now);
        let pass = DatePass {
            keeps_uids: true,
            ..pass
        };
        let plan = Plan {
            due: Due::ByDate(pass, DatePassStart::New),
            parked: Vec::new(),
        };
        self.carry_out(plan, action).map(drop)
    }

    /// A mailbox with another name, of a server that was renamed for instance, may be the same one:
    /// then the cursor holds. Otherwise a date pass follows.
    fn adopt_renamed_mailbox(&mut self) -> Result<()> {
        let Parts { fetch, ledger, .. } = &mut self.parts;
        let state = ledger.state();
        let (name, source) = (&self.options.source, state.folder.source_mailbox());
        let Some((before, _)) = source.filter(|(before, _)| before != name) else {
            return Ok(());
        };
        let before = Untrusted::new(before).to_string();
        if fetch.is_mailbox_of(state, &self.mailbox)? {
            log::info!(
                "{} is the same mailbox as {before}; going on where that one ended",
                Untrusted::new(name)
            );
            ledger.record_renamed_source(name)?;
        }
        Ok(())
    }

    /// A UIDNEXT that is too low hides new messages. It is checked where the state knows of higher
    /// UIDs, at a server where it was wrong before, and as often as `last_sync` is written when
    /// nothing is new.
    fn correct_uid_next(&mut self) -> Result<()> {
        let Parts { fetch, ledger, .. } = &mut self.parts;
        let announced = self.mailbox.uid_next;
        let state = ledger.state();
        let was_wrong = state.source.wrong_uid_next;
        let is_suspect = was_wrong
            || announced.get() <= state.folder.highest_uid()
            || state.folder.is_last_sync_old(ledger.now());
        if self.mailbox.exists == 0 || !is_suspect {
            return Ok(());
        }
        let Some(uid_next) = fetch.correct_uid_next(&self.mailbox)? else {
            return Ok(());
        };
        if !ledger.state().folder.wrong_uid_next {
            log::warn!(
                "{}: the server announces uid {announced} for the next message, and has messages up \
                 to uid {}; from now on each run looks for higher ones",
                Untrusted::new(&self.options.source),
                uid_next.get() - 1
            );
            ledger.record_wrong_uid_next()?;
        }
        self.mailbox.uid_next = uid_next;
        Ok(())
    }

    fn run_round(&mut self, action: &mut dyn Action) -> Result<RoundEnd> {
        let ledger = &self.parts.ledger;
        let plan = plan::due(
            ledger.state(),
            &self.mailbox,
            &self.options.source,
            self.options.first_run_days,
            self.options.since,
            ledger.now(),
        );
        self.carry_out(plan, action)
    }

    fn carry_out(&mut self, plan: Plan, action: &mut dyn Action) -> Result<RoundEnd> {
        action.start_round(&plan, &mut self.parts)?;
        let is_by_date = match plan.due {
            Due::Nothing => false,
            Due::Between(first, last) => {
                self.handle_above_cursor(action, first, last)?;
                false
            }
            Due::ByDate(pass, start) => {
                let is_first = self.parts.ledger.state().folder.is_unsynced();
                let ledger = &mut self.parts.ledger;
                if start == DatePassStart::New {
                    ledger.start_date_pass(pass.clone())?;
                }
                if is_first {
                    // A wrong target is noticed now, not when the first mail comes. The date pass is
                    // recorded before: it says since when mail is due.
                    let status = self.parts.target.status()?;
                    LabelPolicy::new(self.options).check_support(status)?;
                }
                self.handle_by_date(action, &pass)?;
                self.went_back_to = Some(pass.since);
                true
            }
        };
        action.finish_round(&mut self.parts)?;
        if !is_by_date {
            self.parts.ledger.raise_cursor()?;
        } else if action.finish_date_pass(&mut self.parts)? {
            self.parts.ledger.end_date_pass()?;
            return Ok(RoundEnd::DatePassEnded);
        }
        Ok(RoundEnd::Other)
    }

    /// Handles the messages above the cursor.
    fn handle_above_cursor(
        &mut self,
        action: &mut dyn Action,
        first: Uid,
        last: Uid,
    ) -> Result<()> {
        let Parts { fetch, ledger, .. } = &mut self.parts;
        let uids = fetch.search_between(&self.mailbox, first, last)?;
        ledger.start_advance(uids.clone(), last);
        self.handle(action, uids, SelectedBy::Uid, &|_| true)
    }

    /// Handles the messages that a date pass considers, and finds orphans among them.
    fn handle_by_date(&mut self, action: &mut dyn Action, pass: &DatePass) -> Result<()> {
        if self.mailbox.exists == 0 {
            return Ok(());
        }
        let Parts { fetch, ledger, .. } = &mut self.parts;
        let found = fetch.search_by_date(pass, ledger.orphans())?;
        let is_considered = |listed: &Listed| {
            found.since.contains(listed.uid) && plan::is_late_enough(pass, listed)
        };
        self.handle(
            action,
            found.all.iter().collect(),
            SelectedBy::Date,
            &is_considered,
        )
    }

    /// Lists the messages that are not settled or parked, page by page, and handles those that are
    /// considered.
    fn handle(
        &mut self,
        action: &mut dyn Action,
        mut uids: Vec<Uid>,
        selected_by: SelectedBy,
        is_considered: &dyn Fn(&Listed) -> bool,
    ) -> Result<()> {
        let state = self.parts.ledger.state();
        uids.retain(|uid| !state.folder.is_settled_or_parked(*uid));
        let mut remaining = uids.len();
        for page in pages(&uids) {
            let Parts {
                fetch,
                target,
                ledger,
            } = &mut self.parts;
            let mut listed = fetch.list(page, ledger)?;
            retry_parked::find_orphans(&mut listed, ledger)?;
            listed.retain(is_considered);
            remaining -= page.len();
            let backlog = remaining + listed.len();
            let oldest = listed.iter().filter_map(|listed| listed.internal_date);
            ledger.progress.backlog(backlog);
            target.announce_backlog(backlog, oldest.min());
            action.handle_page(listed, selected_by, &mut self.parts)?;
        }
        Ok(())
    }
}

/// Divides what is to be listed into pages.
fn pages(uids: &[Uid]) -> impl Iterator<Item = &[Uid]> {
    let is_long = uids.len() > FETCH_PAGE_SIZE;
    let (first, others) = uids.split_at(if is_long { FIRST_PAGE_SIZE } else { 0 });
    let first = Some(first).filter(|page| !page.is_empty());
    first.into_iter().chain(others.chunks(FETCH_PAGE_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_listing_begins_with_a_short_page() {
        for (count, expected) in [
            (0, vec![]),
            (500, vec![500]),
            (501, vec![50, 451]),
            (1_200, vec![50, 500, 500, 150]),
        ] {
            let uids: Vec<Uid> = (1..=count).filter_map(Uid::new).collect();
            let sizes: Vec<usize> = pages(&uids).map(<[Uid]>::len).collect();
            assert_eq!(sizes, expected, "{count}");
        }
    }
}
