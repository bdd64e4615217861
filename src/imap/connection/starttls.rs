//! From plain TCP to TLS: STARTTLS in the clear, and the handshake.

use std::io::{self, Write};
use std::time::Instant;

use rustls_connector::HandshakeError;

use crate::config::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::imap::connection::{Connection, Transport};
use crate::net::{Trust, tcp, trust};
use crate::untrusted::Untrusted;

impl Connection {
    /// Asks for encryption in the clear, and believes nothing else that is said there
    /// (RFC 3501 6.2.1).
    pub(super) fn start_tls(&mut self, place: &str) -> Result<()> {
        let side = self.side;
        let failed = |what: String| {
            Error::new(side, ErrorKind::Unavailable, place, what).during("starting TLS (STARTTLS)")
        };
        let lost = |error: io::Error| {
            failed(tcp::describe_io_error(&error)).remedy("if it stays so, check the port")
        };
        self.next_line().map_err(lost)?;
        // In its own words: the gate makes a harmless line of PREAUTH.
        let greeting = self.transcript.last_line();
        if !greeting.to_ascii_uppercase().starts_with(b"* OK") {
            let what = format!("it greets with {:?}", Untrusted::new(&greeting));
            return Err(failed(what).remedy("check the port"));
        }
        self.ask_in_the_clear(b"s1 CAPABILITY\r\n").map_err(lost)?;
        let offered = self.transcript.capabilities().unwrap_or_default();
        let offers_it = offered
            .split(' ')
            .any(|word| word.eq_ignore_ascii_case("STARTTLS"));
        if !offers_it {
            return Err(failed("the server does not offer it".to_owned())
                .remedy("use \"implicit\" TLS, or another server: nothing is sent unencrypted"));
        }
        let answer = self.ask_in_the_clear(b"s2 STARTTLS\r\n").map_err(lost)?;
        if !answer.to_ascii_uppercase().starts_with(b"S2 OK") {
            return Err(failed(format!(
                "the server says {:?}",
                Untrusted::new(answer.trim_ascii_end())
            )));
        }
        // Whoever sits in between could otherwise put words into the encrypted dialogue.
        if self.incoming.len() > self.incoming_used {
            return Err(failed(
                "the server sends octets between its OK and the handshake".to_owned(),
            ));
        }
        self.greeting_is_read = true;
        self.transcript.clear_capabilities();
        Ok(())
    }

    /// Sends a command before TLS and gives its tagged response.
    fn ask_in_the_clear(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.write_all(command)?;
        self.flush()?;
        loop {
            let line = self.next_line()?;
            if !line.starts_with(b"*") && !line.is_empty() {
                return Ok(line);
            }
        }
    }

    fn next_line(&mut self) -> io::Result<Vec<u8>> {
        while self.ready.is_empty() {
            self.receive()?;
        }
        self.ready_used = 0;
        Ok(std::mem::take(&mut self.ready))
    }

    /// Shakes hands: from here on the server has proved who it is.
    pub(super) fn encrypt(self, server: &Server, trust: &Trust, place: &str) -> Result<Connection> {
        let Transport::Plain(mut socket) = self.stream else {
            return Err(Error::new(
                self.side,
                ErrorKind::Internal,
                place,
                "TLS within TLS",
            ));
        };
        let Some(connector) = trust.connector() else {
            return Err(Error::new(
                self.side,
                ErrorKind::Internal,
                place,
                "TLS without roots",
            ));
        };
        socket.set_deadline(Instant::now() + self.timeouts.response);
        let name = server.tls_name.as_str();
        let stream = connector.connect(name, socket).map_err(|error| {
            let error = match error {
                HandshakeError::Failure(error) => error,
                HandshakeError::WouldBlock(_) => io::ErrorKind::TimedOut.into(),
            };
            let (what, remedy) = trust::explain(&error, name);
            let error =
                Error::new(self.side, ErrorKind::Unavailable, place, what).during("starting TLS");
            match remedy {
                Some(remedy) => error.remedy(remedy),
                None => error,
            }
        })?;
        Ok(Connection {
            stream: Transport::Tls(Box::new(stream)),
            ..self
        })
    }
}
