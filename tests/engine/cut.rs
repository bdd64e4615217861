//! A run that crashes at any outward step, followed by clean runs, must leave the same as a run that
//! does not crash.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::TimeDelta;

use crate::run::{Ended, run, state};
use crate::world::{Crash, Faults, Place, Shared, World};

/// A message without Message-ID, of which there are three.
const ALARM: &str = "Subject: alarm\r\n\r\nwater\r\n";

/// A mailbox with every kind of message: without Message-ID, refused for good, too large, two
/// messages of one id, identical twins, three alarms of the same octets, NUL octets, bare LFs.
pub fn mailbox(seed: u64, deduplicates: bool, index_delay: i64) -> Shared {
    let mut world = World::new(seed);
    world.gmail.deduplicates = deduplicates;
    world.gmail.index_delay = index_delay;
    world.gmail.append_limit = Some(5_000);
    let now = world.now;
    let mut deliver = |text: &str, days: i64| {
        world
            .source
            .deliver(text.as_bytes().to_vec(), now - TimeDelta::days(days));
    };
    for number in 0..6 {
        let date = 6 - i64::from(number);
        deliver(
            &format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n"),
            date,
        );
    }
    deliver("Subject: no id\r\n\r\none\r\n", 1);
    deliver("Subject: no id\r\n\r\ntwo\r\n", 1);
    deliver(
        "Message-ID: <refused@x>\r\nSubject: r\r\n\r\nrefused\r\n",
        1,
    );
    deliver(
        "Message-ID: <printer@x>\r\nSubject: scan\r\n\r\npage one\r\n",
        1,
    );
    deliver(
        "Message-ID: <printer@x>\r\nSubject: other scan\r\n\r\npage two\r\n",
        1,
    );
    deliver("Message-ID: <twin@x>\r\nSubject: t\r\n\r\ntwins\r\n", 1);
    deliver("Message-ID: <twin@x>\r\nSubject: t\r\n\r\ntwins\r\n", 1);
    // A meter mails the same octets again, in the same second, too.
    deliver(ALARM, 2);
    deliver(ALARM, 1);
    deliver(ALARM, 1);
    deliver(
        "Message-ID: <odd@x>\r\nSubject: o\r\n\r\nnul \0 and\nbare line feeds\n",
        0,
    );
    deliver(
        &format!("Message-ID: <large@x>\r\n\r\n{}", "x".repeat(6_000)),
        0,
    );
    deliver("Message-ID: <old@x>\r\nSubject: old\r\n\r\nold\r\n", 30);
    let refused = b"Message-ID: <refused@x>\r\nSubject: r\r\n\r\nrefused\r\n".to_vec();
    world.gmail.refuses.insert(refused);
    // Gmail received one of them another way.
    world.gmail.put(
        b"Message-ID: <3@x>\r\nSubject: 3\r\n\r\nbody 3\r\n".to_vec(),
        now - TimeDelta::days(1),
        false,
    );
    Rc::new(RefCell::new(world))
}

/// The messages in the inbox at Gmail with their counts, and the ids of the refused ones.
pub fn outcome(world: &Shared) -> (BTreeMap<String, usize>, Vec<String>) {
    let mut there = BTreeMap::new();
    for message in world
        .borrow()
        .gmail
        .messages
        .iter()
        .filter(|message| message.place == Place::Inbox)
    {
        *there
            .entry(message.octets.escape_ascii().to_string())
            .or_default() += 1;
    }
    let mut refused_ids: Vec<String> = state(world)
        .folder
        .refused
        .values()
        .filter_map(|refused| Some(refused.id.as_ref()?.as_str().to_owned()))
        .collect();
    refused_ids.sort();
    (there, refused_ids)
}

fn wait(world: &Shared, minutes: i64) {
    world.borrow_mut().now += TimeDelta::minutes(minutes);
    world.borrow_mut().store_late();
}

