//! What a one-shot run and `--watch` do with an account.
//!
//! May use the engine (`sync`), both servers (`source`, `delivery`), the state and the process.

pub mod account_sync;
pub mod failure_log_throttle;
pub mod once;
pub mod timing;
pub mod watch;
