//! Loads the certificates that are trusted, and makes the TLS configuration from them.

use std::env;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use openssl_probe::{ENV_CERT_DIR, ENV_CERT_FILE, ProbeResult};
use rustls_connector::RustlsConnector;
use rustls_connector::rustls::client::WebPkiServerVerifier;
use rustls_connector::rustls::client::danger::ServerCertVerifier;
use rustls_connector::rustls::crypto::{CryptoProvider, ring};
use rustls_connector::rustls::pki_types::CertificateDer;
use rustls_connector::rustls::pki_types::pem::PemObject;
use rustls_connector::rustls::{ClientConfig, RootCertStore};
use rustls_connector::rustls_native_certs::{
    CertificateResult, load_certs_from_paths, load_native_certs,
};

use crate::config::encoding::{SAVE_AS_UTF8, check_encoding};
use crate::config::{Server, TlsMode};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::file_access;
use crate::net::peer::{PeerRecorder, RecordingVerifier};
use crate::net::pinned_verifier::PinnedVerifier;
use crate::untrusted::Untrusted;

/// The system's root certificates as error messages name them.
const SYSTEM_ROOTS: &str = "the system's root certificates";

/// The certificates that are trusted for a server: loaded once, used by every connection to it.
#[derive(Clone, Default)]
pub struct Trust {
    certificates: Arc<Vec<CertificateDer<'static>>>,
    verifier: Option<Arc<dyn ServerCertVerifier>>,
    connector: Option<Arc<ClientConfig>>,
}

impl Trust {
    /// The system's roots, or exactly the certificates in the server's `ca_file`; nothing where
    /// plain text is configured.
    ///
    /// # Errors
    /// As for [`load`](Trust::load).
    pub fn for_server(server: &Server) -> Result<Trust> {
        if server.tls == TlsMode::None {
            return Ok(Trust::default());
        }
        Trust::load(server.ca_file.as_deref())
    }

    /// The system's roots, or exactly the certificates in the file.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate; the system has no roots.
    pub fn load(ca_file: Option<&Path>) -> Result<Trust> {
        let (place, certificates, verifier) = match ca_file {
            None => {
                let roots = system_roots()?;
                let verifier = chain_verifier(&roots);
                (SYSTEM_ROOTS.to_owned(), roots, verifier)
            }
            Some(file) => {
                let pinned = read_certificates(file)?;
                let verifier =
                    PinnedVerifier::new(pinned.clone()).map(|verifier| Arc::new(verifier) as _);
                (Untrusted::path(file).to_string(), pinned, verifier)
            }
        };
        let wrong = |error| Error::new(Side::Config, ErrorKind::Config, &place, error);
        let verifier = verifier.map_err(wrong)?;
        let config = client_config(Arc::clone(&verifier)).map_err(wrong)?;
        Ok(Trust {
            certificates: Arc::new(certificates),
            verifier: Some(verifier),
            connector: Some(Arc::new(config)),
        })
    }

    /// The trusted certificates in DER, for the HTTPS agent that serves the same account.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(AsRef::as_ref)
    }

    /// `None` where plain text is configured. With a recorder no earlier session is resumed, in which
    /// the server would present no certificate.
    pub(super) fn connector(&self, recorder: Option<&PeerRecorder>) -> Option<RustlsConnector> {
        let Some(recorder) = recorder else {
            return self.connector.clone().map(RustlsConnector::from);
        };
        let recording = RecordingVerifier {
            recorder: recorder.clone(),
            verifier: self.verifier.clone()?,
        };
        let config = client_config(Arc::new(recording)).ok()?;
        Some(RustlsConnector::from(Arc::new(config)))
    }
}

/// The only provider of cryptography in the dependency tree: with two, rustls panics at the first
/// handshake.
#[must_use]
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Verifies that a server's chain ends at one of these certificates and names the server.
pub(super) fn chain_verifier(
    roots: &[CertificateDer<'static>],
) -> io::Result<Arc<dyn ServerCertVerifier>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), crypto_provider());
    Ok(builder.build().map_err(io::Error::other)?)
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
    let is_set = |variable| env::var_os(variable).is_some();
    let loaded = if is_set(ENV_CERT_FILE) || is_set(ENV_CERT_DIR) {
        load_native_certs()
    } else {
        load_first(&openssl_probe::probe())
    };
    if loaded.certs.is_empty() {
        let why = match loaded.errors.first() {
            Some(error) => error.to_string(),
            None => "there are none".to_owned(),
        };
        let error = Error::new(Side::Config, ErrorKind::Config, SYSTEM_ROOTS, why);
        return Err(error.remedy("install the package ca-certificates"));
    }
    Ok(loaded.certs)
}

/// Loads the file, and the folders only if it has no certificate: usually they have the same ones again,
/// each in a file of its own, and reading those takes longer than everything else in a short run.
fn load_first(places: &ProbeResult) -> CertificateResult {
    let file = places.cert_file.iter().map(|file| (Some(&**file), None));
    let folders = places.cert_dir.iter().map(|folder| (None, Some(&**folder)));
    let mut errors = Vec::new();
    for (file, folder) in file.chain(folders) {
        let loaded = load_certs_from_paths(file, folder);
        if !loaded.certs.is_empty() {
            return loaded;
        }
        errors.extend(loaded.errors);
    }
    let mut nothing = CertificateResult::default();
    nothing.errors = errors;
    nothing
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |what: String| {
        Error::in_file(Side::Config, file, what)
            .during("reading certificates")
            .remedy("name a PEM file that holds the certificates to trust")
    };
    let read = || {
        let mut octets = Vec::new();
        file_access::open_to_read(file)?.read_to_end(&mut octets)?;
        io::Result::Ok(octets)
    };
    let text = read().map_err(|error| wrong(error.to_string()))?;
    let text = check_encoding(text).map_err(|what| {
        Error::in_file(Side::Config, file, what)
            .during("reading certificates")
            .remedy(SAVE_AS_UTF8)
    })?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_folder_of_the_system_roots_is_read_only_without_their_file() {
        let certificate = |name: &str| {
            let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
            let key = rcgen::KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap()
        };
        let (in_file, in_folder) = (certificate("file"), certificate("folder"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("root.pem"), in_folder.pem()).unwrap();
        let other_folder = tempfile::tempdir().unwrap();
        let file = other_folder.path().join("roots.crt");
        let loaded = || {
            load_first(&ProbeResult {
                cert_file: Some(file.clone()),
                cert_dir: vec![folder.path().to_owned()],
            })
        };
        let holds = |certificate: &rcgen::Certificate| {
            let loaded = loaded().certs;
            loaded == [certificate.der().clone()]
        };

        assert!(holds(&in_folder), "there is no file");
        fs::write(&file, "no certificate").unwrap();
        assert!(holds(&in_folder), "the file has no certificate");
        fs::write(&file, in_file.pem()).unwrap();
        assert!(holds(&in_file));

        fs::remove_file(folder.path().join("root.pem")).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(loaded().certs.is_empty());
        assert!(
            loaded()
                .errors
                .first()
                .is_some_and(|error| { error.to_string().contains("roots.crt") })
        );
    }
}
