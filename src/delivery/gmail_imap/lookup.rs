//! The lookup connection: which messages Gmail has, and whether an uncertain one was stored.

mod fetch;
mod octets;
mod places;
mod searching;

use std::sync::Arc;

use crate::delivery::gmail_imap::account::{GmailAccount, GmailSession};
use crate::delivery::gmail_imap::found_message::compare;
use crate::delivery::gmail_imap::lookup::fetch::BodyDigests;
use crate::delivery::gmail_imap::lookup::octets::ListedDays;
use crate::delivery::gmail_imap::mail_index::MailIndex;
use crate::delivery::gmail_imap::responses::is_about_the_command;
use crate::delivery::gmail_imap::search;
use crate::error::{Error, Result};
use crate::imap::{
    CommandError, CommandResult, ExamineError, FolderListing, ListedFolder, NameAttribute,
};
use crate::message::{DeliveryMethod, Mailbox, Mark, MessageId, Uid};
use crate::sync::{LookupQuery, LookupResult, SearchScope, TargetStatus};

/// At most this many found messages are compared: an id that more messages have identifies none.
const MAX_COMPARED: usize = 20_000;

/// How a lookup failed.
pub(super) enum LookupError {
    /// The connection was lost; a new one may work.
    ConnectionLost(CommandError),
    /// The pass ends.
    Fatal(Error),
}

pub(super) struct Lookup {
    account: Arc<GmailAccount>,
    gmail: GmailSession,
    /// Those of the account.
    listed: Vec<ListedFolder>,
    folders: SearchedFolders,
    /// The selected folder.
    open_mailbox: Option<(String, Mailbox)>,
    append_limit: Option<u64>,
    /// Whether the server has Gmail's own search keys and labels (X-GM-EXT-1).
    has_gmail_search: bool,
    /// The criteria of the searches that were sent with the EXAMINE, and their results.
    prefetched_searches: Vec<(String, CommandResult)>,
    /// What lookups of messages without Message-ID listed in this pass.
    listed_days: ListedDays,
}

struct SearchedFolders {
    /// The folder whose UIDs mark what was appended later: All Mail, which has each message but those in
    /// Trash and Junk. The target folder, if that is one of these, or All Mail is hidden; `None` if neither
    /// exists.
    main: Option<String>,
    /// All Mail, if it is not that.
    also: Option<String>,
    trash_and_junk: Vec<String>,
}

/// When a folder is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Searched {
    /// Always, and what is above the mark of an uncertain message.
    WithMarks,
    Always,
    /// If the scope of the query includes Trash and Junk.
    IfAskedFor,
}

impl SearchedFolders {
    /// The folders to search for what is appended to `target`.
    fn of(listed: &[ListedFolder], target: &str) -> SearchedFolders {
        let name_of = |attribute: &NameAttribute<'_>| {
            let mut found = listed.iter();
            let found = found.find(|folder| folder.attributes.contains(attribute));
            found.map(|folder| folder.name.clone())
        };
        let outside_all_mail = [NameAttribute::Trash, NameAttribute::Junk];
        let trash_and_junk: Vec<String> = outside_all_mail.iter().filter_map(name_of).collect();
        let target_exists = target.eq_ignore_ascii_case("INBOX")
            || listed.iter().any(|folder| folder.name == target);
        let target_folder = target_exists.then(|| target.to_owned());
        let all_mail = name_of(&NameAttribute::All);
        if trash_and_junk.iter().any(|folder| folder == target) {
            return SearchedFolders {
                main: target_folder,
                also: all_mail,
                trash_and_junk: trash_and_junk
                    .into_iter()
                    .filter(|it| it != target)
                    .collect(),
            };
        }
        SearchedFolders {
            main: all_mail.or(target_folder),
            also: None,
            trash_and_junk,
        }
    }
}

impl SearchedFolders {
    fn all(&self) -> Vec<String> {
        let always = self.main.iter().chain(&self.also);
        always.chain(&self.trash_and_junk).cloned().collect()
    }
}

impl Lookup {
    /// Logs in and finds the folders to search.
    pub(super) fn open(account: &Arc<GmailAccount>) -> Result<Lookup> {
        let mut gmail = account.log_in()?;
        let session = &mut gmail.session;
        let capabilities = session
            .capabilities()
            .map_err(|failure| account.command_error(&failure))?;
        let folders = session.list().map_err(|failure| {
            account
                .command_error(&failure)
                .during("listing the folders")
        })?;
        Ok(Lookup {
            folders: SearchedFolders::of(&folders, &account.folder()),
            listed: folders,
            account: Arc::clone(account),
            gmail,
            open_mailbox: None,
            append_limit: capabilities.append_limit(),
            has_gmail_search: capabilities.has("X-GM-EXT-1"),
            prefetched_searches: Vec::new(),
            listed_days: ListedDays::default(),
        })
    }

