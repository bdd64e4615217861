//! The engine: one pass over a source mailbox, step by step, and what each outcome means.
//!
//! Single-threaded and deterministic: what runs side by side is the target's affair, which hands
//! back outcomes only.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{ErrorKind, Result};
use crate::message::{Digest, FETCH_PAGE_SIZE, Listed, Mailbox, MessageId, Uid, UidSet};
use crate::retry::PARKED_MESSAGE;
use crate::state::journal::StateStore;
use crate::state::{Cursor, DatePass, Event, ParkedMessage};
use crate::sync::plan::{DatePassStart, Due, SelectedBy};
use crate::sync::{Pass, PassOptions, PassReport, Progress, Source, SourceSearch, Target, plan};
use crate::timestamp::format_time;

/// `last_sync` is written at least this often when nothing is new.
const SYNCED_STEP: TimeDelta = TimeDelta::hours(1);

/// A pass and what it works on.
pub(super) struct Engine<'a> {
    pub source: &'a mut dyn Source,
    pub target: &'a mut dyn Target,
    pub store: &'a mut StateStore,
    pub settings: &'a PassOptions,
    pub progress: &'a mut dyn Progress,
    pub now: &'a dyn Fn() -> DateTime<Utc>,
    pub report: PassReport,
    /// Submitted, and their outcome is not known yet.
    pub in_flight: HashMap<Uid, InFlight>,
    /// Sent once with the answer lost, and now known not to have been stored.
    pub not_stored: HashSet<Uid>,
    frontier: Option<CursorAdvance>,
    pub parked_in_a_row: u32,
    pub since_checkpoint: usize,
}

/// A message on its way.
pub(super) struct InFlight {
    pub id: MessageId,
    pub digest: Digest,
    pub octets: u64,
    /// How it stands until its outcome is known.
    pub intent: ParkedMessage,
    /// How it stood before, if it was parked.
    pub before: Option<ParkedMessage>,
}

/// How far everything above the cursor is settled or parked.
struct CursorAdvance {
    cursor: Cursor,
    /// What is due, ascending, of which the first `passed` are dealt with.
    due: Vec<Uid>,
    passed: usize,
    /// Where the cursor comes to stand when all is dealt with.
    last: Uid,
}

impl<'a> Engine<'a> {
    pub fn new(pass: Pass<'a>) -> Engine<'a> {
        let Pass {
            source,
            target,
            store,
            settings,
            progress,
            now,
        } = pass;
        Engine {
            source,
            target,
            store,
            settings,
            progress,
            now,
            report: PassReport::default(),
            in_flight: HashMap::new(),
            not_stored: HashSet::new(),
            frontier: None,
            parked_in_a_row: 0,
            since_checkpoint: 0,
        }
    }

    /// Does the pass. Whatever happens, every message submitted has its outcome recorded.
    pub fn run(mut self, mailbox: &Mailbox, started: DateTime<Utc>) -> Result<PassReport> {
        let done = self.pass(mailbox, started);
        // After an error of the disk nothing can be recorded; the intents stand there already.
        if done
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Disk)
        {
            let _ = self.target.finish();
            return done.map(|()| self.report);
        }
        let finished = self.finish();
        let failed = match (done, finished) {
            (Ok(()), Ok(())) => return Ok(self.report),
            (Err(error), Ok(())) | (Ok(()), Err(error)) => error,
            (Err(first), Err(second)) => first.more_severe(second),
        };
        if let Some(consequence) = failed.consequence() {
            self.remember(consequence)?;
        }
        self.store.sync()?;
        Err(failed)
    }

    fn pass(&mut self, mailbox: &Mailbox, started: DateTime<Utc>) -> Result<()> {
        // A pass by date that was cut short considers what was there when it began; what came
        // later is above the cursor that it leaves.
        let mut last = self.round(mailbox)?;
        if last == RoundResult::ByDate {
            last = self.round(mailbox)?;
        }
        let age = self.store.state().last_sync.map(|last| started - last);
        if last == RoundResult::Unfinished {
            return Ok(());
        }
        if self.store.has_unfolded_events()
            || age.is_none_or(|age| age >= SYNCED_STEP || age < TimeDelta::zero())
        {
            self.store.record(Event::Synced { at: started })?;
        }
        Ok(())
    }

