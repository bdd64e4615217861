//! Rules that random schedules reach too seldom, each in a schedule of its own.

use std::cell::RefCell;
use std::rc::Rc;

use chrono::TimeDelta;
use imap_to_gmail_sync::error::ErrorKind;
use imap_to_gmail_sync::state::storage::StateFile;
use serde_json::{Value, json};

use crate::run::{Ended, run, state};
use crate::world::{Crash, Faults, Place, Shared, SourceMessage, World};

fn message(number: u32) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n").into_bytes()
}

/// A world after a complete first run.
fn world() -> Shared {
    let world = Rc::new(RefCell::new(World::new(1)));
    deliver(&world, 1, 0);
    assert!(matches!(run(&world), Ended::Done(_)));
    wait(&world, 1);
    world
}

fn deliver(world: &Shared, number: u32, days: i64) {
    let mut world = world.borrow_mut();
    let date = world.now - TimeDelta::days(days);
    world.source.deliver(message(number), date);
}

fn wait(world: &Shared, minutes: i64) {
    world.borrow_mut().now += TimeDelta::minutes(minutes);
    world.borrow_mut().store_late();
}

fn run_with(world: &Shared, faults: Faults) {
    world.borrow_mut().faults = faults;
    run(world);
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

fn copies(world: &Shared, number: u32) -> usize {
    let octets = message(number);
    world
        .borrow()
        .gmail
        .messages
        .iter()
        .filter(|there| there.octets == octets)
        .count()
}

fn refused(world: &Shared) -> usize {
    state(world).folder.refused.len()
}

const REFUSES: Faults = faults().refusing();
const STORES_LATE: Faults = faults().storing_late();

const fn faults() -> Faults {
    Faults {
        hole: 0,
        unreadable: 0,
        cut_before: 0,
        cut_after: 0,
        stored_late: 0,
        refusal: 0,
        gmail_gone: 0,
        arrival: 0,
    }
}

impl Faults {
    const fn refusing(self) -> Faults {
        Faults {
            refusal: 1000,
            ..self
        }
    }

    const fn storing_late(self) -> Faults {
        Faults {
            stored_late: 1000,
            ..self
        }
    }
}

#[test]
fn an_old_parked_message_is_found_again_after_uidvalidity_changed() {
    let world = world();
    deliver(&world, 2, 200);
    run_with(&world, REFUSES);
    assert_eq!(state(&world).folder.parked.len(), 1);
    renumber(&world);
    for minutes in [1, 10, 30] {
        wait(&world, minutes);
        run(&world);
    }
    assert_eq!((copies(&world, 2), refused(&world)), (1, 0));
}

#[test]
fn a_parked_message_that_left_the_source_is_refused() {
    let world = world();
    deliver(&world, 2, 0);
    run_with(&world, REFUSES);
    world
        .borrow_mut()
        .source
        .messages
        .retain(|there| there.octets != message(2));
    wait(&world, 10);
    run(&world);
    let state = state(&world);
    let why: Vec<&str> = state
        .folder
        .refused
        .values()
        .map(|refused| refused.why.as_str())
        .collect();
    assert_eq!(
        why,
        ["it was removed from the source before Gmail accepted it"]
    );
    assert!(state.folder.parked.is_empty());
}

#[test]
fn a_parked_message_that_left_the_source_and_is_at_gmail_is_settled() {
    let world = world();
    deliver(&world, 2, 0);
    run_with(&world, REFUSES);
    world
        .borrow_mut()
        .source
        .messages
        .retain(|there| there.octets != message(2));
    let now = world.borrow().now;
    world.borrow_mut().gmail.put(message(2), now, false);
    wait(&world, 10);
    run(&world);
    assert_eq!((copies(&world, 2), refused(&world)), (1, 0));
    assert!(state(&world).folder.parked.is_empty());
}

#[test]
fn what_the_original_delivered_in_between_does_not_come_back_from_the_trash() {
    let world = world();
    deliver(&world, 2, 0);
    // The original delivers it and moves its mark; the user deletes it for good.
    let snapshot = world.borrow().disk.content(&StateFile::Snapshot).unwrap();
    let mut snapshot: Value = serde_json::from_slice(&snapshot).unwrap();
    snapshot["last_source_uid"] = json!(2);
    snapshot["synced_message_ids"]["<2@x>"] = Value::Null;
    world
        .borrow_mut()
        .disk
        .plant(StateFile::Snapshot, snapshot.to_string().into_bytes());
    let now = world.borrow().now;
    world.borrow_mut().gmail.put(message(2), now, false);
    world.borrow_mut().gmail.messages.last_mut().unwrap().place = Place::Gone;
    wait(&world, 5);
    deliver(&world, 3, 0);
    run(&world);
    assert_eq!(copies(&world, 2), 1, "the one that was deleted");
    assert_eq!(copies(&world, 3), 1);
}

#[test]
fn an_uncertain_append_of_a_moment_ago_is_not_given_up_when_uidvalidity_changes() {
    let world = world();
    deliver(&world, 2, 0);
    run_with(&world, STORES_LATE);
    // Everything leaves the source before Gmail has stored it.
    world.borrow_mut().source.messages.clear();
    renumber(&world);
    run(&world);
    assert_eq!(refused(&world), 0, "it is too early to tell");
    wait(&world, 2);
    run(&world);
    assert_eq!((copies(&world, 2), refused(&world)), (1, 0));
    assert!(state(&world).folder.date_pass.is_none());
}

#[test]
fn three_messages_parked_in_a_row_make_the_account_rest_and_do_not_block_the_others() {
    let world = world();
    for number in 2..=14 {
        deliver(&world, number, 0);
    }
    run_with(&world, REFUSES);
    let remembered = state(&world);
    assert!(remembered.gmail.retry_after.is_some(), "the account rests");
    let parked = remembered.folder.parked.len();
    assert!((3..13).contains(&parked), "{parked} were tried");
    assert_eq!(run(&world), Ended::Rests);
    wait(&world, 20);
    assert!(matches!(run(&world), Ended::Done(_)));
    assert!((2..=14).all(|number| copies(&world, number) == 1));
}

#[test]
fn a_message_is_refused_for_good_only_after_days_and_only_if_gmail_accepted_others() {
    let world = world();
    deliver(&world, 2, 0);
    let refuse_for_days = |with_others: bool| {
        for round in 0..14_u32 {
            run_with(&world, REFUSES);
            wait(&world, 24 * 60);
            if with_others {
                // Gmail accepts another message between the attempts.
                deliver(&world, 100 + round, 0);
                let later = state(&world)
                    .folder
                    .parked
                    .values()
                    .next()
                    .map(|parked| parked.retry_after);
                let now = world.borrow().now;
                if later.is_some() {
                    world.borrow_mut().now = now - TimeDelta::hours(12);
                    run(&world);
                    world.borrow_mut().now = now;
                }
            }
        }
    };
    refuse_for_days(false);
    assert_eq!(refused(&world), 0, "perhaps it was Gmail all the time");
    refuse_for_days(true);
    assert_eq!((refused(&world), copies(&world, 2)), (1, 0));
}

#[test]
fn a_checkpoint_does_not_raise_the_cursor_over_messages_that_are_returned_unsent() {
    for seed in 0..60 {
        let world = world();
        world.borrow_mut().dice = crate::dice::Dice::new(seed);
        for number in 2..=40 {
            deliver(&world, number, 0);
        }
        run_with(
            &world,
            Faults {
                gmail_gone: 40,
                ..faults()
            },
        );
        // The account may rest after three uncertain appends.
        for minutes in [20, 40, 80] {
            wait(&world, minutes);
            run(&world);
        }
        let lost: Vec<u32> = (2..=40)
            .filter(|number| copies(&world, *number) != 1)
            .collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    }
}

#[test]
fn a_checkpoint_raises_the_cursor_in_the_middle_of_a_pass() {
    for step in (20..).step_by(5) {
        let world = world();
        for number in 2..=40 {
            deliver(&world, number, 0);
        }
        world.borrow_mut().crash = Some((step, Crash::PowerLoss));
        assert_eq!(run(&world), Ended::Crashed);
        if world.borrow().gmail.messages.len() > 30 {
            let cursor = state(&world).folder.cursor.map(|cursor| cursor.uid);
            assert!(cursor >= Some(11), "{cursor:?}");
            return;
        }
    }
}

#[test]
fn an_uncertain_append_with_a_time_in_the_future_is_given_up_in_the_end() {
    let world = world();
    deliver(&world, 2, 0);
    world.borrow_mut().now += TimeDelta::days(400);
    run_with(
        &world,
        Faults {
            cut_before: 1000,
            ..faults()
        },
    );
    world.borrow_mut().now -= TimeDelta::days(400);
    world.borrow_mut().source.messages.clear();
    renumber(&world);
    deliver(&world, 3, 0);
    for _ in 0..3 {
        wait(&world, 2);
        run(&world);
    }
    assert!(state(&world).folder.date_pass.is_none());
    assert_eq!((copies(&world, 3), refused(&world)), (1, 1));
}

#[test]
fn a_message_id_that_looks_like_one_of_ours_is_parked_like_any_other() {
    let world = world();
    let octets = b"Message-ID: sha256:0123456789abcdef\r\nSubject: x\r\n\r\nbody\r\n".to_vec();
    let now = world.borrow().now;
    world.borrow_mut().source.deliver(octets.clone(), now);
    for _ in 0..4 {
        run_with(&world, REFUSES);
        wait(&world, 60);
    }
    let remembered = state(&world);
    assert_eq!(
        (
            remembered.folder.parked.len(),
            remembered.folder.refused.len()
        ),
        (1, 0)
    );
    assert!(
        remembered
            .folder
            .parked
            .values()
            .all(|parked| parked.tries > 2)
    );
    wait(&world, 24 * 60);
    run(&world);
    assert_eq!(
        world
            .borrow()
            .gmail
            .messages
            .iter()
            .filter(|there| there.octets == octets)
            .count(),
        1
    );
}

#[test]
fn above_the_cursor_the_body_distinguishes_messages_of_one_id_and_header() {
    let world = world();
    let page = |number: u32| {
        format!("Message-ID: <fax@x>\r\nSubject: fax\r\n\r\npage {number}\r\n").into_bytes()
    };
    for number in [1, 2, 2, 3] {
        let now = world.borrow().now;
        world.borrow_mut().source.deliver(page(number), now);
        run(&world);
        wait(&world, 1);
    }
    let world = world.borrow();
    for number in 1..=3 {
        let copies = world
            .gmail
            .messages
            .iter()
            .filter(|there| there.octets == page(number));
        assert_eq!(copies.count(), 1, "page {number}");
    }
}

#[test]
fn an_uncertain_append_that_cannot_be_listed_after_uidvalidity_changed_is_not_sent_again() {
    let world = world();
    let octets = b"Subject: no id\r\n\r\nbody\r\n".to_vec();
    let now = world.borrow().now;
    world.borrow_mut().source.deliver(octets.clone(), now);
    run_with(
        &world,
        Faults {
            cut_after: 1000,
            ..faults()
        },
    );
    renumber(&world);
    wait(&world, 5);
    // Gmail cannot be reached either, so that the date pass stays open.
    world.borrow_mut().gmail.gone = true;
    run_with(
        &world,
        Faults {
            hole: 1000,
            ..faults()
        },
    );
    assert_eq!(
        state(&world)
            .folder
            .date_pass
            .map(|pass| pass.orphans.len()),
        Some(1)
    );
    for minutes in [5, 20, 60] {
        wait(&world, minutes);
        run(&world);
    }
    let world = world.borrow();
    let copies = world
        .gmail
        .messages
        .iter()
        .filter(|there| there.octets == octets);
    assert_eq!(copies.count(), 1);
}

#[test]
fn a_message_that_cannot_be_listed_stays_parked_when_the_user_requests_later_mail() {
    let world = world();
    deliver(&world, 2, 100);
    run_with(
        &world,
        Faults {
            hole: 1000,
            ..faults()
        },
    );
    assert_eq!(state(&world).folder.parked.len(), 1);
    let yesterday = world.borrow().now - TimeDelta::days(1);
    world.borrow_mut().since = Some(yesterday);
    run_with(&world, faults());
    world.borrow_mut().since = None;
    wait(&world, 5);
    run(&world);
    assert_eq!((copies(&world, 2), refused(&world)), (1, 0));
}

#[test]
fn a_twin_of_an_uncertain_append_waits_for_it_after_uidvalidity_changed() {
    let world = world();
    deliver(&world, 2, 0);
    run_with(&world, REFUSES);
    // An alias delivers the same message again; Gmail stores it, and the response is lost.
    deliver(&world, 2, 1);
    run_with(
        &world,
        Faults {
            cut_after: 1000,
            ..faults()
        },
    );
    let sent = |world: &Shared| {
        let parked = state(world).folder.parked.into_values();
        parked
            .map(|parked| parked.sent.is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(&world), [false, true]);
    // The user deletes it, and this copy leaves the source.
    world.borrow_mut().gmail.messages.last_mut().unwrap().place = Place::Trash;
    world.borrow_mut().source.messages.pop();
    renumber(&world);
    for minutes in [5, 20, 60] {
        wait(&world, minutes);
        run(&world);
    }
    assert_eq!((copies(&world, 2), refused(&world)), (1, 0));
    assert!(state(&world).folder.parked.is_empty());
}

#[test]
fn what_the_original_delivered_under_an_id_in_use_does_not_come_back_from_the_trash() {
    let world = Rc::new(RefCell::new(World::new(1)));
    let scan = |number: u32| {
        format!("Message-ID: <printer@x>\r\nSubject: scan {number}\r\n\r\npage\r\n").into_bytes()
    };
    let now = world.borrow().now;
    let long_ago = now - TimeDelta::days(200);
    world.borrow_mut().source.deliver(scan(1), long_ago);
    world.borrow_mut().gmail.put(scan(1), long_ago, false);
    let original = json!({"synced_message_ids": ["<printer@x>"], "last_source_uid": 1,
                          "last_sync": now.to_rfc3339()});
    world
        .borrow_mut()
        .disk
        .plant(StateFile::Snapshot, original.to_string().into_bytes());
    world.borrow_mut().source.deliver(scan(2), now);
    run(&world);
    // The user deletes the old one at Gmail; at the source it is moved out of the folder and back.
    world.borrow_mut().gmail.messages[0].place = Place::Trash;
    world.borrow_mut().source.messages.remove(0);
    world.borrow_mut().source.deliver(scan(1), long_ago);
    wait(&world, 5);
    run(&world);
    let subjects: Vec<bool> = world
        .borrow()
        .gmail
        .messages
        .iter()
        .map(|there| there.octets == scan(1))
        .collect();
    assert_eq!(subjects, [true, false], "scan 1 in the trash, and scan 2");
}

/// A message without Message-ID, as a meter mails it again and again.
const ALARM: &[u8] = b"Subject: alarm\r\n\r\nwater\r\n";

fn deliver_alarm(world: &Shared) -> u32 {
    let mut world = world.borrow_mut();
    let now = world.now;
    world.source.deliver(ALARM.to_vec(), now)
}

fn alarms(world: &Shared) -> usize {
    let world = world.borrow();
    let there = world.gmail.messages.iter();
    there.filter(|there| there.octets == ALARM).count()
}

/// The message leaves the mailbox and returns with the same INTERNALDATE.
fn move_out_and_back(world: &Shared, uid: u32) {
    let source = &mut world.borrow_mut().source;
    let is_it = |message: &SourceMessage| message.uid == uid;
    let index = source.messages.iter().position(is_it).unwrap();
    let message = source.messages.remove(index);
    source.deliver(message.octets, message.date);
}

#[test]
fn messages_of_the_same_octets_without_message_id_all_arrive() {
    let world = world();
    deliver_alarm(&world);
    deliver_alarm(&world);
    wait(&world, 1);
    deliver_alarm(&world);
    run(&world);
    assert_eq!(alarms(&world), 3, "in one pass, two of them of one second");
    wait(&world, 1);
    deliver_alarm(&world);
    run(&world);
    assert_eq!(alarms(&world), 4, "in a later pass");
    wait(&world, 1);
    run(&world);
    assert_eq!(alarms(&world), 4);
}

#[test]
fn messages_of_the_same_octets_without_message_id_all_arrive_in_a_first_run() {
    let world = Rc::new(RefCell::new(World::new(1)));
    deliver_alarm(&world);
    wait(&world, 60);
    deliver_alarm(&world);
    run(&world);
    assert_eq!(alarms(&world), 2);
    // Only the date pass of another UIDVALIDITY takes them for delivered.
    renumber(&world);
    wait(&world, 1);
    run(&world);
    assert_eq!(alarms(&world), 2);
    wait(&world, 1);
    deliver_alarm(&world);
    run(&world);
    assert_eq!(alarms(&world), 3);
}

#[test]
fn a_message_without_message_id_that_is_moved_out_and_back_is_not_copied_again() {
    let world = world();
    let uid = deliver_alarm(&world);
    deliver_alarm(&world);
    run(&world);
    wait(&world, 1);
    move_out_and_back(&world, uid);
    run(&world);
    assert_eq!(alarms(&world), 2);
    // One of the same second is another message: the moved one is still there under its new UID.
    wait(&world, 1);
    {
        let source = &mut world.borrow_mut().source;
        let date = source.messages.last().unwrap().date;
        source.deliver(ALARM.to_vec(), date);
    }
    run(&world);
    assert_eq!(alarms(&world), 3);
}

#[test]
fn a_message_without_message_id_arrives_although_one_of_its_octets_was_deleted_at_the_source() {
    let world = world();
    deliver_alarm(&world);
    run(&world);
    world.borrow_mut().source.messages.pop();
    wait(&world, 1);
    deliver_alarm(&world);
    run(&world);
    assert_eq!(alarms(&world), 2);
}

#[test]
fn a_lost_append_is_not_taken_for_an_earlier_message_of_its_octets() {
    // Whether the first is stored before the response to the second is lost depends on the seed.
    for seed in 0..200 {
        let world = Rc::new(RefCell::new(World::new(seed)));
        deliver(&world, 1, 0);
        run(&world);
        wait(&world, 1);
        deliver_alarm(&world);
        deliver_alarm(&world);
        run_with(
            &world,
            Faults {
                cut_before: 500,
                ..Faults::default()
            },
        );
        for _ in 0..4 {
            wait(&world, 20);
            run(&world);
        }
        assert_eq!(alarms(&world), 2, "seed {seed}");
    }
}

#[test]
fn a_moved_message_that_cannot_be_read_for_a_while_is_not_taken_for_one_that_was_sent() {
    let unreadable = Faults {
        unreadable: 1000,
        ..faults()
    };
    // It cannot be read before it waits for the lost append, or afterwards.
    for is_read_first in [false, true] {
        let world = world();
        run(&world);
        let uid = deliver_alarm(&world);
        run_with(&world, REFUSES);
        wait(&world, 2);
        let cut_after = Faults {
            cut_after: 1000,
            ..faults()
        };
        run_with(&world, cut_after);
        assert_eq!(alarms(&world), 1, "stored, and the response was lost");
        move_out_and_back(&world, uid);
        if is_read_first {
            run(&world);
            assert_eq!(state(&world).folder.parked.len(), 2, "it waits");
            wait(&world, 30);
        }
        run_with(&world, unreadable);
        for minutes in [2, 10, 30] {
            wait(&world, minutes);
            run(&world);
        }
        assert_eq!(alarms(&world), 1, "{is_read_first}");
        assert!(state(&world).folder.parked.is_empty());
    }
}

#[test]
fn a_refused_message_that_was_moved_and_delivered_is_not_sent_again_when_uids_change() {
    let world = world();
    run(&world);
    let uid = deliver_alarm(&world);
    run_with(&world, REFUSES);
    world.borrow_mut().now += TimeDelta::seconds(10);
    move_out_and_back(&world, uid);
    run(&world);
    assert_eq!((alarms(&world), state(&world).folder.parked.len()), (1, 1));
    renumber(&world);
    for minutes in [1, 10, 30] {
        wait(&world, minutes);
        run(&world);
    }
    assert_eq!(alarms(&world), 1);
    assert!(state(&world).folder.parked.is_empty());
}

#[test]
fn a_uid_next_that_messages_have_already_hides_none() {
    let world = Rc::new(RefCell::new(World::new(1)));
    world.borrow_mut().source.uid_next_lag = 2;
    (1..=3).for_each(|number| {
        deliver(&world, number, 0);
    });
    run(&world);
    assert!(state(&world).source.wrong_uid_next);
    wait(&world, 1);
    deliver(&world, 4, 0);
    run(&world);
    wait(&world, 1);
    run(&world);
    for number in 1..=4 {
        assert_eq!(copies(&world, number), 1, "{number}");
    }
    assert_eq!(world.borrow().gmail.submitted, [1, 2, 3, 4]);
}

#[test]
fn a_uid_next_that_becomes_wrong_is_noticed_within_an_hour() {
    let world = world();
    wait(&world, 61);
    run(&world);
    deliver(&world, 2, 0);
    world.borrow_mut().source.uid_next_lag = 1;
    wait(&world, 61);
    run(&world);
    assert_eq!(copies(&world, 2), 1);
}

#[test]
fn an_append_that_gmail_does_not_show_is_looked_up_less_often_and_not_sent_again() {
    let world = world();
    deliver(&world, 2, 0);
    run_with(
        &world,
        Faults {
            cut_after: 1000,
            ..Faults::default()
        },
    );
    world.borrow_mut().gmail.hides_bodies = true;
    let mut delays = Vec::new();
    for _ in 0..14 {
        let (parked, now) = (state(&world).folder.parked, world.borrow().now);
        let delay = parked.values().next().unwrap().retry_after - now;
        delays.push(delay);
        world.borrow_mut().now += delay;
        run(&world);
    }
    assert!(delays.is_sorted(), "{delays:?}");
    assert!(delays[13] > TimeDelta::hours(23), "{delays:?}");
    assert_eq!(world.borrow().gmail.submitted, [1, 2]);
    world.borrow_mut().gmail.hides_bodies = false;
    wait(&world, 25 * 60);
    run(&world);
    assert!(state(&world).folder.parked.is_empty());
    assert_eq!(copies(&world, 2), 1);
}

#[test]
fn a_limit_that_gmail_names_is_the_cause_of_several_lost_responses() {
    let mut most_lost = 0;
    for seed in 0..30 {
        let world = Rc::new(RefCell::new(World::new(seed)));
        (1..=8).for_each(|number| deliver(&world, number, 0));
        world.borrow_mut().gmail.limits = true;
        world.borrow_mut().faults.gmail_gone = 1000;
        let ended = run(&world);
        most_lost = most_lost.max(state(&world).folder.parked.len());
        assert_eq!(ended, Ended::Failed(ErrorKind::Resting), "seed {seed}");
    }
    assert!(most_lost >= 3, "{most_lost}");
}

#[test]
fn messages_that_are_lost_together_are_not_several_that_gmail_does_not_accept() {
    let mut most_lost = 0;
    for seed in 0..30 {
        let world = Rc::new(RefCell::new(World::new(seed)));
        (1..=8).for_each(|number| deliver(&world, number, 0));
        world.borrow_mut().faults.gmail_gone = 1000;
        assert_eq!(run(&world), Ended::Failed(ErrorKind::Unavailable));
        most_lost = most_lost.max(state(&world).folder.parked.len());
        assert_eq!(state(&world).gmail.retry_after, None, "seed {seed}");
    }
    assert!(most_lost >= 3, "{most_lost}");
}

#[test]
fn a_refused_message_without_message_id_is_sent_although_another_of_its_octets_has_left_the_source()
{
    for renumbers in [false, true] {
        let world = world();
        deliver_alarm(&world);
        run(&world);
        // Another of the same second, which Gmail refuses at first.
        let date = world.borrow().source.messages.last().unwrap().date;
        world.borrow_mut().source.deliver(ALARM.to_vec(), date);
        run_with(&world, REFUSES);
        assert_eq!((alarms(&world), state(&world).folder.parked.len()), (1, 1));
        let first = {
            let messages = &world.borrow().source.messages;
            messages.iter().position(|it| it.octets == ALARM).unwrap()
        };
        world.borrow_mut().source.messages.remove(first);
        if renumbers {
            renumber(&world);
        }
        for _ in 0..3 {
            wait(&world, 20);
            run(&world);
        }
        assert_eq!(alarms(&world), 2, "{renumbers}");
    }
}
