//! The state as another process sees it: neither locked nor changed, while a run may be writing it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::state::journal::{newer_version_error, parse_journal};
use crate::state::snapshot::SnapshotError;
use crate::state::storage::{StateFile, Storage, storage_error};
use crate::state::{State, snapshot};
use crate::untrusted::{Untrusted, escape_error};

/// A run replaces the snapshot at most every few minutes, or once in a run.
const MAX_READS: usize = 10;

/// The state, if there is one.
///
/// # Errors
/// [`ErrorKind::Disk`]: a file cannot be read, or is damaged. [`ErrorKind::Config`]: a later release
/// wrote the snapshot.
pub(crate) fn observe(storage: &mut dyn Storage, now: DateTime<Utc>) -> Result<Option<State>> {
    let mut snapshot = read(storage, &StateFile::Snapshot)?.map(Arc::new);
    for _ in 1..MAX_READS {
        let journal = read(storage, &StateFile::Journal)?;
        let (state, is_followed) = combine(storage, snapshot.as_ref(), journal.as_deref(), now)?;
        if is_followed {
            return Ok(state);
        }
        // Either there is nothing in the journal, or a run has replaced the snapshot meanwhile.
        let later = read(storage, &StateFile::Snapshot)?.map(Arc::new);
        if later == snapshot {
            return Ok(state);
        }
        snapshot = later;
    }
    let (state, _) = combine(storage, snapshot.as_ref(), None, now)?;
    Ok(state)
}

/// The state, and whether the journal follows the snapshot.
fn combine(
    storage: &dyn Storage,
    snapshot: Option<&Arc<Vec<u8>>>,
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
    let what = format!("cannot be read as a state ({})", escape_error(why));
    Error::new(Side::State, ErrorKind::Disk, Untrusted::path(&path), what)
        .retryable()
        .remedy("the next run keeps a copy, and looks up at Gmail what arrived in the last days")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::state::journal::StateStore;
    use crate::state::storage::FolderStorage;
    use crate::state::{AccountNames, Event};

    /// Files that a run changes just before the journal is read.
    struct RacingStorage<F> {
        files: FolderStorage,
        run: F,
    }

    impl<F: FnMut()> Storage for RacingStorage<F> {
        fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>> {
            if *name == StateFile::Journal {
                (self.run)();
            }
            self.files.read(name)
        }

        fn modified(&mut self, name: &StateFile) -> io::Result<DateTime<Utc>> {
            self.files.modified(name)
        }

        fn create(&mut self, _: &StateFile) -> io::Result<()> {
            panic!("status writes")
        }

        fn append(&mut self, _: &StateFile, _: &[u8]) -> io::Result<()> {
            panic!("status writes")
        }

        fn sync(&mut self, _: &StateFile) -> io::Result<()> {
            panic!("status writes")
        }

        fn rename(&mut self, _: &StateFile, _: &StateFile) -> io::Result<()> {
            panic!("status writes")
        }

        fn remove(&mut self, _: &StateFile) -> io::Result<()> {
            panic!("status writes")
        }

        fn unreadable_copies(&mut self) -> io::Result<Vec<StateFile>> {
            Ok(Vec::new())
        }

        fn sync_folder(&mut self) -> io::Result<()> {
            panic!("status writes")
        }

        fn path(&self, name: &StateFile) -> PathBuf {
            self.files.path(name)
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-11-22T20:40:00Z".parse().unwrap()
    }

    fn load(snapshot: &Path) -> StateStore {
        StateStore::load(Box::new(FolderStorage::new(snapshot)), now()).unwrap()
    }

    fn event(source: &str) -> Event {
        Event::Account(AccountNames {
            source: source.to_owned(),
            target: String::new(),
        })
    }

    fn observed(snapshot: &Path, run: impl FnMut()) -> Option<String> {
        let files = FolderStorage::new(snapshot);
        let state = observe(&mut RacingStorage { files, run }, now()).unwrap()?;
        state.account.map(|account| account.source)
    }

    #[test]
    fn a_journal_that_is_folded_meanwhile_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("sync_state.json");
        assert_eq!(observed(&snapshot, || ()), None);
        load(&snapshot).record(event("first")).unwrap();
        assert_eq!(observed(&snapshot, || ()).unwrap(), "first");
        // The next run folds the journal when it loads the state.
        assert_eq!(
            observed(&snapshot, || drop(load(&snapshot))).unwrap(),
            "first"
        );
        load(&snapshot).record(event("second")).unwrap();
        assert_eq!(
            observed(&snapshot, || drop(load(&snapshot))).unwrap(),
            "second"
        );
    }

    #[test]
    fn a_snapshot_that_is_replaced_all_the_time_is_not_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("sync_state.json");
        let mut runs = 0;
        let seen = observed(&snapshot, || {
            runs += 1;
            load(&snapshot).record(event(&runs.to_string())).unwrap();
            load(&snapshot);
        });
        assert!(seen.is_some());
        assert!(runs <= MAX_READS, "{runs}");
    }

    #[test]
    fn a_journal_of_another_snapshot_is_ignored_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("sync_state.json");
        load(&snapshot).record(event("first")).unwrap();
        load(&snapshot).record(event("second")).unwrap();
        fs::remove_file(&snapshot).unwrap();
        assert_eq!(observed(&snapshot, || ()), None);
    }
}
