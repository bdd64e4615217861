//! Delivery to Gmail: `GmailTarget` at a scripted server, at the double, and at Dovecot.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../support/dovecot/mod.rs"]
mod dovecot;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/scripted_gmail.rs"]
mod scripted_gmail;
#[path = "../support/scripted_server.rs"]
mod scripted_server;

mod on_double;
mod on_dovecot;
mod pipelined;
mod scripted;

use imap_to_gmail_sync::message::{Identity, Uid};
use imap_to_gmail_sync::sync::{LookupQuery, SearchScope};

/// Looks a message up in All Mail by its id and header.
fn query(header: impl AsRef<[u8]>) -> LookupQuery {
    LookupQuery {
        uid: Uid::MIN,
        identity: Identity::of_header(header.as_ref()),
        date: None,
        octets: None,
        scope: SearchScope::AllMail,
        uncertain: None,
    }
}
