//! A dry run says of each message what the pass after it does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chrono::TimeDelta;
use imap_to_gmail_sync::message::Identity;
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::StateFile;
use imap_to_gmail_sync::sync::{DryRunResult, NullTarget, Pass, Target};
use serde_json::json;

use crate::run::{Ended, options, run, state};
use crate::schedules::world_after_faults;
use crate::world::{Disk1, Faults, Gmail1, Shared, Source1, World};

use DryRunResult::{Known, NeedsBody, New, NewUnlessAtGmail, Parked};

fn dry_run(world: &Shared, can_ask_gmail: bool) -> BTreeMap<u32, DryRunResult> {
    let now = world.borrow().now;
    let clock = || world.borrow().now;
    let mut store = StateStore::load_read_only(Box::new(Disk1(world.clone())), now).unwrap();
    let mailbox = world.borrow_mut().source.examine();
    let mut gmail = Gmail1(world.clone());
    let target: &mut dyn Target = if can_ask_gmail {
        &mut gmail
    } else {
        &mut NullTarget
    };
    let mut results = BTreeMap::new();
    let pass = Pass {
        source: &mut Source1(world.clone()),
        target,
        store: &mut store,
        options: &options(),
        progress: &mut (),
        now: &clock,
    };
    pass.dry_run(&mailbox, can_ask_gmail, &mut |listed, result| {
        let before = results.insert(listed.uid.get(), result);
        assert_eq!(before, None, "uid {} is reported twice", listed.uid);
    })
    .unwrap();
    world.borrow_mut().now = now;
    results
}

/// Runs for real, and returns the UIDs that were submitted.
fn submitted(world: &Shared) -> BTreeSet<u32> {
    world.borrow_mut().gmail.submitted.clear();
    let ended = run(world);
    assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    let submitted = std::mem::take(&mut world.borrow_mut().gmail.submitted);
    submitted.into_iter().collect()
}

/// What a dry run says, and what the pass after it submits.
fn both(world: &Shared) -> (BTreeMap<u32, DryRunResult>, BTreeSet<u32>) {
    let unsure = dry_run(world, false);
    let results = dry_run(world, true);
    let submitted = submitted(world);
    assert_eq!(
        of_kind(&results, New),
        &submitted - &of_kind(&results, Parked)
    );
    // Without a token nothing is looked up: what may be new includes what is.
    let may_be_new = of_kind(&unsure, NewUnlessAtGmail);
    assert!(
        may_be_new.is_superset(&of_kind(&results, New)),
        "{unsure:?}"
    );
    (results, submitted)
}

fn of_kind(results: &BTreeMap<u32, DryRunResult>, kind: DryRunResult) -> BTreeSet<u32> {
    let uids = results.iter().filter(|(_, result)| **result == kind);
    uids.map(|(uid, _)| *uid).collect()
}

fn has_id(world: &Shared, uid: u32) -> bool {
    let messages = &world.borrow().source.messages;
    let message = messages.iter().find(|message| message.uid == uid);
    message.is_some_and(|message| Identity::of_header(&message.octets).id.is_some())
}

fn message(number: u32) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n").into_bytes()
}

fn deliver(world: &Shared, octets: Vec<u8>, days: i64) -> u32 {
    let mut world = world.borrow_mut();
    let date = world.now - TimeDelta::days(days);
    world.source.deliver(octets, date)
}

fn wait(world: &Shared, minutes: i64) {
    world.borrow_mut().now += TimeDelta::minutes(minutes);
    world.borrow_mut().store_late();
}

fn new_world() -> Shared {
    Rc::new(RefCell::new(World::new(1)))
}

/// A world with a cursor at UID 1.
fn world_with_cursor() -> Shared {
    let world = new_world();
    deliver(&world, message(1), 0);
    submitted(&world);
    wait(&world, 1);
    world
}

/// UIDVALIDITY changes; the same messages get other UIDs.
fn renumber(world: &Shared) {
    let source = &mut world.borrow_mut().source;
    let messages = std::mem::take(&mut source.messages);
    source.uid_validity += 1;
    source.uid_next = 1;
    for message in messages.into_iter().rev() {
        source.deliver(message.octets, message.date);
    }
}

#[test]
fn of_a_first_run_the_recent_messages_are_new() {
    let world = new_world();
    deliver(&world, message(1), 3);
    deliver(&world, message(2), 300);
    deliver(&world, message(3), 0);
    let now = world.borrow().now;
    world.borrow_mut().gmail.put(message(3), now, false);
    for number in 4..=1_100 {
        deliver(&world, message(number), 1);
    }
    let (results, submitted) = both(&world);
    assert_eq!(
        (results[&1], results.get(&2), results[&3]),
        (New, None, Known)
    );
    assert_eq!(submitted.len(), 1_098);
}

