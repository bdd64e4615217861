//! LIST, NAMESPACE and STATUS: the folders of an account, and what is in them (RFC 3501 6.3.8 and
//! 6.3.10, RFC 5258, RFC 6154, RFC 5819, RFC 2342).

use std::collections::BTreeMap;

use imap_proto::NameAttribute;

use crate::imap::folder_responses::{
    listed_folders, personal_prefixes, statuses_in, with_inbox_in_capitals,
};
use crate::imap::{Command, CommandError, CommandResult, ListOptions, MailboxName, Session};
use crate::message::Mailbox;

/// An account with more folders is refused: a server must not fill the memory.
const MAX_FOLDERS: usize = 10_000;

/// STATUS commands in one write. Their responses fit into the buffers of a connection, so neither
/// side waits for the other.
const MAX_STATUS_COMMANDS: usize = 500;

/// A folder as LIST returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFolder {
    /// Its name, decoded.
    pub name: String,
    /// What separates the levels of the name; `None` if there is only one.
    pub delimiter: Option<char>,
    /// Its attributes, such as `\All`.
    pub attributes: Vec<NameAttribute<'static>>,
}

/// The folders of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderListing {
    /// The folders, in the server's order.
    pub folders: Vec<ListedFolder>,
    /// What the names of the user's own folders begin with, such as `INBOX.` (RFC 2342).
    pub personal_prefixes: Vec<String>,
}

/// What STATUS says of folders, by name. Those are missing of which it does not say UIDVALIDITY,
/// UIDNEXT and MESSAGES.
pub type FolderStatuses = BTreeMap<String, Mailbox>;

impl ListedFolder {
    /// Whether it holds messages: it is neither a mere level of names nor gone.
    #[must_use]
    pub fn is_selectable(&self) -> bool {
        !self.is_gone() && !self.attributes.contains(&NameAttribute::NoSelect)
    }

    /// Whether there is no such folder, or no longer.
    pub(super) fn is_gone(&self) -> bool {
        self.attributes.iter().any(|attribute| match attribute {
            NameAttribute::Extension(name) => name.eq_ignore_ascii_case("\\NonExistent"),
            _ => false,
        })
    }
}

impl Session {
    /// Lists all folders by a plain LIST.
    ///
    /// # Errors
    /// As for `Session::command`; or there are more than 10,000.
    pub fn list(&mut self) -> Result<Vec<ListedFolder>, CommandError> {
        let responses = self.command(Command::List(ListOptions::default()))?;
        limited(listed_folders(&responses, MAX_FOLDERS))
    }

    /// Lists all folders with their roles, and the prefixes of their names, in one round trip.
    ///
    /// # Errors
    /// As for `Session::command`; or there are more than 10,000.
    pub fn list_folders(&mut self) -> Result<FolderListing, CommandError> {
        let options = self.list_options()?;
        Ok(self.list_with(options)?.0)
    }

    /// As [`list_folders`](Session::list_folders), with what is in them in the same round trip where
    /// the server announces LIST-STATUS. Elsewhere there are no statuses: ask [`Session::status_of`] for those
    /// that count.
    ///
    /// # Errors
    /// As for [`list_folders`](Session::list_folders).
    pub fn list_folders_with_status(
        &mut self,
    ) -> Result<(FolderListing, Option<FolderStatuses>), CommandError> {
        let options = self.list_options()?;
        self.list_with(ListOptions {
            returns_status: self.announces_any(&["LIST-STATUS", "IMAP4REV2"]),
            ..options
        })
    }

