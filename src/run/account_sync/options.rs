//! The options of the engine and of the Gmail target, from the configuration, the state and the
//! process.

use std::sync::Arc;

use crate::config::OnMove;
use crate::delivery::ImportDestination;
use crate::delivery::gmail_imap::GmailTargetOptions;
use crate::folders::FolderPair;
use crate::oauth::{RememberedRejection, RenewalPolicy};
use crate::retry::REJECTED_CREDENTIALS;
use crate::run::account_sync::AccountSync;
use crate::sync::{ImportPolicy, PassOptions};

impl AccountSync<'_> {
    /// The options of a pass over the source folder of this pair.
    pub(super) fn pass_options(&self, pair: &FolderPair) -> PassOptions {
        let config = &self.config;
        PassOptions {
            source: config.source_name_of(&pair.source),
            first_run_days: config.first_run_days,
            copy_flags: pair.copy_flags,
            daily_upload_limit: config.daily_upload_limit,
            since: self.since(&pair.source),
            target_folder: pair.target.clone(),
            one_of_several: self.has_several_folders().then(|| pair.source.clone()),
            labels: pair.labels.clone(),
            labels_moved: config.on_move == OnMove::Label,
            sets_labels: true,
            import: self.import_policy(pair),
        }
    }

    /// Which messages of this pair are imported.
    fn import_policy(&self, pair: &FolderPair) -> Option<ImportPolicy> {
        let import = self.config.target.import.as_ref()?;
        import_destination(pair)?;
        let max_age = import.max_age;
        Some(ImportPolicy { max_age })
    }

    pub(super) fn gmail_options(&self, renewal: RenewalPolicy) -> GmailTargetOptions {
        let clock = self.context.timing.clock;
        // A time further in the future than the longest delay was written while the clock was wrong.
        let max_retry_after = clock.now() + REJECTED_CREDENTIALS.max_delay();
        let rejected = self.state().gmail.rejected_token.as_ref();
        let rejected_token = rejected
            .filter(|rejected| rejected.retry_after <= max_retry_after)
            .map(|rejected| RememberedRejection {
                refresh_token: rejected.refresh_token.clone(),
                retry_after: rejected.retry_after,
                user: rejected.user.clone(),
                remedy: rejected.remedy.clone(),
            })
            .filter(|rejected| {
                let user = rejected.user.as_ref();
                user.is_none_or(|user| *user == self.config.target.user)
            });
        GmailTargetOptions {
            config: self.config.target.clone(),
            now: Arc::new(move || clock.now()),
            connection: self.context.connection_options(),
            rejected_token,
            renewal,
        }
    }
}

/// The labels of imported messages of this pair; `None` if none is imported.
pub(super) fn import_destination(pair: &FolderPair) -> Option<ImportDestination> {
    ImportDestination::of(&pair.target, pair.archive, &pair.labels)
}
