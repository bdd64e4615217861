//! Several folders over one session, of which one at a time is open: checking them, and waiting for mail
//! in any of them.

use std::time::Instant;

use log::info;

use crate::error::Result;
use crate::imap::{FolderListing, FolderStatuses, KnownFolders, Session, WaitOutcome};
use crate::message::{Mailbox, UidSet};
use crate::source::fetch_ahead::FetchesAhead;
use crate::source::listing::PrefetchedListing;
use crate::source::{ImapSource, WaitOptions};

/// The folders that are not open during a wait.
#[derive(Debug, Default)]
pub(super) struct OtherFolders {
    /// How the last wait learned of mail in them; none if there are none.
    pub(super) method: Option<OthersMethod>,
    /// One of them was opened since the last check. The server may report what came meanwhile to the
    /// session that had it open, and then to none.
    was_one_open: bool,
    /// The last wait relied on the server, and it reported nothing.
    was_silent: bool,
}

/// How a wait learns of mail in other folders than the open one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OthersMethod {
    /// By the check that follows.
    Polling,
    /// The server reports it.
    Notify,
}

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
        self.others.was_one_open = true;
        let Some(mut session) = self.session.take().filter(Session::is_usable) else {
            let (mut session, mailbox) = self.connector.open()?;
            self.quirks.apply_to(&mut session);
            self.last_examine = Instant::now();
            return Ok(self.keep(session, mailbox));
        };
        let examined = session.examine(folder);
        self.last_examine = Instant::now();
        match examined {
            Ok(mailbox) => {
                session.record_opened_folder(folder, &mailbox);
                Ok(self.keep(session, mailbox))
            }
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
        let list = |session: &mut Session| {
            session.start_folder_check();
            session.list_folders_with_status()
        };
        let (listing, statuses) = self.run_with_reconnect("listing the folders", list)?;
        let (names, selected) = select(&listing);
        let statuses = match statuses {
            Some(statuses) => statuses,
            None => self.statuses_of(&names)?,
        };
        self.record_folder_check(&listing, &names, &statuses);
        Ok((listing, statuses, selected))
    }

    fn record_folder_check(
        &mut self,
        listing: &FolderListing,
        names: &[String],
        statuses: &FolderStatuses,
    ) {
        let Some(session) = &mut self.session else {
            return;
        };
        let listed = listing.folders.iter();
        let mut found: KnownFolders = listed.map(|folder| (folder.name.clone(), None)).collect();
        let others = names
            .iter()
            .filter(|name| **name != self.connector.config.folder);
        found.extend(others.map(|name| (name.clone(), statuses.get(name).copied())));
        let is_outdated = session.record_folder_check(found);
        if is_outdated && self.others.was_silent {
            info!("the source does not notify of all new mail; checking its folders more often");
            self.quirks.lacks_notify = true;
        }
        self.others.was_one_open = false;
        self.others.was_silent = false;
    }

    /// Waits for new mail in any folder of the last [check](ImapSource::check_folders): by NOTIFY where the
    /// server offers it, else at most for the poll interval. Otherwise as
    /// [`wait_for_mail`](ImapSource::wait_for_mail).
    ///
    /// # Errors
    /// As for [`wait_for_mail`](ImapSource::wait_for_mail).
    pub fn wait_for_mail_in_folders(&mut self, mut options: WaitOptions) -> Result<WaitOutcome> {
        self.settle_ahead();
        let is_notified = options.use_idle && self.start_notifications();
        self.others.method = Some(if is_notified {
            OthersMethod::Notify
        } else {
            OthersMethod::Polling
        });
        let relies_on_server = is_notified && !self.others.was_one_open;
        if !relies_on_server {
            options.until = options.until.min(Instant::now() + options.poll_interval);
        }
        let outcome = self.wait_for_mail(options)?;
        self.others.was_silent = relies_on_server && outcome == WaitOutcome::Elapsed;
        Ok(outcome)
    }

    /// Whether the server reported mail that no check has found.
    #[must_use]
    pub fn has_new_mail(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_new_mail)
    }

    /// Has the server report new mail in all folders, unless it does so already; says whether it does.
    /// A session that breaks shows that in the wait.
    fn start_notifications(&mut self) -> bool {
        if self.quirks.lacks_notify {
            return false;
        }
        let Some(session) = self.session.as_mut().filter(|session| session.is_usable()) else {
            return false;
        };
        if session.is_notified() {
            return true;
        }
        if !session.offers_notify().unwrap_or_default() {
            return false;
        }
        let Err(error) = session.start_notifications() else {
            return true;
        };
        // Cancelling breaks the connection, too.
        if !self.connector.options.canceller.is_cancelled() {
            info!("the source announces NOTIFY and does not take it: {error}");
            self.quirks.lacks_notify = true;
        }
        false
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
