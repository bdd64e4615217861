//! Several folders over one session, of which one at a time is open.

use std::time::Instant;

use crate::error::Result;
use crate::imap::{FolderListing, FolderStatuses, Session};
use crate::message::{Mailbox, UidSet};
use crate::source::ImapSource;
use crate::source::fetch_ahead::FetchesAhead;
use crate::source::listing::PrefetchedListing;

impl ImapSource {
    /// Opens another folder for reading only, and returns its current state. Nothing that was learned of
    /// the messages of the one before holds for it.
    ///
    /// # Errors
    /// As for [`open`](ImapSource::open); if the session [is still
    /// there](ImapSource::is_connected), the failure is this folder's alone.
    pub fn open_folder(&mut self, folder: &str) -> Result<Mailbox> {
        self.settle_ahead();
        self.ahead = FetchesAhead::default();
        self.prefetched = PrefetchedListing::default();
        self.listed.clear();
        self.unlistable = UidSet::default();
        folder.clone_into(&mut self.connector.config.folder);
        let Some(mut session) = self.session.take().filter(Session::is_usable) else {
            let (mut session, mailbox) = self.connector.open()?;
            self.quirks.apply_to(&mut session);
            self.last_examine = Instant::now();
            return Ok(self.keep(session, mailbox));
        };
        let examined = session.examine(folder);
        self.last_examine = Instant::now();
        match examined {
            Ok(mailbox) => Ok(self.keep(session, mailbox)),
            Err(error) => {
                self.session = Some(session);
                // None is open: the next one must be opened anew, whichever it is.
                self.connector.config.folder.clear();
                Err(error)
            }
        }
    }

    /// Lists all folders, and says what is in those that `select` chooses of them: in one round trip where
    /// the server announces LIST-STATUS (RFC 5819), else in two. A folder of which the server does not say
    /// that has no status.
    ///
    /// # Errors
    /// The server is unavailable, or has more folders than can be handled.
    pub fn check_folders<T>(
        &mut self,
        select: impl Fn(&FolderListing) -> (Vec<String>, T),
    ) -> Result<(FolderListing, FolderStatuses, T)> {
        let list = |session: &mut Session| session.list_folders_with_status();
        let (listing, statuses) = self.run_with_reconnect("listing the folders", list)?;
        let (names, selected) = select(&listing);
        let statuses = match statuses {
            Some(statuses) => statuses,
            None => self.statuses_of(&names)?,
        };
        Ok((listing, statuses, selected))
    }

    fn statuses_of(&mut self, names: &[String]) -> Result<FolderStatuses> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let ask = |session: &mut Session| session.status_of(&names);
        let found = self.run_with_reconnect("asking for the status of folders", ask)?;
        let statuses = names.iter().zip(found);
        Ok(statuses
            .filter_map(|(name, status)| Some(((*name).to_owned(), status.ok()?)))
            .collect())
    }

    /// The folder that is open.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.connector.config.folder
    }

    /// Whether the session has not broken.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_usable)
    }
}
