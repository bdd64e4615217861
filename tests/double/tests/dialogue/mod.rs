//! A client that plays a dialogue: it sends given lines and asserts those of the server.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub mod gmail;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Only a test that fails waits as long.
const TIMEOUT: Duration = Duration::from_secs(10);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A dialogue with a server.
pub struct Dialogue {
    stream: Box<dyn Stream>,
    tcp: TcpStream,
}

impl Dialogue {
    /// Connects in plain text.
    pub fn plain(port: u16) -> Dialogue {
        let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
        tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Dialogue {
            stream: Box::new(tcp.try_clone().unwrap()),
            tcp,
        }
    }

    /// Connects by implicit TLS.
    pub fn secure(port: u16, ca_pem: &str) -> Dialogue {
        let mut dialogue = Dialogue::plain(port);
        dialogue.start_tls(ca_pem);
        dialogue
    }

    /// The same; the error is that of TLS.
    pub fn try_secure(port: u16, ca_pem: &str) -> std::io::Result<Dialogue> {
        let mut dialogue = Dialogue::plain(port);
        dialogue.try_tls(ca_pem)?;
        Ok(dialogue)
    }

    /// Does the TLS handshake.
    pub fn start_tls(&mut self, ca_pem: &str) {
        self.try_tls(ca_pem).unwrap();
    }

    fn try_tls(&mut self, ca_pem: &str) -> std::io::Result<()> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut self.tcp)?;
        }
        let tcp = self.tcp.try_clone().unwrap();
        self.stream = Box::new(StreamOwned::new(tls, tcp));
        Ok(())
    }

    /// Plays a dialogue: sends the lines after `C: `, and expects those after `S: `, in which `<*>`
    /// stands for any text. A literal is written with its CRLFs as `\r\n`.
    pub fn play(&mut self, text: &str) {
        for line in text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty())
        {
            let text = line.get(3..).unwrap_or_default().replace("\\r\\n", "\r\n");
            match &line[..2] {
                "C:" => self.send(&text),
                "S:" => {
                    let received = self.receive();
                    assert!(
                        fits(&text, &received),
                        "expected {text:?}\n but came {received:?}"
                    );
                }
                _ => panic!("neither C: nor S: {line}"),
            }
        }
    }

    /// Sends a line; CRLF is added.
    pub fn send(&mut self, line: &str) {
        self.write(format!("{line}\r\n").as_bytes());
    }

    /// Sends a line; returns the next one of the server.
    pub fn exchange(&mut self, line: &str) -> String {
        self.send(line);
        self.receive()
    }

    /// Sends octets.
    pub fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
        self.stream.flush().unwrap();
    }

    /// Reads a line with its literals, without CRLF.
    pub fn receive(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            let start = line.len();
            while !line[start..].ends_with(b"\r\n") {
                assert!(
                    self.octet(&mut line),
                    "closed after {:?}",
                    String::from_utf8_lossy(&line)
                );
            }
            let Some(count) = announced(&line[start..line.len() - 2]) else {
                break;
            };
            (0..count).for_each(|_| assert!(self.octet(&mut line)));
        }
        line.truncate(line.len() - 2);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// The same; `None` if the connection was closed.
    pub fn receive_or_end(&mut self) -> Option<String> {
        let mut first = Vec::new();
        if !self.octet(&mut first) {
            return None;
        }
        let rest = self.receive();
        Some(String::from_utf8_lossy(&first).into_owned() + &rest)
    }

    /// Whether the server sends something within this time; drops an octet of it.
    pub fn receives_within(&mut self, time: Duration) -> bool {
        self.tcp.set_read_timeout(Some(time)).unwrap();
        // Not the socket itself, because TLS has records of its own.
        let has_received = self.stream.read(&mut [0]).is_ok();
        self.tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
        has_received
    }

    /// Waits for the end of the connection; returns its error, if any.
    pub fn end(&mut self) -> std::io::Result<()> {
        while self.stream.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }

    /// Everything until the server closes the connection.
    pub fn read_to_end(&mut self) -> String {
        let mut rest = Vec::new();
        while self.octet(&mut rest) {}
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Reads an octet; false if the connection is closed. Panics at a silent server.
    fn octet(&mut self, into: &mut Vec<u8>) -> bool {
        let mut octet = [0];
        match self.stream.read(&mut octet) {
            Ok(1) => {
                into.push(octet[0]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("silence after {:?}", String::from_utf8_lossy(into))
            }
            _ => false,
        }
    }
}

fn announced(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|&octet| octet == b'{')?;
    std::str::from_utf8(&inner[start + 1..]).ok()?.parse().ok()
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once("<*>") {
        None => pattern == text,
        Some((start, end)) => text.strip_prefix(start).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| fits(end, rest)))
        }),
    }
}
