//! Which folders are copied, and where to: `folders`, or its short form `source_folder`,
//! `target_folder`, `labels` and `archive`.

use std::slice;

use crate::config::raw::{RawConfig, Validated};
use crate::suggest::suggest;
use crate::untrusted::Untrusted;

/// INBOX is case-insensitive (RFC 3501 5.1); everything has one name for it.
pub(crate) const INBOX: &str = "INBOX";

/// The target that stands for the name of the source folder.
const SAME_NAME: &str = "=";

/// Which folders are copied, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderConfig {
    /// The short form: one folder, by its exact name.
    Single(FolderRule),
    /// The entries of `folders`, of which the first one that matches a folder counts.
    Many(Vec<FolderRule>),
}

/// What becomes of the source folders that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderRule {
    /// The folders that it matches.
    pub source: SourceFolders,
    /// How they are copied; `None` if they are not.
    pub copy: Option<FolderCopy>,
}

/// How the messages of a folder are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderCopy {
    /// The folder that they go to.
    pub target: TargetFolder,
    /// The labels that they get besides.
    pub labels: Vec<String>,
    /// Whether they stay out of the inbox.
    pub archive: bool,
    /// Whether to copy `\\Seen`, `\\Flagged` and `\\Answered`.
    pub copy_flags: bool,
}

/// The source folders that a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFolders {
    /// The one of this name, in Unicode.
    Name(String),
    /// Those whose names match: `*` stands for anything, `%` for anything within one level.
    Pattern(String),
    /// Those with this role.
    Role(FolderRole),
}

/// A folder of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetFolder {
    /// The one of this name, in Unicode.
    Name(String),
    /// The one with the name of the source folder.
    SameName,
    /// The one with this role.
    Role(FolderRole),
}

/// The role of a folder (RFC 6154), which does not depend on the language of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderRole {
    /// All messages.
    All,
    /// Archived messages.
    Archive,
    /// Drafts.
    Drafts,
    /// Messages marked as important or starred.
    Flagged,
    /// Spam.
    Junk,
    /// Copies of messages that were sent.
    Sent,
    /// Deleted messages.
    Trash,
}

/// What becomes of a message that is moved between folders at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMove {
    /// Nothing.
    #[default]
    Ignore,
    /// It gets the labels of the other folder.
    Label,
}

impl FolderConfig {
    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[FolderRule] {
        match self {
            FolderConfig::Single(rule) => slice::from_ref(rule),
            FolderConfig::Many(rules) => rules,
        }
    }

    /// The names of one source folder and of its target: those of the first rule that copies a folder
    /// by its exact name. INBOX stands for each that no name says.
    pub(super) fn first_names(&self) -> (String, String) {
        let first = self.rules().iter().find_map(|rule| match rule {
            FolderRule {
                source: SourceFolders::Name(source),
                copy: Some(copy),
            } => Some((source.clone(), &copy.target)),
            _ => None,
        });
        match first {
            Some((source, TargetFolder::Name(target))) => (source, target.clone()),
            Some((source, _)) => (source, INBOX.to_owned()),
            None => (INBOX.to_owned(), INBOX.to_owned()),
        }
    }
}

impl FolderRole {
    /// All roles.
    pub const ALL: [FolderRole; 7] = [
        FolderRole::All,
        FolderRole::Archive,
        FolderRole::Drafts,
        FolderRole::Flagged,
        FolderRole::Junk,
        FolderRole::Sent,
        FolderRole::Trash,
    ];

    /// Its attribute in responses, such as `\\Junk`.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            FolderRole::All => "\\All",
            FolderRole::Archive => "\\Archive",
            FolderRole::Drafts => "\\Drafts",
            FolderRole::Flagged => "\\Flagged",
            FolderRole::Junk => "\\Junk",
            FolderRole::Sent => "\\Sent",
            FolderRole::Trash => "\\Trash",
        }
    }

    fn from_attribute(attribute: &str) -> Option<FolderRole> {
        let is_it = |role: &FolderRole| role.attribute().eq_ignore_ascii_case(attribute);
        FolderRole::ALL.into_iter().find(is_it)
    }
}

