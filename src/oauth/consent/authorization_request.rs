//! The authorization request: the address of Google's consent page, and the secrets that bind the
//! response to it (RFC 6749 4.1.1, RFC 7636 4).

use std::borrow::Cow;

use oauth2::basic::BasicClient;
use oauth2::{ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::consent::client_secret_file::ClientSecretFile;
use crate::oauth::endpoint::MAIL_SCOPE;
use crate::secret::Secret;

/// One authorization request.
pub(super) struct AuthorizationRequest {
    /// Returns in the response; a forged response does not know it (RFC 6749 10.12).
    pub(super) state: CsrfToken,
    /// Proves at the token endpoint that the code was requested by us (RFC 7636).
    pub(super) pkce_verifier: Secret,
    /// Where Google redirects the browser.
    pub(super) redirect_uri: RedirectUrl,
    /// The address that the user opens.
    pub(super) url: String,
}

impl AuthorizationRequest {
    /// Creates a request with new secrets and a redirect URI on this port. `user` is the account,
    /// if it is known.
    pub(super) fn new(
        client_secret_file: &ClientSecretFile,
        user: Option<&str>,
        port: u16,
    ) -> Result<AuthorizationRequest> {
        let redirect_uri = format!("http://127.0.0.1:{port}/");
        let redirect_uri = RedirectUrl::new(redirect_uri).map_err(|error| {
            Error::new(Side::Token, ErrorKind::Internal, "the redirect URI", error)
        })?;
        let (challenge, pkce_verifier) = PkceCodeChallenge::new_random_sha256();
        let client_id = ClientId::new(client_secret_file.client.client_id.clone());
        let client = BasicClient::new(client_id).set_auth_uri(client_secret_file.auth_uri.clone());
        let mut request = client
            .authorize_url(|| CsrfToken::new_random_len(32))
            .set_redirect_uri(Cow::Borrowed(&redirect_uri))
            .set_pkce_challenge(challenge)
            .add_scope(Scope::new(MAIL_SCOPE.to_owned()))
            // Without these Google issues a refresh token for the first consent only (GMAIL.md 7.1).
            .add_extra_param("access_type", "offline")
            .add_extra_param("prompt", "consent");
        if let Some(user) = user {
            request = request.add_extra_param("login_hint", user);
        }
        let (url, state) = request.url();
        Ok(AuthorizationRequest {
            state,
            pkce_verifier: Secret::new(pkce_verifier.into_secret()),
            redirect_uri,
            url: url.into(),
        })
    }
}
