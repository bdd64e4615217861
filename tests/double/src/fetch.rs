//! FETCH: the messages of a set, and their responses.

use crate::grammar::{Request, word};
use crate::quirks::{MessageFault, Quirk};
use crate::select;
use crate::session::{LOCKED_OUT, Session};
use crate::store::Store;
use crate::wire::Result;

/// The items of a FETCH.
mod items;
/// The response for one message.
mod message;

use items::Item;
use message::{RequestedMessage, UNASKED_ITEMS};

/// FETCH and UID FETCH. Gmail announces changes of the mailbox at its end (GMAIL.md 1.6).
pub(crate) fn fetch(session: &mut Session, request: &Request) -> Result<()> {
    let by_uid = request.name.starts_with("UID");
    let is_gmail = session.shared.gmail().is_some();
    let (sets, items) = word(&request.arguments);
    let sets = std::str::from_utf8(sets).ok();
    let set = sets.and_then(|sets| sets.try_into().ok());
    let (Some(set), Some(items)) = (set, items::read(items, is_gmail)) else {
        return session.unparsable();
    };
    let items = arrange(session, items, by_uid);
    let named = match session.shared.claimed() {
        Some(claimed) => claimed.named(&set),
        None => session.selected.as_ref().unwrap().named(&set, by_uid),
    };
    let asks_body = items.iter().any(Item::is_body);
    for (number, uid) in named {
        match message_faults(session, uid) {
            Some(MessageFault::Withheld) => {}
            Some(MessageFault::BodyWithheld) if asks_body => {}
            Some(MessageFault::Refused) if asks_body => {
                return session
                    .wire
                    .respond("NO [SERVERBUG] Internal error occurred.");
            }
            Some(MessageFault::Fatal) if asks_body => return Err(session.wire.break_off()),
            _ => respond(session, number, uid, &items)?,
        }
    }
    if by_uid {
        select::announce(session)?;
    }
    let text = session.texts.fetch;
    session.wire.respond(text)
}

/// The planned fault of a message.
fn message_faults(session: &Session, uid: u32) -> Option<MessageFault> {
    session.shared.source()?.message_faults.get(&uid).copied()
}

/// The items in the order of this server; a UID FETCH always includes the UID.
fn arrange(session: &Session, mut items: Vec<Item>, by_uid: bool) -> Vec<Item> {
    let quirks = session.shared.quirks();
    if by_uid && !items.iter().any(Item::is_uid) {
        items.insert(0, Item::uid());
    }
    if quirks.contains(&Quirk::NoInternalDate) {
        items.retain(|item| !item.is_internal_date());
    }
    if quirks.contains(&Quirk::OtherOrder) {
        items.reverse();
    }
    items
}

/// Sends the response for one message; nothing if it was expunged meanwhile.
fn respond(session: &mut Session, number: usize, uid: u32, items: &[Item]) -> Result<()> {
    let quirks = session.shared.quirks();
    let responses = if quirks.contains(&Quirk::SplitFetches) {
        let others = items.iter().filter(|item| !item.is_uid());
        let pairs = others.map(|item| [Item::uid(), item.clone()]);
        pairs
            .filter_map(|pair| response(session, number, uid, &pair))
            .collect()
    } else {
        Vec::from_iter(response(session, number, uid, items))
    };
    for response in responses {
        let size = response.len();
        session.wire.line(response)?;
        let now = session.shared.clock.now();
        let gmail = session.shared.gmail();
        if gmail.is_some_and(|gmail| gmail.downloads(size, now)) {
            session.wire.line(LOCKED_OUT)?;
            return Err(session.wire.close());
        }
        if quirks.contains(&Quirk::News) {
            send_unsolicited(session)?;
        }
    }
    Ok(())
}

/// Sends unsolicited lines that report no change.
fn send_unsolicited(session: &mut Session) -> Result<()> {
    let count = session.selected.as_ref().unwrap().uids.len();
    session.wire.line(format!("* {count} EXISTS"))?;
    session.wire.line("* 0 RECENT")?;
    session
        .wire
        .line(format!("* {count} FETCH (FLAGS (\\Seen))"))
}

/// The response for one message; `None` if it was expunged.
fn response(session: &Session, number: usize, uid: u32, items: &[Item]) -> Option<Vec<u8>> {
    let selected = session.selected.as_ref()?;
    let message_faults = message_faults(session, uid);
    let claimed = session.shared.claimed();
    let claimed = claimed.map(|claimed| claimed.message(uid));
    let mut store = session.shared.store();
    let id = match &claimed {
        Some(_) => u64::from(uid),
        None => *store.folder(&selected.mailbox)?.rows.get(&uid)?,
    };
    if items.iter().any(Item::is_reading) && !selected.is_read_only && claimed.is_none() {
        let message = store.messages.get_mut(&id)?;
        if message.flags.insert("\\Seen".to_owned()) {
            store.touch(id);
        }
    }
    let requested = RequestedMessage {
        message: claimed.as_ref().unwrap_or_else(|| &store.messages[&id]),
        id,
        uid,
        labels: labels(&store, id, &selected.mailbox, items),
        is_gmail: session.shared.gmail().is_some(),
        quirks: session.shared.quirks(),
        message_faults,
    };
    let mut values: Vec<Vec<u8>> = items.iter().map(|item| requested.value_of(item)).collect();
    if requested.quirks.contains(&Quirk::UnaskedItems) {
        values.insert(0, UNASKED_ITEMS.to_vec());
    }
    let start = format!("* {number} FETCH (").into_bytes();
    Some([start, values.join(&b' '), b")".to_vec()].concat())
}

/// The other labels of a message, if the items include labels (GMAIL.md 4).
fn labels(store: &Store, id: u64, mailbox: &str, items: &[Item]) -> Vec<String> {
    if !items.iter().any(Item::is_labels) {
        return Vec::new();
    }
    let others = store.folders.iter().filter(|folder| folder.name != mailbox);
    let holding = others.filter(|folder| folder.rows.values().any(|held| *held == id));
    holding.filter_map(message::label).collect()
}
