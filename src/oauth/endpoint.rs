//! The token endpoint: exchanges an authorization code or a refresh token for an access token
//! (RFC 6749 4.1.3 and 6).

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use oauth2::basic::{
    BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::url::Url;
use oauth2::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, ExtraTokenFields, HttpRequest,
    HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use ureq::Agent;

use crate::config::is_loopback;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::net::{agent_config, describe_failure, is_verification_failure};
use crate::oauth::oauth_error::OAuthError;
use crate::process::cancel::{Canceller, WakeOn};
use crate::retry::TOKEN_REQUEST_DELAYS;
use crate::secret::Secret;
use crate::timeouts::{TOKEN_CONNECT_TIMEOUT, TOKEN_REQUEST_TIMEOUT};
use crate::untrusted::Untrusted;

/// Token responses have a few KiB.
const MAX_RESPONSE_LENGTH: u64 = 64 * 1024;

/// For a response without `expires_in`: Google's access tokens expire after an hour.
const DEFAULT_EXPIRES_IN: Duration = Duration::from_hours(1);

/// The only scope with which Gmail accepts an IMAP log-in.
pub(crate) const MAIL_SCOPE: &str = "https://mail.google.com/";

/// The mistake of an address that is not [protected](is_protected).
pub(crate) const MUST_BE_PROTECTED: &str =
    "must begin with https:// (http:// only to this host itself)";

/// This program's registration at Google (RFC 6749 2).
#[derive(Debug, Clone)]
pub(crate) struct ClientRegistration {
    pub(crate) client_id: String,
    /// Google requires it from desktop apps, too, although it is no secret there.
    pub(crate) client_secret: Option<Secret>,
    pub(crate) token_uri: TokenUrl,
}

impl ClientRegistration {
    /// An error that names the token endpoint's host.
    pub(crate) fn endpoint_error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        let host = self.token_uri.url().host_str().unwrap_or_default();
        Error::new(Side::Token, kind, Untrusted::new(host), what)
    }
}

/// The grant that is exchanged for an access token (RFC 6749 1.3).
#[derive(Clone, Copy)]
pub(crate) enum AuthorizationGrant<'a> {
    RefreshToken(&'a Secret),
    /// An authorization code, which is valid for one exchange (RFC 6749 4.1.3).
    Code {
        code: &'a Secret,
        /// The secret whose digest was in the authorization request (RFC 7636).
        pkce_verifier: &'a Secret,
        redirect_uri: &'a RedirectUrl,
    },
}

/// A successful response.
#[derive(Debug)]
pub(crate) struct IssuedTokens {
    pub(crate) access: Secret,
    /// A new refresh token, which replaces the old one.
    pub(crate) refresh: Option<Secret>,
    /// The access token expires this long from now.
    pub(crate) expires_in: Duration,
    /// The refresh token expires this long from now; sent only for an app in "Testing".
    pub(crate) refresh_token_expires_in: Option<Duration>,
    /// Whether the scope covers mail; a user may consent to less than was requested.
    pub(crate) has_mail_scope: bool,
    /// The Date of the response.
    pub(crate) server_time: Option<DateTime<Utc>>,
}

/// Why no token was issued.
#[derive(Debug)]
pub(crate) enum EndpointError {
    /// Google rejected the request, and will do so until the user acts.
    Rejected(OAuthError),
    /// All attempts failed, or the server's certificate could not be verified.
    Unavailable(Error),
}

/// A client of one token endpoint.
pub(crate) struct Endpoint {
    agent: Agent,
    canceller: Canceller,
}

type OAuthClient = Client<
    OAuthError,
    GoogleTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

type GoogleTokenResponse = StandardTokenResponse<GoogleFields, BasicTokenType>;

/// Google's additional response fields.
#[derive(Debug, Serialize, Deserialize)]
struct GoogleFields {
    /// In seconds. Any JSON value is accepted: an invalid one must not cost the token.
    #[serde(default)]
    refresh_token_expires_in: serde_json::Value,
}

impl ExtraTokenFields for GoogleFields {}

/// Why one attempt failed.
enum AttemptError {
    /// Another attempt would fail, too.
    Final(EndpointError),
    /// Another attempt may succeed.
    NotProcessed(String),
    /// Another attempt may succeed, unless this one was processed and has used up the code.
    ResponseLost(String),
}

