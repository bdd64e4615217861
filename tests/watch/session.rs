//! A source at a scripted server, and the parts of its dialogues.

use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::{Password, Server, SourceConfig};
use imap_to_gmail_sync::message::{Mailbox, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use imap_to_gmail_sync::sync::Source;
use imap_to_gmail_sync::timeouts::Timeouts;

use crate::scripted_server::OPEN_INBOX;

/// Far longer than any test: a wait that ends earlier was ended by something else.
pub const LONG: Duration = Duration::from_mins(5);

/// `OPEN_INBOX` after a fifth message has arrived.
pub const OPEN_INBOX_WITH_5: [&str; 8] = [
    OPEN_INBOX[0],
    OPEN_INBOX[1],
    OPEN_INBOX[2],
    OPEN_INBOX[3],
    "S: * 5 EXISTS",
    OPEN_INBOX[5],
    "S: * OK [UIDNEXT 6] next",
    OPEN_INBOX[7],
];

pub const NOOP_AND_IDLE: [&str; 3] = ["C: NOOP", "S: $tag OK", "C: IDLE"];

/// The check after an IDLE that announced message 5.
pub const DONE_AND_FETCH: [&str; 5] = [
    "C: DONE",
    "C: UID FETCH 5:* *",
    "S: $2 OK",
    FETCH_OF_5,
    "S: $3 OK",
];

pub const FETCH_OF_5: &str = "S: * 5 FETCH (UID 5 RFC822.SIZE 30 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" \
                     FLAGS () BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] \"Message-ID: <5@x>\")";

pub fn options() -> ConnectionOptions {
    ConnectionOptions {
        timeouts: Timeouts {
            response: Duration::from_secs(10),
            idle_start: Duration::from_millis(300),
            ..Timeouts::default()
        },
        canceller: Canceller::new().unwrap(),
        ..ConnectionOptions::default()
    }
}

pub fn open(server: Server, options: &ConnectionOptions) -> ImapSource {
    open_as(server, "alice", "secret", options)
}

pub fn open_as(
    server: Server,
    user: &str,
    password: &str,
    options: &ConnectionOptions,
) -> ImapSource {
    let password = || Secret::new(password.to_owned());
    let config = SourceConfig {
        server,
        user: user.to_owned(),
        password: Password::Given(password()),
        folder: "INBOX".to_owned(),
    };
    ImapSource::open(&config, password(), options.clone())
        .unwrap()
        .0
}

pub fn idle_for_long() -> WaitOptions {
    WaitOptions {
        use_idle: true,
        poll_interval: LONG,
        until: Instant::now() + LONG,
    }
}

pub fn poll_soon() -> WaitOptions {
    WaitOptions {
        poll_interval: Duration::from_millis(20),
        ..idle_for_long()
    }
}

/// Waits for mail, checks, and returns the new UIDs.
pub fn wait_and_check(source: &mut ImapSource, wait: WaitOptions) -> (WaitOutcome, Vec<u32>) {
    let outcome = source.wait_for_mail(wait).unwrap();
    (outcome, check(source))
}

pub fn check(source: &mut ImapSource) -> Vec<u32> {
    let before = Uid::new(5).unwrap();
    let Mailbox { uid_next, .. } = source.check_for_mail().unwrap();
    (before.get()..uid_next.get()).collect()
}

pub fn list_5(source: &mut ImapSource) -> Vec<u32> {
    let listed = source.list(&"5".parse().unwrap()).unwrap();
    listed.iter().map(|listed| listed.uid.get()).collect()
}
