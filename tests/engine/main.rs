//! The engine over models of source, Gmail and disk: cut at every step, and over random schedules.

// A test that cannot go on says so by a panic, in its tools as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cut;
mod dice;
mod disk;
mod dry_run;
mod folder_schedules;
mod folders;
mod kept_state;
mod labels;
mod log_lines;
mod overlap;
mod rules;
mod run;
mod schedules;
mod world;
