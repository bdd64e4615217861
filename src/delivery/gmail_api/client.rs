//! Requests to the Gmail API: HTTP/1.1 with an access token, over connections that are kept for the next
//! request.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, HeaderValue, Request, header};
use ureq::{Agent, SendBody};

use crate::config::ImportConfig;
use crate::delivery::gmail_api::upload_body::UploadBody;
use crate::delivery::gmail_imap::GmailAccount;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::net::{agent_config, describe_failure, is_verification_failure};
use crate::process::cancel::Canceller;
use crate::secret::Secret;
use crate::timeouts::{API_IDLE_TIMEOUT, API_REQUEST_TIMEOUT};

/// Lists of labels have some 100 KiB; the other responses less.
const MAX_RESPONSE_LENGTH: u64 = 4 << 20;

/// A client of the API; the connections of all workers.
pub(super) struct ApiClient {
    agent: Agent,
    account: Arc<GmailAccount>,
    /// `https://gmail.googleapis.com`.
    base: String,
}

/// A request; it may be sent several times.
pub(super) struct ApiRequest {
    pub method: &'static str,
    /// Path and query, or the whole address of an upload.
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: UploadBody,
}

/// A response of any status.
pub(super) struct ApiResponse {
    pub status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Why there is no response.
pub(super) enum RequestError {
    /// The connection failed, or was lost.
    NoResponse(LostRequest),
    /// Another request would fail, too: there is no access token, or the certificate is wrong.
    Fatal(Error),
}

/// A request without response.
pub(super) struct LostRequest {
    pub why: String,
    /// How much of its body the server may have.
    pub sent: SentBody,
}

/// How much of a body the server may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SentBody {
    Nothing,
    Part,
    All,
}

impl ApiResponse {
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Its content; `None` if that is not what it should be.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The text of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// After how many seconds to ask again (RFC 9110 10.2.3); a date is not understood.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header("Retry-After")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

impl ApiClient {
    /// Opens no connection.
    ///
    /// # Errors
    /// The trusted certificates cannot be loaded.
    pub fn new(account: Arc<GmailAccount>, config: &ImportConfig) -> Result<ApiClient> {
        let target = account.config();
        let timeouts = account.connection_options().timeouts;
        let ca_file = target.server.ca_file.as_deref();
        let is_encrypted = config.api.starts_with("https:");
        let agent_config = agent_config(is_encrypted, ca_file)
            .map_err(|error| error.on(Side::Gmail))?
            .timeout_connect(Some(timeouts.connect))
            .timeout_per_read(Some(timeouts.response))
            .timeout_per_write(Some(timeouts.response))
            .timeout_recv_body(Some(timeouts.response))
            .max_idle_connections(target.connections)
            .max_idle_connections_per_host(target.connections)
            .max_idle_age(API_IDLE_TIMEOUT)
            .build();
        Ok(ApiClient {
            agent: agent_config.new_agent(),
            base: config.api.clone(),
            account,
        })
    }

    /// An error of the API.
    pub fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        let host = self.base.split("://").last().unwrap_or_default();
        Error::new(Side::Gmail, kind, host, what)
    }

    pub fn canceller(&self) -> &Canceller {
        &self.account.connection_options().canceller
    }

    /// The address of a path of the API.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Whether the access token may be sent to this address: the API's own.
    pub fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.base)
            .is_some_and(|path| path.starts_with('/'))
    }

    /// Sends a request. If the access token is rejected, it is renewed once.
    pub fn send(&self, request: &ApiRequest) -> Result<ApiResponse, RequestError> {
        let access = self.account.access_token().map_err(RequestError::Fatal)?;
        let response = self.send_with(request, &access)?;
        if response.status != 401 {
            return Ok(response);
        }
        log::info!("the Gmail API rejected the access token; renewing it once");
        let renewed = self.account.renew_token(&access);
        let response = self.send_with(request, &renewed.map_err(RequestError::Fatal)?)?;
        if response.status == 401 {
            let what = "it rejects the access token";
            let error = self.error(ErrorKind::Rejected, what);
            return Err(RequestError::Fatal(self.account.rejected_token(error)));
        }
        Ok(response)
    }

    fn send_with(
        &self,
        request: &ApiRequest,
        access: &Secret,
    ) -> Result<ApiResponse, RequestError> {
        let body = request.body.unsent();
        let progress = body.progress();
        let mut head = Request::builder()
            .method(request.method)
            .uri(&request.url)
            .header(header::CONTENT_LENGTH, body.len());
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        // A token that cannot be in a field is rejected by all servers.
        if let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", access.expose())) {
            bearer.set_sensitive(true);
            head = head.header(header::AUTHORIZATION, bearer);
        }
        let agent = self.agent.clone();
        let counter = self.account.connection_options().octets.clone();
        let until = Instant::now() + API_REQUEST_TIMEOUT;
        let result = self.canceller().run_blocking(until, move || {
            let reader = body.reader(counter);
            let request = head.body(SendBody::from_owned_reader(reader))?;
            let (head, mut body) = agent.run(request)?.into_parts();
            let body = body
                .with_config()
                .limit(MAX_RESPONSE_LENGTH)
                .read_to_vec()?;
            Ok::<ApiResponse, ureq::Error>(ApiResponse {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        });
        let failure = match result {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(failure)) => failure,
            Err(failure) => {
                // The thread of the request may still be running, and would send the rest.
                progress.stop();
                ureq::Error::Io(failure)
            }
        };
        if is_verification_failure(&failure) && progress.sent() == SentBody::Nothing {
            let error = self.error(ErrorKind::Unavailable, describe_failure(&failure));
            let remedy = "check target_api, target_ca_file and this host's clock";
            return Err(RequestError::Fatal(error.remedy(remedy)));
        }
        Err(RequestError::NoResponse(LostRequest {
            why: describe(&failure),
            sent: progress.sent(),
        }))
    }
}

fn describe(failure: &ureq::Error) -> String {
    match failure {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed before the response".to_owned()
        }
        other => describe_failure(other),
    }
}
