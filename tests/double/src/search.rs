//! SEARCH.
//!
//! The parser is our own, because imap-codec nests keys only nine deep and does not know X-GM keys.

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use imap_codec::imap_types::sequence::SequenceSet;

use crate::gmail::HeaderSearch;
use crate::grammar::{Reader, Request};
use crate::header;
use crate::select::{self, Selected, covers};
use crate::session::Session;
use crate::store::{Message, Store};
use crate::wire::Result;

/// A search key (RFC 3501 6.4.4; GMAIL.md 4).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    All,
    Numbers(SequenceSet),
    Uids(SequenceSet),
    Since(NaiveDate),
    Before(NaiveDate),
    On(NaiveDate),
    Larger(usize),
    Smaller(usize),
    Flag(String),
    Header(String, Vec<u8>),
    Text(Vec<u8>),
    Raw(String),
    Message(u64),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Vec<Key>),
}

/// How a server searches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Whether it is Gmail: `HEADER <name> ""` finds everything, and X-GM keys are known.
    pub is_gmail: bool,
    pub header_search: HeaderSearch,
    /// The time zone in which days begin.
    pub zone: FixedOffset,
    pub now: DateTime<Utc>,
}

impl Manner {
    /// Whether a value can be found at all (GMAIL.md 4).
    fn finds(self, value: &[u8]) -> bool {
        let is_odd = value.iter().any(|octet| b"{}!&%".contains(octet));
        self.header_search != HeaderSearch::MissesOddValues || !is_odd
    }
}

impl Key {
    /// Whether it contains a HEADER key.
    fn has_header_key(&self) -> bool {
        match self {
            Key::Header(..) => true,
            Key::Not(key) => key.has_header_key(),
            Key::Or(a, b) => a.has_header_key() || b.has_header_key(),
            Key::And(keys) => keys.iter().any(Key::has_header_key),
            _ => false,
        }
    }

    /// Whether it looks into messages.
    pub fn reads_octets(&self) -> bool {
        match self {
            Key::Not(key) => key.reads_octets(),
            Key::Or(a, b) => a.reads_octets() || b.reads_octets(),
            Key::And(keys) => keys.iter().any(Key::reads_octets),
            Key::Larger(_) | Key::Smaller(_) | Key::Text(_) | Key::Raw(_) | Key::Header(..) => true,
            _ => false,
        }
    }
}

/// SEARCH and UID SEARCH.
pub(crate) fn search(session: &mut Session, request: &Request) -> Result<()> {
    let by_uid = request.name.starts_with("UID");
    let manner = manner(session);
    let key = read(&request.arguments, manner.is_gmail);
    let refuses = manner.header_search == HeaderSearch::Refused;
    let Some(key) = key.filter(|key| !(refuses && key.has_header_key())) else {
        return session.unparsable();
    };
    let found: Vec<String> = {
        let mut store = session.shared.store();
        let found = match session.shared.claimed() {
            Some(claimed) => claimed.find(&key, manner),
            None => find(
                &store,
                session.selected.as_ref().unwrap(),
                &key,
                manner,
                by_uid,
            ),
        };
        count_misses(&mut store);
        found.iter().map(ToString::to_string).collect()
    };
    let blank = if found.is_empty() { "" } else { " " };
    session
        .wire
        .line(format!("* SEARCH{blank}{}", found.join(" ")))?;
    if !manner.is_gmail {
        select::announce(session)?;
    }
    let text = session.texts.search;
    session.wire.respond(text)
}

fn manner(session: &Session) -> Manner {
    let zone = session.shared.source().map(|options| options.zone);
    Manner {
        is_gmail: zone.is_none(),
        header_search: session
            .shared
            .gmail()
            .map_or(HeaderSearch::Normal, |gmail| gmail.options().header_search),
        zone: zone.unwrap_or(FixedOffset::east_opt(0).unwrap()),
        now: session.shared.clock.now(),
    }
}

/// The numbers or UIDs of the matching messages in the session's view.
fn find(store: &Store, selected: &Selected, key: &Key, manner: Manner, by_uid: bool) -> Vec<u32> {
    let Some(folder) = store.folder(&selected.mailbox) else {
        return Vec::new();
    };
    let last = selected.uids.last().copied().unwrap_or(0);
    let mut found = Vec::new();
    for (number, &uid) in (1..).zip(&selected.uids) {
        // Expunged messages are not found, even before their EXPUNGE is announced.
        let Some(id) = folder.rows.get(&uid) else {
            continue;
        };
        let candidate = Candidate {
            message: &store.messages[id],
            id: *id,
            number,
            count: u32::try_from(selected.uids.len()).unwrap(),
            uid,
            last,
        };
        if candidate.matches_key(key, manner) {
            found.push(if by_uid { uid } else { number });
        }
    }
    found
}

fn count_misses(store: &mut Store) {
    for message in store.messages.values_mut() {
        message.misses = message.misses.saturating_sub(1);
    }
}

