//! SELECT, EXAMINE, and the session's view of its mailbox.

use std::collections::BTreeSet;

use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};

use crate::grammar::{self, Reader, Request};
use crate::listing::{NO_PERMISSION, is_forbidden};
use crate::notify;
use crate::quirks::Quirk;
use crate::session::Session;
use crate::store::{Folder, Store};
use crate::wire::Result;

/// The flags that every mailbox has, as Gmail and as Dovecot list them.
const GMAIL_FLAGS: &str = "\\Answered \\Flagged \\Draft \\Deleted \\Seen $NotPhishing $Phishing";
const SOURCE_FLAGS: &str = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";

/// The session's view of the selected mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    pub mailbox: String,
    pub is_read_only: bool,
    /// The UIDs that were announced; a message's number is its place here.
    pub uids: Vec<u32>,
}

impl Selected {
    /// The messages of a set: number and UID.
    pub fn named(&self, set: &SequenceSet, by_uid: bool) -> Vec<(usize, u32)> {
        let all = (1..).zip(self.uids.iter().copied());
        let count = u32::try_from(self.uids.len()).unwrap();
        let last = if by_uid {
            self.uids.last().copied().unwrap_or(0)
        } else {
            count
        };
        let is_named = |(number, uid): &(usize, u32)| {
            let value = if by_uid {
                *uid
            } else {
                u32::try_from(*number).unwrap()
            };
            covers(set, value, last)
        };
        all.filter(is_named).collect()
    }
}

/// Whether a set contains a number; `*` is the last one (RFC 3501 6.4.8).
pub(crate) fn covers(set: &SequenceSet, number: u32, last: u32) -> bool {
    set.0.as_ref().iter().any(|part| {
        let (first, last) = ends(part, last);
        (first..=last).contains(&number)
    })
}

/// The first and the last number of a part of a set.
pub(crate) fn ends(part: &Sequence, last: u32) -> (u32, u32) {
    let value = |end: &SeqOrUid| match end {
        SeqOrUid::Value(value) => value.get(),
        SeqOrUid::Asterisk => last,
    };
    match part {
        Sequence::Single(one) => (value(one), value(one)),
        Sequence::Range(a, b) => (value(a).min(value(b)), value(a).max(value(b))),
    }
}

/// SELECT and EXAMINE (GMAIL.md 1.6).
pub(crate) fn select(session: &mut Session, request: &Request) -> Result<()> {
    let is_read_only = request.name == "EXAMINE";
    let octets = request
        .octets
        .strip_suffix(b" (CONDSTORE)")
        .unwrap_or(&request.octets);
    let typed = Reader::new(&request.arguments).astring();
    let (Some(_), Some(typed)) = (grammar::decode(octets), typed) else {
        return session.unparsable();
    };
    let typed = String::from_utf8_lossy(&typed).into_owned();
    // After a failure no mailbox is selected, either.
    session.selected = None;
    if session.shared.quirks().contains(&Quirk::WantsId) && !session.is_identified {
        let name = &request.name;
        let text = format!("NO {name} Unsafe Login. Please contact kefu@188.com for help");
        return session.wire.respond(&text);
    }
    if is_forbidden(session, &typed) {
        return session.wire.respond(NO_PERMISSION);
    }
    let shared = session.shared.clone();
    let store = shared.store();
    let Some(folder) = openable(session, &store, &typed) else {
        drop(store);
        return refuse(session, &typed);
    };
    let lines = describe(session, folder, &store, is_read_only);
    session.selected = Some(Selected {
        mailbox: folder.name.clone(),
        is_read_only,
        uids: folder.rows.keys().copied().collect(),
    });
    drop(store);
    for line in lines {
        session.wire.line(line)?;
    }
    let access = if is_read_only {
        "READ-ONLY"
    } else {
        "READ-WRITE"
    };
    let text = match session.shared.gmail() {
        Some(_) => format!("OK [{access}] {typed} selected. (Success)"),
        None => format!(
            "OK [{access}] {} completed (0.001 + 0.000 secs).",
            request.name
        ),
    };
    session.wire.respond(&text)
}

/// The mailbox of this name, if it is shown and can be opened.
pub(crate) fn openable<'a>(session: &Session, store: &'a Store, name: &str) -> Option<&'a Folder> {
    let folder = store.folder(name).filter(|folder| !folder.is("\\Noselect"));
    folder.filter(|folder| is_shown(session, folder))
}

