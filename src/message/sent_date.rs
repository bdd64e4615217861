//! The Date field, for messages whose arrival date is unknown.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, Utc};
use mail_parser::{HeaderName, HeaderValue, MessageParser};

use crate::message::digest::header_block;

/// No mail of the Internet is older.
const EARLIEST_YEAR: u16 = 1980;

/// The date in a message's first Date field (RFC 5322 3.6.1), if it is plausible: readable, and not
/// more than a day in the future. The sender writes what he likes: it may be shown, and selects
/// nothing.
#[must_use]
pub fn sent_date(octets: &[u8], now: DateTime<Utc>) -> Option<DateTime<FixedOffset>> {
    let block = header_block(octets);
    let parsed = MessageParser::new()
        .header_date(HeaderName::Date)
        .default_header_ignore()
        .parse_headers(&block)?;
    let mut headers = parsed.headers().iter();
    let field = headers.find(|header| header.name == HeaderName::Date)?;
    let HeaderValue::DateTime(date) = &field.value else {
        return None;
    };
    let day = NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())?;
    // A leap second is none for most programs.
    let second = date.second.min(59);
    let time = NaiveTime::from_hms_opt(date.hour.into(), date.minute.into(), second.into())?;
    let offset = i32::from(date.tz_hour) * 3600 + i32::from(date.tz_minute) * 60;
    let offset = if date.tz_before_gmt { -offset } else { offset };
    let zone = FixedOffset::east_opt(offset)?;
    let date_time = day.and_time(time).and_local_timezone(zone).single()?;
    let is_plausible = date.year >= EARLIEST_YEAR && date_time <= now + Days::new(1);
    is_plausible.then_some(date_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plausible_date_field_is_read_and_another_is_not() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        for (header, expected) in [
            (
                "Date: Fri, 20 Nov 2026 10:00:60 +0130",
                Some("2026-11-20T10:00:59+01:30"),
            ),
            (
                "date: 1 Feb 96 9:08:07 GMT\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000",
                Some("1996-02-01T09:08:07+00:00"),
            ),
            (
                "Date:\r\n Mon, 23 Nov 2026\r\n 11:59:59 -0000 (UTC)",
                Some("2026-11-23T11:59:59+00:00"),
            ),
            ("Date: Mon, 23 Nov 2026 12:00:01 +0000", None),
            ("Date: Mon, 31 Dec 1979 23:59:59 +0000", None),
            ("Date: Thu, 1 Jan 1970 00:00:00 +0000", None),
            ("Date: Mon, 31 Feb 2026 10:00:00 +0000", None),
            ("Date: Mon, 2 Feb 2026 25:00:00 +0000", None),
            ("Date: Mon, 2 Feb 99999 10:00:00 +0000", None),
            ("Date: yesterday", None),
            ("Date:", None),
            (
                "Subject: x\r\n\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000",
                None,
            ),
            ("", None),
        ] {
            let expected = expected.and_then(|date| DateTime::parse_from_rfc3339(date).ok());
            let date = sent_date(header.as_bytes(), now);
            assert_eq!(date, expected, "{header}");
            assert_eq!(
                date.map(|date| date.offset().local_minus_utc()),
                expected.map(|date| date.offset().local_minus_utc()),
                "{header}"
            );
        }
    }
}
