//! Looking messages up at Gmail: what it holds already, and what became of a lost answer.

mod fetch;

use crate::delivery::gmail_imap::account::{GmailAccount, GmailSession};
use crate::delivery::gmail_imap::found_message::holding_of;
use crate::delivery::gmail_imap::lookup::fetch::BodyDigests;
use crate::delivery::gmail_imap::mail_index::MailIndex;
use crate::delivery::gmail_imap::responses::is_about_the_command;
use crate::delivery::gmail_imap::search;
use crate::delivery::gmail_imap::search::IdSearch;
use crate::error::{Error, Result};
use crate::imap::{CommandError, CommandResult, ExamineError, search_results};
use crate::message::{Mailbox, Mark, MessageId, Uid};
use crate::sync::{LookupQuery, LookupResult, SearchScope, TargetStatus};

/// More messages than this are not compared: an id so common that a search finds more identifies
/// nothing.
const MOST_COMPARED: usize = 20_000;

/// How a look-up failed.
pub(super) enum LookupError {
    /// The connection is gone: another may do.
    ConnectionLost(CommandError),
    /// It ends the pass.
    Fatal(Error),
}

/// The connection that looks messages up.
pub(super) struct Lookup {
    logged_in: GmailSession,
    folders: SearchedFolders,
    /// The folder that is open.
    open_mailbox: Option<(String, Mailbox)>,
    append_limit: Option<u64>,
    has_gm_ext: bool,
    /// A search that was made with opening the folder, and what it found.
    prefetched_search: Option<(String, CommandResult)>,
}

/// Where mail can be.
struct SearchedFolders {
    /// All Mail, or the target folder where All Mail is hidden; none if there is neither yet.
    all: Option<String>,
    /// Trash and Junk.
    trash_and_junk: Vec<String>,
}

impl Lookup {
    /// Logs in and finds out where mail can be.
    pub(super) fn open(account: &GmailAccount) -> Result<Lookup> {
        let mut logged_in = account.log_in()?;
        let session = &mut logged_in.session;
        let capabilities = session
            .capabilities()
            .map_err(|failure| account.command_error(&failure))?;
        let folders = session.list().map_err(|failure| {
            account
                .command_error(&failure)
                .during("listing the folders")
        })?;
        let named = |attribute: &str| {
            let mut found = folders.iter().filter(|folder| folder.has(attribute));
            found.next().map(|folder| folder.name.clone())
        };
        let target = account.config().folder.as_str();
        let target_exists = target.eq_ignore_ascii_case("INBOX")
            || folders.iter().any(|folder| folder.name == target);
        Ok(Lookup {
            folders: SearchedFolders {
                all: named("\\All").or_else(|| target_exists.then(|| target.to_owned())),
                trash_and_junk: [named("\\Trash"), named("\\Junk")]
                    .into_iter()
                    .flatten()
                    .collect(),
            },
            logged_in,
            open_mailbox: None,
            append_limit: capabilities.append_limit(),
            has_gm_ext: capabilities.has("X-GM-EXT-1"),
            prefetched_search: None,
        })
    }

    /// The session, for the account to judge its age.
    pub(super) fn session(&self) -> &GmailSession {
        &self.logged_in
    }

    /// Says whether commands can still be given.
    pub(super) fn is_usable(&self) -> bool {
        self.logged_in.session.is_usable()
    }

    /// The same connection without what it saw: Gmail shows an open folder as it was when it was
    /// opened. None if there was no folder to look in, for there may be one now.
    pub(super) fn reuse_for_next_pass(mut self) -> Option<Lookup> {
        self.open_mailbox = None;
        self.prefetched_search = None;
        if self.folders.all.is_some() {
            return Some(self);
        }
        self.close();
        None
    }

    /// Takes leave.
    pub(super) fn close(self) {
        self.logged_in.session.logout();
    }

    /// What the server takes, and where new mail will appear, as it is now.
    pub(super) fn status(&mut self, account: &GmailAccount) -> Result<TargetStatus, LookupError> {
        let mark = match self.folders.all.clone() {
            None => None,
            Some(all) => {
                let mailbox = self.open_if_needed(&all, account)?;
                Some(Mark {
                    uid_validity: mailbox.uid_validity,
                    uid_next: mailbox.uid_next,
                })
            }
        };
        Ok(TargetStatus {
            append_limit: self.append_limit,
            mark,
        })
    }

