//! Several folders over one session, of which one at a time is open: checking them, and waiting for mail
//! in any of them.

use std::time::Instant;

use log::{debug, info};

use crate::error::Result;
use crate::imap::{FolderListing, FolderStatuses, KnownFolders, Session, WaitOutcome};
use crate::message::{Mailbox, UidSet};
use crate::source::connector::SourceConnector;
use crate::source::fetch_ahead::FetchesAhead;
use crate::source::folder_watcher::FolderWatcher;
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
    /// Those that are copied, in the order of the rules.
    names: Vec<String>,
    watchers: Vec<FolderWatcher>,
}

/// How a wait learns of mail in other folders than the open one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OthersMethod {
    /// By the check that follows.
    Polling,
    /// The server reports what comes to so many of them, over a connection for each; the check finds what
    /// comes to so many more.
    Connections {
        /// Those with a connection.
        watched: usize,
        /// The others.
        polled: usize,
    },
    /// The server reports it.
    Notify,
}

impl OtherFolders {
    /// A session that was opened after the check has nothing that a notification could be compared with: the
    /// next wait does not rely on notifications.
    pub(super) fn record_new_session(&mut self) {
        self.was_one_open = true;
    }
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
        self.others.names = names.to_vec();
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
    /// server offers it; else by IDLE over at most so many further `connections`, and for what comes to other
    /// folders at most for the poll interval. Otherwise as [`wait_for_mail`](ImapSource::wait_for_mail).
    ///
    /// # Errors
    /// As for [`wait_for_mail`](ImapSource::wait_for_mail).
    pub fn wait_for_mail_in_folders(
        &mut self,
        mut options: WaitOptions,
        connections: usize,
    ) -> Result<WaitOutcome> {
        self.settle_ahead();
        let is_notified = options.use_idle && self.start_notifications();
        let may_idle = options.use_idle && !is_notified && self.may_idle();
        let connections = if may_idle { connections } else { 0 };
        let are_all_watched = self.watch_others(connections);
        let (watched, polled) = self.watched_and_polled();
        self.others.method = Some(if is_notified {
            OthersMethod::Notify
        } else if watched > 0 {
            OthersMethod::Connections { watched, polled }
        } else {
            OthersMethod::Polling
        });
        let relies_on_server = is_notified && !self.others.was_one_open;
        if !relies_on_server && !are_all_watched {
            options.until = options.until.min(Instant::now() + options.poll_interval);
        }
        let outcome = self.wait_for_mail(options)?;
        self.others.was_silent = relies_on_server && outcome == WaitOutcome::Elapsed;
        Ok(outcome)
    }

    /// Watches so many of the other folders over a connection each, and no more; says whether the server
    /// reports what comes to any of them. The first ones of the configuration are those: whoever wants
    /// another order writes it there.
    fn watch_others(&mut self, connections: usize) -> bool {
        let open = self.connector.config.folder.clone();
        let names: Vec<String> = self.others.names.clone();
        let others: Vec<&String> = names.iter().filter(|name| **name != open).collect();
        let wanted = others.get(..connections).unwrap_or(&others);
        let watchers = &mut self.others.watchers;
        watchers.retain(|watcher| wanted.iter().any(|name| *name == watcher.folder()));
        for folder in wanted {
            if watchers.iter().any(|it| it.folder() == *folder) {
                continue;
            }
            let SourceConnector {
                config,
                trust,
                options,
                ..
            } = &self.connector;
            let history = self.connector.login_history();
            let started = FolderWatcher::start(config, folder, trust.clone(), options, history);
            match started {
                Ok(watcher) => watchers.push(watcher),
                Err(error) => debug!("no folder is watched more: {error}"),
            }
        }
        let is_watched = |name: &&String| {
            let mut watchers = watchers.iter();
            watchers.any(|it| it.folder() == **name && it.is_watching())
        };
        !others.is_empty() && others.iter().all(is_watched)
    }

    fn watched_and_polled(&self) -> (usize, usize) {
        let open = &self.connector.config.folder;
        let others = self.others.names.iter().filter(|name| *name != open);
        let watched = self.others.watchers.len();
        (watched, others.count().saturating_sub(watched))
    }

    /// Logs out on the connections of the other folders.
    pub(super) fn end_watchers(&mut self) {
        let watchers = std::mem::take(&mut self.others.watchers);
        // All of them at the same time.
        watchers.iter().for_each(FolderWatcher::end);
        watchers.into_iter().for_each(FolderWatcher::join);
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
