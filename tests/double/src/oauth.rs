//! Google's OAuth endpoints, over HTTP on loopback (GMAIL.md 7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use serde_json::json;

use self::http::{Delivery, Response};
use crate::clock::Clock;
use crate::gmail::Gmail;
use crate::tokens::{MAIL_SCOPE, Tokens};

/// The consent page.
mod consent;
/// Requests and responses.
mod http;
/// The responses.
mod rules;

pub(crate) use http::{Stream, open};
pub use rules::token_rejections;

/// A fault of the token endpoint. The consent page never fails, so that the flow gets as far as the
/// token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EndpointFault {
    /// No fault.
    #[default]
    None,
    /// Redirects every request.
    Redirect(String),
    /// Works after this delay.
    Slow(Duration),
    /// Works once this fault is removed.
    Held,
    /// Works, but sends the body octet by octet with this pause before each.
    Trickle(Duration),
    /// Closes the connection without a response.
    Cut,
    /// Works, but closes the connection without a response.
    AnswerLost,
    /// Works, but closes the connection in the middle of the response.
    HalfAnswer,
    /// Works, but the response has an unknown field of this many octets.
    Huge(usize),
    /// Works, but sends this `Content-Type`.
    ContentType(String),
}

/// What the user does on the consent page, and how Google redirects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Consent {
    /// The user consents to everything: the browser is redirected at once.
    #[default]
    Given,
    /// The user denies: `error=access_denied`.
    Denied,
    /// The user consents, but the redirect has another `state`.
    WrongState,
    /// The user consents to this scope only.
    Only(String),
    /// A page is shown: `#account` is the account, `#mail` the mail scope, `#allow` and `#cancel` are
    /// buttons.
    Asked,
}

/// The options of the OAuth endpoints.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The lifetime of access tokens.
    pub lifetime: Duration,
    /// The response to every request for a token: status and body; a body that begins with `<` is HTML.
    /// `token_rejections` has those of Google.
    pub refusal: Option<(u16, String)>,
    /// The fault of the token endpoint.
    pub fault: EndpointFault,
    /// Whether each renewal issues another refresh token and revokes the one before.
    pub rotates: bool,
    /// The `refresh_token_expires_in` of an app in "Testing", which is 604799 seconds.
    pub refresh_expires_in: Option<Duration>,
    /// Whether responses have unknown fields.
    pub has_extra_fields: bool,
    /// What the user does on the consent page.
    pub consent: Consent,
    /// The account that signs in unless one is typed; by default that of the Gmail double.
    pub account: Option<String>,
    /// Whether a code yields no refresh token, whatever was requested.
    pub omits_refresh_token: bool,
    /// The lifetime of a code.
    pub code_lifetime: Duration,
}

impl Default for TokenOptions {
    fn default() -> TokenOptions {
        TokenOptions {
            client_id: "123-abc.apps.googleusercontent.com".to_owned(),
            client_secret: "GOCSPX-double".to_owned(),
            lifetime: Duration::from_secs(3599),
            refusal: None,
            fault: EndpointFault::None,
            rotates: false,
            refresh_expires_in: None,
            has_extra_fields: false,
            consent: Consent::Given,
            account: None,
            omits_refresh_token: false,
            code_lifetime: Duration::from_mins(10),
        }
    }
}

/// A consent, from which tokens are issued.
#[derive(Debug, Clone)]
struct Grant {
    user: String,
    scope: String,
    /// The access tokens issued from it.
    issued: BTreeSet<String>,
}

/// An unused authorization code.
#[derive(Debug, Clone)]
struct Code {
    client_id: String,
    redirect_uri: String,
    challenge: String,
    user: String,
    scope: String,
    /// Whether `access_type=offline` and `prompt=consent` were requested.
    is_for_long: bool,
    expires: DateTime<Utc>,
}

struct State {
    options: TokenOptions,
    user: String,
    tokens: Tokens,
    clock: Clock,
    /// By refresh token.
    grants: BTreeMap<String, Grant>,
    codes: BTreeMap<String, Code>,
    counted: usize,
    requests: Vec<BTreeMap<String, String>>,
    authorizations: Vec<BTreeMap<String, String>>,
    visits: Vec<String>,
}

impl State {
    fn new(gmail: &Gmail) -> State {
        State {
            options: TokenOptions::default(),
            user: gmail.user(),
            tokens: gmail.tokens().clone(),
            clock: gmail.clock().clone(),
            grants: BTreeMap::new(),
            codes: BTreeMap::new(),
            counted: 0,
            requests: Vec::new(),
            authorizations: Vec::new(),
            visits: Vec::new(),
        }
    }