/// Whether the mailbox exists and is shown in IMAP.
pub(crate) fn is_shown(session: &Session, folder: &Folder) -> bool {
    let gmail = session.shared.gmail();
    gmail.is_none_or(|gmail| gmail.shows(folder))
}

fn refuse(session: &mut Session, typed: &str) -> Result<()> {
    let text = match session.shared.gmail() {
        Some(_) => format!(
            "NO [NONEXISTENT] Unknown Mailbox: {typed} (now in authenticated state) (Failure)"
        ),
        None => format!("NO [NONEXISTENT] Mailbox doesn't exist: {typed} (0.001 + 0.000 secs)."),
    };
    session.wire.respond(&text)
}

fn describe(session: &Session, folder: &Folder, store: &Store, is_read_only: bool) -> Vec<String> {
    let is_gmail = session.shared.gmail().is_some();
    let flags = flags(
        folder,
        store,
        if is_gmail { GMAIL_FLAGS } else { SOURCE_FLAGS },
    );
    let permanent = if is_read_only {
        String::new()
    } else {
        format!("{flags} \\*")
    };
    let explained = if is_read_only && !is_gmail {
        "Read-only mailbox."
    } else {
        "Flags permitted."
    };
    let (exists, uid_next) = match session.shared.claimed() {
        Some(claimed) => (claimed.count as usize, claimed.count + 1),
        None => (folder.rows.len(), folder.uid_next),
    };
    let flags = format!("* FLAGS ({flags})");
    let permanent = format!("* OK [PERMANENTFLAGS ({permanent})] {explained}");
    let exists = format!("* {exists} EXISTS");
    let recent = "* 0 RECENT".to_owned();
    let next = format!("* OK [UIDNEXT {uid_next}] Predicted next UID.");
    let validity = format!("* OK [UIDVALIDITY {}] UIDs valid", folder.uid_validity);
    if is_gmail {
        let modseq = format!("* OK [HIGHESTMODSEQ {}]", store.changes);
        let validity = format!("{validity}.");
        vec![flags, permanent, validity, exists, recent, next, modseq]
    } else {
        let quirks = session.shared.quirks();
        let validity = Some(validity).filter(|_| !quirks.contains(&Quirk::NoUidValidity));
        let next = Some(next).filter(|_| !quirks.contains(&Quirk::NoUidNext));
        let mut lines = vec![flags, permanent, exists, recent];
        lines.extend(first_unseen(folder, store));
        lines.extend(validity);
        lines.extend(next);
        lines
    }
}

/// Sends the first unseen message, which Gmail does not.
fn first_unseen(folder: &Folder, store: &Store) -> Option<String> {
    let mut flags = folder.rows.values().map(|key| &store.messages[key].flags);
    let place = flags.position(|flags| !flags.contains("\\Seen"))?;
    Some(format!("* OK [UNSEEN {}] First unseen.", place + 1))
}

fn flags(folder: &Folder, store: &Store, common: &str) -> String {
    let messages = folder.rows.values().map(|key| &store.messages[key]);
    let keywords: BTreeSet<&str> = messages
        .flat_map(|message| message.flags.iter().map(String::as_str))
        .filter(|flag| !flag.starts_with('\\') && !common.split(' ').any(|known| known == *flag))
        .collect();
    let all: Vec<&str> = common.split(' ').chain(keywords).collect();
    all.join(" ")
}

/// Announces changes of the mailbox by EXPUNGE and EXISTS lines.
pub(crate) fn announce(session: &mut Session) -> Result<()> {
    if notify::reports_selected(session) {
        announce_selected(session)?;
    }
    notify::report(session)
}

fn announce_selected(session: &mut Session) -> Result<()> {
    let Some(selected) = &mut session.selected else {
        return Ok(());
    };
    let current: Vec<u32> = match session.shared.store().folder(&selected.mailbox) {
        Some(folder) => folder.rows.keys().copied().collect(),
        None => Vec::new(),
    };
    let mut lines = Vec::new();
    for place in (0..selected.uids.len()).rev() {
        if current.binary_search(&selected.uids[place]).is_err() {
            selected.uids.remove(place);
            lines.push(format!("* {} EXPUNGE", place + 1));
        }
    }
    if current.len() > selected.uids.len() {
        lines.push(format!("* {} EXISTS", current.len()));
    }
    selected.uids = current;
    for line in lines {
        session.wire.line(line)?;
    }
    Ok(())
}
