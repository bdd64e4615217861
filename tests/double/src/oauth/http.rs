//! Requests and responses, one to a connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The time-out of a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Either kind of stream.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub method: String,
    /// The path without the query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// The posted form, if it is one.
    pub form: Option<BTreeMap<String, String>>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub location: Option<String>,
    /// The `Content-Type`.
    pub kind: String,
    pub body: String,
}

impl Response {
    /// A response with a body: HTML if it begins with `<`, else JSON.
    pub fn new(status: u16, body: impl Into<String>) -> Response {
        let body = body.into();
        let kind = if body.starts_with('<') {
            "text/html; charset=UTF-8"
        } else {
            "application/json; charset=UTF-8"
        };
        Response {
            status,
            location: None,
            kind: kind.to_owned(),
            body,
        }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Response {
        Response {
            location: Some(to.to_owned()),
            ..Response::new(302, "<html>Moved</html>")
        }
    }
}

/// The stream of a new connection.
pub(crate) fn open(socket: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Result<Box<dyn Stream>> {
    socket.set_read_timeout(Some(PATIENCE))?;
    match tls {
        None => Ok(Box::new(socket)),
        Some(config) => {
            let connection = ServerConnection::new(config.clone()).unwrap();
            Ok(Box::new(StreamOwned::new(connection, socket)))
        }
    }
}

/// Reads a request.
pub(crate) fn read(stream: &mut Box<dyn Stream>) -> Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
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
            "content-type" => is_form = value.contains("application/x-www-form-urlencoded"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Ok(Request {
        method,
        path: path.to_owned(),
        query: read_form(query),
        form: is_form.then(|| read_form(&String::from_utf8_lossy(&body))),
    })
}

/// How a response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Whole and at once.
    Whole,
    /// The first half of the body, then the connection is closed.
    Half,
    /// The body octet by octet, with a pause before each.
    Trickle(Duration),
}

/// Writes a response; `goes_on` returns false to stop a slow one.
pub(crate) fn write(
    stream: &mut Box<dyn Stream>,
    response: &Response,
    date: DateTime<Utc>,
    delivery: Delivery,
    goes_on: impl Fn() -> bool,
) -> Result<()> {
    let location = response
        .location
        .as_ref()
        .map(|to| format!("Location: {to}\r\n"));
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nDate: {}\r\n{}Connection: close\r\n\r\n",
        response.status,
        reason(response.status),
        response.kind,
        response.body.len(),
        date.format("%a, %d %b %Y %H:%M:%S GMT"),
        location.unwrap_or_default(),
    );
    let body = response.body.as_bytes();
    match delivery {
        Delivery::Whole => stream.write_all(&[head.as_bytes(), body].concat())?,
        Delivery::Half => {
            stream.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat())?;
        }
        Delivery::Trickle(pause) => {
            stream.write_all(head.as_bytes())?;
            for octet in body.chunks(1).take_while(|_| goes_on()) {
                thread::sleep(pause);
                stream.write_all(octet)?;
                stream.flush()?;
            }
        }
    }
    stream.flush()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

/// Parses `application/x-www-form-urlencoded`.
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

/// A value, escaped for a query.
pub(crate) fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            char::from(octet).to_string()
        } else {
            format!("%{octet:02X}")
        }
    });
    escaped.collect()
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
        assert_eq!(unescape(&escape("4/0 é")), "4/0 é");
    }
}
