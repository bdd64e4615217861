//! Measures how the cost of a run grows, by the release build between doubles on loopback:
//!
//! ```text
//! cargo build --release --locked && cargo run --locked --example growth [-- --quick] [PROGRAM]
//! ```

// A measurement fails by a panic.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod growth;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let quick = words.iter().any(|word| word == "--quick");
    let program = words.iter().find(|word| !word.starts_with('-'));
    let program = match program {
        Some(program) => PathBuf::from(program),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/imap-to-gmail-sync"),
    };
    match growth::report(&program, quick) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
