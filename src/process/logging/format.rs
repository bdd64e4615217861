//! The forms of a log line.

use std::fmt::Display;

use chrono::{DateTime, Local, SecondsFormat};
use fern::colors::Color;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::untrusted::escape_harmful;

/// What a line consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFormat {
    /// Time, level and message.
    Timed,
    /// The same with a colour for the level.
    Colored,
    /// The priority that the journal reads (sd-daemon(3)), and the message; the journal adds the time
    /// itself.
    Journal,
    /// The message only: syslog carries level and time itself.
    Plain,
    /// An object with time, level, process id, message, and the fields of the record.
    Json,
}

/// A line before it has a form. Its texts are harmless.
#[derive(Debug, Clone)]
pub(super) struct LogLine {
    pub time: DateTime<Local>,
    pub level: Level,
    pub message: String,
    pub fields: Vec<(String, Field)>,
}

/// The value of a field.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum Field {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
}

impl LogLine {
    /// A line without fields.
    pub fn new(level: Level, message: &dyn Display) -> LogLine {
        LogLine {
            time: Local::now(),
            level,
            // Text from outside is escaped where it enters a message (`Untrusted`); this is the
            // second line of defence.
            message: escape_harmful(&message.to_string()),
            fields: Vec::new(),
        }
    }

    pub fn of_record(record: &Record<'_>) -> LogLine {
        let mut line = LogLine::new(record.level(), record.args());
        // This visitor returns no error.
        let _ = record
            .key_values()
            .visit(&mut FieldReader(&mut line.fields));
        line
    }

    /// The line, without a line end.
    pub fn format(&self, format: LineFormat) -> String {
        let time = || self.time.to_rfc3339_opts(SecondsFormat::Secs, false);
        let level = self.level.as_str().to_ascii_lowercase();
        let message = &self.message;
        match format {
            LineFormat::Timed => format!("{} {level:<5} {message}", time()),
            LineFormat::Colored => {
                let color = color(self.level).to_fg_str();
                format!("{} \x1b[{color}m{level:<5}\x1b[0m {message}", time())
            }
            LineFormat::Journal => format!("<{}>{message}", journal_priority(self.level)),
            LineFormat::Plain => message.clone(),
            // Numbers and texts can always be serialized.
            LineFormat::Json => serde_json::to_string(self).unwrap_or_default(),
        }
    }
}

impl Serialize for LogLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        let time = self.time.to_rfc3339_opts(SecondsFormat::Millis, false);
        object.serialize_entry("time", &time)?;
        object.serialize_entry("level", &self.level.as_str().to_ascii_lowercase())?;
        object.serialize_entry("pid", &std::process::id())?;
        object.serialize_entry("message", &self.message)?;
        for (name, value) in &self.fields {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

/// The severity of syslog (RFC 5424 6.2.1). Info is one higher, `notice`: systemd's own lines about each
/// start of a unit are `info`, and `LogLevelMax=notice` in the units drops those alone.
fn journal_priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 5,
        Level::Debug | Level::Trace => 7,
    }
}

fn color(level: Level) -> Color {
    match level {
        Level::Error => Color::Red,
        Level::Warn => Color::Yellow,
        Level::Info => Color::Green,
        Level::Debug | Level::Trace => Color::BrightBlack,
    }
}

/// Collects the key-values of a record.
struct FieldReader<'a>(&'a mut Vec<(String, Field)>);

impl<'kvs> VisitSource<'kvs> for FieldReader<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut reader = ValueReader(None);
        value.visit(&mut reader)?;
        if let Some(field) = reader.0 {
            self.0.push((key.as_str().to_owned(), field));
        }
        Ok(())
    }
}

struct ValueReader(Option<Field>);

impl VisitValue<'_> for ValueReader {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.visit_str(&value.to_string())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = Some(Field::Bool(value));
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = Some(Field::Unsigned(value));
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = Some(Field::Signed(value));
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = Some(Field::Float(value));
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.0 = Some(Field::Text(escape_harmful(value)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, message: &str) -> LogLine {
        LogLine::new(level, &message)
    }

    fn json(record: &Record<'_>) -> serde_json::Value {
        let line = LogLine::of_record(record).format(LineFormat::Json);
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        let journal = |level| line(level, "x").format(LineFormat::Journal);
        let lines = Level::iter().map(journal).collect::<Vec<_>>();
        assert_eq!(lines, ["<3>x", "<4>x", "<5>x", "<7>x", "<7>x"]);
    }

    #[test]
    fn a_line_begins_with_the_local_time_and_its_offset() {
        let line = line(Level::Info, "x").format(LineFormat::Timed);
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(rest, "info  x");
        assert_eq!(time.len(), "2026-11-23T04:48:31+01:00".len());
        let time = DateTime::parse_from_rfc3339(time).unwrap();
        assert_eq!(time.offset(), Local::now().offset());
    }

    #[test]
    fn only_the_level_is_coloured() {
        let line = line(Level::Error, "x");
        let (colored, plain) = (
            line.format(LineFormat::Colored),
            line.format(LineFormat::Timed),
        );
        assert!(colored.ends_with(" \x1b[31merror\x1b[0m x"), "{colored:?}");
        let without = colored.replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!(without, plain);
    }

    #[test]
    fn a_json_line_has_the_fields_of_the_record_after_its_own() {
        let id = format_args!("<a@x>\u{202e}").to_string();
        let pairs = [
            ("message_id", Value::from(id.as_str())),
            ("uid", Value::from(7u32)),
            ("seconds", Value::from(0.25)),
            ("shown", Value::from_display(&"a\nb")),
        ];
        let line = json(
            &Record::builder()
                .level(Level::Warn)
                .args(format_args!("\"quoted\" \u{7f}"))
                .key_values(&pairs)
                .build(),
        );
        assert_eq!(line["level"], "warn");
        assert_eq!(line["message"], "\"quoted\" \\u{7f}");
        assert_eq!(line["message_id"], "<a@x>\\u{202e}");
        assert_eq!(line["uid"], 7);
        assert_eq!(line["seconds"], 0.25);
        assert_eq!(line["shown"], "a\\nb");
        assert_eq!(line["pid"], std::process::id());
        let time = line["time"].as_str().unwrap();
        assert!(DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        assert_eq!(line.as_object().unwrap().len(), 8);
    }

    #[test]
    fn a_line_stays_one_line_in_every_form() {
        let line = line(
            Level::Info,
            "a\r\nb\u{1b}[1m\u{9b}\u{202e}\u{2028}\u{200b}é",
        );
        for format in [
            LineFormat::Timed,
            LineFormat::Journal,
            LineFormat::Plain,
            LineFormat::Json,
        ] {
            let text = line.format(format);
            let harmful = text.chars().filter(|character| !character.is_ascii());
            assert_eq!(harmful.collect::<String>(), "é", "{text:?}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}
