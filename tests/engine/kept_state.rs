//! Kept copies of the state's files: what an earlier build wrote is read, and written again octet
//! for octet.
//!
//! The files below `kept_state/` are never regenerated. A change of the format adds a copy.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use imap_to_gmail_sync::state::Event;
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::FolderStorage;

const SNAPSHOT: &str = include_str!("kept_state/sync_state.json");
const JOURNAL: &str = include_str!("kept_state/sync_state.json.journal");
const FOLDED: &str = include_str!("kept_state/folded.json");

/// Of a later build, with more fields: journal lines that
/// follow `FOLDED`, and the snapshot after them.
const LATER_JOURNAL: &str = include_str!("kept_state/later.journal");
const LATER: &str = include_str!("kept_state/later.json");

/// Of a still later one, which also keeps samples of the mailbox: journal lines that follow `LATER`,
/// and the snapshot after them.
const RENAMED_JOURNAL: &str = include_str!("kept_state/renamed.journal");
const RENAMED: &str = include_str!("kept_state/renamed.json");

/// Of one that also keeps which warnings were logged, after `LATER` as well.
const WARNED_JOURNAL: &str = include_str!("kept_state/warned.journal");
const WARNED: &str = include_str!("kept_state/warned.json");

/// Of one that also keeps why Gmail rests, after `WARNED`.
const RESTED_JOURNAL: &str = include_str!("kept_state/rested.journal");
const RESTED: &str = include_str!("kept_state/rested.json");

/// Of one that also keeps which labels are owed, after `RESTED`. One entry is of a still later build.
const LABELLED_JOURNAL: &str = include_str!("kept_state/labelled.journal");
const LABELLED: &str = include_str!("kept_state/labelled.json");

/// Of one that remembers several folders, after `RESTED`: version 3.
const FOLDERS_JOURNAL: &str = include_str!("kept_state/folders.journal");
const FOLDERS: &str = include_str!("kept_state/folders.json");

/// Of one that also keeps since when a folder is there, after `FOLDERS`.
const SEEN_JOURNAL: &str = include_str!("kept_state/seen.journal");
const SEEN: &str = include_str!("kept_state/seen.json");

fn now() -> DateTime<Utc> {
    "2026-11-22T21:00:00Z".parse().unwrap()
}

fn load(folder: &Path) -> StateStore {
    let storage = FolderStorage::new(&folder.join("sync_state.json"));
    StateStore::load(Box::new(storage), now()).unwrap()
}

fn kept_events() -> impl Iterator<Item = (&'static str, Event)> {
    let journals = [
        JOURNAL,
        LATER_JOURNAL,
        RENAMED_JOURNAL,
        WARNED_JOURNAL,
        RESTED_JOURNAL,
        LABELLED_JOURNAL,
        FOLDERS_JOURNAL,
        SEEN_JOURNAL,
    ];
    let lines = journals.into_iter().flat_map(str::lines);
    let lines = lines.filter(|line| !line.starts_with("{\"serial\""));
    lines.map(|line| (line, serde_json::from_str(line).unwrap()))
}

/// The compiler asks for a new variant here; the next test asks for its line in the journal.
fn number(event: &Event) -> usize {
    match event {
        Event::Account(_) => 0,
        Event::DatePass(_) => 1,
        Event::OrphanFound { .. } => 2,
        Event::OrphanLost { .. } => 3,
        Event::OrphanDelivered { .. } => 4,
        Event::Intent { .. } => 5,
        Event::Done { .. } => 6,
        Event::Parked { .. } => 7,
        Event::Returned { .. } => 8,
        Event::Refused { .. } => 9,
        Event::Settled { .. } => 10,
        Event::Cursor(_) => 11,
        Event::Synced { .. } => 12,
        Event::Gmail(_) => 13,
        Event::Source(_) => 14,
        Event::SourceRenamed(_) => 15,
        Event::Warned(_) => 16,
        Event::LabelsOwed { .. } => 17,
        Event::LabelsSettled { .. } => 18,
        Event::StoredWithoutLabels { .. } => 19,
        Event::Folder(_) => 20,
        Event::FolderRenamed(_) => 21,
        Event::OrphanNotStored { .. } => 22,
        Event::AllFoldersCopied => 23,
        Event::FolderSeen { .. } => 24,
        Event::WrongUidNext => 25,
    }
}

#[test]
fn every_line_of_a_kept_journal_is_written_again_octet_for_octet() {
    for (line, event) in kept_events() {
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
    }
    let numbers: BTreeSet<usize> = kept_events().map(|(_, event)| number(&event)).collect();
    assert_eq!(numbers, (0..26).collect(), "a line of each kind is kept");
}

#[test]
fn a_kept_snapshot_is_written_again_octet_for_octet() {
    for (kept, before) in [
        (SNAPSHOT, 93),
        (FOLDED, 94),
        (LATER, 95),
        (RENAMED, 96),
        (WARNED, 96),
        (RESTED, 97),
        (LABELLED, 98),
        (FOLDERS, 98),
        (SEEN, 99),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sync_state.json");
        fs::write(&file, kept).unwrap();
        let mut store = load(folder.path());
        // An event that changes nothing, so that there is something to fold.
        let at = store.state().folder.last_sync.unwrap();
        store.record(Event::Synced { at }).unwrap();
        store.fold(now()).unwrap();
        let serial = |number: u64| format!("\"serial\": {number},");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            as_version_3(kept).replace(&serial(before), &serial(before + 1))
        );
    }
}

