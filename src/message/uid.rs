//! UIDs and UIDVALIDITY (RFC 3501 2.3.1.1).

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The UID of a message: ascending in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// The lowest UID that a message can have.
    pub const MIN: Uid = Uid(NonZeroU32::MIN);

    /// The highest UID.
    pub const MAX: Uid = Uid(NonZeroU32::MAX);

    /// A UID, unless the number is zero.
    #[must_use]
    pub fn new(number: u32) -> Option<Uid> {
        NonZeroU32::new(number).map(Uid)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The UIDVALIDITY of a mailbox. If it changes, UIDs from before name other messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UidValidity(NonZeroU32);

impl UidValidity {
    /// A UIDVALIDITY, unless the number is zero.
    #[must_use]
    pub fn new(number: u32) -> Option<UidValidity> {
        NonZeroU32::new(number).map(UidValidity)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
