//! One run over several folders: one LIST with the STATUS of each shows which of them have something new,
//! and only those are opened.

use chrono::{DateTime, Utc};

use crate::config::{FolderConfig, FolderRule};
use crate::error::{Error, Result, Side};
use crate::folders::{self, FolderPair, SelectedFolder};
use crate::imap::FolderStatus;
use crate::message::Mailbox;
use crate::run::account_sync::AccountSync;
use crate::source::ImapSource;
use crate::state::journal::StateStore;
use crate::state::{Event, FolderState};
use crate::sync::{PassReport, has_work};

/// What a check of all folders has found.
pub(super) struct CheckedFolders {
    /// All folders of the source.
    listed: Vec<FolderStatus>,
    /// Those with something to do.
    due: Vec<SelectedFolder>,
}

/// What the passes over several folders did.
#[derive(Default)]
pub(super) struct FolderPasses {
    pub report: PassReport,
    pub used_gmail: bool,
    /// The failures of single folders, which did not stop the others.
    pub failures: Vec<Error>,
}

impl AccountSync<'_> {
    /// Finds the folders that have something to do. The source must have the inbox open, in this state.
    pub(super) fn check_folders(
        &mut self,
        source: &mut ImapSource,
        inbox: &Mailbox,
        started: DateTime<Utc>,
    ) -> Result<Option<CheckedFolders>> {
        let FolderConfig::Many(rules) = &self.config.folders else {
            return Ok(None);
        };
        let listed = source.list_folders()?;
        let selected = folders::select(rules, &listed)?;
        let mut due = Vec::new();
        for folder in selected {
            let status = if folder.name == source.folder() {
                Some(*inbox)
            } else {
                let of_name = listed.iter().find(|other| other.name == folder.name);
                of_name.and_then(|folder| folder.status)
            };
            if self.may_have_work(&folder.name, status.as_ref()) {
                due.push(folder);
            } else {
                self.record_nothing_new(folder.name, started)?;
            }
        }
        Ok(Some(CheckedFolders { listed, due }))
    }

    fn may_have_work(&self, name: &str, status: Option<&Mailbox>) -> bool {
        let Some(status) = status else {
            // The server does not tell, or does not permit to look: opening the folder shows which.
            return true;
        };
        let nothing = FolderState::default();
        let state = self.state();
        let folder = state.folder_named(name).unwrap_or(&nothing);
        let source = self.config.source_name_of(name);
        self.since.is_some()
            || state.source.wrong_uid_next
            || has_work(folder, status, &source, self.now())
    }

    /// A pass of this folder would find nothing; its time is written as often as after a pass.
    fn record_nothing_new(&mut self, name: String, started: DateTime<Utc>) -> Result<()> {
        todo!()
    }
}
