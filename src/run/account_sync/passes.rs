//! The check of the source, and the passes over its folders that follow.

use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::delivery::GmailDelivery;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::folders::{FolderPair, TargetFolders, single_pair};
use crate::imap::{FolderListing, ListedFolder};
use crate::message::Mailbox;
use crate::oauth::RenewalPolicy;
use crate::run::account_sync::AccountSync;
use crate::run::account_sync::folders::{CheckedFolders, open_unless_open};
use crate::run::account_sync::instrumented::PassMonitor;
use crate::run::account_sync::options::import_destination;
use crate::run::account_sync::source_steps::{CheckedSource, SourceConnection, WaitableSource};
use crate::source::ImapSource;
use crate::state::Event;
use crate::sync::{Pass, PassOptions, PassReport};
use crate::timeouts::PASS_STEP_TIMEOUT;
use crate::untrusted::Untrusted;

/// So many folders of a run may break the connection; a server that breaks more has failed.
const MAX_BROKEN_CONNECTIONS: usize = 5;

/// What the passes over the folders did.
#[derive(Debug, Default)]
pub(crate) struct PassSummary {
    pub report: PassReport,
    /// Whether Gmail was used, and so is available.
    pub used_gmail: bool,
    /// The failures of single folders, which did not stop the others.
    pub failures: Vec<Error>,
    /// Why labels are still owed: Gmail failed after the mail of a folder was copied.
    pub label_failure: Option<Error>,
}

