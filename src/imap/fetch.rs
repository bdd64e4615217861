//! FETCH: the commands, and readers of their responses (RFC 3501 6.4.5, 7.4.2).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike};
use imap_proto::{AttributeValue, MessageSection, Response, SectionPath};

use crate::imap::response::responses;
use crate::imap::{CommandError, Session};
use crate::message::{Flags, Identity, InternalDate, Uid, UidSet};

/// The header fields that identify a message.
const IDENTITY_HEADER: &str = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)]";

/// Years that an INTERNALDATE may be of: arithmetic with dates at the limits of time overflows.
const VALID_YEARS: RangeInclusive<i32> = 1900..=9999;

/// The attributes of a message, merged from all FETCH responses about it.
#[derive(Debug, Default)]
pub struct MessageAttributes {
    /// RFC822.SIZE.
    pub(crate) size: Option<u64>,
    /// None also if the server sends NIL or a malformed date.
    pub(crate) internal_date: InternalDate,
    pub(crate) flags: Flags,
    /// From the header.
    pub(crate) identity: Option<Identity>,
}

/// The FETCH command for everything that a listing of these messages needs.
pub(crate) fn listing_command(uids: impl Display) -> String {
    format!("UID FETCH {uids} (UID RFC822.SIZE INTERNALDATE FLAGS {IDENTITY_HEADER})")
}

/// The FETCH command for what identifies these messages.
pub(crate) fn identity_command(uids: &UidSet) -> String {
    format!("UID FETCH {uids} (UID RFC822.SIZE INTERNALDATE {IDENTITY_HEADER})")
}

/// Reads the attributes that FETCH responses hold, solicited or not.
#[must_use]
pub fn read_attributes(response: &[u8]) -> BTreeMap<Uid, MessageAttributes> {
    let mut messages: BTreeMap<Uid, MessageAttributes> = BTreeMap::new();
    for (uid, attributes) in fetch_responses(response) {
        let message = messages.entry(uid).or_default();
        for attribute in &attributes {
            message.add(attribute);
        }
    }
    messages
}

/// Reads the bodies that FETCH responses hold; none for NIL.
#[must_use]
pub fn read_bodies(response: &[u8]) -> BTreeMap<Uid, Option<Cow<'_, [u8]>>> {
    let mut bodies: BTreeMap<Uid, Option<Cow<'_, [u8]>>> = BTreeMap::new();
    for (uid, attributes) in fetch_responses(response) {
        for attribute in attributes {
            if let AttributeValue::BodySection {
                section: None,
                data,
                ..
            } = attribute
            {
                let body = bodies.entry(uid).or_default();
                *body = data.or(body.take());
            }
        }
    }
    bodies
}

/// The FETCH responses with their UIDs; those without are about changes of flags.
fn fetch_responses(response: &[u8]) -> impl Iterator<Item = (Uid, Vec<AttributeValue<'_>>)> {
    responses(response).filter_map(|response| {
        let Response::Fetch(_, attributes) = response else {
            return None;
        };
        let uid = attributes.iter().find_map(|attribute| match attribute {
            AttributeValue::Uid(uid) => Uid::new(*uid),
            _ => None,
        })?;
        Some((uid, attributes))
    })
}

impl Session {
    /// Fetches whole messages, to be read by [`read_bodies`]. The connection breaks if the response
    /// is larger than the allowance, or 32 MiB if that is more.
    pub(crate) fn fetch_bodies(
        &mut self,
        uids: impl Display,
        allowance: u64,
    ) -> Result<Vec<u8>, CommandError> {
        self.transcript().set_allowance(allowance);
        let response = self.command(&format!("UID FETCH {uids} (UID BODY.PEEK[])"));
        self.transcript().set_allowance(0);
        response
    }
}

impl MessageAttributes {
    fn add(&mut self, attribute: &AttributeValue<'_>) {
        match attribute {
            AttributeValue::Rfc822Size(size) => self.size = Some(u64::from(*size)),
            AttributeValue::InternalDate(date) => self.internal_date = parse_internal_date(date),
            AttributeValue::Flags(names) => {
                self.flags = parse_flags(names.iter().map(AsRef::as_ref));
            }
            AttributeValue::BodySection {
                section: Some(SectionPath::Full(MessageSection::Header)),
                data: Some(header),
                ..
            } => self.identity = Some(Identity::of_header(header)),
            _ => {}
        }
    }
}

/// Parses ` 1-Feb-2026 09:08:07 +0100` (RFC 3501, `date-time`).
fn parse_internal_date(text: &str) -> InternalDate {
    let date = DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok();
    date.filter(|date| VALID_YEARS.contains(&date.year()))
}

fn parse_flags<'a>(names: impl Iterator<Item = &'a str>) -> Flags {
    let mut flags = Flags::default();
    for name in names {
        flags.seen |= name.eq_ignore_ascii_case("\\Seen");
        flags.flagged |= name.eq_ignore_ascii_case("\\Flagged");
        flags.answered |= name.eq_ignore_ascii_case("\\Answered");
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_dates_are_parsed_in_the_forms_that_servers_use() {
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
            assert_eq!(parse_internal_date(text), expected, "{text}");
        }
    }

    #[test]
    fn a_body_that_was_sent_outlasts_a_nil_for_it() {
        let response = b"* 1 FETCH (UID 7 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 7 BODY[] NIL)\r\n\
                         * 2 FETCH (UID 8 BODY[] NIL)\r\n";
        let bodies = read_bodies(response);
        let body = |uid| bodies.get(&Uid::new(uid).unwrap()).unwrap().as_deref();
        assert_eq!((body(7), body(8)), (Some(b"a".as_slice()), None));
    }
}
