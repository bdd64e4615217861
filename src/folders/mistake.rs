//! Mistakes of the configuration that show only when the folders of both sides are known. Pure.

use std::fmt;

use crate::config::FolderConfig;
use crate::untrusted::Untrusted;

/// More would hide the first ones.
const MAX_MISTAKES_SHOWN: usize = 10;

/// A field of a rule, as its mistake names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleField {
    Source,
    Target,
    Labels,
    Archive,
}

/// A mistake, because of which nothing is copied. Its `Display` names the field, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderMistake {
    /// The field, such as `folders[2].target`.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
    /// How to correct it.
    pub remedy: String,
}

/// A folder that the configuration names, and that cannot be copied. Its `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFolder {
    /// Its name, in Unicode.
    pub name: String,
    /// The number of its entry in `folders`, counted from 1.
    pub rule: usize,
    /// The field that names it.
    pub field: String,
    /// Why it cannot be copied, after its name.
    pub what: &'static str,
    /// How to correct it.
    pub remedy: String,
}

impl RuleField {
    /// The name of the field: `folders[2].target`, or `target_folder` of the short form.
    pub(super) fn name(self, config: &FolderConfig, rule: usize) -> String {
        let in_entry = match self {
            RuleField::Source => "source",
            RuleField::Target => "target",
            RuleField::Labels => "labels",
            RuleField::Archive => "archive",
        };
        match (config, self) {
            (FolderConfig::Many(_), _) => format!("folders[{rule}].{in_entry}"),
            (FolderConfig::Single(_), RuleField::Source | RuleField::Target) => {
                format!("{in_entry}_folder")
            }
            (FolderConfig::Single(_), _) => in_entry.to_owned(),
        }
    }
}

impl fmt::Display for FolderMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.field, self.what, self.remedy)
    }
}

impl fmt::Display for MissingFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Untrusted::new(&self.name);
        let (field, what, remedy) = (&self.field, self.what, &self.remedy);
        write!(f, "{field}: the source folder {name:?} {what}; {remedy}")
    }
}

/// All mistakes in one line, or the first ones of many.
#[must_use]
pub fn describe_mistakes(mistakes: &[FolderMistake]) -> String {
    let shown = mistakes.iter().take(MAX_MISTAKES_SHOWN);
    let mut shown: Vec<String> = shown.map(FolderMistake::to_string).collect();
    if let Some(more @ 1..) = mistakes.len().checked_sub(MAX_MISTAKES_SHOWN) {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}
