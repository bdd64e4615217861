//! Uploads of messages: in one request with its metadata, or resumable in several.
//! <https://developers.google.com/workspace/gmail/api/guides/uploads>

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use crate::delivery::gmail_api::JSON;
use crate::delivery::gmail_api::answers::ApiError;
use crate::delivery::gmail_api::client::{
    ApiClient, ApiRequest, ApiResponse, LostRequest, RequestError, SentBody,
};
use crate::delivery::gmail_api::upload_body::UploadBody;
use crate::message::Message;
use crate::process::cancel::WakeOn;
use crate::retry::RESUME_DELAYS;
use crate::untrusted::Untrusted;

/// Larger messages are uploaded so that a broken connection does not cost all of it.
const MIN_RESUMABLE_LENGTH: usize = 5 << 20;

/// What a resumed upload must have gained, unless the waits between attempts go on: servers keep blocks of
/// this size, and one that keeps less would be asked without end.
const MIN_PROGRESS: usize = 256 << 10;

const IMPORT: &str = "gmail/v1/users/me/messages/import";

/// A message to be uploaded.
pub(super) struct Upload<'a> {
    pub message: &'a Arc<Message>,
    /// The metadata, as JSON.
    pub metadata: String,
    /// The parameters of the import: `neverMarkSpam=false&…`.
    pub parameters: String,
}

/// Why there is no response to the message.
pub(super) enum UploadError {
    /// The upload did not begin, and nothing of the message was sent: the server answered so.
    NotBegun(Box<ApiResponse>),
    Request(RequestError),
}

impl From<RequestError> for UploadError {
    fn from(error: RequestError) -> UploadError {
        UploadError::Request(error)
    }
}

impl Upload<'_> {
    /// Uploads the message; the response says what became of it.
    pub fn send(&self, client: &ApiClient) -> Result<ApiResponse, UploadError> {
        if self.message.octets.len() >= MIN_RESUMABLE_LENGTH {
            self.send_resumable(client)
        } else {
            Ok(client.send(&self.multipart(client))?)
        }
    }

    /// Metadata and message in one request (RFC 2387).
    fn multipart(&self, client: &ApiClient) -> ApiRequest {
        let boundary = boundary_for(&self.message.octets);
        let before = format!(
            "--{boundary}\r\nContent-Type: {JSON}\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: message/rfc822\r\n\r\n",
            self.metadata
        );
        let after = format!("\r\n--{boundary}--\r\n");
        let parameters = &self.parameters;
        ApiRequest {
            method: "POST",
            url: client.url(&format!(
                "/upload/{IMPORT}?uploadType=multipart&{parameters}"
            )),
            headers: vec![(
                "Content-Type",
                format!("multipart/related; boundary=\"{boundary}\""),
            )],
            body: UploadBody::around(
                before.into_bytes(),
                Arc::clone(self.message),
                after.into_bytes(),
            ),
        }
    }

    /// First the metadata, then the message. After a broken connection the server says what it has. A server
    /// that does not say where to upload the message gets it in one request.
    fn send_resumable(&self, client: &ApiClient) -> Result<ApiResponse, UploadError> {
        let begun = client.send(&self.beginning(client)).map_err(|error| {
            // Nothing of the message.
            with_sent(error, SentBody::Nothing)
        })?;
        if !begun.is_success() {
            return Err(UploadError::NotBegun(Box::new(begun)));
        }
        let own = begun.header("Location").filter(|url| client.is_own(url));
        let Some(session) = own.map(str::to_owned) else {
            // Another address would get the access token. Waiting would not help, either.
            log::debug!(
                "the Gmail API names no address of its own for an upload; sending it as a whole"
            );
            return Ok(client.send(&self.multipart(client))?);
        };
        Ok(self.send_in_session(&session, client)?)
    }

    fn beginning(&self, client: &ApiClient) -> ApiRequest {
        let parameters = &self.parameters;
        ApiRequest {
            method: "POST",
            url: client.url(&format!(
                "/resumable/upload/{IMPORT}?uploadType=resumable&{parameters}"
            )),
            headers: vec![
                ("Content-Type", JSON.to_owned()),
                ("X-Upload-Content-Type", "message/rfc822".to_owned()),
                (
                    "X-Upload-Content-Length",
                    self.message.octets.len().to_string(),
                ),
            ],
            body: UploadBody::of(self.metadata.clone().into_bytes()),
        }
    }

    fn send_in_session(
        &self,
        session: &str,
        client: &ApiClient,
    ) -> Result<ApiResponse, RequestError> {
        let mut delays = RESUME_DELAYS.iter();
        let (mut offset, mut furthest, mut sent) = (0, 0, SentBody::Nothing);
        loop {
            let mut result = client.send(&self.rest(session, offset));
            if !may_be_resumed(&result) {
                return unless_sent_before(result, sent);
            }
            sent = sent.max(match &result {
                Err(RequestError::NoResponse(lost)) => lost.sent,
                // A server that has failed may have stored it all the same.
                _ => SentBody::All,
            });
            // What the server has shows whether the message is complete.
            let length = self.message.octets.len();
            loop {
                let Some(delay) = delays.next() else {
                    return result.map_err(|error| with_sent(error, sent));
                };
                let until = Instant::now() + *delay;
                // Fails only if `poll` does; then the next request follows at once.
                let _ = client.canceller().wait(None, until, WakeOn::CancelOnly);
                let asked = client.send(&self.question(session));
                if !may_be_resumed(&asked) {
                    return unless_sent_before(asked, sent);
                }
                let has = asked
                    .as_ref()
                    .ok()
                    .and_then(|response| received(response, length));
                if let Some(received) = has.filter(|received| *received < length) {
                    log::debug!("the Gmail API has {received} of {length} octets; going on");
                    if received.saturating_sub(furthest) >= MIN_PROGRESS {
                        furthest = received;
                        delays = RESUME_DELAYS.iter();
                    }
                    offset = received;
                    break;
                }
                result = asked.map_err(|error| with_sent(error, sent));
            }
        }
    }

    /// The message from this octet on.
    fn rest(&self, session: &str, offset: usize) -> ApiRequest {
        let length = self.message.octets.len();
        ApiRequest {
            method: "PUT",
            url: session.to_owned(),
            headers: vec![(
                "Content-Range",
                format!("bytes {offset}-{}/{length}", length.saturating_sub(1)),
            )],
            body: UploadBody::rest_of(Arc::clone(self.message), offset),
        }
    }

    /// Asks how much the server has.
    fn question(&self, session: &str) -> ApiRequest {
        let length = self.message.octets.len();
        ApiRequest {
            method: "PUT",
            url: session.to_owned(),
            headers: vec![("Content-Range", format!("bytes */{length}"))],
            body: UploadBody::default(),
        }
    }
}

