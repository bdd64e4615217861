//! How many round trips lie between the source's notice of new mail and the mail at Gmail.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod in_process;
mod program;

use std::thread;
use std::time::{Duration, Instant};

use double::{GmailOptions, SourceOptions};
use in_process::Watched;
use program::Home;

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
        let home = Home::with(SourceOptions::default(), GmailOptions::default());
        let mut watched = Watched::open(&home);
        watched.deliver_and_carry("<warm@x>");
        let way = Duration::from_millis(milliseconds);
        home.source.set_round_trip(way);
        home.gmail.set_round_trip(way);
        let mut times: Vec<Duration> = (0..50)
            .map(|number| {
                watched.wait_for_idle();
                time_of_delivery(&home, &mut watched, number)
            })
            .collect();
        times.sort_unstable();
        let (median, most) = (times[24], times[47]);
        println!("round trip {milliseconds} ms: median {median:?}, 95 % within {most:?}");
    }
}

/// From the arrival at the source until Gmail shows it.
fn time_of_delivery(home: &Home, watched: &mut Watched<'_>, number: u32) -> Duration {
    let before = home.gmail.messages("INBOX").len();
    thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let begun = Instant::now();
            while home.gmail.messages("INBOX").len() == before {
                thread::sleep(Duration::from_micros(500));
            }
            begun.elapsed()
        });
        watched.deliver_and_carry(&format!("<{number}@x>"));
        seen.join().unwrap()
    })
}
