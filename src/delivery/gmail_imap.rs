//! Delivery by IMAP: a [`Target`] that appends messages and looks them up.
//!
//! One connection looks messages up (`lookup`), one sets labels (`labels`), the others append them
//! (`append_pool`). Nothing is
//! opened before the first call, so that a run with nothing new contacts neither Gmail nor Google's
//! token endpoint.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use chrono::{DateTime, FixedOffset};

use crate::delivery::gmail_imap::append_pool::AppendPool;
use crate::delivery::gmail_imap::labels::Labeller;
use crate::delivery::gmail_imap::lookup::{Lookup, LookupError};
use crate::delivery::gmail_imap::mail_index::MailIndex;
use crate::error::{ErrorKind, Result};
use crate::imap::FolderListing;
use crate::message::{Message, MessagePlace, Uid};
use crate::sync::{
    FoundPlace, LabelRequest, LookupQuery, LookupResult, MessageVersion, Outcome, RejectedLabels,
    Target, TargetStatus,
};

mod account;
mod append;
mod append_pool;
mod found_message;
mod inspection;
mod labels;
mod login;
mod lookup;
mod mail_index;
mod normalize;
mod responses;
mod search;

pub(in crate::delivery) use account::GmailAccount;
pub use account::{GmailTargetOptions, NowFn};
pub(in crate::delivery) use append::remove_nuls;
pub(crate) use inspection::{GmailInspection, GmailInspector, InspectedToken};
pub(crate) use login::verify_access_token;

/// What the user can do when the storage of the account is full.
pub(crate) const STORAGE_FULL_REMEDY: &str = "its storage is full: delete something large, or buy \
     more (https://one.google.com/storage); copying then goes on by itself";

/// Another append connection is worth its log-in for this many messages.
const MESSAGES_PER_CONNECTION: usize = 10;

/// A Gmail account, or one at another server that supports XOAUTH2.
pub struct GmailTarget {
    account: Arc<GmailAccount>,
    lookup: Option<Lookup>,
    /// The lookup connection, while it is opened in advance.
    opening: Option<JoinHandle<Result<Lookup>>>,
    append_pool: AppendPool,
    labeller: Labeller,
    /// Messages of this pass, as far as is known.
    backlog: usize,
    /// Messages submitted in this pass.
    submitted: usize,
    /// Read once a pass, before its first APPEND.
    status: Option<TargetStatus>,
    /// Messages at Gmail, listed once for a pass with a large backlog.
    index: MailIndex,
    /// The search that builds the index at the next lookup.
    index_search: Option<String>,
    /// Whether the index of this pass was built.
    is_indexed: bool,
}

impl GmailTarget {
    /// A target without connections.
    #[must_use]
    pub fn new(options: GmailTargetOptions) -> GmailTarget {
        let account = Arc::new(GmailAccount::new(options));
        GmailTarget {
            append_pool: AppendPool::new(Arc::clone(&account)),
            labeller: Labeller::new(Arc::clone(&account)),
            account,
            lookup: None,
            opening: None,
            backlog: 0,
            submitted: 0,
            status: None,
            index: MailIndex::default(),
            index_search: None,
            is_indexed: false,
        }
    }

    /// The account, for other ways of delivery.
    pub(in crate::delivery) fn account(&self) -> &Arc<GmailAccount> {
        &self.account
    }

    /// Opens the lookup connection in advance.
    pub(in crate::delivery) fn prepare_lookup(&mut self) {
        if self.lookup.is_none() && self.opening.is_none() {
            let account = Arc::clone(&self.account);
            self.opening = Some(thread::spawn(move || Lookup::open(&account)));
        }
    }

    /// Starts another pass: what was read from Gmail before no longer counts. A backlog that is
    /// known in advance gets its connections at once; otherwise they are added as messages come.
    pub fn start_pass(&mut self, backlog: usize) {
        self.account.end_silence();
        self.backlog = backlog;
        self.submitted = 0;
        self.status = None;
        self.index = MailIndex::default();
        self.index_search = None;
        self.is_indexed = false;
        // One that is still being opened may search the folders of the pass before.
        let opened = self.finish_opening().and_then(Result::ok);
        let lookup = self.lookup.take().or(opened);
        self.lookup = lookup.and_then(Lookup::reuse_for_next_pass);
    }

    /// Lists the folders of the account, and says whether it has labels, as Gmail does.
    ///
    /// # Errors
    /// The server is unavailable, rejects the log-in, or the account must rest.
    pub fn list_folders(&mut self) -> Result<(FolderListing, bool)> {
        self.with_lookup(Lookup::list_folders)
    }

    /// Messages are appended to this folder from the next pass on.
    pub fn set_folder(&mut self, folder: &str) {
        self.account.set_folder(folder);
    }

