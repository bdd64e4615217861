//! Reads the responses LIST, STATUS and NAMESPACE. Pure.
//!
//! The parser gives up at the first response that it rejects, such as one with an attribute `\Allowed` or
//! a number of more than 32 bits, and all folders after it would be missing.

use std::collections::BTreeMap;

use imap_proto::NameAttribute;
use log::debug;

use crate::config::INBOX;
use crate::imap::Responses;
use crate::imap::list::{FolderStatuses, ListedFolder};
use crate::imap::mailbox::{uid_next, uid_validity};
use crate::imap::utf7::decode_utf7;
use crate::message::{Mailbox, Uid, UidValidity};

/// No server takes longer names.
const MAX_NAME_OCTETS: usize = 4_096;

/// What a STATUS response says of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReportedStatus {
    pub(super) uid_validity: Option<UidValidity>,
    pub(super) uid_next: Option<Uid>,
    exists: Option<u32>,
}

impl ReportedStatus {
    fn complete(self) -> Option<Mailbox> {
        Some(Mailbox {
            uid_validity: self.uid_validity?,
            uid_next: self.uid_next?,
            exists: self.exists?,
        })
    }
}

/// A word of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ResponseWord {
    Open,
    Close,
    Atom(Vec<u8>),
    /// A quoted string or a literal.
    Text(Vec<u8>),
}

/// The folders of all LIST responses, each once; `None` if there are more than this many.
pub(super) fn listed_folders(responses: &Responses, max: usize) -> Option<Vec<ListedFolder>> {
    let mut folders = BTreeMap::new();
    for words in responses_named(responses, "LIST") {
        let Some(folder) = listed_folder(words) else {
            continue;
        };
        let place = folders.len();
        folders
            .entry(folder.name.clone())
            .or_insert((place, folder));
        if folders.len() > max {
            return None;
        }
    }
    let mut folders: Vec<(usize, ListedFolder)> = folders.into_values().collect();
    folders.sort_unstable_by_key(|(place, _)| *place);
    Some(folders.into_iter().map(|(_, folder)| folder).collect())
}

/// What all STATUS responses say that are complete.
pub(super) fn statuses_in(responses: &Responses) -> FolderStatuses {
    reported_statuses(responses)
        .filter_map(|(name, status)| Some((name, status.complete()?)))
        .collect()
}

/// What all STATUS responses say, in their order.
pub(super) fn reported_statuses(
    responses: &Responses,
) -> impl Iterator<Item = (String, ReportedStatus)> {
    responses_named(responses, "STATUS").filter_map(reported_status)
}

/// The prefixes of the personal namespaces in the lines that were received.
pub(super) fn personal_prefixes(lines: &[Vec<u8>]) -> Vec<String> {
    let mut prefixes = Vec::new();
    for line in lines {
        let Some(words) = named(line, "NAMESPACE") else {
            continue;
        };
        let mut depth = 0;
        let mut is_first = false;
        for word in words {
            match word {
                ResponseWord::Open => {
                    depth += 1;
                    is_first = depth == 2;
                }
                ResponseWord::Close => depth -= 1,
                ResponseWord::Text(octets) if depth == 2 && is_first => {
                    is_first = false;
                    prefixes.push(decoded_name(&octets));
                }
                ResponseWord::Atom(_) | ResponseWord::Text(_) => {}
            }
            if depth == 0 {
                // The others are of other users, and shared ones.
                break;
            }
        }
    }
    prefixes.retain(|prefix| !prefix.is_empty());
    prefixes
}

/// INBOX is case-insensitive (RFC 3501 5.1).
pub(super) fn with_inbox_in_capitals(name: String) -> String {
    if name.eq_ignore_ascii_case(INBOX) {
        INBOX.to_owned()
    } else {
        name
    }
}

