//! Logs in to Gmail with an access token, and explains why Gmail rejected the log-in.

use crate::config::TargetConfig;
use crate::delivery::gmail_imap::STORAGE_FULL_REMEDY;
use crate::delivery::gmail_imap::responses::{LoginRejection, login_rejection, rest_reason};
use crate::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use crate::imap::{CommandError, Credentials, Login, OpenError, Session};
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// Opens a session.
pub(super) fn log_in(
    config: &TargetConfig,
    trust: &Trust,
    options: &ConnectionOptions,
    access_token: Secret,
) -> Result<Session, OpenError> {
    let login = Login {
        user: config.user.clone(),
        credentials: Credentials::AccessToken(access_token),
    };
    let options = ConnectionOptions {
        side: Side::Gmail,
        ..options.clone()
    };
    Session::open(&config.server, trust, &options, &login)
}

/// Whether Gmail rejected the access token, so that another one may be accepted.
pub(super) fn rejects_token(error: &OpenError) -> bool {
    match error {
        OpenError::Login { failure, .. } => login_rejection(failure) == LoginRejection::Credentials,
        OpenError::Unreachable(_) | OpenError::Bye { .. } => false,
    }
}

/// A failed log-in as an error of the pass; `token_remedy` is the remedy if Gmail rejected the
/// token.
pub(super) fn explain(config: &TargetConfig, error: OpenError, token_remedy: &str) -> Error {
    let failure = match error {
        OpenError::Login { failure, .. } => failure,
        OpenError::Bye { text, .. } if rest_reason(&text).is_some() => CommandError::Bye(text),
        OpenError::Bye { error, .. } | OpenError::Unreachable(error) => return error,
    };
    let error = |kind| login_error(config, kind, &failure);
    let storage_full = || {
        let error = error(ErrorKind::Rejected).remedy(STORAGE_FULL_REMEDY);
        error.with_consequence(Consequence::Rest(RestReason::StorageFull))
    };
    let resting = |reason| error(ErrorKind::Resting).with_consequence(Consequence::Rest(reason));
    match login_rejection(&failure) {
        LoginRejection::Credentials => error(ErrorKind::Rejected).remedy(token_remedy),
        LoginRejection::NeedsUser(remedy) => error(ErrorKind::Rejected).remedy(remedy),
        LoginRejection::StorageFull => storage_full(),
        LoginRejection::OverQuota => resting(RestReason::Quota),
        LoginRejection::TooManyConnections => resting(RestReason::Connections),
        LoginRejection::Temporary => error(ErrorKind::Unavailable),
    }
}

/// Logs in with an access token and out again: verifies that it is for this account.
///
/// # Errors
/// [`ErrorKind::Rejected`] if Gmail rejects the token, [`ErrorKind::Unavailable`] if the server
/// cannot be asked.
pub(crate) fn verify_access_token(config: &TargetConfig, access_token: &Secret) -> Result<()> {
    let trust = Trust::for_server(&config.server)?;
    let remedy = format!(
        "you probably signed in to another account: sign in as {}, or correct target_user; nothing \
         was saved",
        Untrusted::new(&config.user)
    );
    let options = ConnectionOptions::default();
    log_in(config, &trust, &options, access_token.clone())
        .map(Session::logout)
        .map_err(|error| match &error {
            // A rest is recorded in the state, and there is none here.
            OpenError::Login { failure, .. } if is_resting(failure) => {
                login_error(config, ErrorKind::Unavailable, failure)
            }
            _ => explain(config, error, &remedy),
        })
}

fn is_resting(failure: &CommandError) -> bool {
    matches!(
        login_rejection(failure),
        LoginRejection::StorageFull
            | LoginRejection::OverQuota
            | LoginRejection::TooManyConnections
    )
}

fn login_error(config: &TargetConfig, kind: ErrorKind, failure: &CommandError) -> Error {
    Error::new(Side::Gmail, kind, config.server.address(), failure).during(format_args!(
        "logging in as {}",
        Untrusted::new(&config.user)
    ))
}