    /// Lists what a search finds in All Mail; of too much, the newest.
    pub(super) fn build_index(
        &mut self,
        program: &str,
        account: &GmailAccount,
    ) -> Result<MailIndex, LookupError> {
        let Some(all) = self.folders.all.clone() else {
            return Ok(MailIndex::default());
        };
        self.open_if_needed(&all, account)?;
        let mut uids = self.search(program, account)?.unwrap_or_default();
        uids.sort_unstable();
        uids.drain(..uids.len().saturating_sub(MOST_COMPARED));
        Ok(MailIndex::from_messages(
            self.fetch_identities(uids, account)?,
        ))
    }

    /// Answers each question, in order.
    pub(super) fn look_up(
        &mut self,
        questions: &[LookupQuery],
        account: &GmailAccount,
    ) -> Result<Vec<LookupResult>, LookupError> {
        let mut holdings = vec![LookupResult::NotFound; questions.len()];
        if let Some(all) = self.folders.all.clone() {
            // A session sees what was there when it opened the folder; a lost append came later.
            if questions
                .iter()
                .any(|question| question.uncertain.is_some())
            {
                self.open_mailbox = None;
            }
            self.look_up_in(&all, true, questions, &mut holdings, account)?;
        }
        for folder in self.folders.trash_and_junk.clone() {
            self.look_up_in(&folder, false, questions, &mut holdings, account)?;
        }
        Ok(holdings)
    }

    /// Looks for what was not found yet in one folder.
    fn look_up_in(
        &mut self,
        folder: &str,
        is_all_mail: bool,
        questions: &[LookupQuery],
        holdings: &mut [LookupResult],
        account: &GmailAccount,
    ) -> Result<(), LookupError> {
        let reaches = |question: &LookupQuery| {
            is_all_mail || question.scope == SearchScope::AllMailTrashAndJunk
        };
        let open: Vec<(&LookupQuery, &mut LookupResult)> = questions
            .iter()
            .zip(holdings)
            .filter(|(question, holding)| reaches(question) && **holding != LookupResult::Found)
            .collect();
        let asks_something = |question: &LookupQuery| {
            question.identity.id.is_some() || (is_all_mail && question.uncertain.is_some())
        };
        if !open.iter().any(|(question, _)| asks_something(question)) {
            return Ok(());
        }
        let asked: Vec<&LookupQuery> = open.iter().map(|(question, _)| *question).collect();
        let mailbox = self.open_and_search(folder, &asked, account)?;
        let mut uids = self.search_by_id(&asked, account)?;
        let mut misses_are_clear = true;
        if is_all_mail {
            match self.search_above_marks(&asked, mailbox, account)? {
                Some(found) => uids.extend(found),
                None => misses_are_clear = false,
            }
        }
        let candidates = self.fetch_identities(uids, account)?;
        let mut bodies = BodyDigests::default();
        for (question, holding) in open {
            let found = match &question.uncertain {
                None => holding_of(&question.identity, &candidates),
                Some(sent) => {
                    self.holding_of_sent(question, sent, &candidates, &mut bodies, account)?
                }
            };
            let is_clear =
                found == LookupResult::Found || question.uncertain.is_none() || misses_are_clear;
            let found = if is_clear {
                found
            } else {
                LookupResult::Unclear
            };
            // What another folder does not hold makes nothing clear.
            if *holding == LookupResult::Unclear && found != LookupResult::Found {
                continue;
            }
            if found != LookupResult::NotFound {
                *holding = found;
            }
        }
        Ok(())
    }

    /// The messages whose Message-ID field may be one of those asked for.
    fn search_by_id(
        &mut self,
        questions: &[&LookupQuery],
        account: &GmailAccount,
    ) -> Result<Vec<Uid>, LookupError> {
        let ids = ids_of(questions);
        let mut found = Vec::new();
        for program in search::by_ids(&ids) {
            match self.search(&program.criteria, account)? {
                Some(uids) => found.extend(uids),
                None => found.extend(self.search_one_by_one(&program, account)?),
            }
        }
        if self.has_gm_ext {
            for own_words in ids.iter().filter_map(|id| search::by_gmail_raw(id)) {
                found.extend(self.search(&own_words, account)?.unwrap_or_default());
            }
        }
        // Of too many, the newest.
        found.sort_unstable();
        found.drain(..found.len().saturating_sub(MOST_COMPARED));
        Ok(found)
    }

    /// One odd id spoils a whole program; the one that is refused alone counts as not found.
    fn search_one_by_one(
        &mut self,
        program: &IdSearch,
        account: &GmailAccount,
    ) -> Result<Vec<Uid>, LookupError> {
        let mut found = Vec::new();
        let keys = program.ids.iter().filter_map(|id| search::by_id(id));
        for key in keys.filter(|_| program.ids.len() > 1) {
            found.extend(self.search(&key, account)?.unwrap_or_default());
        }
        Ok(found)
    }

