//! The resident program at sources that are odd in ways that every command shows; `idle` has
//! those that only their IDLE shows.

use crate::program::Home;
use crate::watching::Watching;
use double::{Fault, GmailOptions, Oddity, SourceOptions};

fn deliver(home: &Home, number: usize) {
    let octets = format!("Message-ID: <{number}@x>\r\nSubject: s\r\n\r\nbody\r\n");
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(octets.as_bytes(), now, &[]);
}

fn arrive(home: &Home, watching: &Watching, numbers: std::ops::Range<usize>) {
    for number in numbers {
        deliver(home, number);
        let what = format!("message {number}");
        watching.wait_until(&what, || home.gmail.messages("INBOX").len() > number);
    }
}

#[test]
fn mail_arrives_while_it_is_watched_for_whatever_the_server_says_besides() {
    // These two give nothing that could be carried.
    let hopeless = [Oddity::NilBodies, Oddity::NoUidValidity];
    for oddity in Oddity::ALL
        .into_iter()
        .filter(|odd| !hopeless.contains(odd))
    {
        let options = SourceOptions {
            odd: [oddity].into(),
            ..SourceOptions::default()
        };
        let home = Home::with(options, GmailOptions::default());
        let watching = Watching::start(&home);
        watching.wait_for("by IDLE");
        arrive(&home, &watching, 0..3);
        let ran = watching.end();
        assert_eq!(home.gmail.messages("INBOX").len(), 3, "{oddity:?}");
        let looks = home.source.commands().len();
        assert!(looks < 60, "{oddity:?}: {looks} commands; {ran:?}");
    }
}

#[test]
fn a_server_that_announces_idle_and_refuses_it_is_polled() {
    for refusal in [
        "<T> NO not now",
        "<T> BAD unknown command",
        "<T> OK I do not idle",
    ] {
        let home = Home::new();
        home.source.faults().always(
            |event| event.is_command("IDLE"),
            Fault::Instead(refusal.to_owned()),
        );
        let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
        watching.wait_for("watching INBOX by polling");
        arrive(&home, &watching, 0..2);
        watching.end();
        let commands = home.source.commands();
        let asked = commands.iter().filter(|command| *command == "IDLE").count();
        assert_eq!(asked, 1, "{refusal}: it is not asked again and again");
    }
}

#[test]
fn a_server_that_hangs_up_on_who_idles_is_looked_at_again() {
    for fault in [
        Fault::Eof,
        Fault::Reset,
        Fault::Instead("* BYE too long".to_owned()),
    ] {
        let home = Home::new();
        home.source
            .faults()
            .once(|event| event.is_line("+ idling"), fault);
        let watching = Watching::start(&home);
        watching.wait_for("by IDLE");
        arrive(&home, &watching, 0..2);
        watching.end();
    }
}
