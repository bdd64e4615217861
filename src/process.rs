//! The host and this process on it: log output, signals, cancellation of waits, systemd, suspend.
//!
//! Uses the base modules only.

pub(crate) mod alert_log;
pub mod cancel;
pub(crate) mod logging;
pub mod octet_counter;
pub(crate) mod signals;
pub(crate) mod suspend;
pub(crate) mod systemd;
pub(crate) mod watchdog;
