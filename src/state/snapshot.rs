//! The snapshot `sync_state.json`: its own format, and every format of the Python original.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::message::{Digest, MessageId, Uid, UidSet};
use crate::state::known::Copies;
use crate::state::owed_labels::OwedLabelsByNumber;
use crate::state::recent_deliveries::RecentDeliveries;
use crate::state::snapshot::known_entries::{AnyId, Checked, Entries, SyncedIds};
use crate::state::{
    AccountNames, Cursor, DatePass, FolderState, GmailState, LoggedWarnings, ParkedMessage,
    RefusedMessage, SourceState, State,
};
use crate::timestamp;

mod known_entries;

/// The format version that this program writes. The original writes none, which counts as 1.
const VERSION: u64 = 3;

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
    /// The first folder, to which the next fields belong; the original knows one only.
    #[serde(skip_serializing_if = "str::is_empty")]
    folder: &'a str,
    last_sync: Option<String>,
    last_source_uid: u32,
    cursor: Option<&'a Cursor>,
    settled: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    samples: &'a BTreeMap<Uid, Digest>,
    date_pass: Option<&'a DatePass>,
    synced_message_ids: ById<'a, WholeSeconds>,
    digests: ById<'a, &'a [Digest]>,
    #[serde(skip_serializing_if = "ById::is_empty")]
    copies: ById<'a, &'a Copies>,
    parked: &'a BTreeMap<Uid, ParkedMessage>,
    refused: &'a BTreeMap<String, RefusedMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    wrong_uid_next: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    folders: BTreeMap<&'a str, &'a FolderState>,
    #[serde(skip_serializing_if = "RecentDeliveries::is_empty")]
    recent_deliveries: &'a RecentDeliveries,
    #[serde(skip_serializing_if = "RecentDeliveries::is_empty")]
    earlier_deliveries: &'a RecentDeliveries,
    source: &'a SourceState,
    gmail: &'a GmailState,
    #[serde(skip_serializing_if = "OwedLabelsByNumber::is_empty")]
    owed_labels: &'a OwedLabelsByNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    warned: Option<&'a LoggedWarnings>,
    #[serde(flatten)]
    unknown_keys: &'a Map<String, Value>,
}

/// A time as the original reads it.
struct WholeSeconds(DateTime<Utc>);

/// A map in this order.
struct ById<'a, V>(Vec<(&'a MessageId, V)>);

/// The snapshot as it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SnapshotIn {
    version: Option<u64>,
    serial: u64,
    account: Option<AccountNames>,
    folder: String,
    last_sync: Option<String>,
    last_source_uid: Option<Value>,
    cursor: Option<Cursor>,
    settled: UidSet,
    samples: BTreeMap<Uid, Digest>,
    date_pass: Option<DatePass>,
    synced_message_ids: SyncedIds<AnyId>,
    digests: Entries<Vec<Digest>, Checked>,
    copies: Entries<Copies, Checked>,
    parked: BTreeMap<Uid, ParkedMessage>,
    refused: BTreeMap<String, RefusedMessage>,
    first_seen: Option<DateTime<Utc>>,
    wrong_uid_next: bool,
    folders: BTreeMap<String, FolderState>,
    recent_deliveries: RecentDeliveries,
    earlier_deliveries: RecentDeliveries,
    source: SourceState,
    gmail: GmailState,
    owed_labels: OwedLabelsByNumber,
    warned: Option<LoggedWarnings>,
    #[serde(flatten)]
    unknown_keys: Map<String, Value>,
}

impl Serialize for WholeSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_time(self.0))
    }
}

impl<V> ById<'_, V> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: Serialize> Serialize for ById<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, value)| (id, value)))
    }
}

