//! The only part that records events: each method says what happened to a message.

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Error, Result};
use crate::message::{Digest, Identity, Listed, MessageId, Uid, UidSet};
use crate::retry::PARKED_MESSAGE;
use crate::state::journal::StateStore;
use crate::state::{Cursor, DatePass, Event, ParkedMessage, RefusedMessage, State};
use crate::sync::cursor::CursorAdvance;
use crate::sync::in_flight::{InFlight, InFlightMessage};
use crate::sync::{AppendUid, LookupResult, PassReport, Progress, identity};

/// A checkpoint follows this many outcomes.
const CHECKPOINT_INTERVAL: usize = 10;

/// `last_sync` is written at least this often when nothing is new.
const LAST_SYNC_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// Why a parked message is refused that is no longer at the source.
const LEFT_SOURCE: &str = "it left the source before Gmail took it";

/// Records events, counts them for the report, and makes checkpoints. The other parts read the
/// state through it.
pub(super) struct Ledger<'a> {
    store: &'a mut StateStore,
    pub progress: &'a mut dyn Progress,
    clock: &'a dyn Fn() -> DateTime<Utc>,
    pub in_flight: InFlight,
    /// Set while messages above the cursor are copied.
    advance: Option<CursorAdvance>,
    outcomes_since_checkpoint: usize,
    report: PassReport,
}

impl<'a> Ledger<'a> {
    pub fn new(
        store: &'a mut StateStore,
        progress: &'a mut dyn Progress,
        clock: &'a dyn Fn() -> DateTime<Utc>,
    ) -> Ledger<'a> {
        Ledger {
            store,
            progress,
            clock,
            in_flight: InFlight::default(),
            advance: None,
            outcomes_since_checkpoint: 0,
            report: PassReport::default(),
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

    /// The parked messages of before this date pass that it has not found again.
    pub fn orphans(&self) -> &[ParkedMessage] {
        let pass = self.state().date_pass.as_ref();
        pass.map_or(&[], |pass| pass.orphans.as_slice())
    }

    // Settled.

    /// These messages were delivered before.
    pub fn settle_known(&mut self, uids: UidSet) -> Result<()> {
        if uids.is_empty() {
            return Ok(());
        }
        for uid in uids.iter() {
            log::debug!("uid {uid} was delivered before");
            self.report.known += 1;
            self.progress.settled(0);
        }
        self.store.record(Event::Settled { uids })
    }

    /// These messages are gone from the source; those that are parked stay as they are.
    pub fn settle_gone(&mut self, uids: &[Uid]) -> Result<()> {
        let is_parked = |uid: &Uid| self.state().parked.contains_key(uid);
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
        if let Some(id) = &listed.identity.id {
            log::info!("{id} (uid {}) {what}", listed.uid);
        }
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
        self.record_done(uid, id, Digest::of_header(header), false)
    }

    /// Gmail has this parked message.
    pub fn settle_found(&mut self, uid: Uid, id: MessageId, digest: Digest) -> Result<()> {
        self.report.already_there += 1;
        self.record_done(uid, id, digest, false)
    }

    /// Gmail has stored this message.
    pub fn settle_appended(
        &mut self,
        uid: Uid,
        message: InFlightMessage,
        place: AppendUid,
    ) -> Result<()> {
        self.report.appended += 1;
        self.report.octets += message.octets;
        log::info!(
            "copied {} (uid {uid}) to Gmail as uid {}",
            message.id,
            place.uid
        );
        self.record_done(uid, message.id, message.digest, true)
    }

    fn record_done(
        &mut self,
        uid: Uid,
        id: MessageId,
        digest: Digest,
        appended: bool,
    ) -> Result<()> {
        let at = self.now();
        self.store.record(Event::Done {
            uid,
            id,
            digest,
            at,
            appended,
        })
    }

    /// This message is given up for good, for a reason that a person can read.
    pub fn refuse(&mut self, uid: Uid, id: Option<MessageId>, why: String) -> Result<()> {
        let refused = self.refused(&format!(" (uid {uid})"), id, why);
        self.store.record(Event::Refused { uid, refused })
    }

    fn refused(&mut self, uid: &str, id: Option<MessageId>, why: String) -> RefusedMessage {
        log::error!("not copied: {}{uid}: {why}", name(id.as_ref()));
        self.report.refused += 1;
        let when = self.now();
        RefusedMessage { id, when, why }
    }

    /// This parked message is no longer at the source, and Gmail does not have it.
    pub fn refuse_gone(&mut self, uid: Uid, id: Option<MessageId>) -> Result<()> {
        self.refuse(uid, id, LEFT_SOURCE.to_owned())
    }

    // Parked.

    /// The parked entry of a message before its next attempt.
    pub fn parked_or_new(&self, uid: Uid) -> ParkedMessage {
        let parked = self.state().parked.get(&uid).cloned();
        parked.unwrap_or_else(|| ParkedMessage::new(self.now()))
    }

    /// An attempt at this message failed: it is parked until its next one.
    pub fn park(&mut self, uid: Uid, parked: ParkedMessage, why: String) -> Result<()> {
        let parked = parked.retry_later(why, self.now());
        let delay = PARKED_MESSAGE.delay_after(parked.tries);
        log::warn!(
            "parked {} (uid {uid}), will retry in {} min: {}",
            name(parked.id.as_ref()),
            delay.num_minutes(),
            parked.why
        );
        self.report.parked += 1;
        self.store.record(Event::Parked { uid, parked })
    }

    /// The source finds this message in a search and does not list it.
    pub fn park_unlisted(&mut self, uid: Uid) -> Result<()> {
        let why = "the source finds it in a search and does not list it";
        self.park(uid, self.parked_or_new(uid).another_try(), why.to_owned())
    }

    /// The source lists this message and does not return its octets.
    pub fn park_unreadable(&mut self, listed: Listed, why: &str) -> Result<()> {
        let parked = match self.state().parked.get(&listed.uid) {
            Some(parked) => parked.clone(),
            None => ParkedMessage {
                id: listed.identity.id,
                date: listed.internal_date,
                digest: Some(Digest::of_header(listed.identity.header)),
                ..ParkedMessage::new(self.now())
            },
        };
        self.progress.settled(0);
        let why = format!("the source did not return it: {why}");
        self.park(listed.uid, parked.another_try(), why)
    }

    /// Parks a message until its twin is due, if it has a twin whose append is uncertain: until that
    /// one is found or known not to be stored, nothing shows whether this one must be sent.
    pub fn park_if_twin_is_uncertain(
        &mut self,
        listed: &Listed,
        id: MessageId,
        digest: Digest,
    ) -> Result<bool> {
        let uid = listed.uid;
        let twin = identity::uncertain_twin(self.state(), &self.in_flight, uid, &id, digest);
        let Some(twin) = twin else {
            return Ok(false);
        };
        log::debug!("uid {uid} waits for {twin}, which may be the same message");
        // If it was itself sent, it keeps the mark and the digest of its body, with which it is
        // looked up.
        let before = self.parked_or_new(uid);
        let with_body = before.digest.filter(|digest| digest.body.is_some());
        let parked = ParkedMessage {
            id: Some(id),
            date: listed.internal_date,
            digest: with_body.or(Some(digest)),
            retry_after: twin.retry_after,
            why: format!("waits for {twin}, which may be the same message and at Gmail already"),
            ..before
        };
        self.store.record(Event::Parked { uid, parked })?;
        Ok(true)
    }

    /// Whether Gmail stored this uncertain append cannot be told yet.
    pub fn keep_uncertain(&mut self, uid: Uid, parked: ParkedMessage) -> Result<()> {
        self.store.record(Event::Parked { uid, parked })
    }

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
        self.store.record(Event::OrphanDelivered { orphan, at })
    }

