//! From when to when a certificate is valid (RFC 5280 4.1.2.5).
//!
//! No more of X.509 than that: webpki tells it only of certificates whose flags and names it
//! accepts, and a server's own certificate is often not one of them.

use chrono::{NaiveDate, NaiveDateTime};
use rustls_connector::rustls::CertificateError;
use rustls_connector::rustls::pki_types::UnixTime;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when to when a certificate is valid, both inclusive, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    not_before: i64,
    not_after: i64,
}

impl Validity {
    /// The validity that a certificate in DER states; none if it cannot be read.
    pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut fields, _) = element(certificate, SEQUENCE)?;
        if let Some((_, after_version)) = element(fields, VERSION) {
            fields = after_version;
        }
        // Serial number, signature algorithm, issuer.
        for _ in 0..3 {
            fields = any_element(fields)?.2;
        }
        let (validity, _) = element(fields, SEQUENCE)?;
        let (first, second, rest) = any_element(validity)?;
        let not_before = moment(first, second)?;
        let (tag, text, _) = any_element(rest)?;
        Some(Validity {
            not_before,
            not_after: moment(tag, text)?,
        })
    }

    /// Says whether it is valid at this moment, as a verifier says it.
    pub(super) fn check(self, now: UnixTime) -> Result<(), CertificateError> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < self.not_before {
            Err(CertificateError::NotValidYet)
        } else if now > self.not_after {
            Err(CertificateError::Expired)
        } else {
            Ok(())
        }
    }
}

/// The contents of the element of this kind that comes first, and what follows it.
fn element(der: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, contents, rest) = any_element(der)?;
    (tag == expected).then_some((contents, rest))
}

/// The tag and contents of the element that comes first, and what follows it (X.690 8.1).
fn any_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if octets.is_empty() || octets.len() > 4 {
            return None;
        }
        let length = octets
            .iter()
            .fold(0, |length, octet| length << 8 | usize::from(*octet));
        (length, rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// A time as certificates write it: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on.
fn moment(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i32 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let part = |index: usize| rest.get(index..index + 2)?.parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(year, part(0)?, part(2)?)?;
    let moment: NaiveDateTime = date.and_hms_opt(part(4)?, part(6)?, part(8)?)?;
    Some(moment.and_utc().timestamp())
}
