//! NOTIFY (RFC 5465): one session learns of new mail in all folders.

use crate::imap::{Command, CommandError, KnownFolders, Session};
use crate::message::Mailbox;

impl Session {
    /// Says whether the server announces NOTIFY.
    ///
    /// # Errors
    /// Asking for the capabilities failed.
    pub(crate) fn offers_notify(&mut self) -> Result<bool, CommandError> {
        Ok(self.capabilities()?.has("NOTIFY"))
    }

    /// Has the server report new mail in all personal folders, and new folders, until the session ends.
    /// What it reports first is in them now.
    ///
    /// # Errors
    /// The server rejects this, or the connection broke.
    pub(crate) fn start_notifications(&mut self) -> Result<(), CommandError> {
        self.command(Command::Notify)?;
        self.client.folder_news.record_notified();
        Ok(())
    }

    /// Says whether the server reports new mail in all personal folders.
    pub(crate) fn is_notified(&self) -> bool {
        self.client.folder_news.is_notified()
    }

    /// Has a check of all folders begin.
    pub(crate) fn start_folder_check(&mut self) {
        self.client.folder_news.start_check();
    }

    /// Records what a check of all folders found; says whether one of them has mail that came after the
    /// check before.
    pub(crate) fn record_folder_check(&mut self, found: KnownFolders) -> bool {
        let news = &mut self.client.folder_news;
        let is_outdated = news.is_outdated_by(&found);
        news.record_check(found);
        is_outdated
    }

    /// Records what was in a folder when it was opened.
    pub(crate) fn record_opened_folder(&mut self, folder: &str, mailbox: &Mailbox) {
        self.client.folder_news.record_opened(folder, mailbox);
    }
}