/// A message that a search may find.
pub(crate) struct Candidate<'a> {
    pub message: &'a Message,
    pub id: u64,
    pub number: u32,
    pub count: u32,
    pub uid: u32,
    pub last: u32,
}

impl Candidate<'_> {
    /// Whether the search finds it.
    pub fn matches_key(&self, key: &Key, manner: Manner) -> bool {
        let octets = &self.message.octets[..];
        let day = self
            .message
            .internal_date
            .with_timezone(&manner.zone)
            .date_naive();
        let is_indexed = self.message.misses == 0 && self.message.indexed_at <= manner.now;
        match key {
            Key::All => true,
            Key::Numbers(set) => covers(set, self.number, self.count),
            Key::Uids(set) => covers(set, self.uid, self.last),
            Key::Since(date) => day >= *date,
            Key::Before(date) => day < *date,
            Key::On(date) => day == *date,
            Key::Larger(size) => octets.len() > *size,
            Key::Smaller(size) => octets.len() < *size,
            Key::Flag(flag) => self.message.flags.contains(flag),
            Key::Header(name, value) => {
                is_indexed
                    && manner.finds(value)
                    && has_field(self.message, name, value, manner.is_gmail)
            }
            Key::Text(text) => is_indexed && contains(octets, text),
            Key::Raw(query) => {
                // In X-GM-RAW braces have a meaning of their own.
                let bare = query.trim_matches(['{', '}']);
                is_indexed
                    && manner.finds(bare.as_bytes())
                    && matches_raw(self.message.ids.first(), query)
            }
            Key::Message(id) => self.id == *id,
            Key::Not(key) => !self.matches_key(key, manner),
            Key::Or(a, b) => self.matches_key(a, manner) || self.matches_key(b, manner),
            Key::And(keys) => keys.iter().all(|key| self.matches_key(key, manner)),
        }
    }
}

fn has_field(message: &Message, name: &str, value: &[u8], is_gmail: bool) -> bool {
    if is_gmail && value.is_empty() {
        return true;
    }
    if name.eq_ignore_ascii_case("Message-ID") {
        return message.ids.iter().any(|id| contains(id, value));
    }
    let values = header::all(&message.octets, name);
    values.iter().any(|own| contains(own, value))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty()
        || text
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
}

/// Supports `rfc822msgid:`, several of them, and OR between them; other terms find nothing.
fn matches_raw(id: Option<&Vec<u8>>, query: &str) -> bool {
    let bare = |id: &str| id.trim_start_matches('<').trim_end_matches('>').to_owned();
    let id = id
        .map(|id| bare(&String::from_utf8_lossy(id)))
        .unwrap_or_default();
    let matches_key = |term: &str| {
        let wanted = term.strip_prefix("rfc822msgid:");
        wanted.is_some_and(|wanted| !wanted.is_empty() && bare(wanted) == id)
    };
    match query
        .strip_prefix('{')
        .and_then(|query| query.strip_suffix('}'))
    {
        Some(any) => any.split_ascii_whitespace().any(matches_key),
        None => query.split(" OR ").any(|all| {
            let mut terms = all.split_ascii_whitespace().peekable();
            terms.peek().is_some() && terms.all(matches_key)
        }),
    }
}

/// Parses the arguments of SEARCH: keys that must all match.
pub(crate) fn read(arguments: &[u8], is_gmail: bool) -> Option<Key> {
    let mut reader = KeyReader {
        reader: Reader::new(arguments),
        is_gmail,
        is_utf8: false,
    };
    if reader.reader.takes("CHARSET ") {
        let charset = reader.reader.astring()?.to_ascii_uppercase();
        reader.is_utf8 = charset == b"UTF-8";
        reader.reader.blank()?;
        if !reader.is_utf8 && charset != b"US-ASCII" {
            return None;
        }
    }
    let key = reader.keys()?;
    reader.reader.is_at_end().then_some(key)
}

struct KeyReader<'a> {
    reader: Reader<'a>,
    is_gmail: bool,
    is_utf8: bool,
}

