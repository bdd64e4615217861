//! Google's token endpoint, over HTTP on loopback (GMAIL.md 7).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::gmail::Gmail;
use crate::tokens::{MAIL_SCOPE, Tokens};

/// How the token endpoint is today.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// How long access tokens hold.
    pub lifetime: Duration,
    /// What is answered instead, to every request: status and body.
    pub refusal: Option<(u16, String)>,
}

impl Default for TokenOptions {
    fn default() -> TokenOptions {
        TokenOptions {
            client_id: "123-abc.apps.googleusercontent.com".to_owned(),
            client_secret: "GOCSPX-double".to_owned(),
            lifetime: Duration::from_secs(3599),
            refusal: None,
        }
    }
}

struct State {
    options: TokenOptions,
    tokens: Tokens,
    /// User by refresh token.
    grants: BTreeMap<String, String>,
    granted: usize,
    requests: Vec<BTreeMap<String, String>>,
}

/// A running token endpoint; it stops when this is dropped.
pub struct TokenEndpoint {
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
    port: u16,
    listener: Option<JoinHandle<()>>,
}

impl TokenEndpoint {
    /// Starts an endpoint whose tokens this Gmail accepts.
    #[must_use]
    pub fn start(gmail: &Gmail) -> TokenEndpoint {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            options: TokenOptions::default(),
            tokens: gmail.tokens().clone(),
            grants: BTreeMap::new(),
            granted: 0,
            requests: Vec::new(),
        }));
        let stopping = Arc::new(AtomicBool::new(false));
        let (for_thread, is_stopping) = (state.clone(), stopping.clone());
        let listener = thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if is_stopping.load(Ordering::SeqCst) {
                    break;
                }
                // One request at a time is enough; a client that goes away disturbs nobody.
                let _ = serve(socket, &for_thread);
            }
        });
        TokenEndpoint {
            state,
            stopping,
            port,
            listener: Some(listener),
        }
    }

    /// The `token_uri`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// Changes the options from now on.
    pub fn change(&self, change: impl FnOnce(&mut TokenOptions)) {
        change(&mut self.state.lock().unwrap().options);
    }

    /// A refresh token of this user, as one who consented in the browser has it.
    #[must_use]
    pub fn grant(&self, user: &str) -> String {
        let mut state = self.state.lock().unwrap();
        state.granted += 1;
        let token = format!("1//0gdouble-{:04}_refresh", state.granted);
        state.grants.insert(token.clone(), user.to_owned());
        token
    }

    /// Makes a refresh token worthless.
    pub fn revoke(&self, refresh_token: &str) {
        self.state.lock().unwrap().grants.remove(refresh_token);
    }

    /// The forms that were posted so far.
    #[must_use]
    pub fn requests(&self) -> Vec<BTreeMap<String, String>> {
        self.state.lock().unwrap().requests.clone()
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
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

struct Reply {
    status: u16,
    body: String,
}

fn serve(mut socket: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    let mut is_form = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "content-type" => {
                is_form = value.contains("x-www-form-urlencoded");
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let form = is_form.then(|| read_form(&String::from_utf8_lossy(&body)));
    let reply = answer(&request, form, state);
    let kind = if reply.body.starts_with('<') {
        "text/html"
    } else {
        "application/json"
    };
    write!(
        socket,
        "HTTP/1.1 {} {}\r\nContent-Type: {kind}; charset=UTF-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        reply.status,
        reason(reply.status),
        reply.body.len(),
        reply.body
    )
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

fn answer(request: &str, form: Option<BTreeMap<String, String>>, state: &Mutex<State>) -> Reply {
    let mut state = state.lock().unwrap();
    if !request.starts_with("POST /token ") {
        return Reply {
            status: 404,
            body: "<html>Not Found</html>".to_owned(),
        };
    }
    let Some(form) = form else {
        return error(400, "invalid_request", "Could not parse the request.");
    };
    state.requests.push(form.clone());
    if let Some((status, body)) = state.options.refusal.clone() {
        return Reply { status, body };
    }
    let of = |name: &str| form.get(name).map_or("", String::as_str);
    if of("client_id") != state.options.client_id {
        return error(401, "invalid_client", "The OAuth client was not found.");
    }
    if of("client_secret").is_empty() {
        return error(400, "invalid_request", "client_secret is missing.");
    }
    if of("client_secret") != state.options.client_secret {
        return error(401, "invalid_client", "Unauthorized");
    }
    if of("grant_type") != "refresh_token" {
        return error(400, "unsupported_grant_type", "Invalid grant_type");
    }
    let Some(user) = state.grants.get(of("refresh_token")) else {
        return error(400, "invalid_grant", "Token has been expired or revoked.");
    };
    let access_token = state.tokens.issue(user, state.options.lifetime);
    reply(
        200,
        &json!({
            "access_token": access_token,
            "expires_in": state.options.lifetime.as_secs(),
            "scope": MAIL_SCOPE,
            "token_type": "Bearer",
        }),
    )
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        body: body.to_string(),
    }
}

fn error(status: u16, error: &str, description: &str) -> Reply {
    reply(
        status,
        &json!({ "error": error, "error_description": description }),
    )
}

/// Reads `application/x-www-form-urlencoded`.
fn read_form(body: &str) -> BTreeMap<String, String> {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

fn unescape(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, code.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(octet)) => {
                octets.push(octet);
                rest = &tail[2..];
            }
            (b'+', _) => {
                octets.push(b' ');
                rest = tail;
            }
            _ => {
                octets.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_unescaped() {
        let form = read_form("code=4%2F0A&scope=a+b&empty=");
        assert_eq!(
            (form["code"].as_str(), form["scope"].as_str()),
            ("4/0A", "a b")
        );
        assert_eq!(form["empty"], "");
    }
}