fn listed_folder(mut words: ResponseWords<'_>) -> Option<ListedFolder> {
    let attributes = group(&mut words)?;
    let delimiter = match words.next()? {
        // The sanitizer drops a backslash.
        ResponseWord::Text(octets) if octets.is_empty() => Some('\\'),
        ResponseWord::Text(octets) => octets.first().map(|octet| char::from(*octet)),
        ResponseWord::Atom(_) => None,
        ResponseWord::Open | ResponseWord::Close => return None,
    };
    let name = match words.next()? {
        ResponseWord::Text(octets) | ResponseWord::Atom(octets) => octets,
        ResponseWord::Open | ResponseWord::Close => return None,
    };
    if name.is_empty() || name.len() > MAX_NAME_OCTETS {
        debug!("the server lists a name of {} octets: ignored", name.len());
        return None;
    }
    Some(ListedFolder {
        name: decoded_name(&name),
        delimiter,
        attributes: attributes.iter().map(|name| attribute(name)).collect(),
    })
}

fn reported_status(mut words: ResponseWords<'_>) -> Option<(String, ReportedStatus)> {
    let (ResponseWord::Text(name) | ResponseWord::Atom(name)) = words.next()? else {
        return None;
    };
    let items = group(&mut words)?;
    let value = |wanted: &str| {
        let mut pairs = items.chunks_exact(2);
        pairs.find_map(|pair| match pair {
            [name, number] if name.eq_ignore_ascii_case(wanted) => number.parse::<u64>().ok(),
            _ => None,
        })
    };
    let status = ReportedStatus {
        uid_validity: value("UIDVALIDITY").and_then(uid_validity),
        uid_next: value("UIDNEXT").and_then(uid_next),
        exists: value("MESSAGES").and_then(|count| u32::try_from(count).ok()),
    };
    Some((decoded_name(&name), status))
}

/// The atoms in parentheses.
fn group(response: &mut ResponseWords<'_>) -> Option<Vec<String>> {
    if response.next()? != ResponseWord::Open {
        return None;
    }
    let mut atoms = Vec::new();
    loop {
        match response.next()? {
            ResponseWord::Close => return Some(atoms),
            ResponseWord::Atom(octets) => atoms.push(String::from_utf8(octets).ok()?),
            ResponseWord::Text(_) | ResponseWord::Open => return None,
        }
    }
}

fn attribute(name: &str) -> NameAttribute<'static> {
    match name.to_ascii_lowercase().as_str() {
        "\\noinferiors" => NameAttribute::NoInferiors,
        "\\noselect" => NameAttribute::NoSelect,
        "\\marked" => NameAttribute::Marked,
        "\\unmarked" => NameAttribute::Unmarked,
        "\\all" => NameAttribute::All,
        "\\archive" => NameAttribute::Archive,
        "\\drafts" => NameAttribute::Drafts,
        "\\flagged" => NameAttribute::Flagged,
        "\\junk" => NameAttribute::Junk,
        "\\sent" => NameAttribute::Sent,
        "\\trash" => NameAttribute::Trash,
        _ => NameAttribute::Extension(name.to_owned().into()),
    }
}

/// A name in Unicode. Servers with UTF8=ACCEPT, and some others, send UTF-8.
fn decoded_name(octets: &[u8]) -> String {
    let name = String::from_utf8_lossy(octets).into_owned();
    with_inbox_in_capitals(decode_utf7(&name).unwrap_or(name))
}

/// The words after the name of each response of this name.
fn responses_named<'a>(
    responses: &'a Responses,
    name: &'a str,
) -> impl Iterator<Item = ResponseWords<'a>> {
    let mut rest = responses.octets.as_slice();
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (response, after) = split_response(rest);
            rest = after;
            if let Some(words) = named(response, name) {
                return Some(words);
            }
        }
        None
    })
}

fn named<'a>(response: &'a [u8], name: &str) -> Option<ResponseWords<'a>> {
    let response = response.strip_prefix(b"*")?.trim_ascii_start();
    let (word, rest) = response.split_at_checked(name.len())?;
    let is_whole = rest.first().is_some_and(u8::is_ascii_whitespace);
    (is_whole && word.eq_ignore_ascii_case(name.as_bytes())).then_some(ResponseWords(rest))
}

