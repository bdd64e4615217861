//! How many round trips lie between the source's notice of new mail and the mail at Gmail.

use std::thread;
use std::time::{Duration, Instant};

use crate::dovecot::{Dovecot, PASSWORD};
use crate::in_process::Watched;
use crate::program::Home;
use crate::watching::Watching;
use double::{GmailOptions, SourceOptions};
use serde_json::json;

#[test]
fn a_warm_connection_needs_five_round_trips_from_notice_to_delivery() {
    let home = Home::with(SourceOptions::default(), GmailOptions::default());
    let mut watched = Watched::open(&home);
    // The first opens the connections to Gmail.
    watched.deliver_and_carry("<warm@x>");
    for number in 0..3 {
        watched.wait_for_idle();
        let turns = |home: &Home| home.source.turns() + home.gmail.turns();
        let (before, commands) = (turns(&home), home.gmail.commands().len());
        watched.deliver_and_carry(&format!("<{number}@x>"));
        let needed = turns(&home) - before;
        let commands = home.gmail.commands().split_off(commands);
        assert!(
            needed <= 5,
            "{needed} round trips; Gmail was told {commands:#?}"
        );
    }
    assert_eq!(home.gmail.messages("INBOX").len(), 4);
}

#[test]
fn a_burst_shares_its_round_trips() {
    let home = Home::with(SourceOptions::default(), GmailOptions::default());
    let mut watched = Watched::open(&home);
    watched.deliver_and_carry("<warm@x>");
    watched.wait_for_idle();
    let commands = home.source.commands().len();
    let passes = watched.carry_while(100, |number| {
        let octets = format!("Message-ID: <{number}@x>\r\n\r\nbody\r\n");
        home.source
            .deliver(octets.as_bytes(), chrono::Utc::now().fixed_offset(), &[]);
    });
    assert_eq!(home.gmail.messages("INBOX").len(), 101);
    let looks = home.source.commands().split_off(commands);
    assert!(passes < 20, "{passes} passes: {looks:#?}");
}

/// `cargo nextest run --run-ignored only --no-capture -E 'test(measure_delivery_to_visible)'`
#[test]
#[ignore = "a measurement"]
fn measure_delivery_to_visible() {
    for milliseconds in [0, 20, 50] {
        let home = Home::new();
        let watching = watch_warm(&home, || deliver_to_double(&home, 0));
        let way = Duration::from_millis(milliseconds);
        home.source.set_round_trip(way);
        home.gmail.set_round_trip(way);
        let times = measure(&home, |number| deliver_to_double(&home, number));
        tell(&format!("the double, round trip {milliseconds} ms"), times);
        watching.terminate();
    }
    let dovecot = Dovecot::start();
    let home = Home::new();
    let server = dovecot.server();
    home.configure(&json!({
        "source_server": server.host, "source_port": server.port, "source_user": "alice",
        "source_pass": PASSWORD, "source_tls_name": server.tls_name, "source_ca_file": dovecot.ca_file(),
    }));
    let mut alice = dovecot.client("alice");
    let mut deliver = |number: usize| alice.append("INBOX", "", "", &letter(number));
    let watching = watch_warm(&home, || deliver(0));
    let times = measure(&home, deliver);
    tell("Dovecot, at loopback", times);
    watching.terminate();
}

fn letter(number: usize) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: s\r\n\r\nbody\r\n").into_bytes()
}

fn deliver_to_double(home: &Home, number: usize) {
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(&letter(number), now, &[]);
}

/// The program, watching and with connections to Gmail open.
fn watch_warm(home: &Home, deliver: impl FnOnce()) -> Watching {
    let watching = Watching::start(home);
    watching.wait_for("watching INBOX");
    deliver();
    watching.wait_until("the first", || home.gmail.messages("INBOX").len() == 1);
    watching
}

/// From the arrival of each of fifty messages at the source until Gmail shows it.
fn measure(home: &Home, mut deliver: impl FnMut(usize)) -> Vec<Duration> {
    (1..=50)
        .map(|number| {
            // Until it waits again, and at no moment that depends on the one before.
            thread::sleep(Duration::from_millis(700 + (number as u64 * 37) % 100));
            let begun = Instant::now();
            deliver(number);
            while home.gmail.messages("INBOX").len() <= number {
                thread::sleep(Duration::from_micros(500));
            }
            begun.elapsed()
        })
        .collect()
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let [median, most] = [24, 47].map(|place| times[place].as_secs_f64() * 1000.0);
    println!("{what}: median {median:.0} ms, 95 % within {most:.0} ms");
}
