//! A session with an IMAP server: greeting, capabilities, log-in, EXAMINE, LIST; for both sides.
//!
//! Everything that is read passes through here, and every way to fail becomes a `Failure`. The
//! library's own readers of EXAMINE, APPEND and the like are not used: they panic on, or give up
//! at, lines that servers may send.

use std::fmt;

use imap_proto::{AttributeValue, MailboxDatum, NameAttribute, Response, ResponseCode};
use imap_proto::{Status as ProtoStatus, StatusAttribute};
use log::debug;

use crate::config::Server;
use crate::connection::{Connection, Patience, Trust, Witness, place};
use crate::error::{Error, Kind, Result};
use crate::foreign::Foreign;
use crate::message::{Mailbox, Uid, UidValidity};

mod login;
/// How words are written on the wire.
pub mod wire;

pub use login::Login;
use login::Way;
pub use wire::Reply;
use wire::Status;

/// Folders named in an error message; more would hide the message.
const FOLDERS_SHOWN: usize = 10;

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server will not (tagged NO); the session goes on.
    No(Reply),
    /// The server does not understand (tagged BAD); the session goes on.
    Bad(Reply),
    /// The server ended the connection, and said why.
    Bye(Reply),
    /// The connection broke, timed out, or says what no one understands: how, for a person.
    Lost(String),
}

impl Failure {
    /// What the server said; nothing if the connection was lost.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Failure::No(reply) | Failure::Bad(reply) | Failure::Bye(reply) => Some(reply),
            Failure::Lost(_) => None,
        }
    }

    /// Says whether the session can go on.
    #[must_use]
    pub fn leaves_session_usable(&self) -> bool {
        matches!(self, Failure::No(_) | Failure::Bad(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::No(reply) => write!(f, "the server says NO {reply}"),
            Failure::Bad(reply) => write!(f, "the server says BAD {reply}"),
            Failure::Bye(reply) => write!(f, "the server hung up: {reply}"),
            Failure::Lost(how) => f.write_str(how),
        }
    }
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unopened {
    /// It did not come to the log-in: no connection, no greeting, no way to log in.
    Unreachable(Error),
    /// The log-in failed.
    LogIn {
        /// How; [`Failure::concerns_credentials`] says whether a person must act.
        failure: Failure,
        /// The same, for a person.
        error: Error,
    },
}

impl From<Unopened> for Error {
    fn from(unopened: Unopened) -> Error {
        match unopened {
            Unopened::Unreachable(error) | Unopened::LogIn { error, .. } => error,
        }
    }
}

/// What the server says that it can do (RFC 3501 7.2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<String>);

impl Capabilities {
    fn of_words(words: &str) -> Capabilities {
        Capabilities(words.split(' ').map(str::to_ascii_uppercase).collect())
    }

    /// Says whether the server can do this; the name in upper case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    /// Says whether it takes literals that are not waited for, up to 4,096 octets (RFC 7888).
    #[must_use]
    pub fn knows_literals(&self) -> bool {
        self.has("LITERAL+") || self.has("LITERAL-")
    }

    /// The largest message it takes by APPEND (RFC 7889), if it says.
    #[must_use]
    pub fn append_limit(&self) -> Option<u64> {
        let mut limits = self
            .0
            .iter()
            .filter_map(|name| name.strip_prefix("APPENDLIMIT="));
        limits.find_map(|limit| limit.parse().ok())
    }
}

/// A folder as LIST shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its name, as a person writes it.
    pub name: String,
    /// Its attributes, in lower case and with their backslash: `\all`, `\trash`, `\noselect`.
    pub attributes: Vec<String>,
}

impl Folder {
    /// Says whether it has this attribute, whatever its case: `\All`.
    #[must_use]
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes
            .iter()
            .any(|known| known.eq_ignore_ascii_case(attribute))
    }
}

/// A session in which somebody is logged in.
pub struct Session {
    imap: imap::Session<Connection>,
    witness: Witness,
    place: String,
    capabilities: Option<Capabilities>,
    is_usable: bool,
}

