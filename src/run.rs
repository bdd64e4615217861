//! What a one-shot run and `--watch` do with an account.
//!
//! May use the engine (`sync`), both servers (`source`, `delivery`), the state and the process.

pub(crate) mod account_sync;
pub(crate) mod failure_log_throttle;
pub(crate) mod once;
pub mod timing;
pub(crate) mod watch;
