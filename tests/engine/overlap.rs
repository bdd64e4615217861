//! What is asked ahead: lookups for several groups, the next group at the source, and connections to
//! Gmail as soon as there is something new.

use std::cell::RefCell;
use std::rc::Rc;

use chrono::TimeDelta;

use crate::run::{Ended, run, state};
use crate::world::{Faults, Shared, World};

fn message(number: u32) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n").into_bytes()
}

/// A world after a first run that copied message 1, with messages 2 to `last`.
fn world_with_messages_up_to(last: u32) -> Shared {
    let world = Rc::new(RefCell::new(World::new(1)));
    deliver(&world, message(1));
    assert!(matches!(run(&world), Ended::Done(_)));
    world.borrow_mut().now += TimeDelta::minutes(1);
    forget_hints(&world);
    (2..=last).for_each(|number| deliver(&world, message(number)));
    world
}

fn deliver(world: &Shared, octets: Vec<u8>) {
    let mut world = world.borrow_mut();
    let date = world.now;
    world.source.deliver(octets, date);
}

fn put_at_gmail(world: &Shared, number: u32) {
    let mut world = world.borrow_mut();
    let now = world.now;
    world.gmail.put(message(number), now, false);
}

fn forget_hints(world: &Shared) {
    let mut world = world.borrow_mut();
    world.source.announced.clear();
    world.source.most_ahead = (0, 0);
    world.gmail.prepared = 0;
    world.gmail.looked_up.clear();
}

fn announced(world: &Shared) -> Vec<Vec<u32>> {
    world.borrow().source.announced.clone()
}

fn copies(world: &Shared, octets: &[u8]) -> usize {
    let messages = &world.borrow().gmail.messages;
    let copies = messages.iter().filter(|there| there.octets == octets);
    copies.count()
}

fn assert_each_arrived_once(world: &Shared, last: u32) {
    for number in 1..=last {
        assert_eq!(copies(world, &message(number)), 1, "{number}");
    }
    assert!(state(world).folder.parked.is_empty());
}

#[test]
fn the_next_group_is_announced_without_what_gmail_has() {
    let world = world_with_messages_up_to(26);
    put_at_gmail(&world, 13);
    run(&world);
    let second = (12..=21).filter(|uid| *uid != 13).collect();
    let expected: [Vec<u32>; 3] = [(2..=11).collect(), second, (22..=26).collect()];
    assert_eq!(announced(&world), expected);
    assert_each_arrived_once(&world, 26);
}

fn assert_nothing_is_announced_twice(world: &Shared) {
    let mut uids: Vec<u32> = announced(world).concat();
    let count = uids.len();
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), count, "{:?}", announced(world));
}

#[test]
fn four_groups_are_asked_for_ahead_and_each_of_them_once() {
    let world = world_with_messages_up_to(121);
    run(&world);
    assert_eq!(world.borrow().source.most_ahead.0, 4);
    assert_nothing_is_announced_twice(&world);
    assert_each_arrived_once(&world, 121);
}

#[test]
fn what_is_asked_for_ahead_has_no_more_octets_than_a_group() {
    let world = world_with_messages_up_to(11);
    let large = |number| [message(number), vec![b'x'; 3 * 1024 * 1024]].concat();
    (12..=21).for_each(|number| deliver(&world, large(number)));
    run(&world);
    let (_, octets) = world.borrow().source.most_ahead;
    let mebibyte = 1024 * 1024;
    assert!((6 * mebibyte..8 * mebibyte).contains(&octets), "{octets}");
    assert_nothing_is_announced_twice(&world);
    assert!((12..=21).all(|number| copies(&world, &large(number)) == 1));
}

#[test]
fn a_group_that_a_twin_makes_shorter_is_not_asked_for_ahead() {
    let world = world_with_messages_up_to(24);
    deliver(&world, message(15));
    (26..=61).for_each(|number| deliver(&world, message(number)));
    run(&world);
    assert_nothing_is_announced_twice(&world);
    let arrived = (2..=61).filter(|number| *number != 25);
    for number in arrived {
        assert_eq!(copies(&world, &message(number)), 1, "{number}");
    }
}

#[test]
fn one_lookup_is_for_the_messages_of_several_groups() {
    let world = world_with_messages_up_to(121);
    run(&world);
    let looked_up = world.borrow().gmail.looked_up.clone();
    let expected: [Vec<u32>; 2] = [(2..=101).collect(), (102..=121).collect()];
    assert_eq!(looked_up, expected);
    assert_each_arrived_once(&world, 121);
}

#[test]
fn a_message_that_leaves_the_source_after_it_was_announced_arrives() {
    let world = world_with_messages_up_to(71);
    world.borrow_mut().source.leaves_when_announced = (2..=71).collect();
    run(&world);
    assert_each_arrived_once(&world, 71);
}

#[test]
fn a_message_that_gmail_refuses_after_it_left_the_source_is_reported() {
    let world = world_with_messages_up_to(2);
    world.borrow_mut().source.leaves_when_announced = [2].into();
    world.borrow_mut().faults = Faults {
        refusal: 1000,
        ..Faults::default()
    };
    run(&world);
    world.borrow_mut().now += TimeDelta::minutes(5);
    run(&world);
    assert_eq!(state(&world).folder.refused.len(), 1);
}

