//! The steps with the source as types, so that they cannot be taken in the wrong order: only a check
//! makes a [`CheckedSource`], which a pass consumes; only a pass, done or skipped, makes a
//! [`WaitableSource`], which a wait consumes; after the wait, only a check is possible.

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::message::Mailbox;
use crate::source::{ImapSource, WaitOptions, WaitOutcome};

/// The connection to the source, if it is open.
#[derive(Default)]
pub(crate) struct SourceConnection(pub(super) Option<ImapSource>);

/// The source after a check of its mailbox.
pub(crate) struct CheckedSource<'s> {
    pub(super) source: &'s mut ImapSource,
    pub mailbox: Mailbox,
    /// The time just before the check.
    pub started: DateTime<Utc>,
}

/// The source after a pass.
pub(crate) struct WaitableSource<'s>(pub(super) &'s mut ImapSource);

impl SourceConnection {
    pub fn log_out(&mut self) {
        if let Some(source) = self.0.take() {
            source.logout();
        }
    }

    /// Closes the connection without LOGOUT, which after a suspend would only time out.
    pub fn drop_connection(&mut self) {
        self.0 = None;
    }
}

impl<'s> CheckedSource<'s> {
    /// Leaves the mailbox to a later pass, because Gmail cannot take mail now.
    pub fn skip_pass(self) -> WaitableSource<'s> {
        WaitableSource(self.source)
    }
}

impl WaitableSource<'_> {
    pub fn wait_for_mail(self, options: WaitOptions) -> Result<WaitOutcome> {
        self.0.wait_for_mail(options)
    }
}
