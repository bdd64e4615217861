//! Opens the source mailbox, and opens it again after a connection broke.

use crate::config::{Password, SourceConfig};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::imap::{Credentials, Login, OpenError, Session};
use crate::message::Mailbox;
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;

/// Everything that opening the mailbox needs.
pub(super) struct SourceConnector {
    pub(super) config: SourceConfig,
    pub(super) trust: Trust,
    pub(super) options: ConnectionOptions,
}

impl SourceConnector {
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
        let mut session = Session::open(&self.config.server, &self.trust, &self.options, &login)
            .map_err(|error| self.add_remedy(error))?;
        match session.examine(&self.config.folder) {
            Ok(mailbox) => Ok((session, mailbox)),
            Err(error) => {
                session.logout();
                Err(error)
            }
        }
    }

    /// Names the field to correct when the log-in is rejected.
    fn add_remedy(&self, error: OpenError) -> Error {
        let error = Error::from(error);
        if error.kind() != ErrorKind::Rejected {
            return error;
        }
        let field = match &self.config.password {
            Password::Given(_) => "source_pass",
            Password::Command(_) => "the output of source_pass_command",
            Password::File(_) => "the first line of source_pass_file",
        };
        error.remedy(format!("correct source_user or {field}"))
    }
}
