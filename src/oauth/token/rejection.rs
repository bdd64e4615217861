//! A refresh token that Google rejects: remembered, so that it is not sent again and again.

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Consequence, Error, ErrorKind, Result};
use crate::oauth::endpoint::ClientRegistration;
use crate::oauth::oauth_error::OAuthError;
use crate::oauth::renewal::RememberedRejection;
use crate::oauth::token::Token;
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// How long a run does not repeat a rejected renewal; the state schedules the retries of later runs.
const REJECTION_RETRY_DELAY: TimeDelta = TimeDelta::minutes(1);

impl Token {
    /// What later runs must remember when Google rejects the refresh token.
    pub(super) fn token_rejection(&self, remedy: String) -> Consequence {
        Consequence::TokenRejected {
            refresh_token: self.refresh_token_digest(),
            remedy,
        }
    }

    pub(super) fn check_remembered_rejection(&self, now: DateTime<Utc>) -> Result<()> {
        let digest = self.refresh_token_digest();
        let holds = |rejection: &&RememberedRejection| {
            rejection.refresh_token == digest && now < rejection.retry_after
        };
        let Some(rejection) = self.remembered_rejection.as_ref().filter(holds) else {
            return Ok(());
        };
        if let Some(error) = &self.rejection_error {
            return Err(error.clone());
        }
        let until = format_time(rejection.retry_after);
        let what = match &rejection.user {
            None => format!("Google rejected this token, and is not asked again before {until}"),
            Some(user) => format!(
                "Gmail rejected the log-in as {} with this token, and is not asked again before \
                 {until}",
                Untrusted::new(user)
            ),
        };
        let remedy = rejection.remedy.as_deref();
        let remedy = remedy.unwrap_or(self.new_token_remedy());
        let error = self.file.error(ErrorKind::Rejected, what);
        Err(error.remedy(Untrusted::new(remedy)))
    }

    /// The error for a rejected renewal. Remembers a rejected refresh token for a while.
    pub(super) fn rejection_error(
        &mut self,
        client: &ClientRegistration,
        rejection: &OAuthError,
        now: DateTime<Utc>,
    ) -> Error {
        let (access, refresh) = (self.file.access(), self.file.refresh());
        let secrets = [&access, &refresh, &client.client_secret];
        let description = rejection.describe(secrets.into_iter().flatten());
        let what = format!("Google rejected the request: {description}");
        let remedy = self.remedy(rejection, now);
        let error = client
            .endpoint_error(ErrorKind::Rejected, what)
            .remedy(&remedy);
        if rejection.code() != "invalid_grant" {
            // Google rejected the client: with a corrected one the same refresh token works again.
            return error;
        }
        self.remembered_rejection = Some(RememberedRejection {
            refresh_token: self.refresh_token_digest(),
            retry_after: now + REJECTION_RETRY_DELAY,
            user: None,
            remedy: Some(remedy.clone()),
        });
        let error = error.with_consequence(self.token_rejection(remedy));
        self.rejection_error = Some(error.clone());
        error
    }

    /// The likely causes of a rejection, and what the user can do.
    fn remedy(&self, rejection: &OAuthError, now: DateTime<Utc>) -> String {
        let new_token_remedy = self.new_token_remedy();
        if rejection.is_admin_policy() {
            return "the administrator of the account's Workspace must allow the app".to_owned();
        }
        if rejection.code() == "invalid_grant" && rejection.is_session_control() {
            return format!(
                "the Workspace's session control asks for a new log-in from time to time: \
                 {new_token_remedy}"
            );
        }
        match rejection.client_remedy("the token file") {
            Some(remedy) => format!("{remedy} and {new_token_remedy}"),
            None => format!("{}: {new_token_remedy}", self.health().likely_causes(now)),
        }
    }
}
