//! Imports one message, and interprets what the API answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::config::ImportConfig;
use crate::delivery::gmail_api::answers::{ApiError, ApiErrorMeaning};
use crate::delivery::gmail_api::client::{ApiClient, ApiResponse, LostRequest, SentBody};
use crate::delivery::gmail_api::destination::ImportDestination;
use crate::delivery::gmail_api::error_of;
use crate::delivery::gmail_api::import_error::{ImportError, ImportStep, Refusal};
use crate::delivery::gmail_api::label_ids::{LabelError, LabelIds};
use crate::delivery::gmail_api::upload::{Upload, UploadError};
use crate::error::{Consequence, Error, ErrorKind, RestReason, Result};
use crate::message::{Flags, Message};
use crate::process::cancel::WakeOn;
use crate::retry::IMPORT_RATE_DELAYS;
use crate::sync::{ImportedMessage, Outcome, Receipt, Uploaded};

/// Imports messages, from several threads.
pub(super) struct Importer {
    client: ApiClient,
    labels: LabelIds,
    config: ImportConfig,
}

/// The result of an import.
pub(super) enum ImportResult {
    Settled(Outcome),
    /// The message has its outcome, and the next one would fail with this error.
    SettledAndFailed(Outcome, Error),
    /// There are too many requests at the same time; the message was not stored.
    TooManyConnections(Arc<Message>, Error),
}

#[derive(Deserialize)]
struct ImportResponse {
    id: String,
    #[serde(default, rename = "labelIds")]
    label_ids: Vec<String>,
}

impl Importer {
    pub fn new(client: ApiClient, config: ImportConfig) -> Importer {
        Importer {
            client,
            labels: LabelIds::default(),
            config,
        }
    }

    /// Imports a message. While Gmail says that there are too many requests in a short time, it waits and
    /// asks again.
    pub fn import(&self, message: Arc<Message>, destination: &ImportDestination) -> ImportResult {
        let mut delays = IMPORT_RATE_DELAYS.iter();
        let (mut has_renewed_labels, mut has_reconnected) = (false, false);
        let mut uploaded = Uploaded::Nothing;
        loop {
            let refusal = match self.attempt(&message, destination) {
                Ok(response) => return stored(&response),
                Err(ImportError::Answered(refusal)) => refusal,
                Err(ImportError::NoFolderLabel) => {
                    let why = "Gmail does not accept the label of its folder".to_owned();
                    return not_importable(message, uploaded, why);
                }
                Err(ImportError::Fatal(error)) => return returned(uploaded, error),
                // Servers close idle connections.
                Err(ImportError::NoResponse(lost))
                    if lost.sent == SentBody::Nothing
                        && !has_reconnected
                        && !self.client.canceller().is_cancelled() =>
                {
                    has_reconnected = true;
                    continue;
                }
                Err(ImportError::NoResponse(lost)) => return self.lost(lost, uploaded),
            };
            let error = ApiError::of(&refusal.response);
            let meaning = error.meaning();
            if refusal.step == ImportStep::Message && !meaning.is_about_access() {
                uploaded = Uploaded::Octets;
            }
            match meaning {
                ApiErrorMeaning::Label if !has_renewed_labels && destination.has_user_labels() => {
                    has_renewed_labels = true;
                    self.labels.forget();
                }
                ApiErrorMeaning::Rate => {
                    let Some(delay) = rate_delay(&refusal.response, delays.next()) else {
                        return returned(uploaded, self.limit_error(&refusal));
                    };
                    let action = refusal.step.action();
                    log::debug!("{action}: {error}; asking again in {} s", delay.as_secs());
                    let until = Instant::now() + delay;
                    // Fails only if `poll` does; then the next request follows at once.
                    let _ = self
                        .client
                        .canceller()
                        .wait(None, until, WakeOn::CancelOnly);
                    if self.client.canceller().is_cancelled() {
                        return ImportResult::Settled(Outcome::Returned(uploaded));
                    }
                }
                _ => return self.not_stored(&error, &refusal, message, uploaded),
            }
        }
    }

    fn attempt(
        &self,
        message: &Arc<Message>,
        destination: &ImportDestination,
    ) -> Result<ApiResponse, ImportError> {
        let Some(label_ids) = self.label_ids(message.flags, destination)? else {
            return Err(ImportError::NoFolderLabel);
        };
        let response = self.upload(message, &label_ids)?;
        if response.is_success() {
            Ok(response)
        } else {
            let response = Box::new(response);
            Err(ImportError::answered(response, ImportStep::Message))
        }
    }

    /// The labels that the message gets; `None` if there is none for its folder.
    fn label_ids(
        &self,
        flags: Flags,
        destination: &ImportDestination,
    ) -> Result<Option<Vec<String>>, LabelError> {
        let mut names = Vec::new();
        if let Some(folder) = &destination.folder {
            let Some(id) = self.labels.id(folder, &self.client)? else {
                return Ok(None);
            };
            names.push(id);
        }
        names.extend(self.labels.ids(&destination.labels, &self.client)?);
        let system = destination.system_ids.iter().copied();
        let unread = (!flags.seen).then_some("UNREAD");
        let starred = flags.flagged.then_some("STARRED");
        let system = system.chain(unread).chain(starred).map(str::to_owned);
        Ok(Some(system.chain(names).collect()))
    }

