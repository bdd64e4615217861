//! Folders: LIST, and EXAMINE with what it should tell.

use imap_proto::{MailboxDatum, NameAttribute, Response, ResponseCode};
use imap_proto::{Status as ProtoStatus, StatusAttribute};

use crate::error::{Error, ErrorKind, Result};
use crate::imap::{
    CommandError, CommandResult, ExamineError, Session, fetch_responses, responses, uid_attribute,
    wire,
};
use crate::message::{Mailbox, Uid, UidValidity};
use crate::suggest::suggest;
use crate::untrusted::Untrusted;

/// Folders named in an error message; more would hide the message.
const FOLDERS_SHOWN: usize = 10;

/// A folder as LIST shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFolder {
    /// Its name, as a person writes it.
    pub name: String,
    /// Its attributes, in lower case and with their backslash: `\all`, `\trash`, `\noselect`.
    pub attributes: Vec<String>,
}

impl ListedFolder {
    /// Says whether it has this attribute, whatever its case: `\All`.
    #[must_use]
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes
            .iter()
            .any(|known| known.eq_ignore_ascii_case(attribute))
    }
}

impl Session {
    /// Opens a folder for reading only (RFC 3501 6.3.2).
    ///
    /// # Errors
    /// The folder does not exist, cannot be opened, or the server does not tell its UIDVALIDITY and
    /// how many messages it holds; or the connection broke.
    pub fn examine(&mut self, folder: &str) -> Result<Mailbox> {
        match self.try_examine(folder) {
            Ok(mailbox) => Ok(mailbox),
            Err(ExamineError::Command(failure)) => {
                let error = self.explain_examine_error(folder, &failure);
                Err(error.during(opening(folder)))
            }
            Err(ExamineError::Unusable(error)) => Err(error),
        }
    }

    /// The same, for those to whom the server's words mean more than to a person.
    ///
    /// # Errors
    /// As for [`examine`](Session::examine).
    pub fn try_examine(&mut self, folder: &str) -> Result<Mailbox, ExamineError> {
        let name = self.quote_mailbox(folder)?;
        self.transcript.clear_mailbox_status();
        let answer = self.command(&format!("EXAMINE {name}"))?;
        self.read_examine_data(folder, &name, &answer)
    }

    /// The same with a command for the open folder in the same write, and what came of that: none
    /// if the folder had to be asked for more, so that the answer is older than what is told of it.
    ///
    /// # Errors
    /// As for [`examine`](Session::examine).
    pub fn examine_and(
        &mut self,
        folder: &str,
        command: &str,
    ) -> Result<(Mailbox, Option<CommandResult>), ExamineError> {
        let name = self.quote_mailbox(folder)?;
        self.transcript.clear_mailbox_status();
        let mut answers = self
            .pipeline(&[&format!("EXAMINE {name}"), command])?
            .into_iter();
        let answer = answers.next().unwrap_or(Ok(Vec::new()))?;
        let is_complete = ExamineData::parse(&answer).uid_next.is_some();
        let mailbox = self.read_examine_data(folder, &name, &answer)?;
        let other = answers.next().filter(|_| is_complete);
        Ok((mailbox, other.map(|other| Ok([answer, other?].concat()))))
    }

    fn quote_mailbox(&self, folder: &str) -> Result<String, ExamineError> {
        wire::quoted_mailbox(folder).ok_or_else(|| {
            self.unusable(
                folder,
                ErrorKind::Config,
                "its name holds a line end or a NUL",
            )
        })
    }

    /// What the answer to EXAMINE tells of a folder, and what must be asked for besides.
    fn read_examine_data(
        &mut self,
        folder: &str,
        name: &str,
        answer: &[u8],
    ) -> Result<Mailbox, ExamineError> {
        let opened = ExamineData::parse(answer);
        let uid_validity = opened.uid_validity.ok_or_else(|| {
            let what = "the server gives it no UIDVALIDITY, so its messages cannot be told apart";
            self.unusable(folder, ErrorKind::Unavailable, what)
        })?;
        let exists = opened.exists.ok_or_else(|| {
            let what = "the server does not tell how many messages it holds";
            self.unusable(folder, ErrorKind::Unavailable, what)
        })?;
        let (uid_next, exists) = match opened.uid_next {
            Some(uid_next) => (uid_next, exists),
            None => self.ask_uid_next(name, uid_validity, exists)?,
        };
        Ok(Mailbox {
            uid_validity,
            uid_next,
            exists,
        })
    }

    fn unusable(&self, folder: &str, kind: ErrorKind, what: &str) -> ExamineError {
        ExamineError::Unusable(
            Error::new(self.side, kind, &self.place, what).during(opening(folder)),
        )
    }

