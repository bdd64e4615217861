//! The contract of waiting for mail.

use std::thread;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::message::{Mailbox, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use imap_to_gmail_sync::sync::Source;

use crate::sources::SourceServer;
use crate::{mail, with_id};

/// Longer than any of these servers takes to announce new mail.
const LONG: Duration = Duration::from_secs(50);

on_each_server! {
    mail_that_arrives_during_idle_is_announced_and_listed
    mail_that_arrives_between_a_check_and_the_wait_is_announced
    mail_that_arrives_in_an_empty_mailbox_is_announced
    a_burst_is_listed_completely
    polling_finds_mail_as_well
    an_expunge_meanwhile_does_not_hide_new_mail
}

/// An open source that waits for mail.
struct WaitingSource {
    source: ImapSource,
    mailbox: Mailbox,
    canceller: Canceller,
}

impl WaitingSource {
    fn open(server: &dyn SourceServer) -> WaitingSource {
        let canceller = Canceller::new().unwrap();
        let options = ConnectionOptions {
            canceller: canceller.clone(),
            ..ConnectionOptions::default()
        };
        let (source, mailbox) = server.open_with_options(options);
        WaitingSource {
            source,
            mailbox,
            canceller,
        }
    }

    /// Starts a wait and ends it at once: IDLE is running then.
    fn begin(&mut self) {
        self.canceller.wake();
        let how = waiting(true);
        assert_eq!(self.source.wait_for_mail(how).unwrap(), WaitOutcome::Woken);
        assert_eq!(self.source.wait_method(how), "IDLE");
    }

    /// Waits while `change` changes the mailbox.
    fn wait_while(&mut self, act: impl FnOnce()) -> WaitOutcome {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| self.source.wait_for_mail(waiting(true)).unwrap());
            act();
            waiting.join().unwrap()
        })
    }

    /// Lists new messages; returns their UIDs.
    fn check(&mut self) -> Vec<u32> {
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

fn message(number: u32) -> crate::Mail {
    mail(with_id(&format!("<{number}@b>"), "s", "body"))
}

fn mail_that_arrives_during_idle_is_announced_and_listed(server: &mut dyn SourceServer) {
    server.deliver("INBOX", &message(1));
    let mut source = WaitingSource::open(server);
    for number in 2..4 {
        source.begin();
        let mut uid = 0;
        let news = source.wait_while(|| uid = server.deliver("INBOX", &message(number)));
        assert_eq!((news, source.check()), (WaitOutcome::NewMail, vec![uid]));
    }
    source.source.logout();
}

fn mail_that_arrives_between_a_check_and_the_wait_is_announced(server: &mut dyn SourceServer) {
    server.deliver("INBOX", &message(1));
    let mut source = WaitingSource::open(server);
    let uid = server.deliver("INBOX", &message(2));
    assert_eq!(source.wait_while(|| ()), WaitOutcome::NewMail);
    assert_eq!(source.check(), [uid]);
    // Also in a session that has waited before.
    let uid = server.deliver("INBOX", &message(3));
    assert_eq!(source.wait_while(|| ()), WaitOutcome::NewMail);
    assert_eq!(source.check(), [uid]);
}

fn mail_that_arrives_in_an_empty_mailbox_is_announced(server: &mut dyn SourceServer) {
    let mut source = WaitingSource::open(server);
    assert_eq!(source.mailbox.exists, 0);
    source.begin();
    let news = source.wait_while(|| {
        server.deliver("INBOX", &message(1));
    });
    assert_eq!((news, source.check()), (WaitOutcome::NewMail, vec![1]));
    assert_eq!(source.mailbox.exists, 1);
}

fn a_burst_is_listed_completely(server: &mut dyn SourceServer) {
    const BURST: u32 = 40;
    let mut source = WaitingSource::open(server);
    source.begin();
    source.wait_while(|| {
        for number in 0..BURST {
            server.deliver("INBOX", &message(number));
        }
    });
    let mut listed = source.check();
    let begun = Instant::now();
    while listed.len() < BURST as usize && begun.elapsed() < LONG {
        source.source.wait_for_mail(waiting(true)).unwrap();
        listed.extend(source.check());
    }
    assert_eq!(listed, (1..=BURST).collect::<Vec<u32>>());
}

fn polling_finds_mail_as_well(server: &mut dyn SourceServer) {
    let mut source = WaitingSource::open(server);
    let how = || waiting(false);
    assert_eq!(
        source.source.wait_for_mail(how()).unwrap(),
        WaitOutcome::Elapsed
    );
    assert!(source.check().is_empty());
    let uid = server.deliver("INBOX", &message(1));
    source.source.wait_for_mail(how()).unwrap();
    let mut listed = source.check();
    if listed.is_empty() {
        // Dovecot searches first and announces then: the next wait returns at once.
        assert_eq!(
            source.source.wait_for_mail(waiting(true)).unwrap(),
            WaitOutcome::NewMail
        );
        listed = source.check();
    }
    assert_eq!(listed, [uid]);
}

fn an_expunge_meanwhile_does_not_hide_new_mail(server: &mut dyn SourceServer) {
    for number in 1..4 {
        server.deliver("INBOX", &message(number));
    }
    let mut source = WaitingSource::open(server);
    source.begin();
    let mut uid = 0;
    source.wait_while(|| {
        server.expunge("INBOX", 2);
        uid = server.deliver("INBOX", &message(4));
    });
    let mut listed = source.check();
    let begun = Instant::now();
    while listed.is_empty() && begun.elapsed() < LONG {
        source.source.wait_for_mail(waiting(true)).unwrap();
        listed.extend(source.check());
    }
    assert_eq!(listed, [uid]);
}
