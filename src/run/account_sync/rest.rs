//! What a run does while Gmail rests.

use chrono::{DateTime, Utc};

use crate::delivery::gmail_imap::STORAGE_FULL_REMEDY;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::run::OneTimeOptions;
use crate::run::account_sync::AccountSync;
use crate::timestamp::format_time;

impl AccountSync<'_> {
    pub fn resting_until(&self) -> Option<DateTime<Utc>> {
        self.state().gmail.resting_until(self.now())
    }

    /// Whether Gmail rests, so that a one-shot run has nothing to do.
    ///
    /// # Errors
    /// It rests because its storage is full, which only the user can change.
    pub fn rests(&self) -> Result<bool> {
        let Some(until) = self.resting_until() else {
            return Ok(false);
        };
        if let Some(error) = self.storage_full_error() {
            return Err(error);
        }
        if !self.warn_of_long_limit() {
            let until = format_time(until);
            log::info!("Gmail rests until {until}; this run does nothing");
        }
        let pending = OneTimeOptions {
            since: self.since.as_ref().map(|request| request.begin),
            is_same_account: self.renamed.is_some(),
        };
        pending.warn_of_no_effect();
        Ok(true)
    }

    /// Why Gmail rests, if its storage is full.
    pub fn storage_full_error(&self) -> Option<Error> {
        let until = self
            .resting_until()
            .filter(|_| self.state().gmail.is_storage_full)?;
        let place = self.config.target.server.address();
        let what = "the last message did not fit";
        let error = Error::new(Side::Gmail, ErrorKind::Rejected, place, what);
        let until = format_time(until);
        let remedy = format!("{STORAGE_FULL_REMEDY}; will retry at {until}");
        Some(error.during("waiting to append").remedy(remedy))
    }

    /// Warns if Gmail has limited the account for so long that it may be for its storage.
    pub fn warn_of_long_limit(&self) -> bool {
        let limited = self.state().gmail.limited_for_long(self.now());
        let Some((since, until)) = limited.zip(self.resting_until()) else {
            return false;
        };
        log::warn!(
            "Gmail has limited the account since {}, longer than its limit on daily uploads lasts: \
             perhaps its storage is full; will retry at {}",
            format_time(since),
            format_time(until)
        );
        true
    }
}
