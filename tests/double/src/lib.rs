//! Test doubles of servers: a plain IMAP source, Gmail by IMAP and by its API, and Google's OAuth
//! endpoints.
//!
//! Each is a server with state, on a port of its own on loopback, in threads of the test process;
//! dropping it stops it. Every protocol event is numbered and recorded, so that a test can read the
//! dialogue and inject a fault at any event. Tests advance the servers' clock, so that nothing has
//! to sleep.
//!
//! ```
//! use double::{Gmail, GmailOptions, Source, SourceOptions, TokenEndpoint, date};
//!
//! let source = Source::start(SourceOptions::default());
//! let uid = source.deliver(b"Subject: a\r\n\r\nb\r\n", date("2026-11-22T20:15:00+01:00"), &[]);
//! let gmail = Gmail::start(GmailOptions::default());
//! let endpoint = TokenEndpoint::start(&gmail);
//!
//! source.faults().cut_at(7);
//! // … the program runs against source.port(), gmail.port() and endpoint.url() …
//! assert_eq!(source.messages("INBOX").last().map(|stored| stored.uid), Some(uid));
//! assert_eq!(gmail.messages("INBOX").len(), 0);
//! ```
//!
//! When a client breaks the protocol (sends before the greeting, sends a literal before the server
//! asked for it), the double records a *violation*. It panics when it is dropped with violations
//! that no test has taken.

// An impossible state in a double fails the test at once; and a test that delivers mail may ignore
// its UID.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate
)]

/// APPEND: the message literal, Gmail's rejections, and appends that were cut.
mod append;
/// STORE, COPY, MOVE and EXPUNGE.
mod change;
/// Mail that a mailbox claims without storing it.
mod claimed;
/// A clock that tests advance.
mod clock;
/// FETCH ENVELOPE.
mod envelope;
/// Numbered protocol events.
mod events;
/// Faults, and the events at which they happen.
mod faults;
/// FETCH.
mod fetch;
/// Gmail: its options, its mailboxes and its tokens.
mod gmail;
/// The Gmail API.
mod gmail_api;
/// Parsing of commands: lines, literals, arguments.
mod grammar;
/// The fields of a message.
mod header;
/// IDLE.
mod idle;
/// LIST, STATUS, CREATE and NAMESPACE.
mod listing;
/// AUTHENTICATE and LOGIN.
mod login;
/// A test's access to the mailboxes of a server.
mod mailboxes;
mod notify;
/// Google's OAuth endpoints.
mod oauth;
/// Quirks: the ways in which real servers differ from RFC 3501.
mod quirks;
/// SEARCH.
mod search;
/// SELECT, EXAMINE, and the session's view of its mailbox.
mod select;
/// The listener, its connections, and their shared state.
mod server;
/// One connection: its state, and the dispatch of commands.
mod session;
/// The plain IMAP source.
mod source;
/// Messages in mailboxes.
mod store;
/// Strings in responses.
mod strings;
/// The response texts of each kind of server.
mod texts;
/// A certification authority and its certificates.
mod tls;
/// The access tokens that Gmail accepts.
mod tokens;
/// The wire: reads octets, sends lines, and injects faults.
mod wire;

pub use append::Unfinished;
pub use claimed::ClaimedMail;
pub use clock::{Clock, date};
pub use events::{Event, EventKind};
pub use faults::{Fault, Faults};
pub use gmail::{
    AppendResponse, Challenge, DiscardedMail, Gmail, GmailOptions, HeaderSearch, IndexDelay,
    Language, PostLoginCapabilities, login_rejections,
};
pub use gmail_api::{ApiFault, ApiRequest, GmailApi};
pub use mailboxes::Mailboxes;
pub use oauth::{Consent, EndpointFault, TokenEndpoint, TokenOptions, token_rejections};
pub use quirks::{MessageFault, Quirk};
pub use server::Server;
pub use source::{Security, Source, SourceOptions};
pub use store::StoredMessage;
pub use tls::Certificate;
pub use tokens::Tokens;
pub use wire::Pacing;
