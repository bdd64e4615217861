//! Search programs that ask for messages by their ids (pure; RFC 3501 6.4.4).

use crate::imap::quoted;
use crate::message::MessageId;

/// Gmail takes longer lines, but not by much; tag and command come before.
const LONGEST_PROGRAM: usize = 7_800;

/// One search program and the ids that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchProgram<'a> {
    /// What follows `UID SEARCH`.
    pub(super) text: String,
    /// The ids, each of them once.
    pub(super) ids: Vec<&'a MessageId>,
}

/// The fewest programs that ask for all of these ids; ids that cannot be asked for are left out.
///
/// A server matches parts of a field, whatever their case: what it finds must be compared.
pub(super) fn by_ids<'a>(ids: &[&'a MessageId]) -> Vec<SearchProgram<'a>> {
    let mut programs: Vec<SearchProgram> = Vec::new();
    for id in ids {
        let Some(key) = by_id(id) else {
            continue;
        };
        match programs.last_mut() {
            Some(last) if last.ids.contains(id) => {}
            Some(last) if "OR ".len() + last.text.len() + 1 + key.len() <= LONGEST_PROGRAM => {
                last.text = format!("OR {} {key}", last.text);
                last.ids.push(id);
            }
            _ => programs.push(SearchProgram {
                text: key,
                ids: vec![id],
            }),
        }
    }
    programs
}

/// The search key for one id; none if the id cannot go into a command.
pub(super) fn by_id(id: &MessageId) -> Option<String> {
    let key = format!("HEADER Message-ID {}", quoted(id.as_str())?);
    (key.len() <= LONGEST_PROGRAM).then_some(key)
}

/// Gmail's own search for an id, for one that its HEADER search is known to miss; none if it is
/// not such an id, or has characters that this search takes for its own.
pub(super) fn by_gmails_own_words(id: &MessageId) -> Option<String> {
    let id = id.as_str();
    let is_odd = id.contains(['{', '}', '!', '&', '%']);
    let bare = id.strip_prefix('<').unwrap_or(id);
    let bare = bare.strip_suffix('>').unwrap_or(bare);
    let is_plain =
        bare.bytes().all(|octet| octet.is_ascii_graphic()) && !bare.contains(['"', '\\']);
    (is_odd && is_plain && bare.len() <= LONGEST_PROGRAM - 100)
        .then(|| format!("X-GM-RAW \"rfc822msgid:{bare}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MessageId {
        MessageId::from_field(text).unwrap()
    }

    fn programs(ids: &[MessageId]) -> Vec<String> {
        let ids: Vec<&MessageId> = ids.iter().collect();
        by_ids(&ids)
            .into_iter()
            .map(|program| program.text)
            .collect()
    }

    #[test]
    fn ids_are_asked_for_together() {
        let ids = [id("<a@x>"), id("<b@x>"), id("<a@x>"), id("<c@x>")];
        let expected = "OR OR HEADER Message-ID \"<a@x>\" HEADER Message-ID \"<b@x>\" \
                        HEADER Message-ID \"<c@x>\"";
        assert_eq!(programs(&ids), [expected]);
        assert_eq!(programs(&ids[..1]), ["HEADER Message-ID \"<a@x>\""]);
        assert!(programs(&[]).is_empty());
    }

    #[test]
    fn an_id_is_quoted_or_not_asked_for() {
        assert_eq!(
            programs(&[id("<a\"b\\c d@x>")]),
            ["HEADER Message-ID \"<a\\\"b\\\\c d@x>\""]
        );
        for text in [
            "<gr\u{fc}n@x>",
            "<a\u{1b}@x>",
            "<a\u{7f}@x>",
            "<a\u{0}@x>",
            "<a\u{85}b>",
        ] {
            assert!(quoted(text).is_none(), "{text:?}");
        }
        assert!(quoted("a\r\nb").is_none());
        assert!(programs(&[id(&format!("<{}>", "\\".repeat(3_990)))]).is_empty());
    }

    #[test]
    fn lines_stay_below_eight_thousand_octets() {
        let ids: Vec<MessageId> = (0..500)
            .map(|n| id(&format!("<{n}-{}>", "x".repeat(n))))
            .collect();
        let programs = programs(&ids);
        assert!(
            programs
                .iter()
                .all(|text| text.len() + "a1234567 UID SEARCH \r\n".len() < 8_000)
        );
        for id in &ids {
            let asked = programs.iter().filter(|text| text.contains(id.as_str()));
            assert_eq!(asked.count(), 1, "{id}");
        }
        assert!(programs.len() < 25, "{}", programs.len());
    }

    #[test]
    fn gmail_is_asked_in_its_own_words_only_for_odd_ids() {
        let own = |text: &str| by_gmails_own_words(&id(text));
        let expected = "X-GM-RAW \"rfc822msgid:!&!AA{b}%c@x\"";
        assert_eq!(own("<!&!AA{b}%c@x>").as_deref(), Some(expected));
        for text in ["<a@x>", "<a%\"b@x>", "<a%\\b@x>", "<a% b@x>", "<\u{fc}%@x>"] {
            assert_eq!(own(text), None, "{text}");
        }
    }
}
