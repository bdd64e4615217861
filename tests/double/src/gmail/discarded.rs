//! Mail that is counted and forgotten, so that an account of any size needs no memory.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What is known of messages that were not kept: equal for the same messages in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiscardedMail {
    /// How many.
    pub count: u32,
    /// The sum of a hash of the octets of each.
    pub digest: u64,
}

impl DiscardedMail {
    /// Counts a message.
    pub fn add(&mut self, octets: &[u8]) {
        let mut hasher = DefaultHasher::new();
        octets.hash(&mut hasher);
        self.count += 1;
        self.digest = self.digest.wrapping_add(hasher.finish());
    }
}
