//! What is done with octets that anybody may have made up, and what must hold whatever they are.
//!
//! Each function takes one input and panics if something does not hold. cargo-fuzz looks for such
//! inputs without end; `tests/fuzz_corpus.rs` runs the same functions over their seeds and some
//! thousand mutations of them.
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

/// Text for a person is one line that moves no cursor.
fn must_be_harmless(text: &str) {
    let is_harmful = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
    assert!(!text.contains(is_harmful), "{text:?}");
}
