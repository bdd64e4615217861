//! The state files.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::{StateFile, Storage};
use imap_to_gmail_sync::state::{Event, State};

use super::assert_harmless;

/// The first line of a journal that follows [`SNAPSHOT`].
const HEAD: &[u8] = b"{\"serial\":1}\n";
const SNAPSHOT: &[u8] = br#"{"version":2,"serial":1,"synced_message_ids":{}}"#;

/// Any snapshot loads or fails with an error, and a state that was written loads again.
pub fn snapshot(octets: &[u8]) {
    load_and_keep(&Files::with(&[(StateFile::Snapshot, octets)]));
}

/// The same for any journal, with and without a valid first line.
pub fn journal(octets: &[u8]) {
    load_and_keep(&Files::with(&[
        (StateFile::Snapshot, SNAPSHOT),
        (StateFile::Journal, octets),
    ]));
    let counts = [HEAD, octets].concat();
    load_and_keep(&Files::with(&[
        (StateFile::Snapshot, SNAPSHOT),
        (StateFile::Journal, &counts),
    ]));
    load_and_keep(&Files::with(&[(StateFile::Journal, &counts)]));
}

fn load_and_keep(files: &Files) {
    let untouched = files.contents();
    let loaded = StateStore::load_read_only(files.boxed(), now());
    assert_eq!(files.contents(), untouched, "a dry run writes nothing");
    if let Err(error) = loaded {
        assert_harmless(&error.to_string());
        return;
    }
    let written = load_and_write(files);
    let read = load_and_write(files);
    assert_eq!(exact_parts(&written), exact_parts(&read));
    // Some times are written in whole seconds, so only the second writing must be stable.
    assert_eq!(read, load_and_write(files));
}

/// Loads the state and writes it again.
fn load_and_write(files: &Files) -> State {
    let mut store = StateStore::load(files.boxed(), now()).unwrap();
    // An event without effect, so that there is something to write.
    let event = Event::Source(store.state().source.clone());
    store.record(event).unwrap();
    store.fold(now()).unwrap();
    store.state().clone()
}

/// The parts whose times are written with full precision.
fn exact_parts(state: &State) -> [String; 10] {
    [
        format!("{:?}", state.account),
        format!("{:?}", state.folder.cursor),
        format!("{:?}", state.folder.last_source_uid),
        format!("{:?}", state.folder.settled),
        format!("{:?}", state.folder.date_pass),
        format!("{:?}", state.folder.parked),
        format!("{:?}", state.folder.refused),
        format!("{:?}", state.source),
        format!("{:?}", state.gmail),
        format!("{:?}", state.known_id_count()),
    ]
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// A disk in memory that never fails; clones share it.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>);

impl Files {
    fn with(files: &[(StateFile, &[u8])]) -> Files {
        let disk = Files::default();
        for (name, octets) in files {
            disk.0
                .lock()
                .unwrap()
                .insert(disk.path(name), octets.to_vec());
        }
        disk
    }

    fn boxed(&self) -> Box<dyn Storage> {
        Box::new(self.clone())
    }

    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

impl Storage for Files {
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(&self.path(name)).cloned())
    }

    fn modified(&mut self, _: &StateFile) -> io::Result<DateTime<Utc>> {
        Ok(now())
    }

    fn create(&mut self, name: &StateFile) -> io::Result<()> {
        self.0.lock().unwrap().insert(self.path(name), Vec::new());
        Ok(())
    }

    fn append(&mut self, name: &StateFile, octets: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        files
            .entry(self.path(name))
            .or_default()
            .extend_from_slice(octets);
        Ok(())
    }

    fn sync(&mut self, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &StateFile, to: &StateFile) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let octets = files
            .remove(&self.path(from))
            .ok_or(io::ErrorKind::NotFound)?;
        files.insert(self.path(to), octets);
        Ok(())
    }

    fn remove(&mut self, name: &StateFile) -> io::Result<()> {
        self.0.lock().unwrap().remove(&self.path(name));
        Ok(())
    }

    fn unreadable_copies(&mut self) -> io::Result<Vec<StateFile>> {
        Ok(Vec::new())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &StateFile) -> PathBuf {
        PathBuf::from(format!("{name:?}"))
    }
}
