//! Delivering messages to the target: intents, appends in flight, and what each outcome means.

use std::time::Instant;

use log::Level;

use crate::error::{Consequence, Error, ErrorKind, Result, Side};
use crate::message::{
    DeliveryMethod, Flags, HashedOctets, LoggedMessage, Message, MessageId, Uid, UidSet,
};
use crate::state::{Knowledge, ParkedMessage, SentMark};
use crate::sync::action::Parts;
use crate::sync::daily_limit::DailyLimit;
use crate::sync::failures_in_a_row::FailuresInARow;
use crate::sync::fetch::ReadMessage;
use crate::sync::group::PlannedMessage;
use crate::sync::identity::IdentityDecision;
use crate::sync::in_flight::InFlightMessage;
use crate::sync::label_policy::LabelPolicy;
use crate::sync::ledger::Ledger;
use crate::sync::prepared::PreparedMessage;
use crate::sync::{
    ImportPolicy, Outcome, PassOptions, Target, TargetStatus, lookup, method, outcome, same_octets,
};

/// Sends messages and records their outcomes.
pub(super) struct Delivery {
    copy_flags: bool,
    daily_upload_limit: Option<u64>,
    /// What it does about labels.
    pub labels: LabelPolicy,
    /// Which messages are imported.
    import: Option<ImportPolicy>,
    /// What the target announced.
    status: TargetStatus,
    failures: FailuresInARow,
    /// Messages that could not be imported, and are appended next.
    to_append: Vec<PreparedMessage>,
}

impl Delivery {
    pub fn new(options: &PassOptions) -> Delivery {
        Delivery {
            copy_flags: options.copy_flags,
            daily_upload_limit: options.daily_upload_limit,
            labels: LabelPolicy::new(options),
            import: options.import,
            status: TargetStatus::default(),
            failures: FailuresInARow::default(),
            to_append: Vec::new(),
        }
    }

    /// Refuses the messages that are larger than the target accepts, and returns the others.
    pub fn refuse_too_large(
        &mut self,
        group: Vec<PlannedMessage>,
        target: &mut dyn Target,
        ledger: &mut Ledger,
    ) -> Result<Vec<PlannedMessage>> {
        self.status = target.status()?;
        self.labels.check_support(self.status)?;
        let mut fitting = Vec::new();
        for planned in group {
            let listed = &planned.listed;
            let id = listed.identity.id.as_ref();
            if !self.refuse_if_too_large(listed.uid, id, listed.size, ledger)? {
                fitting.push(planned);
            }
        }
        Ok(fitting)
    }

    /// Sends the messages that were read, except those whose octets show that they were delivered
    /// before.
    pub fn deliver(&mut self, read: Vec<ReadMessage>, parts: &mut Parts) -> Result<()> {
        let mut batch: Vec<PreparedMessage> = Vec::new();
        for ReadMessage { planned, octets } in read {
            let prepared = self.prepare(&planned, octets, &parts.ledger);
            let (id, header) = (&prepared.message.id, prepared.digest.header);
            if batch.iter().any(|other| other.is_twin_of(&prepared))
                || parts.ledger.in_flight.has_twin_of(id, header)
            {
                // The twin of a message without Message-ID is known only by the octets.
                let Parts { target, ledger, .. } = parts;
                self.submit(std::mem::take(&mut batch), *target, ledger)?;
                self.finish(*target, ledger)?;
            }
            if self.must_be_sent(&prepared, &planned, parts)? {
                batch.push(prepared);
            }
        }
        let Parts { target, ledger, .. } = parts;
        let submitted = self.submit(batch, *target, ledger);
        let done = submitted.and_then(|()| self.append_those_not_imported(*target, ledger));
        self.forget_those_not_imported(done)
    }

    fn prepare(
        &self,
        planned: &PlannedMessage,
        octets: HashedOctets,
        ledger: &Ledger,
    ) -> PreparedMessage {
        let flags = if self.copy_flags {
            planned.listed.flags
        } else {
            Flags::default()
        };
        let prepared = PreparedMessage::new(&planned.listed, octets, flags);
        let (date, octets) = (prepared.message.internal_date, prepared.octets());
        let (import, status, now) = (self.import, self.status, ledger.now());
        let method = method::choose(import, status, date, flags, octets, now);
        prepared.by(method)
    }

