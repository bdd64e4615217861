//! [`State`] and its parts.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::RestReason;
use crate::message::{
    DeliveryMethod, Digest, InternalDate, Listed, Mark, MessageId, Uid, UidValidity,
};
use crate::retry::PARKED_MESSAGE;
use crate::state::known::LazyKnown;
use crate::state::owed_labels::{OwedLabelsByNumber, known_promise};
use crate::state::recent_deliveries::RecentDeliveries;
use crate::state::{AccountNames, FolderState, PromisedLabels, SourceState};

/// Refused messages are reported this long.
const KEEP_REFUSED: TimeDelta = TimeDelta::days(366);

/// How long it is remembered of a folder that has vanished how far it was copied. A server that invents names
/// must not make the state grow for ever.
const KEEP_VANISHED: TimeDelta = TimeDelta::days(366);

/// How long it is remembered that all folders of a state were lost: then each has been copied again.
const KEEP_LOST: TimeDelta = TimeDelta::days(31);

/// What is remembered between runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The account that the state belongs to; `None` in a new state and in one of the original.
    pub account: Option<AccountNames>,
    /// The folder that events are about.
    pub folder: FolderState,
    /// Its name; see [`State::folder_name`].
    pub(super) folder_name: String,
    /// The others, by name.
    pub(super) other_folders: BTreeMap<String, FolderState>,
    /// The folder that the original sees, too.
    pub(super) first_folder: String,
    /// Log-ins at the source.
    pub source: SourceState,
    /// Uploads to Gmail, and rests of the account.
    pub gmail: GmailState,
    /// See [`State::owed_labels`].
    pub(super) owed_labels: OwedLabelsByNumber,
    /// The last warnings about the files, which are repeated once a day.
    pub warned: Option<LoggedWarnings>,
    /// Identities of what was delivered or found at Gmail.
    pub(super) known: LazyKnown,
    pub(super) recent_deliveries: RecentDeliveries,
    /// Those of before all folders were last copied.
    pub(super) earlier_deliveries: RecentDeliveries,
    /// Keys of the snapshot that this program does not know; they are written back unchanged.
    pub(super) unknown_keys: serde_json::Map<String, serde_json::Value>,
}

/// Warnings that were logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedWarnings {
    /// When.
    pub at: DateTime<Utc>,
    /// A digest of their text: other warnings are logged at once.
    pub digest: String,
}

/// Up to where a source mailbox is copied: every message up to `uid` is settled or parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The mailbox: `user@host/folder`.
    pub source: String,
    /// The UIDVALIDITY that `uid` belongs to.
    pub uid_validity: UidValidity,
    /// The UID; 0 in a mailbox that never had a message.
    pub uid: u32,
}

/// A date pass: selects messages by their day of arrival and by identity, because there is no
/// cursor that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatePass {
    /// The mailbox: `user@host/folder`.
    pub source: String,
    /// Messages received at or after this time are considered.
    pub since: DateTime<Utc>,
    /// When it began, in whole seconds, as times of delivery are written. A message that was
    /// delivered after this is another one, not mail of this mailbox from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<DateTime<Utc>>,
    /// The UIDVALIDITY that `uid_next` belongs to.
    pub uid_validity: UidValidity,
    /// Only messages below this UID are considered; later ones are above the new cursor.
    pub uid_next: Uid,
    /// Whether the UIDs in the state are still valid: the user asked for older mail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_uids: bool,
    /// Orphaned parked messages: parked before UIDVALIDITY changed, so that their UIDs no longer
    /// count. They are found again by id and date.
    #[serde(rename = "strays", default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<ParkedMessage>,
}

/// A message that is put aside and retried later.
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
    /// The number of attempts so far.
    pub tries: u32,
    /// When the next attempt is due.
    pub retry_after: DateTime<Utc>,
    /// Why it is parked, for the user.
    pub why: String,
    /// Set if an APPEND was sent and its response was lost (the message is *uncertain*): it must
    /// be looked up at Gmail before it is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentMark>,
    /// The labels that it gets if an APPEND that was sent is stored.
    #[serde(
        default,
        deserialize_with = "known_promise",
        skip_serializing_if = "Option::is_none"
    )]
    pub labels: Option<PromisedLabels>,
    /// Whether a date pass found it: it may have been delivered under another UID.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_date: bool,
}

/// Where a parked message is in the state of its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedAt {
    /// Under its UID.
    Uid(Uid),
    /// Among the orphans, at this index.
    Orphan(usize),
}

