//! The snapshot `sync_state.json`: its own format, and every format of the Python original.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::message::{Digest, MessageId, Uid, UidSet};
use crate::state::known::{Copies, KnownMessage, KnownMessages};
use crate::state::{
    AccountNames, Cursor, DatePass, GmailState, LoggedWarnings, ParkedMessage, RefusedMessage,
    SourceState, State,
};
use crate::timestamp;

/// The format version that this program writes. The original writes none, which counts as 1.
const VERSION: u64 = 2;

/// Why a snapshot could not be read.
#[derive(Debug)]
pub(super) enum SnapshotError {
    /// A later release wrote it, with this version.
    Newer(u64),
    /// It is not a snapshot: the reason and the place.
    Invalid(String),
}

/// The snapshot as it is written.
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    samples: &'a BTreeMap<Uid, Digest>,
    date_pass: Option<&'a DatePass>,
    synced_message_ids: BTreeMap<&'a MessageId, String>,
    digests: BTreeMap<&'a MessageId, &'a [Digest]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    copies: BTreeMap<&'a MessageId, &'a Copies>,
    parked: &'a BTreeMap<Uid, ParkedMessage>,
    refused: &'a BTreeMap<String, RefusedMessage>,
    source: &'a SourceState,
    gmail: &'a GmailState,
    #[serde(skip_serializing_if = "Option::is_none")]
    warned: Option<&'a LoggedWarnings>,
    #[serde(flatten)]
    unknown_keys: &'a Map<String, Value>,
}

/// The snapshot as it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SnapshotIn {
    version: Option<u64>,
    serial: u64,
    account: Option<AccountNames>,
    last_sync: Option<String>,
    last_source_uid: Option<Value>,
    cursor: Option<Cursor>,
    settled: UidSet,
    samples: BTreeMap<Uid, Digest>,
    date_pass: Option<DatePass>,
    synced_message_ids: SyncedIds,
    digests: HashMap<String, Vec<Digest>>,
    copies: HashMap<String, Copies>,
    parked: BTreeMap<Uid, ParkedMessage>,
    refused: BTreeMap<String, RefusedMessage>,
    source: SourceState,
    gmail: GmailState,
    warned: Option<LoggedWarnings>,
    #[serde(flatten)]
    unknown_keys: Map<String, Value>,
}

/// The ids as any version of the original wrote them: a list, or a map to a time or null.
#[derive(Default)]
struct SyncedIds(Vec<(String, LenientTime)>);

/// A time as any version of the original wrote it; `None` for anything else.
struct LenientTime(Option<DateTime<Utc>>);

// Written by hand: derived code would build every id twice, and reading the state is most of the
// work of a run with nothing new.
impl<'de> Deserialize<'de> for SyncedIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SyncedIds, D::Error> {
        struct ListOrMap;

        impl<'de> Visitor<'de> for ListOrMap {
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

        deserializer.deserialize_any(ListOrMap)
    }
}

impl<'de> Deserialize<'de> for LenientTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LenientTime, D::Error> {
        struct AnyValue;

        impl Visitor<'_> for AnyValue {
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

        deserializer.deserialize_any(AnyValue)
    }
}

/// Serializes a state under a serial number.
pub(super) fn write(state: &State, serial: u64) -> serde_json::Result<Vec<u8>> {
    let ids = state.known.iter();
    let snapshot = SnapshotOut {
        version: VERSION,
        serial,
        account: state.account.as_ref(),
        last_sync: state.last_sync.map(format_time),
        last_source_uid: state.last_source_uid,
        cursor: state.cursor.as_ref(),
        settled: state.settled.to_string(),
        samples: &state.samples,
        date_pass: state.date_pass.as_ref(),
        synced_message_ids: ids
            .clone()
            .map(|(id, known)| (id, format_time(known.at)))
            .collect(),
        digests: ids
            .clone()
            .filter(|(_, known)| !known.digests.is_empty())
            .map(|(id, known)| (id, known.digests.as_slice()))
            .collect(),
        copies: ids
            .filter(|(_, known)| !known.copies.is_implied())
            .map(|(id, known)| (id, &known.copies))
            .collect(),
        parked: &state.parked,
        refused: &state.refused,
        source: &state.source,
        gmail: &state.gmail,
        warned: state.warned.as_ref(),
        unknown_keys: &state.unknown_keys,
    };
    let mut octets = serde_json::to_vec_pretty(&snapshot)?;
    octets.push(b'\n');
    Ok(octets)
}

/// Reads a snapshot: the state and its serial number. Ids without a time count as delivered `now`.
pub(super) fn read(octets: &[u8], now: DateTime<Utc>) -> Result<(State, u64), SnapshotError> {
    let snapshot: SnapshotIn = match serde_json::from_slice(octets) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            return Err(newer(octets).unwrap_or(SnapshotError::Invalid(error.to_string())));
        }
    };
    if let Some(newer) = snapshot.version.filter(|version| *version > VERSION) {
        return Err(SnapshotError::Newer(newer));
    }
    let last_source_uid = snapshot.last_source_uid.as_ref().and_then(Value::as_u64);
    let state = State {
        account: snapshot.account,
        last_sync: snapshot.last_sync.as_deref().and_then(timestamp::parse),
        // A snapshot without a version is the original's, which has no cursor.
        cursor: snapshot.cursor.filter(|_| snapshot.version.is_some()),
        last_source_uid: last_source_uid
            .and_then(|uid| u32::try_from(uid).ok())
            .unwrap_or(0),
        settled: snapshot.settled,
        samples: snapshot.samples,
        date_pass: snapshot.date_pass,
        parked: snapshot.parked,
        refused: snapshot.refused,
        source: snapshot.source,
        gmail: snapshot.gmail,
        warned: snapshot.warned,
        known: known(
            snapshot.synced_message_ids,
            snapshot.digests,
            snapshot.copies,
            now,
        ),
        unknown_keys: snapshot.unknown_keys,
    };
    Ok((state, snapshot.serial))
}

/// A snapshot that cannot be parsed may be of a later version with another format.
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
    mut copies: HashMap<String, Copies>,
    now: DateTime<Utc>,
) -> KnownMessages {
    let mut known = HashMap::with_capacity(ids.len());
    for (text, LenientTime(at)) in ids {
        let digests = digests.remove(&text).unwrap_or_default();
        let at = at.map_or(now, |at| at.min(now));
        if let Some(id) = MessageId::from_field(&text) {
            let copies = copies.remove(&text);
            let is_without_id = !id.is_from_field() && !digests.is_empty();
            let implied = || is_without_id.then(Copies::implied);
            let known_message = KnownMessage {
                at,
                digests,
                copies: copies.or_else(implied).unwrap_or_default(),
            };
            known.insert(id, known_message);
        }
    }
    known
}

/// A time as the original reads it (Python's `fromisoformat` before 3.11 does not accept `Z`).
fn format_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
