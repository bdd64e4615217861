//! Labels of the API: their ids, and the folders that IMAP shows for them.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde_json::{Value, json};

use crate::gmail_api::error;
use crate::gmail_api::http::Answer;
use crate::store::{Folder, Store};

/// Gmail's own labels.
/// <https://developers.google.com/workspace/gmail/api/guides/labels>
const SYSTEM: [&str; 13] = [
    "INBOX",
    "UNREAD",
    "STARRED",
    "IMPORTANT",
    "SENT",
    "DRAFT",
    "SPAM",
    "TRASH",
    "CATEGORY_PERSONAL",
    "CATEGORY_SOCIAL",
    "CATEGORY_PROMOTIONS",
    "CATEGORY_UPDATES",
    "CATEGORY_FORUMS",
];

/// Those of them that no client may set.
const GIVEN_BY_GMAIL: [&str; 2] = ["SENT", "DRAFT"];

/// Names that a user may give to no label, in any case of letters.
const RESERVED: [&str; 12] = [
    "UNREAD",
    "STARRED",
    "IMPORTANT",
    "SENT",
    "DRAFT",
    "DRAFTS",
    "SPAM",
    "TRASH",
    "CHAT",
    "CHATS",
    "MUTED",
    "ALL MAIL",
];

/// The folder of a user's label has no role.
fn is_users(folder: &Folder) -> bool {
    let is_role = |attribute: &String| attribute.as_str() != "\\HasNoChildren";
    folder.name != "INBOX" && !folder.attributes.iter().any(is_role)
}

/// The id of a label.
fn id(folder: &Folder) -> String {
    if folder.name == "INBOX" {
        "INBOX".to_owned()
    } else {
        format!("Label_{}", folder.uid_validity)
    }
}

/// Where a label puts a message.
pub(super) enum LabelPlace {
    /// Into this folder, beside All Mail.
    Folder(String),
    /// Into this folder alone.
    Only(String),
    /// Nowhere: it is a flag or a category.
    None,
}

/// What a label means for the place of a message; `None` if there is no such label, or no client may set it.
pub(super) fn place_of(wanted: &str, store: &Store) -> Option<LabelPlace> {
    let only = |role: &str| {
        let folder = store.special(role)?;
        Some(LabelPlace::Only(folder.name.clone()))
    };
    match wanted {
        "SPAM" => return only("\\Junk"),
        "TRASH" => return only("\\Trash"),
        _ => {}
    }
    let mut folders = store.folders.iter();
    let found =
        folders.find(|folder| (is_users(folder) || folder.name == "INBOX") && id(folder) == wanted);
    let is_settable = SYSTEM.contains(&wanted) && !GIVEN_BY_GMAIL.contains(&wanted);
    match found {
        Some(folder) => Some(LabelPlace::Folder(folder.name.clone())),
        None => is_settable.then_some(LabelPlace::None),
    }
}

/// `users.labels.list`.
pub(super) fn list(store: &Store) -> Answer {
    let users = store.folders.iter().filter(|folder| is_users(folder));
    let users = users
        .map(|folder| json!({ "id": id(folder), "name": decode(&folder.name), "type": "user" }));
    let system = SYSTEM
        .iter()
        .map(|id| json!({ "id": id, "name": id, "type": "system" }));
    let labels: Vec<Value> = system.chain(users).collect();
    Answer::json(200, &json!({ "labels": labels }))
}

/// `users.labels.create`.
pub(super) fn create(body: &[u8], store: &mut Store) -> Answer {
    let label: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = label["name"].as_str().unwrap_or_default();
    let upper = name.to_uppercase();
    if name.is_empty() || name.contains('^') || RESERVED.contains(&upper.as_str()) {
        return error(400, "invalidArgument", "Invalid label name");
    }
    // INBOX is one of them, too.
    let is_taken = |folder: &Folder| decode(&folder.name).eq_ignore_ascii_case(name);
    if store.folders.iter().any(is_taken) {
        return error(409, "aborted", "Label name exists or conflicts");
    }
    store.create(&encode(name), &["\\HasNoChildren"]);
    let created = store.folders.last().unwrap();
    Answer::json(200, &json!({ "id": id(created), "name": name }))
}

const UTF7: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// Modified UTF-7 (RFC 3501 5.1.3).
fn encode(name: &str) -> String {
    let (mut encoded, mut shifted) = (String::new(), Vec::new());
    let flush = |shifted: &mut Vec<u8>, encoded: &mut String| {
        if !shifted.is_empty() {
            encoded.extend(["&", &UTF7.encode(&*shifted), "-"]);
            shifted.clear();
        }
    };
    for character in name.chars() {
        if (' '..='~').contains(&character) {
            flush(&mut shifted, &mut encoded);
            encoded.push(character);
            if character == '&' {
                encoded.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shifted.extend(unit.to_be_bytes());
            }
        }
    }
    flush(&mut shifted, &mut encoded);
    encoded
}

fn decode(name: &str) -> String {
    let mut decoded = String::new();
    let mut rest = name;
    while let Some((plain, shifted)) = rest.split_once('&') {
        decoded.push_str(plain);
        let (shifted, after) = shifted.split_once('-').unwrap_or((shifted, ""));
        if shifted.is_empty() {
            decoded.push('&');
        }
        let octets = UTF7.decode(shifted).unwrap_or_default();
        let units = octets
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        decoded.extend(char::decode_utf16(units).map(|it| it.unwrap_or('?')));
        rest = after;
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_decoded() {
        for (name, encoded) in [
            ("Work/2026", "Work/2026"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("R&D", "R&-D"),
            ("垃圾", "&V4NXPg-"),
        ] {
            assert_eq!(encode(name), encoded);
            assert_eq!(decode(encoded), name);
        }
    }
}