#[test]
fn above_the_cursor_everything_is_new_that_is_not_known() {
    let world = world_with_cursor();
    deliver(&world, message(2), 300);
    deliver(&world, b"Subject: no id\r\n\r\nbody\r\n".to_vec(), 0);
    // Moved out and back; and a twin of a new message.
    deliver(&world, message(1), 0);
    deliver(&world, message(2), 0);
    let (results, submitted) = both(&world);
    assert_eq!(
        results,
        [(2, New), (3, New), (4, NeedsBody), (5, NeedsBody)].into()
    );
    assert_eq!(submitted, [2, 3].into());
}

#[test]
fn what_the_original_delivered_is_known() {
    let world = new_world();
    let original = json!({"synced_message_ids": ["<1@x>", "<2@x>"], "last_source_uid": 2});
    let octets = original.to_string().into_bytes();
    world.borrow_mut().disk.plant(StateFile::Snapshot, octets);
    for number in 1..=3 {
        deliver(&world, message(number), 1);
    }
    let now = world.borrow().now;
    world.borrow_mut().gmail.put(message(1), now, false);
    let (results, submitted) = both(&world);
    assert_eq!(results, [(1, Known), (2, Known), (3, New)].into());
    assert_eq!(submitted, [3].into());
}

#[test]
fn a_parked_message_is_not_new_whether_it_is_due_or_not() {
    let world = world_with_cursor();
    deliver(&world, message(2), 0);
    world.borrow_mut().faults.refusal = 1000;
    run(&world);
    deliver(&world, message(3), 0);
    let (results, submitted) = both(&world);
    assert_eq!(results, [(2, Parked), (3, New)].into());
    assert_eq!(submitted, [3].into());
    wait(&world, 2);
    let (results, submitted) = both(&world);
    assert_eq!(results, [(2, Parked)].into());
    assert_eq!(submitted, [2].into());
}

#[test]
fn an_orphaned_parked_message_is_found_under_its_new_uid() {
    let world = world_with_cursor();
    deliver(&world, message(2), 200);
    deliver(&world, message(3), 0);
    world.borrow_mut().faults.refusal = 1000;
    run(&world);
    assert_eq!(state(&world).folder.parked.len(), 2);
    renumber(&world);
    deliver(&world, message(4), 0);
    wait(&world, 2);
    let (results, submitted) = both(&world);
    assert_eq!(
        results,
        [(1, Parked), (2, Parked), (3, Known), (4, New)].into()
    );
    assert_eq!(submitted, [1, 2, 4].into());
}

#[test]
fn an_uncertain_append_is_known_once_gmail_shows_it_and_its_twin_waits_for_it() {
    let world = world_with_cursor();
    deliver(&world, message(2), 0);
    world.borrow_mut().faults.cut_after = 1000;
    run(&world);
    deliver(&world, message(2), 0);
    let (results, submitted) = both(&world);
    assert_eq!(results, [(2, Parked), (3, Parked)].into());
    assert_eq!(submitted, [].into());
    wait(&world, 2);
    let (results, submitted) = both(&world);
    assert_eq!(results, [(2, Known), (3, Parked)].into());
    assert_eq!(submitted, [].into());
}

#[test]
fn what_came_after_an_interrupted_date_pass_is_new() {
    let world = new_world();
    deliver(&world, message(1), 1);
    world.borrow_mut().gmail.gone = true;
    assert!(matches!(run(&world), Ended::Failed(_)));
    assert!(state(&world).folder.date_pass.is_some());
    deliver(&world, message(2), 300);
    let (results, submitted) = both(&world);
    assert_eq!(results, [(1, New), (2, New)].into());
    assert_eq!(submitted, [1, 2].into());
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = new_world();
    deliver(&world, message(1), 0);
    world.borrow_mut().faults = Faults::default();
    let first = dry_run(&world, true);
    assert_eq!(dry_run(&world, true), first);
    assert_eq!(world.borrow().disk.content(&StateFile::Snapshot), None);
    assert_eq!(world.borrow().disk.content(&StateFile::Journal), None);
    assert!(world.borrow().gmail.messages.is_empty());
}

#[test]
fn after_any_schedule_a_dry_run_says_what_the_next_pass_does() {
    for seed in 0..200 {
        let world = world_after_faults(seed);
        let results = dry_run(&world, true);
        world.borrow_mut().gmail.submitted.clear();
        if !matches!(run(&world), Ended::Done(_)) {
            continue;
        }
        let submitted: BTreeSet<u32> = world.borrow().gmail.submitted.iter().copied().collect();
        for uid in &of_kind(&results, New) - &submitted {
            // Without Message-ID only the octets show that it was delivered before.
            assert!(
                !has_id(&world, uid),
                "seed {seed}: uid {uid} is new, and is not copied"
            );
        }
        for uid in submitted {
            let result = results.get(&uid);
            let may_be_copied = matches!(result, Some(New | NeedsBody | Parked));
            assert!(
                may_be_copied,
                "seed {seed}: uid {uid} is {result:?}, and is copied"
            );
        }
    }
}
