//! Several source folders: rules, and random schedules with moves between folders.

use std::cell::RefCell;
use std::rc::Rc;

use chrono::TimeDelta;
use imap_to_gmail_sync::message::Uid;
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::StateFile;
use imap_to_gmail_sync::state::{Event, RefusedMessage};

use crate::run::{Ended, run_over, state};
use crate::world::{Disk1, Faults, Place, Shared, SourceModel, World};

/// A message with a Message-ID, and one without.
const MESSAGES: [&[u8]; 2] = [
    b"Message-ID: <1@x>\r\nSubject: 1\r\n\r\nbody 1\r\n",
    b"Subject: alarm\r\n\r\nbody\r\n",
];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A world with the folders A and B, after a complete first run.
fn world() -> Shared {
    let mut world = World::new(1);
    "A".clone_into(&mut world.open);
    world.folders.insert("B".to_owned(), folder(1));
    let world = Rc::new(RefCell::new(world));
    clean_run(&world, &["A", "B"]);
    world
}

fn folder(uid_validity: u32) -> SourceModel {
    let mut folder = SourceModel::default();
    (folder.uid_validity, folder.uid_next) = (uid_validity, 1);
    folder
}

/// Delivers a message to a folder; it arrives now.
fn deliver(world: &Shared, folder: &str, octets: &[u8]) {
    let mut world = world.borrow_mut();
    assert!(world.open_folder(folder));
    let now = world.now;
    world.source.deliver(octets.to_vec(), now);
}

/// Copies the only message of a folder to another one; a move removes it from the first.
fn copy(world: &Shared, from: &str, to: &str) {
    let mut world = world.borrow_mut();
    assert!(world.open_folder(from));
    let message = world.source.messages[0].clone();
    assert!(world.open_folder(to));
    world.source.deliver(message.octets, message.date);
}

fn move_(world: &Shared, from: &str, to: &str) {
    copy(world, from, to);
    let mut world = world.borrow_mut();
    assert!(world.open_folder(from));
    world.source.messages.clear();
}

fn wait(world: &Shared, minutes: i64) {
    world.borrow_mut().now += TimeDelta::minutes(minutes);
    world.borrow_mut().store_late();
}

fn clean_run(world: &Shared, folders: &[&str]) {
    let ended = run_over(world, &names(folders));
    assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    wait(world, 1);
}

/// How often a message is at Gmail, or was.
fn copies(world: &Shared, octets: &[u8]) -> usize {
    let world = world.borrow();
    let messages = world.gmail.messages.iter();
    messages.filter(|there| there.octets == octets).count()
}

#[test]
fn a_message_that_is_moved_to_another_folder_is_not_delivered_again() {
    for octets in MESSAGES {
        let world = world();
        deliver(&world, "A", octets);
        clean_run(&world, &["A", "B"]);
        for (from, to) in [("A", "B"), ("B", "A"), ("A", "B")] {
            // Gmail has it no longer: only the state knows it.
            world.borrow_mut().gmail.messages[0].place = Place::Gone;
            move_(&world, from, to);
            clean_run(&world, &["A", "B"]);
            assert_eq!(copies(&world, octets), 1);
        }
    }
}

#[test]
fn a_copy_in_two_folders_is_delivered_once() {
    for octets in MESSAGES {
        for order in [["A", "B"], ["B", "A"]] {
            let world = world();
            deliver(&world, "A", octets);
            copy(&world, "A", "B");
            clean_run(&world, &order);
            clean_run(&world, &order);
            assert_eq!(copies(&world, octets), 1);
        }
    }
}

#[test]
fn labels_that_cannot_be_set_do_not_stop_the_mail_of_the_other_folders() {
    let world = world();
    world.borrow_mut().labels = names(&["a"]);
    world.borrow_mut().gmail.labels.poison = Some(MESSAGES[0].to_vec());
    deliver(&world, "A", MESSAGES[0]);
    for number in 0..8 {
        let other = format!("Message-ID: <other{number}@x>\r\n\r\n").into_bytes();
        deliver(&world, "B", &other);
        let ended = run_over(&world, &names(&["A", "B"]));
        assert!(matches!(ended, Ended::Failed(_)), "{ended:?}");
        assert_eq!(copies(&world, &other), 1, "{number}");
        wait(&world, 1);
    }
    let tries = state(&world)
        .owed_labels()
        .values()
        .map(|it| it.tries)
        .max();
    assert!(tries.is_some_and(|tries| tries <= 20), "{tries:?}");
}

