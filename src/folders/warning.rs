//! What a person should know of the folders, although nothing depends on it. Pure.

use std::fmt;

use crate::config::FolderRole;
use crate::untrusted::Untrusted;

/// Its `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderWarning {
    /// A rule matches no folder.
    NothingMatches {
        /// The field that names it.
        field: String,
        /// Its pattern, role or name.
        source: String,
        /// Folders that may be meant.
        similar: Vec<String>,
    },
    /// All folders that a rule matches belong to earlier rules.
    OnlyEarlierMatches {
        /// The field that names it.
        field: String,
        /// Its pattern, role or name.
        source: String,
    },
    /// A pattern sends a folder of this role into the inbox.
    IntoInbox {
        /// The field that names the pattern.
        field: String,
        /// The folder.
        folder: String,
        /// Its role.
        role: FolderRole,
    },
    /// No rule can copy a folder whose name holds control characters.
    UnusableName {
        /// The folder.
        folder: String,
    },
}

impl FolderWarning {
    /// What was found.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            FolderWarning::NothingMatches { field, source, .. } => {
                format!("{field} {:?} matches no folder", Untrusted::new(source))
            }
            FolderWarning::OnlyEarlierMatches { field, source } => format!(
                "{field} {:?} matches only folders that earlier entries match",
                Untrusted::new(source)
            ),
            FolderWarning::IntoInbox {
                field,
                folder,
                role,
            } => format!(
                "{field} copies {:?}, which has the role {}, into the inbox",
                Untrusted::new(folder),
                role.attribute()
            ),
            FolderWarning::UnusableName { folder } => format!(
                "the source folder {:?} is not copied: its name holds control characters",
                Untrusted::new(folder)
            ),
        }
    }

    /// The remedy, if a person wants another result.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            FolderWarning::NothingMatches { similar, .. } => match similar.as_slice() {
                [] => "none is needed if such folders are to come; else correct it".to_owned(),
                similar => {
                    let quoted = similar
                        .iter()
                        .map(|name| format!("{:?}", Untrusted::new(name)));
                    let quoted: Vec<String> = quoted.collect();
                    format!("did you mean {}?", quoted.join(" or "))
                }
            },
            FolderWarning::OnlyEarlierMatches { .. } => {
                "move it before them, or remove it".to_owned()
            }
            FolderWarning::IntoInbox { role, .. } => format!(
                "put an entry before it: {{ \"source\": \"\\{}\", \"skip\": true }}",
                role.attribute()
            ),
            FolderWarning::UnusableName { .. } => "rename it at the source".to_owned(),
        }
    }
}

impl fmt::Display for FolderWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what(), self.remedy())
    }
}
