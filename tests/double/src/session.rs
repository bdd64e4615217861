//! One connection: its state, and the dispatch of commands.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use imap_codec::imap_types::command::CommandBody;

use crate::append;
use crate::change;
use crate::events::EventKind;
use crate::fetch;
use crate::grammar::{Literal, Request, announced, name};
use crate::listing;
use crate::login;
use crate::notify::{self, Notify};
use crate::search;
use crate::select::{self, Selected};
use crate::server::{Role, Shared};
use crate::source::Security;
use crate::texts::{self, Texts};
use crate::wire::{Action, Disconnected, Result, Wire};

/// The size limit of a non-synchronizing literal (RFC 7888, LITERAL-).
const LARGEST_UNASKED: usize = 4096;

/// The BYE to an account with too much traffic (GMAIL.md 2.4).
pub(crate) const LOCKED_OUT: &str =
    "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.";

/// A connection and its state.
pub(crate) struct Session {
    pub wire: Wire,
    pub shared: Arc<Shared>,
    pub texts: &'static Texts,
    /// The user who is logged in.
    pub user: Option<String>,
    /// The expiry of the session's token, which ends the session.
    pub ends: Option<DateTime<Utc>>,
    pub selected: Option<Selected>,
    /// What the client asked for by NOTIFY.
    pub notify: Option<Notify>,
    /// Whether the client sent ID after the log-in.
    pub is_identified: bool,
}

impl Session {
    pub fn new(wire: Wire, shared: Arc<Shared>) -> Session {
        let texts = match shared.role {
            Role::Source(_) => &texts::SOURCE,
            Role::Gmail(_) => &texts::GMAIL,
        };
        Session {
            wire,
            shared,
            texts,
            user: None,
            ends: None,
            selected: None,
            notify: None,
            is_identified: false,
        }
    }

    /// Serves the connection to its end.
    pub fn run(mut self) {
        let Disconnected = match self.serve() {
            Ok(never) => match never {},
            Err(gone) => gone,
        };
        login::log_out(&mut self);
        self.wire.end();
    }

    /// The next line of the client within a command.
    pub fn reply(&mut self) -> Result<Vec<u8>> {
        let line = self.wire.read_line()?;
        let shown = String::from_utf8_lossy(&line).into_owned();
        match self.wire.event(EventKind::Reply(shown))? {
            Action::Go => Ok(line),
            Action::Done => Err(self.wire.close()),
        }
    }

    fn serve(&mut self) -> Result<std::convert::Infallible> {
        let connected = self.wire.event(EventKind::Connected)?;
        let shared = self.shared.clone();
        if self.security() == Security::Implicit {
            self.wire.secure(&shared.identity.config)?;
        }
        if connected == Action::Go {
            self.greet()?;
        }
        loop {
            let line = self.wire.read_line()?;
            self.receive(line)?;
        }
    }

    fn greet(&mut self) -> Result<()> {
        let greeting = login::greeting(self);
        self.wire
            .prompt(greeting, "the client spoke before the greeting")
    }

    /// How the connection is protected.
    pub fn security(&self) -> Security {
        match &self.shared.role {
            Role::Source(options) => options.lock().unwrap().security,
            Role::Gmail(_) => Security::Implicit,
        }
    }

    /// The id of this connection in Gmail's texts.
    pub fn id(&self) -> String {
        format!("u21mb{:09}edq", 183_888_216 + self.wire.connection())
    }

    /// Reads a command with its literals and executes it.
    fn receive(&mut self, mut octets: Vec<u8>) -> Result<()> {
        while let Some((before, literal)) = announced(&octets) {
            if append::is_message(&octets) {
                return self.receive_append(before, &octets, literal);
            }
            self.ask_for(literal)?;
            octets.extend_from_slice(b"\r\n");
            octets.extend(self.wire.read_octets(literal.octets)?);
            octets.extend(self.wire.read_line()?);
        }
        let Some(request) = Request::new(octets) else {
            let text = self.texts.empty_line;
            return self.wire.line(text);
        };
        if self.command(&request, 0)? == Action::Go && self.check_token_expiry()? == Action::Go {
            self.obey(&request)?;
        }
        Ok(())
    }

    fn receive_append(&mut self, head: &[u8], octets: &[u8], literal: Literal) -> Result<()> {
        let Some(request) = Request::new(octets.to_vec()) else {
            let text = self.texts.empty_line;
            return self.wire.line(text);
        };
        if self.command(&request, literal.octets)? == Action::Go
            && self.check_token_expiry()? == Action::Go
        {
            return append::append(self, head, literal);
        }
        if !literal.is_awaited {
            // It is on its way, whatever the response was.
            self.wire.read_octets(literal.octets)?;
            self.wire.read_line()?;
        }
        Ok(())
    }

