//! Records that messages are parked.

use log::Level;

use crate::error::Result;
use crate::message::{Digest, Listed, LoggedMessage, MessageId, Uid};
use crate::retry::PARKED_MESSAGE;
use crate::state::{Event, ParkedAt, ParkedMessage};
use crate::sync::identity;
use crate::sync::ledger::Ledger;

impl Ledger<'_> {
    /// The parked entry of a message before its next attempt.
    pub fn parked_or_new(&self, uid: Uid) -> ParkedMessage {
        let parked = self.state().folder.parked.get(&uid).cloned();
        parked.unwrap_or_else(|| self.new_parked())
    }

    fn new_parked(&self) -> ParkedMessage {
        ParkedMessage {
            by_date: self.state().folder.date_pass.is_some(),
            ..ParkedMessage::new(self.now())
        }
    }

    /// An attempt at this message failed: it is parked until its next one.
    pub fn park(
        &mut self,
        uid: Uid,
        octets: Option<u64>,
        parked: ParkedMessage,
        why: String,
    ) -> Result<()> {
        let parked = parked.retry_later(why, self.now());
        let minutes = PARKED_MESSAGE.delay_after(parked.tries).num_minutes();
        let why = &parked.why;
        let logged = LoggedMessage {
            id: parked.id.as_ref(),
            uid: Some(uid),
            octets,
        };
        let text = format_args!("parked {logged}, will retry in {minutes} min: {why}");
        logged.log(Level::Warn, text);
        self.report.parked += 1;
        self.store.record(Event::Parked { uid, parked })
    }

    /// The source finds this message in a search and does not list it.
    pub fn park_unlisted(&mut self, uid: Uid) -> Result<()> {
        let why = "the source finds it in a search, but does not list it";
        let parked = unread(self.parked_or_new(uid));
        self.park(uid, None, parked, why.to_owned())
    }

    /// The source lists this message and does not return its octets.
    pub fn park_unreadable(&mut self, listed: Listed, why: &str) -> Result<()> {
        let parked = match self.state().folder.parked.get(&listed.uid) {
            Some(parked) => parked.clone(),
            None => ParkedMessage {
                id: listed.identity.id,
                date: listed.internal_date,
                digest: Some(Digest::of_header(listed.identity.header)),
                ..self.new_parked()
            },
        };
        self.progress.settled(0);
        let why = format!("the source did not return it: {why}");
        self.park(listed.uid, Some(listed.size), unread(parked), why)
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
        log::debug!(uid = uid.get(); "uid {uid} waits for {twin}, which may be the same message");
        // If it was itself sent, it keeps the mark and the digest of its body, with which it is
        // looked up.
        let before = self.parked_or_new(uid);
        let with_body = before.digest.filter(|digest| digest.body.is_some());
        // Attempts before its octets were known were at reading it: it was not sent.
        let is_first_read = with_body.is_none() && digest.body.is_some();
        let tries = if is_first_read { 0 } else { before.tries };
        let parked = ParkedMessage {
            id: Some(id),
            date: listed.internal_date,
            digest: with_body.or(Some(digest)),
            tries,
            retry_after: twin.retry_after,
            why: format!("waits for {twin}, which may be the same message and at Gmail already"),
            ..before
        };
        self.store.record(Event::Parked { uid, parked })?;
        Ok(true)
    }

    /// What this records is about a message of another folder.
    pub fn in_folder(
        &mut self,
        name: &str,
        record: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let own = self.state().folder_name().to_owned();
        self.store.record(Event::Folder(name.to_owned()))?;
        record(self)?;
        self.store.record(Event::Folder(own))
    }

    /// Gmail has not stored this uncertain append: it may be sent again.
    pub fn record_not_stored(&mut self, place: ParkedAt, parked: ParkedMessage) -> Result<()> {
        let parked = ParkedMessage {
            sent: None,
            ..parked
        };
        self.store.record(match place {
            ParkedAt::Uid(uid) => Event::Parked { uid, parked },
            ParkedAt::Orphan(orphan) => Event::OrphanNotStored { orphan },
        })
    }

    /// Whether Gmail stored this uncertain append cannot be told yet.
    pub fn keep_uncertain(&mut self, uid: Uid, parked: ParkedMessage) -> Result<()> {
        self.store.record(Event::Parked { uid, parked })
    }
}

/// The entry after an attempt at reading its message. One that has only waited for a twin loses the
/// digest of its body: with that and an attempt it would count as sent.
fn unread(parked: ParkedMessage) -> ParkedMessage {
    let was_sent = parked.tries > 0 || parked.sent.is_some();
    let digest = match parked.digest {
        Some(digest) if !was_sent => Some(Digest::of_header(digest.header)),
        digest => digest,
    };
    ParkedMessage { digest, ..parked }.another_try()
}
