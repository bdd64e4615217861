//! What a recorded connection shows of a server: address, TLS, certificate.

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{Server, TlsMode};
use crate::error::Error;
use crate::net::{CertificateDetails, PeerRecord, fingerprint};
use crate::run::check::finding::{Findings, Group};
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// A certificate is usually renewed earlier.
const EXPIRES_SOON: TimeDelta = TimeDelta::days(14);

/// This many names of a certificate, or addresses of a server, are shown.
const MAX_SHOWN: usize = 5;

/// Reports how far the connection got, and its failure if it did not get as far as to the log-in.
/// Returns whether it did.
pub(super) fn check_connection(
    group: Group,
    server: &Server,
    record: &PeerRecord,
    failure: Option<&Error>,
    now: DateTime<Utc>,
    findings: &mut Findings<'_>,
) -> bool {
    let failed = |check, findings: &mut Findings<'_>| {
        if let Some(error) = failure {
            findings.fail(group, check, error);
        }
        false
    };
    if record.addresses.is_empty() {
        return failed("address", findings);
    }
    let host = Untrusted::new(&server.host);
    let addresses = some_of(record.addresses.iter().map(ToString::to_string));
    findings.ok(group, "address", format_args!("{host} is {addresses}"));
    let Some(address) = record.connected else {
        return failed("connection", findings);
    };
    let port = server.port;
    findings.ok(
        group,
        "connection",
        format_args!("{address} port {port} accepts it"),
    );
    if server.tls == TlsMode::None {
        findings.ok(group, "TLS", "none is used: the server is this host itself");
        return true;
    }
    let presented = record.certificate.as_deref();
    match (record.tls_version, presented) {
        (None, None) => failed("TLS", findings),
        (None, Some(der)) => {
            if let Some(error) = failure {
                let (what, shown) = (error.without_remedy(), describe_certificate(der, now));
                let found = format!("{what}; it presents {shown}; no log-in was sent");
                let remedy = error.remedy_text().unwrap_or("ask whoever runs the server");
                let hint = if is_expired(der, now) {
                    ""
                } else {
                    "; first compare the fingerprint with that of the server's own certificate"
                };
                let error = error
                    .without_remedy()
                    .remedy(format_args!("{remedy}{hint}"));
                findings.fail_with(group, "certificate", &error, &found);
            }
            false
        }
        (Some(version), presented) => {
            let start = match server.tls {
                TlsMode::StartTls => ", by STARTTLS",
                TlsMode::Implicit | TlsMode::None => "",
            };
            findings.ok(group, "TLS", format_args!("{version}{start}"));
            if let Some(der) = presented {
                check_certificate(group, der, now, findings);
            }
            true
        }
    }
}

fn is_expired(der: &[u8], now: DateTime<Utc>) -> bool {
    CertificateDetails::of(der).is_some_and(|read| read.not_after <= now)
}

/// A certificate that is trusted.
fn check_certificate(group: Group, der: &[u8], now: DateTime<Utc>, findings: &mut Findings<'_>) {
    let shown = describe_certificate(der, now);
    let left = CertificateDetails::of(der).map(|read| read.not_after.signed_duration_since(now));
    match left.filter(|left| *left < EXPIRES_SOON) {
        Some(left) => findings.warn(
            group,
            "certificate",
            format_args!("it expires in {} days: {shown}", left.num_days().max(0)),
            "the certificate of the server must be renewed, by whoever runs it",
        ),
        None => findings.ok(group, "certificate", shown),
    }
}

fn describe_certificate(der: &[u8], now: DateTime<Utc>) -> String {
    let fingerprint = fingerprint(der);
    let Some(read) = CertificateDetails::of(der) else {
        return format!("a certificate that cannot be read, SHA-256 fingerprint {fingerprint}");
    };
    let names = match read.names.len() {
        0 => "no name".to_owned(),
        _ => some_of(
            read.names
                .iter()
                .map(|name| Untrusted::new(name).to_string()),
        ),
    };
    let (subject, issuer) = (Untrusted::new(&read.subject), Untrusted::new(&read.issuer));
    let issuer = if read.subject == read.issuer {
        "itself".to_owned()
    } else {
        format!("{issuer}")
    };
    let until = format_time(read.not_after);
    let from = if read.not_before > now {
        format!("from {} ", format_time(read.not_before))
    } else {
        String::new()
    };
    format!(
        "{subject}, for {names}, issued by {issuer}, valid {from}until {until}, SHA-256 fingerprint \
         {fingerprint}"
    )
}

/// The first few, and how many more there are.
pub(super) fn some_of(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(MAX_SHOWN);
    all.truncate(MAX_SHOWN);
    let shown = all.join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
