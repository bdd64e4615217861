//! A dry run over the folders: what a run would do with each message.

use crate::delivery::GmailDelivery;
use crate::error::Result;
use crate::folders::FolderPair;
use crate::message::{Listed, Mailbox};
use crate::oauth::RenewalPolicy;
use crate::run::account_sync::AccountSync;
use crate::run::account_sync::folders::{CheckedFolders, open_unless_open};
use crate::run::account_sync::instrumented::PassMonitor;
use crate::run::account_sync::options::import_destination;
use crate::run::account_sync::source_steps::CheckedSource;
use crate::source::ImapSource;
use crate::sync::{DryRunResult, DryRunTotal, NullTarget, Pass, Target};

/// What a dry run reports.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DryRunLine<'a> {
    /// What follows is about this folder, which goes there; without a valid token it is not known where.
    Folder(&'a FolderPair),
    /// What would become of a message.
    Message(&'a Listed, DryRunResult),
}

impl AccountSync<'_> {
    /// Reports for each message what a run would do; copies and writes nothing.
    pub fn dry_run(
        &mut self,
        checked: CheckedSource<'_>,
        report: &mut dyn FnMut(DryRunLine),
    ) -> Result<DryRunTotal> {
        let CheckedSource {
            source,
            mailbox,
            folders,
            ..
        } = checked;
        let options = self.gmail_options(RenewalPolicy::Never);
        let gmail = self.gmail.insert(GmailDelivery::new(options));
        let can_ask_gmail = gmail.has_valid_token()?;
        let Some(folders) = folders else {
            let pair = if can_ask_gmail {
                self.only_pair()?
            } else {
                self.pair_without_target(&self.config.source.folder)
            };
            return self.dry_run_folder(source, &mailbox, &pair, can_ask_gmail, report);
        };
        let mut total = DryRunTotal::default();
        for pair in self.dry_run_pairs(&folders, can_ask_gmail)? {
            report(DryRunLine::Folder(&pair));
            match open_unless_open(source, &pair.source, &mailbox) {
                Ok(mailbox) => {
                    self.select_folder(&pair.source)?;
                    total += self.dry_run_folder(source, &mailbox, &pair, can_ask_gmail, report)?;
                }
                Err(error) if source.is_connected() => log::error!("{error}"),
                Err(error) => return Err(error),
            }
        }
        for failure in &folders.failures {
            log::error!("{failure}");
        }
        Ok(total)
    }

    /// All folders that are copied, also those with nothing new.
    fn dry_run_pairs(
        &mut self,
        folders: &CheckedFolders,
        can_ask_gmail: bool,
    ) -> Result<Vec<FolderPair>> {
        if can_ask_gmail {
            let mut failures = Vec::new();
            let pairs = self.pairs(&folders.listing, &mut failures)?;
            for failure in &failures {
                log::error!("{failure}");
            }
            return Ok(pairs);
        }
        let all = folders.all.iter();
        Ok(all.map(|name| self.pair_without_target(name)).collect())
    }

    /// Without a valid token nobody knows what folders Gmail has.
    fn pair_without_target(&self, source: &str) -> FolderPair {
        FolderPair {
            source: source.to_owned(),
            target: String::new(),
            labels: Vec::new(),
            archive: false,
            copy_flags: self.config.copy_flags,
            rule: 0,
        }
    }

    fn dry_run_folder(
        &mut self,
        source: &mut ImapSource,
        mailbox: &Mailbox,
        pair: &FolderPair,
        can_ask_gmail: bool,
        report: &mut dyn FnMut(DryRunLine),
    ) -> Result<DryRunTotal> {
        let context = self.context;
        let pass_options = self.pass_options(pair);
        let mut no_target = NullTarget;
        let target: &mut dyn Target = match &mut self.gmail {
            Some(gmail) if can_ask_gmail => {
                gmail.set_folder(&pair.target, import_destination(pair));
                gmail.start_pass();
                gmail
            }
            _ => &mut no_target,
        };
        let monitor = PassMonitor::new(context);
        Pass {
            source: &mut monitor.monitor(source),
            target: &mut monitor.monitor(target),
            store: &mut self.store,
            options: &pass_options,
            progress: &mut (),
            now: &|| context.timing.clock.now(),
        }
        .dry_run(mailbox, can_ask_gmail, &mut |listed, result| {
            report(DryRunLine::Message(listed, result));
        })
    }
}
