//! The known messages of a snapshot, built when they are first asked for.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use crate::state::known::KnownMessages;

/// The known messages. A run with nothing new never asks for them, and to build them would be most
/// of its work.
pub(in crate::state) struct LazyKnown(LazyLock<KnownMessages, Build>);

type Build = Box<dyn FnOnce() -> KnownMessages + Send>;

impl LazyKnown {
    /// Known messages that this function builds.
    pub(in crate::state) fn new(build: impl FnOnce() -> KnownMessages + Send + 'static) -> Self {
        LazyKnown(LazyLock::new(Box::new(build)))
    }

    #[cfg(test)]
    pub(in crate::state) fn is_built(&self) -> bool {
        LazyLock::get(&self.0).is_some()
    }
}

impl Deref for LazyKnown {
    type Target = KnownMessages;

    fn deref(&self) -> &KnownMessages {
        &self.0
    }
}

impl DerefMut for LazyKnown {
    fn deref_mut(&mut self) -> &mut KnownMessages {
        LazyLock::force_mut(&mut self.0)
    }
}

impl Default for LazyKnown {
    fn default() -> LazyKnown {
        LazyKnown::new(KnownMessages::default)
    }
}

impl Clone for LazyKnown {
    fn clone(&self) -> LazyKnown {
        let known = KnownMessages::clone(self);
        LazyKnown::new(|| known)
    }
}

impl PartialEq for LazyKnown {
    fn eq(&self, other: &LazyKnown) -> bool {
        **self == **other
    }
}

impl fmt::Debug for LazyKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        KnownMessages::fmt(self, f)
    }
}
