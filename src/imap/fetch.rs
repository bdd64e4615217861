//! FETCH: readers of its responses (RFC 3501 6.4.5, 7.4.2).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike};
use imap_proto::{AttributeValue, MessageSection, Response, SectionPath};

use crate::imap::{Command, CommandError, CommandResult, FetchItems, Responses, Session, Tag};
use crate::message::{Flags, HashedOctets, Identity, InternalDate, Uid, UidSet};

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

/// Reads the attributes that FETCH responses hold, solicited or not.
#[must_use]
pub fn read_attributes(responses: &Responses) -> BTreeMap<Uid, MessageAttributes> {
    let mut messages: BTreeMap<Uid, MessageAttributes> = BTreeMap::new();
    for attributes in fetch_responses(responses) {
        let Some(uid) = uid_of(&attributes) else {
            continue;
        };
        let message = messages.entry(uid).or_default();
        for attribute in &attributes {
            message.add(attribute);
        }
    }
    messages
}

/// Takes the bodies out of FETCH responses; none for NIL.
#[must_use]
pub fn take_bodies(mut responses: Responses) -> BTreeMap<Uid, Option<HashedOctets>> {
    let mut received = std::mem::take(&mut responses.bodies).into_iter();
    let mut bodies: BTreeMap<Uid, Option<HashedOctets>> = BTreeMap::new();
    for attributes in fetch_responses(&responses) {
        let uid = uid_of(&attributes);
        for attribute in attributes {
            let AttributeValue::BodySection {
                section: None,
                data,
                ..
            } = attribute
            else {
                continue;
            };
            let received = data.and_then(|_| received.next());
            if let Some(uid) = uid {
                let body = bodies.entry(uid).or_default();
                *body = received.or(body.take());
            }
        }
    }
    bodies
}

fn fetch_responses(responses: &Responses) -> impl Iterator<Item = Vec<AttributeValue<'_>>> {
    responses.iter().filter_map(|response| match response {
        Response::Fetch(_, attributes) => Some(attributes),
        _ => None,
    })
}

/// The UID of a FETCH response; those without one are about changes of flags.
fn uid_of(attributes: &[AttributeValue<'_>]) -> Option<Uid> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::Uid(uid) => Uid::new(*uid),
        _ => None,
    })
}

impl Session {
    /// Fetches whole messages, to be read by [`take_bodies`]. The connection breaks if the response
    /// is larger than the allowance, or 32 MiB if that is more.
    pub(crate) fn fetch_bodies(&mut self, uids: UidSet, allowance: u64) -> CommandResult {
        self.set_allowance(allowance);
        let responses = self.command(Command::UidFetch(uids.into(), FetchItems::Body));
        self.set_allowance(0);
        responses
    }

    /// As [`fetch_bodies`](Session::fetch_bodies), without waiting for the response: that is taken
    /// [later](Session::finish_fetch), or [dropped](Session::drop_fetch). Other commands may be run
    /// meanwhile.
    pub(crate) fn start_fetch_bodies(
        &mut self,
        uids: UidSet,
        allowance: u64,
    ) -> Result<Tag, CommandError> {
        self.set_allowance(allowance);
        self.send_command(&Command::UidFetch(uids.into(), FetchItems::Body))
    }

    /// Waits for the response. The allowance is for this one and all that may come with it.
    pub(crate) fn finish_fetch(&mut self, tag: Tag, allowance: u64) -> CommandResult {
        // Nobody waited for it so far.
        self.client.connection().restart_clock();
        self.set_allowance(allowance);
        let responses = self.receive_result(tag);
        self.set_allowance(0);
        responses
    }

    /// Drops the response of a fetch, whether it has arrived or not.
    pub(crate) fn drop_fetch(&mut self, tag: Tag) {
        self.client.ignore(tag);
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
    fn a_body_that_was_sent_outlasts_a_nil_for_it_and_belongs_to_its_own_message() {
        let responses = Responses {
            octets: b"* 1 FETCH (BODY[] {0}\r\n)\r\n* 1 FETCH (UID 7 BODY[] {0}\r\n)\r\n\
                * 1 FETCH (UID 7 BODY[] NIL)\r\n* 2 FETCH (UID 8 BODY[] NIL)\r\n\
                * 3 FETCH (BODY[] {0}\r\n UID 9)\r\n"
                .to_vec(),
            bodies: [b"nobody's".as_slice(), b"a", b"b"]
                .map(|octets| HashedOctets::new(octets.to_vec()))
                .to_vec(),
        };
        let bodies = take_bodies(responses);
        let body = |uid| {
            let body = bodies.get(&Uid::new(uid).unwrap()).unwrap().as_ref();
            body.map(|body| body.octets.as_slice())
        };
        assert_eq!(
            (body(7), body(8), body(9)),
            (Some(b"a".as_slice()), None, Some(b"b".as_slice()))
        );
    }
}
