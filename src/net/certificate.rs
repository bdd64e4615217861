//! Reads a server's certificate for the user (RFC 5280). Decides nothing: rustls verifies.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A certificate, as a user compares it. All text is the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateDetails {
    pub subject: String,
    pub issuer: String,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    pub not_before: DateTime<Utc>,
    pub not_after: DateTime<Utc>,
}

impl CertificateDetails {
    /// `None` if these octets are no certificate.
    pub fn of(der: &[u8]) -> Option<CertificateDetails> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| &extension.value.general_names);
        Some(CertificateDetails {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names.into_iter().flatten().filter_map(host_name).collect(),
            not_before: DateTime::from_timestamp(validity.not_before.timestamp(), 0)?,
            not_after: DateTime::from_timestamp(validity.not_after.timestamp(), 0)?,
        })
    }
}

fn host_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => {
            let address = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The SHA-256 fingerprint as `openssl x509 -fingerprint -sha256` prints it.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    let octets: Vec<String> = Sha256::digest(der)
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    octets.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Vec<u8> {
        let names = vec!["a.example".to_owned(), "192.0.2.1".to_owned()];
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2030, 1, 2);
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "a\u{1b}[2J");
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_tells_its_names_and_its_expiry() {
        let read = CertificateDetails::of(&certificate()).unwrap();
        assert_eq!(read.names, ["a.example", "192.0.2.1"]);
        assert_eq!(read.not_after.to_rfc3339(), "2030-01-02T00:00:00+00:00");
        assert!(read.subject.contains("CN=a"), "{read:?}");
        assert_eq!(read.subject, read.issuer);
    }

    #[test]
    fn octets_that_are_no_certificate_have_a_fingerprint_only() {
        let whole = certificate();
        for length in 0..whole.len() {
            assert_eq!(CertificateDetails::of(&whole[..length]), None, "{length}");
        }
        for (number, octet) in (0..whole.len()).flat_map(|at| [(at, 0), (at, 0xff)]) {
            let mut wrong = whole.clone();
            wrong[number] = octet;
            // It may still be one; reading it must not panic.
            let _ = CertificateDetails::of(&wrong);
        }
        assert_eq!(
            fingerprint(b"abc"),
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:\
             F2:00:15:AD"
        );
    }
}
