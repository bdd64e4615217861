//! The TLS handshake, and a stream that is plain or encrypted.

use std::io::{self, Read, Write};
use std::time::Instant;

use rustls_connector::rustls::{CertificateError, Error as TlsError};
use rustls_connector::{HandshakeError, TlsStream};

use crate::config::Server;
use crate::error::{ErrorKind, Result, Side};
use crate::net::pinned_verifier::is_ca_as_end_entity;
use crate::net::tcp::{TcpSocket, describe_io_error};
use crate::net::{ConnectionOptions, Trust};
use crate::untrusted::Untrusted;

/// An error message shows this many names of a certificate.
const MAX_NAMES: usize = 5;

/// A stream to a server, plain or encrypted.
pub(crate) enum Transport {
    Plain(TcpSocket),
    Tls(Box<TlsStream<TcpSocket>>),
}

impl Transport {
    /// Performs the TLS handshake on a plain stream; afterwards the server has proved its identity.
    pub(crate) fn encrypt(
        self,
        server: &Server,
        trust: &Trust,
        options: &ConnectionOptions,
    ) -> Result<Transport> {
        let internal = |what: &str| Err(options.error(server, ErrorKind::Internal, what));
        let Transport::Plain(mut socket) = self else {
            return internal("TLS within TLS");
        };
        let Some(connector) = trust.connector(options.recorder.as_ref()) else {
            return internal("TLS without roots");
        };
        socket.set_deadline(Instant::now() + options.timeouts.response);
        let name = server.tls_name.as_str();
        let stream = connector.connect(name, socket).map_err(|error| {
            let error = match error {
                HandshakeError::Failure(error) => error,
                HandshakeError::WouldBlock(_) => io::ErrorKind::TimedOut.into(),
            };
            let (what, remedy) = explain(&error, name, options.side);
            let error = options.error(server, ErrorKind::Unavailable, what);
            let error = error.during("starting TLS");
            match remedy {
                Some(remedy) => error.remedy(remedy),
                None => error,
            }
        })?;
        if let Some(recorder) = &options.recorder {
            recorder.encrypted(stream.conn.protocol_version());
        }
        Ok(Transport::Tls(Box::new(stream)))
    }

    /// Sends the last octets and the end of the stream in one write, and closes it without waiting for
    /// the peer.
    pub(crate) fn finish(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.write_all(octets)?,
            Transport::Tls(stream) => {
                stream.conn.writer().write_all(octets)?;
                stream.conn.send_close_notify();
                while stream.conn.wants_write() {
                    stream.conn.write_tls(&mut stream.sock)?;
                }
            }
        }
        self.socket().finish()
    }

    /// The socket below, for deadlines and waiting.
    pub(crate) fn socket(&mut self) -> &mut TcpSocket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.read(into),
            Transport::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.write(octets),
            Transport::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.flush(),
            Transport::Tls(stream) => stream.flush(),
        }
    }
}

/// Why a handshake failed, and what the user can do about it.
fn explain(error: &io::Error, name: &str, side: Side) -> (String, Option<&'static str>) {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(TlsError::InvalidCertificate(invalid)) => explain_certificate(invalid, name, side),
        Some(TlsError::InvalidMessage(_)) => (
            "the server does not speak TLS on this port".to_owned(),
            Some(if side == Side::Gmail {
                "check target_port"
            } else {
                "check source_port, or set \"source_tls\" to \"starttls\""
            }),
        ),
        Some(other) => (TlsError::to_string(other), None),
        None => (
            describe_io_error(error),
            Some("if this persists, check the port"),
        ),
    }
}

fn explain_certificate(
    invalid: &CertificateError,
    name: &str,
    side: Side,
) -> (String, Option<&'static str>) {
    match invalid {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "its certificate has expired".to_owned(),
            Some("the certificate must be renewed, or this host's clock is wrong"),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "its certificate is not valid yet".to_owned(),
            Some("check this host's clock"),
        ),
        CertificateError::NotValidForName => (
            format!("its certificate is not for {name}"),
            Some(wrong_name_remedy(side)),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("its certificate is not for {name}, {}", names(presented)),
            Some(wrong_name_remedy(side)),
        ),
        CertificateError::UnknownIssuer => (
            "its certificate is not signed by a trusted authority".to_owned(),
            Some(
                "if it is a private one, name the file that holds it (source_ca_file, target_ca_file)",
            ),
        ),
        CertificateError::Other(other) if is_ca_as_end_entity(other) => (
            "its certificate is that of a certificate authority, not of a server".to_owned(),
            Some(
                "if it belongs to the server itself, name the file that holds it (source_ca_file, \
                 target_ca_file)",
            ),
        ),
        other => (format!("its certificate is not valid: {other}"), None),
    }
}

fn wrong_name_remedy(side: Side) -> &'static str {
    if side == Side::Gmail {
        "correct target_server"
    } else {
        "correct source_server, or, only if that is your server, set source_tls_name to a name that \
         the certificate has"
    }
}

/// The names of a certificate, for an error message. rustls presents them as `DnsName("a.example")` and
/// `IpAddress(192.0.2.1)`.
fn names(presented: &[String]) -> String {
    let name = |name: &String| {
        let name = name
            .strip_prefix("DnsName(\"")
            .and_then(|name| name.strip_suffix("\")"))
            .or_else(|| name.strip_prefix("IpAddress(")?.strip_suffix(')'))?;
        Some(Untrusted::new(name).to_string())
    };
    let mut names: Vec<String> = presented.iter().filter_map(name).collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    match (names.as_slice(), more) {
        ([], _) => "and has no name".to_owned(),
        (names, 0) => format!("but for {}", names.join(", ")),
        (names, more) => format!("but for {} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_shows_a_bounded_number_of_harmless_names() {
        let dns = |name: &str| format!("DnsName(\"{name}\")");
        assert_eq!(names(&[]), "and has no name");
        assert_eq!(
            names(&[dns("a.example"), "IpAddress(192.0.2.1)".to_owned()]),
            "but for a.example, 192.0.2.1"
        );
        assert_eq!(names(&[dns("a\n\u{1b}[2J")]), "but for a\\n\\u{1b}[2J");
        let many: Vec<String> = (0..9).map(|number| dns(&format!("h{number}"))).collect();
        assert_eq!(names(&many), "but for h0, h1, h2, h3, h4 and 4 more");
    }
}
