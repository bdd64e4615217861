//! From a person's consent to a token that has proved itself.

use std::fmt;
use std::path::{self, Path, PathBuf};
use std::thread;

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::net::Trust;
use crate::oauth::consent::authorization_request::AuthorizationRequest;
use crate::oauth::consent::client_secret_file::ClientSecretFile;
use crate::oauth::consent::{VerifyAccessToken, shown};
use crate::oauth::{
    AuthorizationGrant, Endpoint, EndpointError, IssuedTokens, OAuthError, TokenHealth, token,
};
use crate::process::signals;
use crate::retry::CONSENT_LOGIN_DELAYS;
use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// What is needed to make a token of a consent.
pub(super) struct CodeExchange<'a> {
    /// Who asks.
    pub(super) client_secret_file: &'a ClientSecretFile,
    /// The account, if it is known.
    pub(super) config: Option<&'a Config>,
    /// Where the token goes.
    pub(super) file: &'a Path,
    endpoint: Endpoint,
    verify: &'a VerifyAccessToken,
}

/// A token that was saved, in words for the person.
#[derive(Debug)]
pub(super) struct SavedToken {
    file: PathBuf,
    account: Option<String>,
    health: TokenHealth,
}

/// Why no token was saved.
#[derive(Debug)]
pub(super) struct ExchangeError {
    /// For the person at the terminal.
    pub(super) error: Error,
    /// Google does not take the code: it was used or is too old.
    pub(super) is_expired: bool,
}

impl From<Error> for ExchangeError {
    fn from(error: Error) -> ExchangeError {
        ExchangeError {
            error,
            is_expired: false,
        }
    }
}

impl<'a> CodeExchange<'a> {
    /// Gets ready to ask; opens nothing yet.
    ///
    /// # Errors
    /// The certificates to trust cannot be read ([`ErrorKind::Config`]).
    pub(super) fn prepare(
        client_secret_file: &'a ClientSecretFile,
        config: Option<&'a Config>,
        file: &'a Path,
        verify: &'a VerifyAccessToken,
    ) -> Result<CodeExchange<'a>> {
        let ca_file = config.and_then(|config| config.target.server.ca_file.as_deref());
        if let Some(config) = config {
            Trust::for_server(&config.target.server)?;
        }
        Ok(CodeExchange {
            client_secret_file,
            config,
            file,
            endpoint: Endpoint::new(&client_secret_file.client.token_uri, ca_file)?,
            verify,
        })
    }
}

