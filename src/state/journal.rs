//! The state on disk: the snapshot, and the append-only journal of events since.
//!
//! A checkpoint costs as much as what happened since the last one, however large the state is. The
//! journal's first line names the snapshot that it follows, by its serial number. A crash between
//! the rename of the snapshot and the truncation of the journal therefore applies no event twice.

use std::io::{self, BufWriter};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Side};
use crate::state::open_intents::OpenIntents;
use crate::state::snapshot::SnapshotError;
use crate::state::storage::{ReadOnlyStorage, StateFile, Storage, StorageWriter, storage_error};
use crate::state::{Event, State, snapshot};
use crate::untrusted::{Untrusted, escape_error};

/// A file system that damages the state again and again must not fill the disk with copies.
const MAX_UNREADABLE_COPIES: usize = 3;

/// A snapshot is written in parts of this size: a large one is never in memory as a whole.
const SNAPSHOT_BUFFER: usize = 1024 * 1024;

/// The state in memory and its files.
pub struct StateStore {
    state: State,
    storage: Box<dyn Storage>,
    /// The serial number of the snapshot on disk.
    serial: u64,
    journal: JournalStatus,
    /// Events that the snapshot on disk does not hold.
    unfolded_events: usize,
    /// Octets written to the journal since the last fold.
    unfolded_octets: u64,
}

/// What this run did to the journal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JournalStatus {
    /// Nothing since the last fold; it may not exist.
    Untouched,
    /// It has its first line, and events are appended.
    Open,
    /// Nothing is ever written: a dry run.
    ReadOnly,
}

/// The journal's first line.
#[derive(Serialize, Deserialize)]
struct JournalHeader {
    serial: u64,
}

impl StateStore {
    /// Loads the snapshot and applies the journal.
    ///
    /// A snapshot that cannot be parsed is set aside and reported at error level. The state then
    /// makes for a date pass from the earlier of 7 days ago and a day before the file's time.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::error::ErrorKind::Disk) if a file cannot be read or written, [`ErrorKind::Config`](crate::error::ErrorKind::Config) if a later
    /// release wrote the snapshot.
    pub fn load(mut storage: Box<dyn Storage>, now: DateTime<Utc>) -> Result<StateStore> {
        let mut loaded = LoadedState::read(storage.as_mut(), now)?;
        let intents = &loaded.open_intents;
        intents.put_off_lookups(&mut loaded.state, now);
        let is_unreadable = loaded.snapshot == SnapshotStatus::Unreadable;
        let mut store = StateStore {
            state: loaded.state,
            storage,
            serial: loaded.serial,
            journal: JournalStatus::Untouched,
            unfolded_events: loaded.replayed + usize::from(is_unreadable),
            unfolded_octets: 0,
        };
        store.fold(now)?;
        Ok(store)
    }

