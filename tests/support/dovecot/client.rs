//! A minimal IMAP client, to store messages on a server and to read them.
//!
//! It shares no code with the program, so that both cannot have the same bug.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, FixedOffset};

/// A message as the server returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    pub uid: u32,
    pub internal_date: DateTime<FixedOffset>,
    /// Sorted.
    pub flags: Vec<String>,
    pub octets: Vec<u8>,
}

/// A session in plain text on loopback.
pub struct Client {
    stream: BufReader<TcpStream>,
    tag: u32,
}

impl Client {
    /// Connects, and reads the greeting.
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port).expect("the server greets")
    }

    /// Connects; returns `None` if the server does not greet yet.
    pub fn try_connect(port: u16) -> Option<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .ok()?;
        let mut client = Client {
            stream: BufReader::new(stream),
            tag: 0,
        };
        let greeting = client.line()?;
        greeting.starts_with(b"* OK").then_some(client)
    }

    pub fn log_in(&mut self, user: &str, password: &str) {
        let credentials = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTHENTICATE PLAIN {credentials}"));
    }

    /// Sends a command, asserts that it succeeds, and returns the response with its literals.
    pub fn command(&mut self, command: &str) -> Vec<u8> {
        let (response, is_ok) = self.try_command(command.as_bytes(), b"");
        let text = String::from_utf8_lossy(&response).into_owned();
        assert!(is_ok, "{command}: {text}");
        response
    }

    /// Appends a message; `flags` and `date` are in the syntax of APPEND, and may be empty.
    pub fn append(&mut self, folder: &str, flags: &str, date: &str, octets: &[u8]) {
        let date = if date.is_empty() {
            String::new()
        } else {
            format!(" \"{date}\"")
        };
        let command = format!("APPEND \"{folder}\" ({flags}){date} {{{}}}", octets.len());
        let (response, is_ok) = self.try_command(command.as_bytes(), octets);
        assert!(is_ok, "{command}: {}", String::from_utf8_lossy(&response));
    }

    /// Creates a folder; its name is in modified UTF-7.
    pub fn create(&mut self, folder: &str) {
        self.command(&format!("CREATE \"{folder}\""));
    }

    /// Deletes a message and expunges it.
    pub fn expunge(&mut self, folder: &str, uid: u32) {
        self.command(&format!("SELECT \"{folder}\""));
        self.command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
        self.command("EXPUNGE");
        self.command("UNSELECT");
    }

    /// All messages of a folder, in the order of UIDs.
    pub fn messages(&mut self, folder: &str) -> Vec<StoredMessage> {
        self.command(&format!("EXAMINE \"{folder}\""));
        let response = self.command("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])");
        self.command("CLOSE");
        let mut rest = response.as_slice();
        let mut messages = Vec::new();
        while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if let Some(size) = literal_size(line) {
                let (octets, after) = rest.split_at(size);
                rest = after;
                messages.push(stored_message(&String::from_utf8_lossy(line), octets));
            }
        }
        messages
    }

    fn try_command(&mut self, command: &[u8], literal: &[u8]) -> (Vec<u8>, bool) {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.send(&[tag.as_bytes(), command, b"\r\n"].concat());
        let mut response = Vec::new();
        loop {
            let line = self.line().expect("the server responds");
            response.extend_from_slice(&line);
            if line.starts_with(b"+") {
                self.send(&[literal, b"\r\n"].concat());
            } else if let Some(status) = line.strip_prefix(tag.as_bytes()) {
                return (response, status.starts_with(b"OK"));
            } else if let Some(size) = literal_size(&line) {
                let mut octets = vec![0; size];
                self.stream.read_exact(&mut octets).unwrap();
                response.extend_from_slice(&octets);
            }
        }
    }

    fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).ok()?;
        (!line.is_empty()).then_some(line)
    }
}

fn stored_message(line: &str, octets: &[u8]) -> StoredMessage {
    let between = |before: &str, after: char| {
        let (_, rest) = line.split_once(before).unwrap();
        rest.split(after).next().unwrap().to_owned()
    };
    let date = between("INTERNALDATE \"", '"');
    let flags = between("FLAGS (", ')');
    let mut flags: Vec<String> = flags
        .split_whitespace()
        .filter(|flag| *flag != "\\Recent")
        .map(str::to_owned)
        .collect();
    flags.sort();
    StoredMessage {
        uid: between("UID ", ' ').parse().unwrap(),
        internal_date: DateTime::parse_from_str(date.trim(), "%d-%b-%Y %H:%M:%S %z").unwrap(),
        flags,
        octets: octets.to_vec(),
    }
}

fn literal_size(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (_, size) = line.strip_suffix('}')?.rsplit_once('{')?;
    size.parse().ok()
}
