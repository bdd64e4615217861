//! What the user should correct about the files although the run continues.
//!
//! A timer may start a run every minute: the same warnings are logged once a day. They are recorded
//! when they are logged, so that a run without new mail writes nothing.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::run::account_sync::AccountSync;
use crate::state::{Event, LoggedWarnings};

const REPEAT_AFTER: TimeDelta = TimeDelta::days(1);

impl AccountSync<'_> {
    /// Logs the warnings about the configuration and the state's folder, unless the same ones were
    /// logged in the last day, or always if a person is looking.
    pub fn log_warnings(&mut self, is_attended: bool) -> Result<()> {
        let mut warnings = self.config.warnings().to_owned();
        warnings.extend(self.lock.folder_warning());
        if warnings.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let digest = digest(&warnings);
        let is_recent = |logged: &LoggedWarnings| {
            let age = now.signed_duration_since(logged.at);
            logged.digest == digest && age >= TimeDelta::zero() && age < REPEAT_AFTER
        };
        if !is_attended && self.state().warned.as_ref().is_some_and(is_recent) {
            return Ok(());
        }
        for warning in &warnings {
            log::warn!("{warning}");
        }
        let warned = LoggedWarnings { at: now, digest };
        self.store.record(Event::Warned(warned))
    }
}

fn digest(warnings: &[String]) -> String {
    let hash: [u8; 32] = Sha256::digest(warnings.join("\n")).into();
    hash.iter()
        .take(8)
        .fold(String::new(), |hex, octet| format!("{hex}{octet:02x}"))
}
