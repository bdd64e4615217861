//! Which certificates prove that a server is the one meant.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls_connector::rustls::client::WebPkiServerVerifier;
use rustls_connector::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls_connector::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls_connector::rustls::pki_types::pem::PemObject;
use rustls_connector::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_connector::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use rustls_connector::{RustlsConnector, rustls_native_certs};

use crate::config::{Server, TlsMode};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::net::certificate_validity::CertificateValidity;
use crate::untrusted::Untrusted;

/// Which certificates prove that a server is the one meant: loaded once, used by every connection.
#[derive(Clone)]
pub struct Trust {
    certificates: Arc<Vec<CertificateDer<'static>>>,
    connector: Option<Arc<ClientConfig>>,
}

impl Trust {
    /// What proves this server: the system's roots, or exactly what its `ca_file` holds.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate; the system has no roots.
    pub fn for_server(server: &Server) -> Result<Trust> {
        if server.tls == TlsMode::None {
            return Ok(Trust {
                certificates: Arc::default(),
                connector: None,
            });
        }
        Trust::load(server.ca_file.as_deref())
    }

    /// The system's roots, or exactly what the file holds.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate; the system has no roots.
    pub fn load(ca_file: Option<&Path>) -> Result<Trust> {
        let (place, certificates, verifier) = match ca_file {
            None => {
                let roots = system_roots()?;
                let verifier: io::Result<Arc<dyn ServerCertVerifier>> =
                    authorities(&roots).map(|known| known as Arc<dyn ServerCertVerifier>);
                ("the system's root certificates".to_owned(), roots, verifier)
            }
            Some(file) => {
                let known = read_certificates(file)?;
                let verifier: io::Result<Arc<dyn ServerCertVerifier>> =
                    PinnedVerifier::new(known.clone()).map(|these| Arc::new(these) as _);
                (Untrusted::path(file).to_string(), known, verifier)
            }
        };
        let config = verifier
            .and_then(client_config)
            .map_err(|error| Error::new(Side::Config, ErrorKind::Config, place, error))?;
        Ok(Trust {
            certificates: Arc::new(certificates),
            connector: Some(Arc::new(config)),
        })
    }

    /// The trusted certificates in DER, for the HTTPS agent that serves the same account.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(AsRef::as_ref)
    }

    /// What opens TLS; nothing where plain text was asked for.
    pub(crate) fn connector(&self) -> Option<RustlsConnector> {
        self.connector.clone().map(RustlsConnector::from)
    }
}

/// The one provider of cryptography in the tree.
#[must_use]
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn client_config(verifier: Arc<dyn ServerCertVerifier>) -> io::Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>> {
    let loaded = rustls_native_certs::load_native_certs();
    if loaded.certs.is_empty() {
        let why = match loaded.errors.first() {
            Some(error) => error.to_string(),
            None => "there are none".to_owned(),
        };
        return Err(Error::new(
            Side::Config,
            ErrorKind::Config,
            "the system's root certificates",
            why,
        )
        .remedy("install the package ca-certificates"));
    }
    Ok(loaded.certs)
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |what: String| {
        Error::in_file(Side::Config, file, what)
            .during("reading certificates")
            .remedy("name a PEM file that holds the certificates to trust")
    };
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// Verifies chains that end at one of these certificates.
fn authorities(certificates: &[CertificateDer<'static>]) -> io::Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
        .build()
        .map_err(io::Error::other)
}

/// Verifies a server by a file of certificates: by a chain that ends there, or by its own
/// certificate being one of them.
///
/// The second is what small servers have: a certificate signed by itself, often with CA:TRUE and
/// without the server's name, which a chain verifier rejects. Equal to the last octet, its flag
/// and its names say nothing more; dates and handshake signatures count as ever.
#[derive(Debug)]
struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    /// None if webpki can read none of them as an authority.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    fn new(pinned: Vec<CertificateDer<'static>>) -> io::Result<PinnedVerifier> {
        let authorities = authorities(&pinned).ok();
        if authorities.is_none()
            && !pinned
                .iter()
                .any(|known| CertificateValidity::of(known).is_some())
        {
            return Err(io::Error::other("it holds no certificate that can be read"));
        }
        Ok(PinnedVerifier {
            pinned,
            authorities,
            provider: crypto_provider(),
        })
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.iter().any(|known| known == certificate)
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
        if self.is_pinned(end_entity) {
            return CertificateValidity::of(end_entity)
                .ok_or(CertificateError::BadEncoding)
                .and_then(|validity| validity.check(now))
                .map(|()| ServerCertVerified::assertion())
                .map_err(TlsError::InvalidCertificate);
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(TlsError::InvalidCertificate(
                CertificateError::UnknownIssuer,
            )),
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

/// Why a handshake failed, and what can be done about it.
pub(crate) fn explain(error: &io::Error, name: &str) -> (String, Option<&'static str>) {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::InvalidCertificate(invalid)) => explain_certificate(invalid, name),
        Some(TlsError::InvalidMessage(_)) => (
            "it does not speak TLS on this port".to_owned(),
            Some("check the port, and whether it wants \"starttls\""),
        ),
        Some(other) => (other.to_string(), None),
        None => (
            super::tcp::describe_io_error(error),
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
            "its certificate is signed by nobody that is trusted here".to_owned(),
            Some(
                "if it is a private one, name the file that holds it (source_ca_file, target_ca_file)",
            ),
        ),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            "its certificate is one of an authority, not of a server".to_owned(),
            Some("if it is its own, name the file that holds it (source_ca_file, target_ca_file)"),
        ),
        other => (format!("its certificate is not valid: {other}"), None),
    }
}