impl Endpoint {
    /// Trusts the certificates of `ca_file`, or the system's. Opens no connection.
    pub(crate) fn new(uri: &TokenUrl, ca_file: Option<&Path>) -> Result<Endpoint> {
        let is_encrypted = uri.url().scheme() == "https";
        let config = agent_config(is_encrypted, ca_file)
            .map_err(|error| error.on(Side::Token))?
            .timeout_connect(Some(TOKEN_CONNECT_TIMEOUT))
            .max_idle_connections(0)
            .build();
        Ok(Endpoint {
            agent: config.new_agent(),
            canceller: Canceller::default(),
        })
    }

    /// The same, with requests that can be cancelled.
    pub(crate) fn with_canceller(self, canceller: Canceller) -> Endpoint {
        Endpoint { canceller, ..self }
    }

    /// Requests an access token, in up to three attempts.
    pub(crate) fn request_token(
        &self,
        client: &ClientRegistration,
        grant: AuthorizationGrant<'_>,
    ) -> Result<IssuedTokens, EndpointError> {
        let deadline = Instant::now() + TOKEN_REQUEST_TIMEOUT;
        let unavailable =
            |why| EndpointError::Unavailable(client.endpoint_error(ErrorKind::Unavailable, why));
        let is_code = matches!(grant, AuthorizationGrant::Code { .. });
        let mut delays = TOKEN_REQUEST_DELAYS.iter();
        let mut lost_response = None;
        loop {
            let why = match self.try_request(client, grant, deadline) {
                Ok(tokens) => return Ok(tokens),
                Err(AttemptError::Final(error)) => {
                    return Err(match (error, lost_response) {
                        // An earlier attempt whose response was lost may have used up the code.
                        (EndpointError::Rejected(rejection), Some(why))
                            if is_code && rejection.code() == "invalid_grant" =>
                        {
                            unavailable(why)
                        }
                        (error, _) => error,
                    });
                }
                Err(AttemptError::NotProcessed(why)) => why,
                Err(AttemptError::ResponseLost(why)) => {
                    lost_response.get_or_insert_with(|| why.clone());
                    why
                }
            };
            match delays.next() {
                Some(delay) if Instant::now() + *delay < deadline => self.wait(*delay),
                _ => return Err(unavailable(why)),
            }
            if self.canceller.is_cancelled() {
                return Err(unavailable(why));
            }
        }
    }

    fn try_request(
        &self,
        client: &ClientRegistration,
        grant: AuthorizationGrant<'_>,
        deadline: Instant,
    ) -> Result<IssuedTokens, AttemptError> {
        let mut oauth_client = OAuthClient::new(ClientId::new(client.client_id.clone()))
            .set_token_uri(client.token_uri.clone())
            .set_auth_type(AuthType::RequestBody);
        if let Some(secret) = &client.client_secret {
            oauth_client =
                oauth_client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        let (status, server_time) = (Cell::new(None), Cell::new(None));
        let post = |request: HttpRequest| {
            let response = self.post(request, deadline)?;
            status.set(Some(response.status().as_u16()));
            server_time.set(date_of(&response));
            Ok::<HttpResponse, ureq::Error>(response)
        };
        let result = match grant {
            AuthorizationGrant::RefreshToken(token) => oauth_client
                .exchange_refresh_token(&RefreshToken::new(token.expose().to_owned()))
                .request(&post),
            AuthorizationGrant::Code {
                code,
                pkce_verifier,
                redirect_uri,
            } => oauth_client
                .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
                .set_pkce_verifier(PkceCodeVerifier::new(pkce_verifier.expose().to_owned()))
                .set_redirect_uri(Cow::Borrowed(redirect_uri))
                .request(&post),
        };
        let failed = |why| match status.get() {
            Some(300..) => AttemptError::NotProcessed(why),
            _ => AttemptError::ResponseLost(why),
        };
        match result {
            Ok(response) => Ok(IssuedTokens {
                server_time: server_time.get(),
                ..issued_tokens(&response)
            }),
            Err(RequestTokenError::ServerResponse(rejection))
                if !rejection.is_transient() && !status.get().is_some_and(is_transient) =>
            {
                Err(AttemptError::Final(EndpointError::Rejected(rejection)))
            }
            Err(RequestTokenError::Request(error)) if is_verification_failure(&error) => {
                let error = client
                    .endpoint_error(ErrorKind::Unavailable, describe_failure(&error))
                    .remedy("check token_uri, target_ca_file and this host's clock");
                Err(AttemptError::Final(EndpointError::Unavailable(error)))
            }
            Err(RequestTokenError::Request(error)) => Err(failed(describe_failure(&error))),
            // The response is not shown: it may contain a token.
            Err(_) => Err(failed(describe_status(status.get()))),
        }
    }

    fn post(&self, request: HttpRequest, deadline: Instant) -> Result<HttpResponse, ureq::Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let agent = self.agent.clone();
        // The request ends by its own time-out first, with its own error.
        let until = deadline + Duration::from_secs(1);
        self.canceller.run_blocking(until, move || {
            let request = agent
                .configure_request(request)
                .timeout_global(Some(left))
                .build();
            let (head, mut body) = agent.run(request)?.into_parts();
            let octets = body
                .with_config()
                .limit(MAX_RESPONSE_LENGTH)
                .read_to_vec()?;
            Ok(HttpResponse::from_parts(head, octets))
        })?
    }

