//! The steps with the source as types, so that they cannot be taken in the wrong order: only a check
//! makes a [`CheckedSource`], which a pass consumes; only a pass, done or skipped, makes a
//! [`WaitableSource`], which a wait consumes; after the wait, only a check is possible.

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::imap::FolderStatuses;
use crate::message::Mailbox;
use crate::run::account_sync::folders::CheckedFolders;
use crate::source::{ImapSource, WaitOptions, WaitOutcome};

/// The connection to the source, if it is open.
#[derive(Default)]
pub(crate) struct SourceConnection(pub(super) Option<ImapSource>);

/// The source after a check of its mailbox.
pub(crate) struct CheckedSource<'s> {
    pub(super) source: &'s mut ImapSource,
    /// The folder that is open.
    pub mailbox: Mailbox,
    /// What was found of all folders, if there are several.
    pub(super) folders: Option<CheckedFolders>,
    /// The time just before the check.
    pub started: DateTime<Utc>,
}

/// The source after a pass.
pub(crate) struct WaitableSource<'s> {
    pub(super) source: &'s mut ImapSource,
    /// The folder to wait at, as it was before the pass.
    pub(super) folder: String,
    pub(super) mailbox: Mailbox,
    /// Whether there are others.
    pub(super) has_others: bool,
    /// At how many of them to wait at the same time, on a connection each.
    pub(super) folder_connections: usize,
}

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
    /// What was found, by folder.
    pub fn statuses(&self) -> FolderStatuses {
        let others = self.folders.as_ref().map(|folders| &folders.statuses);
        let mut statuses = others.cloned().unwrap_or_default();
        statuses.insert(self.source.folder().to_owned(), self.mailbox);
        statuses
    }

    /// Leaves the mailbox to a later pass, because Gmail cannot take mail now.
    pub fn skip_pass(self, folder_connections: usize) -> WaitableSource<'s> {
        WaitableSource {
            folder_connections,
            folder: self.source.folder().to_owned(),
            source: self.source,
            mailbox: self.mailbox,
            has_others: self.folders.is_some(),
        }
    }
}

impl WaitableSource<'_> {
    pub fn wait_for_mail(self, options: WaitOptions) -> Result<WaitOutcome> {
        let WaitableSource {
            source,
            folder,
            mailbox,
            has_others,
            folder_connections,
        } = self;
        if source.folder() != folder {
            // It may have come to the other folder, or to this one, while the other was open.
            let has_new_mail = source.has_new_mail();
            let opened = source.open_folder(&folder)?;
            let is_other = opened.uid_validity != mailbox.uid_validity;
            if is_other || opened.uid_next > mailbox.uid_next || has_new_mail {
                return Ok(WaitOutcome::NewMail);
            }
        }
        if has_others {
            source.wait_for_mail_in_folders(options, folder_connections)
        } else {
            source.wait_for_mail(options)
        }
    }
}
