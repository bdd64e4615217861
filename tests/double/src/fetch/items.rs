//! The items of a FETCH.

use imap_codec::imap_types::IntoStatic;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName, Section};

use crate::grammar;

/// An item of a FETCH.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Known(MessageDataItemName<'static>),
    /// An item that imap-codec does not know: X-GM-MSGID, X-GM-THRID, X-GM-LABELS, MODSEQ.
    Google(String),
}

impl Item {
    /// The UID.
    pub fn uid() -> Item {
        Item::Known(MessageDataItemName::Uid)
    }

    /// Whether it is X-GM-LABELS.
    pub fn is_labels(&self) -> bool {
        matches!(self, Item::Google(name) if name == "X-GM-LABELS")
    }

    /// Whether it is INTERNALDATE.
    pub fn is_internal_date(&self) -> bool {
        matches!(self, Item::Known(MessageDataItemName::InternalDate))
    }

    /// Whether it is UID.
    pub fn is_uid(&self) -> bool {
        matches!(self, Item::Known(MessageDataItemName::Uid))
    }

    /// Whether it is the whole message or its body.
    pub fn is_body(&self) -> bool {
        match self {
            Item::Known(MessageDataItemName::Rfc822 | MessageDataItemName::Rfc822Text) => true,
            Item::Known(MessageDataItemName::BodyExt { section, .. }) => section.is_none(),
            _ => false,
        }
    }

    /// Whether it marks the message as seen, because PEEK is missing.
    pub fn is_reading(&self) -> bool {
        matches!(
            self,
            Item::Known(
                MessageDataItemName::BodyExt { peek: false, .. }
                    | MessageDataItemName::Rfc822
                    | MessageDataItemName::Rfc822Text
            )
        )
    }
}

/// Parses the items of a FETCH: one, a list, or a macro.
pub(crate) fn read(text: &[u8], is_gmail: bool) -> Option<Vec<Item>> {
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
            "X-GM-MSGID" | "X-GM-THRID" | "X-GM-LABELS" | "MODSEQ" if is_gmail => {
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
    if !names.iter().all(is_supported) {
        return None;
    }
    let known = names.into_iter().map(Item::Known);
    Some(known.chain(items).collect())
}

/// Whether the double supports the item: it does not parse MIME parts.
fn is_supported(item: &MessageDataItemName<'_>) -> bool {
    match item {
        MessageDataItemName::BodyExt { section, .. } => match section {
            None | Some(Section::Header(None) | Section::Text(None)) => true,
            Some(Section::HeaderFields(part, _) | Section::HeaderFieldsNot(part, _)) => {
                part.is_none()
            }
            Some(_) => false,
        },
        MessageDataItemName::Body
        | MessageDataItemName::BodyStructure
        | MessageDataItemName::Binary { .. }
        | MessageDataItemName::BinarySize { .. } => false,
        _ => true,
    }
}

/// Splits at the blanks outside brackets.
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
