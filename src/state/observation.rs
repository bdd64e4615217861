//! The state as another process sees it: neither locked nor changed, while a run may be writing it.

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::state::journal::{newer_version_error, parse_journal, storage_error};
use crate::state::snapshot::SnapshotError;
use crate::state::storage::{StateFile, Storage};
use crate::state::{State, snapshot};
use crate::untrusted::Untrusted;

/// A run replaces the snapshot at most every few minutes, or once in a run.
const MAX_READS: usize = 10;

/// The state, if there is one.
///
/// # Errors
/// [`ErrorKind::Disk`]: a file cannot be read, or is damaged. [`ErrorKind::Config`]: a later release
/// wrote the snapshot.
pub(crate) fn observe(storage: &mut dyn Storage, now: DateTime<Utc>) -> Result<Option<State>> {
    let mut snapshot = read(storage, &StateFile::Snapshot)?;
    for _ in 1..MAX_READS {
        let journal = read(storage, &StateFile::Journal)?;
        let (state, is_followed) = combine(storage, snapshot.as_deref(), journal.as_deref(), now)?;
        if is_followed {
            return Ok(state);
        }
        // Either there is nothing in the journal, or a run has replaced the snapshot meanwhile.
        let later = read(storage, &StateFile::Snapshot)?;
        if later == snapshot {
            return Ok(state);
        }
        snapshot = later;
    }
    let (state, _) = combine(storage, snapshot.as_deref(), None, now)?;
    Ok(state)
}

/// The state, and whether the journal follows the snapshot.
fn combine(
    storage: &dyn Storage,
    snapshot: Option<&[u8]>,
    journal: Option<&[u8]>,
    now: DateTime<Utc>,
) -> Result<(Option<State>, bool)> {
    let (mut state, serial) = match snapshot.map(|octets| snapshot::read(octets, now)) {
        None => (State::default(), 0),
        Some(Ok(read)) => read,
        Some(Err(SnapshotError::Newer(version))) => {
            return Err(newer_version_error(storage, version));
        }
        Some(Err(SnapshotError::Invalid(why))) => return Err(damage_error(storage, &why)),
    };
    let (journal_serial, events) = parse_journal(journal.unwrap_or_default());
    let is_followed = journal_serial == Some(serial);
    for event in events.filter(|_| is_followed) {
        state.apply(event);
    }
    let exists = snapshot.is_some() || is_followed;
    Ok((exists.then_some(state), is_followed))
}

fn read(storage: &mut dyn Storage, name: &StateFile) -> Result<Option<Vec<u8>>> {
    let octets = storage.read(name);
    octets.map_err(|error| storage_error(storage, name, &error))
}

fn damage_error(storage: &dyn Storage, why: &str) -> Error {
    let path = storage.path(&StateFile::Snapshot);
    let what = format!("cannot be read as a state ({})", Untrusted::new(why));
    Error::new(Side::State, ErrorKind::Disk, Untrusted::path(&path), what)
        .remedy("the next run keeps a copy, and looks up at Gmail what arrived in the last days")
}
