//! A token introspection endpoint (RFC 7662): whether a bearer token is valid, and of which user.

use std::collections::HashMap;
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::http;

/// The endpoint; dropping stops it.
pub struct Introspection {
    address: SocketAddr,
    tokens: Arc<Mutex<Tokens>>,
    listener: Option<JoinHandle<()>>,
}

/// The valid tokens with their users, and the number of requests.
#[derive(Default)]
struct Tokens {
    users: HashMap<String, String>,
    requests: usize,
    is_stopped: bool,
}

impl Introspection {
    pub fn start() -> Introspection {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Arc::new(Mutex::new(Tokens::default()));
        let shared = Arc::clone(&tokens);
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().is_stopped {
                    return;
                }
                let _ = answer(&stream.unwrap(), &shared);
            }
        });
        Introspection {
            address,
            tokens,
            listener: Some(listener),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/introspect", self.address)
    }

    /// Makes a token valid for a user.
    pub fn issue(&self, token: &str, user: &str) {
        let mut tokens = self.tokens.lock().unwrap();
        tokens.users.insert(token.to_owned(), user.to_owned());
    }

    /// Makes a token invalid.
    pub fn revoke(&self, token: &str) {
        self.tokens.lock().unwrap().users.remove(token);
    }

    /// The number of requests so far.
    pub fn requests(&self) -> usize {
        self.tokens.lock().unwrap().requests
    }
}

impl Drop for Introspection {
    fn drop(&mut self) {
        self.tokens.lock().unwrap().is_stopped = true;
        // The listener notices with the next connection.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn answer(stream: &TcpStream, tokens: &Mutex<Tokens>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let form = http::read_request(&mut reader)?;
    let form = String::from_utf8_lossy(&form).into_owned();
    let token = form
        .split('&')
        .find_map(|field| field.strip_prefix("token="))
        .map(unescape)
        .unwrap_or_default();

    let mut tokens = tokens.lock().unwrap();
    tokens.requests += 1;
    let body = match tokens.users.get(&token) {
        Some(user) => format!(r#"{{"active":true,"username":"{user}","scope":"mail"}}"#),
        None => r#"{"active":false}"#.to_owned(),
    };
    http::respond_json(&mut &*stream, &body)
}

/// Decodes the `%xx` of a form's field.
fn unescape(field: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('%') {
        octets.extend_from_slice(before.as_bytes());
        let (digits, after) = after.split_at(2);
        octets.push(u8::from_str_radix(digits, 16).unwrap());
        rest = after;
    }
    octets.extend_from_slice(rest.as_bytes());
    String::from_utf8(octets).unwrap()
}