/// A snapshot of version 2 as version 3 has it, whose messages without Message-ID belong to folders.
fn as_version_3(kept: &str) -> String {
    let mut lines = Vec::new();
    let mut is_in_uids = false;
    for line in kept.lines() {
        let line = line.replace("\"version\": 2,", "\"version\": 3,");
        if line == "      \"uids\": {" {
            is_in_uids = true;
            lines.push("      \"folders\": {".to_owned());
            lines.push("        \"\": {".to_owned());
        } else if is_in_uids && line == "      }," {
            is_in_uids = false;
            lines.push("        }".to_owned());
            lines.push(line);
        } else if is_in_uids {
            lines.push(format!("  {line}"));
        } else {
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn a_kept_journal_is_folded_into_its_kept_snapshot() {
    for (snapshot, journal, folded) in [
        (SNAPSHOT, JOURNAL, FOLDED),
        (FOLDED, LATER_JOURNAL, LATER),
        (LATER, RENAMED_JOURNAL, RENAMED),
        (LATER, WARNED_JOURNAL, WARNED),
        (WARNED, RESTED_JOURNAL, RESTED),
        (RESTED, LABELLED_JOURNAL, LABELLED),
        (RESTED, FOLDERS_JOURNAL, FOLDERS),
        (FOLDERS, SEEN_JOURNAL, SEEN),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sync_state.json");
        fs::write(&file, snapshot).unwrap();
        fs::write(folder.path().join("sync_state.json.journal"), journal).unwrap();
        load(folder.path());
        let written = fs::read_to_string(&file).unwrap();
        if folded == FOLDERS {
            assert_eq!(without_earlier_deliveries(&written), folded);
        } else if [RENAMED, SEEN].contains(&folded) {
            assert_eq!(written, as_version_3(folded));
        } else {
            assert_eq!(without_samples(&written), as_version_3(folded));
        }
    }
}

#[test]
fn labels_that_only_a_later_build_knows_are_kept_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sync_state.json");
    for later in ["[]", "{\"x\": 7, \"1\": {\"place\": 5}}"] {
        let (before, rest) = LABELLED.split_once("\"owed_labels\": ").unwrap();
        let (_, after) = rest.split_once("\n  },\n").unwrap();
        fs::write(&file, format!("{before}\"owed_labels\": {later},\n{after}")).unwrap();
        let store = load(folder.path());
        assert!(store.state().known_id_count() > 0);
        assert!(store.state().owed_labels().is_empty());
    }
    fs::write(
        &file,
        LABELLED.replace("\"folder\": \"INBOX\"", "\"folder\": 7"),
    )
    .unwrap();
    let store = load(folder.path());
    assert!(store.state().owed_labels().is_empty());
    assert!(
        store
            .state()
            .folder
            .parked
            .values()
            .all(|parked| parked.labels.is_none())
    );
    fs::write(&file, LABELLED).unwrap();
    let store = load(folder.path());
    assert_eq!(store.state().owed_labels().len(), 1);
    assert!(
        store
            .state()
            .folder
            .parked
            .values()
            .any(|parked| parked.labels.is_some())
    );
}

#[test]
fn a_word_that_only_a_later_build_knows_does_not_make_the_state_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    let later = RESTED.replace("\"connections\"", "\"phase of the moon\"");
    fs::write(folder.path().join("sync_state.json"), later).unwrap();
    let store = load(folder.path());
    assert_eq!(store.state().gmail.rest_reason, None);
    assert!(store.state().known_id_count() > 0);
}

/// The snapshot as builds wrote it that forgot deliveries as soon as all folders were copied.
fn without_earlier_deliveries(snapshot: &str) -> String {
    let kept = "  \"earlier_deliveries\": {\n    \"<three@x>\": \"Lists/Rust\"\n  },\n";
    assert!(snapshot.contains(kept), "{snapshot}");
    snapshot.replace(kept, "")
}

/// The snapshot as builds before samples wrote it.
fn without_samples(snapshot: &str) -> String {
    let Some((before, rest)) = snapshot.split_once("  \"samples\": {\n") else {
        return snapshot.to_owned();
    };
    let (_, after) = rest.split_once("  },\n").unwrap();
    format!("{before}{after}")
}

#[test]
fn a_new_journal_begins_and_grows_as_the_kept_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sync_state.json"), SNAPSHOT).unwrap();
    let mut store = load(folder.path());
    store
        .record_all(kept_events().map(|(_, event)| event).collect())
        .unwrap();
    let written = fs::read_to_string(folder.path().join("sync_state.json.journal")).unwrap();
    let lines = kept_events().map(|(line, _)| format!("{line}\n"));
    assert_eq!(
        written,
        format!("{{\"serial\":93}}\n{}", lines.collect::<String>())
    );
}
