//! Verifies a server by a file of certificates (`source_ca_file`, `target_ca_file`).

use std::io;
use std::sync::Arc;

use rustls_connector::rustls::client::WebPkiServerVerifier;
use rustls_connector::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls_connector::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use rustls_connector::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_connector::rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};

use crate::net::certificate_validity::CertificateValidity;
use crate::net::trust::{chain_verifier, crypto_provider};

/// Accepts a server whose chain ends at one of these certificates, or whose own certificate is one
/// of them.
///
/// Small servers need the second: their certificate is self-signed, often with CA:TRUE and without
/// the server's name, which a chain verifier rejects. When the certificate is equal octet for octet,
/// flag and names add nothing; its dates and the handshake signature are verified all the same.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    /// None if webpki can read none of the certificates as an authority.
    chain_verifier: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    /// # Errors
    /// None of the certificates can be parsed.
    pub(super) fn new(pinned: Vec<CertificateDer<'static>>) -> io::Result<PinnedVerifier> {
        let chain_verifier = chain_verifier(&pinned).ok();
        let is_readable = |known: &CertificateDer| CertificateValidity::of(known).is_some();
        if chain_verifier.is_none() && !pinned.iter().any(is_readable) {
            return Err(io::Error::other("it holds no certificate that can be read"));
        }
        Ok(PinnedVerifier {
            pinned,
            chain_verifier,
            provider: crypto_provider(),
        })
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return CertificateValidity::of(end_entity)
                .ok_or(CertificateError::BadEncoding)
                .and_then(|validity| validity.check(now))
                .map(|()| ServerCertVerified::assertion())
                .map_err(TlsError::InvalidCertificate);
        }
        match &self.chain_verifier {
            Some(verifier) => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
