//! What waiting for mail promises, on each server that can play a source.

use std::thread;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::message::{Mailbox, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use imap_to_gmail_sync::sync::Source;

use crate::sources::House;
use crate::{mail, with_id};

/// Longer than any of these servers takes to tell of new mail.
const LONG: Duration = Duration::from_secs(50);

on_each_server! {
    mail_that_comes_while_an_idle_is_on_is_told_of_and_listed
    mail_that_comes_between_a_look_and_the_wait_is_told_of
    mail_that_comes_to_an_empty_mailbox_is_told_of
    a_burst_is_listed_to_its_end
    polling_finds_mail_as_well
    what_goes_meanwhile_does_not_hide_what_comes
}

/// A source that is being watched.
struct Watched {
    source: ImapSource,
    mailbox: Mailbox,
    tether: Canceller,
}

impl Watched {
    fn open(house: &dyn House) -> Watched {
        let tether = Canceller::new().unwrap();
        let bounds = ConnectionOptions {
            canceller: tether.clone(),
            ..ConnectionOptions::default()
        };
        let (source, mailbox) = house.open_within(bounds);
        Watched {
            source,
            mailbox,
            tether,
        }
    }

    /// Begins a wait and leaves it at once: an IDLE is on then.
    fn begin(&mut self) {
        self.tether.wake();
        let how = waiting(true);
        assert_eq!(self.source.wait_for_mail(how).unwrap(), WaitOutcome::Woken);
        assert_eq!(self.source.wait_method(how), "IDLE");
    }

    /// Waits while something happens to the mailbox.
    fn wait_while(&mut self, act: impl FnOnce()) -> WaitOutcome {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| self.source.wait_for_mail(waiting(true)).unwrap());
            act();
            waiting.join().unwrap()
        })
    }

    /// The UIDs of what is new, listed.
    fn look(&mut self) -> Vec<u32> {
        let before = self.mailbox.uid_next.get();
        self.mailbox = self.source.check_for_mail().unwrap();
        let new = (before..self.mailbox.uid_next.get()).filter_map(Uid::new);
        let listed = self.source.list(&new.collect()).unwrap();
        listed.iter().map(|listed| listed.uid.get()).collect()
    }
}

fn waiting(use_idle: bool) -> WaitOptions {
    WaitOptions {
        use_idle,
        poll_interval: if use_idle {
            LONG
        } else {
            Duration::from_millis(100)
        },
        until: Instant::now() + LONG,
    }
}

fn letter(number: u32) -> crate::Mail {
    mail(with_id(&format!("<{number}@b>"), "s", "body"))
}

fn mail_that_comes_while_an_idle_is_on_is_told_of_and_listed(house: &mut dyn House) {
    house.deliver("INBOX", &letter(1));
    let mut watched = Watched::open(house);
    for number in 2..4 {
        watched.begin();
        let mut uid = 0;
        let news = watched.wait_while(|| uid = house.deliver("INBOX", &letter(number)));
        assert_eq!((news, watched.look()), (WaitOutcome::NewMail, vec![uid]));
    }
    watched.source.logout();
}

fn mail_that_comes_between_a_look_and_the_wait_is_told_of(house: &mut dyn House) {
    house.deliver("INBOX", &letter(1));
    let mut watched = Watched::open(house);
    let uid = house.deliver("INBOX", &letter(2));
    assert_eq!(watched.wait_while(|| ()), WaitOutcome::NewMail);
    assert_eq!(watched.look(), [uid]);
    // Also on a session that has waited before.
    let uid = house.deliver("INBOX", &letter(3));
    assert_eq!(watched.wait_while(|| ()), WaitOutcome::NewMail);
    assert_eq!(watched.look(), [uid]);
}

fn mail_that_comes_to_an_empty_mailbox_is_told_of(house: &mut dyn House) {
    let mut watched = Watched::open(house);
    assert_eq!(watched.mailbox.exists, 0);
    watched.begin();
    let news = watched.wait_while(|| {
        house.deliver("INBOX", &letter(1));
    });
    assert_eq!((news, watched.look()), (WaitOutcome::NewMail, vec![1]));
    assert_eq!(watched.mailbox.exists, 1);
}

fn a_burst_is_listed_to_its_end(house: &mut dyn House) {
    const BURST: u32 = 40;
    let mut watched = Watched::open(house);
    watched.begin();
    watched.wait_while(|| {
        for number in 0..BURST {
            house.deliver("INBOX", &letter(number));
        }
    });
    let mut listed = watched.look();
    let begun = Instant::now();
    while listed.len() < BURST as usize && begun.elapsed() < LONG {
        watched.source.wait_for_mail(waiting(true)).unwrap();
        listed.extend(watched.look());
    }
    assert_eq!(listed, (1..=BURST).collect::<Vec<u32>>());
}

fn polling_finds_mail_as_well(house: &mut dyn House) {
    let mut watched = Watched::open(house);
    let how = || waiting(false);
    assert_eq!(
        watched.source.wait_for_mail(how()).unwrap(),
        WaitOutcome::Elapsed
    );
    assert!(watched.look().is_empty());
    let uid = house.deliver("INBOX", &letter(1));
    watched.source.wait_for_mail(how()).unwrap();
    let mut listed = watched.look();
    if listed.is_empty() {
        // Dovecot searches first and tells then: the next wait does not even begin.
        assert_eq!(
            watched.source.wait_for_mail(waiting(true)).unwrap(),
            WaitOutcome::NewMail
        );
        listed = watched.look();
    }
    assert_eq!(listed, [uid]);
}

fn what_goes_meanwhile_does_not_hide_what_comes(house: &mut dyn House) {
    for number in 1..4 {
        house.deliver("INBOX", &letter(number));
    }
    let mut watched = Watched::open(house);
    watched.begin();
    let mut uid = 0;
    watched.wait_while(|| {
        house.expunge("INBOX", 2);
        uid = house.deliver("INBOX", &letter(4));
    });
    let mut listed = watched.look();
    let begun = Instant::now();
    while listed.is_empty() && begun.elapsed() < LONG {
        watched.source.wait_for_mail(waiting(true)).unwrap();
        listed.extend(watched.look());
    }
    assert_eq!(listed, [uid]);
}
