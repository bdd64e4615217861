//! The only part that records events: each method says what happened to a message.

mod labels;
mod parked;
mod refused;

use std::time::Instant;

use chrono::{DateTime, Utc};
use log::Level;

use crate::error::{Error, Result};
use crate::message::{
    Digest, Identity, InternalDate, Listed, LoggedMessage, MessageId, Uid, UidSet,
};
use crate::state::journal::StateStore;
use crate::state::{Cursor, DatePass, Event, ParkedMessage, PreviousUid, SourceState, State};
use crate::sync::cursor::CursorAdvance;
use crate::sync::in_flight::{InFlight, InFlightMessage};
use crate::sync::ledger::labels::LabelsOfKnown;
use crate::sync::{LookupResult, PassOptions, PassReport, Progress, Receipt};

pub(super) use labels::AtSource;

/// A checkpoint follows this many outcomes.
const CHECKPOINT_INTERVAL: usize = 10;

/// Records events, counts them for the report, and makes checkpoints. The other parts read the
/// state through it.
pub(super) struct Ledger<'a> {
    store: &'a mut StateStore,
    pub progress: &'a mut dyn Progress,
    clock: &'a dyn Fn() -> DateTime<Utc>,
    pub in_flight: InFlight,
    /// The source folder, if there are several.
    one_of_several: Option<String>,
    /// The labels that a known message gets.
    labels_of_known: LabelsOfKnown,
    /// Set while messages above the cursor are copied.
    advance: Option<CursorAdvance>,
    outcomes_since_checkpoint: usize,
    report: PassReport,
    /// When the pass began; for a log line only.
    began: Instant,
}

