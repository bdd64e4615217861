//! The Gmail API: labels, and imports of messages into the account that the Gmail double shows by IMAP
//! (GMAIL.md 6.2).

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use serde_json::json;

use self::http::{Answer, Head, HttpConnection};
use crate::gmail::Gmail;
use crate::oauth;
use crate::server::Shared;

mod http;
/// What an import stores.
mod import;
mod labels;
/// Uploads: in one request, or in several.
mod upload;

use upload::Uploads;

/// A fault of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiFault {
    /// Answers so, and does nothing: status, reason and message of Google's error JSON.
    Error(u16, &'static str, &'static str),
    /// The same, with this `Retry-After`.
    RetryLater(u16, &'static str, u64),
    /// Answers with this status and text, and does nothing.
    Text(u16, &'static str),
    /// Answers 200 with this `Location`, and does nothing.
    Elsewhere(&'static str),
    /// Closes the connection before it has read anything of the body.
    CutBeforeBody,
    /// Closes the connection after so many octets of the body.
    CutAfter(usize),
    /// Closes the connection when all of the body but the last octet was read.
    CutBeforeLastOctet,
    /// Reads the body, does nothing, and closes the connection.
    CutAfterBody,
    /// Does what was requested, and closes the connection without an answer.
    AnswerLost,
    /// Does what was requested, and answers with this status as if it had failed.
    DoneWithStatus(u16),
    /// Does what was requested, and closes the connection in the middle of the answer.
    HalfAnswer,
    /// Reads the body, closes the connection, and does what was requested this much later, by the server's
    /// clock.
    DoneLater(Duration),
    /// Does nothing, and leaves the connection open for so long.
    Stall(Duration),
    /// Keeps so many octets more of an upload than before, and answers with what it has (status 308).
    Keep(usize),
    /// Reads so many octets of the body, waits, and goes on as without a fault.
    PauseAfter(usize, Duration),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    /// Counted from 1.
    pub number: usize,
    /// The connection, counted from 1.
    pub connection: usize,
    /// Such as `POST`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// Its `Content-Length`.
    pub octets: usize,
    /// The status of the answer; `None` before it, or if it was not sent.
    pub status: Option<u16>,
}

impl ApiRequest {
    /// Whether it uploads a message, or begins to.
    #[must_use]
    pub fn is_import(&self) -> bool {
        self.path.ends_with("/messages/import") && self.method == "POST"
    }

    /// Whether it sends octets of a resumable upload.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.method == "PUT" && self.octets > 0
    }
}

type Condition = Box<dyn FnMut(&ApiRequest) -> bool + Send>;
type SpamVerdict = Box<dyn Fn(&[u8]) -> bool + Send>;

struct PlannedFault {
    condition: Condition,
    fault: ApiFault,
    repeats: bool,
}

/// What all connections share.
struct ApiState {
    gmail: Arc<Shared>,
    root: String,
    uploads: Mutex<Uploads>,
    faults: Mutex<Vec<PlannedFault>>,
    requests: Mutex<Vec<ApiRequest>>,
    is_spam: Mutex<SpamVerdict>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    connections: AtomicUsize,
    stopping: AtomicBool,
    sockets: Mutex<HashMap<usize, TcpStream>>,
    round_trip: Mutex<Duration>,
}

/// The running API; dropping stops it.
pub struct GmailApi {
    state: Arc<ApiState>,
    port: u16,
    listener: Option<JoinHandle<()>>,
}

/// Google's error JSON.
fn error(status: u16, reason: &str, message: &str) -> Answer {
    let item = json!({ "message": message, "domain": "global", "reason": reason });
    let error = json!({ "code": status, "message": message, "errors": [item] });
    Answer::json(status, &json!({ "error": error }))
}

impl GmailApi {
    /// Starts the API of this account, in plain text.
    #[must_use]
    pub fn start(gmail: &Gmail) -> GmailApi {
        GmailApi::listen(gmail, None)
    }

    /// The same by TLS with the certificate of that Gmail.
    #[must_use]
    pub fn start_secure(gmail: &Gmail) -> GmailApi {
        GmailApi::listen(gmail, Some(gmail.tls()))
    }

    fn listen(gmail: &Gmail, tls: Option<Arc<ServerConfig>>) -> GmailApi {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let root = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let state = Arc::new(ApiState {
            gmail: gmail.shared().clone(),
            root,
            uploads: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            is_spam: Mutex::new(Box::new(|_| false)),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            sockets: Mutex::default(),
            round_trip: Mutex::default(),
        });
        let shared = state.clone();
        let listener = thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, tls) = (shared.clone(), tls.clone());
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let handle = socket.try_clone().unwrap();
                shared.sockets.lock().unwrap().insert(number, handle);
                thread::spawn(move || {
                    // A client may close the connection at any time.
                    let _ = serve(socket, tls.as_ref(), number, &shared);
                    // With this handle the socket would stay open.
                    shared.sockets.lock().unwrap().remove(&number);
                });
            }
        });
        GmailApi {
            state,
            port,
            listener: Some(listener),
        }
    }

    /// The address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.state.root.clone()
    }

    /// Plans a fault for the next request for which `condition` holds.
    pub fn once(
        &self,
        condition: impl FnMut(&ApiRequest) -> bool + Send + 'static,
        fault: ApiFault,
    ) {
        self.plan(Box::new(condition), fault, false);
    }

    /// Plans a fault for every request for which `condition` holds.
    pub fn always(
        &self,
        condition: impl FnMut(&ApiRequest) -> bool + Send + 'static,
        fault: ApiFault,
    ) {
        self.plan(Box::new(condition), fault, true);
    }

    fn plan(&self, condition: Condition, fault: ApiFault, repeats: bool) {
        self.state.faults.lock().unwrap().push(PlannedFault {
            condition,
            fault,
            repeats,
        });
    }

    /// Removes the faults that have not happened.
    pub fn clear_faults(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// Messages for which this holds are taken for spam.
    pub fn set_spam(&self, is_spam: impl Fn(&[u8]) -> bool + Send + 'static) {
        *self.state.is_spam.lock().unwrap() = Box::new(is_spam);
    }

    /// The server forgets the uploads that have begun.
    pub fn forget_uploads(&self) {
        *self.state.uploads.lock().unwrap() = Uploads::default();
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<ApiRequest> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The number of connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The most requests that were open at the same time.
    #[must_use]
    pub fn most_open(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }

    /// Simulates a network with this round-trip time.
    pub fn set_round_trip(&self, time: Duration) {
        *self.state.round_trip.lock().unwrap() = time;
    }
}

impl Drop for GmailApi {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        for (_, socket) in self.state.sockets.lock().unwrap().drain() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // A last connection wakes the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(
    socket: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    connection: usize,
    state: &ApiState,
) -> std::io::Result<()> {
    let handle = socket.try_clone()?;
    let stream = oauth::open(socket, tls)?;
    handle.set_read_timeout(Some(Duration::from_mins(2)))?;
    let mut stream = HttpConnection::new(stream);
    while let Some(head) = stream.head()? {
        let half = *state.round_trip.lock().unwrap() / 2;
        thread::sleep(half);
        let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_open.fetch_max(open, Ordering::SeqCst);
        let goes_on = answer(&mut stream, &head, connection, half, state);
        state.open.fetch_sub(1, Ordering::SeqCst);
        if !goes_on? {
            break;
        }
    }
    Ok(())
}

/// Handles a request; returns whether the connection stays open.
fn answer(
    stream: &mut HttpConnection,
    head: &Head,
    connection: usize,
    half: Duration,
    state: &ApiState,
) -> std::io::Result<bool> {
    let (number, fault) = state.record(head, connection);
    let length = head.length();
    let read = match &fault {
        Some(ApiFault::CutBeforeBody) => return Ok(false),
        Some(ApiFault::CutAfter(octets)) => (*octets).min(length),
        Some(ApiFault::CutBeforeLastOctet) => length.saturating_sub(1),
        _ => length,
    };
    let mut body = Vec::new();
    if let Some(ApiFault::PauseAfter(octets, time)) = &fault {
        body = stream.body((*octets).min(length))?;
        thread::sleep(*time);
    }
    body.extend(stream.body(read - body.len())?);
    if body.len() < length {
        state.uploads.lock().unwrap().keep(head, &body);
        return Ok(false);
    }
    let given = match fault {
        Some(ApiFault::Error(status, reason, message)) => Some(error(status, reason, message)),
        Some(ApiFault::RetryLater(status, reason, seconds)) => Some(Answer {
            fields: vec![("Retry-After", seconds.to_string())],
            ..error(status, reason, "Later")
        }),
        Some(ApiFault::Text(status, text)) => Some(Answer {
            status,
            body: text.to_owned(),
            ..Answer::default()
        }),
        Some(ApiFault::Elsewhere(address)) => Some(Answer {
            status: 200,
            fields: vec![("Location", address.to_owned())],
            body: String::new(),
        }),
        Some(ApiFault::Keep(octets)) => {
            let kept = &body[..octets.min(length)];
            Some(state.uploads.lock().unwrap().keep_exactly(head, kept))
        }
        Some(ApiFault::CutAfterBody) => return Ok(false),
        Some(ApiFault::DoneLater(time)) => {
            let due = state.gmail.clock.now() + time;
            route(head, &body, Some(due), state);
            return Ok(false);
        }
        Some(ApiFault::Stall(time)) => {
            thread::sleep(time);
            return Ok(false);
        }
        _ => None,
    };
    let mut given = given.unwrap_or_else(|| route(head, &body, None, state));
    if let Some(ApiFault::DoneWithStatus(status)) = fault {
        given = error(status, "backendError", "Backend Error");
    }
    let octets = given.octets();
    match fault {
        Some(ApiFault::AnswerLost) => return Ok(false),
        Some(ApiFault::HalfAnswer) => {
            stream.write(&octets[..octets.len() - 5])?;
            return Ok(false);
        }
        _ => {}
    }
    thread::sleep(half);
    state.requests.lock().unwrap()[number - 1].status = Some(given.status);
    stream.write(&octets)?;
    Ok(true)
}

impl ApiState {
    /// Records a request; returns its number, and the fault that is planned for it.
    fn record(&self, head: &Head, connection: usize) -> (usize, Option<ApiFault>) {
        let mut requests = self.requests.lock().unwrap();
        let request = ApiRequest {
            number: requests.len() + 1,
            connection,
            method: head.method.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            octets: head.length(),
            status: None,
        };
        requests.push(request.clone());
        let number = requests.len();
        drop(requests);
        let mut faults = self.faults.lock().unwrap();
        let due = faults
            .iter_mut()
            .position(|plan| (plan.condition)(&request));
        let fault = due.map(|due| {
            if faults[due].repeats {
                faults[due].fault.clone()
            } else {
                faults.remove(due).fault
            }
        });
        (number, fault)
    }

    fn is_authorized(&self, head: &Head) -> bool {
        let gmail = self.gmail.gmail().unwrap();
        let user = gmail.options().user.clone();
        let token = head.field("authorization").strip_prefix("Bearer ");
        token.is_some_and(|token| gmail.token_expiry(&user, token).is_some())
    }
}

/// Does what is requested. With a time, a message is stored only then.
fn route(head: &Head, body: &[u8], due: Option<DateTime<Utc>>, state: &ApiState) -> Answer {
    if !state.is_authorized(head) {
        return error(401, "authError", "Invalid Credentials");
    }
    match (head.method.as_str(), head.path.as_str()) {
        ("GET", "/gmail/v1/users/me/labels") => labels::list(&state.gmail.store()),
        ("POST", "/gmail/v1/users/me/labels") => labels::create(body, &mut state.gmail.store()),
        ("GET", "/gmail/v1/users/me/profile") => {
            let user = state.gmail.gmail().unwrap().options().user.clone();
            Answer::json(200, &json!({ "emailAddress": user }))
        }
        ("POST", "/upload/gmail/v1/users/me/messages/import") => {
            upload::whole(head, body, due, state)
        }
        ("POST", "/resumable/upload/gmail/v1/users/me/messages/import") => {
            state.uploads.lock().unwrap().begin(head, body, &state.root)
        }
        ("PUT", path) if path.starts_with(upload::SESSIONS) => {
            upload::resume(head, body, due, state)
        }
        _ => error(404, "notFound", "Not Found"),
    }
}
