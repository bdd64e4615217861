//! The loopback web server to which Google redirects the browser (RFC 8252 7.3).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use oauth2::CsrfToken;

use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::consent::redirect::{self, AuthorizationResponse, RedirectQuery};
use crate::oauth::consent::result_page::ResultPage;
use crate::oauth::consent::terminal::say;
use crate::timeouts::{BROWSER_REQUEST_TIMEOUT, BROWSER_RESPONSE_TIMEOUT};

/// A browser's request head has one or two KiB.
const MAX_HEAD_LENGTH: usize = 16 * 1024;

const MAX_HEADERS: usize = 100;

/// Simultaneous connections; a browser opens up to six.
const MAX_CONNECTIONS: usize = 32;

/// The request of a browser that Google redirected; it waits for its page.
#[derive(Debug)]
pub(super) struct BrowserRequest {
    /// The authorization response in its query.
    pub(super) response: AuthorizationResponse,
    stream: TcpStream,
}

/// Listens on the port of the redirect URI.
pub(super) struct RedirectListener {
    listener: TcpListener,
    pub(super) port: u16,
}

impl BrowserRequest {
    /// Sends the page and closes the connection. A browser that has gone misses it.
    pub(super) fn respond(mut self, page: &ResultPage) {
        let _ = send_page(&mut self.stream, page);
    }
}

impl RedirectListener {
    /// Binds the port, or any free one: on 127.0.0.1, or on all addresses if `is_published`, because
    /// the connections to a published port do not arrive on a container's loopback.
    pub(super) fn bind(port: Option<u16>, is_published: bool) -> Result<RedirectListener> {
        let ip = if is_published {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        };
        let address = SocketAddr::new(IpAddr::V4(ip), port.unwrap_or(0));
        let bound = TcpListener::bind(address).and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok(RedirectListener { listener, port })
        });
        bound.map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::AddrInUse => "another program uses this port".to_owned(),
                io::ErrorKind::PermissionDenied => "only root may use a port below 1024".to_owned(),
                _ => error.to_string(),
            };
            let place = format!("127.0.0.1:{}", address.port());
            Error::new(Side::Token, ErrorKind::Unavailable, place, what)
                .during("waiting for the browser")
                .remedy("choose another --port, or leave it out to use any free port")
        })
    }

    /// Serves until the program ends, in threads. Passes the first authorization response to `send`;
    /// answers all other requests itself.
    pub(super) fn serve(
        self,
        state: CsrfToken,
        send: impl Fn(BrowserRequest) + Clone + Send + 'static,
    ) {
        let state = Arc::new(state);
        let open_connections = Arc::new(());
        let has_response = Arc::new(AtomicBool::new(false));
        thread::spawn(move || {
            for stream in self.listener.incoming() {
                let Ok(stream) = stream else {
                    // No file descriptors are left, for example: an immediate retry would fail, too.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                };
                // One of the references is this thread's own.
                if Arc::strong_count(&open_connections) > MAX_CONNECTIONS {
                    continue;
                }
                let (state, has_response) = (Arc::clone(&state), Arc::clone(&has_response));
                let (send, connection) = (send.clone(), Arc::clone(&open_connections));
                thread::spawn(move || {
                    if let Some(request) = receive(stream, &state, &has_response) {
                        send(request);
                    }
                    drop(connection);
                });
            }
        });
    }
}

/// Reads one request. Returns it if it brings the first authorization response, and answers it
/// otherwise.
fn receive(
    mut stream: TcpStream,
    state: &CsrfToken,
    has_response: &AtomicBool,
) -> Option<BrowserRequest> {
    let page = match read_target(&mut stream, Instant::now() + BROWSER_REQUEST_TIMEOUT) {
        Ok(Some(target)) => match redirect::parse_request_target(&target, state) {
            RedirectQuery::NotARedirect => ResultPage::NotFound,
            RedirectQuery::WrongState => {
                say("Ignored a response from the browser that belongs to another attempt.\n");
                ResultPage::WrongState
            }
            // A second tab: the first response counts.
            RedirectQuery::Response(_) if has_response.swap(true, Ordering::SeqCst) => {
                ResultPage::AlreadyDone
            }
            RedirectQuery::Response(response) => return Some(BrowserRequest { response, stream }),
        },
        Ok(None) => ResultPage::BadRequest,
        // The browser sent no complete request.
        Err(_) => return None,
    };
    let _ = send_page(&mut stream, &page);
    None
}

/// Reads a request's head and returns its target; `None` unless it is a valid GET.
fn read_target(stream: &mut TcpStream, deadline: Instant) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    loop {
        let mut buffer = [0; 2048];
        let length = read_before(deadline, stream, &mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                let is_get = request.method == Some("GET");
                return Ok(request.path.filter(|_| is_get).map(str::to_owned));
            }
            Ok(httparse::Status::Partial) if head.len() < MAX_HEAD_LENGTH => {}
            Ok(httparse::Status::Partial) | Err(_) => return Ok(None),
        }
    }
}

/// Sends the page, then reads and drops what the browser still sends: closing a socket that has
/// unread octets resets the connection, and the browser would show an error instead of the page.
fn send_page(stream: &mut TcpStream, page: &ResultPage) -> io::Result<()> {
    stream.set_write_timeout(Some(BROWSER_RESPONSE_TIMEOUT))?;
    stream.write_all(&page.response())?;
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + BROWSER_RESPONSE_TIMEOUT;
    while read_before(deadline, stream, &mut [0; 2048])? > 0 {}
    Ok(())
}

/// Reads what comes before the deadline; 0 octets at the end of the stream.
fn read_before(deadline: Instant, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
