//! A look at the source for `check`: one log-in, and the folder; nothing is fetched.

use crate::config::SourceConfig;
use crate::error::{Result, Side};
use crate::imap::{Capabilities, CommandError, Credentials, Login, LoginHistory, Session};
use crate::message::Mailbox;
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;
use crate::source::connector::SourceConnector;

/// What the source shows after the log-in.
pub(crate) struct SourceInspection {
    pub capabilities: Result<Capabilities, CommandError>,
    pub folder: Result<Mailbox>,
}

impl SourceInspection {
    /// Logs in once and opens the folder for reading only; without a password only connects. The
    /// password is sent in one form: a server that counts wrong ones counts one.
    ///
    /// # Errors
    /// The server is unavailable, or rejects the log-in.
    pub fn run(
        config: &SourceConfig,
        password: Option<Secret>,
        options: ConnectionOptions,
        history: LoginHistory,
    ) -> Result<Option<SourceInspection>> {
        let trust = Trust::for_server(&config.server).map_err(|error| error.on(Side::Source))?;
        let options = ConnectionOptions {
            side: Side::Source,
            ..options
        };
        let Some(password) = password else {
            Session::probe(&config.server, &trust, &options)?;
            return Ok(None);
        };
        let login = Login {
            user: config.user.clone(),
            credentials: Credentials::Password(password),
        };
        let history = LoginHistory {
            is_rejected: true,
            ..history
        };
        let connector = SourceConnector::new(config.clone(), trust, options, history);
        let mut session = connector.log_in(&login)?;
        session.disable_pipelining();
        let inspection = SourceInspection {
            capabilities: session.capabilities(),
            folder: session.identify_and_examine(&config.folder),
        };
        session.logout();
        Ok(Some(inspection))
    }
}
