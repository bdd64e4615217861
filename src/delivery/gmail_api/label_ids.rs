//! The ids of labels: listed once, created if need be.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::json;

use crate::delivery::gmail_api::answers::{ApiError, ApiErrorMeaning};
use crate::delivery::gmail_api::client::{ApiClient, ApiRequest, ApiResponse, RequestError};
use crate::delivery::gmail_api::upload_body::UploadBody;
use crate::delivery::gmail_api::{JSON, error_of};
use crate::error::{ErrorKind, Result};
use crate::untrusted::Untrusted;

const LABELS: &str = "/gmail/v1/users/me/labels";

/// What a request for labels is for, in errors.
pub(super) const ACTION: &str = "looking up labels";

/// The labels of the account, by name; shared by all workers.
#[derive(Default)]
pub(super) struct LabelIds(Mutex<LabelCache>);

#[derive(Default)]
struct LabelCache {
    /// `None`: not listed yet. A name that Gmail does not accept has no id.
    ids: Option<HashMap<String, Option<String>>>,
}

/// Why there is no list, or no id.
pub(super) enum LabelError {
    /// The API answered so.
    Answered(Box<ApiResponse>),
    Request(RequestError),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedLabels {
    labels: Vec<ListedLabel>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedLabel {
    id: String,
    name: String,
    /// `system` or `user`.
    #[serde(rename = "type")]
    owner: String,
}

impl From<RequestError> for LabelError {
    fn from(error: RequestError) -> LabelError {
        LabelError::Request(error)
    }
}

impl LabelIds {
    /// The ids of these labels. One that Gmail does not accept is left out, with a warning.
    ///
    /// # Errors
    /// The API is unavailable, or does not permit it.
    pub fn ids(&self, names: &[String], client: &ApiClient) -> Result<Vec<String>, LabelError> {
        let mut found = Vec::new();
        for name in names {
            found.extend(self.id(name, client)?);
        }
        Ok(found)
    }

    /// The id of a label; none, and a warning the first time, if Gmail does not accept it.
    ///
    /// # Errors
    /// As for [`ids`](LabelIds::ids).
    pub fn id(&self, name: &str, client: &ApiClient) -> Result<Option<String>, LabelError> {
        let mut cache = self.cache();
        let ids = match &mut cache.ids {
            Some(ids) => ids,
            none => none.insert(list(client)?),
        };
        if let Some(id) = ids.get(name) {
            return Ok(id.clone());
        }
        let id = create(name, client)?;
        ids.insert(name.to_owned(), id.clone());
        Ok(id)
    }

    /// One of them is gone: they are listed again.
    pub fn forget(&self) {
        self.cache().ids = None;
    }

    fn cache(&self) -> MutexGuard<'_, LabelCache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask(
    client: &ApiClient,
    method: &'static str,
    body: UploadBody,
) -> Result<ApiResponse, RequestError> {
    client.send(&ApiRequest {
        method,
        url: client.url(LABELS),
        headers: vec![("Content-Type", JSON.to_owned())],
        body,
    })
}

/// The ids of the user's labels, by name. The names of Gmail's own, such as `TRASH`, would move a message.
fn list(client: &ApiClient) -> Result<HashMap<String, Option<String>>, LabelError> {
    let response = ask(client, "GET", UploadBody::default())?;
    if !response.is_success() {
        return Err(LabelError::Answered(Box::new(response)));
    }
    let listed: Option<ListedLabels> = response.json();
    let listed = listed.ok_or_else(|| unreadable(client, "the list of labels cannot be read"))?;
    let all = listed.labels.into_iter();
    let labels = all.filter(|label| label.owner != "system" && !label.id.is_empty());
    Ok(labels.map(|label| (label.name, Some(label.id))).collect())
}

/// Creates a label, as the web interface does; returns its id, none if Gmail does not accept the name.
fn create(name: &str, client: &ApiClient) -> Result<Option<String>, LabelError> {
    let label = json!({
        "name": name,
        "labelListVisibility": "labelShow",
        "messageListVisibility": "show",
    });
    let body = UploadBody::of(label.to_string().into_bytes());
    let response = ask(client, "POST", body)?;
    let id = match response.status {
        200..=299 => return created_id(client, &response).map(Some),
        // Created meanwhile, another case of letters, or a name of Gmail's own labels.
        409 => {
            let folded = name.to_lowercase();
            let labels = list(client)?;
            let mut same = labels.into_iter();
            let same = same.find(|(listed, _)| listed.to_lowercase() == folded);
            same.and_then(|(_, id)| id)
        }
        400 if is_about_the_name(&response) => None,
        _ => return Err(LabelError::Answered(Box::new(response))),
    };
    if id.is_none() {
        let (label, why) = (Untrusted::new(name), ApiError::of(&response));
        log::warn!("no import is labelled {label}, which Gmail does not accept: {why}");
    }
    Ok(id)
}

fn is_about_the_name(response: &ApiResponse) -> bool {
    let meaning = ApiError::of(response).meaning();
    matches!(meaning, ApiErrorMeaning::Label | ApiErrorMeaning::Content)
}

fn created_id(client: &ApiClient, response: &ApiResponse) -> Result<String, LabelError> {
    let created: Option<ListedLabel> = response.json();
    let id = created.map(|label| label.id).filter(|id| !id.is_empty());
    id.ok_or_else(|| {
        let what = "the response to the creation of a label has no id";
        unreadable(client, what)
    })
}

fn unreadable(client: &ApiClient, what: &str) -> LabelError {
    let error = client.error(ErrorKind::Unavailable, what);
    LabelError::Request(RequestError::Fatal(error.during(ACTION)))
}

/// Whether the API is switched on, and permits what this program does.
pub(super) fn verify(client: &ApiClient) -> Result<()> {
    let listed = list(client).map(drop);
    listed.map_err(|failure| match failure {
        LabelError::Answered(response) => error_of(client, &response).during(ACTION),
        LabelError::Request(RequestError::NoResponse(lost)) => {
            let error = client.error(ErrorKind::Unavailable, lost.why);
            error.during(ACTION)
        }
        LabelError::Request(RequestError::Fatal(error)) => error,
    })
}