/// Labels of one folder that fail often are tried message by message, after the mail. Those of the other
/// folder must not be set before them: what has another version then counts as changed by the user.
#[test]
fn a_copy_in_two_folders_gets_the_labels_of_both_though_those_of_one_could_not_be_set_for_long() {
    for failed_runs in 0..8 {
        let world = world();
        for (folder, label) in [("A", "a"), ("B", "b")] {
            let labels = vec![label.to_owned()];
            let folder_labels = &mut world.borrow_mut().folder_labels;
            folder_labels.insert(folder.to_owned(), labels);
        }
        world.borrow_mut().gmail.labels.poison = Some(MESSAGES[0].to_vec());
        deliver(&world, "A", MESSAGES[0]);
        for _ in 0..failed_runs {
            let ended = run_over(&world, &names(&["A", "B"]));
            assert!(matches!(ended, Ended::Failed(_)), "{ended:?}");
            wait(&world, 1);
        }
        copy(&world, "A", "B");
        let ended = run_over(&world, &names(&["A", "B"]));
        assert!(matches!(ended, Ended::Failed(_)), "{ended:?}");
        world.borrow_mut().gmail.labels.poison = None;
        wait(&world, 1);
        clean_run(&world, &["A", "B"]);
        let world = world.borrow();
        let labels = &world.gmail.messages[0].labelled.labels;
        assert!(labels.iter().eq(["a", "b"]), "{failed_runs}: {labels:?}");
    }
}

#[test]
fn a_renamed_folder_is_a_new_one_whose_mail_is_not_copied_twice() {
    for octets in MESSAGES {
        for is_renumbered in [false, true] {
            let world = world();
            deliver(&world, "A", octets);
            clean_run(&world, &["A", "B"]);
            world.borrow_mut().gmail.messages[0].place = Place::Gone;
            rename(&world, "A", "C", is_renumbered);
            clean_run(&world, &["C", "B"]);
            clean_run(&world, &["C", "B"]);
            assert_eq!(copies(&world, octets), 1);
            // What arrives in it is copied as elsewhere.
            deliver(&world, "C", b"Message-ID: <2@x>\r\n\r\n");
            clean_run(&world, &["C", "B"]);
            assert_eq!(copies(&world, b"Message-ID: <2@x>\r\n\r\n"), 1);
        }
    }
}

/// Renames a folder; its messages keep their UIDs unless it is renumbered.
fn rename(world: &Shared, from: &str, to: &str, is_renumbered: bool) {
    let mut world = world.borrow_mut();
    assert!(world.open_folder("B"));
    let mut folder = world.folders.remove(from).unwrap();
    folder.uid_validity += u32::from(is_renumbered);
    world.folders.insert(to.to_owned(), folder);
}

#[test]
fn a_folder_whose_uidvalidity_changes_leaves_the_cursors_of_the_others_alone() {
    for octets in MESSAGES {
        let world = world();
        deliver(&world, "A", octets);
        deliver(&world, "B", b"Subject: other\r\n\r\n");
        clean_run(&world, &["A", "B"]);
        let before = state(&world).folder_named("B").cloned();
        world.borrow_mut().gmail.messages[0].place = Place::Gone;
        // The octets of the other one, before the change: it must not be taken for that one.
        deliver(&world, "B", b"Subject: other\r\n\r\n");
        wait(&world, 1);
        {
            let mut world = world.borrow_mut();
            assert!(world.open_folder("A"));
            world.source.uid_validity += 1;
            let messages = std::mem::take(&mut world.source.messages);
            let date = world.now;
            world
                .source
                .deliver(b"Subject: first\r\n\r\n".to_vec(), date);
            for message in messages {
                world.source.deliver(message.octets, message.date);
            }
        }
        clean_run(&world, &["A"]);
        assert_eq!(state(&world).folder_named("B"), before.as_ref());
        clean_run(&world, &["A", "B"]);
        let cursor = |name| state(&world).folder_named(name).unwrap().cursor.clone();
        assert_eq!(cursor("A").unwrap().uid_validity.get(), 2);
        assert_eq!(cursor("B").unwrap().uid_validity.get(), 1);
        assert_eq!(copies(&world, octets), 1);
        assert_eq!(copies(&world, b"Subject: first\r\n\r\n"), 1);
        assert_eq!(copies(&world, b"Subject: other\r\n\r\n"), 2);
    }
}

