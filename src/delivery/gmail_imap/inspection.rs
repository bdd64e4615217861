//! A look at Gmail for `check`: the token, one log-in, and the folders; nothing is stored there.

use std::sync::Arc;

use crate::delivery::gmail_imap::account::{GmailAccount, GmailTargetOptions};
use crate::error::Result;
use crate::error::Side;
use crate::imap::{Capabilities, FolderListing, Session, StorageQuota};
use crate::net::{ConnectionOptions, Trust};
use crate::oauth::{Renewal, TokenHealth};

/// Looks at one account.
pub(crate) struct GmailInspector(Arc<GmailAccount>);

/// What the token shows.
pub(crate) struct InspectedToken {
    pub health: TokenHealth,
    /// Whether its file says that it is for mail; `None` if it does not say.
    pub names_mail_scope: Option<bool>,
    pub is_renewable: bool,
    pub foreign_host_warning: Option<String>,
    pub new_token_remedy: String,
    /// What a renewal showed, if there was one.
    pub renewal: Option<Renewal>,
}

/// What Gmail shows after the log-in.
pub(crate) struct GmailInspection {
    pub capabilities: Capabilities,
    pub folders: FolderListing,
    pub storage: Option<StorageQuota>,
}

impl GmailInspector {
    pub fn new(options: GmailTargetOptions) -> GmailInspector {
        GmailInspector(Arc::new(GmailAccount::new(options)))
    }

    /// What is known of the token.
    ///
    /// # Errors
    /// The token file cannot be used; or the trusted certificates cannot be loaded.
    pub fn token(&self) -> Result<InspectedToken> {
        self.0.with_token(|token| InspectedToken {
            health: token.health(),
            names_mail_scope: token.names_mail_scope(),
            is_renewable: token.is_renewable(),
            foreign_host_warning: token.foreign_host_warning(),
            new_token_remedy: token.new_token_remedy().to_owned(),
            renewal: token.last_renewal(),
        })
    }

    /// The account, for other ways of delivery.
    pub(in crate::delivery) fn account(&self) -> &Arc<GmailAccount> {
        &self.0
    }

    /// Connects without a log-in.
    ///
    /// # Errors
    /// The server is unavailable.
    pub fn probe(&self) -> Result<()> {
        let server = &self.0.config().server;
        let trust = Trust::for_server(server).map_err(|error| error.on(Side::Gmail))?;
        let options = ConnectionOptions {
            side: Side::Gmail,
            ..self.0.connection_options().clone()
        };
        Session::probe(server, &trust, &options)
    }

    /// Logs in with an access token, which is renewed if it has expired or is rejected.
    ///
    /// # Errors
    /// The token cannot be renewed, the server is unavailable, or it rejects the log-in.
    pub fn log_in(&self) -> Result<GmailInspection> {
        let mut session = self.0.log_in()?.session;
        session.disable_pipelining();
        let failed = |failure| self.0.command_error(&failure);
        let inspected = session.capabilities().and_then(|capabilities| {
            Ok(GmailInspection {
                capabilities,
                folders: session.list_folders()?,
                storage: session.storage_quota("INBOX"),
            })
        });
        session.logout();
        inspected.map_err(|failure| failed(failure).during("listing the folders"))
    }
}
