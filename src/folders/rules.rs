//! Applies the rules: which one a source folder belongs to, and where it goes then. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::config::{
    FolderConfig, FolderCopy, FolderRole, FolderRule, INBOX, SourceFolders, TargetFolder,
};
use crate::folders::mistake::RuleField;
use crate::folders::role_names::{folders_named_like, has_role};
use crate::folders::{
    FolderMistake, FolderPair, FolderPlan, FolderSelection, FolderWarning, MissingFolder,
    TargetFolders, pattern,
};
use crate::imap::{FolderListing, ListedFolder};
use crate::suggest::suggest;
use crate::untrusted::Untrusted;

/// Folders listed in a remedy; more would hide it.
const MAX_FOLDERS_SHOWN: usize = 10;

/// Roles whose folders no pattern should bring into the inbox by accident.
const UNWANTED_IN_INBOX: [FolderRole; 4] = [
    FolderRole::Junk,
    FolderRole::Trash,
    FolderRole::Drafts,
    FolderRole::Sent,
];

/// Determines which source folder goes where.
///
/// # Errors
/// All mistakes that show only now. Nothing can be copied before they are corrected: a folder could go
/// to the wrong place.
pub fn plan(
    config: &FolderConfig,
    source: &FolderListing,
    target: TargetFolders<'_>,
) -> Result<FolderPlan, Vec<FolderMistake>> {
    let source = &*with_inbox(source);
    let mut planner = Planner::new(config, source, target);
    for folder in &target.listing.folders {
        planner.note_spelling(&folder.name);
    }
    planner.apply();
    if planner.mistakes.is_empty() {
        Ok(planner.plan)
    } else {
        Err(planner.mistakes)
    }
}

/// Determines which source folders are copied; where they go is still open.
#[must_use]
pub fn select(config: &FolderConfig, source: &FolderListing) -> FolderSelection {
    let source = &*with_inbox(source);
    let target = TargetFolders {
        listing: &FolderListing::default(),
        is_gmail: false,
    };
    let mut planner = Planner::new(config, source, target);
    let assigned = planner.assign().into_iter();
    let copied = assigned.filter(|(_, rule, _)| rule.copy.is_some());
    let folders = copied.flat_map(|(_, _, folders)| folders);
    FolderSelection {
        folders: folders.map(|folder| folder.name.clone()).collect(),
        missing: planner.plan.missing,
    }
}

/// A plan that is being made.
pub(super) struct Planner<'a> {
    config: &'a FolderConfig,
    pub(super) source: &'a FolderListing,
    pub(super) target: TargetFolders<'a>,
    /// The names of labels, by their form in lower case: Gmail takes no two that differ in case only.
    pub(super) spellings: BTreeMap<String, String>,
    plan: FolderPlan,
    mistakes: Vec<FolderMistake>,
}

