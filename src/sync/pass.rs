//! One pass, step by step.

use chrono::{DateTime, Utc};

use crate::error::{ErrorKind, Result};
use crate::message::{Listed, Mailbox, Uid};
use crate::state::DatePass;
use crate::state::journal::StateStore;
use crate::sync::action::{Action, Parts};
use crate::sync::copy::Copy;
use crate::sync::deliver::Delivery;
use crate::sync::dry_run::DryRun;
use crate::sync::fetch::{Fetch, PAGE_SIZE};
use crate::sync::identity::SelectedBy;
use crate::sync::ledger::Ledger;
use crate::sync::plan::{DatePassStart, Due};
use crate::sync::{DryRunResult, PassReport, Progress, Source, Target, plan, retry_parked};

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
    /// written. What settled before stays settled.
    pub fn run(self, mailbox: &Mailbox, started: DateTime<Utc>) -> Result<PassReport> {
        let (mut parts, options) = self.into_parts();
        let mut copy = Copy {
            delivery: Delivery::new(options.copy_flags, options.daily_upload_limit),
        };
        let done = Steps {
            mailbox,
            options,
            action: &mut copy,
            parts: &mut parts,
        }
        .run()
        .and_then(|()| parts.ledger.record_synced(started));
        finish(done, copy.delivery, parts)
    }

    /// Reports each message that a pass would consider, and copies nothing. The store must have
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
    ) -> Result<()> {
        let (mut parts, options) = self.into_parts();
        let mut dry_run = DryRun::new(can_ask_gmail, report);
        Steps {
            mailbox,
            options,
            action: &mut dry_run,
            parts: &mut parts,
        }
        .run()?;
        dry_run.report_parked(&mut parts)
    }

    fn into_parts(self) -> (Parts<'a>, &'a PassOptions) {
        let parts = Parts {
            fetch: Fetch::new(self.source),
            target: self.target,
            ledger: Ledger::new(self.store, self.progress, self.now),
        };
        (parts, self.options)
    }
}

/// Ends a pass: every submitted message gets its outcome recorded, whatever happened before.
fn finish(done: Result<()>, mut delivery: Delivery, parts: Parts<'_>) -> Result<PassReport> {
    let Parts {
        target, mut ledger, ..
    } = parts;
    if done
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::Disk)
    {
        // No outcome can be recorded; the intents are already on disk.
        let _ = target.finish();
        return done.map(|()| ledger.report());
    }
    let finished = delivery.finish(target, &mut ledger);
    let failure = match (done, finished) {
        (Ok(()), Ok(())) => return Ok(ledger.report()),
        (Err(error), Ok(())) | (Ok(()), Err(error)) => error,
        (Err(first), Err(second)) => first.worse(second),
    };
    if let Some(consequence) = failure.consequence() {
        ledger.record_consequence(consequence)?;
    }
    ledger.sync()?;
    Err(failure)
}

#[derive(PartialEq, Eq)]
enum RoundEnd {
    DatePassEnded,
    /// A date pass waits for an orphan, or the round was none.
    Other,
}

/// The steps of a pass, whatever its action is.
struct Steps<'s, 'a> {
    mailbox: &'s Mailbox,
    options: &'s PassOptions,
    action: &'s mut dyn Action,
    parts: &'s mut Parts<'a>,
}

impl Steps<'_, '_> {
    fn run(&mut self) -> Result<()> {
        if self.run_round()? == RoundEnd::DatePassEnded {
            // A resumed date pass considers only what was there when it began; what came later is
            // above the cursor that it leaves.
            self.run_round()?;
        }
        Ok(())
    }

    fn run_round(&mut self) -> Result<RoundEnd> {
        let ledger = &self.parts.ledger;
        let plan = plan::due(
            ledger.state(),
            self.mailbox,
            &self.options.source,
            self.options.first_run_days,
            ledger.now(),
        );
        self.action.start_round(&plan, self.parts)?;
        let is_by_date = match plan.due {
            Due::Nothing => false,
            Due::Between(first, last) => {
                self.handle_above_cursor(first, last)?;
                false
            }
            Due::ByDate(pass, start) => {
                if start == DatePassStart::New {
                    self.parts.ledger.start_date_pass(pass.clone())?;
                }
                self.handle_by_date(&pass)?;
                true
            }
        };
        self.action.finish_round(self.parts)?;
        if !is_by_date {
            self.parts.ledger.raise_cursor()?;
            self.parts.ledger.end_advance();
            return Ok(RoundEnd::Other);
        }
        if !self.action.finish_date_pass(self.parts)? {
            return Ok(RoundEnd::Other);
        }
        self.parts.ledger.end_date_pass()?;
        Ok(RoundEnd::DatePassEnded)
    }

    /// Handles the messages above the cursor.
    fn handle_above_cursor(&mut self, first: Uid, last: Uid) -> Result<()> {
        let Parts { fetch, ledger, .. } = &mut *self.parts;
        let uids = fetch.search_between(self.mailbox, first, last)?;
        ledger.start_advance(uids.clone(), last);
        self.handle(uids, SelectedBy::Uid, &|_| true)
    }

    /// Handles the messages that a date pass considers, and finds orphans among them.
    fn handle_by_date(&mut self, pass: &DatePass) -> Result<()> {
        if self.mailbox.exists == 0 {
            return Ok(());
        }
        let Parts { fetch, ledger, .. } = &mut *self.parts;
        let found = fetch.search_by_date(pass, ledger.orphans())?;
        let is_considered = |listed: &Listed| {
            found.since.contains(listed.uid) && plan::is_late_enough(pass, listed)
        };
        self.handle(found.all.iter().collect(), SelectedBy::Date, &is_considered)
    }

    /// Lists the messages that are not settled or parked, page by page, and handles those that are
    /// considered.
    fn handle(
        &mut self,
        mut uids: Vec<Uid>,
        selected_by: SelectedBy,
        is_considered: &dyn Fn(&Listed) -> bool,
    ) -> Result<()> {
        let state = self.parts.ledger.state();
        uids.retain(|uid| !state.is_settled_or_parked(*uid));
        let mut remaining = uids.len();
        for page in uids.chunks(PAGE_SIZE) {
            let Parts {
                fetch,
                target,
                ledger,
            } = &mut *self.parts;
            let mut listed = fetch.list(page, ledger)?;
            retry_parked::find_orphans(&mut listed, ledger)?;
            listed.retain(is_considered);
            remaining -= page.len();
            let backlog = remaining + listed.len();
            let oldest = listed.iter().filter_map(|listed| listed.internal_date);
            ledger.show_backlog(backlog);
            target.announce_backlog(backlog, oldest.min());
            self.action.handle_page(listed, selected_by, self.parts)?;
        }
        Ok(())
    }
}
