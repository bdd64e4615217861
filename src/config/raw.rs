//! The raw `config.json`: values by field name and type, and the mistakes found while reading them.
//!
//! A field is known if it is read: no other list of names exists.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::config::repeated::repeated_names;
use crate::suggest::suggest;
use crate::untrusted::Untrusted;

/// The fields of the file, or of an entry of a list in it, and the mistakes found so far.
pub(super) struct RawConfig {
    /// What precedes the name of a field in a mistake, such as `folders[2].`.
    prefix: String,
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
        let Value::Object(fields) = value else {
            return Err(format!(
                "must contain an object, {{ \"source_server\": … }}, not {}",
                type_name(&value)
            ));
        };
        let mut raw = RawConfig::new(String::new(), fields);
        let repeated = repeated_names(octets).into_iter();
        raw.mistakes
            .extend(repeated.map(|name| format!("{} is given twice", Untrusted::new(&name))));
        Ok(raw)
    }

    fn new(prefix: String, mut fields: Map<String, Value>) -> RawConfig {
        fields.retain(|name, _| !is_comment(name));
        RawConfig {
            prefix,
            fields,
            known: BTreeSet::new(),
            mistakes: Vec::new(),
        }
    }

    /// Adds a mistake, whose text begins with the name of its field.
    pub(super) fn add_mistake(&mut self, mistake: impl fmt::Display) -> MistakeAdded {
        self.mistakes.push(format!("{}{mistake}", self.prefix));
        MistakeAdded
    }

    /// All mistakes in one line, if there are any. Every field must have been read before: the
    /// others are unknown.
    pub(super) fn mistakes(&self) -> Option<String> {
        let mistakes: Vec<String> = self.all_mistakes().collect();
        (!mistakes.is_empty()).then(|| mistakes.join("; "))
    }

    fn all_mistakes(&self) -> impl Iterator<Item = String> {
        let names = self.fields.keys().map(String::as_str);
        let unknown = names
            .filter(|name| !self.known.contains(name))
            .map(|name| self.unknown_field(name));
        unknown.chain(self.mistakes.iter().cloned())
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeSet<&'static str> {
        &self.known
    }

    fn unknown_field(&self, name: &str) -> String {
        let full_name = format!("{}{name}", self.prefix);
        let shown = Untrusted::new(&full_name);
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

    /// A list of lines.
    pub(super) fn lines(&mut self, name: &'static str) -> Validated<Option<Vec<String>>> {
        let wanted = "a list of strings";
        let Some(values) = self.typed(name, wanted, |value| value.as_array().cloned())? else {
            return Ok(None);
        };
        let (mut lines, mut wrong) = (Vec::new(), None);
        for (number, value) in (1..).zip(values) {
            let what = match value {
                Value::String(text) if text.is_empty() => "must not be empty".to_owned(),
                Value::String(text) if text.contains(char::is_control) => {
                    "must not contain control characters".to_owned()
                }
                Value::String(text) => {
                    lines.push(text);
                    continue;
                }
                value => format!("must be a string, not {}", type_name(&value)),
            };
            wrong = Some(self.add_mistake(format_args!("{name}[{number}] {what}")));
        }
        wrong.map_or(Ok(Some(lines)), Err)
    }

    /// A list of objects with at least one of them, each read by `read`. In mistakes they are counted
    /// from 1.
    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut RawConfig) -> Validated<T>,
    ) -> Validated<Option<Vec<T>>> {
        let wanted = "a list of objects";
        let Some(values) = self.typed(name, wanted, |value| value.as_array().cloned())? else {
            return Ok(None);
        };
        if values.is_empty() {
            return Err(self.add_mistake(format_args!("{name} must not be empty")));
        }
        let (mut objects, mut wrong) = (Vec::new(), None);
        for (number, value) in (1..).zip(values) {
            let Value::Object(fields) = value else {
                let found = type_name(&value);
                let mistake = format_args!("{name}[{number}] must be an object, not {found}");
                wrong = Some(self.add_mistake(mistake));
                continue;
            };
            let prefix = format!("{}{name}[{number}].", self.prefix);
            let mut entry = RawConfig::new(prefix, fields);
            match read(&mut entry) {
                Ok(object) => objects.push(object),
                Err(mistake) => wrong = Some(mistake),
            }
            let before = self.mistakes.len();
            self.mistakes.extend(entry.all_mistakes());
            if self.mistakes.len() > before {
                wrong = Some(MistakeAdded);
            }
        }
        wrong.map_or(Ok(Some(objects)), Err)
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

/// Fields whose names begin with `_` are comments.
pub(super) fn is_comment(name: &str) -> bool {
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
