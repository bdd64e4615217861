//! The connection that sets labels. It opens the folder of the messages for changes, which neither the
//! lookup nor the append connections do, and is opened only when labels are owed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::delivery::gmail_imap::account::{GmailAccount, GmailSession};
use crate::delivery::gmail_imap::responses::is_about_the_command;
use crate::error::{Error, Result};
use crate::imap::{CommandError, CommandResult, LabelName, MailboxName};
use crate::message::{MessagePlace, Uid, UidSet, UidValidity};
use crate::sync::{LabelRequest, MessageVersion, RejectedLabel, RejectedLabels};
use crate::untrusted::Untrusted;

/// Sets labels.
pub(super) struct Labeller {
    account: Arc<GmailAccount>,
    connection: Option<LabelConnection>,
    /// The connection, while it is opened in advance.
    opening: Option<JoinHandle<Result<LabelConnection>>>,
    /// Labels that Gmail does not accept, and why. They are not sent again.
    rejected: HashMap<String, String>,
}

struct LabelConnection {
    gmail: GmailSession,
    /// Whether messages have a MODSEQ (CONDSTORE, RFC 7162).
    has_mod_seq: bool,
    selected: Option<(String, Option<UidValidity>)>,
}

/// Places or requests of one folder, with their index.
type ByFolder<'a, T> = BTreeMap<&'a str, Vec<(usize, &'a T)>>;

impl Labeller {
    pub(super) fn new(account: Arc<GmailAccount>) -> Labeller {
        Labeller {
            account,
            connection: None,
            opening: None,
            rejected: HashMap::new(),
        }
    }

    /// Opens the connection in the background.
    pub(super) fn prepare(&mut self) {
        if self.connection.is_none() && self.opening.is_none() {
            let account = Arc::clone(&self.account);
            self.opening = Some(thread::spawn(move || LabelConnection::open(&account)));
        }
    }

    pub(super) fn close(&mut self) {
        let opened = self.opening.take().and_then(|opening| opening.join().ok());
        let connections = [self.connection.take(), opened.and_then(Result::ok)];
        for connection in connections.into_iter().flatten() {
            connection.gmail.session.logout();
        }
    }

    /// The version of the message at each place.
    pub(super) fn versions(&mut self, places: &[MessagePlace]) -> Result<Vec<MessageVersion>> {
        let mut versions = vec![MessageVersion::Gone; places.len()];
        for (folder, there) in by_folder(places, |place| place) {
            for (index, version) in self.versions_in(folder, &there)? {
                if let Some(slot) = versions.get_mut(index) {
                    *slot = version;
                }
            }
        }
        Ok(versions)
    }

    /// Asks twice if the connection was lost: servers close idle connections.
    fn versions_in(
        &mut self,
        folder: &str,
        there: &[(usize, &MessagePlace)],
    ) -> Result<Vec<(usize, MessageVersion)>> {
        let is_fresh = self.connection.is_none();
        let mut connection = self.take_connection()?;
        match connection.versions_in(folder, there) {
            Ok(versions) => {
                self.account.note_lost_pipelined(&connection.gmail.session);
                self.connection = Some(connection);
                Ok(versions)
            }
            Err(failure) if failure.leaves_session_usable() => {
                self.connection = Some(connection);
                Err(self.failed(&failure))
            }
            Err(failure) => {
                let error = self.failed(&failure);
                if is_fresh || error.consequence().is_some() {
                    return Err(error);
                }
                log::debug!("setting labels: {failure}; connecting again");
                self.versions_in(folder, there)
            }
        }
    }

    /// Adds labels, and returns what Gmail does not accept. After a lost connection nothing is repeated:
    /// the next run looks whether they are set.
    pub(super) fn set(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>> {
        let mut rejected = vec![RejectedLabels::new(); requests.len()];
        for (folder, there) in by_folder(requests, |request| &request.place) {
            self.set_in(folder, &there, &mut rejected)?;
        }
        Ok(rejected)
    }

    fn set_in(
        &mut self,
        folder: &str,
        there: &[(usize, &LabelRequest)],
        rejected: &mut [RejectedLabels],
    ) -> Result<()> {
        let mut together: BTreeMap<Vec<&str>, Vec<(usize, Uid)>> = BTreeMap::new();
        for (index, request) in there {
            let accepted = request.labels.iter().filter(|label| {
                let why = self.why_rejected(label);
                if let (Some(why), Some(rejected)) = (&why, rejected.get_mut(*index)) {
                    let (label, why) = ((*label).clone(), why.clone());
                    rejected.push(RejectedLabel { label, why });
                }
                why.is_none()
            });
            let accepted: BTreeSet<&str> = accepted.map(String::as_str).collect();
            if !accepted.is_empty() {
                let labels = accepted.into_iter().collect();
                let same = together.entry(labels).or_default();
                same.push((*index, request.place.uid));
            }
        }
        if together.is_empty() {
            return Ok(());
        }
        let mut connection = self.take_connection()?;
        let uid_validity = there.first().map(|(_, request)| request.place.uid_validity);
        let done = connection
            .select_if_needed(folder, uid_validity)
            .and_then(|()| self.store(&mut connection, together, rejected));
        match done {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(failure) => Err(self.failed(&failure)),
        }
    }

    /// Sends one STORE for all messages that get the same labels. If that is rejected, each label is sent
    /// for each message: the response does not say which is the cause.
    fn store(
        &mut self,
        connection: &mut LabelConnection,
        together: BTreeMap<Vec<&str>, Vec<(usize, Uid)>>,
        rejected: &mut [RejectedLabels],
    ) -> Result<(), CommandError> {
        let together: Vec<_> = together.into_iter().collect();
        let uids = |those: &[(usize, Uid)]| those.iter().map(|(_, uid)| *uid).collect();
        let requests = together.iter();
        let requests = requests.map(|(labels, those)| (uids(those), labels.clone()));
        let results = connection.add(requests.collect())?;
        let mut single = Vec::new();
        for ((labels, those), result) in together.iter().zip(results) {
            if why_refused(result)?.is_some() {
                for (index, uid) in those {
                    single.extend(labels.iter().map(|label| (*index, *uid, *label)));
                }
            }
        }
        if single.is_empty() {
            return Ok(());
        }
        let requests = single.iter();
        let requests = requests.map(|(_, uid, label)| (UidSet::from_iter([*uid]), vec![*label]));
        let results = connection.add(requests.collect())?;
        let mut accepted = BTreeSet::new();
        let mut refused = HashMap::new();
        for ((index, _, label), result) in single.iter().zip(results) {
            let Some(why) = why_refused(result)? else {
                accepted.insert(*label);
                continue;
            };
            refused.insert((*label).to_owned(), why.clone());
            if let Some(rejected) = rejected.get_mut(*index) {
                let label = (*label).to_owned();
                rejected.push(RejectedLabel { label, why });
            }
        }
        refused.retain(|label, _| !accepted.contains(label.as_str()));
        self.rejected.extend(refused);
        Ok(())
    }

    fn why_rejected(&self, label: &str) -> Option<String> {
        let invalid = LabelName::new(label).err().map(str::to_owned);
        invalid.or_else(|| self.rejected.get(label).cloned())
    }

    fn take_connection(&mut self) -> Result<LabelConnection> {
        let opened = match self.opening.take().map(JoinHandle::join) {
            Some(Ok(opened)) => Some(opened?),
            // A thread that panicked has opened nothing.
            _ => None,
        };
        match self.connection.take().or(opened) {
            Some(connection) if connection.is_usable(&self.account) => Ok(connection),
            _ => LabelConnection::open(&self.account),
        }
    }

    fn failed(&self, failure: &CommandError) -> Error {
        self.account.command_error(failure).during("setting labels")
    }
}

impl LabelConnection {
    fn open(account: &Arc<GmailAccount>) -> Result<LabelConnection> {
        let mut gmail = account.log_in()?;
        let capabilities = gmail.session.capabilities();
        let capabilities = capabilities.map_err(|failure| account.command_error(&failure))?;
        Ok(LabelConnection {
            gmail,
            has_mod_seq: capabilities.has("CONDSTORE"),
            selected: None,
        })
    }

    fn is_usable(&self, account: &GmailAccount) -> bool {
        self.gmail.session.is_usable() && !account.expires_soon(&self.gmail)
    }

    /// Selects the folder in any case: Gmail shows a selected one as it was when it was selected.
    fn versions_in(
        &mut self,
        folder: &str,
        there: &[(usize, &MessagePlace)],
    ) -> Result<Vec<(usize, MessageVersion)>, CommandError> {
        self.selected = None;
        let Some(name) = MailboxName::new(folder) else {
            return Ok(Vec::new());
        };
        let uids: UidSet = there.iter().map(|(_, place)| place.uid).collect();
        let session = &mut self.gmail.session;
        let found = match session.select_and_fetch(&name, &uids, self.has_mod_seq) {
            // There is no such folder any more.
            Err(failure) if is_about_the_command(&failure) => return Ok(Vec::new()),
            found => found?,
        };
        self.selected = Some((folder.to_owned(), found.uid_validity));
        let version = |place: &MessagePlace| {
            if found.uid_validity != Some(place.uid_validity) {
                return MessageVersion::Invalid;
            }
            match found.mod_seqs.get(&place.uid) {
                Some(mod_seq) => {
                    MessageVersion::Is(mod_seq.map_or_else(String::new, |it| it.to_string()))
                }
                None => MessageVersion::Gone,
            }
        };
        let versions = there.iter();
        Ok(versions
            .map(|(index, place)| (*index, version(place)))
            .collect())
    }

    fn select_if_needed(
        &mut self,
        folder: &str,
        uid_validity: Option<UidValidity>,
    ) -> Result<(), CommandError> {
        let is_it = |selected: &(String, Option<UidValidity>)| {
            selected.0 == folder && selected.1 == uid_validity
        };
        if self.selected.as_ref().is_some_and(is_it) {
            return Ok(());
        }
        self.selected = None;
        let changed = || {
            let folder = Untrusted::new(folder);
            CommandError::ConnectionLost(format!("the folder {folder:?} has changed"))
        };
        let name = MailboxName::new(folder).ok_or_else(changed)?;
        let selected = (folder.to_owned(), self.gmail.session.select(&name)?);
        if !is_it(&selected) {
            return Err(changed());
        }
        self.selected = Some(selected);
        Ok(())
    }

    fn add(
        &mut self,
        requests: Vec<(UidSet, Vec<&str>)>,
    ) -> Result<Vec<CommandResult>, CommandError> {
        let names = |labels: Vec<&str>| {
            let names = labels.into_iter().map(LabelName::new);
            names.filter_map(Result::ok).collect()
        };
        let requests = requests.into_iter();
        let requests = requests.map(|(uids, labels)| (uids, names(labels)));
        self.gmail.session.add_labels(requests.collect())
    }
}

/// Why Gmail does not accept this very STORE; none if it does.
fn why_refused(result: CommandResult) -> Result<Option<String>, CommandError> {
    match result {
        Ok(_) => Ok(None),
        Err(failure) if is_about_the_command(&failure) => Ok(Some(failure.to_string())),
        Err(failure) => Err(failure),
    }
}

fn by_folder<T>(all: &[T], place: impl Fn(&T) -> &MessagePlace) -> ByFolder<'_, T> {
    let mut folders: ByFolder<'_, T> = BTreeMap::new();
    for (index, it) in all.iter().enumerate() {
        folders
            .entry(place(it).folder.as_str())
            .or_default()
            .push((index, it));
    }
    folders
}
