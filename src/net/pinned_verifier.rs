//! Verifies a server by a file of certificates (`source_ca_file`, `target_ca_file`).

use std::io;
use std::sync::Arc;

use rustls_connector::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls_connector::rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls_connector::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use rustls_connector::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_connector::rustls::server::ParsedCertificate;
use rustls_connector::rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::net::trust::{chain_verifier, crypto_provider};

/// Accepts a server whose chain ends at one of these certificates, or whose own certificate is one
/// of them.
///
/// Small servers need the second: their certificate is self-signed, often with CA:TRUE and without
/// the server's name, which a chain verifier rejects. When the certificate is equal octet for
/// octet, flag and names add nothing; its dates and the handshake signature are verified all the
/// same.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    /// None if webpki can read none of the certificates as an authority.
    chain_verifier: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    /// # Errors
    /// None of the certificates can be parsed.
    pub(super) fn new(pinned: Vec<CertificateDer<'static>>) -> io::Result<PinnedVerifier> {
        let chain_verifier = chain_verifier(&pinned).ok();
        let is_readable = |known| ParsedCertificate::try_from(known).is_ok();
        if chain_verifier.is_none() && !pinned.iter().any(is_readable) {
            return Err(io::Error::other("it holds no certificate that can be read"));
        }
        Ok(PinnedVerifier {
            pinned,
            chain_verifier,
            provider: crypto_provider(),
        })
    }

    /// Checks the validity period of a certificate, both ends inclusive (RFC 5280 4.1.2.5).
    ///
    /// webpki has no call for the period alone, but checks it before anything else of a chain. So a
    /// chain without roots is verified, which fails in any case: with an error about the period or
    /// the encoding, or with one that webpki reports only after the period was found valid.
    fn check_validity(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let verified = ParsedCertificate::try_from(certificate).and_then(|parsed| {
            let no_roots = RootCertStore::empty();
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &no_roots, &[], now, algorithms)
        });
        match verified {
            Ok(()) => Ok(()),
            Err(TlsError::InvalidCertificate(error)) if follows_validity_check(&error) => Ok(()),
            Err(TlsError::InvalidCertificate(error)) => Err(error),
            Err(_) => Err(CertificateError::BadEncoding),
        }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.pinned.iter().any(|pinned| pinned == certificate) {
            self.check_validity(certificate, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chain_verifier {
            Some(chain) => chain.verify_server_cert(certificate, intermediates, name, ocsp, now),
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

/// Whether webpki reports this error only after it found the validity period valid. An error that
/// is not listed rejects the certificate.
fn follows_validity_check(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. } => true,
        CertificateError::Other(other) => is_ca_as_end_entity(other),
        _ => false,
    }
}

/// rustls has no variant for webpki's error about a server certificate with CA:TRUE.
pub(super) fn is_ca_as_end_entity(error: &OtherError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn certificate(first: (i32, u8, u8), last: (i32, u8, u8)) -> rcgen::CertificateParams {
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
        parameters.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
        parameters
    }

    fn self_signed(parameters: &rcgen::CertificateParams) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    fn check(der: &[u8], now: u64) -> Result<(), CertificateError> {
        let verifier = PinnedVerifier {
            pinned: Vec::new(),
            chain_verifier: None,
            provider: crypto_provider(),
        };
        let checked = verifier.check_validity(&CertificateDer::from(der.to_vec()), at(now));
        checked.map_err(|error| match error {
            CertificateError::ExpiredContext { .. } => CertificateError::Expired,
            CertificateError::NotValidYetContext { .. } => CertificateError::NotValidYet,
            other => other,
        })
    }

    fn is_valid_between(der: &[u8], not_before: u64, not_after: u64) {
        let early = check(der, not_before - 1);
        assert_eq!(early, Err(CertificateError::NotValidYet));
        assert_eq!(check(der, not_before), Ok(()));
        assert_eq!(check(der, not_after), Ok(()));
        let late = check(der, not_after + 1);
        assert_eq!(late, Err(CertificateError::Expired));
    }

    #[test]
    fn a_certificate_is_valid_within_its_dates_whatever_its_flags_and_purposes() {
        // 1999 and 2030 as UTCTime, 2050 as GeneralizedTime (RFC 5280 4.1.2.5).
        let usual = certificate((1999, 12, 31), (2030, 1, 1));
        let mut authority = usual.clone();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let mut for_clients = usual.clone();
        for_clients.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        for parameters in [usual, authority, for_clients] {
            is_valid_between(&self_signed(&parameters), 946_598_400, 1_893_456_000);
        }
        let later = self_signed(&certificate((2049, 12, 31), (2050, 1, 1)));
        is_valid_between(&later, 2_524_521_600, 2_524_608_000);
    }

    #[test]
    fn octets_that_are_no_certificate_are_rejected_as_badly_encoded() {
        let whole = self_signed(&certificate((1999, 12, 31), (2030, 1, 1)));
        let now = 1_700_000_000;
        assert_eq!(check(&whole, now), Ok(()));
        for length in 0..whole.len() {
            let cut = check(&whole[..length], now);
            assert_eq!(cut, Err(CertificateError::BadEncoding), "{length}");
        }
        for der in [
            [0x30, 0x84, 0xff, 0xff, 0xff, 0xff].as_slice(),
            &[0x30, 0x80],
        ] {
            assert_eq!(check(der, now), Err(CertificateError::BadEncoding));
        }
        let date = b"991231000000Z";
        let at = whole.windows(date.len()).position(|part| part == date);
        let at = at.unwrap();
        for text in [
            "9912310000000",
            "99123100000xZ",
            "993231000000Z",
            "-91231000000Z",
        ] {
            let mut wrong = whole.clone();
            wrong[at..at + date.len()].copy_from_slice(text.as_bytes());
            assert_eq!(
                check(&wrong, now),
                Err(CertificateError::BadEncoding),
                "{text}"
            );
        }
    }
}
