//! Servers that no one else can play: a plain IMAP source, Gmail, and Google's token endpoint.
//!
//! Each is a real server with state, on a port of its own on loopback, in threads of the test's own
//! process; it stops when it is dropped. Every protocol event is numbered and recorded, so that a
//! test can ask what was said and cut the connection at any of them. Time is a clock that tests
//! move on, so that nothing has to sleep.
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
//! A client that breaks the protocol (speaks before the greeting, sends a literal before it was
//! asked for) commits an *offence*: the double panics when it is dropped with offences that no test
//! has taken.

// A server for tests that meets the impossible shall fail its test at once, at the place; and who
// delivers mail need not ask for its UID.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate
)]

/// APPEND: the message literal, what Gmail refuses, and what becomes of an unfinished one.
mod append;
/// STORE, COPY, MOVE and EXPUNGE.
mod change;
/// A clock that tests move on.
mod clock;
/// FETCH ENVELOPE.
mod envelope;
/// What happened on the connections of a server, numbered.
mod events;
/// What goes wrong, and when.
mod faults;
/// FETCH: what is asked of a message, and the response.
mod fetch;
/// Gmail: its options, its mailboxes and its tokens.
mod gmail;
/// Commands as they come in: lines, literals, words.
mod grammar;
/// The fields of a message.
mod header;
/// IDLE.
mod idle;
/// LIST, STATUS, CREATE and NAMESPACE.
mod listing;
/// AUTHENTICATE and LOGIN.
mod login;
/// The mailboxes of a server, as a test sees and changes them.
mod mailboxes;
/// Google's OAuth endpoints.
mod oauth;
/// What odd servers do.
mod quirks;
/// SEARCH: the keys and what they find.
mod search;
/// SELECT, EXAMINE and what a session sees of its mailbox.
mod select;
/// A listener, its connections, and what all of them share.
mod server;
/// One connection: its state, and which command goes where.
mod session;
/// The plain IMAP source.
mod source;
/// Messages in mailboxes.
mod store;
/// Strings as responses write them.
mod strings;
/// What each kind of server says.
mod texts;
/// A certification authority and what it certifies.
mod tls;
/// The access tokens that Gmail accepts.
mod tokens;
/// Octets in, lines out.
mod wire;

pub use append::Unfinished;
pub use clock::{Clock, date};
pub use events::{Event, EventKind};
pub use faults::{Fault, Faults};
pub use gmail::{
    AppendResponse, Challenge, Gmail, GmailOptions, HeaderSearch, IndexDelay, Language,
    PostLoginCapabilities, login_rejections,
};
pub use mailboxes::Mailboxes;
pub use oauth::{Consent, EndpointFault, TokenEndpoint, TokenOptions, token_rejections};
pub use quirks::{MessageFault, Quirk};
pub use server::Server;
pub use source::{Security, Source, SourceOptions};
pub use store::StoredMessage;
pub use tls::Certificate;
pub use tokens::Tokens;
pub use wire::Pacing;
