//! Opens the source mailbox, and opens it again after a connection broke.

use std::cell::Cell;

use crate::config::{Password, SourceConfig};
use crate::error::{Consequence, Error, Result, Side};
use crate::imap::{
    AskedAhead, Credentials, Login, LoginHistory, LoginPipeline, LoginRetry, OpenError,
    PASSWORD_FIELD, Session,
};
use crate::message::{Mailbox, Uid};
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;

/// Everything that opening the mailbox needs, and what was learned while opening it.
pub(super) struct SourceConnector {
    pub(super) config: SourceConfig,
    pub(super) trust: Trust,
    pub(super) options: ConnectionOptions,
    login_history: Cell<LoginHistory>,
}

impl SourceConnector {
    pub(super) fn new(
        config: SourceConfig,
        trust: Trust,
        options: ConnectionOptions,
        login_history: LoginHistory,
    ) -> SourceConnector {
        SourceConnector {
            config,
            trust,
            options,
            login_history: Cell::new(login_history),
        }
    }

    /// Logs in and opens the folder. Reads the password again: some are valid for an hour only.
    pub(super) fn open(&self) -> Result<(Session, Mailbox)> {
        let password = self.config.password.read();
        let password = password.map_err(|error| error.on(Side::Source))?;
        self.open_with_password(password, None)
    }

    /// Also asks for a listing of these messages, where that costs no round trip.
    pub(super) fn open_with_password(
        &self,
        password: Secret,
        listed: Option<(Uid, Uid)>,
    ) -> Result<(Session, Mailbox)> {
        let login = Login {
            user: self.config.user.clone(),
            credentials: Credentials::Password(password),
        };
        let ahead = AskedAhead {
            folder: &self.config.folder,
            listed,
        };
        let known = self.login_history.get();
        match self.try_open(&login, known, ahead) {
            // Without pipelines it may succeed.
            Err(_) if self.login_history.get().trusts_pipelines_less_than(known) => {
                let careful = LoginHistory {
                    loses_pipelined_commands: true,
                    ..known
                };
                self.try_open(&login, careful, ahead)
            }
            result => result,
        }
    }

    /// What later log-ins should know.
    pub(super) fn login_history(&self) -> LoginHistory {
        self.login_history.get()
    }

    fn try_open(
        &self,
        login: &Login,
        history: LoginHistory,
        ahead: AskedAhead<'_>,
    ) -> Result<(Session, Mailbox)> {
        let mut session = self.log_in_and(login, history, Some(ahead))?;
        let examined = session.identify_and_examine(ahead.folder);
        let learned = self.login_history.get();
        self.login_history.set(match session.login_pipeline() {
            LoginPipeline::Unused => LoginHistory {
                loses_pipelined_commands: learned.loses_pipelined_commands
                    || session.has_lost_commands(),
                ..learned
            },
            pipeline => learned.after_pipeline(pipeline),
        });
        match examined {
            Ok(mailbox) => Ok((session, mailbox)),
            Err(error) => {
                session.logout();
                Err(error)
            }
        }
    }

    pub(super) fn log_in(&self, login: &Login) -> Result<Session> {
        self.log_in_and(login, self.login_history.get(), None)
    }

    /// Logs in; what is asked for ahead goes with it, where the history permits that.
    fn log_in_and(
        &self,
        login: &Login,
        history: LoginHistory,
        ahead: Option<AskedAhead<'_>>,
    ) -> Result<Session> {
        let (trust, options) = (&self.trust, &self.options);
        let server = &self.config.server;
        let opened = Session::open_with_history(server, trust, options, login, history, ahead);
        let session = opened.map_err(|error| self.explain(error))?;
        let learned = self.login_history.get();
        self.login_history
            .set(learned.after_login(session.login_form()));
        Ok(session)
    }

    /// Adds the remedy to a failed log-in, and what the state must remember.
    fn explain(&self, error: OpenError) -> Error {
        let failure = match &error {
            OpenError::Login { failure, .. } => failure.login_failure(),
            OpenError::Unreachable(_) | OpenError::Bye { .. } => return error.into(),
        };
        let field = match &self.config.password {
            Password::Given(_) => "source_pass",
            Password::Command(_) => "the output of source_pass_command",
            Password::File(_) => "the first line of source_pass_file",
        };
        let mut error = Error::from(error);
        let remedy = failure.remedy_on(self.config.server.tls);
        if !remedy.is_empty() {
            error = error.remedy(remedy.replace(PASSWORD_FIELD, field));
        }
        match failure.retry {
            LoginRetry::Limited => error.with_consequence(Consequence::SourceLoginLimited),
            LoginRetry::AtOnce | LoginRetry::Rejected => error,
        }
    }
}
