//! What an import stores (GMAIL.md 6.2).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::gmail_api::http::Answer;
use crate::gmail_api::labels::{self, LabelPlace};
use crate::gmail_api::{ApiState, error};
use crate::header;
use crate::store::Arrival;

/// The largest message (`maxSize` of the discovery document).
pub(super) const MAX_SIZE: usize = 157_286_400;

/// A message on its way into the account.
struct Imported {
    arrival: Arrival,
    label_ids: Vec<String>,
}

/// `users.messages.import`. With a time, the message is stored only then.
///
/// Whether Gmail takes an equal message for the same one, as with APPEND (GMAIL.md 3.4), no source says of
/// messages with a Message-ID. Here it does not, so that a message that is sent twice is there twice.
pub(super) fn import(
    metadata: &Value,
    message: &[u8],
    query: &BTreeMap<String, String>,
    due: Option<DateTime<Utc>>,
    state: &ApiState,
) -> Answer {
    let imported = match read(metadata, message, query, state) {
        Ok(imported) => imported,
        Err(refusal) => return refusal,
    };
    let due = due.unwrap_or_else(|| state.gmail.clock.now());
    let mut store = state.gmail.store();
    let key = store.add_later(imported.arrival, Some(due));
    store.store_due(state.gmail.clock.now());
    let id = format!("{key:x}");
    Answer::json(
        200,
        &json!({ "id": id, "threadId": id, "labelIds": imported.label_ids }),
    )
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
    let (mut folders, mut only) = (Vec::new(), None);
    for id in &ids {
        match labels::place_of(id, &store) {
            Some(LabelPlace::Folder(folder)) => folders.push(folder),
            Some(LabelPlace::Only(folder)) => only = Some(folder),
            Some(LabelPlace::None) => {}
            None => {
                let message = format!("Invalid label: {id}");
                return Err(error(400, "invalidArgument", &message));
            }
        }
    }
    let special = |role: &str| store.special(role).unwrap().name.clone();
    let (folders, label_ids) = if is_spam {
        let ids = ids.iter().filter(|id| *id != "INBOX").cloned();
        let ids = ids.chain(["SPAM".to_owned()]).collect();
        (vec![special("\\Junk")], ids)
    } else if let Some(only) = only {
        (vec![only], ids.clone())
    } else if folders.is_empty() {
        (vec![special("\\All")], ids.clone())
    } else {
        (folders, ids.clone())
    };
    let mut folders = folders.into_iter();
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
            folder: folders.next().unwrap(),
            others: folders.collect(),
            octets: with_trace_fields(message, now),
            internal_date: sent.unwrap_or_else(|| now.fixed_offset()),
            flags,
            is_unique: false,
            index_delay: state.gmail.gmail().unwrap().options().index_delay,
        },
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