    /// All folders, by their names as a person writes them.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn list(&mut self) -> Result<Vec<ListedFolder>, CommandError> {
        let answer = self.command("LIST \"\" \"*\"")?;
        let mut folders = Vec::new();
        for response in responses(&answer) {
            if let Response::MailboxData(MailboxDatum::List {
                name_attributes,
                name,
                ..
            }) = response
            {
                folders.push(ListedFolder {
                    name: wire::decode_utf7(&name).unwrap_or_else(|| name.into_owned()),
                    attributes: name_attributes.iter().map(attribute).collect(),
                });
            }
        }
        Ok(folders)
    }

    /// What the next message will get at least, where EXAMINE did not tell; and how many messages
    /// there are in the view that is open then. The view is never older than the next UID: a
    /// message between the two would be taken for one that is gone.
    fn ask_uid_next(
        &mut self,
        name: &str,
        uid_validity: UidValidity,
        exists: u32,
    ) -> Result<(Uid, u32), CommandError> {
        if let Some(uid_next) = self.ask_status_for_uid_next(name)? {
            let answer = self.command(&format!("EXAMINE {name}"))?;
            let opened = ExamineData::parse(&answer);
            if opened.uid_validity != Some(uid_validity) {
                let what = "the folder got another UIDVALIDITY meanwhile";
                return Err(CommandError::ConnectionLost(what.to_owned()));
            }
            let exists = opened.exists.ok_or_else(|| {
                let what = "the server does not tell how many messages the folder holds";
                CommandError::ConnectionLost(what.to_owned())
            })?;
            return Ok((uid_next, exists));
        }
        if exists == 0 {
            return Ok((Uid::MIN, exists));
        }
        let answer = self.command("UID FETCH * (UID)")?;
        let highest = fetch_responses(&answer)
            .filter_map(|attributes| uid_attribute(&attributes))
            .max();
        let next = highest.and_then(|uid| Uid::new(uid.get().saturating_add(1)));
        next.map(|uid_next| (uid_next, exists)).ok_or_else(|| {
            CommandError::ConnectionLost("the server does not tell the next UID".to_owned())
        })
    }

    /// What STATUS says of the next UID; none if the server does not answer it, as some do not for
    /// the folder that is open.
    fn ask_status_for_uid_next(&mut self, name: &str) -> Result<Option<Uid>, CommandError> {
        let answer = match self.command(&format!("STATUS {name} (UIDNEXT)")) {
            Err(failure) if failure.leaves_session_usable() => return Ok(None),
            answer => answer?,
        };
        Ok(responses(&answer).find_map(|response| match response {
            Response::MailboxData(MailboxDatum::Status { status, .. }) => {
                status.iter().find_map(|value| match value {
                    StatusAttribute::UidNext(uid) => Uid::new(*uid),
                    _ => None,
                })
            }
            _ => None,
        }))
    }

    /// Why a folder could not be opened; a name that does not exist is a mistake in the
    /// configuration, and the folders there are help to correct it.
    fn explain_examine_error(&mut self, folder: &str, failure: &CommandError) -> Error {
        if !failure.leaves_session_usable() {
            return self.error(failure);
        }
        let Ok(folders) = self.list() else {
            return self.error(failure);
        };
        let mut names: Vec<&str> = folders.iter().map(|folder| folder.name.as_str()).collect();
        if names.contains(&folder) || folder.eq_ignore_ascii_case("INBOX") {
            return self.error(failure);
        }
        let error = Error::new(self.side, ErrorKind::Config, &self.place, failure);
        if let Some(meant) = suggest(folder, names.iter().copied()) {
            return error.remedy(format!("did you mean {:?}?", Untrusted::new(meant)));
        }
        names.sort_unstable();
        let shown: Vec<String> = names
            .iter()
            .take(FOLDERS_SHOWN)
            .map(|name| format!("{:?}", Untrusted::new(name)))
            .collect();
        error.remedy(format!("the folders there are {}", shown.join(", ")))
    }
}

fn opening(folder: &str) -> String {
    format!("opening the folder {:?}", Untrusted::new(folder))
}

/// What EXAMINE tells of a folder.
#[derive(Debug, Default)]
struct ExamineData {
    uid_validity: Option<UidValidity>,
    uid_next: Option<Uid>,
    exists: Option<u32>,
}

impl ExamineData {
    fn parse(answer: &[u8]) -> ExamineData {
        let mut opened = ExamineData::default();
        for response in responses(answer) {
            match response {
                Response::Data {
                    status: ProtoStatus::Ok,
                    code: Some(code),
                    ..
                } => match code {
                    ResponseCode::UidValidity(value) => {
                        opened.uid_validity = UidValidity::new(value);
                    }
                    ResponseCode::UidNext(uid) => opened.uid_next = Uid::new(uid),
                    _ => {}
                },
                Response::MailboxData(MailboxDatum::Exists(count)) => {
                    opened.exists = Some(count);
                }
                _ => {}
            }
        }
        opened
    }
}

fn attribute(attribute: &NameAttribute<'_>) -> String {
    match attribute {
        NameAttribute::NoInferiors => "\\noinferiors".to_owned(),
        NameAttribute::NoSelect => "\\noselect".to_owned(),
        NameAttribute::Marked => "\\marked".to_owned(),
        NameAttribute::Unmarked => "\\unmarked".to_owned(),
        NameAttribute::All => "\\all".to_owned(),
        NameAttribute::Archive => "\\archive".to_owned(),
        NameAttribute::Drafts => "\\drafts".to_owned(),
        NameAttribute::Flagged => "\\flagged".to_owned(),
        NameAttribute::Junk => "\\junk".to_owned(),
        NameAttribute::Sent => "\\sent".to_owned(),
        NameAttribute::Trash => "\\trash".to_owned(),
        NameAttribute::Extension(name) => name.to_ascii_lowercase(),
        _ => String::new(),
    }
}
