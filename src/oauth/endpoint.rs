//! The token endpoint: how a person's consent or a refresh token becomes an access token
//! (RFC 6749 4.1.3 and 6).

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use oauth2::basic::{
    BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, ExtraTokenFields, HttpRequest,
    HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::Result;
use crate::net::{Trust, crypto_provider, describe_io_error};
use crate::oauth::OAuthError;
use crate::retry::TOKEN_REQUEST_DELAYS;
use crate::secret::Secret;
use crate::timeouts::TOKEN_CONNECT_TIMEOUT;
use crate::timeouts::TOKEN_REQUEST_TIMEOUT;
use crate::untrusted::Untrusted;

/// Token answers have a few kilobytes at most.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Google's access tokens live an hour; for an answer that does not say.
const USUAL_LIFE: Duration = Duration::from_hours(1);

/// The one scope that opens IMAP.
pub(crate) const MAIL_SCOPE: &str = "https://mail.google.com/";

/// The program that the person allows in, as Google knows it (RFC 6749 2.3).
#[derive(Debug, Clone)]
pub(crate) struct ClientRegistration {
    /// Its public name.
    pub(crate) client_id: String,
    /// Its password. Google wants it from desktop apps, too, although everybody can read it there.
    pub(crate) client_secret: Option<Secret>,
    /// Where it gets its tokens.
    pub(crate) token_uri: TokenUrl,
}

/// For what an access token is given.
#[derive(Clone, Copy)]
pub(crate) enum AuthorizationGrant<'a> {
    /// For a refresh token.
    Refresh(&'a Secret),
    /// For a person's consent, which is good for one exchange (RFC 6749 4.1.3, RFC 7636).
    Consent {
        /// The authorization code.
        code: &'a Secret,
        /// The secret whose digest the person's browser took along.
        verifier: &'a Secret,
        /// Where the browser was sent back to.
        redirect_uri: &'a RedirectUrl,
    },
}

/// What Google gives.
#[derive(Debug)]
pub(crate) struct IssuedTokens {
    /// The access token.
    pub(crate) access: Secret,
    /// A new refresh token, which replaces the old one.
    pub(crate) refresh: Option<Secret>,
    /// How long the access token lives from now.
    pub(crate) expires_in: Duration,
    /// How long the refresh token lives from now; said only of an app in "Testing".
    pub(crate) refresh_token_expires_in: Option<Duration>,
    /// Whether it gives access to mail; a person may consent to less than was asked for.
    pub(crate) has_mail_scope: bool,
}

/// Why there is no new access token.
#[derive(Debug)]
pub(crate) enum EndpointError {
    /// Google says no, and will say so again until a person acts.
    Rejected(OAuthError),
    /// Nobody could be asked, three times: why, for a person.
    Unavailable(String),
    /// Whoever was asked could not prove who it is: why, for a person.
    NotVerified(String),
}

/// The way to a token endpoint.
pub(crate) struct Endpoint {
    agent: Agent,
}

type OAuthClient = Client<
    OAuthError,
    GoogleTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

type GoogleTokenResponse = StandardTokenResponse<GoogleFields, BasicTokenType>;

/// What Google adds to an answer.
#[derive(Debug, Serialize, Deserialize)]
struct GoogleFields {
    /// In seconds. Any value is let in: what cannot be read must not cost the token.
    #[serde(default)]
    refresh_token_expires_in: serde_json::Value,
}

impl ExtraTokenFields for GoogleFields {}

/// What came of one try.
enum RequestOutcome {
    Issued(IssuedTokens),
    Rejected(OAuthError),
    /// It may go better the next time: why, and whether the endpoint may have done its work.
    Failed {
        why: String,
        may_have_worked: bool,
    },
    /// The server could not prove who it is, and will not the next moment.
    NotVerified(String),
}

impl Endpoint {
    /// Opens nothing yet; trusts the certificates of `ca_file`, or the system's.
    pub(crate) fn new(uri: &TokenUrl, ca_file: Option<&Path>) -> Result<Endpoint> {
        let is_encrypted = uri.url().scheme() == "https";
        let tls = is_encrypted.then(|| tls(ca_file)).transpose()?;
        let config = Agent::config_builder()
            .tls_config(tls.unwrap_or_default())
            .https_only(is_encrypted)
            // Secrets go where the file says, and nowhere that an answer says.
            .max_redirects(0)
            .http_status_as_error(false)
            // The mail itself takes no proxy either.
            .proxy(None)
            .timeout_connect(Some(TOKEN_CONNECT_TIMEOUT))
            .max_idle_connections(0)
            .build();
        Ok(Endpoint {
            agent: config.new_agent(),
        })
    }

    /// Asks for an access token, three times if need be.
    pub(crate) fn request_token(
        &self,
        who: &ClientRegistration,
        proof: AuthorizationGrant<'_>,
    ) -> Result<IssuedTokens, EndpointError> {
        let deadline = Instant::now() + TOKEN_REQUEST_TIMEOUT;
        let mut pauses = TOKEN_REQUEST_DELAYS.iter();
        let mut lost = None;
        loop {
            let why = match self.try_request(who, proof, deadline) {
                RequestOutcome::Issued(grant) => return Ok(grant),
                RequestOutcome::Rejected(complaint) => {
                    // An answer that could not be had may have been the one that used the code up.
                    return Err(
                        match lost.filter(|_| matches!(proof, AuthorizationGrant::Consent { .. })) {
                            Some(why) if complaint.code() == "invalid_grant" => {
                                EndpointError::Unavailable(why)
                            }
                            _ => EndpointError::Rejected(complaint),
                        },
                    );
                }
                RequestOutcome::NotVerified(why) => return Err(EndpointError::NotVerified(why)),
                RequestOutcome::Failed {
                    why,
                    may_have_worked,
                } => {
                    if may_have_worked {
                        lost.get_or_insert_with(|| why.clone());
                    }
                    why
                }
            };
            match pauses.next() {
                Some(pause) if Instant::now() + *pause < deadline => thread::sleep(*pause),
                _ => return Err(EndpointError::Unavailable(why)),
            }
        }
    }

    fn try_request(
        &self,
        who: &ClientRegistration,
        proof: AuthorizationGrant<'_>,
        deadline: Instant,
    ) -> RequestOutcome {
        let mut client = OAuthClient::new(ClientId::new(who.client_id.clone()))
            .set_token_uri(who.token_uri.clone())
            .set_auth_type(AuthType::RequestBody);
        if let Some(secret) = &who.client_secret {
            client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        let status = Cell::new(None);
        let post = |request: HttpRequest| {
            let response = self.post(request, deadline)?;
            status.set(Some(response.status().as_u16()));
            Ok::<HttpResponse, ureq::Error>(response)
        };
        let answer = match proof {
            AuthorizationGrant::Refresh(token) => client
                .exchange_refresh_token(&RefreshToken::new(token.expose().to_owned()))
                .request(&post),
            AuthorizationGrant::Consent {
                code,
                verifier,
                redirect_uri,
            } => client
                .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
                .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
                .set_redirect_uri(std::borrow::Cow::Borrowed(redirect_uri))
                .request(&post),
        };
        let failed = |why| RequestOutcome::Failed {
            why,
            may_have_worked: status.get().is_none_or(|status| status < 300),
        };
        match answer {
            Ok(response) => RequestOutcome::Issued(granted(&response)),
            Err(RequestTokenError::ServerResponse(complaint)) => {
                if complaint.is_transient() || status.get().is_some_and(is_transient) {
                    failed(answered(status.get()))
                } else {
                    RequestOutcome::Rejected(complaint)
                }
            }
            Err(RequestTokenError::Request(error)) if is_about_identity(&error) => {
                RequestOutcome::NotVerified(describe(&error))
            }
            Err(RequestTokenError::Request(error)) => failed(describe(&error)),
            // What the answer says instead is not shown: it may hold a token.
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                failed(answered(status.get()))
            }
        }
    }

    fn post(&self, request: HttpRequest, deadline: Instant) -> Result<HttpResponse, ureq::Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(left))
            .build();
        let (head, mut body) = self.agent.run(request)?.into_parts();
        let octets = body.with_config().limit(LARGEST_ANSWER).read_to_vec()?;
        Ok(HttpResponse::from_parts(head, octets))
    }
}

