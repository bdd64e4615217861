//! What both HTTP clients share, those of the token endpoint and of the Gmail API: trust, no redirects, no
//! proxy, and failures in words.

use std::io;
use std::path::Path;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

use crate::error::Result;
use crate::net::{Trust, crypto_provider, describe_io_error};
use crate::untrusted::Untrusted;

/// The options of an agent that trusts the certificates of `ca_file`, or the system's.
///
/// # Errors
/// The certificates cannot be loaded.
pub(crate) fn agent_config(
    is_encrypted: bool,
    ca_file: Option<&Path>,
) -> Result<ConfigBuilder<AgentScope>> {
    let tls = is_encrypted.then(|| tls(ca_file)).transpose()?;
    let config = Agent::config_builder()
        .tls_config(tls.unwrap_or_default())
        .https_only(is_encrypted)
        // A redirect must not send the secrets elsewhere.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        // The IMAP connections use no proxy either.
        .proxy(None);
    Ok(config)
}

/// The same trust as on the connections to the account's mail server.
fn tls(ca_file: Option<&Path>) -> Result<TlsConfig> {
    let trust = Trust::load(ca_file)?;
    let certificates: Vec<Certificate<'static>> = trust
        .certificates()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(crypto_provider())
        .build())
}

/// Whether the server's certificate could not be verified: rustls reports it as invalid data.
pub(crate) fn is_verification_failure(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData)
}

/// Why there is no response.
pub(crate) fn describe_failure(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => Untrusted::new(&describe_io_error(error)).to_string(),
        ureq::Error::Timeout(_) => describe_io_error(&io::ErrorKind::TimedOut.into()),
        ureq::Error::HostNotFound => "the host name has no address".to_owned(),
        other => Untrusted::new(&other.to_string()).to_string(),
    }
}
