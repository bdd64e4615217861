//! Uploads: in one request, or in several.
//! <https://developers.google.com/workspace/gmail/api/guides/uploads>

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::gmail_api::http::{Answer, Head};
use crate::gmail_api::import::{MAX_SIZE, import};
use crate::gmail_api::{ApiState, error};

/// Below it are the addresses of resumable uploads.
pub(super) const SESSIONS: &str = "/resumable/session/";

/// A server keeps whole blocks of this size of what was cut.
const BLOCK: usize = 256 << 10;

/// A resumable upload.
#[derive(Debug, Clone, Default)]
struct ResumableUpload {
    metadata: Value,
    query: BTreeMap<String, String>,
    /// The size of the message, if the client has said it.
    length: Option<usize>,
    received: Vec<u8>,
    /// The final answer, and from when on it is given.
    done: Option<(DateTime<Utc>, Answer)>,
}

/// The resumable uploads, by the number in their address.
#[derive(Default)]
pub(super) struct Uploads {
    begun: BTreeMap<String, ResumableUpload>,
    count: usize,
}

impl Uploads {
    /// Begins a resumable upload.
    pub fn begin(&mut self, head: &Head, body: &[u8], root: &str) -> Answer {
        if head.field("x-upload-content-type") != "message/rfc822" {
            return error(400, "badRequest", "Media type is not supported");
        }
        let length = head.field("x-upload-content-length").parse().ok();
        if length.is_some_and(|length| length > MAX_SIZE) {
            return error(413, "uploadTooLarge", "Request is too large.");
        }
        self.count += 1;
        let number = self.count.to_string();
        let address = format!("{root}{SESSIONS}{number}");
        let upload = ResumableUpload {
            metadata: serde_json::from_slice(body).unwrap_or_default(),
            query: head.query.clone(),
            length,
            ..ResumableUpload::default()
        };
        self.begun.insert(number, upload);
        Answer {
            status: 200,
            fields: vec![("Location", address)],
            body: String::new(),
        }
    }

    /// Keeps these octets of a part, and answers with what there is now.
    pub fn keep_exactly(&mut self, head: &Head, octets: &[u8]) -> Answer {
        let number = head.path.strip_prefix(SESSIONS).unwrap_or_default();
        let upload = self.begun.get_mut(number);
        upload.map_or_else(Answer::default, |upload| {
            upload.add(first_octet(head), octets);
            upload.incomplete()
        })
    }

    /// Keeps what came of a request that was cut.
    pub fn keep(&mut self, head: &Head, body: &[u8]) {
        let number = head.path.strip_prefix(SESSIONS).unwrap_or_default();
        if let Some(upload) = self.begun.get_mut(number) {
            upload.add(first_octet(head), whole_blocks(body));
        }
    }
}

fn whole_blocks(octets: &[u8]) -> &[u8] {
    &octets[..octets.len() / BLOCK * BLOCK]
}

impl ResumableUpload {
    fn is_complete(&self) -> bool {
        self.length == Some(self.received.len())
    }

    /// The answer with what there is.
    fn incomplete(&self) -> Answer {
        let last = self.received.len().checked_sub(1);
        let range = last.map(|last| ("Range", format!("bytes=0-{last}")));
        Answer {
            status: 308,
            fields: range.into_iter().collect(),
            body: String::new(),
        }
    }

    fn add(&mut self, at: Option<usize>, octets: &[u8]) {
        if at == Some(self.received.len()) {
            self.received.extend_from_slice(octets);
        }
    }
}

/// The `a` of `Content-Range: bytes a-b/n`; none for a question.
fn first_octet(head: &Head) -> Option<usize> {
    let range = head.field("content-range");
    if range.is_empty() {
        return Some(0);
    }
    let (first, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    first.parse().ok()
}

/// The `n` of `Content-Range: bytes a-b/n`; without the field, the part is the whole message.
fn length_of_all(head: &Head, body: &[u8]) -> Option<usize> {
    let range = head.field("content-range");
    if range.is_empty() {
        return Some(body.len());
    }
    range.rsplit_once('/')?.1.parse().ok()
}

/// A message in one request. With a time, it is stored only then.
pub(super) fn whole(
    head: &Head,
    body: &[u8],
    due: Option<DateTime<Utc>>,
    state: &ApiState,
) -> Answer {
    match parts(head, body) {
        Some((metadata, message)) => import(&metadata, &message, &head.query, due, state),
        None => error(400, "badRequest", "Media type is not supported"),
    }
}

/// A part of an upload, or the question how much there is. With a time, the whole message is stored only
/// then.
pub(super) fn resume(
    head: &Head,
    body: &[u8],
    due: Option<DateTime<Utc>>,
    state: &ApiState,
) -> Answer {
    let number = head.path.strip_prefix(SESSIONS).unwrap_or_default();
    let mut uploads = state.uploads.lock().unwrap();
    let Some(upload) = uploads.begun.get_mut(number) else {
        return error(404, "notFound", "Upload session not found");
    };
    let now = state.gmail.clock.now();
    if let Some((since, done)) = &upload.done {
        return if *since <= now {
            done.clone()
        } else {
            error(503, "backendError", "Backend Error")
        };
    }
    upload.length = upload.length.or_else(|| length_of_all(head, body));
    let (before, first) = (upload.received.len(), first_octet(head));
    upload.add(first, body);
    if !upload.is_complete() {
        // Only the last part may end within a block.
        let kept = before + (upload.received.len() - before) / BLOCK * BLOCK;
        upload.received.truncate(kept);
        return upload.incomplete();
    }
    let message = std::mem::take(&mut upload.received);
    let answer = import(&upload.metadata, &message, &upload.query, due, state);
    upload.done = Some((due.unwrap_or(now), answer.clone()));
    answer
}

/// The metadata and the message of a `multipart/related` body (RFC 2387).
fn parts(head: &Head, body: &[u8]) -> Option<(Value, Vec<u8>)> {
    let kind = head.field("content-type");
    if head.query("uploadType") == "media" {
        return (kind == "message/rfc822").then(|| (Value::Null, body.to_vec()));
    }
    let boundary = kind.strip_prefix("multipart/related; boundary=")?;
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let body = body.strip_prefix(delimiter.as_bytes())?;
    let between = format!("\r\n{delimiter}");
    let (metadata, rest) = cut(body, between.as_bytes())?;
    let (message, end) = cut(rest, between.as_bytes())?;
    if end.trim_ascii() != b"--" {
        return None;
    }
    let (metadata_head, metadata) = cut(metadata, b"\r\n\r\n")?;
    let (message_head, message) = cut(message, b"\r\n\r\n")?;
    let is = |head: &[u8], kind: &str| String::from_utf8_lossy(head).contains(kind);
    if !is(metadata_head, "application/json") || !is(message_head, "message/rfc822") {
        return None;
    }
    Some((serde_json::from_slice(metadata).ok()?, message.to_vec()))
}

fn cut<'a>(octets: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = octets.windows(at.len()).position(|part| part == at)?;
    Some((&octets[..found], &octets[found + at.len()..]))
}
