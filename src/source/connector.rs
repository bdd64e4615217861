//! Opens the source mailbox, and opens it again after a connection broke.

use crate::config::{Password, Server};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::imap::{Login, OpenError, Session};
use crate::message::Mailbox;
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;

/// Everything that opening the mailbox needs.
pub(super) struct SourceConnector {
    pub(super) server: Server,
    pub(super) folder: String,
    pub(super) user: String,
    pub(super) password: Password,
    pub(super) trust: Trust,
    pub(super) options: ConnectionOptions,
}

impl SourceConnector {
    /// Logs in and opens the folder. Reads the password again: some are valid for an hour only.
    pub(super) fn open(&self) -> Result<(Session, Mailbox)> {
        let password = self
            .password
            .read()
            .map_err(|error| error.on(Side::Source))?;
        self.open_with_password(password)
    }

    pub(super) fn open_with_password(&self, password: Secret) -> Result<(Session, Mailbox)> {
        let login = Login::Password {
            user: self.user.clone(),
            password,
        };
        let mut session = Session::open(&self.server, &self.trust, &self.options, &login)
            .map_err(|error| self.add_remedy(error))?;
        match session.examine(&self.folder) {
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
        let field = match &self.password {
            Password::Given(_) => "source_pass",
            Password::Command(_) => "the output of source_pass_command",
            Password::File(_) => "the first line of source_pass_file",
        };
        error.remedy(format!("correct source_user or {field}"))
    }
}