impl AccountSync<'_> {
    /// Checks the source, on the open connection or a new one.
    pub fn check_source<'s>(
        &mut self,
        connection: &'s mut SourceConnection,
    ) -> Result<CheckedSource<'s>> {
        self.context.watchdog.extend_deadline(PASS_STEP_TIMEOUT);
        let started = self.now();
        let (mut source, mailbox) = match connection.0.take() {
            None => self.log_in_to_source()?,
            Some(mut source) => {
                let main = self.main_folder();
                let checked = if source.folder() == main {
                    source.check_for_mail()
                } else {
                    source.open_folder(main)
                };
                (source, self.record_failed_login(checked, started)?)
            }
        };
        let folders = self.check_folders(&mut source, &mailbox, started)?;
        Ok(CheckedSource {
            source: connection.0.insert(source),
            mailbox,
            folders,
            started,
        })
    }

    /// Runs a pass over each folder that needs one, and records what that shows about the log-in at the
    /// source. The source can be waited on even after a failure, because Gmail may have failed.
    ///
    /// What a failed pass settled is in the journal.
    pub fn run_pass<'s>(
        &mut self,
        checked: CheckedSource<'s>,
    ) -> (WaitableSource<'s>, Result<PassSummary>) {
        let CheckedSource {
            source,
            mailbox,
            folders,
            started,
        } = checked;
        let mut summary = PassSummary::default();
        let done = self
            .verify_renamed(source, &mailbox)
            .and_then(|()| match folders {
                None => self.copy_only_folder(source, &mailbox, started, &mut summary),
                Some(folders) => {
                    self.copy_folders(source, &mailbox, folders, started, &mut summary)
                }
            });
        if done.is_ok() && summary.failures.is_empty() {
            self.since = None;
        }
        let done = done.and_then(|()| self.record_all_copied());
        if let Some(gmail) = &mut self.gmail {
            gmail.end_pass();
        }
        if self.store.has_unfolded_events() {
            self.unfolded_since.get_or_insert(started);
        }
        if summary.used_gmail {
            self.gmail_last_used = Some(Instant::now());
        }
        if done.is_err() {
            // The caller learns of what ended the passes.
            for failure in summary.failures.drain(..) {
                log::error!("{failure}");
            }
        }
        let passed = self.record_failed_login(done, started);
        let waitable = WaitableSource {
            source,
            folder: self.main_folder().to_owned(),
            mailbox,
            has_others: self.has_several_folders(),
            folder_connections: self.config.source_connections,
        };
        (waitable, passed.map(|()| summary))
    }

    /// What was delivered before is no longer delivered lately, if no folder is left that may have it, too.
    fn record_all_copied(&mut self) -> Result<()> {
        if self.failed_folders.is_empty() && self.state().has_recent_deliveries() {
            self.store.record(Event::AllFoldersCopied)?;
        }
        Ok(())
    }

    fn verify_renamed(&mut self, source: &mut ImapSource, mailbox: &Mailbox) -> Result<()> {
        if self.renamed.is_none() {
            return Ok(());
        }
        self.select_folder(source.folder())?;
        let context = self.context;
        let options = self.gmail_options(RenewalPolicy::Save);
        let gmail = self
            .gmail
            .get_or_insert_with(|| GmailDelivery::new(options));
        gmail.start_pass();
        let monitor = PassMonitor::new(context);
        let (mut source, mut gmail) = (monitor.monitor(source), monitor.monitor(gmail));
        if let Some(renamed) = &self.renamed {
            renamed.verify(
                &mut self.store,
                &self.config,
                mailbox,
                &mut source,
                &mut gmail,
            )?;
        }
        self.renamed = None;
        Ok(())
    }

    fn copy_only_folder(
        &mut self,
        source: &mut ImapSource,
        mailbox: &Mailbox,
        started: DateTime<Utc>,
        summary: &mut PassSummary,
    ) -> Result<()> {
        // To know the target may take a connection to Gmail, which a run with nothing new does without.
        let asks_gmail = single_pair(&self.config.folders).is_none();
        let name = self.config.source.folder.clone();
        if asks_gmail
            && self.state().owed_labels().is_empty()
            && !self.may_have_work(&name, Some(mailbox), started)
        {
            return self.record_nothing_new(name, started);
        }
        let pair = self.only_pair()?;
        summary.used_gmail = asks_gmail;
        self.copy_folder(source, mailbox, &pair, started, summary)
    }

    /// Where the only folder goes.
    pub(super) fn only_pair(&mut self) -> Result<FolderPair> {
        if let Some(pair) = single_pair(&self.config.folders) {
            return Ok(pair);
        }
        let listing = FolderListing {
            folders: vec![ListedFolder {
                name: self.config.source.folder.clone(),
                delimiter: None,
                attributes: Vec::new(),
            }],
            personal_prefixes: Vec::new(),
        };
        let mut pairs = self.pairs(&listing, &mut Vec::new())?;
        pairs.pop().ok_or_else(|| {
            let place = Untrusted::new(&self.config.source.folder).to_string();
            let what = "the folders of Gmail do not say where it goes";
            Error::new(Side::Host, ErrorKind::Internal, place, what)
        })
    }

    /// Where the folders go, which the folders of the target decide, too.
    pub(super) fn pairs(
        &mut self,
        listing: &FolderListing,
        failures: &mut Vec<Error>,
    ) -> Result<Vec<FolderPair>> {
        let options = self.gmail_options(RenewalPolicy::Save);
        let gmail = self
            .gmail
            .get_or_insert_with(|| GmailDelivery::new(options));
        let (at_target, is_gmail) = gmail.list_folders()?;
        let target = TargetFolders {
            listing: &at_target,
            is_gmail,
        };
        self.plan_folders(listing, target, failures)
    }

    /// Runs a pass over each folder that has something to do. Only what fails for all of them ends this.
    fn copy_folders(
        &mut self,
        source: &mut ImapSource,
        mailbox: &Mailbox,
        folders: CheckedFolders,
        started: DateTime<Utc>,
        summary: &mut PassSummary,
    ) -> Result<()> {
        summary.failures = folders.failures;
        self.failed_folders.clear();
        if folders.due.is_empty() {
            return Ok(());
        }
        // Until their passes are complete.
        self.failed_folders.extend(folders.due.iter().cloned());
        let mut broken_connections = 0;
        let mut pairs = self.pairs(&folders.listing, &mut summary.failures)?;
        summary.used_gmail = true;
        pairs.retain(|pair| folders.due.contains(&pair.source));
        // That one needs no EXAMINE.
        pairs.sort_by_key(|pair| pair.source != source.folder());
        for pair in pairs {
            let is_open = pair.source == source.folder();
            let started = if is_open { started } else { self.now() };
            let opened = open_unless_open(source, &pair.source, mailbox);
            let copied = opened.and_then(|mailbox| {
                self.select_folder(&pair.source)?;
                self.copy_folder(source, &mailbox, &pair, started, summary)
            });
            match copied {
                Ok(()) => {
                    self.failed_folders.remove(&pair.source);
                }
                Err(error) if error.side() == Side::Source && source.is_connected() => {
                    summary.failures.push(error);
                }
                // A folder may break each connection that opens it, and must not stop those after it.
                Err(error)
                    if error.side() == Side::Source
                        && broken_connections < MAX_BROKEN_CONNECTIONS =>
                {
                    broken_connections += 1;
                    summary.failures.push(error);
                    // If this fails, the server does.
                    source.open_folder(self.main_folder())?;
                }
                copied => copied?,
            }
        }
        Ok(())
    }

    /// Runs one pass over the open folder.
    fn copy_folder(
        &mut self,
        source: &mut ImapSource,
        mailbox: &Mailbox,
        pair: &FolderPair,
        started: DateTime<Utc>,
        summary: &mut PassSummary,
    ) -> Result<()> {
        let context = self.context;
        let pass_options = PassOptions {
            sets_labels: summary.label_failure.is_none(),
            ..self.pass_options(pair)
        };
        let options = self.gmail_options(RenewalPolicy::Save);
        let gmail = self
            .gmail
            .get_or_insert_with(|| GmailDelivery::new(options));
        gmail.set_folder(&pair.target, import_destination(pair));
        gmail.start_pass();
        let monitor = PassMonitor::new(context);
        let mut progress = (context.new_progress)();
        let pass = Pass {
            source: &mut monitor.monitor(source),
            target: &mut monitor.monitor(gmail),
            store: &mut self.store,
            options: &pass_options,
            progress: progress.as_mut(),
            now: &|| context.timing.clock.now(),
        };
        let done = pass.run(mailbox, started);
        summary.used_gmail |= monitor.used_gmail.get();
        let done = done?;
        if let Some(request) = &mut self.since {
            request.record(&pair.source);
        }
        summary.report += done.report;
        summary.label_failure = summary.label_failure.take().or(done.labels.err());
        Ok(())
    }
}
