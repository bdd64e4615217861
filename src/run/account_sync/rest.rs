//! What a run does while Gmail rests.

use chrono::{DateTime, Utc};

use crate::delivery::gmail_imap::STORAGE_FULL_REMEDY;
use crate::error::{Error, ErrorKind, Result, Side};
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
        let gmail = &self.state().gmail;
        let until = format_time(until);
        if gmail.is_storage_full {
            let place = self.config.target.server.address();
            let what = "the last message did not fit";
            let error = Error::new(Side::Gmail, ErrorKind::Rejected, place, what);
            let remedy = format!("{STORAGE_FULL_REMEDY}; will retry at {until}");
            return Err(error.during("waiting to append").remedy(remedy));
        }
        if let Some(since) = gmail.limited_for_long(self.now()) {
            log::warn!(
                "Gmail has limited the account since {}, longer than it does for what is sent in a \
                 day: perhaps its storage is full; will retry at {until}",
                format_time(since)
            );
        } else {
            log::info!("Gmail rests until {until}; this run does nothing");
        }
        Ok(true)
    }
}
