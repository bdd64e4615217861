//! `config.json` as written: values by field name, and the mistakes found in asking for them.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::suggest::suggest;
use crate::untrusted::Untrusted;

/// All fields that are known.
const FIELDS: [&str; 20] = [
    "source_server",
    "source_user",
    "source_pass",
    "source_pass_command",
    "source_pass_file",
    "source_port",
    "source_tls",
    "source_ca_file",
    "source_tls_name",
    "source_folder",
    "target_user",
    "target_token_file",
    "target_server",
    "target_port",
    "target_ca_file",
    "target_folder",
    "target_connections",
    "first_run_days",
    "copy_flags",
    "daily_upload_limit",
];

/// The fields of the file, and the mistakes noted so far.
pub(super) struct RawConfig {
    fields: Map<String, Value>,
    mistakes: Vec<String>,
}

/// A mistake was found and is noted.
#[derive(Debug)]
pub(super) struct MistakeNoted;

/// A field's value, unless it is wrong.
pub(super) type Validated<T> = Result<T, MistakeNoted>;

impl RawConfig {
    /// Reads the JSON, and notes the fields that are not known.
    ///
    /// Keys that begin with `_` are comments. A mistake of syntax is told with line and column.
    pub(super) fn parse(octets: &[u8]) -> Result<RawConfig, String> {
        // Some editors of Windows begin a file with it.
        let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
        // The library says where a mistake is, and never repeats what stands there.
        let value = serde_json::from_slice(octets).map_err(|error| format!("bad JSON: {error}"))?;
        let Value::Object(mut fields) = value else {
            return Err(format!(
                "must hold an object, {{ \"source_server\": … }}, not {}",
                sort_of(&value)
            ));
        };
        fields.retain(|name, _| !is_comment(name));
        let unknown = fields
            .keys()
            .filter(|name| !FIELDS.contains(&name.as_str()))
            .map(|name| unknown(name));
        let mistakes = unknown.chain(twice(octets)).collect();
        Ok(RawConfig { fields, mistakes })
    }

    /// Notes a mistake.
    pub(super) fn add_mistake(&mut self, mistake: impl fmt::Display) -> MistakeNoted {
        self.mistakes.push(mistake.to_string());
        MistakeNoted
    }

    /// All mistakes in one line, if there are any.
    pub(super) fn mistakes(&self) -> Option<String> {
        (!self.mistakes.is_empty()).then(|| self.mistakes.join("; "))
    }

    /// Whether the field is there, be it right or wrong.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A text as it stands, not empty.
    pub(super) fn string(&mut self, name: &str) -> Validated<Option<String>> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => {
                Err(self.add_mistake(format_args!("{name} must not be empty")))
            }
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.add_type_mistake(name, "a string")),
        }
    }

    /// A text without control characters: a name or path of one line.
    pub(super) fn line(&mut self, name: &str) -> Validated<Option<String>> {
        match self.string(name)? {
            Some(text) if text.contains(char::is_control) => {
                Err(self.add_mistake(format_args!("{name} must not hold control characters")))
            }
            text => Ok(text),
        }
    }

    /// A text that must be given.
    pub(super) fn required(&mut self, name: &str) -> Validated<String> {
        match self.line(name)? {
            Some(text) => Ok(text),
            None => Err(self.add_mistake(format_args!("{name} is missing"))),
        }
    }

    /// A whole number within limits.
    pub(super) fn number<N>(
        &mut self,
        name: &str,
        limits: &RangeInclusive<N>,
    ) -> Validated<Option<N>>
    where
        N: TryFrom<u64> + PartialOrd + fmt::Display,
    {
        let Some(value) = self.fields.get(name) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| N::try_from(number).ok());
        if let Some(number) = number.filter(|number| limits.contains(number)) {
            return Ok(Some(number));
        }
        let found = match value {
            Value::Number(number) => number.to_string(),
            value => sort_of(value).to_owned(),
        };
        let (first, last) = (limits.start(), limits.end());
        Err(self.add_mistake(format_args!(
            "{name} must be a whole number from {first} to {last}, not {found}"
        )))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &str) -> Validated<Option<bool>> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::Bool(switch)) => Ok(Some(*switch)),
            Some(_) => Err(self.add_type_mistake(name, "true or false")),
        }
    }

    /// Notes of which sort a field must be and is: never its value, which may be a password.
    fn add_type_mistake(&mut self, name: &str, wanted: &str) -> MistakeNoted {
        let found = self.fields.get(name).map_or("missing", sort_of);
        self.add_mistake(format_args!("{name} must be {wanted}, not {found}"))
    }
}

fn is_comment(name: &str) -> bool {
    name.starts_with('_')
}

/// A line for each field that stands there again; a map would silently keep the last one.
fn twice(octets: &[u8]) -> Vec<String> {
    let FieldNames(names) = serde_json::from_slice(octets).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut again = BTreeSet::new();
    for name in names.iter().filter(|name| !is_comment(name)) {
        if !seen.insert(name) {
            again.insert(name);
        }
    }
    let told = |name: &String| format!("{} is given twice", Untrusted::new(name));
    again.into_iter().map(told).collect()
}

fn sort_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The names of an object's fields, as often as they stand there.
#[derive(Default)]
struct FieldNames(Vec<String>);

impl<'de> Deserialize<'de> for FieldNames {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<FieldNames, D::Error> {
        from.deserialize_map(FieldNamesVisitor)
    }
}

struct FieldNamesVisitor;

impl<'de> Visitor<'de> for FieldNamesVisitor {
    type Value = FieldNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<FieldNames, M::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = fields.next_entry()? {
            names.push(name);
        }
        Ok(FieldNames(names))
    }
}

fn unknown(name: &str) -> String {
    let shown = Untrusted::new(name);
    match suggest(name, FIELDS) {
        Some(known) => format!("unknown field {shown:?} (did you mean {known}?)"),
        None => format!("unknown field {shown:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_json_is_told_with_its_line_and_column_and_nothing_that_stands_there() {
        let cases = [
            ("", "bad JSON: EOF while parsing a value at line 1 column 0"),
            (
                "{\n  \"source_pass\": \"s3cret\n}",
                "bad JSON: control character (\\u0000-\\u001F) found while parsing a string at \
                 line 3 column 0",
            ),
            (
                "{\"source_pass\": \"s3cret\",}",
                "bad JSON: trailing comma at line 1 column 26",
            ),
            (
                "\"s3cret\"",
                "must hold an object, { \"source_server\": … }, not a string",
            ),
            (
                "[1]",
                "must hold an object, { \"source_server\": … }, not a list",
            ),
        ];
        for (text, line) in cases {
            assert_eq!(
                RawConfig::parse(text.as_bytes()).err().as_deref(),
                Some(line)
            );
        }
    }

    #[test]
    fn a_byte_order_mark_and_comments_are_no_mistakes() {
        let written = RawConfig::parse("\u{feff}{\"_why\": [\"because\"]}".as_bytes()).unwrap();
        assert_eq!(written.mistakes(), None);
    }

    #[test]
    fn a_field_that_stands_there_twice_is_a_mistake() {
        let written = RawConfig::parse(br#"{"source_user": "a", "source_user": "b"}"#).unwrap();
        assert_eq!(
            written.mistakes().as_deref(),
            Some("source_user is given twice")
        );
    }
}