impl CodeExchange<'_> {
    /// Exchanges the code, proves what it gives, and saves it.
    pub(super) fn obtain_token(
        &self,
        attempt: &AuthorizationRequest,
        code: &Secret,
    ) -> Result<SavedToken, ExchangeError> {
        let grant = self.request_tokens(attempt, code)?;
        let refresh = self.check_grant(&grant)?;
        if let Some(config) = self.config {
            self.log_in(config, &grant.access)?;
        }
        let health = self.save(&grant, &refresh, Utc::now())?;
        Ok(SavedToken {
            file: path::absolute(self.file).unwrap_or_else(|_| self.file.to_owned()),
            account: self.config.map(|config| config.target.user.clone()),
            health,
        })
    }

    /// Asks Google.
    fn request_tokens(
        &self,
        attempt: &AuthorizationRequest,
        code: &Secret,
    ) -> Result<IssuedTokens, ExchangeError> {
        let application = &self.client_secret_file.client;
        let verifier = Secret::new(attempt.verifier.secret().clone());
        let proof = AuthorizationGrant::Consent {
            code,
            verifier: &verifier,
            redirect_uri: &attempt.redirect_uri,
        };
        let answer = self.endpoint.request_token(application, proof);
        answer.map_err(|failure| match failure {
            EndpointError::Rejected(complaint) => self.rejection_error(&complaint, code, &verifier),
            EndpointError::Unavailable(why) => self
                .error(ErrorKind::Unavailable, why)
                .remedy("nothing was saved; run this again in a few minutes")
                .into(),
            EndpointError::NotVerified(why) => self
                .error(ErrorKind::Unavailable, why)
                .remedy("check token_uri, target_ca_file and this host's clock")
                .into(),
        })
    }

    fn rejection_error(
        &self,
        complaint: &OAuthError,
        code: &Secret,
        verifier: &Secret,
    ) -> ExchangeError {
        let secrets = [
            Some(code),
            Some(verifier),
            self.client_secret_file.client.client_secret.as_ref(),
        ];
        let said = complaint.describe(secrets.into_iter().flatten());
        let what = format!("Google gives no token: {said}");
        let error = self.error(ErrorKind::Rejected, what);
        let is_expired = complaint.code() == "invalid_grant";
        let error = if is_expired {
            error.remedy("a consent is good for one use and a few minutes: run this again")
        } else if complaint.is_admin_policy() {
            error.remedy("the administrator of the account's Workspace must allow the app")
        } else {
            let mend = complaint.client_remedy("the file of --credentials");
            error.remedy(mend.unwrap_or_else(|| "run this again".to_owned()))
        };
        ExchangeError { error, is_expired }
    }

    /// The refresh token of a grant that is as it must be.
    fn check_grant(&self, grant: &IssuedTokens) -> Result<Secret> {
        if !grant.has_mail_scope {
            return Err(self
                .error(ErrorKind::Rejected, "the consent does not cover mail")
                .remedy(
                    "nothing was saved; run this again and tick the box at \"Read, compose, send \
                     and permanently delete all your email from Gmail\"",
                ));
        }
        grant.refresh.clone().ok_or_else(|| {
            self.error(
                ErrorKind::Rejected,
                "Google gave no refresh token, without which access ends in an hour",
            )
            .remedy(
                "nothing was saved; take the app's access away at \
                 https://myaccount.google.com/permissions, and run this again",
            )
        })
    }

    fn save(
        &self,
        grant: &IssuedTokens,
        refresh: &Secret,
        now: DateTime<Utc>,
    ) -> Result<TokenHealth> {
        let application = &self.client_secret_file.client;
        let saved =
            signals::after(|| token::save_consent(self.file, application, grant, refresh, now));
        saved.map_err(|error| {
            Error::new(Side::Token, ErrorKind::Disk, shown(self.file), error)
                .during("saving the token")
                .remedy("make the file and its folder writable, and run this again")
        })
    }

    /// Proves that the token opens the account that it is meant for.
    fn log_in(&self, config: &Config, access: &Secret) -> Result<()> {
        let mut pauses = CONSENT_LOGIN_DELAYS.iter();
        loop {
            match ((self.verify)(&config.target, access), pauses.next()) {
                (Err(error), Some(pause)) if error.kind() == ErrorKind::Unavailable => {
                    super::say(format_args!("{error}; trying again ...\n"));
                    thread::sleep(*pause);
                }
                (Err(error), _) if error.kind() == ErrorKind::Unavailable => {
                    return Err(
                        error.remedy("nothing was saved; run this again when Gmail answers")
                    );
                }
                (done, _) => return done,
            }
        }
    }

    fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        let url = self.client_secret_file.client.token_uri.url();
        let host = url.host_str().unwrap_or_default();
        Error::new(Side::Token, kind, Untrusted::new(host), what).during("getting the token")
    }
}

impl fmt::Display for SavedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The token is saved in {}", shown(&self.file))?;
        match &self.account {
            Some(account) => write!(f, ", and opens the mail of {}.", Untrusted::new(account))?,
            None => f.write_str("; whose mail it opens was not tried (--config was not given).")?,
        }
        if let Some(expires) = self.health.expires {
            write!(
                f,
                "\nThe app is in \"Testing\": this token dies on {}. For one that lasts, publish the \
                 app (https://console.cloud.google.com/auth/audience, \"Publish app\"), and then \
                 run this command again with --force.",
                expires.format("%Y-%m-%d at %H:%M UTC")
            )?;
        }
        Ok(())
    }
}
