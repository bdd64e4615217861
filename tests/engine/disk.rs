//! The state on a real disk: files that the original wrote, damaged files, file modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use imap_to_gmail_sync::error::ErrorKind;
use imap_to_gmail_sync::message::{Digest, Identity, MessageId, Uid, UidSet};
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::FolderStorage;
use imap_to_gmail_sync::state::{Event, Knowledge};
use serde_json::{Value, json};
use tempfile::TempDir;

fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn folder_with(snapshot: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state"), snapshot).unwrap();
    folder
}

fn load_at(folder: &Path, now: DateTime<Utc>) -> StateStore {
    StateStore::load(Box::new(FolderStorage::new(&folder.join("state"))), now).unwrap()
}

fn load(folder: &Path) -> StateStore {
    load_at(folder, now())
}

fn id(text: &str) -> MessageId {
    MessageId::from_field(text).unwrap()
}

fn done(uid: u32, text: &str) -> Event {
    let block = format!("Message-ID: {text}\r\n\r\n");
    let digest = Digest {
        header: Identity::of_header(block.as_bytes()).header,
        body: None,
    };
    Event::Done {
        uid: Uid::new(uid).unwrap(),
        id: id(text),
        digest,
        at: now(),
        appended: true,
        date: None,
        previous: None,
    }
}

fn snapshot(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("state")).unwrap()).unwrap()
}

#[test]
fn every_format_that_the_original_wrote_is_read() {
    let forms = [
        json!({"synced_message_ids": ["<a@b>", " <c@d>\n"], "last_source_uid": 7, "last_sync": null}),
        json!({"synced_message_ids": {"<a@b>": null, "<c@d>": "2026-11-20T10:00:00+00:00"},
               "last_source_uid": 7, "last_sync": "2026-11-22T11:59:30.123456+00:00"}),
        json!({"synced_message_ids": {"<a@b>": "2026-11-20T10:00:00", "<c@d>": "2026-11-20 10:00:00.5"},
               "last_sync": "2026-11-22T11:59:30"}),
        json!({"synced_message_ids": {"<a@b>": 17, "<c@d>": "yesterday"}, "last_source_uid": "7"}),
    ];
    for form in forms {
        let folder = folder_with(&form.to_string());
        let store = load(folder.path());
        let state = store.state();
        for known in ["<a@b>", "<c@d>"] {
            assert_eq!(
                state.known_digests(&id(known)),
                Knowledge::IdOnly,
                "{known} of {form}"
            );
        }
        assert_eq!(state.known_digests(&id("<e@f>")), Knowledge::Unknown);
        assert_eq!(state.folder.cursor, None);
        assert_eq!(
            state.folder.last_sync.is_some(),
            form["last_sync"].is_string(),
            "{form}"
        );
    }
}

