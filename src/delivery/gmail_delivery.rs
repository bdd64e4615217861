//! Delivers each message by its method: appends over IMAP, imports by the API. Everything else, looking
//! messages up above all, is IMAP's.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

use crate::config::ImportConfig;
use crate::delivery::gmail_api::{self, GmailApi, ImportDestination, MAX_IMPORT_SIZE};
use crate::delivery::gmail_imap::{GmailInspector, GmailTarget, GmailTargetOptions};
use crate::error::{ErrorKind, Result};
use crate::imap::FolderListing;
use crate::message::{DeliveryMethod, Message, MessagePlace, Uid};
use crate::sync::{
    FoundPlace, LabelRequest, LookupQuery, LookupResult, MessageVersion, Outcome, RejectedLabels,
    Target, TargetStatus,
};

/// A Gmail account with all its ways of delivery.
pub struct GmailDelivery {
    imap: GmailTarget,
    /// `None` if the configuration does not want imports.
    api: Option<GmailApi>,
}

impl GmailDelivery {
    /// A target without connections.
    #[must_use]
    pub fn new(options: GmailTargetOptions) -> GmailDelivery {
        let import = options.config.import.clone();
        let imap = GmailTarget::new(options);
        let api = import.map(|config| GmailApi::new(Arc::clone(imap.account()), config));
        GmailDelivery { imap, api }
    }

    /// Messages go to this folder from the next pass on; imported ones to this destination.
    pub(crate) fn set_folder(&mut self, folder: &str, destination: Option<ImportDestination>) {
        self.imap.set_folder(folder);
        if let Some(api) = &mut self.api {
            api.set_destination(destination.unwrap_or_default());
        }
    }

    /// Starts another pass: what was read from Gmail before no longer counts.
    pub(crate) fn start_pass(&mut self) {
        self.imap.start_pass(0);
        if let Some(api) = &mut self.api {
            api.start_pass();
        }
    }

    /// [`GmailTarget::list_folders`].
    ///
    /// # Errors
    /// As for that.
    pub(crate) fn list_folders(&mut self) -> Result<(FolderListing, bool)> {
        self.imap.list_folders()
    }

    /// Ends a complete pass. Some connections stay open for messages that come soon.
    pub(crate) fn end_pass(&mut self) {
        self.imap.end_pass();
    }

    /// Whether Gmail can be asked without renewing the token.
    pub(crate) fn has_valid_token(&self) -> Result<bool> {
        self.imap.has_valid_token()
    }

    /// Closes the connections. The next call connects again.
    pub fn close(&mut self) {
        self.imap.close();
    }
}

impl Target for GmailDelivery {
    fn status(&mut self) -> Result<TargetStatus> {
        let status = self.imap.status()?;
        Ok(self.with_import_limit(status))
    }

    fn refresh_status(&mut self) -> Result<TargetStatus> {
        let status = self.imap.refresh_status()?;
        Ok(self.with_import_limit(status))
    }

    fn prepare(&mut self) {
        match self.api {
            // Which of the messages are imported is not known yet; usually all.
            Some(_) => self.imap.prepare_lookup(),
            None => self.imap.prepare(),
        }
    }

    fn announce_backlog(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.imap.announce_backlog(backlog, oldest);
    }

    fn holds(&mut self, queries: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.imap.holds(queries)
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        match (message.method, &mut self.api) {
            (DeliveryMethod::Append, _) => self.imap.submit(message),
            (DeliveryMethod::Import, Some(api)) => api.submit(message),
            (DeliveryMethod::Import, None) => {
                let what = "a message is to be imported, which the configuration does not want";
                Err(self.imap.account().error(ErrorKind::Internal, what))
            }
        }
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        let imported = self.api.as_mut().and_then(GmailApi::settled);
        imported.or_else(|| self.imap.settled())
    }

    fn finish(&mut self) -> Result<()> {
        let imported = self.api.as_mut().map_or(Ok(()), GmailApi::finish);
        match (self.imap.finish(), imported) {
            (Err(one), Err(other)) => Err(one.more_severe(other)),
            (one, other) => one.and(other),
        }
    }

    fn prepare_labels(&mut self) {
        self.imap.prepare_labels();
    }

    fn find_places(&mut self, queries: &[LookupQuery]) -> Result<Vec<FoundPlace>> {
        self.imap.find_places(queries)
    }

    fn versions(&mut self, places: &[MessagePlace]) -> Result<Vec<MessageVersion>> {
        self.imap.versions(places)
    }

    fn set_labels(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>> {
        self.imap.set_labels(requests)
    }
}

impl GmailDelivery {
    fn with_import_limit(&self, status: TargetStatus) -> TargetStatus {
        TargetStatus {
            import_limit: self.api.as_ref().map(|_| MAX_IMPORT_SIZE),
            ..status
        }
    }
}

/// Asks the Gmail API for the labels of the account, which shows whether messages can be imported. Changes
/// nothing.
///
/// # Errors
/// The API is not switched on, does not permit it, or is unavailable.
pub(crate) fn verify_import(gmail: &GmailInspector, config: &ImportConfig) -> Result<()> {
    gmail_api::verify(Arc::clone(gmail.account()), config)
}
