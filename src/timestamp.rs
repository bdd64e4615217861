//! Timestamps in files and messages.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

/// Parses every format that this program, the Python original and google-auth write: with `Z`, an
/// offset, or neither (then UTC); with or without a fraction of a second; with `T` or a space between
/// date and time.
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

/// The format of log lines and error messages.
#[must_use]
pub(crate) fn to_seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
