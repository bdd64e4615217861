//! The state on disk: a snapshot, and the append-only journal of what happened since.
//!
//! A checkpoint costs what happened since the last one, not what is remembered. The journal names
//! in its first line the snapshot that it follows, so that neither of the two renames and
//! truncations that a crash may separate can make an event count twice.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::state::snapshot::SnapshotError;
use crate::state::storage::{StateFile, Storage};
use crate::state::{Event, State, snapshot};
use crate::untrusted::Untrusted;

/// The state and its files.
pub struct StateStore {
    state: State,
    disk: Box<dyn Storage>,
    /// The serial number of the snapshot that lies on the disk.
    serial: u64,
    journal: JournalStatus,
    /// Events since the last fold, and their octets in the journal.
    unfolded_events: usize,
    unfolded_octets: u64,
}

/// How the journal file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JournalStatus {
    /// Not touched by this run yet: it may not exist.
    Untouched,
    /// It has its first line and takes events.
    Open,
    /// Nothing is written: a rehearsal.
    ReadOnly,
}

/// The journal's first line.
#[derive(Serialize, Deserialize)]
struct JournalHeader {
    serial: u64,
}

impl StateStore {
    /// Loads the snapshot and what the journal adds to it.
    ///
    /// A snapshot that cannot be parsed is moved aside and told of at error level; the state then
    /// asks for a pass by date, from the earlier of 7 days and a day before the file's time.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if a file cannot be read or written, [`ErrorKind::Config`] if the snapshot is of a
    /// later version.
    pub fn load(mut disk: Box<dyn Storage>, now: DateTime<Utc>) -> Result<StateStore> {
        let loaded = LoadedState::read(disk.as_mut(), now)?;
        let mut store = StateStore {
            state: loaded.state,
            disk,
            serial: loaded.serial,
            journal: JournalStatus::Untouched,
            unfolded_events: loaded.replayed,
            unfolded_octets: 0,
        };
        if loaded.found == SnapshotStatus::Unreadable {
            store.unfolded_events += 1;
        }
        store.fold(now)?;
        Ok(store)
    }

    /// Loads the state without ever writing: for a rehearsal.
    ///
    /// # Errors
    /// As for [`load`](StateStore::load).
    pub fn load_read_only(mut disk: Box<dyn Storage>, now: DateTime<Utc>) -> Result<StateStore> {
        let loaded = LoadedState::read(&mut ReadOnlyStorage(disk.as_mut()), now)?;
        Ok(StateStore {
            state: loaded.state,
            disk,
            serial: loaded.serial,
            journal: JournalStatus::ReadOnly,
            unfolded_events: 0,
            unfolded_octets: 0,
        })
    }

    /// What is remembered.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Says whether anything was recorded that the snapshot does not hold yet.
    #[must_use]
    pub fn has_unfolded_events(&self) -> bool {
        self.unfolded_events > 0
    }

    /// How many octets were written to the journal since the last fold.
    #[must_use]
    pub fn unfolded_octets(&self) -> u64 {
        self.unfolded_octets
    }

    /// Remembers an event: in memory, and as a journal line that outlasts this process.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if the journal cannot be written.
    pub fn record(&mut self, event: Event) -> Result<()> {
        self.record_all(vec![event])
    }