    /// Whether the connection works and its token does not expire soon.
    pub(super) fn is_usable(&self) -> bool {
        self.gmail.session.is_usable() && !self.account.expires_soon(&self.gmail)
    }

    /// The connection for another pass. It examines the folder again, because Gmail shows a
    /// selected folder as it was when it was selected. None if there was no folder to search: there
    /// may be one now.
    pub(super) fn reuse_for_next_pass(mut self) -> Option<Lookup> {
        self.open_mailbox = None;
        self.prefetched_searches = Vec::new();
        self.listed_days = ListedDays::default();
        self.folders = SearchedFolders::of(&self.listed, &self.account.folder());
        if self.folders.main.is_some() {
            return Some(self);
        }
        self.close();
        None
    }

    pub(super) fn close(self) {
        self.gmail.session.logout();
    }

    /// Makes the next command examine its folder anew: Gmail shows a selected folder as it was when
    /// it was selected.
    pub(super) fn examine_again(&mut self) {
        self.open_mailbox = None;
    }

    /// All folders, with their roles also at servers that tell them only when asked; and whether the server
    /// has labels.
    pub(super) fn list_folders(&mut self) -> Result<(FolderListing, bool), LookupError> {
        let listed = self.gmail.session.list_folders();
        let listing = listed.map_err(|failure| self.command_failed(failure))?;
        Ok((listing, self.has_gmail_search))
    }

    /// The largest message that the server accepts, and All Mail's current UIDNEXT.
    pub(super) fn status(&mut self) -> Result<TargetStatus, LookupError> {
        let mark = match self.folders.main.clone() {
            None => None,
            Some(main) => {
                let mailbox = self.examine_if_needed(&main)?;
                Some(Mark {
                    uid_validity: mailbox.uid_validity,
                    uid_next: mailbox.uid_next,
                })
            }
        };
        Ok(TargetStatus {
            append_limit: self.append_limit,
            import_limit: None,
            mark,
            has_labels: self.has_gmail_search,
        })
    }

    /// Lists the messages in All Mail that match; the newest of them if there are too many.
    pub(super) fn build_index(&mut self, criteria: &str) -> Result<MailIndex, LookupError> {
        let Some(main) = self.folders.main.clone() else {
            return Ok(MailIndex::default());
        };
        self.examine_if_needed(&main)?;
        let uids = newest(self.search(criteria)?.unwrap_or_default());
        Ok(MailIndex::from_messages(self.fetch_identities(uids)?))
    }

    /// The result of each query, in order.
    pub(super) fn look_up(
        &mut self,
        queries: &[LookupQuery],
    ) -> Result<Vec<LookupResult>, LookupError> {
        let mut results = vec![LookupResult::NotFound; queries.len()];
        if let Some(main) = self.folders.main.clone() {
            // An uncertain message may have been stored after the folder was selected.
            if queries.iter().any(|query| query.uncertain.is_some()) {
                self.open_mailbox = None;
            }
            self.look_up_in(&main, Searched::WithMarks, queries, &mut results)?;
        }
        if let Some(also) = self.folders.also.clone() {
            self.look_up_in(&also, Searched::Always, queries, &mut results)?;
        }
        for folder in self.folders.trash_and_junk.clone() {
            self.look_up_in(&folder, Searched::IfAskedFor, queries, &mut results)?;
        }
        for (query, result) in queries.iter().zip(&mut results) {
            if let Some(body) = query.octets {
                *result = self.look_up_octets(query, body)?;
            }
        }
        Ok(results)
    }

    /// Looks in one folder for what was not found yet.
    fn look_up_in(
        &mut self,
        folder: &str,
        searched: Searched,
        queries: &[LookupQuery],
        results: &mut [LookupResult],
    ) -> Result<(), LookupError> {
        let is_in_scope = |query: &LookupQuery| {
            searched != Searched::IfAskedFor || query.scope == SearchScope::AllMailTrashAndJunk
        };
        let has_marks = searched == Searched::WithMarks;
        // Gmail may have taken it for spam, or a filter of the user's thrown it away.
        let was_imported = |query: &LookupQuery| {
            let sent = query.uncertain.as_ref();
            sent.is_some_and(|sent| sent.method == DeliveryMethod::Import)
        };
        let open: Vec<(&LookupQuery, &mut LookupResult)> = queries
            .iter()
            .zip(results)
            .filter(|(query, result)| is_in_scope(query) && **result != LookupResult::Found)
            .collect();
        let needs_search = |query: &LookupQuery| {
            query.identity.id.is_some()
                || (has_marks && query.uncertain.is_some())
                || was_imported(query)
        };
        if !open.iter().any(|(query, _)| needs_search(query)) {
            return Ok(());
        }
        let queries: Vec<&LookupQuery> = open.iter().map(|(query, _)| *query).collect();
        let mailbox = self.examine_and_search(folder, &queries)?;
        let mut uids = self.search_by_id(&queries)?;
        uids.extend(self.search_by_day(&queries)?);
        let later = if has_marks {
            self.search_above_marks(&queries, mailbox)?
        } else {
            let imported = queries.iter().filter(|query| was_imported(query));
            self.search_since(imported.filter_map(|query| query.uncertain.as_ref()))?
        };
        let is_complete = later.is_some();
        uids.extend(later.unwrap_or_default());
        let candidates = self.fetch_identities(uids)?;
        let mut bodies = BodyDigests::default();
        for (query, result) in open {
            let compared = match &query.uncertain {
                None => compare(&query.identity, &candidates),
                Some(sent) => {
                    let found =
                        self.compare_uncertain(&query.identity, sent, &candidates, &mut bodies)?;
                    if found == LookupResult::Found || is_complete {
                        found
                    } else {
                        LookupResult::Unclear
                    }
                }
            };
            *result = combine(*result, compared);
        }
        Ok(())
    }