/// Reads `folders`, or its short form.
pub(super) fn folder_config(raw: &mut RawConfig, copy_flags: bool) -> Validated<FolderConfig> {
    let short_form = ["source_folder", "target_folder", "labels", "archive"];
    let given: Vec<&str> = short_form
        .into_iter()
        .filter(|name| raw.contains(name))
        .collect();
    let source = single_name(raw, "source_folder");
    let target = single_name(raw, "target_folder");
    let labels = labels(raw);
    let archive = raw.boolean("archive");
    let has_entries = raw.contains("folders");
    let many = raw.objects("folders", |entry| rule(entry, copy_flags));
    if has_entries && !given.is_empty() {
        return Err(raw.add_mistake(format_args!(
            "folders and {} cannot be used together; write all of it into entries of folders",
            given.join(" and ")
        )));
    }
    if let Some(rules) = many? {
        return Ok(FolderConfig::Many(rules));
    }
    Ok(FolderConfig::Single(FolderRule {
        source: SourceFolders::Name(source?),
        copy: Some(FolderCopy {
            target: TargetFolder::Name(target?),
            labels: labels?,
            archive: archive?.unwrap_or(false),
            copy_flags,
        }),
    }))
}

/// Reads `on_move`.
pub(super) fn on_move(raw: &mut RawConfig) -> Validated<OnMove> {
    match raw.line("on_move")?.as_deref() {
        None | Some("ignore") => Ok(OnMove::Ignore),
        Some("label") => Ok(OnMove::Label),
        Some(_) => Err(raw.add_mistake("on_move must be \"ignore\" or \"label\"")),
    }
}

fn rule(entry: &mut RawConfig, copy_flags: bool) -> Validated<FolderRule> {
    let source = entry.required("source");
    let source = source.and_then(|source| source_folders(entry, source));
    let target = target_folder(entry);
    let labels = labels(entry);
    let archive = entry.boolean("archive");
    let flags = entry.boolean("flags");
    let skips = entry.boolean("skip")?.unwrap_or(false);
    let (target, labels, archive, flags) = (target?, labels?, archive?, flags?);
    let source = source?;
    if !skips {
        return Ok(FolderRule {
            source,
            copy: Some(FolderCopy {
                target,
                labels,
                archive: archive.unwrap_or(false),
                copy_flags: flags.unwrap_or(copy_flags),
            }),
        });
    }
    let without_effect: Vec<&str> = ["target", "labels", "archive", "flags"]
        .into_iter()
        .filter(|name| entry.contains(name))
        .collect();
    if without_effect.is_empty() {
        return Ok(FolderRule { source, copy: None });
    }
    Err(entry.add_mistake(format_args!(
        "skip and {} cannot be used together: a skipped folder is not copied",
        without_effect.join(" and ")
    )))
}

fn source_folders(entry: &mut RawConfig, source: String) -> Validated<SourceFolders> {
    if source.starts_with('\\') {
        return role(entry, "source", &source).map(SourceFolders::Role);
    }
    Ok(if source.contains(['*', '%']) {
        SourceFolders::Pattern(source)
    } else {
        SourceFolders::Name(with_inbox_in_capitals(source))
    })
}

fn target_folder(entry: &mut RawConfig) -> Validated<TargetFolder> {
    match entry.line("target")? {
        None => Ok(TargetFolder::Name(INBOX.to_owned())),
        Some(name) if name == SAME_NAME => Ok(TargetFolder::SameName),
        Some(name) if name.starts_with('\\') => {
            role(entry, "target", &name).map(TargetFolder::Role)
        }
        Some(name) => Ok(TargetFolder::Name(with_inbox_in_capitals(name))),
    }
}

/// A role, which begins with a backslash: two of them in JSON.
fn role(entry: &mut RawConfig, field: &str, text: &str) -> Validated<FolderRole> {
    if let Some(role) = FolderRole::from_attribute(text) {
        return Ok(role);
    }
    if text.eq_ignore_ascii_case("\\Inbox") {
        return Err(entry.add_mistake(format_args!(
            "{field} must be \"INBOX\", without a backslash, for the inbox"
        )));
    }
    let roles = FolderRole::ALL.map(FolderRole::attribute);
    let in_json = |role: &str| role.replace('\\', "\\\\");
    let remedy = match suggest(text, roles) {
        Some(role) => format!("did you mean \"{}\"?", in_json(role)),
        None => format!("the roles are {}", roles.map(in_json).join(", ")),
    };
    let shown = Untrusted::new(text);
    Err(entry.add_mistake(format_args!("{field} {shown:?} is no role ({remedy})")))
}

fn single_name(raw: &mut RawConfig, name: &'static str) -> Validated<String> {
    let folder = raw.line(name)?.unwrap_or_else(|| INBOX.to_owned());
    if FolderRole::from_attribute(&folder).is_some() {
        return Err(raw.add_mistake(format_args!(
            "{name} must be the name of a folder; a role belongs into an entry of folders"
        )));
    }
    Ok(with_inbox_in_capitals(folder))
}

