//! Exchanges the authorization code for tokens, verifies them and saves them.

use std::path::{self, Path};
use std::thread;

use chrono::Utc;

use crate::config::TargetConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Trust;
use crate::oauth::TokenHealth;
use crate::oauth::consent::VerifyAccessToken;
use crate::oauth::consent::authorization_request::AuthorizationRequest;
use crate::oauth::consent::terminal::say;
use crate::oauth::endpoint::{
    AuthorizationGrant, ClientRegistration, Endpoint, EndpointError, IssuedTokens,
};
use crate::oauth::oauth_error::OAuthError;
use crate::oauth::token_file::TokenFile;
use crate::process::signals;
use crate::retry::CONSENT_LOGIN_DELAYS;
use crate::secret::Secret;
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// What is being done, for error messages.
const GETTING: &str = "getting the token";

/// Turns an authorization code into a saved token.
pub(super) struct CodeExchange<'a> {
    /// The account, if a configuration names it.
    pub(super) account: Option<&'a TargetConfig>,
    /// The request that the code is the response to.
    pub(super) request: AuthorizationRequest,
    client: &'a ClientRegistration,
    token_file: &'a Path,
    endpoint: Endpoint,
    verify: &'a VerifyAccessToken,
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
        account: Option<&'a TargetConfig>,
        request: AuthorizationRequest,
        client: &'a ClientRegistration,
        token_file: &'a Path,
        verify: &'a VerifyAccessToken,
    ) -> Result<CodeExchange<'a>> {
        let server = account.map(|account| &account.server);
        server.map(Trust::for_server).transpose()?;
        let ca_file = server.and_then(|server| server.ca_file.as_deref());
        Ok(CodeExchange {
            account,
            request,
            client,
            token_file,
            endpoint: Endpoint::new(&client.token_uri, ca_file)?,
            verify,
        })
    }

    /// Exchanges the code, verifies the tokens and saves them; returns the message for the user.
    pub(super) fn obtain_token(&self, code: &Secret) -> Result<String, ExchangeError> {
        let tokens = self.request_tokens(code)?;
        self.check_tokens(&tokens)?;
        if let Some(account) = self.account {
            self.verify_at_server(account, &tokens.access)?;
        }
        let health = self.save(&tokens)?;
        Ok(self.success_message(health))
    }

    fn request_tokens(&self, code: &Secret) -> Result<IssuedTokens, ExchangeError> {
        let grant = AuthorizationGrant::Code {
            code,
            pkce_verifier: &self.request.pkce_verifier,
            redirect_uri: &self.request.redirect_uri,
        };
        let result = self.endpoint.request_token(self.client, grant);
        result.map_err(|failure| match failure {
            EndpointError::Rejected(rejection) => self.rejection_error(&rejection, code),
            EndpointError::Unavailable(error) => error
                .during(GETTING)
                .remedy("nothing was saved; run this again in a few minutes")
                .into(),
        })
    }

    fn rejection_error(&self, rejection: &OAuthError, code: &Secret) -> ExchangeError {
        let secrets = [code, &self.request.pkce_verifier];
        let secrets = secrets.into_iter().chain(&self.client.client_secret);
        let what = format!("Google issued no token: {}", rejection.describe(secrets));
        let is_code_expired = rejection.code() == "invalid_grant";
        let remedy = if is_code_expired {
            "an authorization code is valid once, for a few minutes: run this again".to_owned()
        } else if rejection.is_admin_policy() {
            "the administrator of the account's Workspace must allow the app".to_owned()
        } else {
            let remedy = rejection.client_remedy("the file of --credentials");
            remedy.unwrap_or_else(|| "run this again".to_owned())
        };
        let error = self.client.endpoint_error(ErrorKind::Rejected, what);
        ExchangeError {
            error: error.during(GETTING).remedy(remedy),
            is_code_expired,
        }
    }

    /// Checks that the tokens give access to mail, and that there is a refresh token.
    fn check_tokens(&self, tokens: &IssuedTokens) -> Result<()> {
        let (what, remedy) = if !tokens.has_mail_scope {
            (
                "the consent does not cover mail",
                "nothing was saved; run this again and tick the box at \"Read, compose, send and \
                 permanently delete all your email from Gmail\"",
            )
        } else if tokens.refresh.is_none() {
            (
                "Google issued no refresh token, without which access ends in an hour",
                "nothing was saved; remove the app's access at \
                 https://myaccount.google.com/permissions, and run this again",
            )
        } else {
            return Ok(());
        };
        let error = self.client.endpoint_error(ErrorKind::Rejected, what);
        Err(error.during(GETTING).remedy(remedy))
    }

    /// Verifies that the access token gives access to the account that the configuration names.
    /// Retries, because the consent would be lost with a broken connection.
    fn verify_at_server(&self, account: &TargetConfig, access: &Secret) -> Result<()> {
        let mut delays = CONSENT_LOGIN_DELAYS.iter();
        loop {
            match ((self.verify)(account, access), delays.next()) {
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

    fn save(&self, tokens: &IssuedTokens) -> Result<TokenHealth> {
        let mut file = TokenFile::from_consent(self.token_file, self.client, tokens, Utc::now());
        let saved = signals::after(|| file.lock().and_then(|guard| file.save(&guard)));
        saved.map_err(|error| {
            file.error(ErrorKind::Disk, error)
                .during("saving the token")
                .remedy("make the file and its folder writable, and run this again")
        })?;
        Ok(file.health())
    }

    fn success_message(&self, health: TokenHealth) -> String {
        let file = path::absolute(self.token_file);
        let file = file.as_deref().unwrap_or(self.token_file);
        let account = match self.account.map(|account| Untrusted::new(&account.user)) {
            Some(user) => format!(", and gives access to the mail of {user}."),
            None => "; it was not verified at Gmail, because --config was not given.".to_owned(),
        };
        let expiry = health.expires.map_or_else(String::new, |expires| {
            format!(
                "\nThe app is in \"Testing\": the refresh token expires at {}. For one that does \
                 not expire, publish the app (https://console.cloud.google.com/auth/audience, \
                 \"Publish app\"), and then run this command again with --force.",
                format_time(expires)
            )
        });
        let file = Untrusted::path(file);
        format!("The token is saved in {file}{account}{expiry}")
    }
}