    /// What arrived since the lowest mark that still means something, whatever a search by id says:
    /// an index may be late, and a message may have no id. None if the server refuses to say.
    fn search_above_marks(
        &mut self,
        questions: &[&LookupQuery],
        mailbox: Mailbox,
        account: &GmailAccount,
    ) -> Result<Option<Vec<Uid>>, LookupError> {
        let marks = questions
            .iter()
            .filter_map(|question| question.uncertain.as_ref()?.mark)
            .filter(|mark| mark.uid_validity == mailbox.uid_validity);
        let Some(lowest) = marks.map(|mark| mark.uid_next).min() else {
            return Ok(Some(Vec::new()));
        };
        let program = format!("UID {lowest}:*");
        let Some(mut uids) = self.search(&program, account)? else {
            return Ok(None);
        };
        // `n:*` finds the last message even if its UID is lower (RFC 3501 6.4.8).
        uids.retain(|uid| *uid >= lowest);
        // The oldest are the likeliest: sent right after the mark was taken.
        uids.truncate(MOST_COMPARED);
        Ok(Some(uids))
    }

    /// The messages that match; none if the server refuses this very question.
    fn search(
        &mut self,
        program: &str,
        account: &GmailAccount,
    ) -> Result<Option<Vec<Uid>>, LookupError> {
        let ahead = self
            .prefetched_search
            .take()
            .filter(|(made, _)| made == program);
        let found = match ahead {
            Some((_, answer)) => answer.map(|answer| search_results(&answer)),
            None => self.logged_in.session.search(program),
        };
        match found {
            Ok(uids) => Ok(Some(uids)),
            Err(failure) if is_about_the_command(&failure) => {
                log::debug!("a search is refused, and finds nothing: {failure}");
                Ok(None)
            }
            Err(failure) => Err(LookupError::from_command_error(failure, account)),
        }
    }

    fn open_if_needed(
        &mut self,
        folder: &str,
        account: &GmailAccount,
    ) -> Result<Mailbox, LookupError> {
        match &self.open_mailbox {
            Some((name, mailbox)) if name == folder => Ok(*mailbox),
            _ => self.reopen(folder, account),
        }
    }

    /// Opens a folder if it is not open, and makes the first search for these ids in the same
    /// write: it costs no round trip of its own.
    fn open_and_search(
        &mut self,
        folder: &str,
        questions: &[&LookupQuery],
        account: &GmailAccount,
    ) -> Result<Mailbox, LookupError> {
        let is_open = self
            .open_mailbox
            .as_ref()
            .is_some_and(|(name, _)| name == folder);
        let programs = search::by_ids(&ids_of(questions));
        let Some(first) = programs.into_iter().next().filter(|_| !is_open) else {
            return self.open_if_needed(folder, account);
        };
        self.open_mailbox = None;
        let search = format!("UID SEARCH {}", first.criteria);
        let examined = self.logged_in.session.examine_and(folder, &search);
        account.note_lost_pipelined(&self.logged_in.session);
        let (mailbox, answer) =
            examined.map_err(|error| LookupError::from_examine_error(error, account))?;
        self.prefetched_search = answer.map(|answer| (first.criteria, answer));
        self.open_mailbox = Some((folder.to_owned(), mailbox));
        Ok(mailbox)
    }

    fn reopen(&mut self, folder: &str, account: &GmailAccount) -> Result<Mailbox, LookupError> {
        self.open_mailbox = None;
        let examined = self.logged_in.session.try_examine(folder);
        let mailbox = examined.map_err(|error| LookupError::from_examine_error(error, account))?;
        self.open_mailbox = Some((folder.to_owned(), mailbox));
        Ok(mailbox)
    }
}

fn ids_of<'a>(questions: &[&'a LookupQuery]) -> Vec<&'a MessageId> {
    let ids = questions.iter();
    ids.filter_map(|question| question.identity.id.as_ref())
        .collect()
}

impl LookupError {
    fn from_examine_error(unexamined: ExamineError, account: &GmailAccount) -> LookupError {
        match unexamined {
            ExamineError::Command(failure) => LookupError::from_command_error(failure, account),
            ExamineError::Unusable(error) => LookupError::Fatal(error),
        }
    }

    fn from_command_error(failure: CommandError, account: &GmailAccount) -> LookupError {
        let error = account.command_error(&failure);
        // What Gmail says of the whole account holds for the next connection, too.
        if failure.leaves_session_usable() || error.consequence().is_some() {
            LookupError::Fatal(error.during("looking messages up"))
        } else {
            LookupError::ConnectionLost(failure)
        }
    }
}