#[test]
fn a_journal_says_which_folder_its_first_events_are_about() {
    let now = World::new(1).now;
    let world = world();
    let mut store = StateStore::load(Box::new(Disk1(world.clone())), now).unwrap();
    let refused_in = |folder: &str| {
        let state = state(&world);
        state
            .folder_named(folder)
            .map(|folder| folder.refused.len())
    };
    store.record(Event::Folder("B".to_owned())).unwrap();
    store.fold(now).unwrap();
    // The snapshot is read with its first folder selected, which is A.
    let refused = RefusedMessage {
        id: None,
        when: now,
        why: String::new(),
        digest: None,
    };
    let uid = Uid::MIN;
    store.record(Event::Refused { uid, refused }).unwrap();
    assert_eq!((refused_in("A"), refused_in("B")), (Some(0), Some(1)));
    // And if it cannot be read at all, the events are not about a folder without a name.
    let unreadable = b"{".to_vec();
    world
        .borrow_mut()
        .disk
        .plant(StateFile::Snapshot, unreadable);
    assert_eq!((refused_in(""), refused_in("B")), (Some(0), Some(1)));
}

/// A message whose append from A was lost on its way, and that is in B instead.
fn moved_while_uncertain(octets: &[u8], faults: Faults) -> Shared {
    let world = world();
    deliver(&world, "A", octets);
    world.borrow_mut().faults = faults;
    run_over(&world, &names(&["A", "B"]));
    move_(&world, "A", "B");
    wait(&world, 2);
    world
}

#[test]
fn a_message_that_is_moved_while_uncertain_arrives_once_although_its_folder_is_gone() {
    let lost = Faults {
        cut_before: 1000,
        ..Faults::default()
    };
    let stored = Faults {
        cut_after: 1000,
        ..Faults::default()
    };
    for octets in MESSAGES {
        for faults in [lost, stored] {
            let world = moved_while_uncertain(octets, faults);
            // A is not there any more, and its mail is not looked at.
            for minutes in [2, 10, 60] {
                clean_run(&world, &["B"]);
                wait(&world, minutes);
            }
            assert_eq!(copies(&world, octets), 1);
            let parked = state(&world).folder_named("B").unwrap().parked.clone();
            assert_eq!(parked.len(), 0, "{parked:?}");
        }
    }
}

#[test]
fn an_orphan_of_a_folder_that_is_gone_holds_up_no_other_folder() {
    let lost = Faults {
        cut_before: 1000,
        ..Faults::default()
    };
    for octets in MESSAGES {
        let world = world();
        deliver(&world, "A", octets);
        world.borrow_mut().faults = lost;
        run_over(&world, &names(&["A", "B"]));
        // UIDVALIDITY of A changes, and the date pass that follows fails at once.
        move_(&world, "A", "B");
        {
            let mut world = world.borrow_mut();
            assert!(world.open_folder("A"));
            world.source.uid_validity += 1;
            let date = world.now;
            world
                .source
                .deliver(b"Subject: other\r\n\r\n".to_vec(), date);
            world.source_breaks = 1000;
        }
        run_over(&world, &names(&["A"]));
        let pass = state(&world).folder_named("A").unwrap().date_pass.clone();
        assert_eq!(pass.unwrap().orphans.len(), 1);
        for minutes in [2, 10, 60] {
            wait(&world, minutes);
            clean_run(&world, &["B"]);
        }
        assert_eq!(copies(&world, octets), 1);
        let parked = state(&world).folder_named("B").unwrap().parked.clone();
        assert_eq!(parked.len(), 0, "{parked:?}");
    }
}

#[test]
fn a_refused_message_whose_copy_was_delivered_from_another_folder_is_not_sent_again() {
    let refused = Faults {
        refusal: 1000,
        ..Faults::default()
    };
    for octets in MESSAGES {
        let world = world();
        deliver(&world, "A", octets);
        world.borrow_mut().faults = refused;
        run_over(&world, &names(&["A", "B"]));
        assert_eq!(state(&world).folder_named("A").unwrap().parked.len(), 1);
        copy(&world, "A", "B");
        clean_run(&world, &["B"]);
        assert_eq!(copies(&world, octets), 1);
        wait(&world, 60);
        clean_run(&world, &["A", "B"]);
        assert_eq!(copies(&world, octets), 1);
        assert_eq!(state(&world).folder_named("A").unwrap().parked.len(), 0);
    }
}
