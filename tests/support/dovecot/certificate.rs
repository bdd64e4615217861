//! Certificates for tests, good and bad.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// A server's certificate with its key, and what to trust to believe it; all in PEM.
#[derive(Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
    pub authority: String,
}

impl Certificate {
    /// One that signs itself and names these hosts.
    pub fn of_its_own(names: &[&str]) -> Certificate {
        self_signed(&parameters(names))
    }

    /// One that signs itself, says that it is an authority, and names another host: what
    /// `openssl req -x509` makes.
    pub fn of_its_own_as_openssl_makes_it() -> Certificate {
        let mut parameters = parameters(&[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
            .distinguished_name
            .push(DnType::CommonName, "some.host");
        self_signed(&parameters)
    }

    /// One that signed itself and has expired.
    pub fn expired(names: &[&str]) -> Certificate {
        let mut parameters = parameters(names);
        parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self_signed(&parameters)
    }

    /// One that a private authority signed for these hosts.
    pub fn signed_by_an_authority(names: &[&str]) -> Certificate {
        let mut parameters_of_authority = parameters(&[]);
        parameters_of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters_of_authority.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters_of_authority
            .distinguished_name
            .push(DnType::CommonName, "A private authority");
        let authority =
            CertifiedIssuer::self_signed(parameters_of_authority, KeyPair::generate().unwrap())
                .unwrap();
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

fn self_signed(parameters: &CertificateParams) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Certificate {
        chain: certificate.pem(),
        key: key.serialize_pem(),
        authority: certificate.pem(),
    }
}
