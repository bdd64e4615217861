//! Where the messages of a rule go: the folder of the target, and the labels. Pure.

use crate::config::{FolderCopy, FolderRole, INBOX};
use crate::folders::mistake::RuleField;
use crate::folders::role_names::{has_role, name_at_gmail};
use crate::folders::rules::Planner;
use crate::folders::target_name::{is_below_system_level, refusal_by_gmail, translated};
use crate::imap::ListedFolder;
use crate::untrusted::Untrusted;

impl<'a> Planner<'a> {
    /// The folder of all mail, where messages go that skip the inbox.
    pub(super) fn archive(&mut self, number: usize) -> Option<String> {
        self.folder_of_role(number, RuleField::Archive, FolderRole::All)
    }

    /// A folder that the configuration names: it is there, or Gmail takes its name.
    pub(super) fn named_target(&mut self, number: usize, name: &str) -> Option<String> {
        let shown = format!("{:?}", Untrusted::new(name));
        let listed = self.listed_at_target(name);
        if listed.is_some_and(|folder| !folder.is_selectable()) {
            let what = format!("{shown} holds folders only, and no messages");
            let remedy = "name another folder";
            return self.mistake(number, RuleField::Target, what, remedy.to_owned());
        }
        if name == INBOX || listed.is_some() {
            return Some(name.to_owned());
        }
        if self.target.is_gmail && is_below_system_level(name) {
            let what = format!("Gmail shows no folder {shown}, and nobody can create it");
            let remedy = "write its role, such as \"\\\\Junk\", or another name";
            return self.mistake(number, RuleField::Target, what, remedy.to_owned());
        }
        self.new_name(number, RuleField::Target, name, "write another name", None)
    }

    pub(super) fn same_name(
        &mut self,
        number: usize,
        copy: &FolderCopy,
        folder: &ListedFolder,
    ) -> Option<String> {
        let name = translated(folder, self.source, self.target.listing);
        if name == INBOX && copy.archive {
            return self.archive(number);
        }
        let listed = self.listed_at_target(&name);
        let is_usable = listed.is_some_and(ListedFolder::is_selectable);
        if name == INBOX || (is_usable && !is_below_system_level(&name)) {
            return Some(name);
        }
        let remedy = format!(
            "put an entry before it: {{ \"source\": {:?}, \"target\": … }}",
            Untrusted::new(&folder.name)
        );
        if listed.is_some() {
            let what = format!(
                "\"=\" would copy {:?} to {:?}, which is a folder of Gmail's own, or holds no messages",
                Untrusted::new(&folder.name),
                Untrusted::new(&name)
            );
            return self.mistake(number, RuleField::Target, what, remedy);
        }
        self.new_name(number, RuleField::Target, &name, &remedy, Some(folder))
    }

    /// A folder that is to be created, if Gmail takes its name.
    fn new_name(
        &mut self,
        number: usize,
        field: RuleField,
        name: &str,
        remedy: &str,
        same_as: Option<&ListedFolder>,
    ) -> Option<String> {
        if !self.target.is_gmail {
            return Some(name.to_owned());
        }
        let shown = Untrusted::new(name);
        let place = match same_as {
            Some(folder) if folder.name != name => format!(
                "\"=\" would copy {:?} to {shown:?}",
                Untrusted::new(&folder.name)
            ),
            Some(_) => format!("\"=\" would create {shown:?}"),
            None => format!("{shown:?} cannot be created"),
        };
        if let Some(why) = refusal_by_gmail(name) {
            return self.mistake(number, field, format!("{place}: {why}"), remedy.to_owned());
        }
        let spelling = self.note_spelling(name);
        if spelling != name {
            let what = format!(
                "{place}, which differs from {:?} in case only: Gmail takes one of them",
                Untrusted::new(&spelling)
            );
            return self.mistake(number, field, what, remedy.to_owned());
        }
        Some(name.to_owned())
    }

    /// The first spelling of a name.
    pub(super) fn note_spelling(&mut self, name: &str) -> String {
        let spelling = self.spellings.entry(name.to_lowercase());
        spelling.or_insert_with(|| name.to_owned()).clone()
    }

    pub(super) fn target_of_role(&mut self, number: usize, role: FolderRole) -> Option<String> {
        let folders = &self.target.listing.folders;
        // Gmail has no folder of archived mail but All Mail.
        let is_archived_at_gmail = role == FolderRole::Archive
            && self.target.is_gmail
            && !folders.iter().any(|folder| has_role(folder, role));
        let role = if is_archived_at_gmail {
            FolderRole::All
        } else {
            role
        };
        self.folder_of_role(number, RuleField::Target, role)
    }

    fn folder_of_role(
        &mut self,
        number: usize,
        field: RuleField,
        role: FolderRole,
    ) -> Option<String> {
        let mut folders = self.target.listing.folders.iter();
        let found = folders.find(|folder| has_role(folder, role) && folder.is_selectable());
        if let Some(folder) = found {
            return Some(folder.name.clone());
        }
        let attribute = role.attribute();
        let (what, remedy) = if self.target.is_gmail {
            (
                format!("Gmail shows no folder with the role {attribute}"),
                format!(
                    "in Gmail's settings, Labels, tick \"Show in IMAP\" for {}",
                    name_at_gmail(role)
                ),
            )
        } else {
            (
                format!("the target announces no folder with the role {attribute}"),
                "write the name of the folder as target".to_owned(),
            )
        };
        self.mistake(number, field, what, remedy)
    }

    pub(super) fn check_labels(&mut self, number: usize, copy: &FolderCopy) -> bool {
        if copy.labels.is_empty() {
            return true;
        }
        let field = RuleField::Labels;
        if !self.target.is_gmail {
            let what = "the target has no labels: it does not announce X-GM-EXT-1".to_owned();
            let remedy = "remove the labels, or copy to Gmail".to_owned();
            self.mistake(number, field, what, remedy);
            return false;
        }
        let mut are_taken = true;
        for label in &copy.labels {
            let listed = self.listed_at_target(label);
            let is_there = listed.is_some() && !is_below_system_level(label);
            are_taken &= is_there
                || self
                    .new_name(number, field, label, "write another name", None)
                    .is_some();
        }
        are_taken
    }

    fn listed_at_target(&self, name: &str) -> Option<&'a ListedFolder> {
        let mut folders = self.target.listing.folders.iter();
        folders.find(|folder| folder.name == name)
    }
}