impl<'a> Planner<'a> {
    fn new(
        config: &'a FolderConfig,
        source: &'a FolderListing,
        target: TargetFolders<'a>,
    ) -> Planner<'a> {
        Planner {
            config,
            source,
            target,
            spellings: BTreeMap::new(),
            plan: FolderPlan::default(),
            mistakes: Vec::new(),
        }
    }

    fn apply(&mut self) {
        for (number, rule, folders) in self.assign() {
            if let Some(copy) = &rule.copy {
                self.copy_folders(number, rule, copy, &folders);
            }
        }
    }

    /// Assigns each folder to the first rule that matches it, in the order of the rules and of names.
    fn assign(&mut self) -> Vec<(usize, &'a FolderRule, Vec<&'a ListedFolder>)> {
        let mut assigned = Vec::new();
        let mut left: Vec<&ListedFolder> = self.source.folders.iter().collect();
        left.sort_unstable_by_key(|folder| folder.name.as_str());
        left.retain(|folder| folder.is_selectable() && self.has_usable_name(folder));
        let all = left.clone();
        for (number, rule) in (1..).zip(self.config.rules()) {
            let (matching, others) = left
                .into_iter()
                .partition::<Vec<_>, _>(|folder| is_match(&rule.source, folder));
            left = others;
            if matching.is_empty() {
                let is_taken = all.iter().any(|folder| is_match(&rule.source, folder));
                self.note_no_match(number, rule, is_taken);
            }
            assigned.push((number, rule, matching));
        }
        assigned
    }

    fn has_usable_name(&mut self, folder: &ListedFolder) -> bool {
        let is_usable = !folder.name.contains(char::is_control);
        if !is_usable {
            self.plan.warnings.push(FolderWarning::UnusableName {
                folder: folder.name.clone(),
            });
        }
        is_usable
    }

    fn copy_folders(
        &mut self,
        number: usize,
        rule: &FolderRule,
        copy: &FolderCopy,
        folders: &[&ListedFolder],
    ) {
        let labels_are_taken = self.check_labels(number, copy);
        let archive = copy.archive.then(|| self.archive(number, copy)).flatten();
        let fixed = match &copy.target {
            TargetFolder::SameName => None,
            TargetFolder::Name(name) if name == INBOX && copy.archive => Some(archive),
            TargetFolder::Name(name) => Some(self.named_target(number, name)),
            TargetFolder::Role(role) => Some(self.target_of_role(number, *role)),
        };
        for folder in folders {
            let target = match &fixed {
                Some(fixed) => fixed.clone(),
                None => self.same_name(number, copy, folder),
            };
            let Some(target) = target.filter(|_| labels_are_taken) else {
                continue;
            };
            if target == INBOX {
                self.warn_of_unwanted(number, rule, folder);
            }
            let labels = copy.labels.iter().filter(|label| **label != target);
            self.plan.pairs.push(FolderPair {
                source: folder.name.clone(),
                labels: labels.cloned().collect(),
                archive: copy.archive,
                copy_flags: copy.copy_flags,
                rule: number,
                target,
            });
        }
    }

    /// A rule that matches nothing is a mistake if a role cannot match, an error of the folder that
    /// it names, or else worth a warning.
    fn note_no_match(&mut self, number: usize, rule: &FolderRule, is_taken: bool) {
        let field = RuleField::Source.name(self.config, number);
        let source = source_text(&rule.source);
        if is_taken {
            let warning = FolderWarning::OnlyEarlierMatches { field, source };
            self.plan.warnings.push(warning);
            return;
        }
        match &rule.source {
            SourceFolders::Name(name) if rule.copy.is_some() => {
                let missing = self.missing(number, field, name);
                self.plan.missing.push(missing);
            }
            SourceFolders::Role(role) if !self.source_announces_roles() => {
                self.note_no_roles(number, *role);
            }
            selector => {
                let similar = match selector {
                    SourceFolders::Role(role) => folders_named_like(*role, &self.source.folders),
                    SourceFolders::Name(name) => self.similar(name).into_iter().collect(),
                    SourceFolders::Pattern(_) => Vec::new(),
                };
                let similar = similar.into_iter().map(str::to_owned).collect();
                self.plan.warnings.push(FolderWarning::NothingMatches {
                    field,
                    source,
                    similar,
                });
            }
        }
    }

    fn missing(&self, number: usize, field: String, name: &str) -> MissingFolder {
        let mut folders = self.source.folders.iter();
        let (what, remedy) = if folders.any(|folder| folder.name == name) {
            (
                "holds folders only, and no messages",
                "name a folder in it, or write a pattern".to_owned(),
            )
        } else {
            let remedy = match self.similar(name) {
                Some(similar) => format!("did you mean {:?}?", Untrusted::new(similar)),
                None => self.shown_folders(),
            };
            ("does not exist", remedy)
        };
        MissingFolder {
            name: name.to_owned(),
            rule: number,
            field,
            what,
            remedy,
        }
    }

    fn note_no_roles(&mut self, number: usize, role: FolderRole) {
        let similar = folders_named_like(role, &self.source.folders);
        let remedy = match similar.as_slice() {
            [] => format!("write the name of the folder; {}", self.shown_folders()),
            similar => {
                let quoted = similar
                    .iter()
                    .map(|name| format!("{:?}", Untrusted::new(name)));
                let quoted: Vec<String> = quoted.collect();
                format!(
                    "write the name of the folder, probably {}",
                    quoted.join(" or ")
                )
            }
        };
        let what = format!(
            "the source does not announce the roles of its folders, such as {}",
            role.attribute()
        );
        self.mistake(number, RuleField::Source, what, remedy);
    }

    fn warn_of_unwanted(&mut self, number: usize, rule: &FolderRule, folder: &ListedFolder) {
        if !matches!(rule.source, SourceFolders::Pattern(_)) {
            return;
        }
        let mut roles = UNWANTED_IN_INBOX.into_iter();
        if let Some(role) = roles.find(|role| has_role(folder, *role)) {
            self.plan.warnings.push(FolderWarning::IntoInbox {
                field: RuleField::Source.name(self.config, number),
                folder: folder.name.clone(),
                role,
            });
        }
    }

    fn source_announces_roles(&self) -> bool {
        let folders = &self.source.folders;
        FolderRole::ALL
            .iter()
            .any(|role| folders.iter().any(|folder| has_role(folder, *role)))
    }

    fn similar(&self, name: &str) -> Option<&'a str> {
        let folders = self.source.folders.iter();
        suggest(name, folders.map(|folder| folder.name.as_str()))
    }

    fn shown_folders(&self) -> String {
        let folders = self.source.folders.iter();
        let mut names: Vec<&str> = folders.map(|folder| folder.name.as_str()).collect();
        names.sort_unstable();
        let shown = names.iter().take(MAX_FOLDERS_SHOWN);
        let shown: Vec<String> = shown
            .map(|name| format!("{:?}", Untrusted::new(name)))
            .collect();
        format!("the folders there are {}", shown.join(", "))
    }

    /// Adds a mistake; there is no target then.
    pub(super) fn mistake(
        &mut self,
        number: usize,
        field: RuleField,
        what: String,
        remedy: String,
    ) -> Option<String> {
        self.mistakes.push(FolderMistake {
            field: field.name(self.config, number),
            what,
            remedy,
        });
        None
    }
}

