//! The snapshot: `sync_state.json`, ours and every form that the Python original wrote.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::message::{Digest, MessageId, Uid, UidSet};
use crate::state::{
    AccountNames, Cursor, DatePass, GmailState, KnownMessage, ParkedMessage, RefusedMessage,
    SourceState, State,
};
use crate::timestamp;

/// The version that this program writes; the original writes none, which counts as 1.
const VERSION: u64 = 2;

/// Why a snapshot could not be read.
#[derive(Debug)]
pub(super) enum SnapshotError {
    /// It is of a later version of this program.
    Newer(u64),
    /// It is not a snapshot: where and why.
    Invalid(String),
}

/// A snapshot as it is written.
#[derive(Serialize)]
struct SnapshotOut<'a> {
    version: u64,
    serial: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a AccountNames>,
    last_sync: Option<String>,
    last_source_uid: u32,
    cursor: Option<&'a Cursor>,
    settled: String,
    date_pass: Option<&'a DatePass>,
    synced_message_ids: BTreeMap<&'a MessageId, String>,
    digests: BTreeMap<&'a MessageId, &'a [Digest]>,
    parked: &'a BTreeMap<Uid, ParkedMessage>,
    refused: &'a BTreeMap<String, RefusedMessage>,
    source: &'a SourceState,
    gmail: &'a GmailState,
    #[serde(flatten)]
    foreign: &'a Map<String, Value>,
}

/// A snapshot as it may be found.
#[derive(Deserialize)]
struct SnapshotIn {
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    serial: u64,
    #[serde(default)]
    account: Option<AccountNames>,
    #[serde(default)]
    last_sync: Option<String>,
    #[serde(default)]
    last_source_uid: Option<Value>,
    #[serde(default)]
    cursor: Option<Cursor>,
    #[serde(default)]
    settled: UidSet,
    #[serde(default)]
    date_pass: Option<DatePass>,
    #[serde(default)]
    synced_message_ids: SyncedIds,
    #[serde(default)]
    digests: HashMap<String, Vec<Digest>>,
    #[serde(default)]
    parked: BTreeMap<Uid, ParkedMessage>,
    #[serde(default)]
    refused: BTreeMap<String, RefusedMessage>,
    #[serde(default)]
    source: SourceState,
    #[serde(default)]
    gmail: GmailState,
    #[serde(flatten)]
    foreign: Map<String, Value>,
}

/// The ids in the forms that the original ever wrote: a list, or a map to a time or null.
#[derive(Default)]
struct SyncedIds(Vec<(String, LenientTime)>);

/// A time in a form that the original ever wrote; `None` for anything else.
struct LenientTime(Option<DateTime<Utc>>);

// Read by hand: derived code would build every id twice, and a run with nothing new does little
// else than read the state.
impl<'de> Deserialize<'de> for SyncedIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SyncedIds, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = SyncedIds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of ids, or a map from id to time")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SyncedIds, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push((id, LenientTime(None)));
                }
                Ok(SyncedIds(ids))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SyncedIds, A::Error> {
                let mut ids = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    ids.push(entry);
                }
                Ok(SyncedIds(ids))
            }

            fn visit_unit<E>(self) -> Result<SyncedIds, E> {
                Ok(SyncedIds::default())
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl<'de> Deserialize<'de> for LenientTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LenientTime, D::Error> {
        struct AnyForm;

        impl Visitor<'_> for AnyForm {
            type Value = LenientTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_str<E>(self, text: &str) -> Result<LenientTime, E> {
                Ok(LenientTime(timestamp::parse(text)))
            }

            fn visit_unit<E>(self) -> Result<LenientTime, E> {
                Ok(LenientTime(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<LenientTime, E> {
                Ok(LenientTime(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<LenientTime, E> {
                Ok(LenientTime(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<LenientTime, E> {
                Ok(LenientTime(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<LenientTime, E> {
                Ok(LenientTime(None))
            }
        }

        deserializer.deserialize_any(AnyForm)
    }
}

/// The snapshot of a state, under its serial number.
pub(super) fn write(state: &State, serial: u64) -> serde_json::Result<Vec<u8>> {
    let ids = state.known.iter();
    let written = SnapshotOut {
        version: VERSION,
        serial,
        account: state.account.as_ref(),
        last_sync: state.last_sync.map(as_original_writes),
        last_source_uid: state.last_source_uid,
        cursor: state.cursor.as_ref(),
        settled: state.settled.to_string(),
        date_pass: state.date_pass.as_ref(),
        synced_message_ids: ids
            .clone()
            .map(|(id, known)| (id, as_original_writes(known.at)))
            .collect(),
        digests: ids
            .filter(|(_, known)| !known.digests.is_empty())
            .map(|(id, known)| (id, known.digests.as_slice()))
            .collect(),
        parked: &state.parked,
        refused: &state.refused,
        source: &state.source,
        gmail: &state.gmail,
        foreign: &state.unknown_keys,
    };
    let mut octets = serde_json::to_vec_pretty(&written)?;
    octets.push(b'\n');
    Ok(octets)
}

/// Reads a snapshot: the state and its serial number. Ids without a time count from `now`.
pub(super) fn read(octets: &[u8], now: DateTime<Utc>) -> Result<(State, u64), SnapshotError> {
    let found: SnapshotIn = match serde_json::from_slice(octets) {
        Ok(found) => found,
        Err(error) => {
            return Err(newer(octets).unwrap_or(SnapshotError::Invalid(error.to_string())));
        }
    };
    if let Some(newer) = found.version.filter(|version| *version > VERSION) {
        return Err(SnapshotError::Newer(newer));
    }
    let original_mark = found.last_source_uid.as_ref().and_then(Value::as_u64);
    let state = State {
        account: found.account,
        last_sync: found.last_sync.as_deref().and_then(timestamp::parse),
        // Our cursor holds only as long as the original's mark agrees with it.
        cursor: found.cursor.filter(|_| found.version.is_some()),
        last_source_uid: original_mark
            .and_then(|uid| u32::try_from(uid).ok())
            .unwrap_or(0),
        settled: found.settled,
        date_pass: found.date_pass,
        parked: found.parked,
        refused: found.refused,
        source: found.source,
        gmail: found.gmail,
        known: known(found.synced_message_ids, found.digests, now),
        unknown_keys: found.foreign,
    };
    Ok((state, found.serial))
}

/// What cannot be read may be of a later version, which may have other shapes.
fn newer(octets: &[u8]) -> Option<SnapshotError> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version } = serde_json::from_slice(octets).ok()?;
    (version > VERSION).then_some(SnapshotError::Newer(version))
}

fn known(
    SyncedIds(ids): SyncedIds,
    mut digests: HashMap<String, Vec<Digest>>,
    now: DateTime<Utc>,
) -> HashMap<MessageId, KnownMessage> {
    let mut known = HashMap::with_capacity(ids.len());
    for (text, LenientTime(at)) in ids {
        let digests = digests.remove(&text).unwrap_or_default();
        let at = at.map_or(now, |at| at.min(now));
        if let Some(id) = MessageId::from_field(&text) {
            known.insert(id, KnownMessage { at, digests });
        }
    }
    known
}

/// The form that every Python reads (`fromisoformat` before 3.11 does not know `Z`).
fn as_original_writes(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
