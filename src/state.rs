//! What is remembered between runs.
//!
//! `State` is a value: events change it, nothing else does, and each event stands in the journal
//! before it is relied on. What is parked is the one place for everything unfinished: an append
//! that is about to be sent stands there, marked as sent, until its outcome is known.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::message::{Digest, InternalDate, Listed, Mark, MessageId, Uid, UidSet, UidValidity};
use crate::retry::{DATE_PASS_RETRY_DELAY, PARKED_MESSAGE};

mod event;
/// The state on disk: a snapshot and the journal of what happened since.
pub mod journal;
/// One run per state file.
pub mod lock;
mod snapshot;
/// The files, and what can be done with them.
pub mod storage;
/// How much was sent to Gmail, and how long it must be left alone.
pub mod upload_quota;

pub use event::Event;

/// Ids are remembered this long after delivery, as the original does.
const ID_KEPT: TimeDelta = TimeDelta::days(31);

/// Of the messages of one id, so many are told apart: a device may use one id for ever.
const MOST_DIGESTS: usize = 100;

/// The report of refused messages keeps a year.
const REFUSED_KEPT: TimeDelta = TimeDelta::days(366);

/// What is remembered between runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The account that it belongs to; `None`: nobody's yet (the original's, or new).
    pub account: Option<AccountNames>,
    /// Just before the EXAMINE of the last pass that settled or parked all it listed.
    pub last_sync: Option<DateTime<Utc>>,
    /// Up to where everything is settled or parked.
    pub cursor: Option<Cursor>,
    /// The original's mark: ours only while it equals the cursor's UID.
    pub last_source_uid: u32,
    /// UIDs above the cursor that are settled out of order.
    pub settled: UidSet,
    /// A pass by date that has not come to its end.
    pub date_pass: Option<DatePass>,
    /// Everything unfinished: refused for now, unreadable for now, or sent with its answer lost.
    pub parked: BTreeMap<Uid, ParkedMessage>,
    /// What will never arrive; a report for people, never consulted.
    pub refused: BTreeMap<String, RefusedMessage>,
    /// How the source treated us.
    pub source: SourceState,
    /// How Gmail treated us.
    pub gmail: GmailState,
    /// Identities of what was delivered or found at Gmail.
    known: HashMap<MessageId, KnownMessage>,
    /// Keys of the snapshot that we do not know: kept as they are.
    unknown_keys: serde_json::Map<String, serde_json::Value>,
}

/// Whose state it is: `user/folder` on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountNames {
    /// Source user and folder.
    pub source: String,
    /// Gmail address and folder.
    pub target: String,
}

/// Up to where a source mailbox is copied: every message up to `uid` is settled or parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The mailbox: `user@host/folder`.
    pub source: String,
    /// The value under which `uid` holds.
    pub uid_validity: UidValidity,
    /// The UID; 0 in a mailbox that never held a message.
    pub uid: u32,
}

/// A pass by date: what the cursor cannot tell, the day of arrival and the identity must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatePass {
    /// The mailbox: `user@host/folder`.
    pub source: String,
    /// Messages received at or after this moment are considered.
    pub since: DateTime<Utc>,
    /// When it began, in whole seconds, as the times of deliveries are written: what was delivered
    /// since is a message of its own, and not this mailbox's mail of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<DateTime<Utc>>,
    /// The value under which its UIDs hold.
    pub uid_validity: UidValidity,
    /// Only messages below this UID are considered; what comes later is above the new cursor.
    pub uid_next: Uid,
    /// What was parked before, under UIDs that count no longer: found again by id and date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<ParkedMessage>,
}

