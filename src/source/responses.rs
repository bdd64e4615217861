//! What the source answers to a FETCH, however it writes it: pure.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike};
use imap_proto::{AttributeValue, MessageSection, SectionPath};

use crate::imap::{fetch_responses, uid_attribute};
use crate::message::{Flags, Identity, InternalDate, Listed, Uid, UidSet};
use crate::sync::Fetched;

/// What a listing tells of one message, gathered from as many responses as the server makes of it.
#[derive(Default)]
struct ListingEntry {
    size: Option<u64>,
    internal_date: InternalDate,
    flags: Flags,
    identity: Option<Identity>,
}

/// The messages of a listing; those of which the server gives no size or no header are left out,
/// and so is what it tells unasked.
pub(super) fn read_listing(answer: &[u8], asked: &UidSet) -> Vec<Listed> {
    let mut entries: BTreeMap<Uid, ListingEntry> = BTreeMap::new();
    for attributes in fetch_responses(answer) {
        let Some(uid) = uid_attribute(&attributes).filter(|uid| asked.contains(*uid)) else {
            continue;
        };
        let entry = entries.entry(uid).or_default();
        for attribute in attributes {
            entry.add(&attribute);
        }
    }
    entries
        .into_iter()
        .filter_map(|(uid, entry)| {
            Some(Listed {
                uid,
                size: entry.size?,
                internal_date: entry.internal_date,
                flags: entry.flags,
                identity: entry.identity?,
            })
        })
        .collect()
}

impl ListingEntry {
    fn add(&mut self, attribute: &AttributeValue<'_>) {
        match attribute {
            AttributeValue::Rfc822Size(size) => self.size = Some(u64::from(*size)),
            AttributeValue::InternalDate(date) => self.internal_date = internal_date(date),
            AttributeValue::Flags(names) => self.flags = flags(names.iter().map(AsRef::as_ref)),
            AttributeValue::BodySection {
                section: Some(SectionPath::Full(MessageSection::Header)),
                data: Some(header),
                ..
            } => self.identity = Some(Identity::of_header(header)),
            _ => {}
        }
    }
}

/// Years that a message may be of; sums with dates at the end of time overflow.
const YEARS: RangeInclusive<i32> = 1900..=9999;

/// A date as servers write it, ` 1-Feb-2026 09:08:07 +0100` (RFC 3501, `date-time`).
fn internal_date(text: &str) -> InternalDate {
    let date = DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok();
    date.filter(|date| YEARS.contains(&date.year()))
}

fn flags<'a>(names: impl Iterator<Item = &'a str>) -> Flags {
    let mut flags = Flags::default();
    for name in names {
        flags.seen |= name.eq_ignore_ascii_case("\\Seen");
        flags.flagged |= name.eq_ignore_ascii_case("\\Flagged");
        flags.answered |= name.eq_ignore_ascii_case("\\Answered");
    }
    flags
}

/// The bodies that a fetch gave.
pub(super) fn read_bodies(answer: &[u8]) -> BTreeMap<Uid, Fetched> {
    let mut bodies = BTreeMap::new();
    for attributes in fetch_responses(answer) {
        let Some(uid) = uid_attribute(&attributes) else {
            continue;
        };
        for attribute in attributes {
            let AttributeValue::BodySection { section, data, .. } = attribute else {
                continue;
            };
            match data {
                Some(octets) if section.is_none() => {
                    bodies.insert(uid, Fetched::Octets(octets.into_owned()));
                }
                None if section.is_none() => {
                    let nil = "the server gives NIL for it".to_owned();
                    bodies.entry(uid).or_insert(Fetched::Unreadable(nil));
                }
                _ => {}
            }
        }
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_servers_write_them() {
        let cases = [
            (
                "17-Jul-1996 02:44:25 -0700",
                Some("1996-07-17T02:44:25-07:00"),
            ),
            (
                " 1-Feb-2026 09:08:07 +0130",
                Some("2026-02-01T09:08:07+01:30"),
            ),
            (
                "1-feb-2026 09:08:07 +0000",
                Some("2026-02-01T09:08:07+00:00"),
            ),
            ("32-Jan-2026 00:00:00 +0000", None),
            ("31-Dec-+262142 23:59:59 -1200", None),
            ("01-Jan--262143 00:00:00 +1200", None),
            ("31-Dec-1899 23:59:59 +0000", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.and_then(|date| DateTime::parse_from_rfc3339(date).ok());
            assert_eq!(internal_date(text), expected, "{text}");
        }
    }
}
