//! The state on disk: a snapshot, and the append-only journal of what happened since.
//!
//! A checkpoint costs what happened since the last one, not what is remembered. The journal names
//! in its first line the snapshot that it follows, so that neither of the two renames and
//! truncations that a crash may separate can make an event count twice.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, Name};
use super::snapshot::{self, Unreadable};
use super::{Event, State};
use crate::error::{Error, Kind, Result};
use crate::foreign::Foreign;

/// The state and its files.
pub struct Store {
    state: State,
    disk: Box<dyn Disk>,
    /// The serial number of the snapshot that lies on the disk.
    serial: u64,
    journal: Journal,
    /// Events since the last fold, and their octets in the journal.
    unfolded: usize,
    unfolded_octets: u64,
}

/// How the journal file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Journal {
    /// Not touched by this run yet: it may not exist.
    Untouched,
    /// It has its first line and takes events.
    Open,
    /// Nothing is written: a rehearsal.
    Rehearsed,
}

/// The journal's first line.
#[derive(Serialize, Deserialize)]
struct Head {
    serial: u64,
}

impl Store {
    /// Loads the snapshot and what the journal adds to it.
    ///
    /// A snapshot that cannot be parsed is moved aside and told of at error level; the state then
    /// asks for a pass by date, from the earlier of 7 days and a day before the file's time.
    ///
    /// # Errors
    /// [`Kind::Disk`] if a file cannot be read or written, [`Kind::Config`] if the snapshot is of a
    /// later version.
    pub fn load(mut disk: Box<dyn Disk>, now: DateTime<Utc>) -> Result<Store> {
        let loaded = Loaded::read(disk.as_mut(), now)?;
        let mut store = Store {
            state: loaded.state,
            disk,
            serial: loaded.serial,
            journal: Journal::Untouched,
            unfolded: loaded.replayed,
            unfolded_octets: 0,
        };
        if loaded.found == Found::Unreadable {
            store.unfolded += 1;
        }
        store.fold(now)?;
        Ok(store)
    }