/// A message that is not at Gmail yet, or perhaps is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedMessage {
    /// Its id; `None` if it has none and was never read.
    pub id: Option<MessageId>,
    /// Its INTERNALDATE at the source.
    pub date: InternalDate,
    /// Its digest, with the body part once it was read; `None` if it could not even be listed.
    pub digest: Option<Digest>,
    /// When it was first parked.
    pub since: DateTime<Utc>,
    /// How often it was tried.
    pub tries: u32,
    /// Not to be tried before.
    pub retry_after: DateTime<Utc>,
    /// Why it is here, for a person.
    pub why: String,
    /// It was sent, and the answer never came: it must be looked up before it is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentMark>,
}

/// When and where to a message was sent whose answer never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMark {
    /// When it was about to be sent.
    pub at: DateTime<Utc>,
    /// All Mail's UIDVALIDITY and UIDNEXT then.
    #[serde(flatten, default)]
    pub mark: Option<Mark>,
}

/// A message that will never arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMessage {
    /// Its id, if it has one.
    pub id: Option<MessageId>,
    /// When that was found out.
    pub when: DateTime<Utc>,
    /// Why.
    pub why: String,
}

/// How the source treated us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceState {
    /// No log-in before, unless the credentials changed.
    pub retry_after: Option<DateTime<Utc>>,
    /// Log-ins refused one after the other.
    #[serde(rename = "refused_logins")]
    pub rejected_logins: u32,
    /// What the configuration and the password file looked like then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
}

/// How Gmail treated us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GmailState {
    /// The account rests until then.
    pub retry_after: Option<DateTime<Utc>>,
    /// How long the last rest was; the next is twice as long.
    pub rest_minutes: u32,
    /// Octets sent, by the hour (`2026-11-22T20`).
    pub uploaded: BTreeMap<String, u64>,
    /// When Gmail last took a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "taken_at")]
    pub last_accepted: Option<DateTime<Utc>>,
    /// A refresh token that Google refused.
    #[serde(rename = "token_refused")]
    pub rejected_token: Option<RejectedToken>,
}

/// A refresh token that Google refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedToken {
    /// A digest of it; never the token.
    pub refresh_token: String,
    /// Since when it is refused.
    pub since: DateTime<Utc>,
    /// How often it was refused.
    #[serde(default)]
    pub tries: u32,
    /// Not to be tried before.
    pub retry_after: DateTime<Utc>,
}

/// What is remembered of a delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownMessage {
    at: DateTime<Utc>,
    /// Empty for what the original delivered.
    digests: Vec<Digest>,
}

/// What the state knows of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knowledge<'a> {
    /// Nothing under this id.
    Unknown,
    /// The original delivered a message of this id; more it did not write down.
    IdOnly,
    /// These were delivered, or found at Gmail.
    Digests(&'a [Digest]),
}

