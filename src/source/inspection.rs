//! A look at the source for `check`: one log-in, and the folders; nothing is fetched.

use std::collections::BTreeMap;

use crate::config::{FolderConfig, SourceConfig};
use crate::error::{Result, Side};
use crate::folders::single_pair;
use crate::imap::{
    Capabilities, CommandError, Credentials, FolderListing, FolderStatuses, Login, LoginHistory,
    Session,
};
use crate::message::Mailbox;
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;
use crate::source::connector::SourceConnector;

/// What the source shows after the log-in.
pub(crate) struct SourceInspection {
    pub capabilities: Result<Capabilities, CommandError>,
    /// The folder of the short form.
    pub folder: Option<Result<Mailbox>>,
    /// All folders, if the configuration names several, or what needs a listing.
    pub folders: Option<Result<InspectedFolders, CommandError>>,
}

/// The folders of the source.
pub(crate) struct InspectedFolders {
    pub listing: FolderListing,
    /// What is in them, where the server says it in one step.
    pub statuses: FolderStatuses,
    /// Folders of which it says nothing then, and why.
    pub failures: BTreeMap<String, CommandError>,
}

impl SourceInspection {
    /// Logs in once and opens the folder for reading only, or lists all folders; without a password only connects. The
    /// password is sent in one form: a server that counts wrong ones counts one.
    ///
    /// # Errors
    /// The server is unavailable, or rejects the log-in.
    pub fn run(
        config: &SourceConfig,
        folders: &FolderConfig,
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
        let is_single = matches!(folders, FolderConfig::Single(_));
        let capabilities = session.capabilities();
        let folder = is_single.then(|| session.identify_and_examine(&config.folder));
        let needs_listing = single_pair(folders).is_none() && session.is_usable();
        let inspection = SourceInspection {
            capabilities,
            folder,
            folders: needs_listing.then(|| InspectedFolders::list(&mut session)),
        };
        session.logout();
        Ok(Some(inspection))
    }
}

impl InspectedFolders {
    fn list(session: &mut Session) -> Result<InspectedFolders, CommandError> {
        if session.capabilities()?.has("ID") {
            // 163.com says nothing of folders otherwise.
            session.identify_with_next_command();
        }
        let (listing, statuses) = session.list_folders_with_status()?;
        let mut failures = BTreeMap::new();
        let mut unknown: Vec<&str> = Vec::new();
        if let Some(statuses) = &statuses {
            let selectable = listing.folders.iter().filter(|it| it.is_selectable());
            let names = selectable.map(|folder| folder.name.as_str());
            unknown.extend(names.filter(|name| !statuses.contains_key(*name)));
        }
        let mut statuses = statuses.unwrap_or_default();
        for (name, status) in unknown.iter().zip(session.status_of(&unknown)?) {
            match status {
                Ok(mailbox) => drop(statuses.insert((*name).to_owned(), mailbox)),
                Err(error) => drop(failures.insert((*name).to_owned(), error)),
            }
        }
        Ok(InspectedFolders {
            listing,
            statuses,
            failures,
        })
    }
}