    /// Loads the state for a dry run: nothing is written, now or later.
    ///
    /// # Errors
    /// As for [`load`](StateStore::load).
    pub fn load_read_only(mut storage: Box<dyn Storage>, now: DateTime<Utc>) -> Result<StateStore> {
        let loaded = LoadedState::read(&mut ReadOnlyStorage(storage.as_mut()), now)?;
        Ok(StateStore {
            state: loaded.state,
            storage,
            serial: loaded.serial,
            journal: JournalStatus::ReadOnly,
            unfolded_events: 0,
            unfolded_octets: 0,
        })
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether there are events that the snapshot does not hold.
    pub(crate) fn has_unfolded_events(&self) -> bool {
        self.unfolded_events > 0
    }

    /// Octets written to the journal since the last fold.
    pub(crate) fn unfolded_octets(&self) -> u64 {
        self.unfolded_octets
    }

    /// Applies an event and writes it to the journal, where it survives the end of this process.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::error::ErrorKind::Disk) if the journal cannot be written.
    pub fn record(&mut self, event: Event) -> Result<()> {
        self.record_all(vec![event])
    }

    /// Records events by one write.
    ///
    /// # Errors
    /// As for [`record`](StateStore::record).
    pub fn record_all(&mut self, events: Vec<Event>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for event in &events {
            serde_json::to_writer(&mut lines, event)
                .map_err(|error| self.journal_error(&error.into()))?;
            lines.push(b'\n');
        }
        self.append_lines(&lines)?;
        self.unfolded_events += events.len();
        self.unfolded_octets += lines.len() as u64;
        for event in events {
            self.state.apply(event);
        }
        Ok(())
    }

    /// Makes all recorded events durable: they survive a power loss.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::error::ErrorKind::Disk) if the file system fails to.
    pub fn sync(&mut self) -> Result<()> {
        if self.journal == JournalStatus::Open {
            self.storage
                .sync(&StateFile::Journal)
                .map_err(|error| self.journal_error(&error))?;
        }
        Ok(())
    }

    /// Writes a new snapshot and empties the journal, if there are unfolded events.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::error::ErrorKind::Disk) if a file cannot be written. The events are still in the journal.
    pub fn fold(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.journal == JournalStatus::ReadOnly || self.unfolded_events == 0 {
            return Ok(());
        }
        self.state.prune(now);
        let serial = self.serial + 1;
        self.replace_snapshot(serial)
            .map_err(|error| storage_error(self.storage.as_ref(), &StateFile::Snapshot, &error))?;
        self.serial = serial;
        self.unfolded_events = 0;
        self.unfolded_octets = 0;
        // The journal names the old serial number from now on, so its events are ignored.
        if self.journal == JournalStatus::Open || self.journal_is_nonempty()? {
            self.storage
                .create(&StateFile::Journal)
                .map_err(|error| self.journal_error(&error))?;
        }
        self.journal = JournalStatus::Untouched;
        Ok(())
    }

    fn replace_snapshot(&mut self, serial: u64) -> io::Result<()> {
        self.storage.create(&StateFile::New)?;
        let new = StorageWriter {
            storage: self.storage.as_mut(),
            name: StateFile::New,
        };
        let new = BufWriter::with_capacity(SNAPSHOT_BUFFER, new);
        snapshot::write(&self.state, serial, new)?;
        self.storage.sync(&StateFile::New)?;
        self.storage.rename(&StateFile::New, &StateFile::Snapshot)?;
        self.storage.sync_folder()
    }

    fn journal_is_nonempty(&mut self) -> Result<bool> {
        let journal = self
            .storage
            .read(&StateFile::Journal)
            .map_err(|error| self.journal_error(&error))?;
        Ok(journal.is_some_and(|journal| !journal.is_empty()))
    }

    fn append_lines(&mut self, lines: &[u8]) -> Result<()> {
        if self.journal == JournalStatus::ReadOnly {
            return Ok(());
        }
        let mut octets = Vec::new();
        if self.journal == JournalStatus::Untouched {
            octets = self
                .start_journal()
                .map_err(|error| self.journal_error(&error))?;
        }
        octets.extend_from_slice(lines);
        self.storage
            .append(&StateFile::Journal, &octets)
            .map_err(|error| self.journal_error(&error))
    }

    /// Creates or empties the journal, and returns its first lines: the serial number, and the folder of
    /// the events. A snapshot is read with its first folder selected, or cannot be read at all.
    fn start_journal(&mut self) -> io::Result<Vec<u8>> {
        let is_new = self.storage.read(&StateFile::Journal)?.is_none();
        if !is_new {
            // A run that was killed after the rename did not make the snapshot's name durable.
            self.storage.sync_folder()?;
        }
        self.storage.create(&StateFile::Journal)?;
        if is_new {
            self.storage.sync_folder()?;
        }
        self.journal = JournalStatus::Open;
        let mut lines = serde_json::to_vec(&JournalHeader {
            serial: self.serial,
        })?;
        lines.push(b'\n');
        let folder = self.state.folder_name();
        if !folder.is_empty() {
            serde_json::to_writer(&mut lines, &Event::Folder(folder.to_owned()))?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    fn journal_error(&self, error: &io::Error) -> Error {
        storage_error(self.storage.as_ref(), &StateFile::Journal, error)
    }
}

/// The state as the files have it.
struct LoadedState {
    state: State,
    serial: u64,
    snapshot: SnapshotStatus,
    /// The number of events that the journal added.
    replayed: usize,
    open_intents: OpenIntents,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SnapshotStatus {
    Missing,
    Read,
    Unreadable,
}

impl LoadedState {
    fn read(storage: &mut dyn Storage, now: DateTime<Utc>) -> Result<LoadedState> {
        let (mut state, serial, snapshot) = read_snapshot(storage, now)?;
        let journal = storage
            .read(&StateFile::Journal)
            .map_err(|error| storage_error(storage, &StateFile::Journal, &error))?
            .unwrap_or_default();
        let (journal_serial, events) = parse_journal(&journal);
        let (serial, follows) = match snapshot {
            SnapshotStatus::Missing | SnapshotStatus::Read => {
                (serial, journal_serial == Some(serial))
            }
            // The serial number is lost with the snapshot; the events still help.
            SnapshotStatus::Unreadable => (journal_serial.unwrap_or(0), true),
        };
        if snapshot == SnapshotStatus::Missing && journal_serial.is_some_and(|serial| serial > 0) {
            // The user removed the snapshot. The journal must not seem to follow a later one, whose
            // serial number reaches the same value.
            storage
                .create(&StateFile::Journal)
                .map_err(|error| storage_error(storage, &StateFile::Journal, &error))?;
        }
        let since = state.folder.last_sync;
        let mut replayed = 0;
        let mut open_intents = OpenIntents::default();
        for event in events.filter(|_| follows) {
            open_intents.note(&event);
            state.apply(event);
            replayed += 1;
        }
        if snapshot == SnapshotStatus::Unreadable {
            state.discard_uids(since);
        }
        Ok(LoadedState {
            state,
            serial,
            snapshot,
            replayed,
            open_intents,
        })
    }
}

fn read_snapshot(
    storage: &mut dyn Storage,
    now: DateTime<Utc>,
) -> Result<(State, u64, SnapshotStatus)> {
    let failed =
        |storage: &dyn Storage, error| storage_error(storage, &StateFile::Snapshot, &error);
    let octets = storage
        .read(&StateFile::Snapshot)
        .map_err(|error| failed(storage, error))?;
    let Some(octets) = octets.map(Arc::new) else {
        return Ok((State::default(), 0, SnapshotStatus::Missing));
    };
    match snapshot::read(&octets, now) {
        Ok((state, serial)) => Ok((state, serial, SnapshotStatus::Read)),
        Err(SnapshotError::Newer(version)) => Err(newer_version_error(storage, version)),
        Err(SnapshotError::Invalid(why)) => {
            let state = replace_unreadable(storage, &octets, &why, now)
                .map_err(|error| failed(storage, error))?;
            Ok((state, 0, SnapshotStatus::Unreadable))
        }
    }
}

pub(super) fn newer_version_error(storage: &dyn Storage, version: u64) -> Error {
    let what = format!("this state has version {version}, written by a later release");
    Error::in_file(Side::State, &storage.path(&StateFile::Snapshot), what)
        .remedy("use that release, or another --state-file")
}

/// Copies an unreadable snapshot aside and returns a state in its place. It is not renamed, so that
/// a run that is killed here finds it again. The identities in it are lost: `last_sync` makes the
/// date pass begin early enough to look up at Gmail what arrived in the last days.
fn replace_unreadable(
    storage: &mut dyn Storage,
    octets: &[u8],
    why: &str,
    now: DateTime<Utc>,
) -> io::Result<State> {
    let written = storage.modified(&StateFile::Snapshot)?;
    let copy = StateFile::Unreadable(now.format("%Y%m%dT%H%M%SZ").to_string());
    storage.create(&copy)?;
    storage.append(&copy, octets)?;
    storage.sync(&copy)?;
    log::error!(
        "{}: cannot be read as a state ({}); kept as {} (the last {MAX_UNREADABLE_COPIES} are \
         kept); what arrived in the last days is looked up at Gmail",
        Untrusted::path(&storage.path(&StateFile::Snapshot)),
        escape_error(why),
        Untrusted::path(&storage.path(&copy)),
    );
    remove_old_copies(storage)?;
    // A date pass begins two days before `last_sync`.
    let week_ago = now - TimeDelta::days(5);
    let last_sync = week_ago.min(written + TimeDelta::days(1));
    Ok(State::synced_last_at(last_sync))
}

fn remove_old_copies(storage: &mut dyn Storage) -> io::Result<()> {
    let copies = storage.unreadable_copies()?;
    let surplus = copies.len().saturating_sub(MAX_UNREADABLE_COPIES);
    for copy in copies.iter().take(surplus) {
        log::warn!(
            "removing {}, the oldest unreadable copy of the state",
            Untrusted::path(&storage.path(copy))
        );
        storage.remove(copy)?;
    }
    Ok(())
}

/// The serial number in a journal's first line, and its events up to the first incomplete line.
pub(super) fn parse_journal(journal: &[u8]) -> (Option<u64>, impl Iterator<Item = Event> + '_) {
    let mut lines = journal
        .split_inclusive(|octet| *octet == b'\n')
        .map_while(|line| line.strip_suffix(b"\n"));
    let header = lines
        .next()
        .and_then(|line| serde_json::from_slice::<JournalHeader>(line).ok());
    let events = lines
        .map_while(|line| serde_json::from_slice(line).ok())
        .take(if header.is_some() { usize::MAX } else { 0 });
    (header.map(|header| header.serial), events)
}
