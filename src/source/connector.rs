//! Opens the source mailbox, and opens it again after a connection broke.

use std::cell::Cell;

use crate::config::{Password, SourceConfig};
use crate::error::{Consequence, Error, Result, Side};
use crate::imap::{
    Credentials, Login, LoginHistory, LoginRetry, OpenError, PASSWORD_FIELD, Session,
};
use crate::message::Mailbox;
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
        self.open_with_password(password.map_err(|error| error.on(Side::Source))?)
    }

    pub(super) fn open_with_password(&self, password: Secret) -> Result<(Session, Mailbox)> {
        let login = Login {
            user: self.config.user.clone(),
            credentials: Credentials::Password(password),
        };
        let loses_pipelined_commands = || self.login_history.get().loses_pipelined_commands;
        let was_known = loses_pipelined_commands();
        match self.try_open(&login) {
            // Without pipelines it may succeed.
            Err(_) if loses_pipelined_commands() != was_known => self.try_open(&login),
            result => result,
        }
    }

    /// What later log-ins should know.
    pub(super) fn login_history(&self) -> LoginHistory {
        self.login_history.get()
    }

    fn try_open(&self, login: &Login) -> Result<(Session, Mailbox)> {
        let mut session = self.log_in_and(login, Some(&self.config.folder))?;
        let examined = session.identify_and_examine(&self.config.folder);
        self.login_history.set(LoginHistory {
            loses_pipelined_commands: session.loses_pipelined_commands(),
            ..self.login_history.get()
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
        self.log_in_and(login, None)
    }

    /// Logs in; the EXAMINE of the folder goes with it, where the history permits that.
    fn log_in_and(&self, login: &Login, folder: Option<&str>) -> Result<Session> {
        let (server, history) = (&self.config.server, self.login_history.get());
        let (trust, options) = (&self.trust, &self.options);
        let opened = Session::open_with_history(server, trust, options, login, history, folder);
        let session = opened.map_err(|error| self.explain(error))?;
        self.login_history
            .set(history.after_login(session.login_form()));
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
