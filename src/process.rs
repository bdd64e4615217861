//! The host and this process on it: log output, signals, cancellation of waits, systemd, suspend.
//!
//! Uses the base modules only.

pub mod alert_log;
pub mod cancel;
pub mod logging;
pub mod signals;
pub mod suspend;
pub mod systemd;
pub mod watchdog;