impl KeyReader<'_> {
    fn keys(&mut self) -> Option<Key> {
        let mut keys = vec![self.key()?];
        while self.reader.takes(" ") {
            keys.push(self.key()?);
        }
        Some(if keys.len() == 1 {
            keys.remove(0)
        } else {
            Key::And(keys)
        })
    }

    fn key(&mut self) -> Option<Key> {
        if self.reader.takes("(") {
            let key = self.keys()?;
            return self.reader.takes(")").then_some(key);
        }
        let word = self.reader.atom()?;
        let name = word.to_ascii_uppercase();
        Some(match name.as_str() {
            "ALL" | "OLD" => Key::All,
            "RECENT" | "NEW" => Key::Not(Box::new(Key::All)),
            "ANSWERED" | "DELETED" | "DRAFT" | "FLAGGED" | "SEEN" => flag(&name),
            "UNANSWERED" | "UNDELETED" | "UNDRAFT" | "UNFLAGGED" | "UNSEEN" => {
                Key::Not(Box::new(flag(&name[2..])))
            }
            "KEYWORD" => Key::Flag(self.argument_atom()?),
            "UNKEYWORD" => Key::Not(Box::new(Key::Flag(self.argument_atom()?))),
            "UID" => Key::Uids(self.argument_atom()?.as_str().try_into().ok()?),
            "SINCE" => Key::Since(self.date()?),
            "BEFORE" => Key::Before(self.date()?),
            "ON" => Key::On(self.date()?),
            "LARGER" => Key::Larger(self.argument_atom()?.parse().ok()?),
            "SMALLER" => Key::Smaller(self.argument_atom()?.parse().ok()?),
            "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => Key::Header(name, self.text()?),
            "BODY" | "TEXT" => Key::Text(self.text()?),
            "HEADER" => Key::Header(String::from_utf8(self.text()?).ok()?, self.text()?),
            "NOT" => Key::Not(Box::new(self.argument_key()?)),
            "OR" => Key::Or(
                Box::new(self.argument_key()?),
                Box::new(self.argument_key()?),
            ),
            "X-GM-RAW" if self.is_gmail => Key::Raw(String::from_utf8(self.text()?).ok()?),
            "X-GM-MSGID" if self.is_gmail => Key::Message(self.argument_atom()?.parse().ok()?),
            _ => Key::Numbers(word.as_str().try_into().ok()?),
        })
    }

    fn argument_key(&mut self) -> Option<Key> {
        self.reader.blank()?;
        self.key()
    }

    fn argument_atom(&mut self) -> Option<String> {
        self.reader.blank()?;
        self.reader.atom()
    }

    /// An astring; 8-bit text needs CHARSET UTF-8 and a literal.
    fn text(&mut self) -> Option<Vec<u8>> {
        self.reader.blank()?;
        let is_literal = self.reader.is_at_literal();
        let text = self.reader.astring()?;
        let is_allowed = text.is_ascii() || (self.is_utf8 && is_literal);
        is_allowed.then_some(text)
    }

    /// `1-Feb-1994`, quoted or not.
    fn date(&mut self) -> Option<NaiveDate> {
        self.reader.blank()?;
        let text = String::from_utf8(self.reader.astring()?).ok()?;
        let is_shaped = matches!(text.len(), 10 | 11) && !text.contains(' ');
        let date = NaiveDate::parse_from_str(&text, "%d-%b-%Y").ok()?;
        is_shaped.then_some(date)
    }
}

/// The system flag of that name.
fn flag(name: &str) -> Key {
    let (first, rest) = name.split_at(1);
    Key::Flag(format!("\\{first}{}", rest.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> Key {
        Key::Header("Message-ID".to_owned(), value.as_bytes().to_vec())
    }

    #[test]
    fn keys_nest_as_deep_as_clients_nest_them() {
        let deep = "OR HEADER Message-ID <a@b> ".repeat(40) + "HEADER Message-ID \"<c@d>\"";
        assert!(read(deep.as_bytes(), true).is_some());
        let two = read(b"OR HEADER Message-ID x (HEADER Message-ID \"y\")", false);
        assert_eq!(
            two,
            Some(Key::Or(Box::new(header("x")), Box::new(header("y"))))
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            "ALL ",
            " ALL",
            "ALL  ALL",
            "NONSENSE",
            "UID",
            "UID 0",
            "SINCE 2026-11-22",
            "SINCE 31-Feb-2026",
            "HEADER Message-ID",
            "OR ALL",
            "(ALL",
            "HEADER a \"\u{e9}\"",
            "CHARSET X-NONE ALL",
            "HEADER a \"x\\y\"",
        ] {
            assert_eq!(read(bad.as_bytes(), true), None, "{bad}");
        }
        assert_eq!(read(b"X-GM-RAW x", false), None);
    }

    #[test]
    fn text_that_is_not_ascii_takes_a_charset_and_a_literal() {
        let literal = "CHARSET UTF-8 SUBJECT {2}\r\n\u{e9}";
        assert!(read(literal.as_bytes(), true).is_some());
        assert_eq!(
            read(literal.replacen("CHARSET UTF-8 ", "", 1).as_bytes(), true),
            None
        );
        assert_eq!(
            read("CHARSET UTF-8 SUBJECT \"\u{e9}\"".as_bytes(), true),
            None
        );
    }

    #[test]
    fn a_raw_query_knows_message_ids_and_nothing_else() {
        let id = b"<a@b>".to_vec();
        let message = Some(&id);
        for found in [
            "rfc822msgid:a@b",
            "rfc822msgid:<a@b>",
            "rfc822msgid:x OR rfc822msgid:a@b",
            "{rfc822msgid:x rfc822msgid:a@b}",
        ] {
            assert!(matches_raw(message, found), "{found}");
        }
        for missed in [
            "rfc822msgid:a",
            "rfc822msgid:",
            "a@b",
            "",
            "rfc822msgid:a@b rfc822msgid:x",
        ] {
            assert!(!matches_raw(message, missed), "{missed}");
        }
    }
}
