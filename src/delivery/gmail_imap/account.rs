//! The Gmail account: its configuration and its token, shared by all connections to it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::TargetConfig;
use crate::delivery::gmail_imap::STORAGE_FULL_REMEDY;
use crate::delivery::gmail_imap::login;
use crate::delivery::gmail_imap::responses::rest_reason;
use crate::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use crate::imap::{CommandError, OpenError, Session, StorageQuota};
use crate::net::{ConnectionOptions, SharedSilence, Trust};
use crate::oauth::{RememberedRejection, RenewalPolicy, Token};
use crate::secret::Secret;

/// A session is replaced this long before its token expires: long enough to send most messages.
const MIN_SESSION_TIME: TimeDelta = TimeDelta::minutes(1);

/// A server that closes the connection this often in a row when APPENDs are pipelined gets one at a
/// time: it may take what it does not expect for an attack.
const MAX_CUTS_IN_A_ROW: usize = 3;

/// The wall clock, or that of a test.
pub type NowFn = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What a [`GmailTarget`](crate::delivery::gmail_imap::GmailTarget) needs.
pub struct GmailTargetOptions {
    /// The account and its server.
    pub config: TargetConfig,
    /// The clock.
    pub now: NowFn,
    /// Time-outs and cancellation.
    pub connection: ConnectionOptions,
    /// The rejected token that an earlier run recorded.
    pub rejected_token: Option<RememberedRejection>,
    /// Whether the token is renewed.
    pub renewal: RenewalPolicy,
}

/// The account; opens sessions.
pub(in crate::delivery) struct GmailAccount {
    options: GmailTargetOptions,
    /// The folder that messages are appended to; another one from pass to pass.
    folder: Mutex<String>,
    /// Loaded for the first session.
    credentials: Mutex<Option<GmailCredentials>>,
    /// Whether the server loses commands that arrive in one packet with others.
    loses_pipelined_commands: AtomicBool,
    /// The same of APPENDs, or of messages that it did not ask for.
    loses_pipelined_appends: AtomicBool,
    /// Connections that were lost with such APPENDs since the last one was answered.
    cuts_in_a_row: AtomicUsize,
}

struct GmailCredentials {
    trust: Trust,
    token: Token,
    /// The access token that a session was opened with.
    accepted: Option<Secret>,
}

/// The access token of a log-in, and its result.
type EarlyLogin = (Secret, Result<GmailSession, OpenError>);

/// A session of the account. Gmail may end it when its token expires (GMAIL.md 2.5).
pub(super) struct GmailSession {
    pub(super) session: Session,
    token_expires: Option<DateTime<Utc>>,
}

impl GmailAccount {
    pub(super) fn new(mut options: GmailTargetOptions) -> GmailAccount {
        options.connection.silence = Some(SharedSilence::default());
        GmailAccount {
            folder: Mutex::new(options.config.folder.clone()),
            options,
            credentials: Mutex::new(None),
            loses_pipelined_commands: AtomicBool::new(false),
            loses_pipelined_appends: AtomicBool::new(false),
            cuts_in_a_row: AtomicUsize::new(0),
        }
    }

    /// Another pass begins: Gmail's silence before it does not count.
    pub(super) fn end_silence(&self) {
        if let Some(silence) = &self.options.connection.silence {
            silence.end();
        }
    }

    pub(in crate::delivery) fn config(&self) -> &TargetConfig {
        &self.options.config
    }

