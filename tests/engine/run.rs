//! One run of the program over the models.

use chrono::{DateTime, TimeDelta, Utc};
use imap_to_gmail_sync::error::{ErrorKind, Result, Side};
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::{AccountNames, Event};
use imap_to_gmail_sync::sync::{ImportPolicy, Pass, PassOptions, PassReport};

use crate::world::{Disk1, Gmail1, INBOX, Shared, Source1};

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Done(PassReport),
    Rests,
    Failed(ErrorKind),
    Crashed,
}

pub fn options() -> PassOptions {
    PassOptions {
        source: "alice@mail.example.com/INBOX".to_owned(),
        first_run_days: 7,
        copy_flags: true,
        daily_upload_limit: None,
        since: None,
        target_folder: INBOX.to_owned(),
        labels: Vec::new(),
        labels_moved: false,
        sets_labels: true,
        import: None,
        one_of_several: None,
    }
}

fn import_policy(world: &Shared) -> Option<ImportPolicy> {
    let max_age = TimeDelta::hours(24);
    world
        .borrow()
        .gmail
        .imports
        .then_some(ImportPolicy { max_age })
}

/// Runs once as the program does, and prepares the world for another run.
pub fn run(world: &Shared) -> Ended {
    world.borrow_mut().source.examined = None;
    let ended = match run_inside(world) {
        _ if world.borrow().crashed => Ended::Crashed,
        Ok(Some(report)) => Ended::Done(report),
        Ok(None) => Ended::Rests,
        Err(error) => Ended::Failed(error.kind()),
    };
    world.borrow_mut().end_run();
    ended
}

/// Runs once over these folders, in this order: a folder that is not there, or whose source fails, does
/// not stop the others; a failure of Gmail does.
pub fn run_over(world: &Shared, folders: &[String]) -> Ended {
    let ended = match run_over_inside(world, folders) {
        _ if world.borrow().crashed => Ended::Crashed,
        Ok(Some(report)) => Ended::Done(report),
        Ok(None) => Ended::Rests,
        Err(error) => Ended::Failed(error.kind()),
    };
    world.borrow_mut().end_run();
    ended
}

fn run_over_inside(world: &Shared, folders: &[String]) -> Result<Option<PassReport>> {
    let clock = {
        let world = world.clone();
        move || -> DateTime<Utc> { world.borrow().now }
    };
    let mut store = StateStore::load(Box::new(Disk1(world.clone())), clock())?;
    if store.state().gmail.resting_until(clock()).is_some() {
        return Ok(None);
    }
    if store.state().account.is_none() {
        store.record(Event::Account(AccountNames {
            source: "alice/".to_owned(),
            target: "alice@gmail.com/".to_owned(),
        }))?;
    }
    let mut report = PassReport::default();
    let mut failed = None;
    let mut sets_labels = true;
    for folder in folders {
        if !world.borrow_mut().open_folder(folder) {
            continue;
        }
        if store.state().folder_name() != folder {
            store.record(Event::Folder(folder.clone()))?;
        }
        let started = clock();
        let mailbox = world.borrow_mut().source.examine();
        let options = PassOptions {
            source: format!("alice@mail.example.com/{folder}"),
            since: world.borrow().since,
            labels: world.borrow().labels_of(folder),
            labels_moved: world.borrow().labels_moved,
            sets_labels,
            import: import_policy(world),
            ..options()
        };
        let pass = Pass {
            source: &mut Source1(world.clone()),
            target: &mut Gmail1(world.clone()),
            store: &mut store,
            options: &options,
            progress: &mut (),
            now: &clock,
        };
        match pass.run(&mailbox, started) {
            Ok(done) => {
                report.appended += done.report.appended;
                sets_labels &= done.labels.is_ok();
                failed = failed.or(done.labels.err());
            }
            Err(error) if error.side() == Side::Source => failed = Some(error),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
        if world.borrow_mut().folds_between_folders {
            // As the watch does, which keeps the store for its next run.
            store.fold(clock())?;
        }
    }
    if failed.is_none() {
        store.record(Event::AllFoldersCopied)?;
    }
    store.fold(clock())?;
    failed.map_or(Ok(Some(report)), Err)
}

fn run_inside(world: &Shared) -> Result<Option<PassReport>> {
    let clock = {
        let world = world.clone();
        move || -> DateTime<Utc> { world.borrow().now }
    };
    let mut store = StateStore::load(Box::new(Disk1(world.clone())), clock())?;
    if store.state().gmail.resting_until(clock()).is_some() {
        return Ok(None);
    }
    if store.state().account.is_none() {
        let account = AccountNames {
            source: "alice/INBOX".to_owned(),
            target: "alice@gmail.com/INBOX".to_owned(),
        };
        store.record(Event::Account(account))?;
    }
    let started = clock();
    let mailbox = world.borrow_mut().source.examine();
    let options = PassOptions {
        since: world.borrow().since,
        labels: world.borrow().labels.clone(),
        import: import_policy(world),
        ..options()
    };
    let pass = Pass {
        source: &mut Source1(world.clone()),
        target: &mut Gmail1(world.clone()),
        store: &mut store,
        options: &options,
        progress: &mut (),
        now: &clock,
    };
    let done = pass.run(&mailbox, started);
    store.fold(clock())?;
    let done = done?;
    done.labels.map(|()| Some(done.report))
}

/// The state, read without changing it.
pub fn state(world: &Shared) -> imap_to_gmail_sync::state::State {
    let now = world.borrow().now;
    let store = StateStore::load_read_only(Box::new(Disk1(world.clone())), now).unwrap();
    store.state().clone()
}
