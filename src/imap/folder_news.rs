//! What a server reports of the folders that are not open (RFC 5465). Pure.

use std::collections::BTreeMap;

use crate::imap::Responses;
use crate::imap::folder_responses::{ReportedStatus, listed_folders, reported_statuses};
use crate::imap::response::{StatusCondition, status_response};
use crate::message::Mailbox;

/// The folders of the last check by name, with what is in those whose mail counts.
pub(crate) type KnownFolders = BTreeMap<String, Option<Mailbox>>;

/// Whether the server reported something that the last check of all folders did not find.
///
/// It may report that with the response to any command, and only once. Nothing is remembered of folders
/// that the check did not find.
#[derive(Debug, Default)]
pub(super) struct FolderNews {
    known: KnownFolders,
    /// What was reported of them last, where that is news.
    reported: BTreeMap<String, ReportedStatus>,
    /// A folder was created or renamed, or the server has lost count of the changes.
    needs_check: bool,
    /// The server reports changes of all folders.
    is_notified: bool,
}

impl FolderNews {
    pub(super) fn is_notified(&self) -> bool {
        self.is_notified
    }

    pub(super) fn record_notified(&mut self) {
        self.is_notified = true;
    }

    /// Says whether there is a reason for another check.
    pub(super) fn has_news(&self) -> bool {
        self.needs_check || !self.reported.is_empty()
    }

    /// Records that a check of all folders begins, which finds what was reported before.
    pub(super) fn start_check(&mut self) {
        self.reported.clear();
        self.needs_check = false;
    }

    /// Records what the check found. A report that came during the check may be newer.
    pub(super) fn record_check(&mut self, known: KnownFolders) {
        self.known = known;
        self.needs_check = false;
        self.reported.retain(|name, reported| {
            let known = self.known.get(name).copied().flatten();
            known.is_some_and(|known| is_news(&known, reported))
        });
    }

    /// Says whether one of these folders has mail that came after the last check.
    pub(super) fn is_outdated_by(&self, found: &KnownFolders) -> bool {
        found.iter().any(|(name, found)| {
            let known = self.known.get(name).copied().flatten();
            let both = known.zip(*found);
            both.is_some_and(|(known, found)| known.uid_next < found.uid_next)
        })
    }

    /// Records what was in a folder when it was opened.
    pub(super) fn record_opened(&mut self, folder: &str, mailbox: &Mailbox) {
        if let Some(Some(known)) = self.known.get_mut(folder) {
            *known = *mailbox;
            self.reported.remove(folder);
        }
    }

    /// Reads an untagged response.
    pub(super) fn update(&mut self, response: &Responses) {
        if self.known.is_empty() {
            return;
        }
        for (name, status) in reported_statuses(response) {
            if let Some(Some(known)) = self.known.get(&name) {
                if is_news(known, &status) {
                    self.reported.insert(name, status);
                } else {
                    self.reported.remove(&name);
                }
            }
        }
        for folder in listed_folders(response, 1).unwrap_or_default() {
            if folder.is_gone() {
                self.known.remove(&folder.name);
            } else {
                // A folder that is known may be in the response to a LIST of our own.
                self.needs_check |= !self.known.contains_key(&folder.name);
            }
        }
        if let Some((StatusCondition::Ok, text)) = status_response(&response.octets)
            && text.has_code("NOTIFICATIONOVERFLOW")
        {
            self.needs_check = true;
            self.is_notified = false;
        }
    }
}

fn is_news(known: &Mailbox, reported: &ReportedStatus) -> bool {
    reported.uid_next.is_none_or(|uid| uid != known.uid_next)
        || reported
            .uid_validity
            .is_some_and(|validity| validity != known.uid_validity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Uid, UidValidity};

    fn mailbox(uid_next: u32) -> Mailbox {
        Mailbox {
            uid_validity: UidValidity::new(7).unwrap(),
            uid_next: Uid::new(uid_next).unwrap(),
            exists: 1,
        }
    }

    fn known(uid_next: u32) -> KnownFolders {
        KnownFolders::from([
            ("Lists".to_owned(), Some(mailbox(uid_next))),
            ("Other".to_owned(), None),
        ])
    }

    fn news_after(lines: &[&str]) -> FolderNews {
        let mut news = FolderNews::default();
        news.record_check(known(5));
        for line in lines {
            let line = format!("{line}\r\n");
            news.update(&Responses::from(line.as_bytes()));
        }
        news
    }

    #[test]
    fn only_what_differs_from_the_last_check_is_news() {
        for (line, is_news) in [
            ("* STATUS Lists (MESSAGES 2 UIDNEXT 6 UNSEEN 1)", true),
            ("* status \"Lists\" (uidnext 6)", true),
            ("* STATUS Lists (MESSAGES 1 UIDNEXT 5 UIDVALIDITY 8)", true),
            ("* STATUS Lists (MESSAGES 2)", true),
            ("* STATUS Lists (MESSAGES 1 UIDNEXT 5 UIDVALIDITY 7)", false),
            ("* STATUS Lists (MESSAGES 0 UIDNEXT 5)", false),
            ("* STATUS Other (MESSAGES 2 UIDNEXT 6)", false),
            ("* STATUS Unknown (MESSAGES 2 UIDNEXT 6)", false),
            ("* LIST () \"/\" New", true),
            ("* LIST () \"/\" New (\"OLDNAME\" (Lists))", true),
            ("* LIST (\\NonExistent) \"/\" Lists", false),
            ("* OK [NOTIFICATIONOVERFLOW] too much", true),
            ("* OK Still here", false),
        ] {
            assert_eq!(news_after(&[line]).has_news(), is_news, "{line}");
        }
    }

    #[test]
    fn a_check_finds_what_was_reported_before_it_and_not_all_that_is_reported_during_it() {
        let report = "* STATUS Lists (MESSAGES 2 UIDNEXT 6)";
        let mut news = news_after(&[report]);
        news.start_check();
        assert!(!news.has_news());
        for (found, is_news) in [(6, false), (5, true)] {
            let mut news = news_after(&[]);
            news.start_check();
            news.update(&Responses::from(format!("{report}\r\n").as_bytes()));
            news.record_check(known(found));
            assert_eq!(news.has_news(), is_news, "{found}");
            news.record_opened("Lists", &mailbox(6));
            assert!(!news.has_news());
        }
    }

    #[test]
    fn a_server_that_has_lost_count_no_longer_notifies() {
        let mut news = news_after(&[]);
        news.record_notified();
        assert!(news.is_notified());
        news.update(&Responses::from(&b"* OK [NOTIFICATIONOVERFLOW] x\r\n"[..]));
        assert!(!news.is_notified());
    }

    #[test]
    fn nothing_is_remembered_of_folders_that_no_check_found() {
        let lines: Vec<String> = (0..100)
            .map(|number| format!("* STATUS {number} (UIDNEXT 6)"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(news_after(&lines).reported.is_empty());
    }
}
