//! One run over several folders: one LIST with the STATUS of each shows which of them have something new,
//! and only those are opened.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Timelike, Utc};

use crate::config::{FolderConfig, INBOX};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::folders::{self, FolderPair, FolderSelection, TargetFolders, describe_mistakes};
use crate::imap::{FolderListing, FolderStatuses};
use crate::message::Mailbox;
use crate::run::account_sync::AccountSync;
use crate::source::ImapSource;
use crate::state::{Event, FolderState};
use crate::sync::has_work;

/// What a check of all folders has found.
pub(super) struct CheckedFolders {
    /// All folders of the source.
    pub listing: FolderListing,
    /// Those that are copied, by name.
    pub all: Vec<String>,
    /// Those of them with something to do.
    pub due: Vec<String>,
    /// What is in all of them, as far as the server says it.
    pub statuses: FolderStatuses,
    /// Folders that the configuration names, and that cannot be copied.
    pub failures: Vec<Error>,
}

impl AccountSync<'_> {
    /// Finds the folders that have something to do; none if the configuration names only one. The
    /// source must have one of them open, in this state.
    pub(super) fn check_folders(
        &mut self,
        source: &mut ImapSource,
        open: &Mailbox,
        started: DateTime<Utc>,
    ) -> Result<Option<CheckedFolders>> {
        if !self.has_several_folders() {
            return Ok(None);
        }
        let config = &self.config.folders;
        let select = |listing: &FolderListing| {
            let selection = folders::select(config, listing);
            (selection.folders.clone(), selection)
        };
        let (listing, mut statuses, selection) = source.check_folders(select)?;
        let FolderSelection { folders, missing } = selection;
        let mut due = Vec::new();
        for name in folders.clone() {
            self.record_if_new(&name, started)?;
            let is_open = name == source.folder();
            let status = statuses.get(&name).filter(|_| !is_open);
            let status = status.or(is_open.then_some(open));
            if self.may_have_work(&name, status, started) {
                due.push(name);
            } else {
                self.record_nothing_new(name, started)?;
            }
        }
        let selected: BTreeSet<&String> = folders.iter().collect();
        statuses.retain(|name, _| selected.contains(name));
        if due.is_empty() && !self.state().owed_labels().is_empty() {
            // Its pass sets them.
            due.extend(folders.first().cloned());
        }
        self.copied_folders = Some(folders.clone());
        let address = self.config.source.server.address();
        let failure = |missing: &folders::MissingFolder| {
            Error::new(Side::Source, ErrorKind::Config, &address, missing)
        };
        Ok(Some(CheckedFolders {
            listing,
            all: folders,
            due,
            statuses,
            failures: missing.iter().map(failure).collect(),
        }))
    }

    /// Remembers since when a folder is there that joins others. Its first pass may come late: the folder cannot
    /// be read, or its name does not suit Gmail.
    fn record_if_new(&mut self, name: &str, at: DateTime<Utc>) -> Result<()> {
        if self.state().is_unsynced() || self.state().folder_named(name).is_some() {
            return Ok(());
        }
        let events = vec![Event::Folder(name.to_owned()), Event::FolderSeen { at }];
        self.store.record_all(events)
    }

    pub(super) fn may_have_work(
        &self,
        name: &str,
        status: Option<&Mailbox>,
        started: DateTime<Utc>,
    ) -> bool {
        let Some(status) = status else {
            // The server does not tell, or does not permit to look: opening the folder shows which.
            return true;
        };
        let nothing = FolderState::default();
        let state = self.state();
        let folder = state.folder_named(name).unwrap_or(&nothing);
        let source = self.config.source_name_of(name);
        // Once a day a pass looks for messages that the announced UIDNEXT hides; at the main folder once an
        // hour, as if it were the only one.
        let is_its_time =
            |last| name == self.main_folder() || last < last_time_to_look(name, started);
        let may_be_hidden = status.exists > 0
            && folder.is_last_sync_old(started)
            && folder.last_sync.is_none_or(is_its_time);
        self.since(name).is_some()
            || may_be_hidden
            || folder.wrong_uid_next
            || has_work(folder, status, &source, self.now())
    }

    /// A pass of this folder would find nothing; its time is written as often as after a pass.
    pub(super) fn record_nothing_new(
        &mut self,
        name: String,
        started: DateTime<Utc>,
    ) -> Result<()> {
        let folder = self.state().folder_named(&name);
        if folder.is_some_and(|folder| folder.is_last_sync_old(started)) {
            let synced = Event::Synced { at: started };
            self.store.record_all(vec![Event::Folder(name), synced])?;
        }
        Ok(())
    }

    /// Where the source folders go, which the folders of the target decide as well. Before anything was
    /// copied, a mistake ends the run. Later it stops the folders that it is about: anybody may create a folder
    /// whose name Gmail does not take.
    pub(super) fn plan_folders(
        &mut self,
        listing: &FolderListing,
        target: TargetFolders<'_>,
        failures: &mut Vec<Error>,
    ) -> Result<Vec<FolderPair>> {
        let (plan, mistakes) = folders::plan_what_can_be(&self.config.folders, listing, target);
        let place = self.config.target.server.address();
        let error = |what: String| Error::new(Side::Config, ErrorKind::Config, &place, what);
        if mistakes.is_empty() {
            return Ok(plan.pairs);
        }
        if self.state().is_unsynced() || !self.has_several_folders() {
            return Err(error(describe_mistakes(&mistakes)));
        }
        failures.extend(mistakes.iter().map(|mistake| error(mistake.to_string())));
        Ok(plan.pairs)
    }

    /// When retries are due, though nothing new arrived. A folder that is gone from the source, or from the
    /// configuration, has none; nor has one that failed, which each check tries again.
    pub fn retry_times(&self) -> Vec<DateTime<Utc>> {
        let state = self.state();
        let is_copied = |name: &str| match &self.copied_folders {
            Some(folders) => {
                folders.iter().any(|folder| folder == name) && !self.failed_folders.contains(name)
            }
            None => name == state.folder_name(),
        };
        state.retry_times(self.now(), is_copied).collect()
    }

    /// The folder that is opened first, and waited at. Of several folders it is the inbox, which every server
    /// has (RFC 3501 5.1).
    pub(super) fn main_folder(&self) -> &str {
        if self.has_several_folders() {
            INBOX
        } else {
            &self.config.source.folder
        }
    }

    /// Whether the configuration names more folders than one.
    pub(super) fn has_several_folders(&self) -> bool {
        matches!(self.config.folders, FolderConfig::Many(_))
    }

    /// What is recorded from now on is about this folder.
    pub(super) fn select_folder(&mut self, name: &str) -> Result<()> {
        if self.state().folder_name() == name {
            return Ok(());
        }
        self.store.record(Event::Folder(name.to_owned()))
    }
}