/// Splits off the first response, with its literals.
fn split_response(octets: &[u8]) -> (&[u8], &[u8]) {
    let mut end = line_end(octets, 0);
    let is_text = ["OK", "BYE", "NO", "BAD"]
        .iter()
        .any(|word| named(octets, word).is_some());
    if octets.starts_with(b"*") && !is_text {
        while let Some(literal) = octets.get(..end).and_then(literal_at_end) {
            end = line_end(octets, end.saturating_add(literal));
        }
    }
    octets.split_at_checked(end).unwrap_or((octets, b""))
}

/// Where the line ends that this place is in.
fn line_end(octets: &[u8], place: usize) -> usize {
    let rest = octets.get(place..).unwrap_or_default();
    let end = rest.iter().position(|octet| *octet == b'\n');
    end.map_or(octets.len(), |end| place + end + 1)
}

/// The length of the literal that a line announces by its end.
fn literal_at_end(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let begin = line.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(line.get(begin + 1..)?)
        .ok()?
        .parse()
        .ok()
}

/// The words of a response.
struct ResponseWords<'a>(&'a [u8]);

impl Iterator for ResponseWords<'_> {
    type Item = ResponseWord;

    fn next(&mut self) -> Option<ResponseWord> {
        self.0 = self.0.trim_ascii_start();
        let (&first, rest) = self.0.split_first()?;
        match first {
            b'(' | b')' => {
                self.0 = rest;
                Some(if first == b'(' {
                    ResponseWord::Open
                } else {
                    ResponseWord::Close
                })
            }
            b'"' => {
                self.0 = rest;
                Some(ResponseWord::Text(self.quoted()))
            }
            b'{' => {
                let end = line_end(self.0, 0);
                let (line, rest) = self.0.split_at_checked(end)?;
                match literal_at_end(line) {
                    Some(length) => {
                        let (text, rest) = rest.split_at_checked(length)?;
                        self.0 = rest;
                        Some(ResponseWord::Text(text.to_vec()))
                    }
                    None => Some(self.atom()),
                }
            }
            _ => Some(self.atom()),
        }
    }
}

