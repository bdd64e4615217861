//! STORE, COPY, MOVE and EXPUNGE, as Gmail does them; at a source they are violations.

use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::flag::{StoreResponse, StoreType};
use imap_codec::imap_types::sequence::SequenceSet;

use crate::grammar::{Reader, Request};
use crate::select;
use crate::session::Session;
use crate::store::Store;
use crate::strings::quoted;
use crate::wire::Result;

const READ_ONLY: &str = "NO STORE attempt on READ-ONLY folder (Failure)";

/// The new value of a STORE: flags or labels.
enum NewValue {
    Flags(Vec<String>),
    Labels(Vec<String>),
}

struct Change {
    set: SequenceSet,
    kind: StoreType,
    value: NewValue,
    is_silent: bool,
}

/// STORE and UID STORE.
pub(crate) fn store(session: &mut Session, request: &Request) -> Result<()> {
    let by_uid = request.name.starts_with("UID");
    if refuses(session)? {
        return Ok(());
    }
    let change = read_labels(request).or_else(|| read_flags(request));
    let Some(change) = change else {
        return session.unparsable();
    };
    if let NewValue::Labels(labels) = &change.value
        && let Some(refusal) = labels.iter().find_map(|label| refusal_of_name(label))
    {
        return session.wire.respond(refusal);
    }
    let selected = session.selected.clone().unwrap();
    for (number, uid) in selected.named(&change.set, by_uid) {
        let response = apply(session, &selected.mailbox, &change, uid);
        let uid_item = if by_uid {
            format!("UID {uid} ")
        } else {
            String::new()
        };
        if let Some(response) = response.filter(|_| !change.is_silent) {
            session
                .wire
                .line(format!("* {number} FETCH ({uid_item}{response})"))?;
        }
    }
    // Gmail removes messages marked \Deleted at once (GMAIL.md 3.5).
    select::announce(session)?;
    session.wire.respond("OK Success")
}

/// COPY adds a label.
pub(crate) fn copy(session: &mut Session, set: &SequenceSet, to: &str, by_uid: bool) -> Result<()> {
    if refuses(session)? || refuses_target(session, to)? {
        return Ok(());
    }
    let code = relabel(session, set, to, by_uid, false);
    session.wire.respond(&format!("OK {code} (Success)"))
}

/// MOVE (RFC 6851) replaces the label.
pub(crate) fn relocate(
    session: &mut Session,
    set: &SequenceSet,
    to: &str,
    by_uid: bool,
) -> Result<()> {
    if refuses(session)? || refuses_target(session, to)? {
        return Ok(());
    }
    let code = relabel(session, set, to, by_uid, true);
    session.wire.line(format!("* OK {code}"))?;
    select::announce(session)?;
    session.wire.respond("OK Success")
}

/// Why Gmail refuses a label for its name, as it refuses it to CREATE (GMAIL.md 1.5).
pub(crate) fn refusal_of_name(name: &str) -> Option<&'static str> {
    if name.trim() != name || name.contains("  ") {
        return Some("NO [CANNOT] Folder contains excess whitespace (Failure)");
    }
    let is_refused = name.contains('^');
    is_refused.then_some("NO [CANNOT] Invalid folder name (Failure)")
}

/// EXPUNGE never finds anything: \Deleted messages are removed at once.
pub(crate) fn expunge(session: &mut Session) -> Result<()> {
    if refuses(session)? {
        return Ok(());
    }
    select::announce(session)?;
    session.wire.respond("OK Success")
}

/// Rejects changes of a source and of a mailbox opened by EXAMINE.
fn refuses(session: &mut Session) -> Result<bool> {
    if session.shared.gmail().is_none() {
        session
            .shared
            .violation("the client tried to change the source");
        session.unparsable()?;
        return Ok(true);
    }
    let is_read_only = session
        .selected
        .as_ref()
        .is_some_and(|selected| selected.is_read_only);
    if is_read_only {
        session.wire.respond(READ_ONLY)?;
    }
    Ok(is_read_only)
}

fn refuses_target(session: &mut Session, to: &str) -> Result<bool> {
    let exists = select::openable(session, &session.shared.store(), to).is_some();
    if !exists {
        session
            .wire
            .respond(&format!("NO [TRYCREATE] No folder {to} (Failure)"))?;
    }
    Ok(!exists)
}

