//! The token endpoint over TLS: which certificates are trusted.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use chrono::Utc;
use imap_to_gmail_sync::error::{ErrorKind, Result};
use imap_to_gmail_sync::net::crypto_provider;
use imap_to_gmail_sync::oauth::Token;
use imap_to_gmail_sync::secret::Secret;
use rustls_connector::rustls::pki_types::pem::PemObject;
use rustls_connector::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_connector::rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::http;

/// A token endpoint with this certificate that always issues a token; returns its address.
fn endpoint(certificate: &Certificate) -> String {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(|it| it.unwrap()).collect(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!(
        "https://localhost:{}/token",
        listener.local_addr().unwrap().port()
    );
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut reader = BufReader::new(StreamOwned::new(session, socket.unwrap()));
            // A client that does not trust the certificate closes the connection.
            let _ = issue_token(&mut reader);
        }
    });
    uri
}

fn issue_token<S: Read + Write>(reader: &mut BufReader<S>) -> std::io::Result<()> {
    http::read_request(reader)?;
    let token = r#"{"access_token":"NEW","expires_in":3599,"token_type":"Bearer"}"#;
    http::respond_json(reader.get_mut(), token)
}

/// Renews a token there, trusting this authority.
fn renew(uri: &str, trusted: &Certificate) -> Result<Secret> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token.json");
    let fields = format!(r#"{{"refresh_token":"R","client_id":"I","token_uri":"{uri}"}}"#);
    fs::write(&file, fields).unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, &trusted.authority).unwrap();
    Token::load(&file, Some(&ca_file), "auth", None)
        .unwrap()
        .access(Utc::now())
}

#[test]
fn the_ca_file_is_trusted_at_the_token_endpoint_and_no_other_authority_is() {
    let certificate = Certificate::signed_by_authority(&["localhost"]);
    let uri = endpoint(&certificate);
    assert_eq!(renew(&uri, &certificate).unwrap().expose(), "NEW");

    let other = Certificate::signed_by_authority(&["localhost"]);
    let error = renew(&uri, &other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("target_ca_file"), "{error}");

    let elsewhere = Certificate::signed_by_authority(&["example.com"]);
    let error = renew(&endpoint(&elsewhere), &elsewhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("target_ca_file"), "{error}");
}
