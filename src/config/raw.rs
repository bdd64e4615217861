//! The raw `config.json`: values by field name and type, and the mistakes found while reading them.
//!
//! A field is known if it is read: no other list of names exists.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
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
        let value = serde_json::from_slice(octets).map_err(|error| format!("bad JSON: {error}"))?;
        let Value::Object(mut fields) = value else {
            return Err(format!(
                "must contain an object, {{ \"source_server\": … }}, not {}",
                type_name(&value)
            ));
        };
        let mut repeated = serde_json::Deserializer::from_slice(octets)
            .deserialize_map(RepeatedNames)
            .unwrap_or_default();
        fields.retain(|name, _| !is_comment(name));
        repeated.retain(|name| !is_comment(name));
        let mistake = |name| format!("{} is given twice", Untrusted::new(name));
        Ok(RawConfig {
            fields,
            known: BTreeSet::new(),
            mistakes: repeated.iter().map(mistake).collect(),
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

    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeSet<&'static str> {
        &self.known
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
        match self.typed(name, "a string", |value| value.as_str().map(str::to_owned))? {
            Some(text) if text.is_empty() => {
                Err(self.add_mistake(format_args!("{name} must not be empty")))
            }
            text => Ok(text),
        }
    }

    /// A string without control characters, such as a name or a path.
    pub(super) fn line(&mut self, name: &'static str) -> Validated<Option<String>> {
        match self.string(name)? {
            Some(text) if text.contains(char::is_control) => {
                Err(self.add_mistake(format_args!("{name} must not contain control characters")))
            }
            text => Ok(text),
        }
    }

    /// A [`line`](RawConfig::line) that must be present.
    pub(super) fn required(&mut self, name: &'static str) -> Validated<String> {
        self.line(name)?
            .ok_or_else(|| self.add_mistake(format_args!("{name} is missing")))
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
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A value that `read` accepts. The mistake names the types only: the value may be a password.
    fn typed<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Validated<Option<T>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let found = type_name(value);
        let read = read(value);
        read.map(Some)
            .ok_or_else(|| self.add_mistake(format_args!("{name} must be {wanted}, not {found}")))
    }
}

fn is_comment(name: &str) -> bool {
    name.starts_with('_')
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

/// Collects the names that an object has more than once: a map silently keeps the last value.
struct RepeatedNames;

impl<'de> Visitor<'de> for RepeatedNames {
    type Value = BTreeSet<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<BTreeSet<String>, M::Error> {
        let (mut names, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        while let Some((name, IgnoredAny)) = fields.next_entry()? {
            repeated.extend(names.replace(name));
        }
        Ok(repeated)
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
                "must contain an object, { \"source_server\": … }, not a string",
            ),
            (
                "[1]",
                "must contain an object, { \"source_server\": … }, not a list",
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
    fn comments_are_not_mistakes() {
        let raw = RawConfig::parse("{\"_why\": [\"because\"]}".as_bytes()).unwrap();
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
