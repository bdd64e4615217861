//! FETCH: what is asked of a message, and the response.

use imap_codec::imap_types::IntoStatic;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName, Section};

use crate::envelope;
use crate::grammar::{self, Request, word};
use crate::header;
use crate::select;
use crate::session::{LOCKED_OUT, Session};
use crate::store::Letter;
use crate::wire::Result;

/// A thing asked of a message.
enum Item {
    Known(MessageDataItemName<'static>),
    /// One that imap-codec does not know: X-GM-MSGID, X-GM-THRID, X-GM-LABELS.
    Google(String),
}

/// The message that is asked.
struct Asked<'a> {
    letter: &'a Letter,
    id: u64,
    uid: u32,
    labels: Vec<String>,
    is_gmail: bool,
}

/// FETCH and UID FETCH. Gmail announces news at the end of it (GMAIL.md 1.6).
pub(crate) fn fetch(session: &mut Session, request: &Request) -> Result<()> {
    let by_uid = request.name.starts_with("UID");
    let is_gmail = session.shared.gmail().is_some();
    let (sets, items) = word(&request.arguments);
    let set = std::str::from_utf8(sets)
        .ok()
        .and_then(|sets| sets.try_into().ok());
    let (Some(set), Some(mut items)) = (set, read_items(items, is_gmail)) else {
        return session.unparsable();
    };
    let is_uid = |item: &Item| matches!(item, Item::Known(MessageDataItemName::Uid));
    if by_uid && !items.iter().any(is_uid) {
        items.insert(0, Item::Known(MessageDataItemName::Uid));
    }
    let named = session.selected.as_ref().unwrap().named(&set, by_uid);
    for (number, uid) in named {
        if let Some(response) = respond(session, number, uid, &items) {
            let size = response.len();
            session.wire.line(response)?;
            let now = session.shared.clock.now();
            if session
                .shared
                .gmail()
                .is_some_and(|gmail| gmail.downloads(size, now))
            {
                session.wire.line(LOCKED_OUT)?;
                return Err(session.wire.close());
            }
        }
    }
    if by_uid {
        select::announce(session)?;
    }
    let text = session.words.fetch;
    session.wire.answer(text)
}

/// The response for one message; none for one that has gone meanwhile.
fn respond(session: &Session, number: usize, uid: u32, items: &[Item]) -> Option<Vec<u8>> {
    let selected = session.selected.as_ref()?;
    let mut store = session.shared.store();
    let id = *store.folder(&selected.mailbox)?.rows.get(&uid)?;
    if items.iter().any(is_reading) && !selected.is_read_only {
        store
            .letters
            .get_mut(&id)?
            .flags
            .insert("\\Seen".to_owned());
    }
    let others = store
        .folders
        .iter()
        .filter(|folder| folder.name != selected.mailbox);
    let holding = others.filter(|folder| folder.rows.values().any(|held| *held == id));
    let asked = Asked {
        letter: &store.letters[&id],
        id,
        uid,
        labels: holding.filter_map(label).collect(),
        is_gmail: session.shared.gmail().is_some(),
    };
    let mut response = format!("* {number} FETCH (").into_bytes();
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            response.push(b' ');
        }
        response.extend(asked.answer(item));
    }
    response.push(b')');
    Some(response)
}

/// Asking for a body without PEEK marks the message as seen.
fn is_reading(item: &Item) -> bool {
    matches!(
        item,
        Item::Known(
            MessageDataItemName::BodyExt { peek: false, .. }
                | MessageDataItemName::Rfc822
                | MessageDataItemName::Rfc822Text
        )
    )
}

/// The name of a folder among labels (GMAIL.md 4); All Mail is none.
fn label(folder: &crate::store::Folder) -> Option<String> {
    if folder.name == "INBOX" {
        return Some(crate::listing::quoted("\\Inbox"));
    }
    if folder.is("\\All") {
        return None;
    }
    for special in [
        "\\Sent",
        "\\Important",
        "\\Drafts",
        "\\Trash",
        "\\Flagged",
        "\\Junk",
    ] {
        if folder.is(special) {
            let name = match special {
                "\\Drafts" => "\\Draft",
                "\\Flagged" => "\\Starred",
                "\\Junk" => "\\Spam",
                same => same,
            };
            return Some(crate::listing::quoted(name));
        }
    }
    Some(crate::listing::quoted(&folder.name))
}

