//! The token endpoint: how a refresh token becomes an access token (RFC 6749 6).

use std::cell::Cell;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use oauth2::basic::{
    BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenResponse,
};
use oauth2::{
    AuthType, Client, ClientId, ClientSecret, ErrorResponse, HttpRequest, HttpResponse,
    RefreshToken, RequestTokenError, StandardRevocableToken, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::file::TokenFile;
use crate::connection::{Trust, crypto_provider, reason};
use crate::error::Result;
use crate::foreign::Foreign;
use crate::secret::Secret;

const TO_CONNECT: Duration = Duration::from_secs(20);

/// For one renewal, all tries together.
const TO_RENEW: Duration = Duration::from_mins(1);

/// Between the three tries; google-auth waits as long.
const PAUSES: [Duration; 2] = if cfg!(test) {
    [Duration::from_millis(1), Duration::from_millis(2)]
} else {
    [Duration::from_secs(1), Duration::from_secs(2)]
};

/// Token answers have a few kilobytes at most.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Google's access tokens live an hour; for an answer that does not say.
const USUAL_LIFE: Duration = Duration::from_hours(1);

/// The one scope that opens IMAP.
const MAIL_SCOPE: &str = "https://mail.google.com/";

/// What Google gives for a refresh token.
pub(super) struct Grant {
    /// The access token.
    pub(super) access: Secret,
    /// A new refresh token, which replaces the old one.
    pub(super) refresh: Option<Secret>,
    /// How long the access token lives from now.
    pub(super) life: Duration,
}

/// Why there is no new access token.
pub(super) enum Failure {
    /// Google says no, and will say so again until a person acts.
    Refused(Complaint),
    /// Nobody could be asked, three times: why, for a person.
    Unavailable(String),
    /// Whoever was asked could not prove who it is: why, for a person.
    Unproven(String),
}

/// An error as the token endpoint words it (RFC 6749 5.2).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Complaint {
    error: String,
    error_description: Option<String>,
    error_subtype: Option<String>,
}

impl ErrorResponse for Complaint {}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Foreign::new(&self.error).fmt(f)
    }
}

impl Complaint {
    /// The error's code.
    pub(super) fn code(&self) -> &str {
        &self.error
    }

    /// Google's explanation, if it gives one.
    pub(super) fn description(&self) -> &str {
        self.error_description.as_deref().unwrap_or_default()
    }

    /// Says whether a Workspace's session control asks for a new log-in.
    pub(super) fn is_session_control(&self) -> bool {
        let subtype = self.error_subtype.as_deref().unwrap_or_default();
        subtype.contains("rapt") || self.description().contains("rapt")
    }

    /// Says whether this is Google's trouble and not about us; the texts are google-auth's.
    fn is_transient(&self) -> bool {
        let transient = |text: &str| {
            matches!(
                text,
                "internal_failure" | "server_error" | "temporarily_unavailable"
            )
        };
        transient(&self.error) || transient(self.description())
    }
}

/// The way to a token endpoint.
pub(super) struct Endpoint {
    agent: Agent,
}

type OAuthClient = Client<
    Complaint,
    BasicTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// What came of one try.
enum Answer {
    Granted(Grant),
    Refused(Complaint),
    /// It may go better the next time.
    Failed(String),
    /// The server could not prove who it is, and will not the next moment.
    Unproven(String),
}

impl Endpoint {
    /// Opens nothing yet; trusts the certificates of `ca_file`, or the system's.
    pub(super) fn new(uri: &TokenUrl, ca_file: Option<&Path>) -> Result<Endpoint> {
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
            .timeout_connect(Some(TO_CONNECT))
            .max_idle_connections(0)
            .build();
        Ok(Endpoint {
            agent: config.new_agent(),
        })
    }

    /// Asks for a new access token.
    pub(super) fn renew(
        &self,
        file: &TokenFile,
        client_id: &str,
        refresh: &Secret,
    ) -> Result<Grant, Failure> {
        let deadline = Instant::now() + TO_RENEW;
        let mut pauses = PAUSES.iter();
        loop {
            let why = match self.ask(file, client_id, refresh, deadline) {
                Answer::Granted(grant) => return Ok(grant),
                Answer::Refused(complaint) => return Err(Failure::Refused(complaint)),
                Answer::Unproven(why) => return Err(Failure::Unproven(why)),
                Answer::Failed(why) => why,
            };
            match pauses.next() {
                Some(pause) if Instant::now() + *pause < deadline => thread::sleep(*pause),
                _ => return Err(Failure::Unavailable(why)),
            }
        }
    }

    fn ask(
        &self,
        file: &TokenFile,
        client_id: &str,
        refresh: &Secret,
        deadline: Instant,
    ) -> Answer {
        let mut client = OAuthClient::new(ClientId::new(client_id.to_owned()))
            .set_token_uri(file.token_uri().clone())
            .set_auth_type(AuthType::RequestBody);
        if let Some(secret) = file.client_secret() {
            client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        let status = Cell::new(None);
        let post = |request: HttpRequest| {
            let response = self.post(request, deadline)?;
            status.set(Some(response.status().as_u16()));
            Ok::<HttpResponse, ureq::Error>(response)
        };
        let refresh = RefreshToken::new(refresh.expose().to_owned());
        match client.exchange_refresh_token(&refresh).request(&post) {
            Ok(response) => Answer::Granted(granted(&response)),
            Err(RequestTokenError::ServerResponse(complaint)) => {
                if complaint.is_transient() || status.get().is_some_and(is_transient) {
                    Answer::Failed(answered(status.get()))
                } else {
                    Answer::Refused(complaint)
                }
            }
            Err(RequestTokenError::Request(error)) if is_about_identity(&error) => {
                Answer::Unproven(describe(&error))
            }
            Err(RequestTokenError::Request(error)) => Answer::Failed(describe(&error)),
            // What the answer says instead is not shown: it may hold a token.
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                Answer::Failed(answered(status.get()))
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

fn granted(response: &BasicTokenResponse) -> Grant {
    let scopes = response.scopes().filter(|scopes| !scopes.is_empty());
    if scopes.is_some_and(|scopes| scopes.iter().all(|scope| scope.as_str() != MAIL_SCOPE)) {
        log::warn!(
            "the renewed token does not give access to mail: the scope {MAIL_SCOPE} is missing"
        );
    }
    Grant {
        access: Secret::new(response.access_token().secret().clone()),
        refresh: response
            .refresh_token()
            .map(|token| Secret::new(token.secret().clone())),
        life: response.expires_in().unwrap_or(USUAL_LIFE),
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
        ureq::Error::Io(error) => Foreign::new(&reason(error)).to_string(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "the name has no address".to_owned(),
        other => Foreign::new(&other.to_string()).to_string(),
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
