//! Counts the octets of all connections: the watchdog takes a pass that transfers none for a hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of octets that were sent and received. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct OctetCounter(Arc<AtomicU64>);

impl OctetCounter {
    pub(crate) fn add(&self, octets: usize) {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        self.0.fetch_add(octets, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