/// Writes a state under a serial number.
pub(super) fn write(state: &State, serial: u64, mut out: impl Write) -> io::Result<()> {
    let mut known: Vec<_> = state.known.iter().collect();
    known.sort_unstable_by_key(|(id, _)| *id);
    let ids = known.iter().copied();
    let mut folders: BTreeMap<&str, &FolderState> = state.folders().collect();
    let nothing = FolderState::default();
    let first = folders.remove(state.first_folder.as_str());
    let first = first.unwrap_or(&nothing);
    folders.retain(|_, folder| **folder != nothing);
    let snapshot = SnapshotOut {
        version: VERSION,
        serial,
        account: state.account.as_ref(),
        folder: &state.first_folder,
        last_sync: first.last_sync.map(format_time),
        last_source_uid: first.last_source_uid,
        cursor: first.cursor.as_ref(),
        settled: first.settled.to_string(),
        samples: &first.samples,
        date_pass: first.date_pass.as_ref(),
        synced_message_ids: ById(
            ids.clone()
                .map(|(id, known)| (id, WholeSeconds(known.at)))
                .collect(),
        ),
        digests: ById(
            ids.clone()
                .filter(|(_, known)| !known.digests.is_empty())
                .map(|(id, known)| (id, known.digests.as_slice()))
                .collect(),
        ),
        copies: ById(
            ids.filter(|(_, known)| !known.copies.is_implied())
                .map(|(id, known)| (id, &known.copies))
                .collect(),
        ),
        parked: &first.parked,
        refused: &first.refused,
        first_seen: first.first_seen,
        wrong_uid_next: first.wrong_uid_next,
        folders,
        recent_deliveries: &state.recent_deliveries,
        earlier_deliveries: &state.earlier_deliveries,
        source: &state.source,
        gmail: &state.gmail,
        owed_labels: &state.owed_labels,
        warned: state.warned.as_ref(),
        unknown_keys: &state.unknown_keys,
    };
    serde_json::to_writer_pretty(&mut out, &snapshot)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Reads a snapshot: the state and its serial number. Ids without a time count as delivered `now`.
///
/// The known messages are checked, so that a snapshot that cannot be read is found here, but not built.
pub(super) fn read(
    octets: &Arc<Vec<u8>>,
    now: DateTime<Utc>,
) -> Result<(State, u64), SnapshotError> {
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
    let folder = FolderState {
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
        first_seen: snapshot.first_seen,
        wrong_uid_next: snapshot.wrong_uid_next,
    };
    let state = State {
        account: snapshot.account,
        folder,
        folder_name: snapshot.folder.clone(),
        other_folders: snapshot.folders,
        first_folder: snapshot.folder,
        source: snapshot.source,
        gmail: snapshot.gmail,
        owed_labels: snapshot.owed_labels,
        warned: snapshot.warned,
        known: known_entries::lazy(Arc::clone(octets), &snapshot.synced_message_ids, now),
        recent_deliveries: snapshot.recent_deliveries,
        earlier_deliveries: snapshot.earlier_deliveries,
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

/// A time as the original reads it (Python's `fromisoformat` before 3.11 does not accept `Z`).
fn format_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::journal::StateStore;
    use crate::state::storage::FolderStorage;
    use crate::state::{Event, Knowledge};

    #[test]
    fn digests_belong_to_their_ids_in_any_order() {
        let text = br#"{
            "version": 2,
            "synced_message_ids": { "<b@x>": null, "<\u0061@x>": null, "<c@x>": null },
            "digests": {
                "<z@x>": ["0000000000000009:"],
                "<c@x>": ["0000000000000003:"],
                "<a@x>": ["0000000000000001:"]
            }
        }"#;
        let (state, _) = read(&Arc::new(text.to_vec()), Utc::now()).unwrap();
        let digest = |text: &str| text.parse::<Digest>().unwrap();
        let known = |id: &str| state.known_digests(&MessageId::from_field(id).unwrap());
        assert_eq!(
            known("<a@x>"),
            Knowledge::Digests(&[digest("0000000000000001:")])
        );
        assert_eq!(known("<b@x>"), Knowledge::IdOnly);
        assert_eq!(
            known("<c@x>"),
            Knowledge::Digests(&[digest("0000000000000003:")])
        );
        assert_eq!(known("<z@x>"), Knowledge::Unknown);
    }

    #[test]
    fn a_state_of_many_megabytes_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sync_state.json");
        let ids: Map<String, Value> = (0..50_000)
            .map(|number| (format!("<{number}@mail.example.com>"), Value::Null))
            .collect();
        let text = serde_json::json!({ "version": 2, "synced_message_ids": ids });
        fs::write(&file, text.to_string()).unwrap();

        let now = timestamp::parse("2026-11-22T20:15:00Z").unwrap();
        let open = || StateStore::load(Box::new(FolderStorage::new(&file)), now).unwrap();
        let mut store = open();
        store.record(Event::Synced { at: now }).unwrap();
        store.fold(now).unwrap();

        assert!(fs::metadata(&file).unwrap().len() > 2 * 1024 * 1024);
        assert!(open().state() == store.state());
    }
}
