//! Repeated warnings and errors: each text is written once an hour; the repetitions are counted, and
//! summed up by one line. Pure.

use std::fmt;

use chrono::{DateTime, Local, TimeDelta, Utc};
use log::Level;
use serde::{Deserialize, Serialize};

/// A text that was written is not written again within this time.
const WINDOW: TimeDelta = TimeDelta::hours(1);

/// A text that has not been repeated for longer is over. A failure that lasts is logged every quarter of
/// an hour at least (`FailureLogThrottle`), plus the delay until the next attempt.
const OVER_AFTER: TimeDelta = TimeDelta::minutes(30);

/// A summary that comes later than this after the last repetition says when that was.
const SUMMARY_DELAY: TimeDelta = TimeDelta::minutes(1);

/// An earlier time in a saved file is a mistake, or of no interest any more.
const MAX_SAVED_AGE: TimeDelta = TimeDelta::days(1);

/// Different texts that are remembered; others are always written.
const MAX_TEXTS: usize = 100;

/// The warnings and errors that were written in the last hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repeats {
    /// By the time at which they were written.
    texts: Vec<WrittenText>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WrittenText {
    #[serde(with = "level_name")]
    level: Level,
    text: String,
    written_at: DateTime<Utc>,
    /// When it was last logged, written or not.
    logged_at: DateTime<Utc>,
    /// How often it was not written since.
    repeated: u64,
}

/// What to write when a line is logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// Before the line.
    pub summaries: Vec<RepeatSummary>,
    /// Whether to write the line itself.
    pub is_written: bool,
}

/// How often a line was repeated and not written. `Display` is the text of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RepeatSummary {
    /// At most a warning, if it is over.
    pub level: Level,
    pub text: String,
    pub repeated: u64,
    /// When the text was last written.
    pub since: DateTime<Utc>,
    /// When it was last repeated.
    last: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl Repeats {
    /// Without what a damaged file may say: texts of the future or long ago, and too many of them.
    pub fn plausible(mut self, now: DateTime<Utc>) -> Repeats {
        self.texts.retain(|written| {
            let is_recent = |time| (TimeDelta::zero()..=MAX_SAVED_AGE).contains(&(now - time));
            is_recent(written.written_at) && is_recent(written.logged_at)
        });
        self.texts.truncate(MAX_TEXTS);
        self
    }

    /// Decides about a line that is logged now. A summary counts as written: of an error that lasts,
    /// it is the only line each hour.
    pub fn admit(&mut self, level: Level, text: &str, now: DateTime<Utc>) -> Admission {
        let is_counted = level <= Level::Warn;
        let known = self.texts.iter_mut().find(|written| {
            let is_same = is_counted && written.level == level && written.text == text;
            is_same && (written.repeated > 0 || !written.has_expired(now))
        });
        let is_repeated = known.is_some();
        if let Some(written) = known {
            written.repeated = written.repeated.saturating_add(1);
            written.logged_at = now;
        }
        let summaries = self.due(now);
        if is_counted && !is_repeated && self.texts.len() < MAX_TEXTS {
            self.texts.push(WrittenText {
                level,
                text: text.to_owned(),
                written_at: now,
                logged_at: now,
                repeated: 0,
            });
        }
        Admission {
            summaries,
            is_written: !is_repeated,
        }
    }

    /// Sums up what was not written in an hour that is over.
    pub fn due(&mut self, now: DateTime<Utc>) -> Vec<RepeatSummary> {
        self.sum_up(now, |written| written.has_expired(now))
    }

    /// Sums up what was not written, at the end of the process.
    pub fn finish(&mut self, now: DateTime<Utc>) -> Vec<RepeatSummary> {
        self.sum_up(now, |_| true)
    }

    /// Sums up these texts, which are written with that; those that were not repeated, or are over, are
    /// forgotten: when one comes again, it is news.
    fn sum_up(
        &mut self,
        now: DateTime<Utc>,
        is_due: impl Fn(&WrittenText) -> bool,
    ) -> Vec<RepeatSummary> {
        let mut summaries = Vec::new();
        self.texts.retain_mut(|written| {
            if !is_due(written) {
                return true;
            }
            if written.repeated == 0 {
                return false;
            }
            let is_over = now - written.logged_at > OVER_AFTER;
            summaries.push(RepeatSummary {
                level: if is_over { Level::Warn } else { written.level },
                text: written.text.clone(),
                repeated: std::mem::take(&mut written.repeated),
                since: std::mem::replace(&mut written.written_at, now),
                last: written.logged_at,
                now,
            });
            !is_over
        });
        self.texts.sort_by_key(|written| written.written_at);
        summaries
    }
}