impl<'a> Ledger<'a> {
    pub fn new(
        store: &'a mut StateStore,
        progress: &'a mut dyn Progress,
        clock: &'a dyn Fn() -> DateTime<Utc>,
        options: &PassOptions,
    ) -> Ledger<'a> {
        Ledger {
            one_of_several: options.one_of_several.clone(),
            labels_of_known: LabelsOfKnown {
                labels: options.labels.clone(),
                if_moved: options.labels_moved,
            },
            store,
            progress,
            clock,
            in_flight: InFlight::default(),
            advance: None,
            outcomes_since_checkpoint: 0,
            report: PassReport::default(),
            began: Instant::now(),
        }
    }

    pub fn state(&self) -> &State {
        self.store.state()
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    pub fn report(&self) -> PassReport {
        self.report
    }

    /// Logs the report, once the pass has ended.
    pub fn log_report(&self, is_complete: bool) {
        let folder = self.one_of_several.as_deref();
        self.report.log(folder, self.began.elapsed(), is_complete);
    }

    /// The parked messages of before this date pass that it has not found again.
    pub fn orphans(&self) -> &[ParkedMessage] {
        self.state().folder.orphans()
    }

    // Settled.

    /// These messages were delivered before.
    pub fn settle_known(&mut self, uids: UidSet) -> Result<()> {
        if uids.is_empty() {
            return Ok(());
        }
        for uid in uids.iter() {
            log::debug!(uid = uid.get(); "uid {uid} was delivered before");
            self.report.known += 1;
            self.progress.settled(0);
        }
        self.store.record(Event::Settled { uids })
    }

    /// This message without Message-ID was delivered before, under another UID.
    pub fn settle_known_octets(
        &mut self,
        listed: &Listed,
        id: MessageId,
        digest: Digest,
        previous: PreviousUid,
        labels: Option<Vec<String>>,
    ) -> Result<()> {
        self.report.known += 1;
        self.progress.settled(0);
        let at = self.now();
        let done = Event::Done {
            uid: listed.uid,
            id: id.clone(),
            digest,
            at,
            appended: false,
            date: listed.internal_date,
            previous: Some(previous),
        };
        match labels {
            None => self.store.record(done),
            Some(labels) => self.record_known_with_labels(done, listed, id, digest, labels),
        }
    }

    /// These messages are gone from the source; those that are parked stay as they are.
    pub fn settle_gone(&mut self, uids: &[Uid]) -> Result<()> {
        let is_parked = |uid: &Uid| self.state().folder.parked.contains_key(uid);
        let uids: UidSet = uids.iter().copied().filter(|uid| !is_parked(uid)).collect();
        if uids.is_empty() {
            return Ok(());
        }
        self.store.record(Event::Settled { uids })
    }

    /// Gmail has this message, or had it: one that the original delivered and that the user deleted
    /// for good. Its identity is recorded in both cases.
    pub fn settle_looked_up(&mut self, listed: &Listed, result: LookupResult) -> Result<()> {
        let report = &mut self.report;
        let (count, what) = if result == LookupResult::Found {
            (&mut report.already_there, "is at Gmail already")
        } else {
            let what = "was delivered before, and is no longer at Gmail";
            (&mut report.known, what)
        };
        *count += 1;
        self.progress.settled(0);
        let logged = LoggedMessage::from(listed);
        logged.log(Level::Info, format_args!("{logged} {what}"));
        self.record_identity(listed)
    }

    /// Records that a listed message needs no append: the parts of its digest that a listing shows.
    pub fn record_identity(&mut self, listed: &Listed) -> Result<()> {
        let uid = listed.uid;
        let Identity { id, header } = listed.identity.clone();
        let Some(id) = id else {
            let uids = UidSet::from_iter([uid]);
            return self.store.record(Event::Settled { uids });
        };
        let digest = Digest::of_header(header);
        let done = self.done(uid, id, digest, listed.internal_date, false);
        self.store.record(done)
    }

    /// Gmail has this message, which was not appended.
    pub fn settle_found(
        &mut self,
        uid: Uid,
        id: MessageId,
        digest: Digest,
        date: InternalDate,
    ) -> Result<()> {
        self.report.already_there += 1;
        let done = self.done(uid, id, digest, date, false);
        self.store.record(done)
    }

    /// Gmail has stored this message.
    pub fn settle_delivered(
        &mut self,
        uid: Uid,
        message: InFlightMessage,
        receipt: &Receipt,
    ) -> Result<()> {
        self.report.appended += 1;
        self.report.octets += message.octets;
        message.log_copied(uid, receipt);
        let date = message.intent.date;
        let done = self.done(uid, message.id, message.digest, date, true);
        match receipt {
            Receipt::Appended(append) => {
                let labels = message.intent.labels.as_ref();
                let place = labels.map(|promised| append.place_in(&promised.folder));
                self.record_with_labels(done, &message.intent, place)
            }
            // It has its labels.
            Receipt::Imported(_) => self.store.record(done),
        }
    }

    fn done(
        &self,
        uid: Uid,
        id: MessageId,
        digest: Digest,
        date: InternalDate,
        appended: bool,
    ) -> Event {
        let date = date.filter(|_| !id.is_from_field());
        Event::Done {
            uid,
            id,
            digest,
            at: self.now(),
            appended,
            date,
            previous: None,
        }
    }

    // Intents, orphans and date passes.

    /// These messages are about to be sent. The intents are durable when this returns: after a
    /// crash each of them is an uncertain append.
    pub fn record_intents(&mut self, intents: Vec<(Uid, InFlightMessage)>) -> Result<()> {
        let events = intents
            .iter()
            .map(|(uid, message)| Event::Intent {
                uid: *uid,
                parked: message.intent.clone(),
                octets: message.octets,
            })
            .collect();
        for (uid, message) in intents {
            self.in_flight.insert(uid, message);
        }
        self.store.record_all(events)?;
        self.store.sync()
    }

    /// This message was not stored: it stands as before its intent. `unsent` of its octets were
    /// certainly not sent, and are no longer counted.
    pub fn return_unsent(
        &mut self,
        uid: Uid,
        before: Option<ParkedMessage>,
        unsent: u64,
    ) -> Result<()> {
        self.store.record(Event::Returned {
            uid,
            before,
            unsent,
        })
    }

    /// A date pass found this orphan under a new UID: it is parked there with all that is known.
    pub fn adopt_orphan(&mut self, uid: Uid, orphan: usize) -> Result<()> {
        self.store.record(Event::OrphanFound { uid, orphan })
    }

    /// Gmail has this orphan.
    pub fn settle_orphan(&mut self, orphan: usize) -> Result<()> {
        self.report.already_there += 1;
        let at = self.now();
        let found = Event::OrphanDelivered { orphan, at };
        match self.orphans().get(orphan).cloned() {
            Some(orphan) => self.record_found(found, &orphan, AtSource::Gone),
            None => self.store.record(found),
        }
    }

    /// Makes a date pass durable before its first message, so that an interrupted one goes on with
    /// the same day.
    pub fn start_date_pass(&mut self, pass: DatePass) -> Result<()> {
        self.store.record(Event::DatePass(pass))?;
        self.store.sync()
    }

    /// Ends a date pass: everything that it considered is settled or parked. Only this may lower
    /// the cursor.
    pub fn end_date_pass(&mut self) -> Result<()> {
        let Some(pass) = &self.state().folder.date_pass else {
            return Ok(());
        };
        let cursor = Cursor {
            source: pass.source.clone(),
            uid_validity: pass.uid_validity,
            uid: pass.uid_next.get() - 1,
        };
        self.store.record(Event::Cursor(cursor))
    }

    /// From now on checkpoints raise the cursor over these messages, and to `last` in the end.
    pub fn start_advance(&mut self, due: Vec<Uid>, last: Uid) {
        let cursor = self.state().folder.cursor.clone();
        self.advance = cursor.map(|cursor| CursorAdvance::new(cursor, due, last));
    }

    /// Raises the cursor over whole runs of settled or parked messages. A message in flight is
    /// neither, although its intent is parked in the state: it may be returned unsent.
    pub fn raise_cursor(&mut self) -> Result<()> {
        let state = self.store.state();
        let in_flight = &self.in_flight;
        let is_done = |uid| state.folder.is_settled_or_parked(uid) && !in_flight.contains(uid);
        let advance = self.advance.as_mut();
        match advance.and_then(|advance| advance.advance(is_done)) {
            Some(cursor) => self.store.record(Event::Cursor(cursor)),
            None => Ok(()),
        }
    }

    /// Counts an outcome; every tenth makes a checkpoint: what is settled becomes durable, and the
    /// cursor with it.
    pub fn count_outcome(&mut self) -> Result<()> {
        self.outcomes_since_checkpoint += 1;
        if self.outcomes_since_checkpoint < CHECKPOINT_INTERVAL {
            return Ok(());
        }
        self.outcomes_since_checkpoint = 0;
        self.raise_cursor()?;
        self.store.sync()
    }

    /// A pass has settled or parked everything that it listed, unless a date pass is still open;
    /// `started` is the time just before its EXAMINE. When nothing is new, this is written once an
    /// hour at most.
    pub fn record_synced(&mut self, started: DateTime<Utc>) -> Result<()> {
        if self.state().folder.date_pass.is_some() {
            return Ok(());
        }
        if self.state().folder.is_last_sync_old(started) || self.store.has_unfolded_events() {
            self.store.record(Event::Synced { at: started })?;
        }
        Ok(())
    }

    /// The server announces a UIDNEXT that a message has already: from now on each pass corrects it, and this
    /// folder has one in each run.
    pub fn record_wrong_uid_next(&mut self) -> Result<()> {
        let source = SourceState {
            wrong_uid_next: true,
            ..self.state().source.clone()
        };
        self.store
            .record_all(vec![Event::Source(source), Event::WrongUidNext])
    }

    /// The source mailbox was verified to be the same one under another name.
    pub fn record_renamed_source(&mut self, source: &str) -> Result<()> {
        self.store.record(Event::SourceRenamed(source.to_owned()))
    }

    /// Records what later runs must know of the failure that ends the pass, and makes everything
    /// durable.
    pub fn record_failure(&mut self, failure: &Error) -> Result<()> {
        if let Some(consequence) = failure.consequence() {
            let gmail = self.state().gmail.after_failure(consequence, self.now());
            self.store.record(Event::Gmail(gmail))?;
        }
        self.store.sync()
    }
}