impl Session {
    /// Connects, reads the greeting and logs in, with as few round trips as the server allows.
    ///
    /// # Errors
    /// See [`Unopened`].
    pub fn open(
        server: &Server,
        trust: &Trust,
        patience: Patience,
        login: &Login,
    ) -> Result<Session, Unopened> {
        let place = place(server);
        let connection =
            Connection::open(server, trust, patience).map_err(Unopened::Unreachable)?;
        let witness = connection.witness();
        let needs_greeting = !connection.greeting_is_read();
        let mut client = imap::Client::new(connection);
        let unreachable = |doing: &str, failure: Failure| {
            let error = Error::new(Kind::Unavailable, &place, failure).during(doing);
            Unopened::Unreachable(error)
        };
        if needs_greeting {
            read_greeting(&mut client, &witness)
                .map_err(|failure| unreachable("reading its greeting", failure))?;
        }
        let capabilities = capabilities_before_log_in(&mut client, &witness)
            .map_err(|failure| unreachable("asking what it can do", failure))?;
        let way = Way::choose(login, &capabilities);
        let way = way.filter(|_| login.mistake().is_none()).ok_or_else(|| {
            let offers_none = "the server offers no log-in with a password on this connection";
            let what = login.mistake().unwrap_or(offers_none);
            Unopened::Unreachable(Error::new(Kind::Config, &place, what).during("logging in"))
        })?;

        witness.forget_capabilities();
        let sends_at_once = capabilities.has("SASL-IR");
        match login::log_in(client, login, way, sends_at_once) {
            Ok(imap) => Ok(Session {
                imap,
                capabilities: told_capabilities(&witness),
                witness,
                place,
                is_usable: true,
            }),
            Err(error) => {
                let failure = failure(error, &witness);
                let error = log_in_error(&place, login, &failure);
                Err(Unopened::LogIn { failure, error })
            }
        }
    }

    /// What the server can do for the one who is logged in; asked only if it did not tell.
    ///
    /// # Errors
    /// The command failed.
    pub fn capabilities(&mut self) -> Result<Capabilities, Failure> {
        if self.capabilities.is_none() {
            self.command("CAPABILITY")?;
            self.capabilities = Some(told_capabilities(&self.witness).unwrap_or_default());
        }
        Ok(self.capabilities.clone().unwrap_or_default())
    }

    /// Runs a command and gives the untagged responses to it, to be read by [`responses`]. What
    /// goes into the command was quoted before ([`wire`]).
    ///
    /// # Errors
    /// See [`Failure`]; after anything but a NO or BAD the session is over.
    pub fn command(&mut self, command: &str) -> Result<Vec<u8>, Failure> {
        self.attempt(|imap| imap.run_command_and_read_response(command))
    }