/// Whether each message arrived once, and each of the three alarms.
fn is_exact(there: &BTreeMap<String, usize>) -> bool {
    let alarm = ALARM.escape_default().to_string();
    there
        .iter()
        .all(|(octets, count)| *count == if *octets == alarm { 3 } else { 1 })
}

/// Runs until nothing is parked.
pub fn run_until_finished(world: &Shared) {
    for _ in 0..6 {
        wait(world, 20);
        let ended = run(world);
        assert!(matches!(ended, Ended::Done(_) | Ended::Rests), "{ended:?}");
    }
    assert!(state(world).folder.parked.is_empty());
}

fn crash_at_every_step(deduplicates: bool, index_delay: i64, after_first_run: bool) {
    let fresh = |seed| {
        let world = mailbox(seed, deduplicates, index_delay);
        if after_first_run {
            // The messages arrive above a cursor.
            let messages = std::mem::take(&mut world.borrow_mut().source.messages);
            world.borrow_mut().source.messages =
                messages.into_iter().filter(|m| m.uid > 1000).collect();
            run(&world);
            wait(&world, 1);
            let again = mailbox(seed, deduplicates, index_delay);
            let mut target = world.borrow_mut();
            for message in std::mem::take(&mut again.borrow_mut().source.messages) {
                let date = target.now;
                target.source.deliver(message.octets, date);
            }
            drop(target);
        }
        world
    };
    let undisturbed = fresh(0);
    assert!(matches!(run(&undisturbed), Ended::Done(_)));
    run_until_finished(&undisturbed);
    let expected = outcome(&undisturbed);
    assert_eq!(expected.1, ["<large@x>", "<refused@x>"]);
    assert!(is_exact(&expected.0), "{:?}", expected.0);
    assert_eq!(expected.0.len(), if after_first_run { 14 } else { 13 });

    for crash in [Crash::Kill, Crash::PowerLoss] {
        for step in 1.. {
            let world = fresh(step as u64);
            world.borrow_mut().crash = Some((step, crash));
            let ended = run(&world);
            if ended != Ended::Crashed {
                assert!(step > 30, "a run of {step} steps is none");
                break;
            }
            run_until_finished(&world);
            assert_eq!(outcome(&world), expected, "{crash:?} at step {step}");
        }
    }
}

#[test]
fn a_first_run_that_crashes_at_any_step_leaves_the_same_as_one_that_does_not() {
    crash_at_every_step(false, 0, false);
}

#[test]
fn a_later_run_that_crashes_at_any_step_leaves_the_same_as_one_that_does_not() {
    crash_at_every_step(false, 0, true);
}

#[test]
fn a_crash_loses_and_doubles_nothing_with_deduplication_or_a_late_search_index() {
    crash_at_every_step(true, 45, false);
    crash_at_every_step(false, 45, false);
}

#[test]
fn two_crashes_in_a_row_lose_and_double_nothing() {
    let undisturbed = mailbox(0, false, 30);
    run(&undisturbed);
    run_until_finished(&undisturbed);
    let expected = outcome(&undisturbed);
    for first in (1..120).step_by(3) {
        for second in (1..90).step_by(7) {
            let world = mailbox(first as u64 * 1000 + second as u64, false, 30);
            world.borrow_mut().crash = Some((first, Crash::Kill));
            run(&world);
            world.borrow_mut().crash = Some((second, Crash::PowerLoss));
            run(&world);
            run_until_finished(&world);
            assert_eq!(
                outcome(&world),
                expected,
                "killed at {first}, then without power at {second}"
            );
        }
    }
}

#[test]
fn an_append_that_is_stored_seconds_after_its_connection_broke_is_not_sent_twice() {
    for seed in 0..50 {
        let world = mailbox(seed, false, 0);
        world.borrow_mut().faults = Faults {
            stored_late: 500,
            cut_after: 300,
            cut_before: 300,
            ..Faults::default()
        };
        run(&world);
        run_until_finished(&world);
        let there = outcome(&world).0;
        assert!(is_exact(&there), "{there:?}");
    }
}
