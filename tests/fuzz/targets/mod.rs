//! The fuzz targets: each reads octets from outside and asserts what must hold for any input.
//!
//! Each function takes one input and panics if an assertion fails. cargo-fuzz searches for such inputs
//! without end; `tests/fuzz_corpus.rs` runs the same functions on their seeds and some thousand
//! mutations.
#![allow(clippy::unwrap_used, clippy::panic)]

mod files;
#[path = "../../support/scripted_server.rs"]
mod scripted_server;
mod server;
mod state;
mod words;

pub use files::{config, token};
pub use server::{lines, session, source};
pub use state::{journal, snapshot};
pub use words::{foreign, identity, wire};

/// Asserts that text for the user is one line without control characters.
fn assert_harmless(text: &str) {
    let is_harmful = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
    assert!(!text.contains(is_harmful), "{text:?}");
}
