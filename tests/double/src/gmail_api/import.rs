//! What an import stores (GMAIL.md 6.2).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::gmail::IndexDelay;
use crate::gmail_api::http::{Answer, Head};
use crate::gmail_api::{ApiState, error, labels, upload};
use crate::header;
use crate::store::Arrival;

/// The largest message (`maxSize` of the discovery document).
pub(super) const MAX_SIZE: usize = 157_286_400;

/// A message on its way into the account.
struct Imported {
    arrival: Arrival,
    /// Further folders.
    others: Vec<String>,
    label_ids: Vec<String>,
}

/// `users.messages.import`.
///
/// Whether Gmail takes an equal message for the same one, as with APPEND (GMAIL.md 3.4), no source says of
/// messages with a Message-ID. Here it does not, so that a message that is sent twice is there twice.
pub(super) fn import(
    metadata: &Value,
    message: &[u8],
    query: &BTreeMap<String, String>,
    state: &ApiState,
) -> Answer {
    let imported = match read(metadata, message, query, state) {
        Ok(imported) => imported,
        Err(refusal) => return refusal,
    };
    let now = state.gmail.clock.now();
    let mut store = state.gmail.store();
    let folder = imported.arrival.folder.clone();
    let uid = store.add(imported.arrival, now);
    let key = store.folder(&folder).unwrap().rows[&uid];
    for other in imported.others {
        store.relabel(key, &other);
    }
    let id = format!("{key:x}");
    Answer::json(
        200,
        &json!({ "id": id, "threadId": id, "labelIds": imported.label_ids }),
    )
}

/// Stores the message of a request at this time.
pub(super) fn store_later(head: &Head, body: &[u8], due: DateTime<Utc>, state: &ApiState) {
    if let Some((metadata, message)) = upload::parts(head, body)
        && let Ok(imported) = read(&metadata, &message, &head.query, state)
    {
        state.gmail.store().add_later(imported.arrival, Some(due));
    }
}

fn read(
    metadata: &Value,
    message: &[u8],
    query: &BTreeMap<String, String>,
    state: &ApiState,
) -> Result<Imported, Answer> {
    if message.len() > MAX_SIZE {
        return Err(error(413, "uploadTooLarge", "Request is too large."));
    }
    if header::fields(message).is_empty() {
        return Err(error(
            400,
            "invalidArgument",
            "'raw' RFC822 payload message string invalid",
        ));
    }
    let asks = |name: &str| query.get(name).is_some_and(|value| value == "true");
    let ids = metadata["labelIds"].as_array().cloned().unwrap_or_default();
    let ids: Vec<String> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let is_spam = (state.is_spam.lock().unwrap())(message) && !asks("neverMarkSpam");
    let store = state.gmail.store();
    let mut folders = Vec::new();
    for id in &ids {
        match labels::folder_of(id, &store) {
            Some(folder) => folders.push(folder),
            None if labels::is_system(id) => {}
            None => {
                let message = format!("Invalid label: {id}");
                return Err(error(400, "invalidArgument", &message));
            }
        }
    }
    let special = |role: &str| store.special(role).unwrap().name.clone();
    let (folder, others, label_ids) = if is_spam {
        let ids = ids.iter().filter(|id| *id != "INBOX").cloned();
        (
            special("\\Junk"),
            Vec::new(),
            ids.chain(["SPAM".to_owned()]).collect(),
        )
    } else if folders.is_empty() {
        (special("\\All"), Vec::new(), ids.clone())
    } else {
        let first = folders.remove(0);
        (first, folders, ids.clone())
    };
    let has = |id: &str| ids.iter().any(|it| it == id);
    let mut flags = BTreeSet::new();
    if !has("UNREAD") {
        flags.insert("\\Seen".to_owned());
    }
    if has("STARRED") {
        flags.insert("\\Flagged".to_owned());
    }
    let now = state.gmail.clock.now();
    let by_header = query
        .get("internalDateSource")
        .is_none_or(|it| it == "dateHeader");
    let sent = header::first(message, "Date").filter(|_| by_header);
    let sent =
        sent.and_then(|date| DateTime::parse_from_rfc2822(&String::from_utf8_lossy(&date)).ok());
    Ok(Imported {
        arrival: Arrival {
            folder,
            octets: with_trace_fields(message, now),
            internal_date: sent.unwrap_or_else(|| now.fixed_offset()),
            flags,
            is_unique: false,
            index_delay: IndexDelay::None,
        },
        others,
        label_ids,
    })
}

/// The fields that an import adds.
fn with_trace_fields(message: &[u8], now: DateTime<Utc>) -> Vec<u8> {
    let date = now.format("%a, %d %b %Y %H:%M:%S %z");
    let trace = format!(
        "Delivered-To: double@gmail.com\r\n\
         Received: by 2002:a05:7300:1 with SMTP id double;\r\n        {date}\r\n\
         X-Google-Smtp-Source: AGHT+double\r\n\
         X-Received: by 2002:a05:6512:1 with SMTP id double; {date}\r\n\
         Received: from 1234567890 named unknown by gmailapi.google.com with HTTPREST; {date}\r\n"
    );
    [trace.as_bytes(), message].concat()
}
