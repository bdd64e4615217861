//! Says of a bearer token whether it is good and whose it is (RFC 7662), over HTTP on loopback.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The endpoint; it ends with the value.
pub struct Introspection {
    address: SocketAddr,
    tokens: Arc<Mutex<Tokens>>,
    listener: Option<JoinHandle<()>>,
}

/// Which tokens are good, and for whom; and how often somebody asked.
#[derive(Default)]
struct Tokens {
    users: HashMap<String, String>,
    questions: usize,
    is_over: bool,
}

impl Introspection {
    /// Starts to answer.
    pub fn start() -> Introspection {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Arc::new(Mutex::new(Tokens::default()));
        let known = Arc::clone(&tokens);
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if known.lock().unwrap().is_over {
                    return;
                }
                let _ = answer(&stream.unwrap(), &known);
            }
        });
        Introspection {
            address,
            tokens,
            listener: Some(listener),
        }
    }

    /// Where to ask.
    pub fn url(&self) -> String {
        format!("http://{}/introspect", self.address)
    }

    /// Makes a token good for a user.
    pub fn issue(&self, token: &str, user: &str) {
        let mut tokens = self.tokens.lock().unwrap();
        tokens.users.insert(token.to_owned(), user.to_owned());
    }

    /// Makes a token worthless.
    pub fn revoke(&self, token: &str) {
        self.tokens.lock().unwrap().users.remove(token);
    }

    /// How often somebody asked.
    pub fn questions(&self) -> usize {
        self.tokens.lock().unwrap().questions
    }
}

impl Drop for Introspection {
    fn drop(&mut self) {
        self.tokens.lock().unwrap().is_over = true;
        // The listener looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn answer(stream: &TcpStream, tokens: &Mutex<Tokens>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form)?;
    let form = String::from_utf8_lossy(&form).into_owned();
    let token = form
        .split('&')
        .find_map(|field| field.strip_prefix("token="))
        .map(unescape)
        .unwrap_or_default();

    let mut tokens = tokens.lock().unwrap();
    tokens.questions += 1;
    let body = match tokens.users.get(&token) {
        Some(user) => format!(r#"{{"active":true,"username":"{user}","scope":"mail"}}"#),
        None => r#"{"active":false}"#.to_owned(),
    };
    write!(
        &mut &*stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A field of a form without its `%xx`.
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
