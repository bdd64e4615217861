//! Why an attempt to import a message has no success.

use crate::delivery::gmail_api::client::{ApiResponse, LostRequest, RequestError, SentBody};
use crate::delivery::gmail_api::label_ids::{self, LabelError};
use crate::delivery::gmail_api::upload::UploadError;
use crate::error::Error;

pub(super) enum ImportError {
    Answered(Refusal),
    NoResponse(LostRequest),
    /// Another request would fail, too.
    Fatal(Error),
    /// The API has no label for the target folder.
    NoFolderLabel,
}

/// An answer that is no success.
pub(super) struct Refusal {
    pub response: Box<ApiResponse>,
    /// To which request.
    pub step: ImportStep,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportStep {
    /// To list labels, or to create one.
    Labels,
    /// To begin an upload.
    Beginning,
    /// To upload the message.
    Message,
}

impl ImportStep {
    /// What it does, in errors.
    pub fn action(self) -> &'static str {
        match self {
            ImportStep::Labels => label_ids::ACTION,
            ImportStep::Beginning | ImportStep::Message => "importing a message",
        }
    }
}

impl ImportError {
    pub fn answered(response: Box<ApiResponse>, step: ImportStep) -> ImportError {
        ImportError::Answered(Refusal { response, step })
    }
}

impl From<RequestError> for ImportError {
    fn from(error: RequestError) -> ImportError {
        match error {
            RequestError::NoResponse(lost) => ImportError::NoResponse(lost),
            RequestError::Fatal(error) => ImportError::Fatal(error),
        }
    }
}

impl From<UploadError> for ImportError {
    fn from(error: UploadError) -> ImportError {
        match error {
            UploadError::NotBegun(response) => {
                ImportError::answered(response, ImportStep::Beginning)
            }
            UploadError::Request(error) => error.into(),
        }
    }
}

impl From<LabelError> for ImportError {
    fn from(error: LabelError) -> ImportError {
        match error {
            LabelError::Answered(response) => ImportError::answered(response, ImportStep::Labels),
            LabelError::Request(RequestError::NoResponse(lost)) => {
                // Nothing of the message.
                let sent = SentBody::Nothing;
                ImportError::NoResponse(LostRequest { sent, ..lost })
            }
            LabelError::Request(error) => error.into(),
        }
    }
}
