//! How the mailbox is opened, and opened again.

use crate::config::Password;
use crate::config::Server;
use crate::error::Side;
use crate::error::{Error, ErrorKind, Result};
use crate::imap::{Login, OpenError, Session};
use crate::message::Mailbox;
use crate::net::ConnectionOptions;
use crate::net::Trust;
use crate::secret::Secret;

/// All that is needed to open it again.
pub(super) struct SourceConnector {
    pub(super) server: Server,
    pub(super) folder: String,
    pub(super) user: String,
    pub(super) password: Password,
    pub(super) trust: Trust,
    pub(super) options: ConnectionOptions,
}

impl SourceConnector {
    /// Logs in and opens the folder, with the password as it is now: some live for an hour only.
    pub(super) fn open(&self) -> Result<(Session, Mailbox)> {
        let password = self
            .password
            .read()
            .map_err(|error| error.on(Side::Source))?;
        self.open_with_password(password)
    }

    /// The same with this password.
    pub(super) fn open_with_password(&self, password: Secret) -> Result<(Session, Mailbox)> {
        let login = Login::Password {
            user: self.user.clone(),
            password,
        };
        let mut session = Session::open(&self.server, &self.trust, &self.options, &login)
            .map_err(|unopened| self.explain(unopened))?;
        match session.examine(&self.folder) {
            Ok(mailbox) => Ok((session, mailbox)),
            Err(error) => {
                session.logout();
                Err(error)
            }
        }
    }

    /// Adds which field to look at when the log-in is refused.
    fn explain(&self, unopened: OpenError) -> Error {
        let error = Error::from(unopened);
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
