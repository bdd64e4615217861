//! SEARCH criteria for messages by their Message-IDs (RFC 3501 6.4.4). Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, FixedOffset, NaiveDate, Utc};

use crate::imap::{quoted, search_date};
use crate::message::MessageId;

/// Lines stay below 8000 octets (GMAIL.md 4); the tag and the command come before.
const MAX_LENGTH: usize = 7_800;

/// Ids in one search: a server without an index of ids reads its mailbox once for each search. The
/// criteria nest five deep at most, because a parser may have a limit.
const MAX_IDS: usize = 32;

/// A search for several ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdSearch<'a> {
    /// What follows `UID SEARCH`.
    pub(super) criteria: String,
    /// The ids, each once.
    pub(super) ids: Vec<&'a MessageId>,
}

/// As few searches as possible for all of these ids. An id that cannot be in a command is left out.
///
/// A server matches parts of a field and ignores case: what it finds must be compared.
pub(super) fn by_ids<'a>(ids: &[&'a MessageId]) -> Vec<IdSearch<'a>> {
    let mut searches: Vec<(Vec<&MessageId>, Vec<String>)> = Vec::new();
    let mut length = 0;
    for id in ids {
        let Some(key) = by_id(id) else {
            continue;
        };
        length += "OR  ".len() + key.len();
        match searches.last_mut() {
            Some((asked, _)) if asked.contains(id) => {}
            Some((asked, keys)) if asked.len() < MAX_IDS && length <= MAX_LENGTH => {
                asked.push(id);
                keys.push(key);
            }
            _ => {
                length = key.len();
                searches.push((vec![id], vec![key]));
            }
        }
    }
    let searches = searches.into_iter();
    let searches = searches.map(|(ids, keys)| IdSearch {
        criteria: any_of(&keys),
        ids,
    });
    searches.collect()
}

/// Criteria for what matches one of these keys, nested as little as possible.
fn any_of(keys: &[String]) -> String {
    if keys.len() <= 1 {
        return keys.concat();
    }
    let (one, other) = keys.split_at(keys.len().div_ceil(2));
    format!("OR {} {}", any_of(one), any_of(other))
}

/// The search key for an id; none if it cannot be in a command.
pub(super) fn by_id(id: &MessageId) -> Option<String> {
    let key = format!("HEADER Message-ID {}", quoted(id.as_str())?);
    (key.len() <= MAX_LENGTH).then_some(key)
}

/// Searches for the messages received on the days of these dates: and on the days next to them, because
/// a server may count days in another time zone.
pub(super) fn by_days(dates: impl Iterator<Item = DateTime<FixedOffset>>) -> Vec<String> {
    let days: BTreeSet<NaiveDate> = dates.map(|date| date.to_utc().date_naive()).collect();
    let mut ranges: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    for day in days {
        let first = day.checked_sub_days(Days::new(1)).unwrap_or(day);
        let end = day.checked_add_days(Days::new(2)).unwrap_or(day);
        match ranges.last_mut() {
            Some((_, last)) if first <= *last => *last = end,
            _ => ranges.push((first, end)),
        }
    }
    let criteria =
        |(first, end)| format!("SINCE {} BEFORE {}", search_date(first), search_date(end));
    ranges.into_iter().map(criteria).collect()
}

/// Searches for the messages received since this time, and on the day before, because a server may count
/// days in another time zone.
pub(super) fn since(time: DateTime<Utc>) -> String {
    let day = time.date_naive();
    let first = day.checked_sub_days(Days::new(1)).unwrap_or(day);
    format!("SINCE {}", search_date(first))
}

