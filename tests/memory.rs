//! The memory that a large message needs. Alone in its binary, because it measures the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may stop at what it does not expect"
)]

#[path = "support/scripted_server.rs"]
mod scripted_server;

use imap_to_gmail_sync::config::{Password, SourceConfig};
use imap_to_gmail_sync::message::Uid;
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::ImapSource;
use imap_to_gmail_sync::sync::{Fetched, Source};

use scripted_server::{OPEN_INBOX, ScriptedServer};

const SIZE: usize = 25_000_000;

/// The peak memory of this process in octets.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_message_is_in_memory_twice_at_most() {
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &[
            "C: UID FETCH 1 (UID BODY.PEEK[])",
            &format!("S: * 1 FETCH (UID 1 BODY[] {{{SIZE}}}"),
            &format!("Z: {SIZE}"),
            "S: )",
            "S: $tag OK",
            "silence",
        ],
    ]);
    let password = Secret::new("secret".to_owned());
    let config = SourceConfig {
        server: server.address(),
        user: "alice".to_owned(),
        password: Password::Given(password.clone()),
        folder: "INBOX".to_owned(),
    };
    let (mut source, _) =
        ImapSource::open(&config, password, ConnectionOptions::default()).unwrap();
    let before = peak();
    let fetched = source.fetch(&[Uid::MIN]).unwrap();
    let cost = peak() - before;
    assert!(matches!(&fetched[0], Fetched::Octets(hashed) if hashed.octets.len() == SIZE));
    assert!(
        cost < SIZE * 22 / 10,
        "{cost} octets for a message of {SIZE}"
    );
    drop(source);
}