impl State {
    /// What is known under an id.
    #[must_use]
    pub fn known_digests(&self, id: &MessageId) -> Knowledge<'_> {
        match self.known.get(id) {
            None => Knowledge::Unknown,
            Some(known) if known.digests.is_empty() => Knowledge::IdOnly,
            Some(known) => Knowledge::Digests(&known.digests),
        }
    }

    /// Says whether a message under this id was delivered in the pass by date that goes on.
    #[must_use]
    pub fn delivered_in_this_pass(&self, id: &MessageId) -> bool {
        let began = self.date_pass.as_ref().and_then(|pass| pass.began);
        let at = self.known.get(id).map(|known| known.at);
        began.zip(at).is_some_and(|(began, at)| at >= began)
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn known_id_count(&self) -> usize {
        self.known.len()
    }

    /// The highest UID that anything is remembered of.
    #[must_use]
    pub fn highest_uid(&self) -> u32 {
        let cursor = self.cursor.as_ref().map_or(0, |cursor| cursor.uid);
        let settled = self.settled.last().map_or(0, Uid::get);
        let parked = self.parked.last_key_value().map_or(0, |(uid, _)| uid.get());
        cursor.max(settled).max(parked)
    }

    /// Says whether a UID needs no more thought: settled, or parked and so taken care of.
    #[must_use]
    pub fn is_settled_or_parked(&self, uid: Uid) -> bool {
        self.settled.contains(uid) || self.parked.contains_key(&uid)
    }

    /// When something is to be tried again, though nothing new came: parked messages, and a pass by
    /// date that waits for some.
    pub fn retry_times(&self, now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let waits = self.date_pass.as_ref().map(|_| now + DATE_PASS_RETRY_DELAY);
        let parked = self.parked.values().map(move |parked| {
            if parked.is_due(now) {
                now
            } else {
                parked.retry_after
            }
        });
        parked.chain(waits)
    }

    /// The messages of this id and header that were sent without an answer: those that are parked,
    /// with their UIDs, and the strays of a pass by date, whose UIDs count no longer.
    pub fn uncertain_twins<'a>(
        &'a self,
        id: &'a MessageId,
        digest: Digest,
    ) -> impl Iterator<Item = (Option<Uid>, &'a ParkedMessage)> {
        let is_twin = move |parked: &ParkedMessage| {
            parked.sent.is_some()
                && parked.id.as_ref() == Some(id)
                && parked
                    .digest
                    .is_some_and(|parked| parked.header == digest.header)
        };
        let strays = self.date_pass.iter().flat_map(|pass| &pass.strays);
        self.parked
            .iter()
            .map(|(uid, parked)| (Some(*uid), parked))
            .chain(strays.map(|stray| (None, stray)))
            .filter(move |(_, parked)| is_twin(parked))
    }

    /// Takes back what events say of UIDs, because the snapshot that they followed is lost: how far
    /// the mailbox was copied must be found out by date, as far back as `reach` at least.
    fn discard_uids(&mut self, reach: Option<DateTime<Utc>>) {
        self.cursor = None;
        self.settled = UidSet::default();
        self.last_sync = self.last_sync.min(reach).or(reach);
        if let Some(pass) = &mut self.date_pass {
            // Another takes over what is parked, and its day.
            pass.source.clear();
        }
    }

    /// Forgets what is too old to matter. Ids stay while a pass by date goes on: it may reach back
    /// further than they are kept.
    fn prune(&mut self, now: DateTime<Utc>) {
        if self.date_pass.is_none() {
            self.known.retain(|_, known| now - known.at <= ID_KEPT);
        }
        self.refused
            .retain(|_, refused| now - refused.when <= REFUSED_KEPT);
        upload_quota::prune(&mut self.gmail.uploaded, now);
    }

    fn remember(&mut self, id: MessageId, digest: Digest, at: DateTime<Utc>) {
        let known = self.known.entry(id).or_insert(KnownMessage {
            at,
            digests: Vec::new(),
        });
        known.at = at;
        if !known.digests.contains(&digest) {
            known.digests.push(digest);
        }
        // Gmail is asked for what is forgotten here.
        let excess = known.digests.len().saturating_sub(MOST_DIGESTS);
        known.digests.drain(..excess);
    }

    fn add_refused(&mut self, key: &str, refused: RefusedMessage) {
        // Two messages may have had one UID, under different values of UIDVALIDITY.
        let mut free = key.to_owned();
        let mut count = 1;
        while self
            .refused
            .get(&free)
            .is_some_and(|there| *there != refused)
        {
            count += 1;
            free = format!("{key}#{count}");
        }
        self.refused.insert(free, refused);
    }
}

impl ParkedMessage {
    /// Says whether the message of this listing is the one that was parked.
    #[must_use]
    pub fn matches(&self, listed: &Listed) -> bool {
        let Some(digest) = self.digest else {
            return true;
        };
        let own_id = self.id.as_ref().filter(|id| id.is_from_field());
        digest.header == listed.identity.header
            && own_id == listed.identity.id.as_ref()
            && self.date == listed.internal_date
    }

    /// Says whether it is time to try again. A time further off than the longest step was written
    /// by a clock that was wrong.
    #[must_use]
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.retry_after <= now || self.retry_after > now + PARKED_MESSAGE.max_delay()
    }
}
