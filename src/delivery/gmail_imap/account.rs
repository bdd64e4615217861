//! The account at Gmail: who it is, and how to log in to it with a token that is alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::TargetConfig;
use crate::delivery::gmail_imap::responses::{
    LoginRejection, is_over_quota, is_too_many_connections, login_rejection,
};
use crate::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use crate::imap::{CommandError, Login, OpenError, Session};
use crate::net::ConnectionOptions;
use crate::net::Trust;
use crate::oauth::{RememberedRejection, Token};
use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// Before its token dies, a session is left: long enough for most messages to be sent whole.
const TO_FINISH: TimeDelta = TimeDelta::minutes(1);

/// What tells the time: the wall clock, or a test's.
pub type NowFn = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What must be known to talk to Gmail.
pub struct GmailTargetOptions {
    /// The account and its server.
    pub config: TargetConfig,
    /// What tells the time.
    pub now: NowFn,
    /// What ends waits for the server.
    pub connection: ConnectionOptions,
    /// A refused token that an earlier run remembered.
    pub rejected_token: Option<RememberedRejection>,
    /// Whether the token is used only as long as it is valid, and nothing is written.
    pub is_dry_run: bool,
}

/// The account, shared by all connections to it.
pub(super) struct GmailAccount {
    settings: GmailTargetOptions,
    /// Loaded when the first connection is opened: a run with nothing to do reads no token.
    credentials: Mutex<Option<GmailCredentials>>,
    /// The server loses commands that come in one packet with others.
    loses_pipelined_commands: AtomicBool,
}

struct GmailCredentials {
    trust: Trust,
    token: Token,
}

/// A session of the account, and when the server may end it.
pub(super) struct GmailSession {
    pub(super) session: Session,
    expires: Option<DateTime<Utc>>,
}

impl GmailAccount {
    pub(super) fn new(settings: GmailTargetOptions) -> GmailAccount {
        GmailAccount {
            settings,
            credentials: Mutex::new(None),
            loses_pipelined_commands: AtomicBool::new(false),
        }
    }

    /// What the configuration says of it.
    pub(super) fn config(&self) -> &TargetConfig {
        &self.settings.config
    }

    /// Says whether the access token can be used without renewing it.
    pub(super) fn has_valid_token(&self) -> Result<bool> {
        let credentials = self.credentials()?;
        Ok(credentials
            .as_ref()
            .is_some_and(|credentials| credentials.token.is_valid(self.now())))
    }

    /// Opens a session and says who we are.
    ///
    /// # Errors
    /// The server is unavailable, refuses the log-in (after one renewal of the token), or the
    /// account must rest.
    pub(super) fn log_in(&self) -> Result<GmailSession> {
        let mut credentials = self.credentials()?;
        let Some(GmailCredentials { trust, token }) = credentials.as_mut() else {
            return Err(self.error(ErrorKind::Internal, "the token was not loaded"));
        };
        let access = token.access(self.now())?;
        let opened = match self.open(trust, access.clone()) {
            Err(unopened) if is_about_the_token(&unopened) => {
                log::info!("Gmail refuses the access token; it is renewed, once");
                let access = token.renew(&access, self.now())?;
                self.open(trust, access)
            }
            opened => opened,
        };
        let session = opened.map_err(|unopened| {
            let is_about_the_token = is_about_the_token(&unopened);
            let remedy = format!(
                "check that target_user is the account that the token was made for, or {}",
                token.new_token_remedy()
            );
            let error = explain(self.config(), unopened, &remedy);
            if is_about_the_token {
                error.with_consequence(token.login_rejection())
            } else {
                error
            }
        })?;
        let expires = token.expires();
        drop(credentials);
        self.send_id(session)
            .map(|session| GmailSession { session, expires })
    }

    /// Remembers whether the server was seen to lose commands, for the sessions to come.
    pub(super) fn note_lost_pipelined(&self, session: &Session) {
        let is_seen = session.loses_pipelined_commands();
        self.loses_pipelined_commands
            .fetch_or(is_seen, Ordering::Relaxed);
    }

    /// Says whether the server may end the session soon, because its token dies.
    pub(super) fn expires_soon(&self, logged_in: &GmailSession) -> bool {
        let expires = logged_in.expires;
        expires.is_some_and(|expires| expires.signed_duration_since(self.now()) <= TO_FINISH)
    }

    /// A failure of a session as a failure of the pass: what Gmail says of the whole account has
    /// its consequence.
    pub(super) fn failure(&self, failure: &CommandError) -> Error {
        match failure.response_text() {
            Some(reply) if is_over_quota(reply) => self.rest_error(RestReason::Quota, failure),
            Some(reply) if is_too_many_connections(reply) => {
                self.rest_error(RestReason::Connections, failure)
            }
            _ => self.error(ErrorKind::Unavailable, failure),
        }
    }

    /// The account must be left alone for a while.
    pub(super) fn rest_error(&self, rest: RestReason, why: impl std::fmt::Display) -> Error {
        self.error(ErrorKind::Resting, why)
            .with_consequence(Consequence::Rest(rest))
    }

