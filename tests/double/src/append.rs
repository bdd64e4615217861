//! APPEND: the message literal, Gmail's rejections, and appends that were cut.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use imap_codec::imap_types::command::CommandBody;

use crate::events::EventKind;
use crate::gmail::{AppendResponse, GmailState, IndexDelay};
use crate::grammar::{Literal, decode, name};
use crate::header;
use crate::login;
use crate::select;
use crate::session::{LOCKED_OUT, Session};
use crate::store::Arrival;
use crate::wire::{Action, Result};

/// The flags that a client may set.
const KNOWN_FLAGS: [&str; 5] = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];

/// GMAIL.md 3.2.
const TOO_BIG: &str =
    "BAD [TOOBIG] Message too large. https://support.google.com/mail/answer/6584#limit";
const NO_FOLDER: &str = "NO [TRYCREATE] Folder doesn't exist. (Failure)";
const STORAGE_FULL: &str = "NO [OVERQUOTA] Not enough disk space (Failure)";
const NUL: &str = "* BYE Invalid character in literal.";
const NO_FLAG: &str = "BAD Invalid Arguments: Unable to parse flag";
const NO_MESSAGE: &str = "BAD Invalid Arguments: Unable to parse message";

/// The effect of an APPEND whose connection is cut after its literal has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfinished {
    /// The message is not stored.
    #[default]
    Forgotten,
    /// It is stored at once.
    Stored,
    /// It is stored after this time, by the server's clock.
    StoredAfter(Duration),
    /// It is stored when the test calls `Mailboxes::store_unfinished`.
    StoredWhenTold,
}

/// The arguments before the literal.
struct Head {
    folder: String,
    flags: BTreeSet<String>,
    date: Option<DateTime<FixedOffset>>,
}

/// Whether the literal announced at the end of this command is a message: an APPEND's is, unless it
/// is the name of the mailbox.
pub(crate) fn is_message(octets: &[u8]) -> bool {
    let words: Vec<&[u8]> = octets.splitn(3, |&octet| octet == b' ').collect();
    match words[..] {
        [_, command, arguments] => {
            command.eq_ignore_ascii_case(b"APPEND") && !arguments.starts_with(b"{")
                || command.eq_ignore_ascii_case(b"APPEND") && arguments.contains(&b'\n')
        }
        _ => false,
    }
}

