//! The raw `config.json`: values by field name and type, and the mistakes found while reading them.
//!
//! A field is known if it is read: no other list of names exists.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::suggest::suggest;
use crate::untrusted::Untrusted;

/// The fields of the file, and the mistakes found so far.
pub(super) struct RawConfig {
    fields: Map<String, Value>,
    known: BTreeSet<&'static str>,
    mistakes: Vec<String>,
}

/// Proof that a mistake was added to [`RawConfig`].
#[derive(Debug)]
pub(super) struct MistakeAdded;

/// A field's value, unless it is wrong.
pub(super) type Validated<T> = Result<T, MistakeAdded>;

impl RawConfig {
    /// Parses the JSON. Fields whose names begin with `_` are comments. A syntax error has line and
    /// column, and never repeats the content.
    pub(super) fn parse(octets: &[u8]) -> Result<RawConfig, String> {
        // A byte order mark, which some editors on Windows write.
        let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
        let value = serde_json::from_slice(octets).map_err(|error| format!("bad JSON: {error}"))?;
        let Value::Object(mut fields) = value else {
            return Err(format!(
                "must hold an object, {{ \"source_server\": … }}, not {}",
                type_name(&value)
            ));
        };
        fields.retain(|name, _| !is_comment(name));
        Ok(RawConfig {
            fields,
            known: BTreeSet::new(),
            mistakes: repeated_fields(octets),
        })
    }

    pub(super) fn add_mistake(&mut self, mistake: impl fmt::Display) -> MistakeAdded {
        self.mistakes.push(mistake.to_string());
        MistakeAdded
    }

    /// All mistakes in one line, if there are any. Every field must have been read before: the
    /// others are unknown.
    pub(super) fn mistakes(&self) -> Option<String> {
        let names = self.fields.keys().map(String::as_str);
        let unknown = names
            .filter(|name| !self.known.contains(name))
            .map(|name| self.unknown_field(name));
        let mistakes: Vec<String> = unknown.chain(self.mistakes.iter().cloned()).collect();
        (!mistakes.is_empty()).then(|| mistakes.join("; "))
    }

    fn unknown_field(&self, name: &str) -> String {
        let shown = Untrusted::new(name);
        match suggest(name, self.known.iter().copied()) {
            Some(known) => format!("unknown field {shown:?} (did you mean {known}?)"),
            None => format!("unknown field {shown:?}"),
        }
    }

    /// Whether the field is present, with a valid value or not.
    pub(super) fn contains(&mut self, name: &'static str) -> bool {
        self.value(name).is_some()
    }

    fn value(&mut self, name: &'static str) -> Option<&Value> {
        self.known.insert(name);
        self.fields.get(name)
    }

    /// A string that is not empty.
    pub(super) fn string(&mut self, name: &'static str) -> Validated<Option<String>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => {
                Err(self.add_mistake(format_args!("{name} must not be empty")))
            }
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.add_type_mistake(name, "a string")),
        }
    }

    /// A string without control characters, such as a name or a path.
    pub(super) fn line(&mut self, name: &'static str) -> Validated<Option<String>> {
        match self.string(name)? {
            Some(text) if text.contains(char::is_control) => {
                Err(self.add_mistake(format_args!("{name} must not hold control characters")))
            }
            text => Ok(text),
        }
    }

    /// A [`line`](RawConfig::line) that must be present.
    pub(super) fn required(&mut self, name: &'static str) -> Validated<String> {
        match self.line(name)? {
            Some(text) => Ok(text),
            None => Err(self.add_mistake(format_args!("{name} is missing"))),
        }
    }

    /// A whole number within these limits.
    pub(super) fn number<N>(
        &mut self,
        name: &'static str,
        limits: &RangeInclusive<N>,
    ) -> Validated<Option<N>>
    where
        N: TryFrom<u64> + PartialOrd + fmt::Display,
    {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| N::try_from(number).ok());
        if let Some(number) = number.filter(|number| limits.contains(number)) {
            return Ok(Some(number));
        }
        let found = match value {
            Value::Number(number) => number.to_string(),
            value => type_name(value).to_owned(),
        };
        let (first, last) = (limits.start(), limits.end());
        Err(self.add_mistake(format_args!(
            "{name} must be a whole number from {first} to {last}, not {found}"
        )))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str) -> Validated<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(switch)) => Ok(Some(*switch)),
            Some(_) => Err(self.add_type_mistake(name, "true or false")),
        }
    }

    /// Names the types only: the value may be a password.
    fn add_type_mistake(&mut self, name: &str, wanted: &str) -> MistakeAdded {
        let found = self.fields.get(name).map_or("missing", type_name);
        self.add_mistake(format_args!("{name} must be {wanted}, not {found}"))
    }
}

fn is_comment(name: &str) -> bool {
    name.starts_with('_')
}

/// A mistake for each field that is present more than once: a map silently keeps the last one.
fn repeated_fields(octets: &[u8]) -> Vec<String> {
    let FieldNames(names) = serde_json::from_slice(octets).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for name in names.iter().filter(|name| !is_comment(name)) {
        if !seen.insert(name) {
            repeated.insert(name);
        }
    }
    let mistake = |name: &String| format!("{} is given twice", Untrusted::new(name));
    repeated.into_iter().map(mistake).collect()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The names of an object's fields, with repetitions.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_has_line_and_column_and_never_repeats_the_content() {
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
    fn a_byte_order_mark_and_comments_are_not_mistakes() {
        let raw = RawConfig::parse("\u{feff}{\"_why\": [\"because\"]}".as_bytes()).unwrap();
        assert_eq!(raw.mistakes(), None);
    }

    #[test]
    fn a_field_that_is_present_twice_is_a_mistake() {
        let mut raw = RawConfig::parse(br#"{"source_user": "a", "source_user": "b"}"#).unwrap();
        raw.string("source_user").unwrap();
        assert_eq!(
            raw.mistakes().as_deref(),
            Some("source_user is given twice")
        );
    }

    #[test]
    fn a_field_that_is_not_read_is_unknown() {
        let mut raw = RawConfig::parse(br#"{"first": "a", "fist": "b", "other": "c"}"#).unwrap();
        raw.string("first").unwrap();
        assert_eq!(
            raw.mistakes().as_deref(),
            Some("unknown field \"fist\" (did you mean first?); unknown field \"other\"")
        );
    }
}
