//! What a person is sent to Google with (RFC 6749 4.1.1, RFC 7636 4).

use std::borrow::Cow;

use oauth2::basic::BasicClient;
use oauth2::{ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::MAIL_SCOPE;
use crate::oauth::consent::client_secret_file::ClientSecretFile;

/// One attempt to get a person's consent.
pub(super) struct AuthorizationRequest {
    /// Comes back with the answer, and tells it from one that somebody forged (RFC 6749 10.12).
    pub(super) state: CsrfToken,
    /// Proves at the exchange that it was we who asked (RFC 7636).
    pub(super) verifier: PkceCodeVerifier,
    /// Where Google sends the browser.
    pub(super) redirect_uri: RedirectUrl,
    /// The address that the person opens.
    pub(super) url: String,
}

impl AuthorizationRequest {
    /// With new secrets; the browser is to come back to this port.
    pub(super) fn new(
        client: &ClientSecretFile,
        config: Option<&Config>,
        port: u16,
    ) -> Result<AuthorizationRequest> {
        let redirect_uri = format!("http://127.0.0.1:{port}/");
        let redirect_uri = RedirectUrl::new(redirect_uri).map_err(|error| {
            Error::new(
                Side::Token,
                ErrorKind::Internal,
                "the address for the browser",
                error,
            )
        })?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let oauth = BasicClient::new(ClientId::new(client.client.client_id.clone()))
            .set_auth_uri(client.auth_uri.clone());
        let mut request = oauth
            .authorize_url(|| CsrfToken::new_random_len(32))
            .set_redirect_uri(Cow::Borrowed(&redirect_uri))
            .set_pkce_challenge(challenge)
            .add_scope(Scope::new(MAIL_SCOPE.to_owned()))
            // Google gives a second refresh token only to who asks so (GMAIL.md 7.1).
            .add_extra_param("access_type", "offline")
            .add_extra_param("prompt", "consent");
        if let Some(config) = config {
            request = request.add_extra_param("login_hint", config.target.user.clone());
        }
        let (address, state) = request.url();
        Ok(AuthorizationRequest {
            state,
            verifier,
            redirect_uri,
            url: address.into(),
        })
    }
}