    fn count(&mut self) -> usize {
        self.counted += 1;
        self.counted
    }

    fn grant(&mut self, user: &str, scope: &str) -> String {
        let token = format!("1//0gdouble-{:04}_refresh", self.count());
        let grant = Grant {
            user: user.to_owned(),
            scope: scope.to_owned(),
            issued: BTreeSet::new(),
        };
        self.grants.insert(token.clone(), grant);
        token
    }

    /// Revokes a refresh token and its access tokens; returns whether it existed.
    fn revoke(&mut self, refresh_token: &str) -> bool {
        let grant = self.grants.remove(refresh_token);
        for token in grant.iter().flat_map(|grant| &grant.issued) {
            self.tokens.revoke(token);
        }
        grant.is_some()
    }
}

/// Google's running endpoints; dropping stops them.
pub struct TokenEndpoint {
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
    /// The port for programs.
    door: Door,
    /// The port for browsers, which do not trust the certificate.
    plain_door: Option<Door>,
}

/// An open port.
struct Door {
    port: u16,
    is_secure: bool,
    listener: Option<JoinHandle<()>>,
}

impl TokenEndpoint {
    /// Starts endpoints in plain text, whose tokens this Gmail accepts.
    #[must_use]
    pub fn start(gmail: &Gmail) -> TokenEndpoint {
        TokenEndpoint::listen(gmail, None)
    }

    /// The same by TLS with the certificate of that Gmail; only the consent page is in plain text.
    #[must_use]
    pub fn start_secure(gmail: &Gmail) -> TokenEndpoint {
        TokenEndpoint::listen(gmail, Some(gmail.tls()))
    }

    fn listen(gmail: &Gmail, tls: Option<Arc<ServerConfig>>) -> TokenEndpoint {
        let state = Arc::new(Mutex::new(State::new(gmail)));
        let stopping = Arc::new(AtomicBool::new(false));
        let plain_door = tls.is_some().then(|| Door::open(&state, &stopping, None));
        TokenEndpoint {
            door: Door::open(&state, &stopping, tls),
            plain_door,
            state,
            stopping,
        }
    }

    /// The `token_uri`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/token", self.door.root())
    }

    /// The `auth_uri`, for a browser: always in plain text.
    #[must_use]
    pub fn auth_url(&self) -> String {
        let door = self.plain_door.as_ref().unwrap_or(&self.door);
        format!("{}/o/oauth2/auth", door.root())
    }

    /// The revocation endpoint.
    #[must_use]
    pub fn revoke_url(&self) -> String {
        format!("{}/revoke", self.door.root())
    }

    /// Changes the options.
    pub fn change(&self, change: impl FnOnce(&mut TokenOptions)) {
        change(&mut self.state.lock().unwrap().options);
    }

    /// A refresh token of this user, as after a consent.
    #[must_use]
    pub fn grant(&self, user: &str) -> String {
        self.state.lock().unwrap().grant(user, MAIL_SCOPE)
    }

    /// Revokes a refresh token and its access tokens.
    pub fn revoke(&self, refresh_token: &str) {
        self.state.lock().unwrap().revoke(refresh_token);
    }

    /// The user changes the password, which revokes all tokens (GMAIL.md 7.4).
    pub fn change_password(&self, user: &str) {
        let mut state = self.state.lock().unwrap();
        state.grants.retain(|_, grant| grant.user != user);
        state.tokens.revoke_all(user);
    }

    /// The forms posted to the token endpoint so far.
    #[must_use]
    pub fn requests(&self) -> Vec<BTreeMap<String, String>> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The parameters of the authorization requests so far, including rejected ones.
    #[must_use]
    pub fn authorizations(&self) -> Vec<BTreeMap<String, String>> {
        self.state.lock().unwrap().authorizations.clone()
    }

    /// The request lines so far: `POST /token`.
    #[must_use]
    pub fn visits(&self) -> Vec<String> {
        self.state.lock().unwrap().visits.clone()
    }

    /// A token file for this user in google-auth's format (GMAIL.md 7.5), without access token.
    #[must_use]
    pub fn token_json(&self, user: &str) -> String {
        let refresh_token = self.grant(user);
        let options = self.state.lock().unwrap().options.clone();
        let file = json!({
            "refresh_token": refresh_token,
            "token_uri": self.url(),
            "client_id": options.client_id,
            "client_secret": options.client_secret,
            "scopes": [MAIL_SCOPE],
            "universe_domain": "googleapis.com",
            "account": "",
        });
        file.to_string()
    }

    /// The `client_secret.json` of a desktop app (GMAIL.md 7.5).
    #[must_use]
    pub fn client_secret_json(&self) -> String {
        let options = self.state.lock().unwrap().options.clone();
        let file = json!({ "installed": {
            "client_id": options.client_id,
            "project_id": "my-proj",
            "auth_uri": self.auth_url(),
            "token_uri": self.url(),
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_secret": options.client_secret,
            "redirect_uris": ["http://localhost"],
        }});
        file.to_string()
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.door.close();
        if let Some(door) = &mut self.plain_door {
            door.close();
        }
    }
}