/// TLS as the connections to the mail server of the same account have it.
fn tls(ca_file: Option<&Path>) -> Result<TlsConfig> {
    let trust = Trust::load(ca_file)?;
    let certificates: Vec<Certificate<'static>> = trust
        .certificates()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(crypto_provider())
        .build())
}

fn granted(response: &GoogleTokenResponse) -> IssuedTokens {
    // None told: as was asked for (RFC 6749 5.1).
    let scopes = response.scopes().filter(|scopes| !scopes.is_empty());
    let refresh_life = &response.extra_fields().refresh_token_expires_in;
    IssuedTokens {
        access: Secret::new(response.access_token().secret().clone()),
        refresh: response
            .refresh_token()
            .filter(|token| !token.secret().is_empty())
            .map(|token| Secret::new(token.secret().clone())),
        expires_in: response.expires_in().unwrap_or(USUAL_LIFE),
        refresh_token_expires_in: refresh_life.as_u64().map(Duration::from_secs),
        has_mail_scope: scopes
            .is_none_or(|scopes| scopes.iter().any(|scope| scope.as_str() == MAIL_SCOPE)),
    }
}

/// Statuses that say nothing about the request: it is Google's trouble.
fn is_transient(status: u16) -> bool {
    status >= 500 || matches!(status, 408 | 429)
}

/// A certificate that is not believed is what TLS calls invalid data.
fn is_about_identity(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData)
}

/// What kept us from an answer, in words for a person.
fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => Untrusted::new(&describe_io_error(error)).to_string(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "the name has no address".to_owned(),
        other => Untrusted::new(&other.to_string()).to_string(),
    }
}

fn answered(status: Option<u16>) -> String {
    match status {
        Some(status @ 300..400) => {
            format!("answers with a redirection (HTTP status {status}), which is not followed")
        }
        Some(200) => "gives an answer that cannot be read".to_owned(),
        Some(status) => format!("answers with HTTP status {status}"),
        None => "gives no answer".to_owned(),
    }
}