    /// Does something with the library's session, and reads its failure.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn attempt<T>(
        &mut self,
        action: impl FnOnce(&mut imap::Session<Connection>) -> imap::Result<T>,
    ) -> Result<T, Failure> {
        self.witness.begin();
        if !self.is_usable {
            return Err(Failure::Lost("the connection is closed".to_owned()));
        }
        let result = action(&mut self.imap).map_err(|error| failure(error, &self.witness));
        // Nobody here reads what the library puts aside.
        drop(self.imap.take_all_unsolicited());
        if let Err(failure) = &result {
            self.is_usable = failure.leaves_session_usable();
        }
        result
    }

    /// Opens a folder for reading only (RFC 3501 6.3.2).
    ///
    /// # Errors
    /// The folder does not exist, cannot be opened, or has no UIDVALIDITY; or the connection broke.
    pub fn examine(&mut self, folder: &str) -> Result<Mailbox> {
        let doing = format!("opening the folder {:?}", Foreign::new(folder));
        let name = wire::folder(folder).ok_or_else(|| {
            Error::new(
                Kind::Config,
                &self.place,
                "its name holds a line end or a NUL",
            )
            .during(&doing)
        })?;
        let answer = match self.command(&format!("EXAMINE {name}")) {
            Ok(answer) => answer,
            Err(failure) => return Err(self.explain_unopened(folder, &failure).during(doing)),
        };
        let opened = Opened::read(&answer);
        let uid_validity = opened.uid_validity.ok_or_else(|| {
            Error::new(
                Kind::Unavailable,
                &self.place,
                "the server gives it no UIDVALIDITY, so its messages cannot be told apart",
            )
            .during(&doing)
        })?;
        let uid_next = match opened.uid_next {
            Some(uid_next) => uid_next,
            None => self
                .ask_uid_next(&name, opened.exists)
                .map_err(|failure| self.error(&failure).during(&doing))?,
        };
        Ok(Mailbox {
            uid_validity,
            uid_next,
            exists: opened.exists,
        })
    }

    /// All folders, by their names as a person writes them.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn list(&mut self) -> Result<Vec<Folder>, Failure> {
        let answer = self.command("LIST \"\" \"*\"")?;
        let mut folders = Vec::new();
        for response in responses(&answer) {
            if let Response::MailboxData(MailboxDatum::List {
                name_attributes,
                name,
                ..
            }) = response
            {
                folders.push(Folder {
                    name: wire::decode_utf7(&name).unwrap_or_else(|| name.into_owned()),
                    attributes: name_attributes.iter().map(attribute).collect(),
                });
            }
        }
        Ok(folders)
    }

    /// The UIDs that match, ascending and without doubles; the criteria as `UID SEARCH` takes them.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn search(&mut self, criteria: &str) -> Result<Vec<Uid>, Failure> {
        let answer = self.command(&format!("UID SEARCH {criteria}"))?;
        let mut found: Vec<Uid> = Vec::new();
        for response in responses(&answer) {
            if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
                found.extend(uids.into_iter().filter_map(Uid::new));
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Says who we are (RFC 2971); Google asks clients to. What the server says of itself is logged.
    ///
    /// # Errors
    /// As for [`command`](Session::command).
    pub fn id(&mut self) -> Result<(), Failure> {
        let command = concat!(
            "ID (\"name\" \"imap-to-gmail-sync\" \"version\" \"",
            env!("CARGO_PKG_VERSION"),
            "\")"
        );
        self.command(command).map(drop)
    }

    /// Stores a message in a folder (RFC 3501 6.3.11), best with no folder open, and gives what
    /// the server says with its OK.
    ///
    /// # Errors
    /// As for [`command`](Session::command). A failure that is not NO or BAD leaves it open whether
    /// the message was stored, if [`literal_was_sent`](Witness::literal_was_sent).
    pub fn append(
        &mut self,
        folder: &str,
        flags: crate::message::Flags,
        date: crate::message::InternalDate,
        octets: &[u8],
    ) -> Result<Reply, Failure> {
        use imap::types::Flag;
        let Some(name) = wire::folder_without_quotes(folder) else {
            let what = "the folder's name holds a line end or a NUL";
            return Err(Failure::Lost(what.to_owned()));
        };
        let set = [
            (flags.seen, Flag::Seen),
            (flags.flagged, Flag::Flagged),
            (flags.answered, Flag::Answered),
        ];
        let stored = self.attempt(|imap| {
            let mut append = imap.append(&name, octets);
            append.flags(
                set.into_iter()
                    .filter(|(is_set, _)| *is_set)
                    .map(|(_, flag)| flag),
            );
            if let Some(date) = date {
                append.internal_date(date);
            }
            append.finish()
        });
        // The server's own words count: the library gives up at lines that it did not expect, and
        // knows APPENDUID in its canonical form only.
        match (stored, self.tagged_ok()) {
            (_, Some(reply)) => Ok(reply),
            (Ok(_), None) => Ok(Reply::default()),
            (Err(failure), None) => Err(failure),
        }
    }

    /// Takes leave; whatever happens then, the session is over.
    pub fn logout(mut self) {
        if self.is_usable
            && let Err(error) = self.imap.logout()
        {
            let failure = failure(error, &self.witness);
            debug!("{}: logging out: {failure}", self.place);
        }
    }

    /// Says whether commands can still be given.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// What was said last.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// The server as error messages name it.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The failure of a command as a failure of what was being done.
    #[must_use]
    pub fn error(&self, failure: &Failure) -> Error {
        Error::new(Kind::Unavailable, &self.place, failure)
    }

    /// What the server said with its tagged OK to all that was sent, if that was its last line.
    fn tagged_ok(&self) -> Option<Reply> {
        let last = self.witness.last_line();
        let is_answer = !last.starts_with(b"*") && self.witness.literal_was_sent();
        match wire::status(&last) {
            Some((Status::Ok, reply)) if is_answer => Some(reply),
            _ => None,
        }
    }

    /// What the next message will get at least, where EXAMINE did not tell.
    fn ask_uid_next(&mut self, name: &str, exists: u32) -> Result<Uid, Failure> {
        match self.command(&format!("STATUS {name} (UIDNEXT)")) {
            Ok(answer) => {
                let told = responses(&answer).find_map(|response| match response {
                    Response::MailboxData(MailboxDatum::Status { status, .. }) => {
                        status.iter().find_map(|value| match value {
                            StatusAttribute::UidNext(uid) => Uid::new(*uid),
                            _ => None,
                        })
                    }
                    _ => None,
                });
                if let Some(uid_next) = told {
                    return Ok(uid_next);
                }
            }
            Err(failure) if !failure.leaves_session_usable() => return Err(failure),
            Err(_) => {}
        }
        if exists == 0 {
            return Ok(Uid::MIN);
        }
        let answer = self.command("UID FETCH * (UID)")?;
        let highest = fetched(&answer)
            .filter_map(|attributes| uid(&attributes))
            .max();
        let next = highest.and_then(|uid| Uid::new(uid.get().saturating_add(1)));
        next.ok_or_else(|| Failure::Lost("the server does not tell the next UID".to_owned()))
    }

    /// Why a folder could not be opened; a name that does not exist is a mistake in the
    /// configuration, and the folders there are help to correct it.
    fn explain_unopened(&mut self, folder: &str, failure: &Failure) -> Error {
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
        names.sort_unstable();
        let shown: Vec<String> = names
            .iter()
            .take(FOLDERS_SHOWN)
            .map(|name| format!("{:?}", Foreign::new(name)))
            .collect();
        Error::new(Kind::Config, &self.place, failure)
            .remedy(format!("the folders there are {}", shown.join(", ")))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl imap::extensions::idle::SetReadTimeout for Connection {
    /// `None` is the library's "no time-out", which here means the ordinary one.
    fn set_read_timeout(&mut self, timeout: Option<std::time::Duration>) -> imap::Result<()> {
        self.wait_at_most(timeout);
        Ok(())
    }
}

/// The responses in what a command gave.
pub fn responses(answer: &[u8]) -> impl Iterator<Item = Response<'_>> {
    let mut rest = answer;
    std::iter::from_fn(move || {
        let (after, response) = imap_proto::parser::parse_response(rest).ok()?;
        rest = after;
        Some(response)
    })
}

/// The attributes of each FETCH response in what a command gave.
pub fn fetched(answer: &[u8]) -> impl Iterator<Item = Vec<AttributeValue<'_>>> {
    responses(answer).filter_map(|response| match response {
        Response::Fetch(_, attributes) => Some(attributes),
        _ => None,
    })
}