    /// Loads the state without ever writing: for a rehearsal.
    ///
    /// # Errors
    /// As for [`load`](Store::load).
    pub fn rehearse(mut disk: Box<dyn Disk>, now: DateTime<Utc>) -> Result<Store> {
        let loaded = Loaded::read(&mut ReadOnly(disk.as_mut()), now)?;
        Ok(Store {
            state: loaded.state,
            disk,
            serial: loaded.serial,
            journal: Journal::Rehearsed,
            unfolded: 0,
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
    pub fn has_news(&self) -> bool {
        self.unfolded > 0
    }

    /// How many octets were written to the journal since the last fold.
    #[must_use]
    pub fn unfolded_octets(&self) -> u64 {
        self.unfolded_octets
    }

    /// Remembers an event: in memory, and as a journal line that outlasts this process.
    ///
    /// # Errors
    /// [`Kind::Disk`] if the journal cannot be written.
    pub fn record(&mut self, event: Event) -> Result<()> {
        self.record_all(vec![event])
    }

    /// Remembers events by one write.
    ///
    /// # Errors
    /// As for [`record`](Store::record).
    pub fn record_all(&mut self, events: Vec<Event>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for event in &events {
            serde_json::to_writer(&mut lines, event)
                .map_err(|error| self.unwritable(&error.into()))?;
            lines.push(b'\n');
        }
        self.append(&lines)?;
        self.unfolded += events.len();
        self.unfolded_octets += lines.len() as u64;
        for event in events {
            self.state.apply(event);
        }
        Ok(())
    }

    /// Makes everything recorded outlast a loss of power.
    ///
    /// # Errors
    /// [`Kind::Disk`] if the file system cannot promise it.
    pub fn sync(&mut self) -> Result<()> {
        if self.journal == Journal::Open {
            self.disk
                .sync(&Name::Journal)
                .map_err(|error| self.unwritable(&error))?;
        }
        Ok(())
    }

    /// Writes the snapshot anew and empties the journal, if anything was recorded.
    ///
    /// # Errors
    /// [`Kind::Disk`] if a file cannot be written; what was recorded is still in the journal.
    pub fn fold(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.journal == Journal::Rehearsed || self.unfolded == 0 {
            return Ok(());
        }
        self.state.prune(now);
        let serial = self.serial + 1;
        let octets =
            snapshot::write(&self.state, serial).map_err(|error| self.unwritable(&error.into()))?;
        self.replace_snapshot(&octets)
            .map_err(|error| failed(self.disk.as_ref(), &Name::Snapshot, &error))?;
        self.serial = serial;
        self.unfolded = 0;
        self.unfolded_octets = 0;
        // From here on the journal's first line names an older snapshot: it counts no longer.
        if self.journal == Journal::Open || self.journal_has_something()? {
            self.disk
                .create(&Name::Journal)
                .map_err(|error| self.unwritable(&error))?;
        }
        self.journal = Journal::Untouched;
        Ok(())
    }

    fn replace_snapshot(&mut self, octets: &[u8]) -> io::Result<()> {
        self.disk.create(&Name::New)?;
        self.disk.append(&Name::New, octets)?;
        self.disk.sync(&Name::New)?;
        self.disk.rename(&Name::New, &Name::Snapshot)?;
        self.disk.sync_folder()
    }

    fn journal_has_something(&mut self) -> Result<bool> {
        let journal = self
            .disk
            .read(&Name::Journal)
            .map_err(|error| self.unwritable(&error))?;
        Ok(journal.is_some_and(|journal| !journal.is_empty()))
    }

    fn append(&mut self, lines: &[u8]) -> Result<()> {
        if self.journal == Journal::Rehearsed {
            return Ok(());
        }
        let mut octets = Vec::new();
        if self.journal == Journal::Untouched {
            octets = self
                .begin_journal()
                .map_err(|error| self.unwritable(&error))?;
        }
        octets.extend_from_slice(lines);
        self.disk
            .append(&Name::Journal, &octets)
            .map_err(|error| self.unwritable(&error))
    }

    /// Empties the journal, or creates it for good, and gives its first line.
    fn begin_journal(&mut self) -> io::Result<Vec<u8>> {
        let is_new = self.disk.read(&Name::Journal)?.is_none();
        if !is_new {
            // What it held is folded into the snapshot that lies there; but a run that was killed
            // just after the rename did not make that snapshot's name durable.
            self.disk.sync_folder()?;
        }
        self.disk.create(&Name::Journal)?;
        if is_new {
            self.disk.sync_folder()?;
        }
        self.journal = Journal::Open;
        let mut line = serde_json::to_vec(&Head {
            serial: self.serial,
        })?;
        line.push(b'\n');
        Ok(line)
    }

    fn unwritable(&self, error: &io::Error) -> Error {
        failed(self.disk.as_ref(), &Name::Journal, error)
    }
}

/// What the files say.
struct Loaded {
    state: State,
    serial: u64,
    found: Found,
    /// How many events the journal added.
    replayed: usize,
}

/// Whether there was a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Snapshot,
    Unreadable,
}

impl Loaded {
    fn read(disk: &mut dyn Disk, now: DateTime<Utc>) -> Result<Loaded> {
        let (mut state, serial, found) = read_snapshot(disk, now)?;
        let journal = disk
            .read(&Name::Journal)
            .map_err(|error| failed(disk, &Name::Journal, &error))?
            .unwrap_or_default();
        let (head, events) = replay(&journal);
        let (serial, follows) = match found {
            Found::Nothing | Found::Snapshot => (serial, head == Some(serial)),
            // The number is lost with the snapshot; what the journal says still helps.
            Found::Unreadable => (head.unwrap_or(0), true),
        };
        if found == Found::Nothing && head.is_some_and(|head| head > 0) {
            // Its snapshot was taken away on purpose; one to come must never seem to be that one.
            disk.create(&Name::Journal)
                .map_err(|error| failed(disk, &Name::Journal, &error))?;
        }
        let reach = state.last_sync;
        let mut replayed = 0;
        for event in events.filter(|_| follows) {
            state.apply(event);
            replayed += 1;
        }
        if found == Found::Unreadable {
            state.doubt_uids(reach);
        }
        Ok(Loaded {
            state,
            serial,
            found,
            replayed,
        })
    }
}

fn read_snapshot(disk: &mut dyn Disk, now: DateTime<Utc>) -> Result<(State, u64, Found)> {
    let cannot = |disk: &dyn Disk, error: &io::Error| failed(disk, &Name::Snapshot, error);
    let octets = disk
        .read(&Name::Snapshot)
        .map_err(|error| cannot(disk, &error))?;
    let Some(octets) = octets else {
        return Ok((State::default(), 0, Found::Nothing));
    };
    match snapshot::read(&octets, now) {
        Ok((state, serial)) => Ok((state, serial, Found::Snapshot)),
        Err(Unreadable::Newer(version)) => Err(Error::new(
            Kind::Config,
            disk.path(&Name::Snapshot).display(),
            format!("this state is of version {version}, written by a later release"),
        )
        .remedy("use that release, or another --state-file")),
        Err(Unreadable::Garbage(why)) => {
            let state =
                start_anew(disk, &octets, &why, now).map_err(|error| cannot(disk, &error))?;
            Ok((state, 0, Found::Unreadable))
        }
    }
}

/// Puts an unreadable snapshot aside, as a copy: until the new snapshot takes its place, a run that
/// is cut short here finds it again. What it knew is lost, so Gmail will be asked for everything of
/// the last days: `last_sync` makes the pass by date reach back far enough.
fn start_anew(
    disk: &mut dyn Disk,
    octets: &[u8],
    why: &str,
    now: DateTime<Utc>,
) -> io::Result<State> {
    let written = disk.modified(&Name::Snapshot)?;
    let aside = Name::Unreadable(now.format("%Y%m%dT%H%M%SZ").to_string());
    disk.create(&aside)?;
    disk.append(&aside, octets)?;
    disk.sync(&aside)?;
    log::error!(
        "{}: cannot be read as a state ({}); kept as {}; what arrived in the last days is looked up at Gmail",
        disk.path(&Name::Snapshot).display(),
        Foreign::new(why),
        disk.path(&aside).display(),
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
        .and_then(|line| serde_json::from_slice::<Head>(line).ok());
    let events = lines
        .map_while(|line| serde_json::from_slice(line).ok())
        .take(if head.is_some() { usize::MAX } else { 0 });
    (head.map(|head| head.serial), events)
}

fn failed(disk: &dyn Disk, name: &Name, error: &io::Error) -> Error {
    Error::new(Kind::Disk, disk.path(name).display(), error)
        .during("keeping the state")
        .remedy("make it readable and writable, with space left on the disk")
}

/// Hides every way of writing.
struct ReadOnly<'a>(&'a mut dyn Disk);

impl Disk for ReadOnly<'_> {
    fn read(&mut self, name: &Name) -> io::Result<Option<Vec<u8>>> {
        self.0.read(name)
    }

    fn modified(&mut self, name: &Name) -> io::Result<DateTime<Utc>> {
        self.0.modified(name)
    }

    fn create(&mut self, _: &Name) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, _: &Name, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self, _: &Name) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, _: &Name, _: &Name) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &Name) -> std::path::PathBuf {
        self.0.path(name)
    }
}
