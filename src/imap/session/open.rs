//! Opening a session: connection, greeting, capabilities, log-in.

use std::collections::VecDeque;

use log::debug;

use crate::config::{Server, TlsMode};
use crate::error::{Error, ErrorKind};
use crate::imap::client::Client;
use crate::imap::login_failure::no_password_offered;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::session::SentAhead;
use crate::imap::session::idle::IdleState;
use crate::imap::{
    AskedAhead, Capabilities, Command, CommandError, Connection, FetchItems, Login, LoginForm,
    LoginHistory, LoginPipeline, MailboxName, OpenError, Session,
};
use crate::message::UidSet;
use crate::net::{ConnectionOptions, Trust};
use crate::untrusted::Untrusted;

impl Session {
    /// Connects, reads the greeting and logs in, with as few round trips as the server allows.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        server: &Server,
        trust: &Trust,
        options: &ConnectionOptions,
        login: &Login,
    ) -> Result<Session, OpenError> {
        Session::open_with_history(server, trust, options, login, LoginHistory::default(), None)
    }

    /// Connects and reads the greeting, and hangs up without a log-in.
    pub(crate) fn probe(
        server: &Server,
        trust: &Trust,
        options: &ConnectionOptions,
    ) -> Result<(), Error> {
        Unauthenticated::connect(server, trust, options)?;
        Ok(())
    }

    /// As [`open`](Session::open), with what is known from earlier log-ins.
    ///
    /// If a log-in in one step is known to succeed, what is asked for ahead goes with it in one write
    /// (RFC 3501 5.5), and an ID before it. If that ends oddly, the log-in is repeated without, on
    /// another connection.
    pub(crate) fn open_with_history(
        server: &Server,
        trust: &Trust,
        options: &ConnectionOptions,
        login: &Login,
        history: LoginHistory,
        ahead: Option<AskedAhead<'_>>,
    ) -> Result<Session, OpenError> {
        let connect = || Unauthenticated::connect(server, trust, options);
        let mut connection = connect()?;
        let mut forms = connection.choose_forms(login, history)?;
        let mut failures: Vec<CommandError> = Vec::new();
        let mut has_reconnected = false;
        let mut ahead = ahead.as_ref().and_then(commands_ahead);
        let mut pipeline = LoginPipeline::default();
        while let Some(form) = forms.front().copied() {
            let may_pipeline =
                history.may_pipeline(form) && login.is_one_step(form, &connection.capabilities);
            // Only the first attempt is pipelined.
            let ahead = ahead.take().filter(|_| may_pipeline).unwrap_or_default();
            let is_pipelined = !ahead.is_empty();
            let failure = match connection.log_in(login, form, ahead) {
                Ok(sent_ahead) => {
                    let mut session = connection.into_session(form);
                    session.sent_ahead = sent_ahead;
                    session.login_pipeline = pipeline;
                    if history.loses_pipelined_commands || pipeline != LoginPipeline::Unused {
                        session.disable_pipelining();
                    }
                    return Ok(session);
                }
                Err(failure) => failure,
            };
            if is_pipelined && failure.may_be_due_to_pipelining() {
                debug!("{}: a pipelined log-in: {failure}", server.address());
                pipeline = LoginPipeline::after(&failure, connection.client.violates_protocol());
                // As many attempts as without pipelining.
                if failure.leaves_session_usable() && forms.len() > 1 {
                    forms.pop_back();
                }
                drop(connection);
                connection = connect()?;
            } else if failure.leaves_session_usable() {
                debug!("{}: logging in: {failure}", server.address());
                forms.pop_front();
                forms.retain(|next| history.may_try(*next, form, &failure));
                failures.push(failure);
                has_reconnected = false;
            } else if failures.is_empty() {
                failures.push(failure);
                break;
            } else if has_reconnected {
                break;
            } else {
                // The server closed the connection after the last failure, as iCloud does.
                has_reconnected = true;
                match connect() {
                    Ok(another) => connection = another,
                    Err(_) => break,
                }
            }
        }
        let failure = failures
            .pop()
            .unwrap_or_else(|| CommandError::lost("no log-in"));
        let kind = failure.login_failure().kind;
        let doing = format!("logging in as {}", Untrusted::new(&login.user));
        let error = options.error(server, kind, &failure).during(doing);
        Err(OpenError::Login { failure, error })
    }
}

/// A connection before the log-in.
struct Unauthenticated<'a> {
    server: &'a Server,
    options: &'a ConnectionOptions,
    client: Client,
    capabilities: Capabilities,
}

