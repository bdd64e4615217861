//! Opening a session: connection, greeting, capabilities, log-in.

use std::collections::VecDeque;

use log::debug;

use crate::config::{Server, TlsMode};
use crate::error::{Error, ErrorKind};
use crate::imap::login_failure::no_password_offered;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::session::idle::IdleState;
use crate::imap::session::pipeline::PipelineState;
use crate::imap::{
    Capabilities, CommandError, Connection, Login, LoginForm, LoginHistory, OpenError, Session,
    SharedConnection, Transcript,
};
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
        Session::open_with_history(server, trust, options, login, LoginHistory::default())
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
    pub(crate) fn open_with_history(
        server: &Server,
        trust: &Trust,
        options: &ConnectionOptions,
        login: &Login,
        history: LoginHistory,
    ) -> Result<Session, OpenError> {
        let connect = || Unauthenticated::connect(server, trust, options);
        let mut connection = connect()?;
        let mut forms = connection.choose_forms(login, history)?;
        let mut failures: Vec<CommandError> = Vec::new();
        let mut has_reconnected = false;
        while let Some(form) = forms.front().copied() {
            let failure = match connection.log_in(login, form, failures.len()) {
                Ok(()) => {
                    return connection
                        .into_session(form)
                        .map_err(OpenError::Unreachable);
                }
                Err(failure) => failure,
            };
            if failure.leaves_session_usable() {
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
    client: imap::Client<SharedConnection>,
    connection: SharedConnection,
    transcript: Transcript,
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
        let transcript = connection.transcript();
        let greeting_is_read = connection.greeting_is_read();
        let connection = SharedConnection::new(connection);
        let mut client = imap::Client::new(connection.clone());
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
            read_greeting(&mut client, &transcript)
                .map_err(|failure| unreachable("reading its greeting", failure))?;
        }
        let capabilities = capabilities_before_login(&mut client, &transcript)
            .map_err(|failure| unreachable("asking for its capabilities", failure))?;
        Ok(Unauthenticated {
            server,
            options,
            client,
            connection,
            transcript,
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

    fn log_in(&self, login: &Login, form: LoginForm, attempt: usize) -> Result<(), CommandError> {
        let (connection, transcript) = (&self.connection, &self.transcript);
        transcript.clear_capabilities();
        let tag = format!("l{}", attempt + 1);
        login.run(form, &tag, &self.capabilities, connection, transcript)
    }

    fn into_session(self, login_form: LoginForm) -> Result<Session, Error> {
        self.connection.lock().answer_next_command();
        let imap = self.client.login("", "").map_err(|(error, _)| {
            let error = CommandError::from_imap(&error, &self.transcript);
            self.options.error(self.server, ErrorKind::Internal, error)
        })?;
        Ok(Session {
            server: self.server.clone(),
            options: self.options.clone(),
            imap,
            connection: self.connection,
            capabilities: self.transcript.capabilities(),
            capabilities_before_login: self.capabilities,
            login_form,
            transcript: self.transcript,
            is_usable: true,
            pipeline: PipelineState::default(),
            idle: IdleState::default(),
        })
    }
}

fn read_greeting(
    client: &mut imap::Client<SharedConnection>,
    transcript: &Transcript,
) -> Result<(), CommandError> {
    let greeting = client
        .read_greeting()
        .map_err(|error| CommandError::from_imap(&error, transcript))?;
    match status_response(&transcript.last_line()) {
        Some((StatusCondition::Ok, _)) => Ok(()),
        Some((StatusCondition::Bye, text)) => Err(CommandError::Bye(text)),
        Some((StatusCondition::PreAuth, _)) => {
            let what = "the server has already logged a user in (PREAUTH)";
            Err(CommandError::lost(what))
        }
        _ => {
            let greeting = Untrusted::new(greeting.trim_ascii_end());
            let what = format!("this is not an IMAP server: its greeting is {greeting:?}");
            Err(CommandError::ConnectionLost(what))
        }
    }
}

/// The capabilities in the greeting, or else by command.
fn capabilities_before_login(
    client: &mut imap::Client<SharedConnection>,
    transcript: &Transcript,
) -> Result<Capabilities, CommandError> {
    if transcript.capabilities().is_none() {
        client
            .capabilities()
            .map_err(|error| CommandError::from_imap(&error, transcript))?;
    }
    Ok(transcript.capabilities().unwrap_or_default())
}