/// When an uncertain message was sent, and where in All Mail it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMark {
    /// When the intent was recorded.
    pub at: DateTime<Utc>,
    /// All Mail's UIDVALIDITY and UIDNEXT before the APPEND.
    #[serde(flatten, default)]
    pub mark: Option<Mark>,
    /// How it was sent.
    #[serde(default, skip_serializing_if = "DeliveryMethod::is_append")]
    pub method: DeliveryMethod,
}

/// A message that was given up for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMessage {
    /// Its id, if it has one.
    pub id: Option<MessageId>,
    /// When it was given up.
    pub when: DateTime<Utc>,
    /// Why.
    pub why: String,
    /// The digest of its header and body, if it has left the source after it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

impl RefusedMessage {
    /// Why a parked message is refused that is no longer at the source.
    pub(crate) const LEFT_SOURCE: &str = "it was removed from the source before Gmail accepted it";

    /// Whether it is this message, and was refused because it had left its folder.
    fn is_moved(&self, id: &MessageId, digest: Digest) -> bool {
        self.why == RefusedMessage::LEFT_SOURCE
            && self.id.as_ref() == Some(id)
            && self.digest == Some(digest)
            && digest.body.is_some()
    }
}

/// A reason that this release knows: a state must not become unreadable by a word in it.
fn known_reason<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<RestReason>, D::Error> {
    let value = serde_json::Value::deserialize(reader)?;
    Ok(serde_json::from_value(value).ok())
}

/// Uploads to Gmail, rests of the account, and a rejected token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GmailState {
    /// The end of the account's rest.
    pub retry_after: Option<DateTime<Utc>>,
    /// The length of the last rest, from which the next one is computed.
    pub rest_minutes: u32,
    /// Why the account last rested; `None` also for a reason that a later release has.
    #[serde(
        deserialize_with = "known_reason",
        skip_serializing_if = "Option::is_none"
    )]
    pub rest_reason: Option<RestReason>,
    /// Octets appended, by the hour (`2026-11-22T20`).
    pub uploaded: BTreeMap<String, u64>,
    /// Octets imported, by the hour: Gmail counts them apart (GMAIL.md 6.2).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub imported: BTreeMap<String, u64>,
    /// When Gmail last accepted a message.
    #[serde(rename = "taken_at", skip_serializing_if = "Option::is_none")]
    pub last_accepted: Option<DateTime<Utc>>,
    /// Whether the account rests because its storage is full.
    #[serde(rename = "storage_full", skip_serializing_if = "std::ops::Not::not")]
    pub is_storage_full: bool,
    /// Since when Gmail has limited the account, and accepted nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_since: Option<DateTime<Utc>>,
    /// The refresh token that was last rejected.
    #[serde(rename = "token_refused")]
    pub rejected_token: Option<RejectedToken>,
}

