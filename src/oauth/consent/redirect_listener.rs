//! The small web server on loopback to which Google sends the browser back (RFC 8252 7.3).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use oauth2::CsrfToken;

use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::consent::redirect;
use crate::oauth::consent::redirect::{AuthorizationResponse, RedirectQuery};
use crate::oauth::consent::result_page::ResultPage;
use crate::timeouts::BROWSER_REQUEST_TIMEOUT;
use crate::timeouts::BROWSER_RESPONSE_TIMEOUT;

/// A request's head is a kilobyte or two; more is refused.
const LONGEST_HEAD: usize = 16 * 1024;

/// Headers of a request, as many as browsers may send.
const MOST_HEADERS: usize = 100;

/// Connections at a time: a browser has six.
const MOST_CONNECTIONS: usize = 32;

/// A browser that came back from Google, and waits for its page.
#[derive(Debug)]
pub(super) struct BrowserRequest {
    /// What it response.
    pub(super) response: AuthorizationResponse,
    stream: TcpStream,
}

/// A port on which browsers are awaited.
pub(super) struct RedirectListener {
    listener: TcpListener,
    port: u16,
}

impl BrowserRequest {
    /// Shows the page and takes leave. A browser that has gone misses it.
    pub(super) fn respond(mut self, page: &ResultPage) {
        let _ = show(&mut self.stream, page);
    }
}

impl RedirectListener {
    /// Takes the port, or any that is free. On 127.0.0.1, but where `is_published` on all
    /// addresses: in a container the host comes in by another one than loopback.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: the port cannot be had.
    pub(super) fn bind(port: Option<u16>, is_published: bool) -> Result<RedirectListener> {
        let address = if is_published {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        };
        let wanted = SocketAddr::new(IpAddr::V4(address), port.unwrap_or(0));
        let bound = TcpListener::bind(wanted).and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok(RedirectListener { listener, port })
        });
        bound.map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::AddrInUse => "another program has this port".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "this port is for root only (below 1024)".to_owned()
                }
                _ => error.to_string(),
            };
            let place = format!("127.0.0.1:{}", wanted.port());
            Error::new(Side::Token, ErrorKind::Unavailable, place, what)
                .during("waiting for the browser")
                .remedy("give another --port, or none for any that is free")
        })
    }

    /// The port that it has.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Listens from now on until the program ends. Browsers that come back from Google are handed
    /// on; all else is answered here.
    pub(super) fn serve<E: From<BrowserRequest> + Send + 'static>(
        self,
        state: CsrfToken,
        visits: SyncSender<E>,
    ) {
        let state = Arc::new(state);
        let places = Arc::new(());
        let answered = Arc::new(AtomicBool::new(false));
        thread::spawn(move || {
            for stream in self.listener.incoming() {
                let Ok(stream) = stream else {
                    // Out of descriptors, say: nothing is gained by asking again at once.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                };
                // One of them is the listener's own.
                if Arc::strong_count(&places) > MOST_CONNECTIONS {
                    continue;
                }
                let (state, visits, place) =
                    (Arc::clone(&state), visits.clone(), Arc::clone(&places));
                let answered = Arc::clone(&answered);
                thread::spawn(move || {
                    if let Some(visit) = receive(stream, &state, &answered) {
                        // Nobody waits any more: the program is ending.
                        let _ = visits.send(E::from(visit));
                    }
                    drop(place);
                });
            }
        });
    }
}

/// Reads the request of a connection; answers it, or gives the visit to be answered.
fn receive(
    mut stream: TcpStream,
    state: &CsrfToken,
    answered: &AtomicBool,
) -> Option<BrowserRequest> {
    let page = match read_target(&mut stream, Instant::now() + BROWSER_REQUEST_TIMEOUT) {
        Ok(Some(target)) => match redirect::of_request(&target, state) {
            RedirectQuery::NotARedirect => ResultPage::NotFound,
            RedirectQuery::WrongState => {
                super::say("A browser came with the answer to another attempt; it is ignored.\n");
                ResultPage::WrongState
            }
            // A second tab: the first answer counts.
            RedirectQuery::Response(_) if answered.swap(true, Ordering::SeqCst) => {
                ResultPage::AlreadyDone
            }
            RedirectQuery::Response(response) => return Some(BrowserRequest { response, stream }),
        },
        Ok(None) => ResultPage::BadRequest,
        // It never asked.
        Err(_) => return None,
    };
    let _ = show(&mut stream, &page);
    None
}

/// The target of a GET, once the whole head is there; none of any other request.
fn read_target(stream: &mut TcpStream, deadline: Instant) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 2048];
        let length = match stream.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        head.extend_from_slice(piece.get(..length).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                let is_get = request.method == Some("GET");
                return Ok(request.path.filter(|_| is_get).map(str::to_owned));
            }
            Ok(httparse::Status::Partial) if head.len() < LONGEST_HEAD => {}
            Ok(httparse::Status::Partial) | Err(_) => return Ok(None),
        }
    }
}

/// Sends the page. What else the browser sends is read away for a moment: closing on octets that
/// nobody read resets the connection, and the browser would show its own error.
fn show(stream: &mut TcpStream, page: &ResultPage) -> io::Result<()> {
    stream.set_write_timeout(Some(BROWSER_RESPONSE_TIMEOUT))?;
    stream.write_all(&page.response())?;
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + BROWSER_RESPONSE_TIMEOUT;
    let mut piece = [0; 2048];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if stream.read(&mut piece)? == 0 {
            return Ok(());
        }
    }
}
