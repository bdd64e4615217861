//! Certificates for tests, good and bad.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// A server's certificate with its key and the certificate to trust, in PEM.
#[derive(Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
    pub authority: String,
}

impl Certificate {
    /// A self-signed certificate for these hosts.
    pub fn self_signed(names: &[&str]) -> Certificate {
        sign(&parameters(names))
    }

    /// A self-signed certificate with the CA flag and another host name, as `openssl req -x509` makes
    /// it.
    pub fn self_signed_like_openssl() -> Certificate {
        let mut parameters = parameters(&[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
            .distinguished_name
            .push(DnType::CommonName, "some.host");
        sign(&parameters)
    }

    /// A self-signed certificate that has expired.
    pub fn expired(names: &[&str]) -> Certificate {
        let mut parameters = parameters(names);
        parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        sign(&parameters)
    }

    /// A certificate for these hosts that a private authority signed.
    pub fn signed_by_authority(names: &[&str]) -> Certificate {
        let mut authority = parameters(&[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "A private authority");
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = parameters(names).signed_by(&key, &authority).unwrap();
        Certificate {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            authority: authority.pem(),
        }
    }
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap()
}

fn sign(parameters: &CertificateParams) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Certificate {
        chain: certificate.pem(),
        key: key.serialize_pem(),
        authority: certificate.pem(),
    }
}