impl Asked<'_> {
    fn answer(&self, item: &Item) -> Vec<u8> {
        match item {
            Item::Google(name) => self.answer_google(name).into_bytes(),
            Item::Known(item) => self.answer_known(item),
        }
    }

    fn answer_google(&self, name: &str) -> String {
        match name {
            "X-GM-LABELS" => format!("{name} ({})", self.labels.join(" ")),
            // Each message is a thread of its own here.
            _ => format!("{name} {}", self.id),
        }
    }

    fn answer_known(&self, item: &MessageDataItemName<'_>) -> Vec<u8> {
        let octets = &self.letter.octets[..];
        let (head, body) = header::split(octets);
        match item {
            MessageDataItemName::Uid => format!("UID {}", self.uid).into_bytes(),
            MessageDataItemName::Rfc822Size => format!("RFC822.SIZE {}", octets.len()).into_bytes(),
            MessageDataItemName::Flags => self.flags().into_bytes(),
            MessageDataItemName::InternalDate => self.internal_date().into_bytes(),
            MessageDataItemName::Envelope => envelope::envelope(octets),
            MessageDataItemName::Rfc822 => with_text("RFC822", octets),
            MessageDataItemName::Rfc822Header => with_text("RFC822.HEADER", head),
            MessageDataItemName::Rfc822Text => with_text("RFC822.TEXT", body),
            MessageDataItemName::BodyExt {
                section, partial, ..
            } => self.section(section.as_ref(), *partial),
            other => format!("{} NIL", format!("{other:?}").to_ascii_uppercase()).into_bytes(),
        }
    }

    fn flags(&self) -> String {
        let flags: Vec<&str> = self.letter.flags.iter().map(String::as_str).collect();
        format!("FLAGS ({})", flags.join(" "))
    }

    /// Gmail gives dates in UTC (GMAIL.md 3.3).
    fn internal_date(&self) -> String {
        let date = self.letter.internal_date;
        let date = if self.is_gmail {
            date.to_utc().fixed_offset()
        } else {
            date
        };
        format!("INTERNALDATE \"{}\"", date.format("%d-%b-%Y %H:%M:%S %z"))
    }

    fn section(
        &self,
        section: Option<&Section<'_>>,
        partial: Option<(u32, std::num::NonZeroU32)>,
    ) -> Vec<u8> {
        let (name, text) = self.named_section(section);
        let Some(text) = text else {
            return format!("BODY[{name}] NIL").into_bytes();
        };
        let Some((first, count)) = partial else {
            return with_text(&format!("BODY[{name}]"), &text);
        };
        let start = text.len().min(first as usize);
        let end = text.len().min(start + count.get() as usize);
        with_text(&format!("BODY[{name}]<{first}>"), &text[start..end])
    }

    /// The name of a section as it stands in the response, and its text, if there is such a part.
    fn named_section(&self, section: Option<&Section<'_>>) -> (String, Option<Vec<u8>>) {
        let octets = &self.letter.octets[..];
        let (head, body) = header::split(octets);
        let list = |names: &[imap_codec::imap_types::core::AString<'_>]| {
            let names = names
                .iter()
                .map(|name| String::from_utf8_lossy(name.as_ref()).into_owned());
            names.collect::<Vec<_>>().join(" ")
        };
        match section {
            None => (String::new(), Some(octets.to_vec())),
            Some(Section::Header(None)) => ("HEADER".to_owned(), Some(head.to_vec())),
            Some(Section::Text(None)) => ("TEXT".to_owned(), Some(body.to_vec())),
            Some(Section::HeaderFields(None, names)) => {
                let names = names.as_ref();
                let is_wanted =
                    |name: &[u8]| names.iter().any(|n| n.as_ref().eq_ignore_ascii_case(name));
                (
                    format!("HEADER.FIELDS ({})", list(names)),
                    Some(fields(octets, is_wanted)),
                )
            }
            Some(Section::HeaderFieldsNot(None, names)) => {
                let names = names.as_ref();
                let is_wanted =
                    |name: &[u8]| !names.iter().any(|n| n.as_ref().eq_ignore_ascii_case(name));
                (
                    format!("HEADER.FIELDS.NOT ({})", list(names)),
                    Some(fields(octets, is_wanted)),
                )
            }
            // The double does not take messages apart.
            Some(_) => ("1".to_owned(), None),
        }
    }
}

/// The fields that are wanted, and the empty line after them (RFC 3501 6.4.5).
fn fields(octets: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let fields = header::fields(octets);
    let wanted = fields.iter().filter(|field| is_wanted(field.name));
    let mut text: Vec<u8> = wanted.flat_map(|field| field.lines.to_vec()).collect();
    text.extend_from_slice(b"\r\n");
    text
}

fn with_text(name: &str, text: &[u8]) -> Vec<u8> {
    let mut item = format!("{name} {{{}}}\r\n", text.len()).into_bytes();
    item.extend_from_slice(text);
    item
}

/// Reads the items of a FETCH: one, a list, or a macro.
fn read_items(text: &[u8], is_gmail: bool) -> Option<Vec<Item>> {
    let text = std::str::from_utf8(text).ok()?;
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    let words = split(inner.unwrap_or(text));
    let mut items = Vec::new();
    let mut known = Vec::new();
    for word in words {
        let name = word.to_ascii_uppercase();
        match name.as_str() {
            "X-GM-MSGID" | "X-GM-THRID" | "X-GM-LABELS" if is_gmail => {
                items.push(Item::Google(name));
            }
            _ => known.push(word),
        }
    }
    if known.is_empty() && !items.is_empty() {
        return Some(items);
    }
    let listed = match inner {
        Some(_) => format!("({})", known.join(" ")),
        None => known.join(" "),
    };
    let decoded = grammar::decode(format!("a UID FETCH 1 {listed}").as_bytes())?;
    let CommandBody::Fetch {
        macro_or_item_names,
        ..
    } = decoded
    else {
        return None;
    };
    let names = match macro_or_item_names {
        MacroOrMessageDataItemNames::Macro(all) => all.expand().into_static(),
        MacroOrMessageDataItemNames::MessageDataItemNames(names) => names,
    };
    let known = names.into_iter().map(Item::Known);
    Some(known.chain(items).collect())
}

/// Splits at the blanks that stand outside brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|letter| {
        match letter {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            _ => {}
        }
        letter == ' ' && depth == 0
    })
    .collect()
}
