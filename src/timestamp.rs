//! Timestamps as this program, the Python original and google-auth write them.

use chrono::{DateTime, NaiveDateTime, Utc};

/// Reads a timestamp: with `Z`, an offset, or neither (then UTC); with a fraction of a second or
/// without; with `T` or a blank between date and time.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let with_zone = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let naive = || {
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(|time| time.and_utc())
    };
    with_zone.ok().or_else(naive)
}
