//! The engine over models of source, Gmail and disk: cut at every step, and over random schedules.

mod cut;
mod dice;
mod disk;
mod run;
mod schedules;
mod world;
