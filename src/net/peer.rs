//! What a connection shows of its server: addresses, TLS and certificates, for `check`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_connector::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls_connector::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_connector::rustls::{
    DigitallySignedStruct, Error as TlsError, ProtocolVersion, SignatureScheme,
};

/// Records what connections show of their server, also of one that is not trusted. Clones share the
/// record; it is about the last connection.
#[derive(Debug, Clone, Default)]
pub struct PeerRecorder(Arc<Mutex<PeerRecord>>);

/// What is known of a server. Each part is recorded when the connection gets there.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerRecord {
    /// The addresses of its name.
    pub addresses: Vec<IpAddr>,
    /// The address that accepted the connection.
    pub connected: Option<IpAddr>,
    /// The certificate that it presented, in DER, whether it is trusted or not.
    pub certificate: Option<Vec<u8>>,
    /// Set if the handshake is complete: the server has proved its identity.
    pub tls_version: Option<&'static str>,
}

impl PeerRecorder {
    /// The record so far.
    pub(crate) fn record(&self) -> PeerRecord {
        self.lock().clone()
    }

    /// Another connection begins; its server has these addresses.
    pub(super) fn resolved(&self, addresses: &[SocketAddr]) {
        *self.lock() = PeerRecord {
            addresses: addresses.iter().map(SocketAddr::ip).collect(),
            ..PeerRecord::default()
        };
    }

    pub(super) fn connected(&self, address: SocketAddr) {
        self.lock().connected = Some(address.ip());
    }

    pub(super) fn encrypted(&self, version: Option<ProtocolVersion>) {
        self.lock().tls_version = Some(match version {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        });
    }

    fn presented(&self, certificate: &CertificateDer<'_>) {
        self.lock().certificate = Some(certificate.to_vec());
    }

    fn lock(&self) -> MutexGuard<'_, PeerRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the certificate before another verifier decides about it. rustls has no default for the
/// methods that only pass on.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    pub recorder: PeerRecorder,
    pub verifier: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.recorder.presented(certificate);
        self.verifier
            .verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