/// APPEND (GMAIL.md 3.1, 3.2): `before` is the command up to the message literal.
pub(crate) fn append(session: &mut Session, before: &[u8], literal: Literal) -> Result<()> {
    let refusal = match read_head(session, before) {
        Ok(head) => match refuse_head(session, &head, literal) {
            None => return receive(session, head, literal),
            Some(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    let gmail = session.shared.gmail();
    let is_late = gmail.is_some_and(|gmail| gmail.options().refuses_after_literal);
    if is_late || !literal.is_awaited {
        session.ask_for(literal)?;
        session.wire.read_octets(literal.octets)?;
        session.wire.read_line()?;
    }
    session.wire.respond(&refusal)
}

/// Parses the arguments before the literal; the error is the rejection.
fn read_head(session: &Session, before: &[u8]) -> std::result::Result<Head, String> {
    let unparsable = session.texts.unparsable.to_owned();
    if session.user.is_none() {
        return Err(session.texts.wrong_state.to_owned());
    }
    // imap-codec expects a literal; the client has not sent the real one yet.
    let closed = [before, b"{1}\r\nx"].concat();
    match decode(&closed) {
        Some(CommandBody::Append {
            mailbox,
            flags,
            date,
            ..
        }) => Ok(Head {
            folder: name(&mailbox),
            flags: flags.iter().map(ToString::to_string).collect(),
            date: date.map(|date| *date.as_ref()),
        }),
        _ if before
            .windows(3)
            .any(|part| part == b" \\)" || part == b"(\\)") =>
        {
            Err(format!("{NO_FLAG} \\"))
        }
        _ => Err(unparsable),
    }
}

/// Gmail's rejections before it asks for the literal.
fn refuse_head(session: &Session, head: &Head, literal: Literal) -> Option<String> {
    let is_unknown =
        |flag: &&String| flag.starts_with('\\') && !KNOWN_FLAGS.contains(&flag.as_str());
    let gmail = session.shared.gmail();
    let limit = gmail.map(|gmail| gmail.options().append_limit);
    if let Some(flag) = head.flags.iter().find(is_unknown) {
        return Some(format!(
            "BAD Invalid Arguments: Unable to parse flag {flag}"
        ));
    }
    let store = session.shared.store();
    if select::openable(session, &store, &head.folder).is_none() {
        return Some(NO_FOLDER.to_owned());
    }
    if limit.is_some_and(|limit| literal.octets > limit) {
        return Some(TOO_BIG.to_owned());
    }
    None
}

fn receive(session: &mut Session, head: Head, literal: Literal) -> Result<()> {
    session.ask_for(literal)?;
    let Some((octets, action)) = read_message(session, literal.octets)? else {
        return Ok(());
    };
    let is_storable = refuse_message(session, &octets).is_none();
    match action {
        Err(gone) => {
            if is_storable {
                leave(session, head, octets);
            }
            Err(gone)
        }
        Ok(Action::Done) => Ok(()),
        Ok(Action::Go) => finish(session, head, octets),
    }
}

type Received = (Vec<u8>, Result<Action>);

/// Reads the message; `None` if a fault sent another response instead.
fn read_message(session: &mut Session, size: usize) -> Result<Option<Received>> {
    let begins = session.wire.event(EventKind::LiteralBegins(size))?;
    let mut octets = session.wire.read_octets(size / 2)?;
    let half = session.wire.event(EventKind::LiteralHalf(size))?;
    octets.extend(session.wire.read_octets(size - size / 2)?);
    let rest = session.wire.read_line()?;
    if begins == Action::Done || half == Action::Done {
        return Ok(None);
    }
    if !rest.is_empty() {
        session.unparsable()?;
        return Ok(None);
    }
    let action = session.wire.event(EventKind::Literal(size));
    Ok(Some((octets, action)))
}

/// Gmail's rejections of the content; a BYE line closes the connection.
fn refuse_message(session: &Session, octets: &[u8]) -> Option<&'static str> {
    session.shared.gmail()?;
    if octets.contains(&0) {
        return Some(NUL);
    }
    header::fields(octets).is_empty().then_some(NO_MESSAGE)
}

fn finish(session: &mut Session, head: Head, octets: Vec<u8>) -> Result<()> {
    match refuse_message(session, &octets) {
        Some(NUL) => {
            session.wire.line(NUL)?;
            return Err(session.wire.close());
        }
        Some(refusal) => return session.wire.respond(refusal),
        None => {}
    }
    let now = session.shared.clock.now();
    let gmail = session.shared.gmail();
    if gmail.is_some_and(|gmail| gmail.uploads(octets.len(), now)) {
        session.wire.line(LOCKED_OUT)?;
        return Err(session.wire.close());
    }
    let used = session.shared.store().octets();
    if gmail.is_some_and(|gmail| used + octets.len() > gmail.options().storage) {
        return session.wire.respond(STORAGE_FULL);
    }
    let response = gmail.map_or(AppendResponse::Normal, |gmail| {
        gmail.options().append_response.clone()
    });
    match &response {
        AppendResponse::Refusal(refusal) => return session.wire.respond(refusal),
        AppendResponse::WithoutUidNorMessage => return session.wire.respond("OK (Success)"),
        _ => {}
    }
    let (folder, uid_validity, uid) = store(session, head, octets);
    if session
        .selected
        .as_ref()
        .is_some_and(|selected| selected.mailbox == folder)
    {
        select::announce(session)?;
    }
    let code = if login::offers(session, "UIDPLUS") {
        format!("[APPENDUID {uid_validity} {uid}]")
    } else {
        String::new()
    };
    let text = match response {
        AppendResponse::WithoutUid => "OK (Success)".to_owned(),
        AppendResponse::WithoutBlank => format!("OK {code}(Success)"),
        AppendResponse::Throttled => format!("OK {code} (Success) [THROTTLED]"),
        _ if code.is_empty() => "OK (Success)".to_owned(),
        _ => format!("OK {code} (Success)"),
    };
    session.wire.respond(&text)
}

/// Stores the message; returns the mailbox, its UIDVALIDITY and the new UID.
fn store(session: &Session, head: Head, octets: Vec<u8>) -> (String, u32, u32) {
    let now = session.shared.clock.now();
    let arrival = arrival(session, head, octets);
    let mut store = session.shared.store();
    let folder = store.folder_mut(&arrival.folder).unwrap();
    let (name, uid_validity) = (folder.name.clone(), folder.uid_validity);
    let is_gone = |gmail: &GmailState| {
        // Gmail accepts it and deletes it at once (GMAIL.md 3.3).
        arrival.flags.contains("\\Deleted") || gmail.discards(&arrival.octets)
    };
    let uid = if session.shared.gmail().is_some_and(is_gone) {
        folder.uid_next += 1;
        folder.uid_next - 1
    } else {
        store.add(arrival, now)
    };
    (name, uid_validity, uid)
}

/// Stores a message whose APPEND was cut, or not, as the options say.
fn leave(session: &Session, head: Head, octets: Vec<u8>) {
    let Some(gmail) = session.shared.gmail() else {
        return;
    };
    let unfinished = gmail.options().unfinished;
    let arrival = arrival(session, head, octets);
    let now = session.shared.clock.now();
    let mut store = session.shared.store();
    match unfinished {
        Unfinished::Forgotten => {}
        Unfinished::Stored => {
            store.add(arrival, now);
        }
        Unfinished::StoredAfter(delay) => {
            store.add_later(arrival, Some(now + delay));
        }
        Unfinished::StoredWhenTold => {
            store.add_later(arrival, None);
        }
    }
}

fn arrival(session: &Session, head: Head, octets: Vec<u8>) -> Arrival {
    let now: DateTime<Utc> = session.shared.clock.now();
    let options = session.shared.gmail().map(|gmail| gmail.options().clone());
    Arrival {
        folder: head.folder,
        others: Vec::new(),
        octets,
        internal_date: head.date.unwrap_or_else(|| now.fixed_offset()),
        flags: head.flags,
        is_unique: options.as_ref().is_some_and(|options| options.deduplicates),
        index_delay: options.map_or(IndexDelay::None, |options| options.index_delay),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_of_an_append_is_the_message_unless_it_names_the_mailbox() {
        assert!(is_message(b"a append INBOX (\\Seen) {10}"));
        assert!(is_message(b"a APPEND {5}\r\nINBOX {10}"));
        assert!(!is_message(b"a APPEND {5}"));
        assert!(!is_message(b"a LOGIN x {5}"));
    }
}