/// A level as its name.
mod level_name {
    use log::Level;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a field by reference"
    )]
    pub fn serialize<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(level.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

impl WrittenText {
    /// The hour is over, or the clock was set back.
    fn has_expired(&self, now: DateTime<Utc>) -> bool {
        let age = now - self.written_at;
        age >= WINDOW || age < TimeDelta::zero()
    }
}

impl fmt::Display for RepeatSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.repeated == 1 { "time" } else { "times" };
        let local = |time: DateTime<Utc>| time.with_timezone(&Local);
        let format = if local(self.since).date_naive() == local(self.now).date_naive() {
            "%H:%M"
        } else {
            "%Y-%m-%d %H:%M"
        };
        let since = local(self.since).format(format);
        write!(f, "repeated {} {times} since {since}", self.repeated)?;
        if self.now - self.last > SUMMARY_DELAY {
            write!(f, ", last at {}", local(self.last).format(format))?;
        }
        write!(f, ": {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        let noon = chrono::NaiveDate::from_ymd_opt(2026, 11, 22)
            .and_then(|day| day.and_hms_opt(12, 0, 0))
            .and_then(|time| time.and_local_timezone(Local).earliest());
        noon.unwrap().to_utc() + TimeDelta::minutes(minutes)
    }

    /// What is written when lines of these levels and texts are logged at these minutes.
    fn written(lines: &[(i64, Level, &str)]) -> Vec<String> {
        let mut repeats = Repeats::default();
        let mut written = Vec::new();
        for (minute, level, text) in lines {
            let admission = repeats.admit(*level, text, at(*minute));
            let summaries = admission.summaries.iter();
            written.extend(summaries.map(|summary| format!("{} {summary}", summary.level)));
            if admission.is_written {
                written.push(format!("{level} {text}"));
            }
        }
        let end = lines.last().map_or(0, |(minute, ..)| *minute);
        let rest = repeats.finish(at(end));
        written.extend(rest.iter().map(|summary| format!("end: {summary}")));
        written
    }

    use Level::{Debug, Error, Info, Warn};

    #[test]
    fn a_repeated_warning_is_written_once_and_summed_up_at_the_end() {
        let lines = [
            (0, Warn, "a"),
            (1, Warn, "a"),
            (2, Info, "x"),
            (3, Error, "b"),
            (59, Warn, "a"),
        ];
        let expected = [
            "WARN a",
            "INFO x",
            "ERROR b",
            "end: repeated 2 times since 12:00: a",
        ];
        assert_eq!(written(&lines), expected);
    }

    #[test]
    fn a_line_of_any_kind_after_the_hour_brings_the_sum() {
        let lines = [
            (0, Error, "a"),
            (10, Error, "a"),
            (60, Debug, "x"),
            (61, Info, "y"),
        ];
        let expected = [
            "ERROR a",
            "WARN repeated 1 time since 12:00, last at 12:10: a",
            "DEBUG x",
            "INFO y",
        ];
        assert_eq!(written(&lines), expected);
    }

    #[test]
    fn an_error_that_lasts_is_one_line_an_hour() {
        let lines: Vec<_> = (0..=150).map(|minute| (minute, Warn, "a")).collect();
        let expected = [
            "WARN a",
            "WARN repeated 60 times since 12:00: a",
            "WARN repeated 60 times since 13:00: a",
            "end: repeated 30 times since 14:00: a",
        ];
        assert_eq!(written(&lines), expected);
    }

    #[test]
    fn an_error_that_is_over_is_summed_up_as_a_warning_and_is_news_when_it_comes_again() {
        let lines = [
            (0, Error, "a"),
            (5, Error, "a"),
            (60, Info, "x"),
            (61, Error, "a"),
            (62, Error, "a"),
        ];
        let expected = [
            "ERROR a",
            "WARN repeated 1 time since 12:00, last at 12:05: a",
            "INFO x",
            "ERROR a",
            "end: repeated 1 time since 13:01: a",
        ];
        assert_eq!(written(&lines), expected);
        // It lasts, and a line comes between two attempts.
        let lasts = [(0, Error, "a"), (45, Error, "a"), (60, Info, "x")];
        let expected = [
            "ERROR a",
            "ERROR repeated 1 time since 12:00, last at 12:45: a",
            "INFO x",
        ];
        assert_eq!(written(&lasts), expected);
    }

    #[test]
    fn what_is_not_repeated_within_the_hour_is_written_again() {
        let lines = [(0, Warn, "a"), (60, Warn, "a"), (24 * 60, Warn, "a")];
        assert_eq!(written(&lines), ["WARN a"; 3]);
        let after_a_day = [(0, Warn, "a"), (1, Warn, "a"), (24 * 60, Info, "x")];
        assert_eq!(
            written(&after_a_day)[1],
            "WARN repeated 1 time since 2026-11-22 12:00, last at 2026-11-22 12:01: a"
        );
    }

    #[test]
    fn steps_pass_and_a_warning_does_not_hide_an_error() {
        let steps = [
            (0, Info, "a"),
            (0, Info, "a"),
            (0, Debug, "a"),
            (0, Debug, "a"),
        ];
        assert_eq!(written(&steps).len(), 4);
        let levels = [(0, Warn, "a"), (0, Error, "a")];
        assert_eq!(written(&levels), ["WARN a", "ERROR a"]);
    }

    #[test]
    fn a_clock_that_is_set_back_hides_nothing() {
        let lines = [
            (0, Warn, "a"),
            (1, Warn, "a"),
            (-100, Warn, "a"),
            (-99, Warn, "b"),
        ];
        let expected = ["WARN a", "WARN repeated 2 times since 12:00: a", "WARN b"];
        assert_eq!(written(&lines), expected);
        assert_eq!(written(&[(0, Warn, "a"), (-1, Warn, "a")]), ["WARN a"; 2]);
    }

    #[test]
    fn texts_with_implausible_times_are_not_taken_over() {
        let text = |time: &str, repeated: u64| json!({ "level": "ERROR", "text": time, "written_at": time, "logged_at": time, "repeated": repeated });
        let times = [
            "+262142-12-31T23:59:59Z",
            "-262143-01-01T00:00:00Z",
            "2026-11-20T12:00:00Z",
            "2026-11-22T12:00:01Z",
            "2026-11-22T11:59:00Z",
        ];
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let texts: Vec<_> = times.iter().map(|time| text(time, u64::MAX)).collect();
        let saved: Repeats = serde_json::from_value(json!({ "texts": texts })).unwrap();
        let mut repeats = saved.plausible(now);
        assert_eq!(repeats.texts.len(), 1);
        assert!(!repeats.admit(Error, times[4], now).is_written);
        let summary = repeats.finish(now)[0].to_string();
        assert!(
            summary.starts_with("repeated 18446744073709551615 times"),
            "{summary}"
        );

        let texts = vec![text(times[4], 0); MAX_TEXTS + 1];
        let saved: Repeats = serde_json::from_value(json!({ "texts": texts })).unwrap();
        assert_eq!(saved.plausible(now).texts.len(), MAX_TEXTS);
    }

    #[test]
    fn more_texts_than_are_remembered_are_written_each_time() {
        let mut repeats = Repeats::default();
        let mut is_written = |text: usize| repeats.admit(Warn, &text.to_string(), at(0)).is_written;
        assert!((0..MAX_TEXTS).all(&mut is_written));
        assert!(is_written(MAX_TEXTS) && is_written(MAX_TEXTS));
        assert!(!is_written(0) && !is_written(MAX_TEXTS - 1));
        assert_eq!(repeats.texts.len(), MAX_TEXTS);
        assert!(repeats.admit(Warn, "later", at(60)).is_written);
        assert!(!repeats.admit(Warn, "later", at(61)).is_written);
    }
}