    /// Records a command.
    fn command(&mut self, request: &Request, octets: usize) -> Result<Action> {
        self.wire.tag.clone_from(&request.tag);
        let line = &request.octets[request.tag.len() + 1..];
        self.wire.event(EventKind::Command {
            name: request.name.clone(),
            line: String::from_utf8_lossy(line).into_owned(),
            octets,
        })
    }

    /// Asks for a literal, unless it is non-synchronizing.
    pub fn ask_for(&mut self, literal: Literal) -> Result<()> {
        if literal.is_awaited {
            let violation = "the client sent a literal before it was asked for";
            return self.wire.prompt(self.texts.go_ahead, violation);
        }
        if literal.octets > LARGEST_UNASKED {
            self.shared
                .violation("the client sent a large literal unasked");
        }
        Ok(())
    }

    /// Ends the session when its token has expired (GMAIL.md 2.5).
    pub fn check_token_expiry(&mut self) -> Result<Action> {
        if self.ends.is_some_and(|end| end <= self.shared.clock.now()) {
            self.wire
                .line("* BYE Session expired, please login again.")?;
            return Err(self.wire.close());
        }
        Ok(Action::Go)
    }

    fn obey(&mut self, request: &Request) -> Result<()> {
        if !self.allows(&request.name) {
            let text = self.texts.wrong_state;
            return self.wire.respond(text);
        }
        match request.name.as_str() {
            "AUTHENTICATE" => login::authenticate(self, &request.arguments),
            "LOGIN" => login::login(self, &request.arguments),
            "LIST" | "XLIST" => listing::list(self, request),
            "SELECT" | "EXAMINE" => select::select(self, request),
            "SEARCH" | "UID SEARCH" => search::search(self, request),
            "FETCH" | "UID FETCH" => fetch::fetch(self, request),
            "STORE" | "UID STORE" => change::store(self, request),
            "NOTIFY" => notify::notify(self, request),
            _ => match request.decode() {
                Some(body) => self.obey_decoded(body),
                None => self.unparsable(),
            },
        }
    }

    fn obey_decoded(&mut self, body: CommandBody<'static>) -> Result<()> {
        match body {
            CommandBody::Capability => login::capability(self),
            CommandBody::StartTLS => login::start_tls(self),
            CommandBody::Noop | CommandBody::Check => self.noop(),
            CommandBody::Logout => self.log_out(),
            CommandBody::Id { .. } => listing::id(self),
            CommandBody::Namespace => listing::namespace(self),
            CommandBody::Unselect | CommandBody::Close => self.unselect(),
            CommandBody::Status {
                mailbox,
                item_names,
            } => listing::status(self, &name(&mailbox), &item_names),
            CommandBody::Enable { .. } => listing::enable(self),
            CommandBody::GetQuotaRoot { mailbox } => listing::quota_root(self, &name(&mailbox)),
            CommandBody::Copy {
                sequence_set,
                mailbox,
                uid,
            } => change::copy(self, &sequence_set, &name(&mailbox), uid),
            CommandBody::Move {
                sequence_set,
                mailbox,
                uid,
            } => change::relocate(self, &sequence_set, &name(&mailbox), uid),
            CommandBody::Expunge | CommandBody::ExpungeUid { .. } => change::expunge(self),
            CommandBody::Create { mailbox } => listing::create(self, &name(&mailbox)),
            CommandBody::Idle => crate::idle::idle(self),
            _ => self.unparsable(),
        }
    }

    /// Whether the command is allowed in this state (RFC 3501 6).
    fn allows(&self, name: &str) -> bool {
        match name {
            "CAPABILITY" | "NOOP" | "LOGOUT" | "ID" => true,
            "STARTTLS" | "AUTHENTICATE" | "LOGIN" => self.user.is_none(),
            "FETCH" | "UID FETCH" | "SEARCH" | "UID SEARCH" | "STORE" | "UID STORE" | "CLOSE"
            | "UNSELECT" | "CHECK" | "EXPUNGE" | "COPY" | "UID COPY" | "MOVE" | "UID MOVE" => {
                self.selected.is_some()
            }
            _ => self.user.is_some(),
        }
    }

    /// Responds to a command that cannot be parsed.
    pub fn unparsable(&mut self) -> Result<()> {
        let text = self.texts.unparsable;
        self.wire.respond(text)
    }

    fn noop(&mut self) -> Result<()> {
        select::announce(self)?;
        let text = self.texts.noop;
        self.wire.respond(text)
    }

    fn unselect(&mut self) -> Result<()> {
        self.selected = None;
        let text = self.texts.closed;
        self.wire.respond(text)
    }

    fn log_out(&mut self) -> Result<()> {
        let texts = self.texts;
        self.wire.line(texts.bye)?;
        self.wire.respond(texts.logout)?;
        Err(self.wire.close())
    }
}