/// There is an INBOX, listed or not (RFC 3501 5.1).
fn with_inbox(source: &FolderListing) -> Cow<'_, FolderListing> {
    let mut listing = Cow::Borrowed(source);
    if !source.folders.iter().any(|folder| folder.name == INBOX) {
        listing.to_mut().folders.push(ListedFolder {
            name: INBOX.to_owned(),
            delimiter: None,
            attributes: Vec::new(),
        });
    }
    listing
}

/// Whether a rule matches a folder.
fn is_match(source: &SourceFolders, folder: &ListedFolder) -> bool {
    match source {
        SourceFolders::Name(name) => *name == folder.name,
        SourceFolders::Role(role) => has_role(folder, *role),
        SourceFolders::Pattern(pattern) => {
            let matches = |pattern: &str| pattern::matches(pattern, &folder.name, folder.delimiter);
            !shows_other_folders(folder)
                && (matches(pattern)
                    || (folder.name == INBOX && matches(&pattern.to_ascii_uppercase())))
        }
    }
}

/// Whether a folder shows messages of other folders, as these do by RFC 6154: they are copied from there.
fn shows_other_folders(folder: &ListedFolder) -> bool {
    has_role(folder, FolderRole::All) || has_role(folder, FolderRole::Flagged)
}

fn source_text(source: &SourceFolders) -> String {
    match source {
        SourceFolders::Name(text) | SourceFolders::Pattern(text) => text.clone(),
        SourceFolders::Role(role) => role.attribute().to_owned(),
    }
}
