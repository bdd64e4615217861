//! Timestamps in files, as this program, the Python original and google-auth write them; and times
//! and durations for the user.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDateTime, Utc};

/// Parses every format that this program, the Python original and google-auth write: with `Z`, an
/// offset, or neither (then UTC); with or without a fraction of a second; with `T` or a space between
/// date and time.
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

/// A time for the user, in log lines and messages: local, with its offset from UTC:
/// `2026-11-23 04:48:31 +0100`.
pub(crate) fn format_time(time: impl Into<DateTime<Utc>>) -> String {
    let local = time.into().with_timezone(&Local);
    local.format("%Y-%m-%d %H:%M:%S %z").to_string()
}

/// A duration for the user: `45 s`, `12 min`, `3 h 5 min`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// A duration that was measured: `0.4 s`, `9.9 s`, from there on as [`format_duration`].
pub(crate) fn format_elapsed(elapsed: Duration) -> String {
    let tenths = elapsed.as_millis() / 100;
    if tenths < 100 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    format_duration(elapsed)
}

/// A duration that was measured, as the field of a log line: seconds to three digits.
pub(crate) fn logged_seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_words() {
        let words = |seconds| format_duration(Duration::from_secs(seconds));
        assert_eq!(words(0), "0 s");
        assert_eq!(words(59), "59 s");
        assert_eq!(words(60), "1 min");
        assert_eq!(words(3 * 3600 + 5 * 60 + 59), "3 h 5 min");
    }

    #[test]
    fn a_short_time_has_tenths_of_a_second() {
        let words = |milliseconds| format_elapsed(Duration::from_millis(milliseconds));
        assert_eq!(words(0), "0.0 s");
        assert_eq!(words(449), "0.4 s");
        assert_eq!(words(9_999), "9.9 s");
        assert_eq!(words(10_000), "10 s");
        assert_eq!(words(61_000), "1 min");
    }
}