#[test]
fn the_original_reads_what_is_written_and_keeps_its_keys() {
    let folder =
        folder_with(r#"{"synced_message_ids": ["<a@b>"], "last_source_uid": 3, "extra": [1]}"#);
    let mut store = load(folder.path());
    store.record(done(5, "<c@d>")).unwrap();
    store.fold(now()).unwrap();
    let written = snapshot(folder.path());
    // What the original's loader expects: a map from id to an ISO time or null, a number, a time.
    for id in ["<a@b>", "<c@d>"] {
        assert_eq!(
            written["synced_message_ids"][id],
            "2026-11-22T12:00:00+00:00"
        );
    }
    assert_eq!(written["last_source_uid"], 3);
    assert_eq!(written["extra"], json!([1]));
    assert_eq!(written["version"], 3);
}

#[test]
fn an_id_without_a_time_counts_from_the_day_it_was_first_read() {
    let folder = folder_with(r#"{"synced_message_ids": {"<a@b>": null}}"#);
    let mut store = load(folder.path());
    store.record(done(5, "<c@d>")).unwrap();
    store.fold(now()).unwrap();
    let mut later = load_at(folder.path(), now() + TimeDelta::days(31));
    assert_eq!(later.state().known_digests(&id("<a@b>")), Knowledge::IdOnly);
    later.record(Event::Synced { at: now() }).unwrap();
    later
        .fold(now() + TimeDelta::days(31) + TimeDelta::seconds(1))
        .unwrap();
    assert_eq!(load(folder.path()).state().known_id_count(), 0);
}

#[test]
fn a_snapshot_that_cannot_be_parsed_is_moved_aside_and_leads_to_a_date_pass_of_the_last_days() {
    for garbage in [
        "",
        "{",
        "null",
        "[]",
        "{\"version\": 2, \"cursor\": 5}",
        "\u{0}\u{1}\u{2}",
    ] {
        let folder = folder_with(garbage);
        let store = load(folder.path());
        let aside = folder.path().join("state.unreadable-20261122T120000Z");
        assert_eq!(fs::read_to_string(aside).unwrap(), garbage);
        let state = store.state();
        assert!(state.folder.cursor.is_none() && state.folder.date_pass.is_none());
        // A date pass reaches two days further back than this.
        assert_eq!(
            state.folder.last_sync,
            Some(now() - TimeDelta::days(5)),
            "{garbage:?}"
        );
        assert_eq!(snapshot(folder.path())["version"], 3);
    }
}

#[test]
fn an_old_snapshot_that_cannot_be_parsed_makes_the_date_pass_reach_further_back() {
    let folder = folder_with("garbage");
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join("state"))
        .unwrap();
    let written = now() - TimeDelta::days(40);
    file.set_modified(written.into()).unwrap();
    drop(file);
    assert_eq!(
        load(folder.path()).state().folder.last_sync,
        Some(written + TimeDelta::days(1))
    );
}

#[test]
fn identities_in_the_journal_survive_a_garbage_snapshot() {
    let folder = folder_with(r#"{"synced_message_ids": []}"#);
    let mut store = load(folder.path());
    store.record(done(5, "<c@d>")).unwrap();
    drop(store);
    fs::write(folder.path().join("state"), "garbage").unwrap();
    let store = load(folder.path());
    assert!(matches!(
        store.state().known_digests(&id("<c@d>")),
        Knowledge::Digests(_)
    ));
}

#[test]
fn a_state_of_a_later_version_is_rejected_and_unchanged() {
    let written = r#"{"version": 4, "cursor": "something new"}"#;
    let folder = folder_with(written);
    let Err(error) = StateStore::load(
        Box::new(FolderStorage::new(&folder.path().join("state"))),
        now(),
    ) else {
        panic!("it was read");
    };
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("version 4"), "{error}");
    assert_eq!(
        fs::read_to_string(folder.path().join("state")).unwrap(),
        written
    );
}

#[test]
fn a_torn_journal_line_hides_neither_what_stands_before_nor_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = load(folder.path());
    store.record(done(1, "<a@b>")).unwrap();
    store.record(done(2, "<c@d>")).unwrap();
    drop(store);
    let journal = folder.path().join("state.journal");
    let whole = fs::read(&journal).unwrap();
    for cut in 0..whole.len() {
        fs::remove_file(folder.path().join("state")).ok();
        fs::write(&journal, &whole[..cut]).unwrap();
        let mut store = load(folder.path());
        let first = store.state().known_digests(&id("<a@b>")) != Knowledge::Unknown;
        let lines = String::from_utf8_lossy(&whole[..cut]).matches('\n').count();
        assert_eq!(first, lines >= 2, "cut at {cut}");
        store.record(done(3, "<e@f>")).unwrap();
        drop(store);
        let store = load(folder.path());
        assert_ne!(
            store.state().known_digests(&id("<e@f>")),
            Knowledge::Unknown,
            "cut at {cut}"
        );
        assert_eq!(
            store.state().known_digests(&id("<a@b>")) != Knowledge::Unknown,
            first
        );
    }
}

#[test]
fn a_journal_of_another_snapshot_is_not_counted_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = load(folder.path());
    store.record(done(1, "<a@b>")).unwrap();
    let journal = fs::read(folder.path().join("state.journal")).unwrap();
    store.fold(now()).unwrap();
    drop(store);
    // As if the run had been killed between the rename and the truncation.
    fs::write(folder.path().join("state.journal"), &journal).unwrap();
    let before = snapshot(folder.path());
    let store = load(folder.path());
    drop(store);
    assert_eq!(snapshot(folder.path()), before);
}