    fn wait(&self, time: Duration) {
        // Fails only if `poll` does; then the next attempt follows at once.
        let _ = self
            .canceller
            .wait(None, Instant::now() + time, WakeOn::CancelOnly);
    }
}

/// The server's clock (RFC 9110 6.6.1).
fn date_of(response: &HttpResponse) -> Option<DateTime<Utc>> {
    let date = response.headers().get("Date")?.to_str().ok()?;
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    Some(date.to_utc())
}

fn issued_tokens(response: &GoogleTokenResponse) -> IssuedTokens {
    // No scope in the response: all that was requested (RFC 6749 5.1).
    let scopes = response.scopes().filter(|scopes| !scopes.is_empty());
    let refresh_token_expires_in = &response.extra_fields().refresh_token_expires_in;
    IssuedTokens {
        access: Secret::new(response.access_token().secret().clone()),
        refresh: response
            .refresh_token()
            .filter(|token| !token.secret().is_empty())
            .map(|token| Secret::new(token.secret().clone())),
        expires_in: response.expires_in().unwrap_or(DEFAULT_EXPIRES_IN),
        refresh_token_expires_in: refresh_token_expires_in.as_u64().map(Duration::from_secs),
        has_mail_scope: scopes
            .is_none_or(|scopes| scopes.iter().any(|scope| scope.as_str() == MAIL_SCOPE)),
        server_time: None,
    }
}

/// Whether secrets may be sent to this address: over TLS, or to loopback.
pub(crate) fn is_protected(url: &Url) -> bool {
    let is_local = || {
        let host = url.host_str().unwrap_or_default();
        is_loopback(host.trim_matches(['[', ']']))
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_local())
}

/// HTTP statuses of a failure at Google, which another attempt may not meet.
fn is_transient(status: u16) -> bool {
    status >= 500 || matches!(status, 408 | 429)
}

/// What is wrong with a response whose content says nothing.
fn describe_status(status: Option<u16>) -> String {
    match status {
        Some(status @ 300..400) => {
            format!("responds with a redirect (HTTP status {status}), which is not followed")
        }
        Some(200) => "sends a response that cannot be read".to_owned(),
        Some(status) => format!("responds with HTTP status {status}"),
        None => "sends no response".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_request_ends_when_it_is_cancelled() {
        // Connections are accepted by the system, and nobody answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let token_uri = TokenUrl::new(format!("http://127.0.0.1:{port}/")).unwrap();
        let canceller = Canceller::new().unwrap();
        let endpoint = Endpoint::new(&token_uri, None).unwrap();
        let endpoint = endpoint.with_canceller(canceller.clone());
        let client = ClientRegistration {
            client_id: "ID".to_owned(),
            client_secret: None,
            token_uri,
        };
        canceller.cancel_at(Instant::now() + Duration::from_millis(20));
        let refresh = Secret::new("REFRESH".to_owned());
        let grant = AuthorizationGrant::RefreshToken(&refresh);
        let Err(EndpointError::Unavailable(error)) = endpoint.request_token(&client, grant) else {
            panic!("it cannot have succeeded")
        };
        assert!(error.to_string().contains("exiting"), "{error}");
    }
}