    /// This orphan is no longer at the source, and Gmail does not have it.
    pub fn refuse_orphan(&mut self, orphan: usize, id: Option<MessageId>) -> Result<()> {
        let refused = self.refused("", id, LEFT_SOURCE.to_owned());
        self.store.record(Event::OrphanLost { orphan, refused })
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
        let Some(pass) = &self.state().date_pass else {
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
        let cursor = self.state().cursor.clone();
        self.advance = cursor.map(|cursor| CursorAdvance::new(cursor, due, last));
    }

    /// Raises the cursor over whole runs of settled or parked messages. A message in flight is
    /// neither, although its intent is parked in the state: it may be returned unsent.
    pub fn raise_cursor(&mut self) -> Result<()> {
        let state = self.store.state();
        let in_flight = &self.in_flight;
        let is_done = |uid| state.is_settled_or_parked(uid) && !in_flight.contains(uid);
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
        if self.state().date_pass.is_some() {
            return Ok(());
        }
        let age = self.state().last_sync.map(|last| started - last);
        // A negative age was written while the clock was wrong.
        let is_old = age.is_none_or(|age| age >= LAST_SYNC_INTERVAL || age < TimeDelta::zero());
        if is_old || self.store.has_unfolded_events() {
            self.store.record(Event::Synced { at: started })?;
        }
        Ok(())
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

/// A message's name in log lines.
fn name(id: Option<&MessageId>) -> String {
    let no_id = || "a message without Message-ID".to_owned();
    id.map_or_else(no_id, ToString::to_string)
}