/// Whether the upload goes on: the connection was lost, the server has failed, or it has not all octets
/// (status 308).
fn may_be_resumed(result: &Result<ApiResponse, RequestError>) -> bool {
    match result {
        Ok(response) => matches!(response.status, 308 | 408 | 500..),
        Err(RequestError::NoResponse(_)) => true,
        Err(RequestError::Fatal(_)) => false,
    }
}

/// The result of an upload, unless that says nothing of what was sent before. When the message may have been
/// complete, only a success tells more: any other status is about this request, such as the question.
fn unless_sent_before(
    result: Result<ApiResponse, RequestError>,
    sent: SentBody,
) -> Result<ApiResponse, RequestError> {
    let why = match &result {
        Ok(response) if matches!(response.status, 404 | 410) => {
            "it no longer knows the upload".to_owned()
        }
        Ok(response) if sent == SentBody::All && !response.is_success() => {
            let error = ApiError::of(response);
            format!("it does not say whether it has the message: {error}")
        }
        Err(RequestError::Fatal(error)) if sent != SentBody::Nothing => error.to_string(),
        _ => return result,
    };
    Err(RequestError::NoResponse(LostRequest { why, sent }))
}

fn with_sent(error: RequestError, sent: SentBody) -> RequestError {
    match error {
        RequestError::NoResponse(lost) => RequestError::NoResponse(LostRequest { sent, ..lost }),
        fatal @ RequestError::Fatal(_) => fatal,
    }
}

/// How many octets the server has, by a response of status 308.
fn received(response: &ApiResponse, length: usize) -> Option<usize> {
    if response.status != 308 {
        return None;
    }
    let Some(range) = response.header("Range") else {
        return Some(0);
    };
    let last = range.rsplit('-').next().and_then(|last| last.parse().ok());
    let received = last.and_then(|last: usize| last.checked_add(1));
    if received.is_none_or(|received| received > length) {
        log::debug!("the Gmail API sends the range {}", Untrusted::new(range));
        return None;
    }
    received
}

/// A delimiter that is not in the message (RFC 2046 5.1.1).
fn boundary_for(octets: &[u8]) -> String {
    loop {
        let random = || RandomState::new().build_hasher().finish();
        let boundary = format!("{:016x}{:016x}", random(), random());
        let is_free = !octets
            .windows(boundary.len())
            .any(|window| window == boundary.as_bytes());
        if is_free {
            return boundary;
        }
    }
}
