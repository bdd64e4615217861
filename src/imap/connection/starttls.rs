//! STARTTLS: the commands before the handshake (RFC 3501 6.2.1).

use std::io;
use std::time::{Duration, Instant};

use crate::config::Server;
use crate::error::{ErrorKind, Result};
use crate::imap::Connection;
use crate::net::{ConnectionOptions, describe_io_error};
use crate::timeouts::PLAIN_GREETING_ON_IMAPS_TIMEOUT;
use crate::untrusted::Untrusted;

/// The port of IMAP over TLS (RFC 8314).
const IMAPS: u16 = 993;

impl Connection {
    /// Asks the server to start TLS. Nothing else that it sends in plain text is used: anybody in
    /// between could have written it.
    pub(super) fn start_tls(&mut self, server: &Server, options: &ConnectionOptions) -> Result<()> {
        let failed = |what: &str| {
            let error = options.error(server, ErrorKind::Unavailable, what);
            error.during("starting TLS (STARTTLS)")
        };
        let lost = |error: io::Error| {
            failed(&describe_io_error(&error)).remedy("if this persists, check the port")
        };
        let timeout = greeting_timeout(server.port);
        self.set_response_deadline(timeout.map(|timeout| Instant::now() + timeout));
        self.next_response().map_err(|error| match error.kind() {
            // It may wait for the client's handshake.
            io::ErrorKind::TimedOut => failed("the server sends no greeting").remedy(
                "if it expects TLS at once, set \"source_tls\" to \"implicit\"; else check the port",
            ),
            _ => lost(error),
        })?;
        self.set_response_deadline(None);
        // From the transcript: the sanitizer turns PREAUTH into OK.
        let greeting = self.transcript.last_line();
        if !greeting.to_ascii_uppercase().starts_with(b"* OK") {
            let what = format!("its greeting is {:?}", Untrusted::new(&greeting));
            return Err(failed(&what).remedy("check the port"));
        }
        self.run_in_plain_text("s1 CAPABILITY\r\n").map_err(lost)?;
        let offered = self.transcript.capabilities().unwrap_or_default();
        if !offered.has("STARTTLS") {
            return Err(failed("the server does not offer it")
                .remedy("use \"implicit\" TLS, or another server: nothing is sent unencrypted"));
        }
        let response = self.run_in_plain_text("s2 STARTTLS\r\n").map_err(lost)?;
        if !response.to_ascii_uppercase().starts_with(b"S2 OK") {
            let response = Untrusted::new(response.trim_ascii_end());
            return Err(failed(&format!("the server says {response:?}")));
        }
        // They would be read as the server's first encrypted response, whoever sent them.
        if !self.incoming.as_slice().is_empty() {
            let what = "the server sends octets between its OK and the handshake";
            return Err(failed(what));
        }
        self.greeting_is_read = true;
        self.transcript.clear_capabilities();
        Ok(())
    }

    /// Sends a command and returns its tagged response.
    fn run_in_plain_text(&mut self, command: &str) -> io::Result<Vec<u8>> {
        self.send_lines(command)?;
        loop {
            let response = self.next_response()?;
            if !response.is_untagged() && !response.octets.is_empty() {
                return Ok(response.octets);
            }
        }
    }
}

/// How long to wait for a greeting in plain text, where that is shorter than for other responses: a
/// server on port 993 waits for the handshake of TLS.
fn greeting_timeout(port: u16) -> Option<Duration> {
    (port == IMAPS).then_some(PLAIN_GREETING_ON_IMAPS_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_on_the_port_of_tls_the_wait_for_a_plain_greeting_is_short() {
        assert_eq!(greeting_timeout(993), Some(Duration::from_secs(5)));
        assert_eq!(greeting_timeout(143), None);
        assert_eq!(greeting_timeout(1993), None);
    }
}
