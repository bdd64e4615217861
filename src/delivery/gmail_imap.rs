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
    lanes: AppendPool,
    /// How many messages this pass will bring, as far as is known.
    backlog: usize,
    submitted: usize,
    /// Asked once a pass: what is appended later has at least the UID that was next then.
    terms: Option<TargetStatus>,
    /// What it holds of the time that a long pass is about, once that is known.
    listing: MailIndex,
    /// The search for what is to be listed before the next question.
    to_list: Option<String>,
    /// A pass has one listing.
    is_listed: bool,
}

impl GmailTarget {
    /// An account that nothing is asked of yet.
    #[must_use]
    pub fn new(settings: GmailTargetOptions) -> GmailTarget {
        let account = Arc::new(GmailAccount::new(settings));
        GmailTarget {
            lanes: AppendPool::new(Arc::clone(&account)),
            account,
            lookup: None,
            backlog: 0,
            submitted: 0,
            terms: None,
            listing: MailIndex::default(),
            to_list: None,
            is_listed: false,
        }
    }

    /// Begins another pass: what was seen of Gmail in the one before counts no longer. Messages to
    /// be expected share enough connections from the beginning; without such a hint, connections
    /// are added as messages come.
    pub fn begin_pass(&mut self, backlog: usize) {
        self.backlog = backlog;
        self.submitted = 0;
        self.terms = None;
        self.listing = MailIndex::default();
        self.to_list = None;
        self.is_listed = false;
        self.lookup = self.lookup.take().and_then(Lookup::for_another_pass);
    }

    /// Ends a pass that came to its end: of the connections, one for appending and the one for
    /// looking up stay, for messages that come soon.
    pub fn end_pass(&mut self) {
        self.lanes.narrow(1);
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
        self.lanes.close();
        if let Some(lookup) = self.lookup.take() {
            lookup.close();
        }
    }

    /// Asks on the lookup connection, which is opened if need be; and once more on a new one if it
    /// breaks, for servers end quiet connections.
    fn look<T>(
        &mut self,
        ask: impl Fn(&mut Lookup, &GmailAccount) -> Result<T, LookupError>,
    ) -> Result<T> {
        let mut is_second_try = false;
        loop {
            let mut lookup = match self.lookup.take() {
                Some(lookup) if self.is_alive(&lookup) => lookup,
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
    fn list(&mut self) -> Result<()> {
        if let Some(program) = self.to_list.take() {
            self.is_listed = true;
            self.listing = self.look(|lookup, account| lookup.list(&program, account))?;
        }
        Ok(())
    }

    fn is_alive(&self, lookup: &Lookup) -> bool {
        lookup.is_usable() && !self.account.has_outlived(lookup.logged_in())
    }
}

impl Target for GmailTarget {
    fn terms(&mut self) -> Result<TargetStatus> {
        if let Some(terms) = self.terms {
            return Ok(terms);
        }
        let terms = self.look(Lookup::terms)?;
        self.terms = Some(terms);
        Ok(terms)
    }

    fn expects(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.backlog = self.backlog.max(backlog);
        if !self.is_listed && self.to_list.is_none() {
            self.to_list = mail_index::program(backlog, oldest);
        }
    }

    fn holds(&mut self, questions: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.list()?;
        let is_there: Vec<bool> = questions.iter().map(|it| self.listing.proves(it)).collect();
        let open: Vec<LookupQuery> = questions
            .iter()
            .zip(&is_there)
            .filter(|(_, is_there)| !**is_there)
            .map(|(question, _)| question.clone())
            .collect();
        let mut answers = if open.is_empty() {
            Vec::new().into_iter()
        } else {
            self.look(|lookup, account| lookup.holds(&open, account))?
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
        self.lanes.submit(message, wanted)?;
        self.submitted += 1;
        Ok(())
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.lanes.settled()
    }

    fn finish(&mut self) -> Result<()> {
        self.lanes.finish()
    }
}

impl Drop for GmailTarget {
    fn drop(&mut self) {
        self.close();
    }
}
