//! HTTP/1.1 with connections that are kept: requests are read piece by piece, so that a fault can cut one
//! at any octet.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Result, Write};

use std::collections::BTreeMap;

use crate::oauth::Stream;

/// A request up to its body.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub method: String,
    /// The path without the query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// By their names in lower case.
    pub fields: BTreeMap<String, String>,
}

impl Head {
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// `Content-Length`; 0 without one.
    pub fn length(&self) -> usize {
        self.field("content-length").parse().unwrap_or(0)
    }
}

/// A response.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(status: u16, body: &serde_json::Value) -> Answer {
        Answer {
            status,
            fields: Vec::new(),
            body: body.to_string(),
        }
    }

    /// As it is sent.
    pub fn octets(&self) -> Vec<u8> {
        let kind = if self.body.starts_with('<') {
            "text/html; charset=UTF-8"
        } else {
            "application/json; charset=UTF-8"
        };
        let mut head = format!(
            "HTTP/1.1 {} Status\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        format!("{head}\r\n{}", self.body).into_bytes()
    }
}

/// A connection.
pub(super) struct HttpConnection(BufReader<Box<dyn Stream>>);

impl HttpConnection {
    pub fn new(stream: Box<dyn Stream>) -> HttpConnection {
        HttpConnection(BufReader::new(stream))
    }

    /// Reads a request up to its body; `None` if the client closes the connection.
    pub fn head(&mut self) -> Result<Option<Head>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut head = Head {
            method,
            path: path.to_owned(),
            query: pairs
                .map(|(one, two)| (one.to_owned(), two.to_owned()))
                .collect(),
            fields: BTreeMap::new(),
        };
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                return Ok(Some(head));
            }
            if let Some((name, value)) = line.split_once(':') {
                let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
                head.fields.insert(name, value);
            }
        }
    }

    /// Reads so many octets of a body, or what comes before the client closes the connection.
    pub fn body(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut octets = Vec::new();
        (&mut self.0).take(length as u64).read_to_end(&mut octets)?;
        Ok(octets)
    }

    pub fn write(&mut self, octets: &[u8]) -> Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(octets)?;
        stream.flush()
    }
}
