//! The mailbox mail goes to.
//!
//! One connection looks messages up, others append them. Nothing is opened before the first
//! question, so that a run with nothing new touches neither Gmail nor the token.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

use crate::error::{ErrorKind, Result};
use crate::message::{Message, Uid};
use crate::sync::{LookupQuery, LookupResult, Outcome, Target, TargetStatus};

mod account;
mod append;
mod append_pool;
mod found_message;
mod lookup;
mod mail_index;
mod normalize;
mod responses;
mod search;

pub(crate) use account::verify_access_token;
pub use account::{GmailTargetOptions, NowFn};

use crate::delivery::gmail_imap::account::GmailAccount;
use crate::delivery::gmail_imap::append_pool::AppendPool;
use crate::delivery::gmail_imap::lookup::{Lookup, LookupError};
use crate::delivery::gmail_imap::mail_index::MailIndex;

/// A connection more is worth its log-in for so many messages.
const MESSAGES_A_LANE: usize = 10;

/// A Gmail account, or another that speaks IMAP and XOAUTH2.
pub struct GmailTarget {
    account: Arc<GmailAccount>,
    lookup: Option<Lookup>,
    append_pool: AppendPool,
    /// How many messages this pass will bring, as far as is known.
    backlog: usize,
    submitted: usize,
    /// Asked once a pass: what is appended later has at least the UID that was next then.
    status: Option<TargetStatus>,
    /// What it holds of the time that a long pass is about, once that is known.
    index: MailIndex,
    /// The search for what is to be listed before the next question.
    index_search: Option<String>,
    /// A pass has one listing.
    is_indexed: bool,
}

impl GmailTarget {
    /// An account that nothing is asked of yet.
    #[must_use]
    pub fn new(settings: GmailTargetOptions) -> GmailTarget {
        let account = Arc::new(GmailAccount::new(settings));
        GmailTarget {
            append_pool: AppendPool::new(Arc::clone(&account)),
            account,
            lookup: None,
            backlog: 0,
            submitted: 0,
            status: None,
            index: MailIndex::default(),
            index_search: None,
            is_indexed: false,
        }
    }

    /// Begins another pass: what was seen of Gmail in the one before counts no longer. Messages to
    /// be expected share enough connections from the beginning; without such a hint, connections
    /// are added as messages come.
    pub fn start_pass(&mut self, backlog: usize) {
        self.backlog = backlog;
        self.submitted = 0;
        self.status = None;
        self.index = MailIndex::default();
        self.index_search = None;
        self.is_indexed = false;
        self.lookup = self.lookup.take().and_then(Lookup::reuse_for_next_pass);
    }

    /// Ends a pass that came to its end: of the connections, one for appending and the one for
    /// looking up stay, for messages that come soon.
    pub fn end_pass(&mut self) {
        self.append_pool.shrink_to(1);
    }

    /// Says whether Gmail can be asked without renewing the token.
    ///
    /// # Errors
    /// The token file cannot be read.
    pub fn has_valid_token(&self) -> Result<bool> {
        self.account.has_valid_token()
    }

    /// Takes leave of the server; the next question connects anew.
    pub fn close(&mut self) {
        self.append_pool.close();
        if let Some(lookup) = self.lookup.take() {
            lookup.close();
        }
    }

    /// Asks on the lookup connection, which is opened if need be; and once more on a new one if it
    /// breaks, for servers end quiet connections.
    fn with_lookup<T>(
        &mut self,
        ask: impl Fn(&mut Lookup, &GmailAccount) -> Result<T, LookupError>,
    ) -> Result<T> {
        let mut is_second_try = false;
        loop {
            let mut lookup = match self.lookup.take() {
                Some(lookup) if self.can_be_reused(&lookup) => lookup,
                _ => Lookup::open(&self.account)?,
            };
            match ask(&mut lookup, &self.account) {
                Ok(answer) => {
                    self.lookup = Some(lookup);
                    return Ok(answer);
                }
                Err(LookupError::Fatal(error)) => {
                    lookup.close();
                    return Err(error);
                }
                Err(LookupError::ConnectionLost(failure)) if is_second_try => {
                    let error = self.account.error(ErrorKind::Unavailable, failure);
                    return Err(error.during("looking messages up"));
                }
                Err(LookupError::ConnectionLost(failure)) => {
                    log::debug!("looking messages up: {failure}; connecting anew");
                    is_second_try = true;
                }
            }
        }
    }

    /// Lists what a long pass may be about, before its first question.
    fn build_index(&mut self) -> Result<()> {
        if let Some(program) = self.index_search.take() {
            self.is_indexed = true;
            self.index = self.with_lookup(|lookup, account| lookup.index(&program, account))?;
        }
        Ok(())
    }

    fn can_be_reused(&self, lookup: &Lookup) -> bool {
        lookup.is_usable() && !self.account.expires_soon(lookup.logged_in())
    }
}

impl Target for GmailTarget {
    fn status(&mut self) -> Result<TargetStatus> {
        if let Some(terms) = self.status {
            return Ok(terms);
        }
        let terms = self.with_lookup(Lookup::status)?;
        self.status = Some(terms);
        Ok(terms)
    }

    fn announce_backlog(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.backlog = self.backlog.max(backlog);
        if !self.is_indexed && self.index_search.is_none() {
            self.index_search = mail_index::program(backlog, oldest);
        }
    }

    fn holds(&mut self, questions: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.build_index()?;
        let is_there: Vec<bool> = questions.iter().map(|it| self.index.contains(it)).collect();
        let open: Vec<LookupQuery> = questions
            .iter()
            .zip(&is_there)
            .filter(|(_, is_there)| !**is_there)
            .map(|(question, _)| question.clone())
            .collect();
        let mut answers = if open.is_empty() {
            Vec::new().into_iter()
        } else {
            self.with_lookup(|lookup, account| lookup.holds(&open, account))?
                .into_iter()
        };
        let answer = |is_there| {
            if is_there {
                LookupResult::Found
            } else {
                answers.next().unwrap_or(LookupResult::NotFound)
            }
        };
        Ok(is_there.into_iter().map(answer).collect())
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        let wanted = self.backlog.max(self.submitted) / MESSAGES_A_LANE;
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
}

impl Drop for GmailTarget {
    fn drop(&mut self) {
        self.close();
    }
}