/// Opens a folder, unless it is the one that is open, in this state.
pub(super) fn open_unless_open(
    source: &mut ImapSource,
    name: &str,
    open: &Mailbox,
) -> Result<Mailbox> {
    if name == source.folder() {
        Ok(*open)
    } else {
        source.open_folder(name)
    }
}

/// When a folder was last due to be looked at though it seems to have nothing new: the last time that it was
/// a certain hour of the day, which its name decides, so that not all folders are due at the same time.
fn last_time_to_look(name: &str, now: DateTime<Utc>) -> DateTime<Utc> {
    let hour = name.bytes().map(i64::from).sum::<i64>() % 24;
    let hours_since = (i64::from(now.hour()) - hour).rem_euclid(24);
    let in_this_hour = TimeDelta::seconds(now.timestamp().rem_euclid(3600));
    now - in_this_hour - TimeDelta::hours(hours_since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_due_once_a_day_even_if_its_hour_is_missed() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        // The octets of "a" are 97: 1 o'clock.
        for (now, last) in [
            ("2026-11-29T01:00:00Z", "2026-11-29T01:00:00Z"),
            ("2026-11-29T01:59:59Z", "2026-11-29T01:00:00Z"),
            ("2026-11-29T13:10:00Z", "2026-11-29T01:00:00Z"),
            ("2026-11-29T00:59:00Z", "2026-11-28T01:00:00Z"),
        ] {
            assert_eq!(last_time_to_look("a", time(now)), time(last), "{now}");
        }
        assert_eq!(
            last_time_to_look("b", time("2026-11-29T01:00:00Z")),
            time("2026-11-28T02:00:00Z")
        );
    }
}
