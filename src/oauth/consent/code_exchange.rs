//! Exchanges the authorization code for tokens, verifies them and saves them.

use std::fmt;
use std::path::{self, Path, PathBuf};
use std::thread;

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::net::Trust;
use crate::oauth::consent::VerifyAccessToken;
use crate::oauth::consent::authorization_request::AuthorizationRequest;
use crate::oauth::consent::terminal::say;
use crate::oauth::endpoint::{
    AuthorizationGrant, ClientRegistration, Endpoint, EndpointError, IssuedTokens,
};
use crate::oauth::oauth_error::OAuthError;
use crate::oauth::{TokenHealth, token};
use crate::process::signals;
use crate::retry::CONSENT_LOGIN_DELAYS;
use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// Turns an authorization code into a saved token.
pub(super) struct CodeExchange<'a> {
    /// The account, if a configuration names it.
    pub(super) config: Option<&'a Config>,
    client: &'a ClientRegistration,
    token_file: &'a Path,
    endpoint: Endpoint,
    verify: &'a VerifyAccessToken,
}

/// The token that was saved; `Display` describes it to the user.
#[derive(Debug)]
pub(super) struct SavedToken {
    file: PathBuf,
    account: Option<String>,
    health: TokenHealth,
}

/// Why no token was saved.
#[derive(Debug)]
pub(super) struct ExchangeError {
    /// The error for the terminal.
    pub(super) error: Error,
    /// Whether the code was used before, or has expired: another code may be accepted.
    pub(super) is_code_expired: bool,
}

impl From<Error> for ExchangeError {
    fn from(error: Error) -> ExchangeError {
        ExchangeError {
            error,
            is_code_expired: false,
        }
    }
}

impl<'a> CodeExchange<'a> {
    /// Loads the trusted certificates of both servers, so that a mistake there is found before the
    /// user is asked. Opens no connection.
    pub(super) fn prepare(
        client: &'a ClientRegistration,
        config: Option<&'a Config>,
        token_file: &'a Path,
        verify: &'a VerifyAccessToken,
    ) -> Result<CodeExchange<'a>> {
        let ca_file = config.and_then(|config| config.target.server.ca_file.as_deref());
        if let Some(config) = config {
            Trust::for_server(&config.target.server)?;
        }
        Ok(CodeExchange {
            config,
            client,
            token_file,
            endpoint: Endpoint::new(&client.token_uri, ca_file)?,
            verify,
        })
    }

    /// Exchanges the code, verifies the tokens and saves them.
    pub(super) fn obtain_token(
        &self,
        request: &AuthorizationRequest,
        code: &Secret,
    ) -> Result<SavedToken, ExchangeError> {
        let tokens = self.request_tokens(request, code)?;
        let refresh_token = self.check_tokens(&tokens)?;
        if let Some(config) = self.config {
            self.verify_at_server(config, &tokens.access)?;
        }
        let health = self.save(&tokens, &refresh_token, Utc::now())?;
        Ok(SavedToken {
            file: path::absolute(self.token_file).unwrap_or_else(|_| self.token_file.to_owned()),
            account: self.config.map(|config| config.target.user.clone()),
            health,
        })
    }

    fn request_tokens(
        &self,
        request: &AuthorizationRequest,
        code: &Secret,
    ) -> Result<IssuedTokens, ExchangeError> {
        let pkce_verifier = Secret::new(request.pkce_verifier.secret().clone());
        let grant = AuthorizationGrant::Code {
            code,
            pkce_verifier: &pkce_verifier,
            redirect_uri: &request.redirect_uri,
        };
        let result = self.endpoint.request_token(self.client, grant);
        result.map_err(|failure| match failure {
            EndpointError::Rejected(error) => self.rejection_error(&error, code, &pkce_verifier),
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
        rejection: &OAuthError,
        code: &Secret,
        pkce_verifier: &Secret,
    ) -> ExchangeError {
        let client_secret = self.client.client_secret.as_ref();
        let secrets = [Some(code), Some(pkce_verifier), client_secret];
        let description = rejection.describe(secrets.into_iter().flatten());
        let what = format!("Google issued no token: {description}");
        let error = self.error(ErrorKind::Rejected, what);
        let is_code_expired = rejection.code() == "invalid_grant";
        let error = if is_code_expired {
            error.remedy("an authorization code is valid once, for a few minutes: run this again")
        } else if rejection.is_admin_policy() {
            error.remedy("the administrator of the account's Workspace must allow the app")
        } else {
            let remedy = rejection.client_remedy("the file of --credentials");
            error.remedy(remedy.unwrap_or_else(|| "run this again".to_owned()))
        };
        ExchangeError {
            error,
            is_code_expired,
        }
    }

    /// Checks that the tokens give access to mail, and returns the refresh token.
    fn check_tokens(&self, tokens: &IssuedTokens) -> Result<Secret> {
        if !tokens.has_mail_scope {
            return Err(self
                .error(ErrorKind::Rejected, "the consent does not cover mail")
                .remedy(
                    "nothing was saved; run this again and tick the box at \"Read, compose, send \
                     and permanently delete all your email from Gmail\"",
                ));
        }
        tokens.refresh.clone().ok_or_else(|| {
            self.error(
                ErrorKind::Rejected,
                "Google issued no refresh token, without which access ends in an hour",
            )
            .remedy(
                "nothing was saved; remove the app's access at \
                 https://myaccount.google.com/permissions, and run this again",
            )
        })
    }

    /// Verifies that the access token gives access to the account that the configuration names.
    /// Retries, because the consent would be lost with a broken connection.
    fn verify_at_server(&self, config: &Config, access: &Secret) -> Result<()> {
        let mut delays = CONSENT_LOGIN_DELAYS.iter();
        loop {
            match ((self.verify)(&config.target, access), delays.next()) {
                (Err(error), Some(delay)) if error.kind() == ErrorKind::Unavailable => {
                    say(format_args!("{error}; trying again ...\n"));
                    thread::sleep(*delay);
                }
                (Err(error), _) if error.kind() == ErrorKind::Unavailable => {
                    let remedy = "nothing was saved; run this again when Gmail is available";
                    return Err(error.remedy(remedy));
                }
                (result, _) => return result,
            }
        }
    }

    fn save(
        &self,
        tokens: &IssuedTokens,
        refresh_token: &Secret,
        now: DateTime<Utc>,
    ) -> Result<TokenHealth> {
        let (file, client) = (self.token_file, self.client);
        let saved =
            signals::after(|| token::save_consent(file, client, tokens, refresh_token, now));
        saved.map_err(|error| {
            Error::new(Side::Token, ErrorKind::Disk, Untrusted::path(file), error)
                .during("saving the token")
                .remedy("make the file and its folder writable, and run this again")
        })
    }

    fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        let host = self.client.token_uri.url().host_str().unwrap_or_default();
        Error::new(Side::Token, kind, Untrusted::new(host), what).during("getting the token")
    }
}

impl fmt::Display for SavedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The token is saved in {}", Untrusted::path(&self.file))?;
        match &self.account {
            Some(account) => write!(
                f,
                ", and gives access to the mail of {}.",
                Untrusted::new(account)
            )?,
            None => f.write_str("; it was not tried at Gmail, because --config was not given.")?,
        }
        if let Some(expires) = self.health.expires {
            write!(
                f,
                "\nThe app is in \"Testing\": the refresh token expires on {}. For one that does \
                 not expire, publish the app (https://console.cloud.google.com/auth/audience, \
                 \"Publish app\"), and then run this command again with --force.",
                expires.format("%Y-%m-%d at %H:%M UTC")
            )?;
        }
        Ok(())
    }
}