impl Door {
    fn open(
        state: &Arc<Mutex<State>>,
        stopping: &Arc<AtomicBool>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Door {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_secure = tls.is_some();
        let (state, stopping) = (state.clone(), stopping.clone());
        let listener = thread::spawn(move || accept(&listener, &state, &stopping, tls.as_ref()));
        Door {
            port,
            is_secure,
            listener: Some(listener),
        }
    }

    fn root(&self) -> String {
        let (scheme, host) = if self.is_secure {
            ("https", "localhost")
        } else {
            ("http", "127.0.0.1")
        };
        format!("{scheme}://{host}:{}", self.port)
    }

    fn close(&mut self) {
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// An open connection.
struct Visit {
    socket: TcpStream,
    served: JoinHandle<()>,
}

fn accept(
    listener: &TcpListener,
    state: &Arc<Mutex<State>>,
    stopping: &Arc<AtomicBool>,
    tls: Option<&Arc<ServerConfig>>,
) {
    let mut visits: Vec<Visit> = Vec::new();
    while let Ok((socket, _)) = listener.accept() {
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        visits.retain(|visit| !visit.served.is_finished());
        let Ok(theirs) = socket.try_clone() else {
            continue;
        };
        let (state, stopping, tls) = (state.clone(), stopping.clone(), tls.cloned());
        let served = thread::spawn(move || {
            let Ok(closing) = theirs.try_clone() else {
                return;
            };
            // An error of one client does not matter.
            let _ = receive(theirs, tls.as_ref(), &state, &stopping);
            let _ = closing.shutdown(Shutdown::Both);
        });
        visits.push(Visit { socket, served });
    }
    for visit in visits {
        // Browsers open connections in advance and may never use them.
        let _ = visit.socket.shutdown(Shutdown::Read);
        let _ = visit.served.join();
    }
}

fn receive(
    socket: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    state: &Mutex<State>,
    stopping: &AtomicBool,
) -> std::io::Result<()> {
    let mut stream = http::open(socket, tls)?;
    let request = http::read(&mut stream)?;
    let fault = {
        let mut state = state.lock().unwrap();
        state
            .visits
            .push(format!("{} {}", request.method, request.path));
        if rules::is_for_browsers(&request) {
            EndpointFault::None
        } else {
            state.options.fault.clone()
        }
    };
    let respond = || rules::respond(&request, &mut state.lock().unwrap());
    let mut delivery = Delivery::Whole;
    let response = match fault {
        EndpointFault::Cut => return Ok(()),
        EndpointFault::Redirect(to) => Response::redirect(&to),
        EndpointFault::AnswerLost => {
            respond();
            return Ok(());
        }
        EndpointFault::Slow(time) => {
            wait(time, stopping);
            respond()
        }
        EndpointFault::Held => {
            while state.lock().unwrap().options.fault == EndpointFault::Held
                && !stopping.load(Ordering::SeqCst)
            {
                thread::sleep(Duration::from_millis(5));
            }
            respond()
        }
        EndpointFault::Trickle(pause) => {
            delivery = Delivery::Trickle(pause);
            respond()
        }
        EndpointFault::HalfAnswer => {
            delivery = Delivery::Half;
            respond()
        }
        EndpointFault::Huge(octets) => padded(respond(), octets),
        EndpointFault::ContentType(kind) => Response { kind, ..respond() },
        EndpointFault::None => respond(),
    };
    let date = state.lock().unwrap().clock.now();
    http::write(&mut stream, &response, date, delivery, || {
        !stopping.load(Ordering::SeqCst)
    })
}

/// The same JSON with a field of this many octets.
fn padded(response: Response, octets: usize) -> Response {
    let padding = format!("{{\"padding\":\"{}\",", "x".repeat(octets));
    Response {
        body: response.body.replacen('{', &padding, 1),
        ..response
    }
}

/// Waits this long, or until the server stops.
fn wait(time: Duration, stopping: &AtomicBool) {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline && !stopping.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(5));
    }
}
