//! The response for one message.

use imap_codec::imap_types::fetch::{MessageDataItemName, Section};

use super::items::Item;
use crate::envelope;
use crate::header;
use crate::quirks::{MessageFault, Quirk, Quirks};
use crate::store::{Folder, Message};
use crate::strings::{literal, quoted, string};

/// The message to respond for.
pub(crate) struct RequestedMessage<'a> {
    pub message: &'a Message,
    pub id: u64,
    pub uid: u32,
    pub labels: Vec<String>,
    pub is_gmail: bool,
    pub quirks: Quirks,
    pub message_faults: Option<MessageFault>,
}

/// The label of a folder (GMAIL.md 4); All Mail is none.
pub(crate) fn label(folder: &Folder) -> Option<String> {
    if folder.name == "INBOX" {
        return Some(quoted("\\Inbox"));
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
            return Some(quoted(name));
        }
    }
    Some(quoted(&folder.name))
}

/// Items that nobody asked for, in the forms that a value can have.
pub(crate) const UNASKED_ITEMS: &[u8] =
    b"EMAILID (M1) SAVEDATE NIL X-GUID \"a) {3}\" PREVIEW {6}\r\n\") * 1 X-THING (a (\"b\" {1}\r\n() 5)";

impl RequestedMessage<'_> {
    /// The item and its value, as in a FETCH response.
    pub fn value_of(&self, item: &Item) -> Vec<u8> {
        match item {
            Item::Google(name) => self.gmail_value(name).into_bytes(),
            Item::Known(item) => self.standard_value(item),
        }
    }

    fn does(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    fn gmail_value(&self, name: &str) -> String {
        match name {
            "X-GM-LABELS" => format!("{name} ({})", self.labels.join(" ")),
            "MODSEQ" => format!("{name} ({})", self.message.mod_seq),
            // In the double each message is a thread of its own.
            _ => format!("{name} {}", self.id),
        }
    }

    fn standard_value(&self, item: &MessageDataItemName<'_>) -> Vec<u8> {
        let octets = &self.message.octets[..];
        let (head, body) = header::split(octets);
        match item {
            MessageDataItemName::Uid => format!("UID {}", self.uid).into_bytes(),
            MessageDataItemName::Rfc822Size => self.size().into_bytes(),
            MessageDataItemName::Flags => self.flags().into_bytes(),
            MessageDataItemName::InternalDate => self.internal_date().into_bytes(),
            MessageDataItemName::Envelope => envelope::envelope(octets),
            MessageDataItemName::Rfc822 => self.with_text("RFC822", octets),
            MessageDataItemName::Rfc822Header => self.with_text("RFC822.HEADER", head),
            MessageDataItemName::Rfc822Text => self.with_text("RFC822.TEXT", body),
            MessageDataItemName::BodyExt {
                section, partial, ..
            } => self.section(section.as_ref(), *partial),
            other => unreachable!("{other:?} is refused when it is read"),
        }
    }

    fn size(&self) -> String {
        if self.does(Quirk::NilSizes) {
            return "RFC822.SIZE NIL".to_owned();
        }
        let lines = self.message.octets.split(|&octet| octet == b'\n').count();
        let more = if self.does(Quirk::OtherSizes) {
            lines
        } else {
            0
        };
        format!("RFC822.SIZE {}", self.message.octets.len() + more)
    }

    fn flags(&self) -> String {
        let mut flags: Vec<&str> = self.message.flags.iter().map(String::as_str).collect();
        if self.does(Quirk::RecentFlags) {
            flags.push("\\Recent");
        }
        if self.does(Quirk::OddFlags) {
            flags.extend(["a{y}", "100%", "a*b", "x\\y", "\"NonJunk\"", "a(b)", "NIL"]);
        }
        format!("FLAGS ({})", flags.join(" "))
    }

    /// Gmail sends dates in UTC (GMAIL.md 3.3).
    fn internal_date(&self) -> String {
        let date = self.message.internal_date;
        let date = if self.is_gmail {
            date.to_utc().fixed_offset()
        } else {
            date
        };
        let day = if self.does(Quirk::PaddedDates) {
            "%e"
        } else {
            "%d"
        };
        format!(
            "INTERNALDATE \"{}\"",
            date.format(&format!("{day}-%b-%Y %H:%M:%S %z"))
        )
    }

    fn with_text(&self, name: &str, text: &[u8]) -> Vec<u8> {
        let string = if self.does(Quirk::QuotedStrings) {
            string(text)
        } else {
            literal(text)
        };
        [name.as_bytes(), b" ", &string].concat()
    }

    fn fields(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let fields = header::fields(&self.message.octets);
        let wanted = fields.iter().filter(|field| is_wanted(field.name));
        let mut text: Vec<u8> = wanted.flat_map(|field| field.lines.to_vec()).collect();
        if !self.does(Quirk::OpenHeaders) {
            // The empty line after them (RFC 3501 6.4.5).
            text.extend_from_slice(b"\r\n");
        }
        text
    }

    fn section(
        &self,
        section: Option<&Section<'_>>,
        partial: Option<(u32, std::num::NonZeroU32)>,
    ) -> Vec<u8> {
        let (name, text) = self.named_section(section);
        let name = match section {
            None if self.does(Quirk::OldBodyNames) => "RFC822".to_owned(),
            _ => format!("BODY[{name}]"),
        };
        let Some(text) = text else {
            return format!("{name} NIL").into_bytes();
        };
        let Some((first, count)) = partial else {
            return self.with_text(&name, &text);
        };
        let start = text.len().min(first as usize);
        let end = text.len().min(start + count.get() as usize);
        self.with_text(&format!("{name}<{first}>"), &text[start..end])
    }

    /// The name of a section in the response, and its text if the message has it.
    fn named_section(&self, section: Option<&Section<'_>>) -> (String, Option<Vec<u8>>) {
        let octets = &self.message.octets[..];
        let (head, body) = header::split(octets);
        let list = |names: &[imap_codec::imap_types::core::AString<'_>]| {
            let names = names
                .iter()
                .map(|name| String::from_utf8_lossy(name.as_ref()).into_owned());
            names.collect::<Vec<_>>().join(" ")
        };
        match section {
            None => {
                let is_nil = self.does(Quirk::NilBodies)
                    || self.message_faults == Some(MessageFault::NilBody);
                (String::new(), (!is_nil).then(|| octets.to_vec()))
            }
            Some(Section::Header(None)) => ("HEADER".to_owned(), Some(head.to_vec())),
            Some(Section::Text(None)) => ("TEXT".to_owned(), Some(body.to_vec())),
            Some(Section::HeaderFields(None, names)) => {
                let names = names.as_ref();
                let is_wanted =
                    |name: &[u8]| names.iter().any(|n| n.as_ref().eq_ignore_ascii_case(name));
                (
                    format!("HEADER.FIELDS ({})", list(names)),
                    Some(self.fields(is_wanted)),
                )
            }
            Some(Section::HeaderFieldsNot(None, names)) => {
                let names = names.as_ref();
                let is_wanted =
                    |name: &[u8]| !names.iter().any(|n| n.as_ref().eq_ignore_ascii_case(name));
                (
                    format!("HEADER.FIELDS.NOT ({})", list(names)),
                    Some(self.fields(is_wanted)),
                )
            }
            Some(other) => unreachable!("{other:?} is refused when it is read"),
        }
    }
}
