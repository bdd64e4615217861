//! What a pass logs, and the fields of its lines, which are stable: programs read them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Once;

use imap_to_gmail_sync::error::ErrorKind;
use log::{Level, LevelFilter, Log, Metadata, Record, kv};

use crate::run::{Ended, run};
use crate::world::{Faults, Shared, World};

struct Line {
    level: Level,
    text: String,
    /// Those that are not null.
    fields: BTreeMap<String, String>,
}

thread_local! {
    /// The lines that this thread logs, while it captures them.
    static CAPTURED: RefCell<Option<Vec<Line>>> = const { RefCell::new(None) };
}

struct Capture;

struct FieldVisitor<'a>(&'a mut BTreeMap<String, String>);

impl<'kvs> kv::VisitSource<'kvs> for FieldVisitor<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        if value.to_string() != kv::Value::null().to_string() {
            self.0.insert(key.to_string(), value.to_string());
        }
        Ok(())
    }
}

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        CAPTURED.with_borrow(Option::is_some)
    }

    fn log(&self, record: &Record<'_>) {
        CAPTURED.with_borrow_mut(|captured| {
            let Some(lines) = captured else { return };
            let mut fields = BTreeMap::new();
            let visited = record.key_values().visit(&mut FieldVisitor(&mut fields));
            visited.unwrap();
            lines.push(Line {
                level: record.level(),
                text: record.args().to_string(),
                fields,
            });
        });
    }

    fn flush(&self) {}
}

/// Runs the program, and returns what it logs at `info` and above.
fn logged(world: &Shared) -> (Ended, Vec<Line>) {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
    CAPTURED.set(Some(Vec::new()));
    let ended = run(world);
    (ended, CAPTURED.take().unwrap())
}

/// The fields; how long something took is only checked to be a number.
fn fields(line: &Line) -> String {
    let mut shown = Vec::new();
    for (name, value) in &line.fields {
        if name == "seconds" {
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{value}");
            shown.push(name.clone());
        } else {
            shown.push(format!("{name}={value}"));
        }
    }
    shown.join(" ")
}

/// The text up to its measured time, which is the last word but one.
fn without_time(line: &Line) -> &str {
    let (text, time) = line.text.rsplit_once(", ").unwrap();
    assert!(time.ends_with(" s"), "{time}");
    text
}

fn octets(number: u32) -> Vec<u8> {
    let body = "x".repeat(2048);
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\n{body}\r\n").into_bytes()
}

/// A world with this many new messages.
fn world(messages: u32) -> Shared {
    let world = Rc::new(RefCell::new(World::new(1)));
    for number in 1..=messages {
        let mut world = world.borrow_mut();
        let now = world.now;
        world.source.deliver(octets(number), now);
    }
    world
}

fn refuse_all(world: &Shared) {
    world.borrow_mut().faults = Faults {
        refusal: 1000,
        ..Faults::default()
    };
}

fn assert_line(line: &Line, level: Level, text: &str, expected_fields: &str) {
    assert_eq!((line.level, line.text.as_str()), (level, text));
    assert_eq!(fields(line), expected_fields, "{text}");
}

#[test]
fn a_pass_logs_a_line_for_each_message_and_one_for_itself() {
    let world = world(2);
    let now = world.borrow().now;
    world.borrow_mut().gmail.put(octets(2), now, false);
    let (first, second) = (octets(1).len(), octets(2).len());
    let (_, lines) = logged(&world);
    let [_, there, copied, pass] = &lines[..] else {
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        unreachable!("{texts:?}");
    };
    let text = "<2@x> (uid 2) is at Gmail already";
    let expected = format!("message_id=<2@x> octets={second} uid=2");
    assert_line(there, Level::Info, text, &expected);

    let gmail_uid = copied.fields["gmail_uid"].clone();
    let text = format!("copied <1@x> (uid 1) to Gmail as uid {gmail_uid}: 2.0 KiB");
    assert_eq!(without_time(copied), text);
    let expected = format!("gmail_uid={gmail_uid} message_id=<1@x> octets={first} seconds uid=1");
    assert_eq!(fields(copied), expected);

    assert_eq!(without_time(pass), "1 copied, 1 already there: 2.0 KiB");
    let expected = "already_there=1 copied=1 known=0 octets=2083 parked=0 refused=0 seconds";
    assert_eq!(fields(pass), expected);
    assert!(lines.iter().all(|line| line.level == Level::Info));

    let (_, lines) = logged(&world);
    assert!(lines.is_empty(), "the second pass has nothing to do");
}

#[test]
fn a_parked_message_and_one_that_is_given_up_are_logged_with_what_is_known_of_them() {
    let world = world(1);
    refuse_all(&world);
    let (_, lines) = logged(&world);
    let [_, parked, pass] = &lines[..] else {
        unreachable!("{} lines", lines.len());
    };
    assert_eq!(parked.level, Level::Warn);
    assert!(
        parked
            .text
            .starts_with("parked <1@x> (uid 1), will retry in 1 min: ")
    );
    assert_eq!(fields(parked), "message_id=<1@x> octets=2083 uid=1");
    assert_eq!(
        without_time(pass),
        "0 copied, 0 already there, 1 parked: 0 B"
    );

    world.borrow_mut().source.messages.clear();
    world.borrow_mut().now += chrono::TimeDelta::minutes(2);
    let (_, lines) = logged(&world);
    let text = "not copied: <1@x> (uid 1): it was removed from the source before Gmail accepted it";
    assert_line(&lines[0], Level::Error, text, "message_id=<1@x> uid=1");
    let expected = "already_there=0 copied=0 known=0 octets=0 parked=0 refused=1 seconds";
    assert_eq!(fields(&lines[1]), expected);
}

#[test]
fn a_pass_that_fails_after_it_did_something_says_what_it_did() {
    let world = world(3);
    refuse_all(&world);
    let (ended, lines) = logged(&world);
    assert_eq!(ended, Ended::Failed(ErrorKind::Unavailable));
    let pass = &lines.last().unwrap().text;
    assert!(
        pass.starts_with("0 copied, 0 already there, 3 parked: 0 B, "),
        "{pass}"
    );
    assert!(pass.ends_with("; the pass ended early"), "{pass}");
}

#[test]
fn a_message_whose_response_was_lost_is_logged_when_it_is_found_at_gmail() {
    let world = world(1);
    world.borrow_mut().faults = Faults {
        cut_after: 1000,
        ..Faults::default()
    };
    let (_, lines) = logged(&world);
    assert!(
        lines
            .iter()
            .any(|line| line.text.starts_with("parked <1@x> (uid 1)"))
    );
    world.borrow_mut().now += chrono::TimeDelta::minutes(2);
    let (_, lines) = logged(&world);
    let text = "<1@x> (uid 1) is at Gmail: only the response to its append was lost";
    assert_line(&lines[0], Level::Info, text, "message_id=<1@x> uid=1");
    assert_eq!(without_time(&lines[1]), "0 copied, 1 already there: 0 B");
}
