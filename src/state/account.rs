//! The account that a state belongs to.

use serde::{Deserialize, Serialize};

use crate::message::{Digest, Uid};
use crate::state::{FolderState, GmailState, SourceState, State};

/// This many messages identify a mailbox.
const MAX_SAMPLES: usize = 16;

/// The account that a state belongs to: `user/folder` on both sides, or `user/` if several folders are
/// copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountNames {
    /// Source user and folder.
    pub source: String,
    /// Gmail address and folder.
    pub target: String,
}

impl AccountNames {
    /// The Gmail address; it has no slash.
    pub(crate) fn target_user(&self) -> &str {
        self.target.split('/').next().unwrap_or_default()
    }

    /// Whether both name the same account. In an address the domain is in any case, and so is a
    /// whole address of Google; `INBOX` is as well (RFC 3501 5.1).
    #[must_use]
    pub fn is_same(&self, other: &AccountNames) -> bool {
        self.is_same_source(other) && self.is_same_target(other)
    }

    fn is_same_source(&self, other: &AccountNames) -> bool {
        includes_or_equals(&normalize(&self.source), &normalize(&other.source))
    }

    fn is_same_target(&self, other: &AccountNames) -> bool {
        let (one, other) = (&self.target, &other.target);
        includes_or_equals(&one.to_ascii_lowercase(), &other.to_ascii_lowercase())
    }
}

/// Whether two names are equal, or one names all folders of the other's user.
fn includes_or_equals(one: &str, other: &str) -> bool {
    let includes = |all: &str, one: &str| all.ends_with('/') && one.starts_with(all);
    one == other || includes(one, other) || includes(other, one)
}

/// A name of the source with its domain and `INBOX` in one form.
fn normalize(name: &str) -> String {
    let (user, folder) = name.split_once('/').unwrap_or((name, ""));
    let user = match user.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => user.to_owned(),
    };
    let is_inbox = folder.eq_ignore_ascii_case("INBOX");
    format!("{user}/{}", if is_inbox { "INBOX" } else { folder })
}

impl State {
    /// Whether something is remembered of mail of its account, so that it can be no other's.
    #[must_use]
    pub fn is_bound_to_account(&self) -> bool {
        let has_mail = |folder: &FolderState| {
            !folder.parked.is_empty() || !folder.refused.is_empty() || !folder.orphans().is_empty()
        };
        !self.known.is_empty()
            || self.folders().any(|(_, folder)| has_mail(folder))
            || self.gmail.last_accepted.is_some()
    }

    pub(super) fn add_sample(&mut self, uid: Uid, digest: Digest) {
        self.folder
            .samples
            .insert(uid, Digest::of_header(digest.header));
        if self.folder.samples.len() > MAX_SAMPLES {
            self.folder.samples.pop_first();
        }
    }

    /// The mailbox of its UIDs has another name.
    pub(super) fn rename_source(&mut self, source: String) {
        if let Some(cursor) = &mut self.folder.cursor {
            cursor.source.clone_from(&source);
        }
        if let Some(pass) = &mut self.folder.date_pass {
            pass.source = source;
        }
    }

    /// Assigns the state to an account. What it holds of an account that it was not bound to is
    /// discarded: the first run of this one copies the mail of its first days.
    pub(super) fn assign(&mut self, account: AccountNames) {
        let before = self.account.take();
        let is_unbound = !self.is_bound_to_account();
        let before = before
            .filter(|_| is_unbound)
            .unwrap_or_else(|| account.clone());
        if !before.is_same_source(&account) {
            for folder in self.folders_mut() {
                *folder = FolderState {
                    parked: std::mem::take(&mut folder.parked),
                    refused: std::mem::take(&mut folder.refused),
                    ..FolderState::default()
                };
            }
            self.source = SourceState::default();
        }
        if !before.is_same_target(&account) {
            self.gmail = GmailState::default();
        }
        self.account = Some(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_has_one_name_in_several_forms() {
        let names = |source: &str, target: &str| AccountNames {
            source: source.to_owned(),
            target: target.to_owned(),
        };
        let account = names("Carol@mail.test/INBOX", "carol@gmail.test/INBOX");
        for (source, target, is_same) in [
            ("Carol@MAIL.test/inbox", "Carol@GMAIL.test/Inbox", true),
            ("carol@mail.test/INBOX", "carol@gmail.test/INBOX", false),
            ("Carol@mail.test/Archive", "carol@gmail.test/INBOX", false),
            ("Carol@mail.test/INBOX", "carol@gmail.test/Work", false),
            ("Carol@mail.test/INBOX", "bob@gmail.test/INBOX", false),
        ] {
            let other = names(source, target);
            assert_eq!(account.is_same(&other), is_same, "{other:?}");
        }
        let all = names("Carol@mail.test/", "carol@gmail.test/");
        assert!(all.is_same(&account) && account.is_same(&all) && all.is_same(&all));
        assert!(!all.is_same(&names("Bob@mail.test/INBOX", "carol@gmail.test/INBOX")));
        assert!(!all.is_same(&names(
            "Carol@mail.test/INBOX",
            "carol@gmail.test.example/INBOX"
        )));
        let lists = names("alice/Lists/Rust", "a@x/INBOX");
        assert!(!lists.is_same(&names("alice/lists/rust", "a@x/INBOX")));
    }
}