    fn round(&mut self, mailbox: &Mailbox) -> Result<RoundResult> {
        let now = (self.now)();
        let plan = plan::due(
            self.store.state(),
            mailbox,
            &self.settings.source,
            self.settings.first_run_days,
            now,
        );
        self.look_up_uncertain(&plan.parked)?;
        let round = match plan.due {
            Due::Nothing => RoundResult::AboveCursor,
            Due::Between(first, last) => {
                self.copy_between(mailbox, first, last)?;
                RoundResult::AboveCursor
            }
            Due::ByDate(pass, begun) => {
                if begun == DatePassStart::New {
                    self.begin(&pass)?;
                }
                self.copy_by_date(mailbox, &pass)?;
                RoundResult::ByDate
            }
        };
        self.retry_parked()?;
        self.finish()?;
        match round {
            RoundResult::ByDate => self.end_date_pass()?,
            RoundResult::AboveCursor | RoundResult::Unfinished => self.raise_cursor()?,
        }
        self.frontier = None;
        let is_open = self.store.state().date_pass.is_some();
        Ok(if is_open {
            RoundResult::Unfinished
        } else {
            round
        })
    }

    /// Copies what lies above the cursor.
    fn copy_between(&mut self, mailbox: &Mailbox, first: Uid, last: Uid) -> Result<()> {
        let is_narrow =
            (last.get() - first.get()) < u32::try_from(FETCH_PAGE_SIZE).unwrap_or(u32::MAX);
        let due = if mailbox.exists == 0 {
            Vec::new()
        } else if is_narrow {
            // As good as a search, and saves one: a UID that is not there is confirmed as gone.
            (first.get()..=last.get()).filter_map(Uid::new).collect()
        } else {
            let mut range = UidSet::default();
            range.insert_range(first, last);
            self.source.search(&SourceSearch::Uids(range))?
        };
        let due: Vec<Uid> = due
            .into_iter()
            .filter(|uid| first <= *uid && *uid <= last)
            .collect();
        self.frontier = self
            .store
            .state()
            .cursor
            .clone()
            .map(|cursor| CursorAdvance {
                cursor,
                due: due.clone(),
                passed: 0,
                last,
            });
        let todo: Vec<Uid> = due
            .into_iter()
            .filter(|uid| !self.store.state().is_settled_or_parked(*uid))
            .collect();
        let mut left = todo.len();
        for page in todo.chunks(FETCH_PAGE_SIZE) {
            let listed = self.list(page)?;
            left -= page.len();
            self.announce(left, &listed);
            self.copy(listed, SelectedBy::Uid)?;
        }
        Ok(())
    }

    fn begin(&mut self, pass: &DatePass) -> Result<()> {
        log::info!(
            "{}: copying what arrived since {}",
            crate::untrusted::Untrusted::new(&self.settings.source),
            format_time(pass.since)
        );
        self.store.record(Event::DatePass(pass.clone()))?;
        self.store.sync()
    }

    /// Copies what this pass by date considers, and finds what was parked before it.
    fn copy_by_date(&mut self, mailbox: &Mailbox, pass: &DatePass) -> Result<()> {
        if mailbox.exists == 0 {
            return Ok(());
        }
        let strays = self.strays().to_vec();
        let mut asked: UidSet =
            self.search_below(&SourceSearch::Since(plan::ask_since(pass)), pass)?;
        let since = asked.clone();
        for day in plan::ask_on(strays.iter()) {
            self.search_below(&SourceSearch::On(day), pass)?
                .iter()
                .for_each(|uid| asked.insert(uid));
        }
        let todo: Vec<Uid> = asked
            .iter()
            .filter(|uid| !self.store.state().is_settled_or_parked(*uid))
            .collect();
        let mut left = todo.len();
        for page in todo.chunks(FETCH_PAGE_SIZE) {
            let mut listed = self.list(page)?;
            self.find_strays(&mut listed)?;
            listed
                .retain(|listed| since.contains(listed.uid) && plan::is_late_enough(pass, listed));
            left -= page.len();
            self.announce(left, &listed);
            self.copy(listed, SelectedBy::Date)?;
        }
        Ok(())
    }

    /// Tells who looks on, and the target, how much is to come.
    fn announce(&mut self, left: usize, listed: &[Listed]) {
        let backlog = left + listed.len();
        let oldest = listed.iter().filter_map(|listed| listed.internal_date);
        self.progress.backlog(backlog);
        self.target.announce_backlog(backlog, oldest.min());
    }