impl<'a> Unauthenticated<'a> {
    fn connect(
        server: &'a Server,
        trust: &Trust,
        options: &'a ConnectionOptions,
    ) -> Result<Unauthenticated<'a>, OpenError> {
        let connection =
            Connection::open(server, trust, options).map_err(OpenError::Unreachable)?;
        let greeting_is_read = connection.greeting_is_read();
        let mut client = Client::new(connection, options.timeouts);
        let unreachable = |doing: &str, failure: CommandError| {
            let error = options.error(server, ErrorKind::Unavailable, &failure);
            let error = error.during(doing);
            match failure {
                CommandError::Bye(text) => OpenError::Bye { text, error },
                CommandError::ConnectionLost(_) => {
                    OpenError::Unreachable(error.remedy("if this persists, check the port"))
                }
                _ => OpenError::Unreachable(error),
            }
        };
        if !greeting_is_read {
            read_greeting(&mut client)
                .map_err(|failure| unreachable("reading its greeting", failure))?;
        }
        let capabilities = capabilities_before_login(&mut client)
            .map_err(|failure| unreachable("asking for its capabilities", failure))?;
        Ok(Unauthenticated {
            server,
            options,
            client,
            capabilities,
        })
    }

    /// The forms of the log-in to try.
    fn choose_forms(
        &self,
        login: &Login,
        history: LoginHistory,
    ) -> Result<VecDeque<LoginForm>, OpenError> {
        if let Some(mistake) = login.invalid_characters() {
            let error = self.unsuitable(ErrorKind::Config, mistake);
            return Err(OpenError::Unreachable(error));
        }
        let forms = login.forms(&self.capabilities, history);
        if forms.is_empty() {
            let is_encrypted = self.server.tls != TlsMode::None;
            let failure = no_password_offered(&self.capabilities, is_encrypted);
            let what = "the server offers no log-in with a password on this connection";
            let error = self.unsuitable(failure.kind, what).remedy(failure.remedy);
            return Err(OpenError::Unreachable(error));
        }
        Ok(forms)
    }

    fn unsuitable(&self, kind: ErrorKind, what: &str) -> Error {
        self.options
            .error(self.server, kind, what)
            .during("logging in")
    }

    /// Logs in, and sends an EXAMINE and perhaps a listing in the same write, if there are.
    fn log_in(
        &mut self,
        login: &Login,
        form: LoginForm,
        ahead: Vec<Command>,
    ) -> Result<Option<SentAhead>, CommandError> {
        self.client.transcript().clear_capabilities();
        let takes_id = !ahead.is_empty() && self.capabilities.has("ID");
        let id = takes_id.then_some(Command::Id);
        let followers: Vec<Command> = id.into_iter().chain(ahead).collect();
        let sent = login.run(form, &self.capabilities, &mut self.client, &followers)?;
        let mut sent = sent.into_iter();
        // Whatever the server responds to ID, the folder decides.
        if takes_id && let Some(id) = sent.next() {
            self.client.ignore(id);
        }
        Ok(sent.next().map(|examine| SentAhead {
            examine,
            listing: sent.next(),
        }))
    }

    fn into_session(self, login_form: LoginForm) -> Session {
        Session {
            server: self.server.clone(),
            options: self.options.clone(),
            capabilities: self.client.transcript().capabilities(),
            client: self.client,
            capabilities_before_login: self.capabilities,
            login_form,
            idle: IdleState::default(),
            sent_ahead: None,
            listed_ahead: None,
            login_pipeline: LoginPipeline::default(),
            announced: None,
            unasked: Vec::new(),
        }
    }
}

/// The commands that are asked for ahead: an EXAMINE, and perhaps a listing.
fn commands_ahead(asked: &AskedAhead<'_>) -> Option<Vec<Command>> {
    let examine = Command::Examine(MailboxName::new(asked.folder)?);
    let listing = asked.listed.map(|(first, last)| {
        let mut uids = UidSet::default();
        uids.insert_range(first, last);
        Command::UidFetch(uids.into(), FetchItems::Listing)
    });
    Some([examine].into_iter().chain(listing).collect())
}

fn read_greeting(client: &mut Client) -> Result<(), CommandError> {
    client.start()?;
    let greeting = client.connection().next_response();
    greeting.map_err(|error| client.connection_lost(&error))?;
    // From the transcript: the sanitizer turns PREAUTH into OK.
    let greeting = client.transcript().last_line();
    match status_response(&greeting).filter(|_| greeting.starts_with(b"*")) {
        Some((StatusCondition::Ok, _)) => Ok(()),
        Some((StatusCondition::Bye, text)) => Err(CommandError::Bye(text)),
        Some((StatusCondition::PreAuth, _)) => {
            let what = "the server has already logged a user in (PREAUTH)";
            Err(CommandError::lost(what))
        }
        _ => {
            let greeting = Untrusted::new(&greeting);
            let what = format!("this is not an IMAP server: its greeting is {greeting:?}");
            Err(CommandError::ConnectionLost(what))
        }
    }
}

/// The capabilities in the greeting, or else by command.
fn capabilities_before_login(client: &mut Client) -> Result<Capabilities, CommandError> {
    if client.transcript().capabilities().is_none() {
        client.run(Command::Capability)?;
    }
    Ok(client.transcript().capabilities().unwrap_or_default())
}