/// The UID among the attributes of a FETCH response.
#[must_use]
pub fn uid(attributes: &[AttributeValue<'_>]) -> Option<Uid> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::Uid(uid) => Uid::new(*uid),
        _ => None,
    })
}

/// What EXAMINE tells of a folder.
#[derive(Debug, Default)]
struct Opened {
    uid_validity: Option<UidValidity>,
    uid_next: Option<Uid>,
    exists: u32,
}

impl Opened {
    fn read(answer: &[u8]) -> Opened {
        let mut opened = Opened::default();
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
                Response::MailboxData(MailboxDatum::Exists(count)) => opened.exists = count,
                _ => {}
            }
        }
        opened
    }
}

fn read_greeting(client: &mut imap::Client<Connection>, witness: &Witness) -> Result<(), Failure> {
    let greeting = client
        .read_greeting()
        .map_err(|error| failure(error, witness))?;
    match wire::status(&witness.last_line()) {
        Some((Status::Ok, _)) => Ok(()),
        Some((Status::Bye, reply)) => Err(Failure::Bye(reply)),
        Some((Status::PreAuth, _)) => Err(Failure::Lost(
            "the server takes us for somebody already (PREAUTH)".to_owned(),
        )),
        _ => Err(Failure::Lost(format!(
            "this is no IMAP server: it greets with {:?}",
            Foreign::new(greeting.trim_ascii_end())
        ))),
    }
}

fn capabilities_before_log_in(
    client: &mut imap::Client<Connection>,
    witness: &Witness,
) -> Result<Capabilities, Failure> {
    if let Some(told) = told_capabilities(witness) {
        return Ok(told);
    }
    client
        .capabilities()
        .map_err(|error| failure(error, witness))?;
    Ok(told_capabilities(witness).unwrap_or_default())
}

fn told_capabilities(witness: &Witness) -> Option<Capabilities> {
    let words = witness.capabilities()?;
    Some(Capabilities::of_words(&words))
}

/// The library's error, read together with what the server said last: the library loses reasons
/// and codes.
fn failure(error: imap::Error, witness: &Witness) -> Failure {
    let last = wire::status(&witness.last_line());
    match (error, last) {
        (imap::Error::No(_) | imap::Error::Append, Some((Status::No, reply))) => Failure::No(reply),
        (imap::Error::Bad(_) | imap::Error::Append, Some((Status::Bad, reply))) => {
            Failure::Bad(reply)
        }
        (error, _) => match witness.bye() {
            Some(text) => Failure::Bye(Reply::of_text(&text)),
            None => Failure::Lost(describe(&error, witness)),
        },
    }
}

fn describe(error: &imap::Error, witness: &Witness) -> String {
    match error {
        imap::Error::Io(error) => crate::connection::reason(error),
        imap::Error::ConnectionLost => "it closed the connection".to_owned(),
        imap::Error::Validate(error) => error.to_string(),
        _ => format!(
            "it sent what is no IMAP: {:?}",
            Foreign::new(&witness.last_line())
        ),
    }
}

fn log_in_error(place: &str, login: &Login, failure: &Failure) -> Error {
    let doing = format!("logging in as {}", Foreign::new(login.user()));
    let kind = if failure.concerns_credentials() {
        Kind::Refused
    } else {
        Kind::Unavailable
    };
    Error::new(kind, place, failure).during(doing)
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
