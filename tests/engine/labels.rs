//! Labels: a run that crashes at any step, and rules that random schedules reach too seldom.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use chrono::TimeDelta;
use imap_to_gmail_sync::error::ErrorKind;

use crate::cut::{mailbox, outcome, run_until_finished};
use crate::run::{Ended, run, state};
use crate::world::{Crash, Place, Shared, World};

const LABEL: &str = "Old mail";

fn message(number: u32) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n").into_bytes()
}

fn deliver(world: &Shared, numbers: impl IntoIterator<Item = u32>) {
    let world = &mut *world.borrow_mut();
    for number in numbers {
        world.source.deliver(message(number), world.now);
    }
}

fn world() -> Shared {
    let world = Rc::new(RefCell::new(World::new(1)));
    world.borrow_mut().labels = vec![LABEL.to_owned()];
    world
}

fn wait(world: &Shared, time: TimeDelta) {
    world.borrow_mut().now += time;
}

/// A run whose connection breaks each time when labels are set.
fn run_with_cuts(world: &Shared) -> Ended {
    world.borrow_mut().gmail.labels.cut = 1000;
    run(world)
}

fn labelled(world: &Shared) -> usize {
    let messages = &world.borrow().gmail.messages;
    messages
        .iter()
        .filter(|there| there.labelled.labels.contains(LABEL))
        .count()
}

#[test]
fn a_run_that_crashes_at_any_step_labels_what_one_does_that_does_not() {
    let fresh = |seed| {
        let world = mailbox(seed, false, 30);
        world.borrow_mut().labels = vec![LABEL.to_owned(), "Old mail/Ü".to_owned()];
        world
    };
    let undisturbed = fresh(0);
    run(&undisturbed);
    run_until_finished(&undisturbed);
    let expected = outcome(&undisturbed);
    for step in 1.. {
        let crash = if step % 2 == 0 {
            Crash::Kill
        } else {
            Crash::PowerLoss
        };
        let world = fresh(step as u64);
        world.borrow_mut().crash = Some((step, crash));
        if run(&world) != Ended::Crashed {
            assert!(step > 40, "a run of {step} steps is none");
            break;
        }
        if step % 4 < 2 {
            world.borrow_mut().user_relabels();
        }
        run_until_finished(&world);
        assert_eq!(outcome(&world), expected, "{crash:?} at step {step}");
        assert!(state(&world).owed_labels().is_empty());
        let failures = world.borrow().label_failures();
        assert!(
            failures.is_empty(),
            "{crash:?} at step {step}: {failures:?}"
        );
    }
}

#[test]
fn many_messages_are_labelled_by_few_commands() {
    let world = world();
    deliver(&world, 0..120);
    run(&world);
    assert_eq!(labelled(&world), 120);
    let commands = world.borrow().gmail.labels.commands;
    assert!(commands <= 3, "{commands}");
}

#[test]
fn a_message_that_cannot_be_labelled_stops_neither_mail_nor_labels_and_is_given_up_in_the_end() {
    let world = world();
    world.borrow_mut().gmail.labels.poison = Some(message(1));
    deliver(&world, 0..4);
    for number in 4..24 {
        run(&world);
        wait(&world, TimeDelta::minutes(10));
        deliver(&world, [number]);
    }
    assert!(world.borrow().gmail.messages.len() >= 22);
    assert!(labelled(&world) >= 21);
    let owed: Vec<u32> = state(&world)
        .owed_labels()
        .values()
        .map(|owed| owed.tries)
        .collect();
    assert!(owed.len() == 1 && owed[0] >= 8, "{owed:?}");
    assert!(matches!(run(&world), Ended::Failed(ErrorKind::Unavailable)));
    wait(&world, TimeDelta::days(8));
    assert!(matches!(run(&world), Ended::Done(_)));
    assert!(state(&world).owed_labels().is_empty());
    assert_eq!(
        (world.borrow().gmail.messages.len(), labelled(&world)),
        (24, 23)
    );
}

#[test]
fn labels_that_never_can_be_set_do_not_stop_the_mail() {
    let world = world();
    for number in 0..20 {
        deliver(&world, [number]);
        run_with_cuts(&world);
        wait(&world, TimeDelta::minutes(10));
    }
    assert!(world.borrow().gmail.messages.len() >= 18);
    assert!(matches!(run(&world), Ended::Done(_)));
    assert_eq!(labelled(&world), 20);
}

#[test]
fn a_message_gets_the_labels_that_were_configured_when_it_was_sent() {
    let world = world();
    deliver(&world, [0]);
    assert!(matches!(run_with_cuts(&world), Ended::Failed(_)));
    world.borrow_mut().labels.clear();
    deliver(&world, [1]);
    assert!(matches!(run(&world), Ended::Done(_)));
    assert_eq!(labelled(&world), 1);
    let world = world.borrow();
    let second = world
        .gmail
        .messages
        .iter()
        .find(|there| there.octets == message(1));
    assert!(second.unwrap().labelled.labels.is_empty());
}

#[test]
fn an_uncertain_message_that_is_moved_out_and_back_and_copied_is_labelled_once() {
    let world = world();
    deliver(&world, [0]);
    world.borrow_mut().faults.cut_before = 1000;
    run(&world);
    assert!(world.borrow().gmail.messages.is_empty());
    let moved = world.borrow_mut().source.messages.remove(0);
    world.borrow_mut().source.deliver(moved.octets, moved.date);
    for _ in 0..3 {
        wait(&world, TimeDelta::minutes(10));
        assert!(matches!(run(&world), Ended::Done(_)));
    }
    assert_eq!(labelled(&world), 1);
    let failures = world.borrow().label_failures();
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn a_rejected_label_is_given_up_for_all_messages_and_the_others_are_set() {
    let world = world();
    world.borrow_mut().labels.push("a^b".to_owned());
    world.borrow_mut().gmail.labels.rejected = BTreeSet::from(["a^b".to_owned()]);
    deliver(&world, 0..3);
    assert!(matches!(run(&world), Ended::Done(_)));
    assert_eq!(labelled(&world), 3);
    assert!(state(&world).owed_labels().is_empty());
}

#[test]
fn what_the_user_archives_or_renumbers_before_is_labelled_and_what_he_deletes_is_not() {
    let world = world();
    deliver(&world, 0..3);
    // Right after the last message was stored.
    let before_labels = (1..100).find(|step| {
        let world = self::world();
        deliver(&world, 0..3);
        world.borrow_mut().crash = Some((*step, Crash::Kill));
        run(&world);
        state(&world).owed_labels().len() == 3
    });
    world.borrow_mut().crash = Some((before_labels.unwrap(), Crash::Kill));
    assert_eq!(run(&world), Ended::Crashed);
    let places = [Place::Archive, Place::Trash, Place::Inbox];
    for (there, place) in world.borrow_mut().gmail.messages.iter_mut().zip(places) {
        there.relocate(place);
    }
    world.borrow_mut().renumber_inbox();
    wait(&world, TimeDelta::minutes(2));
    assert!(matches!(run(&world), Ended::Done(_)));
    let world = world.borrow();
    let labelled = |index: usize| world.gmail.messages[index].labelled.labels.contains(LABEL);
    assert_eq!([labelled(0), labelled(1), labelled(2)], [true, false, true]);
}