fn with_inbox_in_capitals(name: String) -> String {
    if name.eq_ignore_ascii_case(INBOX) {
        INBOX.to_owned()
    } else {
        name
    }
}

/// The labels, each once.
fn labels(raw: &mut RawConfig) -> Validated<Vec<String>> {
    let mut labels: Vec<String> = Vec::new();
    for label in raw.lines("labels")?.unwrap_or_default() {
        if label.starts_with('\\') {
            return Err(raw.add_mistake(
                "labels must not begin with a backslash: Gmail keeps such names to itself",
            ));
        }
        if label.eq_ignore_ascii_case(INBOX) {
            return Err(raw.add_mistake(
                "labels must not hold INBOX: without archive, the target INBOX stands for it",
            ));
        }
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(fields: &Value) -> Result<FolderConfig, String> {
        let mut raw = RawConfig::parse(fields.to_string().as_bytes()).unwrap();
        let config = folder_config(&mut raw, true);
        match (raw.mistakes(), config) {
            (None, Ok(config)) => Ok(config),
            (mistakes, _) => Err(mistakes.unwrap()),
        }
    }

    fn entries(entries: &Value) -> Result<Vec<FolderRule>, String> {
        read(&json!({ "folders": entries })).map(|config| config.rules().to_vec())
    }

    fn copy(target: TargetFolder) -> FolderCopy {
        FolderCopy {
            target,
            labels: Vec::new(),
            archive: false,
            copy_flags: true,
        }
    }

    fn name(name: &str) -> TargetFolder {
        TargetFolder::Name(name.to_owned())
    }

    #[test]
    fn the_short_form_is_one_exact_name_with_labels_and_archive() {
        let config = read(&json!({
            "source_folder": "a*b%",
            "target_folder": "=",
            "labels": ["Größe/\"1\"", "x", "x"],
            "archive": true,
        }));
        let expected = FolderConfig::Single(FolderRule {
            source: SourceFolders::Name("a*b%".to_owned()),
            copy: Some(FolderCopy {
                labels: vec!["Größe/\"1\"".to_owned(), "x".to_owned()],
                archive: true,
                ..copy(name("="))
            }),
        });
        assert_eq!(config, Ok(expected));
        let default = read(&json!({ "source_folder": "inbox" })).unwrap();
        assert_eq!(
            default.first_names(),
            ("INBOX".to_owned(), "INBOX".to_owned())
        );
    }

    #[test]
    fn an_entry_has_a_name_a_pattern_or_a_role_and_a_target() {
        let rules = entries(&json!([
            { "source": "inBOX", "_why": "first", "labels": ["Old"] },
            { "source": "Listen/%", "target": "=", "archive": true, "flags": false },
            { "source": "\\junk", "target": "\\JUNK" },
            { "source": "*old", "skip": true },
            { "source": "日本語", "target": "Inbox", "skip": false },
        ]));
        let rule = |source, copy| FolderRule { source, copy };
        let expected = vec![
            rule(
                SourceFolders::Name("INBOX".to_owned()),
                Some(FolderCopy {
                    labels: vec!["Old".to_owned()],
                    ..copy(name("INBOX"))
                }),
            ),
            rule(
                SourceFolders::Pattern("Listen/%".to_owned()),
                Some(FolderCopy {
                    archive: true,
                    copy_flags: false,
                    ..copy(TargetFolder::SameName)
                }),
            ),
            rule(
                SourceFolders::Role(FolderRole::Junk),
                Some(copy(TargetFolder::Role(FolderRole::Junk))),
            ),
            rule(SourceFolders::Pattern("*old".to_owned()), None),
            rule(
                SourceFolders::Name("日本語".to_owned()),
                Some(copy(name("INBOX"))),
            ),
        ];
        assert_eq!(rules, Ok(expected));
    }

    #[test]
    fn the_first_exact_name_stands_for_the_account() {
        let cases = [
            (json!([{ "source": "*" }]), ("INBOX", "INBOX")),
            (
                json!([{ "source": "a", "skip": true }, { "source": "\\Sent" },
                       { "source": "b", "target": "c" }, { "source": "d" }]),
                ("b", "c"),
            ),
            (json!([{ "source": "b", "target": "=" }]), ("b", "INBOX")),
            (
                json!([{ "source": "b", "target": "\\Sent" }]),
                ("b", "INBOX"),
            ),
        ];
        for (rules, (source, target)) in cases {
            let names = read(&json!({ "folders": rules })).unwrap().first_names();
            assert_eq!(names, (source.to_owned(), target.to_owned()), "{rules}");
        }
    }

    #[test]
    fn all_mistakes_in_entries_are_found_together_and_have_the_number_of_the_entry() {
        let mistakes = entries(&json!([
            { "source": "INBOX" },
            { "target": 7, "lables": ["x"] },
            "INBOX",
            { "source": "\\Jnuk", "target": "\\Inbox", "labels": ["", 1, "a\nb"] },
            { "source": "a", "skip": true, "target": "b", "flags": true },
            { "source": "b\u{0}", "archive": "yes", "_flag": 1 },
        ]));
        assert_eq!(
            mistakes.unwrap_err(),
            "unknown field \"folders[2].lables\" (did you mean labels?); \
             folders[2].source is missing; \
             folders[2].target must be a string, not a number; \
             folders[3] must be an object, not a string; \
             folders[4].source \"\\\\Jnuk\" is no role (did you mean \"\\\\Junk\"?); \
             folders[4].target must be \"INBOX\", without a backslash, for the inbox; \
             folders[4].labels[1] must not be empty; \
             folders[4].labels[2] must be a string, not a number; \
             folders[4].labels[3] must not contain control characters; \
             folders[5].skip and target and flags cannot be used together: a skipped folder is not \
             copied; \
             folders[6].source must not contain control characters; \
             folders[6].archive must be true or false, not a string"
        );
    }

    #[test]
    fn a_mistake_in_the_list_or_its_short_form_names_the_field() {
        let cases = [
            (json!({ "folders": [] }), "folders must not be empty"),
            (
                json!({ "folders": {} }),
                "folders must be a list of objects, not an object",
            ),
            (
                json!({ "folders": [{ "source": "a" }], "target_folder": "b", "archive": false }),
                "folders and target_folder and archive cannot be used together; write all of it \
                 into entries of folders",
            ),
            (
                json!({ "source_folder": "\\junk" }),
                "source_folder must be the name of a folder; a role belongs into an entry of \
                 folders",
            ),
            (
                json!({ "labels": "x" }),
                "labels must be a list of strings, not a string",
            ),
            (
                json!({ "labels": ["\\Starred"] }),
                "labels must not begin with a backslash: Gmail keeps such names to itself",
            ),
            (
                json!({ "labels": ["Inbox"] }),
                "labels must not hold INBOX: without archive, the target INBOX stands for it",
            ),
            (
                json!({ "folders": [{ "source": "\\Spam" }] }),
                "folders[1].source \"\\\\Spam\" is no role (the roles are \\\\All, \\\\Archive, \
                 \\\\Drafts, \\\\Flagged, \\\\Junk, \\\\Sent, \\\\Trash)",
            ),
        ];
        for (fields, mistake) in cases {
            assert_eq!(read(&fields).unwrap_err(), mistake, "{fields}");
        }
    }

    #[test]
    fn an_entry_that_gives_a_field_twice_is_a_mistake() {
        let json = br#"{"folders": [{"source": "a", "source": "b"}]}"#;
        let mut raw = RawConfig::parse(json).unwrap();
        folder_config(&mut raw, true).map(drop).unwrap();
        assert_eq!(
            raw.mistakes().as_deref(),
            Some("folders[1].source is given twice")
        );
    }

    #[test]
    fn on_move_is_one_of_two_words() {
        let cases = [
            (json!({}), Ok(OnMove::Ignore)),
            (json!({ "on_move": "ignore" }), Ok(OnMove::Ignore)),
            (json!({ "on_move": "label" }), Ok(OnMove::Label)),
            (
                json!({ "on_move": "move" }),
                Err("on_move must be \"ignore\" or \"label\""),
            ),
        ];
        for (fields, expected) in cases {
            let mut raw = RawConfig::parse(fields.to_string().as_bytes()).unwrap();
            let read = on_move(&mut raw);
            match expected {
                Ok(expected) => assert_eq!(read.unwrap(), expected),
                Err(mistake) => assert_eq!(raw.mistakes().as_deref(), Some(mistake)),
            }
        }
    }

    #[test]
    fn the_snippets_of_the_documentation_are_valid() {
        let page = include_str!("../../docs/folders.md");
        let blocks = page.split("```json\n").skip(1);
        let blocks: Vec<&str> = blocks.filter_map(|it| it.split("```").next()).collect();
        assert!(blocks.len() > 5, "{page}");
        for block in blocks {
            let json = if block.trim_start().starts_with('{') {
                format!("{{\"folders\": [{block}]}}")
            } else {
                format!("{{{block}}}")
            };
            let fields = serde_json::from_str(&json).expect(block);
            assert_eq!(read(&fields).map(drop), Ok(()), "{block}");
        }
    }
}