#[test]
fn a_source_that_breaks_at_what_was_announced_is_asked_again() {
    for seed in 0..20 {
        let world = world_with_messages_up_to(71);
        world.borrow_mut().dice = crate::dice::Dice::new(seed);
        world.borrow_mut().faults = Faults {
            unreadable: 200,
            hole: 100,
            ..Faults::default()
        };
        run(&world);
        for _ in 0..3 {
            world.borrow_mut().now += TimeDelta::minutes(20);
            run(&world);
        }
        assert_each_arrived_once(&world, 71);
    }
}

#[test]
fn a_lookup_made_ahead_does_not_hide_the_twin_that_the_pass_has_delivered_meanwhile() {
    for resets_uids in [false, true] {
        let world = world_with_messages_up_to(31);
        deliver(&world, message(2));
        let other = b"Message-ID: <2@x>\r\nSubject: other\r\n\r\nother\r\n".to_vec();
        deliver(&world, other.clone());
        if resets_uids {
            world.borrow_mut().source.uid_validity += 1;
        }
        run(&world);
        let asked_together = world.borrow().gmail.looked_up[0].clone();
        assert!([2, 32, 33].iter().all(|uid| asked_together.contains(uid)));
        // Under an id in use the trash is searched, too.
        let lookups = world.borrow().gmail.looked_up.clone();
        let of_other = lookups.iter().filter(|uids| uids.contains(&33)).count();
        assert_eq!(of_other, if resets_uids { 1 } else { 2 }, "{lookups:?}");
        assert_each_arrived_once(&world, 31);
        assert_eq!(copies(&world, &other), 1);
    }
}

#[test]
fn the_twin_of_a_lost_append_waits_although_it_was_looked_up_before() {
    for seed in 0..20 {
        let world = world_with_messages_up_to(31);
        deliver(&world, message(2));
        world.borrow_mut().dice = crate::dice::Dice::new(seed);
        world.borrow_mut().faults = Faults {
            stored_late: 300,
            cut_after: 300,
            ..Faults::default()
        };
        run(&world);
        for _ in 0..6 {
            world.borrow_mut().now += TimeDelta::minutes(20);
            world.borrow_mut().store_late();
            run(&world);
        }
        assert_each_arrived_once(&world, 31);
    }
}

#[test]
fn a_lookup_is_made_again_when_it_is_a_minute_old() {
    let world = world_with_messages_up_to(31);
    world.borrow_mut().step_time = TimeDelta::seconds(4);
    run(&world);
    let looked_up = world.borrow().gmail.looked_up.clone();
    assert_eq!(looked_up[0], (2..=31).collect::<Vec<u32>>());
    assert!(looked_up[1].contains(&31), "{looked_up:?}");
    assert_each_arrived_once(&world, 31);
}

#[test]
fn a_new_message_is_asked_for_before_its_lookup_if_it_is_small() {
    let world = world_with_messages_up_to(2);
    put_at_gmail(&world, 2);
    run(&world);
    assert_eq!(announced(&world), [[2]], "although Gmail has it");
    forget_hints(&world);
    let large = [message(3), vec![b'x'; 300 * 1024]].concat();
    deliver(&world, large.clone());
    run(&world);
    assert!(announced(&world).is_empty());
    assert_eq!(copies(&world, &large), 1);
}

#[test]
fn what_is_larger_than_a_group_is_not_announced_and_nothing_is_beside_it() {
    let world = world_with_messages_up_to(11);
    let large = [message(12), vec![b'x'; 9 * 1024 * 1024]].concat();
    deliver(&world, large.clone());
    (13..=15).for_each(|number| deliver(&world, message(number)));
    run(&world);
    assert_eq!(announced(&world), [(2..=11).collect::<Vec<u32>>()]);
    assert_eq!(copies(&world, &large), 1);
}

#[test]
fn what_was_parked_is_not_announced() {
    let world = world_with_messages_up_to(2);
    world.borrow_mut().faults.unreadable = 1000;
    run(&world);
    forget_hints(&world);
    world.borrow_mut().now += TimeDelta::minutes(5);
    run(&world);
    assert!(announced(&world).is_empty());
    assert_each_arrived_once(&world, 2);
}

#[test]
fn a_run_with_nothing_new_gives_no_hints() {
    let world = world_with_messages_up_to(2);
    run(&world);
    assert_eq!(world.borrow().gmail.prepared, 1);
    forget_hints(&world);
    world.borrow_mut().now += TimeDelta::minutes(5);
    run(&world);
    assert_eq!(world.borrow().gmail.prepared, 0);
    assert!(world.borrow().gmail.looked_up.is_empty());
    assert!(announced(&world).is_empty());
}

#[test]
fn a_renumbered_mailbox_with_nothing_new_gives_the_target_no_hint() {
    let world = world_with_messages_up_to(12);
    run(&world);
    forget_hints(&world);
    world.borrow_mut().now += TimeDelta::minutes(5);
    world.borrow_mut().source.uid_validity += 1;
    run(&world);
    assert_eq!(world.borrow().gmail.prepared, 0);
    assert!(world.borrow().gmail.looked_up.is_empty());
    assert!(announced(&world).is_empty());
    assert_each_arrived_once(&world, 12);
}