    /// The result of a command; none if the server rejects this very command.
    fn unless_rejected<T>(
        &self,
        result: Result<T, CommandError>,
    ) -> Result<Option<T>, LookupError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(failure) if is_about_the_command(&failure) => {
                log::debug!("Gmail rejected a lookup command: {failure}");
                Ok(None)
            }
            Err(failure) => Err(self.command_failed(failure)),
        }
    }

    fn examine_if_needed(&mut self, folder: &str) -> Result<Mailbox, LookupError> {
        match &self.open_mailbox {
            Some((name, mailbox)) if name == folder => return Ok(*mailbox),
            _ => self.open_mailbox = None,
        }
        let result = self.gmail.session.try_examine(folder);
        let mailbox = result.map_err(|error| self.examine_failed(error))?;
        self.open_mailbox = Some((folder.to_owned(), mailbox));
        Ok(mailbox)
    }

    /// Selects a folder if needed, and sends the searches for the ids along with that, which saves a
    /// round trip.
    fn examine_and_search(
        &mut self,
        folder: &str,
        queries: &[&LookupQuery],
    ) -> Result<Mailbox, LookupError> {
        let is_open = self
            .open_mailbox
            .as_ref()
            .is_some_and(|(name, _)| name == folder);
        let searches = search::by_ids(&ids_of(queries));
        if is_open || searches.is_empty() {
            return self.examine_if_needed(folder);
        }
        self.open_mailbox = None;
        let criteria = searches.into_iter().map(|search| search.criteria);
        let criteria: Vec<String> = criteria.collect();
        let session = &mut self.gmail.session;
        let result = session.examine_and_search(folder, criteria.iter().cloned());
        self.account.note_lost_pipelined(&self.gmail.session);
        let (mailbox, found) = result.map_err(|error| self.examine_failed(error))?;
        self.prefetched_searches = criteria.into_iter().zip(found).collect();
        self.open_mailbox = Some((folder.to_owned(), mailbox));
        Ok(mailbox)
    }

    fn examine_failed(&self, error: ExamineError) -> LookupError {
        match error {
            ExamineError::Command(failure) => self.command_failed(failure),
            ExamineError::Unusable(error) => LookupError::Fatal(error),
        }
    }

    fn command_failed(&self, failure: CommandError) -> LookupError {
        let error = self.account.command_error(&failure);
        // A response about the whole account would be the same on a new connection.
        if failure.leaves_session_usable() || error.consequence().is_some() {
            LookupError::Fatal(error.during("looking up messages"))
        } else {
            LookupError::ConnectionLost(failure)
        }
    }
}

/// A query's result after another folder was searched. A folder without the message does not make
/// an unclear result clear.
fn combine(before: LookupResult, now: LookupResult) -> LookupResult {
    match (before, now) {
        (LookupResult::Unclear, LookupResult::Found) => LookupResult::Found,
        (LookupResult::Unclear, _) | (_, LookupResult::NotFound) => before,
        _ => now,
    }
}

fn ids_of<'a>(queries: &[&'a LookupQuery]) -> Vec<&'a MessageId> {
    let ids = queries.iter();
    ids.filter_map(|query| query.identity.id.as_ref()).collect()
}

/// The newest of the found messages, as many as are compared, in ascending order.
fn newest(mut uids: Vec<Uid>) -> Vec<Uid> {
    uids.sort_unstable();
    uids.drain(..uids.len().saturating_sub(MAX_COMPARED));
    uids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_folder_does_not_hold_makes_nothing_clear() {
        use LookupResult::{Found, NotFound, OtherMessage, Unclear};
        for (before, now, combined) in [
            (Unclear, NotFound, Unclear),
            (Unclear, OtherMessage, Unclear),
            (Unclear, Found, Found),
            (OtherMessage, NotFound, OtherMessage),
            (OtherMessage, Unclear, Unclear),
            (NotFound, OtherMessage, OtherMessage),
            (NotFound, Found, Found),
        ] {
            assert_eq!(combine(before, now), combined, "{before:?}, {now:?}");
        }
    }
}