/// Gmail's own search for an id of a kind that its HEADER search is known to miss (GMAIL.md 4);
/// none for other ids, and for ids with characters that have a meaning in this search.
pub(super) fn by_gmail_raw(id: &MessageId) -> Option<String> {
    let id = id.as_str();
    let is_odd = id.contains(['{', '}', '!', '&', '%']);
    let bare = id.strip_prefix('<').unwrap_or(id);
    let bare = bare.strip_suffix('>').unwrap_or(bare);
    let is_plain =
        bare.bytes().all(|octet| octet.is_ascii_graphic()) && !bare.contains(['"', '\\']);
    (is_odd && is_plain && bare.len() <= MAX_LENGTH - 100)
        .then(|| format!("X-GM-RAW \"rfc822msgid:{bare}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MessageId {
        MessageId::from_field(text).unwrap()
    }

    fn searches(ids: &[MessageId]) -> Vec<String> {
        let ids: Vec<&MessageId> = ids.iter().collect();
        by_ids(&ids)
            .into_iter()
            .map(|search| search.criteria)
            .collect()
    }

    #[test]
    fn several_ids_are_one_search() {
        let ids = [id("<a@x>"), id("<b@x>"), id("<a@x>"), id("<c@x>")];
        let expected = "OR OR HEADER Message-ID \"<a@x>\" HEADER Message-ID \"<b@x>\" \
                        HEADER Message-ID \"<c@x>\"";
        assert_eq!(searches(&ids), [expected]);
        assert_eq!(searches(&ids[..1]), ["HEADER Message-ID \"<a@x>\""]);
        assert!(searches(&[]).is_empty());
    }

    #[test]
    fn many_ids_nest_five_deep() {
        let ids: Vec<MessageId> = (10..50).map(|n| id(&format!("<{n}@x>"))).collect();
        let searches = searches(&ids);
        let counts = searches.iter().map(|text| text.matches("HEADER").count());
        assert_eq!(counts.collect::<Vec<_>>(), [32, 8]);
        assert!(searches[0].starts_with("OR OR OR OR OR HEADER"));
        assert!(searches[0].contains("<11@x>\" OR HEADER Message-ID \"<12@x>"));
    }

    #[test]
    fn an_id_is_quoted_or_left_out() {
        assert_eq!(
            searches(&[id("<a\"b\\c d@x>")]),
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
        assert!(searches(&[id(&format!("<{}>", "\\".repeat(3_990)))]).is_empty());
    }

    #[test]
    fn lines_stay_below_eight_thousand_octets() {
        let ids: Vec<MessageId> = (0..500)
            .map(|n| id(&format!("<{n}-{}>", "x".repeat(n))))
            .collect();
        let searches = searches(&ids);
        assert!(
            searches
                .iter()
                .all(|text| text.len() + "a1234567 UID SEARCH \r\n".len() < 8_000)
        );
        for id in &ids {
            let asked = searches.iter().filter(|text| text.contains(id.as_str()));
            assert_eq!(asked.count(), 1, "{id}");
        }
        assert!(searches.len() < 60, "{}", searches.len());
    }

    #[test]
    fn days_that_are_close_together_are_one_search() {
        let date = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let dates = [
            date("2026-11-05T23:30:00-05:00"),
            date("2026-11-03T12:00:00+00:00"),
            date("2026-12-31T12:00:00+00:00"),
        ];
        assert_eq!(
            by_days(dates.into_iter()),
            [
                "SINCE 2-Nov-2026 BEFORE 8-Nov-2026",
                "SINCE 30-Dec-2026 BEFORE 2-Jan-2027"
            ]
        );
        assert!(by_days(std::iter::empty()).is_empty());
    }

    #[test]
    fn gmails_own_search_is_for_odd_ids_only() {
        let own = |text: &str| by_gmail_raw(&id(text));
        let expected = "X-GM-RAW \"rfc822msgid:!&!AA{b}%c@x\"";
        assert_eq!(own("<!&!AA{b}%c@x>").as_deref(), Some(expected));
        for text in ["<a@x>", "<a%\"b@x>", "<a%\\b@x>", "<a% b@x>", "<\u{fc}%@x>"] {
            assert_eq!(own(text), None, "{text}");
        }
    }
}