    fn upload(
        &self,
        message: &Arc<Message>,
        label_ids: &[String],
    ) -> Result<ApiResponse, UploadError> {
        // The date of arrival, as with mail that comes by SMTP: the sender decides the Date field.
        let parameters = format!(
            "internalDateSource=receivedTime&neverMarkSpam={}&processForCalendar={}",
            self.config.never_spam, self.config.process_for_calendar
        );
        let upload = Upload {
            message,
            metadata: json!({ "labelIds": label_ids }).to_string(),
            parameters,
        };
        upload.send(&self.client)
    }

    /// There is no response.
    fn lost(&self, lost: LostRequest, uploaded: Uploaded) -> ImportResult {
        let why = format!("importing it: {}", lost.why);
        match lost.sent {
            SentBody::Nothing => {
                let error = self.client.error(ErrorKind::Unavailable, lost.why);
                returned(uploaded, error.during("importing a message"))
            }
            SentBody::Part => ImportResult::Settled(Outcome::Unsent(why)),
            SentBody::All => ImportResult::Settled(Outcome::Uncertain(why)),
        }
    }

    fn not_stored(
        &self,
        error: &ApiError,
        refusal: &Refusal,
        message: Arc<Message>,
        uploaded: Uploaded,
    ) -> ImportResult {
        match error.meaning() {
            ApiErrorMeaning::TooManyConnections => {
                let rests = Consequence::Rest(RestReason::Connections);
                let error = self.client.error(ErrorKind::Resting, error);
                ImportResult::TooManyConnections(message, error.with_consequence(rests))
            }
            ApiErrorMeaning::Rate | ApiErrorMeaning::Limit => {
                returned(uploaded, self.limit_error(refusal))
            }
            ApiErrorMeaning::NotEnabled | ApiErrorMeaning::Forbidden | ApiErrorMeaning::Refused => {
                returned(uploaded, self.refused(refusal))
            }
            // The others are about the message only if it was asked for.
            _ if refusal.step == ImportStep::Labels => returned(uploaded, self.refused(refusal)),
            ApiErrorMeaning::Content => not_importable(message, uploaded, error.to_string()),
            ApiErrorMeaning::Label | ApiErrorMeaning::Message => {
                ImportResult::Settled(Outcome::Parked(format!("importing it: {error}")))
            }
            ApiErrorMeaning::Failure if refusal.step == ImportStep::Beginning => {
                returned(uploaded, self.refused(refusal))
            }
            ApiErrorMeaning::Failure => {
                let outcome = Outcome::Uncertain(format!("importing it: {error}"));
                ImportResult::SettledAndFailed(outcome, self.refused(refusal))
            }
        }
    }

    fn refused(&self, refusal: &Refusal) -> Error {
        error_of(&self.client, &refusal.response).during(refusal.step.action())
    }

    /// The account rests, as long as Gmail says.
    fn limit_error(&self, refusal: &Refusal) -> Error {
        let response = &refusal.response;
        let minutes = response
            .retry_after()
            .map(|time| time.as_secs().div_ceil(60));
        let minutes = minutes.map(|minutes| u32::try_from(minutes).unwrap_or(u32::MAX));
        let reason = minutes.map_or(RestReason::Quota, RestReason::RetryAfter);
        let error = self
            .client
            .error(ErrorKind::Resting, ApiError::of(response));
        error
            .during(refusal.step.action())
            .with_consequence(Consequence::Rest(reason))
    }
}

/// How long to wait before the request is repeated; `None` if that would be too long.
fn rate_delay(response: &ApiResponse, next: Option<&Duration>) -> Option<Duration> {
    let longest = IMPORT_RATE_DELAYS.iter().max()?;
    let delay = *next?;
    let wanted = response.retry_after().unwrap_or(delay);
    (wanted <= *longest).then_some(wanted.max(delay))
}

/// The next message would fail with this error, too.
fn returned(uploaded: Uploaded, error: Error) -> ImportResult {
    ImportResult::SettledAndFailed(Outcome::Returned(uploaded), error)
}

fn not_importable(message: Arc<Message>, uploaded: Uploaded, why: String) -> ImportResult {
    ImportResult::Settled(Outcome::NotImportable {
        message: Box::new(Arc::unwrap_or_clone(message)),
        uploaded,
        why,
    })
}

fn stored(response: &ApiResponse) -> ImportResult {
    let is_id = |id: &str| {
        (1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric())
    };
    let imported: Option<ImportResponse> = response.json();
    let outcome = match imported {
        Some(ImportResponse { id, label_ids }) if is_id(&id) => {
            Outcome::Delivered(Receipt::Imported(ImportedMessage {
                id,
                is_spam: label_ids.iter().any(|label| label == "SPAM"),
            }))
        }
        _ => Outcome::Uncertain("importing it: the response cannot be read".to_owned()),
    };
    ImportResult::Settled(outcome)
}