/// A refresh token that Google rejected, or with which Gmail rejected a log-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedToken {
    /// A digest of the token, never the token itself.
    pub refresh_token: String,
    /// When it was first rejected.
    pub since: DateTime<Utc>,
    /// How often it was rejected.
    #[serde(default)]
    pub tries: u32,
    /// When the next attempt is due.
    pub retry_after: DateTime<Utc>,
    /// The user whose log-in Gmail rejected; `None` if Google rejected the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the user can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl State {
    /// The uncertain messages with this id and header digest: those parked in this folder with their
    /// UIDs, orphaned ones, and those of other folders.
    pub(crate) fn uncertain_twins<'a>(
        &'a self,
        id: &'a MessageId,
        digest: Digest,
    ) -> impl Iterator<Item = (Option<Uid>, &'a ParkedMessage)> {
        let parked = self.folder.parked.iter();
        let parked = parked.map(|(uid, parked)| (Some(*uid), parked));
        let elsewhere = self.other_folders.values();
        let elsewhere = elsewhere.flat_map(|folder| folder.parked.values());
        let orphans = self.folders().flat_map(|(_, folder)| folder.orphans());
        parked
            .chain(elsewhere.chain(orphans).map(|parked| (None, parked)))
            .filter(move |(_, parked)| parked.is_uncertain_twin(id, digest))
    }

    /// Where those of them are that other folders have; the last orphan of a folder comes first.
    pub(crate) fn uncertain_in_other_folders<'a>(
        &'a self,
        id: &'a MessageId,
        digest: Digest,
    ) -> impl Iterator<Item = (&'a str, ParkedAt, &'a ParkedMessage)> {
        let places = |(name, folder): (&'a str, &'a FolderState)| {
            let parked = folder.parked.iter();
            let parked = parked.map(|(uid, parked)| (ParkedAt::Uid(*uid), parked));
            let orphans = folder.orphans().iter().enumerate().rev();
            let orphans = orphans.map(|(index, orphan)| (ParkedAt::Orphan(index), orphan));
            let all = parked.chain(orphans);
            all.map(move |(place, parked)| (name, place, parked))
        };
        let others = self.folders().skip(1);
        others
            .flat_map(places)
            .filter(move |(_, _, parked)| parked.is_uncertain_twin(id, digest))
    }

    /// Discards what events say about UIDs, because the snapshot that they follow is lost. A date
    /// pass finds out how far the mailbox was copied; it begins at `since` or earlier.
    pub(super) fn discard_uids(&mut self, since: Option<DateTime<Utc>>) {
        let names: Vec<String> = self.folders().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            self.select_folder(name);
            self.forget_known_uids(None);
            self.folder.discard_uids(since);
        }
    }

    /// Drops what is too old.
    pub(super) fn prune(&mut self, now: DateTime<Utc>) {
        self.prune_known(now);
        self.prune_deliveries(now);
        for folder in self.folders_mut() {
            folder
                .refused
                .retain(|_, refused| now - refused.when <= KEEP_REFUSED);
        }
        let is_kept = |name: &str, folder: &FolderState| {
            let age = folder.last_seen().map(|last| now - last);
            match age {
                _ if name.is_empty() => age.is_some_and(|age| age <= KEEP_LOST),
                Some(age) => age <= KEEP_VANISHED || folder.has_parked_or_refused(),
                None => true,
            }
        };
        self.other_folders
            .retain(|name, folder| is_kept(name, folder));
        self.gmail.prune_uploads(now);
    }

    /// A message is at Gmail that was refused because it had left its folder: it was moved to another one.
    pub(super) fn withdraw_refusals(&mut self, id: &MessageId, digest: Digest) {
        for folder in self.folders_mut() {
            folder
                .refused
                .retain(|_, refused| !refused.is_moved(id, digest));
        }
    }

    pub(super) fn add_refused(&mut self, key: &str, refused: RefusedMessage) {
        // Two messages can have had one UID, under different values of UIDVALIDITY.
        let mut free_key = key.to_owned();
        let mut count = 1;
        let existing = &mut self.folder.refused;
        while existing
            .get(&free_key)
            .is_some_and(|existing| *existing != refused)
        {
            count += 1;
            free_key = format!("{key}#{count}");
        }
        existing.insert(free_key, refused);
    }
}

impl ParkedMessage {
    /// A message of which nothing is known, before its first attempt.
    pub(crate) fn new(now: DateTime<Utc>) -> ParkedMessage {
        ParkedMessage {
            id: None,
            date: None,
            digest: None,
            since: now,
            tries: 0,
            retry_after: now,
            why: String::new(),
            sent: None,
            labels: None,
            by_date: false,
        }
    }

    fn is_uncertain_twin(&self, id: &MessageId, digest: Digest) -> bool {
        let has_header = |own: Digest| own.header == digest.header;
        self.sent.is_some() && self.id.as_ref() == Some(id) && self.digest.is_some_and(has_header)
    }

    /// Counts an attempt.
    pub(crate) fn another_try(self) -> ParkedMessage {
        ParkedMessage {
            tries: self.tries + 1,
            ..self
        }
    }

    /// Sets the time of the next attempt by the number of attempts so far.
    pub(crate) fn retry_later(self, why: String, now: DateTime<Utc>) -> ParkedMessage {
        let retry_after = now + PARKED_MESSAGE.delay_after(self.tries);
        ParkedMessage {
            retry_after,
            why,
            ..self
        }
    }

    /// Whether a listed message is the one that was parked.
    pub(crate) fn matches(&self, listed: &Listed) -> bool {
        let Some(digest) = self.digest else {
            return true;
        };
        let own_id = self.id.as_ref().filter(|id| id.is_from_field());
        digest.header == listed.identity.header
            && own_id == listed.identity.id.as_ref()
            && self
                .date
                .zip(listed.internal_date)
                .is_none_or(|(date, listed)| date == listed)
    }

    /// Whether the next attempt is due. A time further away than the longest delay was written
    /// while the clock was wrong.
    pub(crate) fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.retry_after <= now || self.retry_after > now + PARKED_MESSAGE.max_delay()
    }
}