    /// A failure at this account's server.
    pub(super) fn error(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        Error::new(Side::Gmail, kind, self.config().server.address(), what)
    }

    fn now(&self) -> DateTime<Utc> {
        (self.settings.now)()
    }

    fn credentials(&self) -> Result<MutexGuard<'_, Option<GmailCredentials>>> {
        let mut credentials = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if credentials.is_none() {
            let server = &self.config().server;
            let file = &self.config().token_file;
            let token = Token::load(
                file,
                server.ca_file.as_deref(),
                &self.config().auth_command,
                self.settings.rejected_token.clone(),
            )?;
            self.log_token_health(&token);
            *credentials = Some(GmailCredentials {
                trust: Trust::for_server(server).map_err(|error| error.on(Side::Gmail))?,
                token: if self.settings.is_dry_run {
                    token.read_only()
                } else {
                    token
                },
            });
        }
        Ok(credentials)
    }

    /// How the token is, and what should be done before it dies.
    fn log_token_health(&self, token: &Token) {
        let health = token.health();
        log::debug!("the refresh token: {health}");
        if let Some(warning) = health.warning(self.now()) {
            log::warn!(
                "{warning}; publish the app (README, \"The token\"), then {}",
                token.new_token_remedy()
            );
        }
    }

    fn open(&self, trust: &Trust, access: Secret) -> Result<Session, OpenError> {
        open(self.config(), trust, &self.settings.connection, access)
    }

    /// Google asks clients to say who they are; that a server does not care is no failure.
    fn send_id(&self, mut session: Session) -> Result<Session> {
        if self.loses_pipelined_commands.load(Ordering::Relaxed) {
            session.disable_pipelining();
        }
        match session.send_id() {
            Err(failure) if !failure.leaves_session_usable() => Err(self.failure(&failure)),
            _ => Ok(session),
        }
    }
}

/// Logs in with an access token and takes leave again: proves that it opens the account's mail.
///
/// # Errors
/// The server is unavailable, or does not take the token for this account ([`ErrorKind::Rejected`]).
pub(crate) fn verify_access_token(config: &TargetConfig, access: &Secret) -> Result<()> {
    let trust = Trust::for_server(&config.server)?;
    let remedy = format!(
        "you probably signed in to another account: sign in as {}, or correct target_user; nothing \
         was saved",
        Untrusted::new(&config.user)
    );
    open(
        config,
        &trust,
        &ConnectionOptions::default(),
        access.clone(),
    )
    .map(Session::logout)
    .map_err(|unopened| match &unopened {
        // Nothing rests here: no run is on.
        OpenError::Login { failure, .. } if is_to_rest(failure) => {
            not_logged_in(config, ErrorKind::Unavailable, failure)
        }
        _ => explain(config, unopened, &remedy),
    })
}

fn is_to_rest(failure: &CommandError) -> bool {
    matches!(
        login_rejection(failure),
        LoginRejection::OverQuota | LoginRejection::TooManyConnections
    )
}

fn not_logged_in(config: &TargetConfig, kind: ErrorKind, failure: &CommandError) -> Error {
    Error::new(Side::Gmail, kind, config.server.address(), failure).during(format_args!(
        "logging in as {}",
        Untrusted::new(&config.user)
    ))
}

fn open(
    config: &TargetConfig,
    trust: &Trust,
    options: &ConnectionOptions,
    access: Secret,
) -> Result<Session, OpenError> {
    let login = Login::Xoauth2 {
        user: config.user.clone(),
        token: access,
    };
    let options = ConnectionOptions {
        side: Side::Gmail,
        ..options.clone()
    };
    Session::open(&config.server, trust, &options, &login)
}

/// A log-in that failed as a failure of the pass; `when_refused` is the remedy if Gmail does not
/// take the token.
fn explain(config: &TargetConfig, unopened: OpenError, when_refused: &str) -> Error {
    let OpenError::Login { failure, .. } = unopened else {
        return unopened.into();
    };
    let error = |kind| not_logged_in(config, kind, &failure);
    match login_rejection(&failure) {
        LoginRejection::Credentials => error(ErrorKind::Rejected).remedy(when_refused),
        LoginRejection::NeedsPerson(remedy) => error(ErrorKind::Rejected).remedy(remedy),
        LoginRejection::OverQuota => resting(error(ErrorKind::Resting), RestReason::Quota),
        LoginRejection::TooManyConnections => {
            resting(error(ErrorKind::Resting), RestReason::Connections)
        }
        LoginRejection::Temporary => error(ErrorKind::Unavailable),
    }
}

fn resting(error: Error, rest: RestReason) -> Error {
    error.with_consequence(Consequence::Rest(rest))
}

fn is_about_the_token(unopened: &OpenError) -> bool {
    match unopened {
        OpenError::Login { failure, .. } => login_rejection(failure) == LoginRejection::Credentials,
        OpenError::Unreachable(_) => false,
    }
}