    /// Remembers events by one write.
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
                .map_err(|error| self.write_error(&error.into()))?;
            lines.push(b'\n');
        }
        self.append(&lines)?;
        self.unfolded_events += events.len();
        self.unfolded_octets += lines.len() as u64;
        for event in events {
            self.state.apply(event);
        }
        Ok(())
    }

    /// Makes everything recorded outlast a loss of power.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if the file system cannot promise it.
    pub fn sync(&mut self) -> Result<()> {
        if self.journal == JournalStatus::Open {
            self.disk
                .sync(&StateFile::Journal)
                .map_err(|error| self.write_error(&error))?;
        }
        Ok(())
    }

    /// Writes the snapshot anew and empties the journal, if anything was recorded.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if a file cannot be written; what was recorded is still in the journal.
    pub fn fold(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.journal == JournalStatus::ReadOnly || self.unfolded_events == 0 {
            return Ok(());
        }
        self.state.prune(now);
        let serial = self.serial + 1;
        let octets = snapshot::write(&self.state, serial)
            .map_err(|error| self.write_error(&error.into()))?;
        self.replace_snapshot(&octets)
            .map_err(|error| failed(self.disk.as_ref(), &StateFile::Snapshot, &error))?;
        self.serial = serial;
        self.unfolded_events = 0;
        self.unfolded_octets = 0;
        // From here on the journal's first line names an older snapshot: it counts no longer.
        if self.journal == JournalStatus::Open || self.journal_is_nonempty()? {
            self.disk
                .create(&StateFile::Journal)
                .map_err(|error| self.write_error(&error))?;
        }
        self.journal = JournalStatus::Untouched;
        Ok(())
    }

    fn replace_snapshot(&mut self, octets: &[u8]) -> io::Result<()> {
        self.disk.create(&StateFile::New)?;
        self.disk.append(&StateFile::New, octets)?;
        self.disk.sync(&StateFile::New)?;
        self.disk.rename(&StateFile::New, &StateFile::Snapshot)?;
        self.disk.sync_folder()
    }

    fn journal_is_nonempty(&mut self) -> Result<bool> {
        let journal = self
            .disk
            .read(&StateFile::Journal)
            .map_err(|error| self.write_error(&error))?;
        Ok(journal.is_some_and(|journal| !journal.is_empty()))
    }

    fn append(&mut self, lines: &[u8]) -> Result<()> {
        if self.journal == JournalStatus::ReadOnly {
            return Ok(());
        }
        let mut octets = Vec::new();
        if self.journal == JournalStatus::Untouched {
            octets = self
                .start_journal()
                .map_err(|error| self.write_error(&error))?;
        }
        octets.extend_from_slice(lines);
        self.disk
            .append(&StateFile::Journal, &octets)
            .map_err(|error| self.write_error(&error))
    }

    /// Empties the journal, or creates it for good, and gives its first line.
    fn start_journal(&mut self) -> io::Result<Vec<u8>> {
        let is_new = self.disk.read(&StateFile::Journal)?.is_none();
        if !is_new {
            // What it held is folded into the snapshot that lies there; but a run that was killed
            // just after the rename did not make that snapshot's name durable.
            self.disk.sync_folder()?;
        }
        self.disk.create(&StateFile::Journal)?;
        if is_new {
            self.disk.sync_folder()?;
        }
        self.journal = JournalStatus::Open;
        let mut line = serde_json::to_vec(&JournalHeader {
            serial: self.serial,
        })?;
        line.push(b'\n');
        Ok(line)
    }

    fn write_error(&self, error: &io::Error) -> Error {
        failed(self.disk.as_ref(), &StateFile::Journal, error)
    }
}

/// What the files say.
struct LoadedState {
    state: State,
    serial: u64,
    found: SnapshotStatus,
    /// How many events the journal added.
    replayed: usize,
}

/// Whether there was a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SnapshotStatus {
    Missing,
    Read,
    Unreadable,
}

impl LoadedState {
    fn read(disk: &mut dyn Storage, now: DateTime<Utc>) -> Result<LoadedState> {
        let (mut state, serial, found) = read_snapshot(disk, now)?;
        let journal = disk
            .read(&StateFile::Journal)
            .map_err(|error| failed(disk, &StateFile::Journal, &error))?
            .unwrap_or_default();
        let (head, events) = replay(&journal);
        let (serial, follows) = match found {
            SnapshotStatus::Missing | SnapshotStatus::Read => (serial, head == Some(serial)),
            // The number is lost with the snapshot; what the journal says still helps.
            SnapshotStatus::Unreadable => (head.unwrap_or(0), true),
        };
        if found == SnapshotStatus::Missing && head.is_some_and(|head| head > 0) {
            // Its snapshot was taken away on purpose; one to come must never seem to be that one.
            disk.create(&StateFile::Journal)
                .map_err(|error| failed(disk, &StateFile::Journal, &error))?;
        }
        let reach = state.last_sync;
        let mut replayed = 0;
        for event in events.filter(|_| follows) {
            state.apply(event);
            replayed += 1;
        }
        if found == SnapshotStatus::Unreadable {
            state.discard_uids(reach);
        }
        Ok(LoadedState {
            state,
            serial,
            found,
            replayed,
        })
    }
}

