//! The TLS handshake, and a stream that is plain or encrypted.

use std::io::{self, Read, Write};
use std::time::Instant;

use rustls_connector::rustls::{CertificateError, Error as TlsError};
use rustls_connector::{HandshakeError, TlsStream};

use crate::config::Server;
use crate::error::{ErrorKind, Result};
use crate::net::pinned_verifier::is_ca_as_end_entity;
use crate::net::tcp::{TcpSocket, describe_io_error};
use crate::net::{ConnectionOptions, Trust};

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
        let Some(connector) = trust.connector() else {
            return internal("TLS without roots");
        };
        socket.set_deadline(Instant::now() + options.timeouts.response);
        let name = server.tls_name.as_str();
        let stream = connector.connect(name, socket).map_err(|error| {
            let error = match error {
                HandshakeError::Failure(error) => error,
                HandshakeError::WouldBlock(_) => io::ErrorKind::TimedOut.into(),
            };
            let (what, remedy) = explain(&error, name);
            let error = options.error(server, ErrorKind::Unavailable, what);
            let error = error.during("starting TLS");
            match remedy {
                Some(remedy) => error.remedy(remedy),
                None => error,
            }
        })?;
        Ok(Transport::Tls(Box::new(stream)))
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
fn explain(error: &io::Error, name: &str) -> (String, Option<&'static str>) {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(TlsError::InvalidCertificate(invalid)) => explain_certificate(invalid, name),
        Some(TlsError::InvalidMessage(_)) => (
            "it does not speak TLS on this port".to_owned(),
            Some("check the port, and whether it wants \"starttls\""),
        ),
        Some(other) => (TlsError::to_string(other), None),
        None => (
            describe_io_error(error),
            Some("if it stays so, check the port"),
        ),
    }
}

fn explain_certificate(invalid: &CertificateError, name: &str) -> (String, Option<&'static str>) {
    match invalid {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "its certificate has expired".to_owned(),
            Some("the certificate must be renewed, or this host's clock is wrong"),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "its certificate is not valid yet".to_owned(),
            Some("check this host's clock"),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is not for {name}"),
            Some("give the name that the certificate has (source_tls_name, target_server)"),
        ),
        CertificateError::UnknownIssuer => (
            "its certificate is not signed by a trusted authority".to_owned(),
            Some(
                "if it is a private one, name the file that holds it (source_ca_file, target_ca_file)",
            ),
        ),
        CertificateError::Other(other) if is_ca_as_end_entity(other) => (
            "its certificate is that of an authority, not of a server".to_owned(),
            Some("if it is its own, name the file that holds it (source_ca_file, target_ca_file)"),
        ),
        other => (format!("its certificate is not valid: {other}"), None),
    }
}
