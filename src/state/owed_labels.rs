//! Labels that messages still get at the target. They are promised with the intent of an append, owed
//! once the message is stored, and dropped when they are set or given up.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::message::{Digest, InternalDate, MessageId, MessagePlace};
use crate::state::{ParkedMessage, SentMark, State};

/// Labels of a message that is about to be appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromisedLabels {
    /// The folder that the message is appended to.
    pub folder: String,
    /// The names.
    pub labels: Vec<String>,
}

/// Labels of a message that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedLabels {
    /// The names.
    pub labels: Vec<String>,
    /// When it became known that the message is stored.
    pub at: DateTime<Utc>,
    /// Where the message is; `None` if it must be looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<MessagePlace>,
    /// The version of the message just before the labels are set for the first time: a message of
    /// another version has them, or was changed by someone else. `None`: they were never set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The number of attempts so far.
    #[serde(default)]
    pub tries: u32,
    /// The message's id.
    pub id: MessageId,
    /// Its digest.
    pub digest: Digest,
    /// Its INTERNALDATE.
    pub date: InternalDate,
    /// Its append.
    pub sent: SentMark,
}

/// Owed labels, by a number that only the journal uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OwedLabelsByNumber {
    known: BTreeMap<u64, OwedLabels>,
    /// Those that a later release wrote, which are written back unchanged.
    unknown: Map<String, Value>,
}

/// The labels that a message owes, as a journal line holds them: a later release may write others, and
/// the journal must stay readable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OwedEntry {
    /// Those that this release knows.
    Known(Box<OwedLabels>),
    /// Others.
    Unknown(Value),
}

impl OwedLabels {
    /// What a stored message owes by its entry from before; `None` if it was promised no labels, or was
    /// never sent.
    pub(crate) fn of_intent(
        intent: &ParkedMessage,
        place: Option<MessagePlace>,
        at: DateTime<Utc>,
    ) -> Option<OwedLabels> {
        Some(OwedLabels {
            labels: intent.labels.clone()?.labels,
            at,
            place,
            version: None,
            tries: 0,
            id: intent.id.clone()?,
            digest: intent.digest?,
            date: intent.date,
            sent: intent.sent?,
        })
    }
}

impl OwedLabelsByNumber {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.unknown.is_empty()
    }

    pub(super) fn set(&mut self, number: u64, entry: OwedEntry) {
        match entry {
            OwedEntry::Known(owed) => {
                self.known.insert(number, *owed);
            }
            OwedEntry::Unknown(value) => {
                self.unknown.insert(number.to_string(), value);
            }
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.known.remove(&number);
        self.unknown.remove(&number.to_string());
    }
}

impl State {
    /// A message of the current folder is stored, and owes labels.
    pub(super) fn owe_labels(&mut self, number: u64, entry: OwedEntry) {
        if let OwedEntry::Known(owed) = &entry {
            self.note_copy(&owed.id);
        }
        self.owed_labels.set(number, entry);
    }

    /// The labels that are owed, by number.
    #[must_use]
    pub fn owed_labels(&self) -> &BTreeMap<u64, OwedLabels> {
        &self.owed_labels.known
    }

    /// A number that nothing owed has.
    pub(crate) fn next_owed_number(&self) -> u64 {
        let known = self.owed_labels.known.keys().next_back().copied();
        let unknown = self.owed_labels.unknown.keys();
        let unknown = unknown.filter_map(|key| key.parse().ok()).max();
        known.max(unknown).map_or(1, |last| last.saturating_add(1))
    }
}

impl Serialize for OwedLabelsByNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.known.iter();
        let known = known.map(|(number, owed)| (number.to_string(), OwedEntry::from(owed)));
        let unknown = self.unknown.iter();
        let unknown = unknown.map(|(key, value)| (key.clone(), OwedEntry::Unknown(value.clone())));
        serializer.collect_map(known.chain(unknown))
    }
}

impl<'de> Deserialize<'de> for OwedLabelsByNumber {
    /// Whatever is not understood is kept: a state must not become unreadable by it.
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<OwedLabelsByNumber, D::Error> {
        let mut read = OwedLabelsByNumber::default();
        let Value::Object(entries) = Value::deserialize(reader)? else {
            return Ok(read);
        };
        for (key, value) in entries {
            let known = key.parse().ok().zip(OwedLabels::deserialize(&value).ok());
            match known {
                Some((number, owed)) => {
                    read.known.insert(number, owed);
                }
                None => {
                    read.unknown.insert(key, value);
                }
            }
        }
        Ok(read)
    }
}

impl From<&OwedLabels> for OwedEntry {
    fn from(owed: &OwedLabels) -> OwedEntry {
        OwedEntry::Known(Box::new(owed.clone()))
    }
}

/// Promised labels that this release knows.
pub(super) fn known_promise<'de, D: Deserializer<'de>>(
    reader: D,
) -> Result<Option<PromisedLabels>, D::Error> {
    let value = Value::deserialize(reader)?;
    Ok(serde_json::from_value(value).ok())
}