    /// Ends a complete pass. One append connection and the lookup connection stay open for messages
    /// that come soon.
    pub(crate) fn end_pass(&mut self) {
        self.append_pool.shrink_to(1);
    }

    /// Whether Gmail can be asked without renewing the token.
    pub(crate) fn has_valid_token(&self) -> Result<bool> {
        self.account.has_valid_token()
    }

    /// Logs out. The next call connects again.
    pub fn close(&mut self) {
        self.append_pool.close();
        self.labeller.close();
        if let Some(Ok(opened)) = self.finish_opening() {
            opened.close();
        }
        if let Some(lookup) = self.lookup.take() {
            lookup.close();
        }
    }

    /// Waits for the lookup connection that is opened in advance, if there is one.
    fn finish_opening(&mut self) -> Option<Result<Lookup>> {
        // A thread that panicked has opened nothing.
        self.opening.take()?.join().ok()
    }

    /// Runs an operation on the lookup connection, which is opened if needed. If the connection is
    /// lost, the operation is repeated once on a new one: servers close idle connections.
    fn with_lookup<T>(
        &mut self,
        operation: impl Fn(&mut Lookup) -> Result<T, LookupError>,
    ) -> Result<T> {
        let mut is_second_try = false;
        loop {
            let opened = self.finish_opening().transpose()?;
            let mut lookup = match self.lookup.take().or(opened) {
                Some(lookup) if lookup.is_usable() => lookup,
                _ => Lookup::open(&self.account)?,
            };
            match operation(&mut lookup) {
                Ok(result) => {
                    self.lookup = Some(lookup);
                    return Ok(result);
                }
                Err(LookupError::Fatal(error)) => {
                    lookup.close();
                    return Err(error);
                }
                Err(LookupError::ConnectionLost(failure)) if is_second_try => {
                    let error = self.account.error(ErrorKind::Unavailable, failure);
                    return Err(error.during("looking up messages"));
                }
                Err(LookupError::ConnectionLost(failure)) => {
                    log::debug!("looking up messages: {failure}; connecting again");
                    is_second_try = true;
                }
            }
        }
    }

    fn build_index_if_announced(&mut self) -> Result<()> {
        if let Some(search) = self.index_search.take() {
            self.is_indexed = true;
            self.index = self.with_lookup(|lookup| lookup.build_index(&search))?;
        }
        Ok(())
    }
}

impl Target for GmailTarget {
    fn status(&mut self) -> Result<TargetStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status = self.with_lookup(Lookup::status)?;
        self.status = Some(status);
        Ok(status)
    }

    fn refresh_status(&mut self) -> Result<TargetStatus> {
        self.status = None;
        if let Some(lookup) = &mut self.lookup {
            lookup.examine_again();
        }
        self.status()
    }

    fn prepare(&mut self) {
        self.prepare_lookup();
        self.append_pool.prepare();
    }

    fn announce_backlog(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.backlog = self.backlog.max(backlog);
        if !self.is_indexed && self.index_search.is_none() {
            self.index_search = mail_index::search_for(backlog, oldest);
        }
    }

    fn holds(&mut self, queries: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.build_index_if_announced()?;
        let (mut results, mut open) = (Vec::new(), Vec::new());
        for query in queries {
            if self.index.contains(query) {
                results.push(LookupResult::Found);
            } else {
                results.push(LookupResult::NotFound);
                open.push(query.clone());
            }
        }
        if !open.is_empty() {
            let found = self.with_lookup(|lookup| lookup.look_up(&open))?;
            let unanswered = results
                .iter_mut()
                .filter(|it| **it == LookupResult::NotFound);
            unanswered
                .zip(found)
                .for_each(|(result, found)| *result = found);
        }
        Ok(results)
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        let wanted = self.backlog.max(self.submitted) / MESSAGES_PER_CONNECTION;
        self.append_pool.submit(message, wanted)?;
        self.submitted += 1;
        Ok(())
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.append_pool.settled()
    }

    fn finish(&mut self) -> Result<()> {
        self.append_pool.finish()
    }

    fn prepare_labels(&mut self) {
        self.labeller.prepare();
    }

    fn find_places(&mut self, queries: &[LookupQuery]) -> Result<Vec<FoundPlace>> {
        self.with_lookup(|lookup| lookup.find_places(queries))
    }

    fn versions(&mut self, places: &[MessagePlace]) -> Result<Vec<MessageVersion>> {
        self.labeller.versions(places)
    }

    fn set_labels(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>> {
        self.labeller.set(requests)
    }
}

impl Drop for GmailTarget {
    fn drop(&mut self) {
        self.close();
    }
}