#[test]
fn nothing_is_written_when_nothing_is_recorded() {
    let folder = folder_with(r#"{"version": 2, "serial": 4}"#);
    let before = fs::metadata(folder.path().join("state"))
        .unwrap()
        .modified()
        .unwrap();
    let mut store = load(folder.path());
    store.fold(now()).unwrap();
    store.sync().unwrap();
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["state"]);
    assert_eq!(
        fs::metadata(folder.path().join("state"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
}

#[test]
fn a_read_only_state_changes_in_memory_and_writes_nothing() {
    let folder = folder_with("garbage");
    let mut store = StateStore::load_read_only(
        Box::new(FolderStorage::new(&folder.path().join("state"))),
        now(),
    )
    .unwrap();
    store.record(done(1, "<a@b>")).unwrap();
    store.fold(now()).unwrap();
    assert_ne!(
        store.state().known_digests(&id("<a@b>")),
        Knowledge::Unknown
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("state")).unwrap(),
        "garbage"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn nobody_else_can_read_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = load(folder.path());
    store.record(done(1, "<a@b>")).unwrap();
    store.fold(now()).unwrap();
    store.record(done(2, "<c@d>")).unwrap();
    for name in ["state", "state.journal"] {
        let mode = fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_missing_folder_is_an_error_with_its_path() {
    let path = Path::new("/nonexistent/state");
    let mut store = StateStore::load(Box::new(FolderStorage::new(path)), now()).unwrap();
    let error = store.record(done(1, "<a@b>")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disk);
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent/state.journal: reading or writing the state: ")
    );
}

#[test]
fn a_state_that_is_a_folder_is_neither_read_nor_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    let Err(error) = StateStore::load(
        Box::new(FolderStorage::new(&folder.path().join("state"))),
        now(),
    ) else {
        panic!("it was read");
    };
    assert_eq!(error.kind(), ErrorKind::Disk);
}

#[test]
fn settled_uids_are_kept_as_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = load(folder.path());
    let uids: UidSet = "5,7:9".parse().unwrap();
    store.record(Event::Settled { uids }).unwrap();
    store.fold(now()).unwrap();
    assert_eq!(snapshot(folder.path())["settled"], "5,7:9");
    assert_eq!(load(folder.path()).state().folder.highest_uid(), 9);
}

#[test]
fn a_cursor_in_the_journal_of_a_lost_snapshot_is_not_trusted() {
    let folder = folder_with(r#"{"synced_message_ids": []}"#);
    let mut store = load(folder.path());
    store.record(done(5, "<c@d>")).unwrap();
    let uid_validity = imap_to_gmail_sync::message::UidValidity::new(1).unwrap();
    store
        .record(Event::Cursor(imap_to_gmail_sync::state::Cursor {
            source: "a@b/INBOX".to_owned(),
            uid_validity,
            uid: 5,
        }))
        .unwrap();
    store.record(Event::Synced { at: now() }).unwrap();
    drop(store);
    fs::write(folder.path().join("state"), "garbage").unwrap();
    let store = load(folder.path());
    // The messages parked below it were in the snapshot only.
    assert_eq!(store.state().folder.cursor, None);
    assert_eq!(
        store.state().folder.last_sync,
        Some(now() - TimeDelta::days(5))
    );
}

#[test]
fn ids_are_kept_while_a_date_pass_is_open() {
    let folder = folder_with(r#"{"synced_message_ids": {"<old@x>": "2026-10-01T00:00:00+00:00"}}"#);
    let mut store = load(folder.path());
    store
        .record(Event::DatePass(imap_to_gmail_sync::state::DatePass {
            source: "a@b/INBOX".to_owned(),
            since: now() - TimeDelta::days(60),
            began: None,
            uid_validity: imap_to_gmail_sync::message::UidValidity::new(1).unwrap(),
            uid_next: Uid::new(9).unwrap(),
            keeps_uids: false,
            orphans: Vec::new(),
        }))
        .unwrap();
    store.fold(now()).unwrap();
    assert_eq!(
        load(folder.path()).state().known_digests(&id("<old@x>")),
        Knowledge::IdOnly
    );
}

#[test]
fn of_a_device_that_always_uses_one_id_the_last_100_messages_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = load(folder.path());
    for number in 1..=300 {
        let block = format!("Message-ID: <device@x>\r\nSubject: {number}\r\n\r\n");
        let header = Identity::of_header(block.as_bytes()).header;
        let digest = Digest { header, body: None };
        let (uid, id) = (Uid::new(number).unwrap(), id("<device@x>"));
        store
            .record(Event::Done {
                uid,
                id,
                digest,
                at: now(),
                appended: true,
                date: None,
                previous: None,
            })
            .unwrap();
    }
    let Knowledge::Digests(digests) = store.state().known_digests(&id("<device@x>")) else {
        panic!()
    };
    assert_eq!(digests.len(), 100);
}