    /// Decides, now that the octets are known, whether a message must still be sent; if not, it is
    /// settled or parked here.
    fn must_be_sent(
        &mut self,
        prepared: &PreparedMessage,
        planned: &PlannedMessage,
        parts: &mut Parts,
    ) -> Result<bool> {
        let Parts {
            fetch,
            target,
            ledger,
        } = parts;
        let Message { uid, id, .. } = &prepared.message;
        let logged = LoggedMessage::from(&prepared.message);
        // The size in the listing may be wrong.
        if self.refuse_if_too_large(*uid, Some(id), prepared.octets(), ledger)? {
            return Ok(false);
        }
        if let Knowledge::Digests(digests) = ledger.state().known_digests(id) {
            if digests.contains(&prepared.digest) {
                if id.is_from_field() {
                    match ledger.labels_of_known(id, planned.selected_by) {
                        None => ledger.settle_known(UidSet::from_iter([*uid]))?,
                        Some(labels) => ledger.settle_known_with_labels(
                            &planned.listed,
                            id.clone(),
                            prepared.digest,
                            labels,
                        )?,
                    }
                    return Ok(false);
                }
                if same_octets::settle_if_delivered(planned, id, prepared.digest, fetch, ledger)? {
                    return Ok(false);
                }
                // A lookup of this message must not find the other one.
                self.status = target.refresh_status()?;
            } else if planned.decision == IdentityDecision::CompareBody {
                let text = format_args!(
                    "{logged} has the Message-ID of another message that was delivered"
                );
                logged.log(Level::Info, text);
            }
        }
        let is_parked =
            ledger.park_if_twin_is_uncertain(&planned.listed, id.clone(), prepared.digest)?;
        if is_parked {
            return Ok(false);
        }
        // After that: the lookup must not find an uncertain twin.
        if let Some(body) = prepared.digest.body
            && same_octets::may_be_at_target(planned, id, ledger.state())
            && lookup::has_octets(&planned.listed, body, *target)?
        {
            logged.log(Level::Info, format_args!("{logged} is at Gmail already"));
            let date = prepared.message.internal_date;
            ledger.settle_found(*uid, id.clone(), prepared.digest, date)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// The intent to append a message. Its parked entry is that of an uncertain append: this is what
    /// the message is if nothing more is recorded.
    fn intent(&self, prepared: &PreparedMessage, ledger: &Ledger) -> InFlightMessage {
        let PreparedMessage { message, digest } = prepared;
        let now = ledger.now();
        let parked = ledger.parked_or_new(message.uid).another_try();
        let parked = parked.retry_later("it was sent, but the response was lost".to_owned(), now);
        InFlightMessage {
            id: message.id.clone(),
            digest: *digest,
            octets: prepared.octets(),
            intent: ParkedMessage {
                id: Some(message.id.clone()),
                date: message.internal_date,
                digest: Some(*digest),
                sent: Some(SentMark {
                    at: now,
                    mark: self.status.mark,
                    method: message.method,
                }),
                labels: self.labels.promised(message.method),
                ..parked
            },
            before: ledger.state().folder.parked.get(&message.uid).cloned(),
            intended_at: Instant::now(),
        }
    }

    /// Whether a message is larger than the target accepts, as far as that is known.
    pub fn is_too_large(&self, octets: u64) -> bool {
        let limit = method::largest(self.import, self.status);
        limit.is_some_and(|limit| octets > limit)
    }

    fn refuse_if_too_large(
        &self,
        uid: Uid,
        id: Option<&MessageId>,
        octets: u64,
        ledger: &mut Ledger,
    ) -> Result<bool> {
        let limit = method::largest(self.import, self.status);
        let Some(limit) = limit.filter(|limit| octets > *limit) else {
            return Ok(false);
        };
        ledger.progress.settled(0);
        let why = format!("it has {octets} octets, and Gmail accepts {limit}");
        ledger.refuse(uid, id.cloned(), octets, why)?;
        Ok(true)
    }

    /// Records the intents, then submits the messages, as far as the daily limit allows.
    fn submit(
        &mut self,
        batch: Vec<PreparedMessage>,
        target: &mut dyn Target,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let mut intents = Vec::new();
        let mut messages = Vec::new();
        let mut today = DailyLimit::new(self.daily_upload_limit);
        let mut done = Ok(());
        for prepared in batch {
            let method = prepared.message.method;
            if let Err(is_reached) = today.take(method, prepared.octets(), ledger) {
                done = Err(*is_reached);
                break;
            }
            intents.push((prepared.message.uid, self.intent(&prepared, ledger)));
            messages.push(prepared.message);
        }
        ledger.record_intents(intents)?;
        self.submit_messages(messages, target, ledger)?;
        self.record_outcomes(target, ledger)?;
        self.labels.set_if_many(target, ledger)?;
        done
    }

    fn submit_messages(
        &mut self,
        messages: Vec<Message>,
        target: &mut dyn Target,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let mut failure = None;
        for message in messages {
            let uid = message.uid;
            if failure.is_none() {
                match target.submit(message) {
                    Ok(()) => {
                        self.failures.submitted(uid);
                        // An outcome that has arrived meanwhile may forbid to send more.
                        failure = self.record_outcomes(target, ledger).err();
                        continue;
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(message) = ledger.in_flight.remove(uid) {
                ledger.return_unsent(uid, message.before, message.octets)?;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Appends the messages that could not be imported, because of their content for instance.
    fn append_those_not_imported(
        &mut self,
        target: &mut dyn Target,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let mut batch = Vec::new();
        let limit = self.status.append_limit;
        for prepared in std::mem::take(&mut self.to_append) {
            let octets = prepared.octets();
            if let Some(limit) = limit.filter(|limit| octets > *limit) {
                let Message { uid, id, .. } = prepared.message;
                let why = format!(
                    "Gmail does not import it, and it has {octets} octets, of which APPEND takes {limit}"
                );
                ledger.refuse(uid, Some(id), octets, why)?;
            } else {
                batch.push(prepared);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.submit(batch, target, ledger)
    }

    /// Waits until nothing is in flight, and records the outcomes.
    pub fn finish(&mut self, target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
        let mut done = self.finish_submitted(target, ledger);
        while done.is_ok() && !self.to_append.is_empty() {
            let appended = self.append_those_not_imported(target, ledger);
            done = appended.and(self.finish_submitted(target, ledger));
        }
        self.forget_those_not_imported(done)
    }

    /// After an error nothing more is sent in this pass: these messages stand as before their intents.
    fn forget_those_not_imported(&mut self, done: Result<()>) -> Result<()> {
        if done.is_err() {
            self.to_append.clear();
        }
        done
    }

    fn finish_submitted(&mut self, target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
        let finished = target.finish();
        let recorded = self.record_outcomes(target, ledger);
        match (finished, recorded) {
            // What Gmail says is the cause of what was not accepted.
            (Err(one), Err(_)) if matches!(one.consequence(), Some(Consequence::Rest(_))) => {
                Err(one)
            }
            (Err(one), Err(other)) => Err(one.more_severe(other)),
            (one, other) => one.and(other),
        }
    }

    /// Records the outcomes that have arrived.
    fn record_outcomes(&mut self, target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
        while let Some((uid, outcome)) = target.settled() {
            let Some(message) = ledger.in_flight.remove(uid) else {
                return Err(Error::new(
                    Side::Host,
                    ErrorKind::Internal,
                    format!("uid {uid}"),
                    "it has a second outcome",
                ));
            };
            self.failures
                .settled(uid, message.intent.tries == 1, &outcome);
            if let Outcome::NotImportable {
                message: returned,
                uploaded,
                why,
            } = outcome
            {
                let unsent = outcome::unsent(uploaded, message.octets);
                self.return_for_append(*returned, message, unsent, &why, ledger)?;
            } else {
                ledger.progress.settled(message.octets);
                outcome::record(uid, message, outcome, ledger)?;
            }
            ledger.count_outcome()?;
        }
        self.failures.check()
    }

    /// Keeps a message that could not be imported for an APPEND. It stands as before its intent; `unsent`
    /// of its octets were not sent.
    fn return_for_append(
        &mut self,
        returned: Message,
        message: InFlightMessage,
        unsent: u64,
        why: &str,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let logged = LoggedMessage::from(&returned);
        let text = format_args!("{logged}: Gmail does not import it, so it is appended: {why}");
        logged.log(Level::Info, text);
        let digest = message.digest;
        ledger.return_unsent(returned.uid, message.before, unsent)?;
        let prepared = PreparedMessage {
            message: returned,
            digest,
        };
        self.to_append.push(prepared.by(DeliveryMethod::Append));
        Ok(())
    }
}