fn read_snapshot(
    disk: &mut dyn Storage,
    now: DateTime<Utc>,
) -> Result<(State, u64, SnapshotStatus)> {
    let cannot = |disk: &dyn Storage, error: &io::Error| failed(disk, &StateFile::Snapshot, error);
    let octets = disk
        .read(&StateFile::Snapshot)
        .map_err(|error| cannot(disk, &error))?;
    let Some(octets) = octets else {
        return Ok((State::default(), 0, SnapshotStatus::Missing));
    };
    match snapshot::read(&octets, now) {
        Ok((state, serial)) => Ok((state, serial, SnapshotStatus::Read)),
        Err(SnapshotError::Newer(version)) => Err(Error::new(
            Side::State,
            ErrorKind::Config,
            Untrusted::path(&disk.path(&StateFile::Snapshot)),
            format!("this state is of version {version}, written by a later release"),
        )
        .remedy("use that release, or another --state-file")),
        Err(SnapshotError::Invalid(why)) => {
            let state =
                start_anew(disk, &octets, &why, now).map_err(|error| cannot(disk, &error))?;
            Ok((state, 0, SnapshotStatus::Unreadable))
        }
    }
}

/// Puts an unreadable snapshot aside, as a copy: until the new snapshot takes its place, a run that
/// is cut short here finds it again. What it knew is lost, so Gmail will be asked for everything of
/// the last days: `last_sync` makes the pass by date reach back far enough.
fn start_anew(
    disk: &mut dyn Storage,
    octets: &[u8],
    why: &str,
    now: DateTime<Utc>,
) -> io::Result<State> {
    let written = disk.modified(&StateFile::Snapshot)?;
    let aside = StateFile::Unreadable(now.format("%Y%m%dT%H%M%SZ").to_string());
    disk.create(&aside)?;
    disk.append(&aside, octets)?;
    disk.sync(&aside)?;
    log::error!(
        "{}: cannot be read as a state ({}); kept as {}; what arrived in the last days is looked up at Gmail",
        Untrusted::path(&disk.path(&StateFile::Snapshot)),
        Untrusted::new(why),
        Untrusted::path(&disk.path(&aside)),
    );
    // A pass by date reaches back two days more than it is told.
    let week_ago = now - TimeDelta::days(5);
    Ok(State {
        last_sync: Some(week_ago.min(written + TimeDelta::days(1))),
        ..State::default()
    })
}

/// The serial number in a journal's first line, and its events up to the first line that is not
/// whole.
fn replay(journal: &[u8]) -> (Option<u64>, impl Iterator<Item = Event> + '_) {
    let mut lines = journal
        .split_inclusive(|octet| *octet == b'\n')
        .map_while(|line| line.strip_suffix(b"\n"));
    let head = lines
        .next()
        .and_then(|line| serde_json::from_slice::<JournalHeader>(line).ok());
    let events = lines
        .map_while(|line| serde_json::from_slice(line).ok())
        .take(if head.is_some() { usize::MAX } else { 0 });
    (head.map(|head| head.serial), events)
}

fn failed(disk: &dyn Storage, name: &StateFile, error: &io::Error) -> Error {
    Error::new(
        Side::State,
        ErrorKind::Disk,
        Untrusted::path(&disk.path(name)),
        error,
    )
    .during("keeping the state")
    .remedy("make it readable and writable, with space left on the disk")
}

/// Hides every way of writing.
struct ReadOnlyStorage<'a>(&'a mut dyn Storage);

impl Storage for ReadOnlyStorage<'_> {
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>> {
        self.0.read(name)
    }

    fn modified(&mut self, name: &StateFile) -> io::Result<DateTime<Utc>> {
        self.0.modified(name)
    }

    fn create(&mut self, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, _: &StateFile, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, _: &StateFile, _: &StateFile) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &StateFile) -> std::path::PathBuf {
        self.0.path(name)
    }
}
