//! Finds the names that an object has more than once: a map silently keeps the last value. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::config::raw::is_comment;

/// The names that are given more than once, such as `source_user` and `folders[2].target`. Entries
/// of lists are counted from 1.
pub(super) fn repeated_names(octets: &[u8]) -> BTreeSet<String> {
    let RepeatedNames(names) = serde_json::from_slice(octets).unwrap_or_default();
    let name = |path: &String| path.strip_prefix('.').unwrap_or(path).to_owned();
    names.iter().map(name).collect()
}

/// The paths from a value to the names below it that are given more than once.
#[derive(Default)]
struct RepeatedNames(BTreeSet<String>);

impl RepeatedNames {
    fn extend(&mut self, step: &str, below: &RepeatedNames) {
        let paths = below.0.iter().map(|path| format!("{step}{path}"));
        self.0.extend(paths);
    }
}

impl<'de> Deserialize<'de> for RepeatedNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RepeatedNames, D::Error> {
        deserializer.deserialize_any(RepeatedNamesVisitor)
    }
}

struct RepeatedNamesVisitor;

impl<'de> Visitor<'de> for RepeatedNamesVisitor {
    type Value = RepeatedNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<RepeatedNames, M::Error> {
        let (mut names, mut repeated) = (BTreeSet::new(), RepeatedNames::default());
        while let Some((name, below)) = fields.next_entry::<String, RepeatedNames>()? {
            if is_comment(&name) {
                continue;
            }
            let step = format!(".{name}");
            repeated.extend(&step, &below);
            repeated.0.extend(names.replace(step));
        }
        Ok(repeated)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut entries: S) -> Result<RepeatedNames, S::Error> {
        let (mut number, mut repeated) = (0, RepeatedNames::default());
        while let Some(below) = entries.next_element()? {
            number += 1;
            repeated.extend(&format!("[{number}]"), &below);
        }
        Ok(repeated)
    }

    fn visit_bool<E>(self, _: bool) -> Result<RepeatedNames, E> {
        Ok(RepeatedNames::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<RepeatedNames, E> {
        Ok(RepeatedNames::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<RepeatedNames, E> {
        Ok(RepeatedNames::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<RepeatedNames, E> {
        Ok(RepeatedNames::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<RepeatedNames, E> {
        Ok(RepeatedNames::default())
    }

    fn visit_unit<E>(self) -> Result<RepeatedNames, E> {
        Ok(RepeatedNames::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_twice_in_its_object_only() {
        let cases: [(&str, &[&str]); 5] = [
            (
                r#"{"a": 1, "b": [true, null, -1, 1.5, "a"], "c": {"a": 2}}"#,
                &[],
            ),
            (r#"{"a": 1, "a": {}, "a": []}"#, &["a"]),
            (r#"{"f": [{"s": 1}, {"s": 1, "s": 2}]}"#, &["f[2].s"]),
            (r#"{"f": {"g": [[{"h": 1, "h": 2}]]}}"#, &["f.g[1][1].h"]),
            (
                r#"{"_a": 1, "_a": 2, "f": [{"_b": 1, "_b": 2}], "_c": {"d": 1, "d": 2}}"#,
                &[],
            ),
        ];
        for (json, expected) in cases {
            let found: Vec<String> = repeated_names(json.as_bytes()).into_iter().collect();
            assert_eq!(found, expected, "{json}");
        }
    }
}