    /// What is in these folders, in their order, in one round trip for 500 of them.
    ///
    /// # Errors
    /// The connection broke. A folder has an error of its own if the server says NO, or does not say
    /// everything of it.
    pub fn status_of(
        &mut self,
        names: &[&str],
    ) -> Result<Vec<Result<Mailbox, CommandError>>, CommandError> {
        let mut found = Vec::new();
        for names in names.chunks(MAX_STATUS_COMMANDS) {
            let quoted: Vec<Option<MailboxName>> =
                names.iter().map(|name| MailboxName::new(name)).collect();
            let commands = quoted.iter().flatten().cloned().map(Command::Status);
            let results = self.pipeline(commands.collect())?;
            let mut statuses = FolderStatuses::new();
            for responses in results.iter().flatten() {
                statuses.extend(statuses_in(responses));
            }
            let mut results = results.into_iter();
            for (name, quoted) in names.iter().zip(quoted) {
                let result = match quoted {
                    Some(_) => results.next(),
                    None => Some(Err(CommandError::lost(
                        "its name contains a line break or a NUL",
                    ))),
                };
                found.push(status_result(name, result, &mut statuses));
            }
        }
        Ok(found)
    }

    fn list_options(&mut self) -> Result<ListOptions, CommandError> {
        self.capabilities()?;
        Ok(ListOptions {
            returns_roles: self.announces_any(&["IMAP4REV2"])
                || (self.announces("LIST-EXTENDED") && self.announces("SPECIAL-USE")),
            returns_status: false,
        })
    }

    fn announces_any(&self, capabilities: &[&str]) -> bool {
        capabilities.iter().any(|name| self.announces(name))
    }

    fn list_with(
        &mut self,
        options: ListOptions,
    ) -> Result<(FolderListing, Option<FolderStatuses>), CommandError> {
        let mut commands = vec![Command::List(options)];
        if self.announces_any(&["NAMESPACE", "IMAP4REV2"]) {
            // The last command: the transcript keeps the last lines.
            commands.push(Command::Namespace);
        }
        let mut results = self.pipeline(commands)?.into_iter();
        let personal_prefixes = personal_prefixes(&self.transcript().last_lines());
        let listed = results
            .next()
            .unwrap_or_else(|| Err(CommandError::lost("the command was not sent")));
        let mut listed = match listed {
            // A server may announce what it does not take.
            Err(error) if error.leaves_session_usable() && options != ListOptions::default() => {
                self.list_simpler(options)?
            }
            listed => listed?,
        };
        // Untagged responses may come after the tagged one that they belong to.
        if let Some(Ok(later)) = results.next() {
            listed.append(later);
        }
        let statuses = options.returns_status.then(|| statuses_in(&listed));
        let folders = limited(listed_folders(&listed, MAX_FOLDERS))?;
        let listing = FolderListing {
            folders,
            personal_prefixes,
        };
        Ok((listing, statuses.filter(|statuses| !statuses.is_empty())))
    }

    /// Repeats a LIST that was rejected, first without STATUS: the roles decide where folders go.
    fn list_simpler(&mut self, rejected: ListOptions) -> CommandResult {
        let simpler = ListOptions {
            returns_status: false,
            ..rejected
        };
        if simpler != rejected && simpler != ListOptions::default() {
            match self.command(Command::List(simpler)) {
                Err(error) if error.leaves_session_usable() => {}
                listed => return listed,
            }
        }
        self.command(Command::List(ListOptions::default()))
    }
}

fn limited(folders: Option<Vec<ListedFolder>>) -> Result<Vec<ListedFolder>, CommandError> {
    let what = "the server lists more than 10,000 folders";
    folders.ok_or_else(|| CommandError::lost(what))
}

fn status_result(
    name: &str,
    result: Option<CommandResult>,
    statuses: &mut FolderStatuses,
) -> Result<Mailbox, CommandError> {
    if let Some(mailbox) = statuses.remove(&with_inbox_in_capitals(name.to_owned())) {
        return Ok(mailbox);
    }
    if let Some(Err(error)) = result {
        return Err(error);
    }
    let what = "the server does not say UIDVALIDITY, UIDNEXT and MESSAGES of the folder";
    Err(CommandError::lost(what))
}
