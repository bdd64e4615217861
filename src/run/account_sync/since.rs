//! `--since`: each folder goes back to that time once.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::run::OneTimeOptions;
use crate::run::account_sync::AccountSync;
use crate::untrusted::Untrusted;

/// The most folders that a warning names.
const MAX_NAMED: usize = 5;

/// A request to copy what was received since a time.
#[derive(Debug)]
pub(super) struct SinceRequest {
    pub begin: DateTime<Utc>,
    /// The folders whose pass has gone back to it. One that fails is tried again.
    done: BTreeSet<String>,
}

impl SinceRequest {
    pub fn new(begin: DateTime<Utc>) -> SinceRequest {
        let done = BTreeSet::new();
        SinceRequest { begin, done }
    }

    /// The pass over this folder is complete.
    pub fn record(&mut self, folder: &str) {
        self.done.insert(folder.to_owned());
    }
}

impl AccountSync<'_> {
    /// The time that a pass over this folder must still go back to, if it was asked for.
    pub(super) fn since(&self, folder: &str) -> Option<DateTime<Utc>> {
        let request = self.since.as_ref()?;
        (!request.done.contains(folder)).then_some(request.begin)
    }

    /// Warns if folders failed before a pass went back to the requested time: unlike a date pass that is cut
    /// short, a later run does not know of the request.
    pub fn warn_of_lost_request(&self) {
        let Some(request) = &self.since else {
            return;
        };
        let folders = match &self.copied_folders {
            Some(folders) => folders.clone(),
            None => vec![self.main_folder().to_owned()],
        };
        let is_pending = |folder: &&String| {
            let state = self.state().folder_named(folder);
            let pass = state.and_then(|state| state.date_pass.as_ref());
            self.since(folder).is_some() && pass.is_none_or(|pass| pass.since > request.begin)
        };
        let pending: Vec<&String> = folders.iter().filter(is_pending).collect();
        if pending.is_empty() {
            return;
        }
        if pending.len() == folders.len() {
            OneTimeOptions {
                since: Some(request.begin),
                is_same_account: false,
            }
            .warn_of_no_effect();
            return;
        }
        let mut names: Vec<String> = pending
            .iter()
            .take(MAX_NAMED)
            .map(|name| format!("{:?}", Untrusted::new(name)))
            .collect();
        if let Some(more @ 1..) = pending.len().checked_sub(MAX_NAMED) {
            names.push(format!("{more} more"));
        }
        let names = names.join(", ");
        log::warn!(
            "--since had no effect on the folders that failed ({names}); repeat it in a later run"
        );
    }
}
