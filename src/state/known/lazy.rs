//! The known messages of a snapshot, built when they are first asked for.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use crate::state::known::KnownMessages;

/// The known messages. A run with nothing new never asks for them, and to build them would be most
/// of its work.
pub(in crate::state) struct LazyKnown {
    messages: LazyLock<KnownMessages, Build>,
    /// Whether there are none, as long as they are not built.
    is_empty: bool,
}

type Build = Box<dyn FnOnce() -> KnownMessages + Send>;

impl LazyKnown {
    /// Known messages that this function builds, and whether these are none.
    pub(in crate::state) fn new(
        build: impl FnOnce() -> KnownMessages + Send + 'static,
        is_empty: bool,
    ) -> LazyKnown {
        LazyKnown {
            messages: LazyLock::new(Box::new(build)),
            is_empty,
        }
    }

    /// Whether there are none; builds nothing.
    pub(in crate::state) fn is_empty(&self) -> bool {
        LazyLock::get(&self.messages).map_or(self.is_empty, KnownMessages::is_empty)
    }

    #[cfg(test)]
    pub(in crate::state) fn is_built(&self) -> bool {
        LazyLock::get(&self.messages).is_some()
    }
}

impl Deref for LazyKnown {
    type Target = KnownMessages;

    fn deref(&self) -> &KnownMessages {
        &self.messages
    }
}

impl DerefMut for LazyKnown {
    fn deref_mut(&mut self) -> &mut KnownMessages {
        LazyLock::force_mut(&mut self.messages)
    }
}

impl Default for LazyKnown {
    fn default() -> LazyKnown {
        LazyKnown::new(KnownMessages::default, true)
    }
}

impl Clone for LazyKnown {
    fn clone(&self) -> LazyKnown {
        let known = KnownMessages::clone(self);
        let is_empty = known.is_empty();
        LazyKnown::new(|| known, is_empty)
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
