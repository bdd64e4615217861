//! Names at the target: how the name of a source folder is translated, and what Gmail takes
//! (GMAIL.md 1.5). Pure.

use crate::config::INBOX;
use crate::imap::{FolderListing, ListedFolder};

/// Gmail's delimiter.
const DEFAULT_DELIMITER: char = '/';

/// Takes the place of the target's delimiter in names of a source without levels.
const DEFAULT_SOURCE_DELIMITER: char = '.';

/// Gmail's tabs, whose names it keeps for itself.
const CATEGORIES: [&str; 5] = ["Primary", "Social", "Promotions", "Updates", "Forums"];

/// The first level of Gmail's own folders.
const SYSTEM_LEVELS: [&str; 2] = ["[Gmail]", "[Google Mail]"];

/// The name of a source folder as the target writes it: without the source's prefix, with the target's.
/// The two delimiters change places: a level stays a level, a character within one becomes none, and no
/// two names become the same.
pub(super) fn translated(
    folder: &ListedFolder,
    source: &FolderListing,
    target: &FolderListing,
) -> String {
    if folder.name == INBOX {
        return INBOX.to_owned();
    }
    let prefixes = source.personal_prefixes.iter();
    let without_prefix = prefixes.filter_map(|prefix| folder.name.strip_prefix(prefix.as_str()));
    let name = without_prefix
        .filter(|name| !name.is_empty())
        .min_by_key(|name| name.len())
        .unwrap_or(&folder.name);
    let from = folder.delimiter.unwrap_or(DEFAULT_SOURCE_DELIMITER);
    let to = delimiter(target);
    let exchanged = name.chars().map(|character| match character {
        it if it == to => from,
        it if it == from && folder.delimiter.is_some() => to,
        it => it,
    });
    let name: String = exchanged.collect();
    if name.eq_ignore_ascii_case(INBOX) {
        return INBOX.to_owned();
    }
    let prefix = target.personal_prefixes.first();
    format!("{}{name}", prefix.map_or("", String::as_str))
}

fn delimiter(listing: &FolderListing) -> char {
    let mut delimiters = listing.folders.iter().filter_map(|folder| folder.delimiter);
    delimiters.next().unwrap_or(DEFAULT_DELIMITER)
}

/// Why Gmail would refuse to create a label of this name.
pub(super) fn refusal_by_gmail(name: &str) -> Option<&'static str> {
    let levels = || name.split(DEFAULT_DELIMITER);
    if name.contains(char::is_control) {
        Some("Gmail takes no control characters in a name")
    } else if levels().any(str::is_empty) {
        Some("Gmail takes no empty level in a name (a \"/\" at its end, or two of them)")
    } else if levels().any(|level| level.trim() != level) || name.contains("  ") {
        Some("Gmail takes no blanks at either end of a name or level, and no two in a row")
    } else if name.contains('^') {
        Some("Gmail takes no \"^\" in a name")
    } else if is_below_system_level(name) {
        Some("Gmail keeps names below [Gmail] to itself")
    } else if CATEGORIES.iter().any(|it| it.eq_ignore_ascii_case(name)) {
        Some("Gmail keeps the names of its categories to itself")
    } else {
        None
    }
}

/// Whether a name is that of a folder of Gmail's own, or of the level above them.
pub(super) fn is_below_system_level(name: &str) -> bool {
    let first = name.split(DEFAULT_DELIMITER).next().unwrap_or_default();
    SYSTEM_LEVELS
        .iter()
        .any(|system| first.eq_ignore_ascii_case(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(prefixes: &[&str], delimiter: Option<char>) -> FolderListing {
        FolderListing {
            folders: vec![folder("INBOX", delimiter)],
            personal_prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
        }
    }

    fn folder(name: &str, delimiter: Option<char>) -> ListedFolder {
        ListedFolder {
            name: name.to_owned(),
            delimiter,
            attributes: Vec::new(),
        }
    }

    #[test]
    fn a_name_keeps_its_levels_and_loses_its_prefix() {
        let cases: [(&str, Option<char>, &[&str], &str); 13] = [
            ("a/b", Some('/'), &[], "a/b"),
            ("a.b/c", Some('/'), &[], "a.b/c"),
            ("a.b", Some('.'), &[], "a/b"),
            ("a/b.c/d", Some('.'), &[], "a.b/c.d"),
            ("a/b.c", None, &[], "a.b.c"),
            ("INBOX", Some('.'), &["INBOX."], "INBOX"),
            ("INBOX.Sent", Some('.'), &["INBOX."], "Sent"),
            ("INBOX.Lists.日本", Some('.'), &["INBOX."], "Lists/日本"),
            ("INBOX.Lists", Some('.'), &[], "INBOX/Lists"),
            ("Other.x", Some('.'), &["INBOX."], "Other/x"),
            ("INBOX.inbox", Some('.'), &["INBOX."], "INBOX"),
            ("#mh/x", Some('/'), &["#", "#mh/"], "x"),
            ("#mh/", Some('/'), &["#mh/"], "#mh/"),
        ];
        let gmail = listing(&[], Some('/'));
        for (name, delimiter, prefixes, expected) in cases {
            let source = listing(prefixes, delimiter);
            let found = translated(&folder(name, delimiter), &source, &gmail);
            assert_eq!(found, expected, "{name}");
        }
        let courier = listing(&["INBOX."], Some('.'));
        let dovecot = listing(&[], Some('/'));
        let found = translated(&folder("a.b/c", Some('/')), &dovecot, &courier);
        assert_eq!(found, "INBOX.a/b.c");
    }

    #[test]
    fn gmail_refuses_some_names() {
        let refused = [
            " a",
            "a ",
            "a  b",
            "a /b",
            "a/ b",
            "a^b",
            "/a",
            "a/",
            "a//b",
            "[Gmail]",
            "[gmail]/x",
            "[Google Mail]/x",
            "updates",
            "Promotions",
            "a\nb",
            "",
        ];
        for name in refused {
            assert!(refusal_by_gmail(name).is_some(), "{name:?}");
        }
        let taken = [
            "a",
            "a b",
            "a/b c/d",
            "[Gmail",
            "x/[Gmail]",
            "Updates/x",
            "Größe \"1\"",
            "日本語",
            "Sent",
        ];
        for name in taken {
            assert_eq!(refusal_by_gmail(name), None, "{name:?}");
        }
    }
}