impl ResponseWords<'_> {
    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some((&octet, rest)) = self.0.split_first() {
            self.0 = rest;
            match (octet, rest.split_first()) {
                (b'"', _) => break,
                (b'\\', Some((&escaped, rest))) => {
                    text.push(escaped);
                    self.0 = rest;
                }
                _ => text.push(octet),
            }
        }
        text
    }

    fn atom(&mut self) -> ResponseWord {
        let ends = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b'(' | b')');
        let end = self.0.iter().position(ends).unwrap_or(self.0.len());
        let (atom, rest) = self.0.split_at_checked(end).unwrap_or((self.0, b""));
        self.0 = rest;
        ResponseWord::Atom(atom.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::list::ListedFolder;

    fn responses(text: &str) -> Responses {
        text.replace('\n', "\r\n").as_bytes().into()
    }

    fn listed(text: &str) -> Vec<ListedFolder> {
        listed_folders(&responses(text), 100).unwrap()
    }

    fn names(text: &str) -> Vec<String> {
        listed(text).into_iter().map(|folder| folder.name).collect()
    }

    #[test]
    fn names_are_read_as_atoms_strings_and_literals() {
        let text = "* LIST (\\HasNoChildren) \"/\" INBOX\n\
                    * LIST () \"/\" {3}\na b\n\
                    * list () \"/\" {9}\nGr&APwA3w-e\n"
            .replace("{9}", "{11}");
        assert_eq!(names(&text), ["INBOX", "a b", "Grüße"]);
        assert_eq!(names("* LIST () \"/\" {7}\nGr\u{fc}\u{df}e\n"), ["Grüße"]);
        // What is no modified UTF-7 stays.
        assert_eq!(names("* LIST () \"/\" {3}\na&b\n"), ["a&b"]);
        // A line end in a literal ends no response.
        assert_eq!(
            names("* LIST () \"/\" {13}\n* LIST () x\n\n* LIST () \"/\" y\n"),
            ["* LIST () x\r\n", "y"]
        );
    }

    #[test]
    fn what_the_parser_rejects_hides_no_folder() {
        let text = "* OK text {5}\n\
                    * LIST (\\Allowed \\NonExistent \\SENT) NIL a\n\
                    * LIST (\\HasChildren) \"\" b (\"CHILDINFO\" (\"SUBSCRIBED\"))\n\
                    * LIST (\\Noselect \"/\" c\n\
                    * LIST\n\
                    * LIST () \"/\"\n\
                    * LIST () \"/\" {0}\n\n\
                    * LISTEN () \"/\" d\n\
                    * LIST () \".\" inbox\n\
                    * LIST () \".\" e\n\
                    * LIST () \".\" e\n\
                    a1 OK done\n";
        let found = listed(text);
        let names: Vec<&str> = found.iter().map(|folder| folder.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "INBOX", "e"]);
        let delimiters: Vec<Option<char>> = found.iter().map(|folder| folder.delimiter).collect();
        assert_eq!(delimiters, [None, Some('\\'), Some('.'), Some('.')]);
        assert_eq!(
            found.first().unwrap().attributes,
            [
                NameAttribute::Extension("\\Allowed".into()),
                NameAttribute::Extension("\\NonExistent".into()),
                NameAttribute::Sent,
            ]
        );
        assert!(!found.first().unwrap().is_selectable());
        assert!(found.get(1).unwrap().is_selectable());
    }

    #[test]
    fn more_folders_than_the_limit_are_too_many_and_a_name_without_end_is_ignored() {
        let text = ["f0", "f1", "f2", "f3", "f4"].map(|name| format!("* LIST () \"/\" {name}\n"));
        let text = text.concat();
        assert_eq!(listed_folders(&responses(&text), 5).unwrap().len(), 5);
        assert_eq!(listed_folders(&responses(&text), 4), None);
        let long = format!("* LIST () \"/\" {}\n* LIST () \"/\" x\n", "a".repeat(5_000));
        assert_eq!(names(&long), ["x"]);
    }

    #[test]
    fn a_status_is_read_whatever_its_order_and_its_numbers() {
        let status = |line: &str| {
            let found = statuses_in(&responses(&format!("{line}\n")));
            found.into_iter().next().map(|(name, mailbox)| {
                let (validity, next) = (mailbox.uid_validity.get(), mailbox.uid_next.get());
                (name, validity, next, mailbox.exists)
            })
        };
        let cases = [
            (
                "* STATUS inbox (MESSAGES 3 UIDNEXT 5 UIDVALIDITY 7)",
                Some(("INBOX".to_owned(), 7, 5, 3)),
            ),
            (
                "* STATUS {3}\na b (uidvalidity 7 recent 0 uidnext 5 messages 3)",
                Some(("a b".to_owned(), 7, 5, 3)),
            ),
            (
                // 2^32 + 6
                "* STATUS a (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 4294967302 HIGHESTMODSEQ 99999999999999)",
                Some(("a".to_owned(), 7, 1, 0)),
            ),
            ("* STATUS a (MESSAGES 3 UIDNEXT 5)", None),
            ("* STATUS a (MESSAGES 3 UIDNEXT 0 UIDVALIDITY 7)", None),
            ("* STATUS a (MESSAGES many UIDNEXT 5 UIDVALIDITY 7)", None),
            ("* STATUS a MESSAGES 3", None),
            ("* STATUS", None),
        ];
        for (line, expected) in cases {
            assert_eq!(status(line), expected, "{line}");
        }
    }

    #[test]
    fn the_prefixes_are_those_of_the_personal_namespaces() {
        let cases: [(&str, &[&str]); 6] = [
            ("* NAMESPACE ((\"\" \"/\")) NIL NIL", &[]),
            (
                "* NAMESPACE ((\"INBOX.\" \".\")) NIL ((\"shared.\" \".\"))",
                &["INBOX."],
            ),
            (
                "* namespace ((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"FLAG1\"))) NIL NIL",
                &["#mh/"],
            ),
            ("* NAMESPACE NIL ((\"~\" \"/\")) NIL", &[]),
            ("* NAMESPACE ((\"Gr&APwA3w-e.\" \".\")", &["Grüße."]),
            ("* OK NAMESPACE ((\"x\" \"/\"))", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(
                personal_prefixes(&[line.as_bytes().to_vec()]),
                expected,
                "{line}"
            );
        }
    }
}
