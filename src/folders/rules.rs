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
    match plan_what_can_be(config, source, target) {
        (plan, mistakes) if mistakes.is_empty() => Ok(plan),
        (_, mistakes) => Err(mistakes),
    }
}

/// As [`plan`], without the folders that a mistake is about.
#[must_use]
pub fn plan_what_can_be(
    config: &FolderConfig,
    source: &FolderListing,
    target: TargetFolders<'_>,
) -> (FolderPlan, Vec<FolderMistake>) {
    let source = &*with_inbox(source);
    let mut planner = Planner::new(config, source, target);
    for folder in &target.listing.folders {
        planner.note_spelling(&folder.name);
    }
    planner.apply();
    (planner.plan, planner.mistakes)
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
                self.copy_folders(number, &rule.source, copy, &folders);
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
        let mut lacks_roles = false;
        for (number, rule) in (1..).zip(self.config.rules()) {
            // Without roles, a pattern would take the folders that an earlier rule is about: Trash, for instance.
            if lacks_roles && matches!(rule.source, SourceFolders::Pattern(_)) {
                continue;
            }
            let is_role = matches!(rule.source, SourceFolders::Role(_));
            lacks_roles |= is_role && !self.source_announces_roles();
            let (matching, others) = left
                .into_iter()
                .partition::<Vec<_>, _>(|folder| is_match(&rule.source, folder));
            left = others;
            if matching.is_empty() {
                let is_taken = all.iter().any(|folder| is_match(&rule.source, folder));
                self.note_no_match(number, &rule.source, rule.copy.is_some(), is_taken);
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
        selector: &SourceFolders,
        copy: &FolderCopy,
        folders: &[&ListedFolder],
    ) {
        let labels_are_taken = self.check_labels(number, copy);
        let fixed = match &copy.target {
            TargetFolder::SameName => None,
            TargetFolder::Name(name) if name == INBOX && copy.archive => Some(self.archive(number)),
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
                self.warn_of_unwanted(number, selector, folder);
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
    fn note_no_match(
        &mut self,
        number: usize,
        selector: &SourceFolders,
        is_copied: bool,
        is_taken: bool,
    ) {
        let field = RuleField::Source.name(self.config, number);
        let source = source_text(selector);
        if is_taken {
            let warning = FolderWarning::OnlyEarlierMatches { field, source };
            self.plan.warnings.push(warning);
            return;
        }
        match selector {
            SourceFolders::Name(name) if is_copied => {
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

    fn warn_of_unwanted(&mut self, number: usize, selector: &SourceFolders, folder: &ListedFolder) {
        if !matches!(selector, SourceFolders::Pattern(_)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FolderRule;
    use crate::folders::describe_mistakes;
    use crate::imap::NameAttribute;

    /// A listing of `name` or `name \Role \Noselect`, the first blank aside.
    fn listing(delimiter: char, folders: &[&str]) -> FolderListing {
        let folder = |line: &&str| {
            let (name, attributes) = line.split_once(" \\").unwrap_or((line, ""));
            let attributes = attributes.split(" \\").filter(|it| !it.is_empty());
            ListedFolder {
                name: name.to_owned(),
                delimiter: Some(delimiter),
                attributes: attributes
                    .map(|it| match it {
                        "Noselect" => NameAttribute::NoSelect,
                        "All" => NameAttribute::All,
                        "Archive" => NameAttribute::Archive,
                        "Drafts" => NameAttribute::Drafts,
                        "Flagged" => NameAttribute::Flagged,
                        "Junk" => NameAttribute::Junk,
                        "Sent" => NameAttribute::Sent,
                        "Trash" => NameAttribute::Trash,
                        other => NameAttribute::Extension(format!("\\{other}").into()),
                    })
                    .collect(),
            }
        };
        FolderListing {
            folders: folders.iter().map(folder).collect(),
            personal_prefixes: Vec::new(),
        }
    }

    /// German names on both sides.
    fn source() -> FolderListing {
        listing(
            '.',
            &[
                "INBOX",
                "Gesendet \\Sent",
                "Spamverdacht \\Junk",
                "Papierkorb \\Trash",
                "Alles \\All",
                "Listen \\Noselect",
                "Listen.rust",
                "Listen.imap",
                "Listen.imap.alt",
                "Weg \\NonExistent",
                "Projekt/1",
            ],
        )
    }

    fn gmail() -> FolderListing {
        listing(
            '/',
            &[
                "INBOX",
                "Arbeit",
                "[Google Mail] \\Noselect",
                "[Google Mail]/Alle Nachrichten \\All",
                "[Google Mail]/Gesendet \\Sent",
                "[Google Mail]/Spam \\Junk",
            ],
        )
    }

    fn copy_to(target: TargetFolder) -> FolderCopy {
        FolderCopy {
            target,
            labels: Vec::new(),
            archive: false,
            copy_flags: true,
        }
    }

    fn named(target: &str) -> FolderCopy {
        copy_to(TargetFolder::Name(target.to_owned()))
    }

    fn rule(source: &str, copy: Option<FolderCopy>) -> FolderRule {
        let role = FolderRole::ALL
            .into_iter()
            .find(|role| role.attribute() == source);
        let source = match role {
            Some(role) => SourceFolders::Role(role),
            None if source.contains(['*', '%']) => SourceFolders::Pattern(source.to_owned()),
            None => SourceFolders::Name(source.to_owned()),
        };
        FolderRule { source, copy }
    }

    fn plan_of(rules: Vec<FolderRule>) -> Result<FolderPlan, String> {
        plan_at(rules, &source(), &gmail(), true)
    }

    fn plan_at(
        rules: Vec<FolderRule>,
        source: &FolderListing,
        target: &FolderListing,
        is_gmail: bool,
    ) -> Result<FolderPlan, String> {
        let target = TargetFolders {
            listing: target,
            is_gmail,
        };
        plan(&FolderConfig::Many(rules), source, target)
            .map_err(|mistakes| describe_mistakes(&mistakes))
    }

    fn shown(plan: &FolderPlan) -> Vec<String> {
        let pairs = plan.pairs.iter();
        pairs
            .map(|pair| format!("{} {} > {}", pair.rule, pair.source, pair.target))
            .collect()
    }

    fn warnings(plan: &FolderPlan) -> Vec<String> {
        plan.warnings.iter().map(FolderWarning::to_string).collect()
    }

    #[test]
    fn the_first_rule_that_matches_a_folder_counts_and_the_order_is_stable() {
        let same = || Some(copy_to(TargetFolder::SameName));
        let role = |role| Some(copy_to(TargetFolder::Role(role)));
        let plan = plan_of(vec![
            rule("Listen.imap.alt", None),
            rule("\\Junk", role(FolderRole::Junk)),
            rule("Listen.%", same()),
            rule("\\Sent", role(FolderRole::Sent)),
            rule("inbox", None),
            rule("inb%", Some(named("Arbeit"))),
            rule("\\Trash", None),
            rule("*", same()),
        ])
        .unwrap();
        assert_eq!(
            shown(&plan),
            [
                "2 Spamverdacht > [Google Mail]/Spam",
                "3 Listen.imap > Listen/imap",
                "3 Listen.rust > Listen/rust",
                "4 Gesendet > [Google Mail]/Gesendet",
                "6 INBOX > Arbeit",
                "8 Projekt/1 > Projekt.1",
            ]
        );
        assert_eq!(plan.missing, []);
        assert_eq!(
            warnings(&plan),
            ["folders[5].source \"inbox\" matches no folder; did you mean \"INBOX\"?",]
        );
    }

    #[test]
    fn a_pattern_matches_neither_levels_nor_folders_that_show_other_folders() {
        let plan = plan_of(vec![rule("*", Some(named("Arbeit")))]).unwrap();
        let sources: Vec<&str> = plan.pairs.iter().map(|pair| pair.source.as_str()).collect();
        for absent in ["Listen", "Weg", "Alles"] {
            assert!(!sources.contains(&absent), "{absent}");
        }
        assert_eq!(sources.len(), 8);
        let by_role = plan_of(vec![rule("\\All", Some(named("Arbeit")))]).unwrap();
        assert_eq!(shown(&by_role), ["1 Alles > Arbeit"]);
    }

    #[test]
    fn labels_flags_and_the_inbox_belong_to_the_rule() {
        let plan = plan_of(vec![
            rule(
                "INBOX",
                Some(FolderCopy {
                    labels: vec!["Alt/\"1\"".to_owned(), "Arbeit".to_owned()],
                    archive: true,
                    copy_flags: false,
                    ..named(INBOX)
                }),
            ),
            rule(
                "Listen.imap",
                Some(FolderCopy {
                    labels: vec!["Arbeit".to_owned(), "x".to_owned()],
                    archive: true,
                    ..named("Arbeit")
                }),
            ),
        ])
        .unwrap();
        assert_eq!(
            plan.pairs,
            [
                FolderPair {
                    source: INBOX.to_owned(),
                    target: "[Google Mail]/Alle Nachrichten".to_owned(),
                    labels: vec!["Alt/\"1\"".to_owned(), "Arbeit".to_owned()],
                    archive: true,
                    copy_flags: false,
                    rule: 1,
                },
                FolderPair {
                    source: "Listen.imap".to_owned(),
                    target: "Arbeit".to_owned(),
                    labels: vec!["x".to_owned()],
                    archive: true,
                    copy_flags: true,
                    rule: 2,
                },
            ]
        );
    }

    #[test]
    fn what_is_archived_goes_to_all_mail() {
        let archived = |copy: FolderCopy| FolderCopy {
            archive: true,
            ..copy
        };
        let plan = plan_of(vec![
            rule("INBOX", Some(archived(copy_to(TargetFolder::SameName)))),
            rule(
                "Listen.imap",
                Some(copy_to(TargetFolder::Role(FolderRole::Archive))),
            ),
        ]);
        assert_eq!(
            shown(&plan.unwrap()),
            [
                "1 INBOX > [Google Mail]/Alle Nachrichten",
                "2 Listen.imap > [Google Mail]/Alle Nachrichten",
            ]
        );
        let without_all_mail = listing('/', &["INBOX"]);
        let rules = vec![rule("INBOX", Some(archived(named(INBOX))))];
        let mistakes = plan_at(rules, &source(), &without_all_mail, true).unwrap_err();
        assert_eq!(
            mistakes,
            "folders[1].archive: Gmail shows no folder with the role \\All (in Gmail's settings, \
             Labels, tick \"Show in IMAP\" for All Mail)"
        );
    }

    #[test]
    fn a_rule_that_matches_nothing_is_warned_of_and_a_missing_name_is_an_error_of_its_own() {
        let plan = plan_of(vec![
            rule("Listen.rsut", Some(named(INBOX))),
            rule("Listen", Some(named(INBOX))),
            rule("Weg", Some(named(INBOX))),
            rule("Listen.rust", Some(named(INBOX))),
            rule("Listen.rust", Some(named(INBOX))),
            rule("Alt*", Some(named(INBOX))),
            rule("\\Drafts", Some(named(INBOX))),
            rule("Fort", None),
            rule("*", Some(named(INBOX))),
        ])
        .unwrap();
        let missing: Vec<String> = plan.missing.iter().map(MissingFolder::to_string).collect();
        assert_eq!(
            missing,
            [
                "folders[1].source: the source folder \"Listen.rsut\" does not exist; did you mean \
                 \"Listen.rust\"?",
                "folders[2].source: the source folder \"Listen\" holds folders only, and no messages; \
                 name a folder in it, or write a pattern",
                "folders[3].source: the source folder \"Weg\" holds folders only, and no messages; \
                 name a folder in it, or write a pattern",
            ]
        );
        assert_eq!(plan.pairs.first().unwrap().source, "Listen.rust");
        assert_eq!(
            warnings(&plan),
            [
                "folders[5].source \"Listen.rust\" matches only folders that earlier entries match; \
                 move it before them, or remove it",
                "folders[6].source \"Alt*\" matches no folder; none is needed if such folders are to \
                 come; else correct it",
                "folders[7].source \"\\\\Drafts\" matches no folder; none is needed if such folders \
                 are to come; else correct it",
                "folders[8].source \"Fort\" matches no folder; none is needed if such folders are to \
                 come; else correct it",
                "folders[9].source copies \"Gesendet\", which has the role \\Sent, into the inbox; \
                 put an entry before it: { \"source\": \"\\\\Sent\", \"skip\": true }",
                "folders[9].source copies \"Papierkorb\", which has the role \\Trash, into the inbox; \
                 put an entry before it: { \"source\": \"\\\\Trash\", \"skip\": true }",
                "folders[9].source copies \"Spamverdacht\", which has the role \\Junk, into the inbox; \
                 put an entry before it: { \"source\": \"\\\\Junk\", \"skip\": true }",
            ]
        );
    }

    #[test]
    fn a_source_without_roles_is_a_mistake_that_shows_the_nearest_names() {
        let exchange = listing(
            '/',
            &["INBOX", "Junk-E-Mail", "Gesendete Elemente", "x/Spam"],
        );
        let rules = vec![
            rule("\\Junk", None),
            rule("\\Sent", Some(named(INBOX))),
            rule("\\Drafts", Some(named(INBOX))),
        ];
        let mistakes = plan_at(rules, &exchange, &gmail(), true).unwrap_err();
        assert_eq!(
            mistakes,
            "folders[1].source: the source does not announce the roles of its folders, such as \
             \\Junk (write the name of the folder, probably \"x/Spam\" or \"Junk-E-Mail\"); \
             folders[2].source: the source does not announce the roles of its folders, such as \
             \\Sent (write the name of the folder, probably \"Gesendete Elemente\"); \
             folders[3].source: the source does not announce the roles of its folders, such as \
             \\Drafts (write the name of the folder; the folders there are \"Gesendete Elemente\", \
             \"INBOX\", \"Junk-E-Mail\", \"x/Spam\")"
        );
    }

    #[test]
    fn a_source_without_roles_brings_nothing_that_a_pattern_would_take() {
        let source = listing('/', &["INBOX", "Papierkorb", "Rechnungen", "Listen"]);
        let same = || Some(copy_to(TargetFolder::SameName));
        let rules = vec![
            rule("List*", same()),
            rule("\\Trash", None),
            rule("Rechnungen", same()),
            rule("*", same()),
        ];
        let config = FolderConfig::Many(rules);
        let target = TargetFolders {
            listing: &gmail(),
            is_gmail: true,
        };
        let (plan, mistakes) = plan_what_can_be(&config, &source, target);
        let sources: Vec<&str> = plan.pairs.iter().map(|it| it.source.as_str()).collect();
        assert_eq!(sources, ["Listen", "Rechnungen"]);
        assert_eq!(select(&config, &source).folders, sources);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    }

    #[test]
    fn all_that_gmail_does_not_take_is_found_together() {
        let odd = listing(
            '.',
            &[
                "INBOX",
                "a  b",
                "x^",
                "ARBEIT",
                "Neu",
                "neu",
                "Updates",
                "[Gmail].Spam",
                "gut",
            ],
        );
        let same = copy_to(TargetFolder::SameName);
        let labels = FolderCopy {
            labels: vec!["gut ".to_owned(), "arbeit".to_owned(), "GUT".to_owned()],
            ..named("[Gmail]/Neu")
        };
        let rules = vec![
            rule("gut", Some(same.clone())),
            rule("INBOX", Some(labels)),
            rule("nichts*", Some(named("[Google Mail]"))),
            rule(
                "nie*",
                Some(copy_to(TargetFolder::Role(FolderRole::Drafts))),
            ),
            rule("*", Some(same)),
        ];
        let mistakes = {
            let target = TargetFolders {
                listing: &gmail(),
                is_gmail: true,
            };
            plan(&FolderConfig::Many(rules), &odd, target).unwrap_err()
        };
        let mistake = |it: &FolderMistake| format!("{}: {}", it.field, it.what);
        let whats: Vec<String> = mistakes.iter().map(mistake).collect();
        assert_eq!(
            whats,
            [
                "folders[2].labels: \"gut \" cannot be created: Gmail takes no blanks at either end of \
                 a name or level, and no two in a row",
                "folders[2].labels: \"arbeit\" cannot be created, which differs from \"Arbeit\" in \
                 case only: Gmail takes one of them",
                "folders[2].labels: \"GUT\" cannot be created, which differs from \"gut\" in case \
                 only: Gmail takes one of them",
                "folders[2].target: Gmail shows no folder \"[Gmail]/Neu\", and nobody can create it",
                "folders[3].target: \"[Google Mail]\" holds folders only, and no messages",
                "folders[4].target: Gmail shows no folder with the role \\Drafts",
                "folders[5].target: \"=\" would create \"ARBEIT\", which differs from \"Arbeit\" in \
                 case only: Gmail takes one of them",
                "folders[5].target: \"=\" would create \"Updates\": Gmail keeps the names of its \
                 categories to itself",
                "folders[5].target: \"=\" would copy \"[Gmail].Spam\" to \"[Gmail]/Spam\": Gmail \
                 keeps names below [Gmail] to itself",
                "folders[5].target: \"=\" would create \"a  b\": Gmail takes no blanks at either end \
                 of a name or level, and no two in a row",
                "folders[5].target: \"=\" would create \"neu\", which differs from \"Neu\" in case \
                 only: Gmail takes one of them",
                "folders[5].target: \"=\" would create \"x^\": Gmail takes no \"^\" in a name",
            ]
        );
        let line = describe_mistakes(&mistakes);
        assert!(line.ends_with("; and 2 more"), "{line}");
        assert!(line.contains("put an entry before it: { \"source\": \"ARBEIT\", \"target\": … }"));
    }

    #[test]
    fn another_target_than_gmail_has_names_of_its_own_and_no_labels() {
        let dovecot = listing('.', &["INBOX", "Junk \\Junk"]);
        let same = copy_to(TargetFolder::SameName);
        let plan = plan_at(
            vec![
                rule("Projekt/1", Some(same.clone())),
                rule("INBOX", Some(named("a  ^"))),
            ],
            &source(),
            &dovecot,
            false,
        );
        assert_eq!(
            shown(&plan.unwrap()),
            ["1 Projekt/1 > Projekt/1", "2 INBOX > a  ^"]
        );
        let rules = vec![
            rule(
                "INBOX",
                Some(FolderCopy {
                    labels: vec!["x".to_owned()],
                    ..same.clone()
                }),
            ),
            rule(
                "\\Sent",
                Some(copy_to(TargetFolder::Role(FolderRole::Sent))),
            ),
        ];
        assert_eq!(
            plan_at(rules, &source(), &dovecot, false).unwrap_err(),
            "folders[1].labels: the target has no labels: it does not announce X-GM-EXT-1 (remove \
             the labels, or copy to Gmail); \
             folders[2].target: the target announces no folder with the role \\Sent (write the name \
             of the folder as target)"
        );
    }

    #[test]
    fn a_folder_whose_name_could_end_a_command_is_left_out() {
        let hostile = listing('/', &["INBOX", "a\r\nb", "c\u{1b}[2J"]);
        let rules = vec![rule("*", Some(copy_to(TargetFolder::SameName)))];
        let plan = plan_at(rules, &hostile, &gmail(), true).unwrap();
        assert_eq!(shown(&plan), ["1 INBOX > INBOX"]);
        assert_eq!(
            warnings(&plan),
            [
                "the source folder \"a\\r\\nb\" is not copied: its name holds control characters; \
                 rename it at the source",
                "the source folder \"c\\u{1b}[2J\" is not copied: its name holds control characters; \
                 rename it at the source",
            ]
        );
    }

    #[test]
    fn an_inbox_that_is_not_listed_exists_and_the_short_form_names_its_own_fields() {
        let empty = FolderListing::default();
        let target = TargetFolders {
            listing: &empty,
            is_gmail: true,
        };
        let config = |source: &str, copy| FolderConfig::Single(rule(source, Some(copy)));
        let plan_single = |config: &FolderConfig| plan(config, &empty, target);
        let inbox = config(INBOX, named(INBOX));
        let planned = plan_single(&inbox).unwrap();
        assert_eq!(shown(&planned), ["1 INBOX > INBOX"]);
        assert_eq!(
            planned.pairs.first(),
            crate::folders::single_pair(&inbox).as_ref()
        );

        let archived = FolderCopy {
            archive: true,
            labels: vec!["a^".to_owned()],
            ..named(INBOX)
        };
        let archived = config(INBOX, archived);
        assert_eq!(crate::folders::single_pair(&archived), None);
        let mistakes = plan_single(&archived).unwrap_err();
        let fields: Vec<&str> = mistakes.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["labels", "archive"]);
        let mistakes = plan_single(&config(INBOX, named("a^"))).unwrap_err();
        assert_eq!(mistakes.first().unwrap().field, "target_folder");
        let missing = plan_single(&config("x", named(INBOX))).unwrap().missing;
        assert_eq!(missing.first().unwrap().field, "source_folder");
    }
}
