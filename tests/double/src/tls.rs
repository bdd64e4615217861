//! A certification authority and its certificates.

use std::sync::Arc;

use chrono::{Datelike, TimeDelta, Utc};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The kind of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Certificate {
    /// Signed by the authority of `ca_pem`, for `localhost`, 127.0.0.1 and `::1`.
    #[default]
    Good,
    /// The same for these names only.
    For(Vec<String>),
    /// Expired in 2021.
    Expired,
    /// Expires after this many days.
    ExpiringIn(u32),
    /// Valid from 2090.
    NotYetValid,
    /// Self-signed with CA:TRUE, as openssl makes it; `ca_pem` is this certificate.
    SelfSigned,
    /// Signed by another authority than that of `ca_pem`.
    UnknownAuthority,
}

/// A server's TLS configuration, and the certificate to trust.
pub(crate) struct Identity {
    /// The server's configuration.
    pub config: Arc<ServerConfig>,
    /// The certificate that clients must trust.
    pub ca_pem: String,
}

impl Identity {
    /// Creates keys, an authority and a certificate.
    pub fn new(certificate: &Certificate) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = params_of(certificate);
        let (certified, ca_pem) = if *certificate == Certificate::SelfSigned {
            let own = params.self_signed(&key).unwrap();
            let pem = own.pem();
            (own, pem)
        } else {
            let (authority, pem) = authority("the double");
            let certified = params.signed_by(&key, &authority).unwrap();
            let (_, stranger) = self::authority("a stranger");
            let pem = match certificate {
                Certificate::UnknownAuthority => stranger,
                _ => pem,
            };
            (certified, pem)
        };
        Identity {
            config: Arc::new(config(certified.der().clone(), &key)),
            ca_pem,
        }
    }
}

fn params_of(certificate: &Certificate) -> CertificateParams {
    let names = match certificate {
        Certificate::For(names) => names.clone(),
        _ => ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec(),
    };
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    match certificate {
        Certificate::Expired => params.not_after = date_time_ymd(2021, 1, 1),
        Certificate::ExpiringIn(days) => {
            let day = Utc::now() + TimeDelta::days((*days).into());
            let month = u8::try_from(day.month()).unwrap();
            let day_of_month = u8::try_from(day.day()).unwrap();
            params.not_after = date_time_ymd(day.year(), month, day_of_month);
        }
        Certificate::NotYetValid => params.not_before = date_time_ymd(2090, 1, 1),
        Certificate::SelfSigned => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        _ => {}
    }
    params
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}
