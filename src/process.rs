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

pub use logging::log_file;

/// Keeps passwords and tokens in the memory of this process from core dumps, and from debuggers of
/// the same user. The commands that it starts are not affected.
pub(crate) fn forbid_core_dumps() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            log::debug!("core dumps cannot be disabled: {error}");
        }
    }
}
