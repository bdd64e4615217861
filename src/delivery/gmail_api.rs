//! Delivery by the Gmail API's `users.messages.import`, which scans and classifies a message like one that
//! comes by SMTP (GMAIL.md 6.2).
//!
//! Whether Gmail has a message is still asked by IMAP; the access token is that of the IMAP connections.

use std::sync::Arc;

use crate::config::ImportConfig;
use crate::delivery::gmail_api::answers::{ApiError, ApiErrorMeaning};
use crate::delivery::gmail_api::client::{ApiClient, ApiResponse};
use crate::delivery::gmail_api::import_pool::ImportPool;
use crate::delivery::gmail_api::importer::Importer;
use crate::delivery::gmail_imap::{GmailAccount, remove_nuls};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Uid};
use crate::sync::Outcome;

mod answers;
mod client;
mod destination;
mod import_error;
mod import_pool;
mod importer;
mod label_ids;
mod upload;
mod upload_body;

pub(crate) use destination::ImportDestination;

/// The largest message that the API imports (`maxSize` of its discovery document).
pub(super) const MAX_IMPORT_SIZE: u64 = 150 << 20;

/// The media type of what is no message.
const JSON: &str = "application/json; charset=UTF-8";

/// Imports the messages of an account.
pub(super) struct GmailApi {
    account: Arc<GmailAccount>,
    config: ImportConfig,
    destination: ImportDestination,
    /// `None` before the first message.
    pool: Option<ImportPool>,
}

impl GmailApi {
    /// Opens no connection.
    pub fn new(account: Arc<GmailAccount>, config: ImportConfig) -> GmailApi {
        GmailApi {
            account,
            config,
            destination: ImportDestination::default(),
            pool: None,
        }
    }

    /// Messages go there from the next pass on.
    pub fn set_destination(&mut self, destination: ImportDestination) {
        self.destination = destination;
    }

    /// Another pass begins.
    pub fn start_pass(&mut self) {
        let connections = self.account.config().connections;
        if let Some(pool) = &mut self.pool {
            pool.start_pass(self.destination.clone(), connections);
        }
    }

    /// Begins to import a message; blocks while too many are being imported.
    ///
    /// # Errors
    /// Another message of the pass has failed for a reason that is not its own; or the trusted certificates
    /// cannot be loaded.
    pub fn submit(&mut self, mut message: Message) -> Result<()> {
        remove_nuls(&mut message);
        let pool = match &mut self.pool {
            Some(pool) => pool,
            none => {
                let client = ApiClient::new(Arc::clone(&self.account), &self.config)?;
                let importer = Importer::new(client, self.config.clone());
                let connections = self.account.config().connections;
                let mut pool = ImportPool::new(importer, connections);
                pool.start_pass(self.destination.clone(), connections);
                none.insert(pool)
            }
        };
        pool.submit(message)
    }

    /// The next outcome that is known.
    pub fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.pool.as_mut()?.settled()
    }

    /// Waits until every message has its outcome.
    ///
    /// # Errors
    /// As for [`submit`](GmailApi::submit).
    pub fn finish(&mut self) -> Result<()> {
        self.pool.as_mut().map_or(Ok(()), ImportPool::finish)
    }
}

/// Asks the API for the labels of the account, which shows whether it is switched on. Changes nothing.
///
/// # Errors
/// It is not switched on, does not permit it, or is unavailable.
pub(super) fn verify(account: Arc<GmailAccount>, config: &ImportConfig) -> Result<()> {
    label_ids::verify(&ApiClient::new(account, config)?)
}

/// The error of a response that is about the account or the project.
fn error_of(client: &ApiClient, response: &ApiResponse) -> Error {
    let error = ApiError::of(response);
    let kind = match error.meaning() {
        ApiErrorMeaning::NotEnabled | ApiErrorMeaning::Forbidden => ErrorKind::Rejected,
        _ => ErrorKind::Unavailable,
    };
    let shown = client.error(kind, &error);
    match kind {
        ErrorKind::Rejected => shown.remedy(error.remedy()),
        _ => shown,
    }
}
