//! Which source folder goes where: the rules of the configuration, applied to the folders that both
//! servers list. Pure.
//!
//! May use `config` for the rules, `imap` for the listings, and the base modules.

mod mistake;
mod pattern;
mod role_names;
mod rules;
mod target_name;
mod targets;
mod warning;

pub use mistake::{FolderMistake, MissingFolder, describe_mistakes};
pub use rules::{plan, plan_what_can_be, select};
pub use warning::FolderWarning;

use crate::config::{FolderConfig, FolderRule, SourceFolders, TargetFolder};
use crate::imap::FolderListing;

/// A source folder, and where its messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderPair {
    /// The name of the source folder, in Unicode.
    pub source: String,
    /// The name of the target folder, in Unicode. It may not exist yet.
    pub target: String,
    /// The labels that the messages get besides.
    pub labels: Vec<String>,
    /// Whether they stay out of the inbox; the target is Gmail's All Mail, if no other was named.
    pub archive: bool,
    /// Whether to copy `\Seen`, `\Flagged` and `\Answered`.
    pub copy_flags: bool,
    /// The number of its entry in `folders`, counted from 1.
    pub rule: usize,
}

/// Which source folder goes where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderPlan {
    /// The folders to copy, by rule and name; no source folder is there twice.
    pub pairs: Vec<FolderPair>,
    /// The folders that the configuration names and that cannot be copied: each is an error of its
    /// own, and does not stop the others.
    pub missing: Vec<MissingFolder>,
    /// What a person should know of; nothing depends on it.
    pub warnings: Vec<FolderWarning>,
}

/// Which source folders are copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderSelection {
    /// Their names, by rule and name.
    pub folders: Vec<String>,
    /// See [`FolderPlan::missing`].
    pub missing: Vec<MissingFolder>,
}

/// The folders of the target.
#[derive(Debug, Clone, Copy)]
pub struct TargetFolders<'a> {
    /// The folders.
    pub listing: &'a FolderListing,
    /// Whether it is Gmail, with labels and its rules for their names: it announces X-GM-EXT-1.
    pub is_gmail: bool,
}

/// The pair of the short form, where it is known without any listing: it needs none of Gmail's folders.
#[must_use]
pub fn single_pair(config: &FolderConfig) -> Option<FolderPair> {
    let FolderConfig::Single(FolderRule {
        source: SourceFolders::Name(source),
        copy: Some(copy),
    }) = config
    else {
        return None;
    };
    match &copy.target {
        TargetFolder::Name(target) if !copy.archive => Some(FolderPair {
            source: source.clone(),
            target: target.clone(),
            labels: copy.labels.clone(),
            archive: false,
            copy_flags: copy.copy_flags,
            rule: 1,
        }),
        _ => None,
    }
}
