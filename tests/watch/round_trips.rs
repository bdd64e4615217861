//! How many round trips a copy takes, from the source's announcement to the APPEND at Gmail.

use std::thread;
use std::time::{Duration, Instant};

use double::{Fault, GmailOptions, SourceOptions};
use serde_json::json;

use crate::dovecot::{Dovecot, PASSWORD};
use crate::in_process::InProcess;
use crate::program::Home;
use crate::watching::{Watching, deliver, message};

#[test]
fn a_warm_connection_needs_five_round_trips_from_notice_to_delivery() {
    let home = Home::with(SourceOptions::default(), GmailOptions::default());
    let mut sync = InProcess::open(&home);
    // The first message opens the connections to Gmail.
    sync.deliver_and_copy("<warm@x>");
    for number in 0..3 {
        sync.wait_for_idle();
        let round_trips = |home: &Home| home.source.round_trips() + home.gmail.round_trips();
        let (before, commands) = (round_trips(&home), home.gmail.commands().len());
        sync.deliver_and_copy(&format!("<{number}@x>"));
        let needed = round_trips(&home) - before;
        let commands = home.gmail.commands().split_off(commands);
        assert!(needed <= 5, "{needed} round trips; Gmail got {commands:#?}");
    }
    assert_eq!(home.gmail.messages("INBOX").len(), 4);
}

#[test]
fn a_burst_shares_its_round_trips() {
    let home = Home::with(SourceOptions::default(), GmailOptions::default());
    let mut sync = InProcess::open(&home);
    sync.deliver_and_copy("<warm@x>");
    sync.wait_for_idle();
    let commands = home.source.commands().len();
    // The others arrive at once, just before the server announces the first.
    home.source.faults().once(
        |event| event.is_line("EXISTS"),
        Fault::run(|mailboxes| {
            let now = chrono::Utc::now().fixed_offset();
            for number in 1..100 {
                mailboxes.deliver("INBOX", &message(number), now, &[]);
            }
        }),
    );
    deliver(&home, 0);
    let passes = sync.copy_up_to(101);
    assert_eq!(home.gmail.messages("INBOX").len(), 101);
    let commands = home.source.commands().split_off(commands);
    assert!(passes < 20, "{passes} passes: {commands:#?}");
}

/// `cargo nextest run --run-ignored only --no-capture -E 'test(measure_delivery_to_visible)'`
#[test]
#[ignore = "a measurement"]
fn measure_delivery_to_visible() {
    for milliseconds in [0, 20, 50] {
        let home = Home::new();
        let watching = watch_warm(&home, || deliver(&home, 0));
        let way = Duration::from_millis(milliseconds);
        home.source.set_round_trip(way);
        home.gmail.set_round_trip(way);
        let times = measure(&home, |number| deliver(&home, number));
        print_times(&format!("the double, round trip {milliseconds} ms"), times);
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
    let mut append = |number: usize| alice.append("INBOX", "", "", &message(number));
    let watching = watch_warm(&home, || append(0));
    let times = measure(&home, append);
    print_times("Dovecot, at loopback", times);
    watching.terminate();
}

/// Starts the program and waits until its connections to Gmail are open.
fn watch_warm(home: &Home, deliver: impl FnOnce()) -> Watching {
    let watching = Watching::start(home);
    watching.wait_for("watching INBOX");
    deliver();
    watching.wait_until("the first", || home.gmail.messages("INBOX").len() == 1);
    watching
}

/// Times fifty messages, each from its arrival at the source until Gmail shows it.
fn measure(home: &Home, mut deliver: impl FnMut(usize)) -> Vec<Duration> {
    (1..=50)
        .map(|number| {
            // Long enough that it waits again, and not in step with any timer.
            thread::sleep(Duration::from_millis(700 + (number as u64 * 37) % 100));
            let started = Instant::now();
            deliver(number);
            while home.gmail.messages("INBOX").len() <= number {
                thread::sleep(Duration::from_micros(500));
            }
            started.elapsed()
        })
        .collect()
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let [median, most] = [24, 47].map(|place| times[place].as_secs_f64() * 1000.0);
    println!("{what}: median {median:.0} ms, 95 % within {most:.0} ms");
}