fn relabel(session: &Session, set: &SequenceSet, to: &str, by_uid: bool, moves: bool) -> String {
    let selected = session.selected.as_ref().unwrap();
    let mut store = session.shared.store();
    let (mut from, mut into) = (Vec::new(), Vec::new());
    for (_, uid) in selected.named(set, by_uid) {
        let rows = &store.folder(&selected.mailbox).unwrap().rows;
        let Some(&key) = rows.get(&uid) else { continue };
        from.push(uid.to_string());
        into.push(store.relabel(key, to).to_string());
        if moves {
            store.expunge(&selected.mailbox, uid);
        }
    }
    let uid_validity = store.folder(to).unwrap().uid_validity;
    format!(
        "[COPYUID {uid_validity} {} {}]",
        from.join(","),
        into.join(",")
    )
}

fn read_flags(request: &Request) -> Option<Change> {
    let Some(CommandBody::Store {
        sequence_set,
        kind,
        response,
        flags,
        ..
    }) = request.decode()
    else {
        return None;
    };
    Some(Change {
        set: sequence_set,
        kind,
        value: NewValue::Flags(flags.iter().map(ToString::to_string).collect()),
        is_silent: response == StoreResponse::Silent,
    })
}

/// Parses `1:2 +X-GM-LABELS (a "b c")`, which imap-codec does not know.
fn read_labels(request: &Request) -> Option<Change> {
    let mut reader = Reader::new(&request.arguments);
    let set = reader.atom()?.as_str().try_into().ok()?;
    reader.blank()?;
    let name = reader.atom()?.to_ascii_uppercase();
    let (kind, name) = match name.split_at(1) {
        ("+", name) => (StoreType::Add, name),
        ("-", name) => (StoreType::Remove, name),
        _ => (StoreType::Replace, name.as_str()),
    };
    let is_silent = name == "X-GM-LABELS.SILENT";
    if name != "X-GM-LABELS" && !is_silent {
        return None;
    }
    reader.blank()?;
    let mut labels = Vec::new();
    if !reader.takes("(") {
        labels.push(label(&mut reader)?);
    } else if !reader.takes(")") {
        loop {
            labels.push(label(&mut reader)?);
            if reader.takes(")") {
                break;
            }
            reader.blank()?;
        }
    }
    let value = NewValue::Labels(labels);
    reader.is_at_end().then_some(Change {
        set,
        kind,
        value,
        is_silent,
    })
}

/// A label: an astring, or a system one with a bare backslash.
fn label(reader: &mut Reader<'_>) -> Option<String> {
    if reader.takes("\\") {
        return Some(format!("\\{}", reader.atom()?));
    }
    String::from_utf8(reader.astring()?).ok()
}

/// Changes one message; returns its new state as FETCH reports it.
fn apply(session: &Session, mailbox: &str, change: &Change, uid: u32) -> Option<String> {
    let mut store = session.shared.store();
    let key = *store.folder(mailbox)?.rows.get(&uid)?;
    store.touch(key);
    match &change.value {
        NewValue::Flags(flags) => {
            let message = store.messages.get_mut(&key)?;
            match change.kind {
                StoreType::Replace => message.flags = flags.iter().cloned().collect(),
                StoreType::Add => message.flags.extend(flags.iter().cloned()),
                StoreType::Remove => message.flags.retain(|flag| !flags.contains(flag)),
            }
            let shown: Vec<&str> = message.flags.iter().map(String::as_str).collect();
            let shown = format!("FLAGS ({})", shown.join(" "));
            if message.flags.remove("\\Deleted") {
                store.expunge(mailbox, uid);
            }
            Some(shown)
        }
        NewValue::Labels(labels) => {
            apply_labels(&mut store, key, change.kind, labels);
            let labels: Vec<String> = labels.iter().map(|label| quoted(label)).collect();
            Some(format!("X-GM-LABELS ({})", labels.join(" ")))
        }
    }
}

fn apply_labels(store: &mut Store, key: u64, kind: StoreType, labels: &[String]) {
    let names: Vec<String> = labels.iter().map(|label| folder_of(store, label)).collect();
    if kind != StoreType::Add {
        let is_dropped = |name: &String| match kind {
            StoreType::Remove => names.contains(name),
            _ => !names.contains(name),
        };
        store.unlabel(key, |folder| {
            !folder.is("\\All") && is_dropped(&folder.name)
        });
    }
    if kind != StoreType::Remove {
        for name in &names {
            if store.folder(name).is_none() {
                store.create(name, &["\\HasNoChildren"]);
            }
            store.relabel(key, name);
        }
    }
}

/// The folder of a label.
fn folder_of(store: &Store, label: &str) -> String {
    let attribute = match label {
        "\\Inbox" => return "INBOX".to_owned(),
        "\\Draft" => "\\Drafts",
        "\\Starred" => "\\Flagged",
        "\\Spam" => "\\Junk",
        other => other,
    };
    let special = store.special(attribute).filter(|_| label.starts_with('\\'));
    special.map_or_else(|| label.to_owned(), |folder| folder.name.clone())
}