    fn search_below(&mut self, search: &SourceSearch, pass: &DatePass) -> Result<UidSet> {
        let found = self.source.search(search)?;
        Ok(found
            .into_iter()
            .filter(|uid| *uid < pass.uid_next)
            .collect())
    }

    /// Lists messages. What the server does not speak of is gone only if a search shows it no
    /// longer; else it is asked for once more, and then parked.
    pub fn list(&mut self, uids: &[Uid]) -> Result<Vec<Listed>> {
        let mut listed = self.source.list(&uids.iter().copied().collect())?;
        let silent = self.settle_gone(&missing(uids, &listed))?;
        if !silent.is_empty() {
            listed.extend(self.source.list(&silent.iter().copied().collect())?);
            listed.sort_by_key(|listed| listed.uid);
            for uid in missing(&silent, &listed) {
                self.park_unlisted(uid)?;
            }
        }
        Ok(listed)
    }

    /// Of these, settles what a search shows no longer, and gives back the rest.
    pub fn settle_gone(&mut self, uids: &[Uid]) -> Result<Vec<Uid>> {
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let there = self
            .source
            .search(&SourceSearch::Uids(uids.iter().copied().collect()))?;
        let gone: UidSet = uids
            .iter()
            .copied()
            .filter(|uid| !there.contains(uid) && !self.store.state().parked.contains_key(uid))
            .collect();
        if !gone.is_empty() {
            self.store.record(Event::Settled { uids: gone })?;
        }
        Ok(uids
            .iter()
            .copied()
            .filter(|uid| there.contains(uid))
            .collect())
    }

    fn park_unlisted(&mut self, uid: Uid) -> Result<()> {
        let now = (self.now)();
        let before = self.store.state().parked.get(&uid).cloned();
        let tries = before.as_ref().map_or(0, |before| before.tries) + 1;
        let why = "the source says that it is there, and nothing else of it";
        log::warn!("uid {uid} parked: {why}");
        let parked = before.unwrap_or(ParkedMessage {
            id: None,
            date: None,
            digest: None,
            since: now,
            tries,
            retry_after: now,
            why: why.to_owned(),
            sent: None,
        });
        self.report.parked += 1;
        self.store.record(Event::Parked {
            uid,
            parked: ParkedMessage {
                tries,
                retry_after: now + PARKED_MESSAGE.delay_after(tries),
                why: why.to_owned(),
                ..parked
            },
        })
    }

    /// Moves the cursor over whole runs of what is settled or parked. What is on its way is
    /// neither: it may come back.
    pub fn raise_cursor(&mut self) -> Result<()> {
        let Some(frontier) = &mut self.frontier else {
            return Ok(());
        };
        let state = self.store.state();
        while let Some(uid) = frontier.due.get(frontier.passed) {
            if !state.is_settled_or_parked(*uid) || self.in_flight.contains_key(uid) {
                break;
            }
            frontier.passed += 1;
        }
        let raised = match frontier.due.get(frontier.passed) {
            Some(open) => open.get() - 1,
            None => frontier.last.get(),
        };
        if raised > frontier.cursor.uid {
            frontier.cursor.uid = raised;
            self.store.record(Event::Cursor(frontier.cursor.clone()))?;
        }
        Ok(())
    }

    /// Ends a pass by date: all that it considered is settled or parked, and the strays are found
    /// or given up. Only this may lower the cursor.
    fn end_date_pass(&mut self) -> Result<()> {
        self.give_up_strays()?;
        let Some(pass) = self.store.state().date_pass.clone() else {
            return Ok(());
        };
        if !pass.orphans.is_empty() {
            // Sent less than a minute ago: the next run goes on with this pass.
            return Ok(());
        }
        self.store.record(Event::Cursor(Cursor {
            source: pass.source,
            uid_validity: pass.uid_validity,
            uid: pass.uid_next.get() - 1,
        }))
    }
}

/// What a round was, and so whether another follows.
#[derive(PartialEq, Eq)]
enum RoundResult {
    /// By date, and it came to its end: what came later is above its cursor.
    ByDate,
    /// By date, and something must be waited for.
    Unfinished,
    /// Above the cursor.
    AboveCursor,
}

/// The UIDs that a listing does not speak of.
fn missing(uids: &[Uid], listed: &[Listed]) -> Vec<Uid> {
    let there: HashSet<Uid> = listed.iter().map(|listed| listed.uid).collect();
    uids.iter()
        .copied()
        .filter(|uid| !there.contains(uid))
        .collect()
}