    /// The folder that messages are appended to.
    pub(super) fn folder(&self) -> String {
        let folder = self.folder.lock();
        folder.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Messages are appended to this folder from now on; none is open.
    pub(super) fn set_folder(&self, folder: &str) {
        let mut current = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        folder.clone_into(&mut current);
    }

    /// Whether the access token can be used without renewing it.
    pub(super) fn has_valid_token(&self) -> Result<bool> {
        let credentials = self.credentials()?;
        Ok(credentials
            .as_ref()
            .is_some_and(|credentials| credentials.token.is_valid(self.now())))
    }

    pub(in crate::delivery) fn connection_options(&self) -> &ConnectionOptions {
        &self.options.connection
    }

    /// Reads something from the token.
    pub(super) fn with_token<T>(&self, read: impl FnOnce(&Token) -> T) -> Result<T> {
        match self.credentials()?.as_ref() {
            Some(credentials) => Ok(read(&credentials.token)),
            None => Err(self.error(ErrorKind::Internal, "the token was not loaded")),
        }
    }

    /// An access token that is valid for some minutes.
    pub(in crate::delivery) fn access_token(&self) -> Result<Secret> {
        let mut credentials = self.credentials()?;
        self.token_in(&mut credentials)?.access(self.now())
    }

    /// Another access token than this one, which the API rejected.
    pub(in crate::delivery) fn renew_token(&self, rejected: &Secret) -> Result<Secret> {
        let mut credentials = self.credentials()?;
        self.token_in(&mut credentials)?.renew(rejected, self.now())
    }

    /// The error that says that even a new access token is rejected, with what later runs must know.
    pub(in crate::delivery) fn rejected_token(&self, error: Error) -> Error {
        let described = self.with_token(|token| {
            let remedy = token.new_token_remedy().to_owned();
            let consequence = token.login_rejection(&self.config().user, remedy.clone());
            (remedy, consequence)
        });
        match described {
            Ok((remedy, consequence)) => error.remedy(remedy).with_consequence(consequence),
            Err(_) => error,
        }
    }

    fn token_in<'a>(&self, credentials: &'a mut Option<GmailCredentials>) -> Result<&'a mut Token> {
        let loaded = credentials.as_mut().map(|it| &mut it.token);
        loaded.ok_or_else(|| self.error(ErrorKind::Internal, "the token was not loaded"))
    }

    /// Opens a session. If Gmail rejects the access token, it is renewed once.
    ///
    /// Log-ins wait for each other until an access token was accepted: it must not be rejected as
    /// often as there are connections.
    pub(super) fn log_in(&self) -> Result<GmailSession> {
        let early = self.log_in_with_accepted_token()?;
        if let Some((_, Ok(opened))) = early {
            return Ok(opened);
        }
        let mut credentials = self.credentials()?;
        let Some(GmailCredentials {
            trust,
            token,
            accepted,
        }) = credentials.as_mut()
        else {
            return Err(self.error(ErrorKind::Internal, "the token was not loaded"));
        };
        let log_in = |access| login::log_in(self.config(), trust, &self.options.connection, access);
        let access = token.access(self.now())?;
        let first = match early {
            Some((tried, Err(error))) if tried == access => Err(error),
            _ => log_in(access.clone()),
        };
        let result = match first {
            Err(error)
                if login::rejects_token(&error) && self.options.renewal != RenewalPolicy::Never =>
            {
                log::info!("Gmail rejected the access token; renewing it once");
                log_in(token.renew(&access, self.now())?)
            }
            result => result,
        };
        let session = result.map_err(|error| {
            let rejects_token = login::rejects_token(&error);
            let mut remedy = format!(
                "check that target_user is the account that the token was made for, or {}",
                token.new_token_remedy()
            );
            if self.options.renewal == RenewalPolicy::Never {
                remedy = format!("run once without --dry-run, which renews the token, or {remedy}");
            }
            let error = login::explain(self.config(), error, &remedy);
            if rejects_token {
                error.with_consequence(token.login_rejection(&self.config().user, remedy))
            } else {
                error
            }
        })?;
        *accepted = Some(token.access(self.now())?);
        Ok(self.opened(session, token.expires()))
    }

    /// Opens a session with the access token that was accepted before, while others do so, too; none if
    /// it is another token by now.
    fn log_in_with_accepted_token(&self) -> Result<Option<EarlyLogin>> {
        let mut credentials = self.credentials()?;
        let Some(GmailCredentials {
            trust,
            token,
            accepted,
        }) = credentials.as_mut()
        else {
            return Ok(None);
        };
        let access = token.access(self.now())?;
        if accepted.as_ref() != Some(&access) {
            return Ok(None);
        }
        let (trust, expires) = (trust.clone(), token.expires());
        drop(credentials);
        let options = &self.options.connection;
        let result = login::log_in(self.config(), &trust, options, access.clone());
        let opened = result.map(|session| self.opened(session, expires));
        Ok(Some((access, opened)))
    }

    fn opened(&self, mut session: Session, token_expires: Option<DateTime<Utc>>) -> GmailSession {
        if self.loses_pipelined_commands.load(Ordering::Relaxed) {
            session.disable_pipelining();
        }
        // Google asks clients to identify themselves (GMAIL.md 1.7).
        session.identify_with_next_command();
        GmailSession {
            session,
            token_expires,
        }
    }

    /// Remembers for later sessions whether the server lost commands.
    pub(super) fn note_lost_pipelined(&self, session: &Session) {
        let was_seen = session.loses_pipelined_commands();
        self.loses_pipelined_commands
            .fetch_or(was_seen, Ordering::Relaxed);
    }

    pub(super) fn loses_pipelined_appends(&self) -> bool {
        self.loses_pipelined_appends.load(Ordering::Relaxed)
    }

    /// Remembers that a connection was lost, with no answer to an APPEND that was sent before the server
    /// had answered another.
    pub(super) fn note_lost_pipelined_append(&self, has_timed_out: bool) {
        let cuts = self.cuts_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if has_timed_out || cuts >= MAX_CUTS_IN_A_ROW {
            self.loses_pipelined_appends.store(true, Ordering::Relaxed);
        }
    }

    /// The server has answered such an APPEND.
    pub(super) fn note_answered_pipelined_append(&self) {
        self.cuts_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Whether the session's token expires soon.
    pub(super) fn expires_soon(&self, session: &GmailSession) -> bool {
        session
            .token_expires
            .is_some_and(|expires| expires.signed_duration_since(self.now()) <= MIN_SESSION_TIME)
    }

    /// A failed command as an error of the pass. If the response concerns the whole account, the
    /// account rests.
    pub(super) fn command_error(&self, failure: &CommandError) -> Error {
        match failure.response_text().and_then(rest_reason) {
            Some(reason) => self.rest_error(reason, failure),
            None => self.error(ErrorKind::Unavailable, failure),
        }
    }

    /// An error after which the account rests, with what its storage holds.
    pub(super) fn quota_error(
        &self,
        reason: RestReason,
        what: &str,
        quota: Option<StorageQuota>,
    ) -> Error {
        let gibibytes = |octets: u64| octets / (1 << 20) * 100 / 1024;
        let shown = |octets| {
            let hundredths = gibibytes(octets);
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        };
        let storage = quota.map_or_else(String::new, |quota| {
            let (used, limit) = (shown(quota.used), shown(quota.limit));
            format!(" ({used} of {limit} GiB are used)")
        });
        self.rest_error(reason, format_args!("{what}{storage}"))
            .during("appending a message")
    }

    /// An error after which the account rests.
    pub(super) fn rest_error(&self, reason: RestReason, what: impl fmt::Display) -> Error {
        let error = match reason {
            RestReason::StorageFull => self
                .error(ErrorKind::Rejected, what)
                .remedy(STORAGE_FULL_REMEDY),
            _ => self.error(ErrorKind::Resting, what),
        };
        error.with_consequence(Consequence::Rest(reason))
    }

    /// An error of this account's server.
    pub(in crate::delivery) fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        Error::new(Side::Gmail, kind, self.config().server.address(), what)
    }

    fn now(&self) -> DateTime<Utc> {
        (self.options.now)()
    }

    fn credentials(&self) -> Result<MutexGuard<'_, Option<GmailCredentials>>> {
        let mut credentials = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if credentials.is_none() {
            *credentials = Some(self.load_credentials()?);
        }
        Ok(credentials)
    }

    fn load_credentials(&self) -> Result<GmailCredentials> {
        let server = &self.config().server;
        let token = Token::load(
            &self.config().token_file,
            server.ca_file.as_deref(),
            &self.config().auth_command,
            self.options.rejected_token.clone(),
        )?;
        let token = token.with_canceller(self.options.connection.canceller.clone());
        self.log_token_health(&token);
        Ok(GmailCredentials {
            trust: Trust::for_server(server).map_err(|error| error.on(Side::Gmail))?,
            token: token.with_policy(self.options.renewal),
            accepted: None,
        })
    }

    /// Logs the token's health, and what to do before it expires.
    fn log_token_health(&self, token: &Token) {
        let health = token.health();
        log::debug!("the refresh token: {health}");
        if let Some(warning) = health.warning(self.now()) {
            log::warn!(
                "{warning}; publish the app (docs/token.md), then {}",
                token.new_token_remedy()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::{Server, TlsMode};

    #[test]
    fn the_connections_of_an_account_share_gmails_silence_and_a_pass_ends_it() {
        let server = Server {
            host: "localhost".to_owned(),
            port: 1,
            tls: TlsMode::Implicit,
            tls_name: "localhost".to_owned(),
            ca_file: None,
        };
        let account = GmailAccount::new(GmailTargetOptions {
            config: TargetConfig {
                server,
                user: "alice@gmail.com".to_owned(),
                token_file: "token.json".into(),
                folder: "INBOX".to_owned(),
                connections: 1,
                auth_command: "auth".to_owned(),
                import: None,
            },
            now: Arc::new(Utc::now),
            connection: ConnectionOptions::default(),
            rejected_token: None,
            renewal: RenewalPolicy::Save,
        });
        let silence = account.options.connection.silence.clone().unwrap();
        let (now, minute) = (Instant::now(), Duration::from_mins(1));
        silence.record_timeout(now, now);
        assert_eq!(silence.limit(now, now + minute, Duration::ZERO), now);
        account.end_silence();
        assert_eq!(
            silence.limit(now, now + minute, Duration::ZERO),
            now + minute
        );
    }
}
