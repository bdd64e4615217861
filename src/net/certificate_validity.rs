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
pub(crate) struct CertificateValidity {
    not_before: i64,
    not_after: i64,
}

impl CertificateValidity {
    /// The validity that a certificate in DER states; none if it cannot be read.
    pub(crate) fn of(certificate: &[u8]) -> Option<CertificateValidity> {
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
        Some(CertificateValidity {
            not_before,
            not_after: moment(tag, text)?,
        })
    }

    /// Says whether it is valid at this moment, as a verifier says it.
    pub(crate) fn check(self, now: UnixTime) -> Result<(), CertificateError> {
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
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
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
    if rest.len() != 10 {
        return None;
    }
    let part = |index: usize| rest.get(index..index + 2)?.parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(year, part(0)?, part(2)?)?;
    let moment: NaiveDateTime = date.and_hms_opt(part(4)?, part(6)?, part(8)?)?;
    Some(moment.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn certificate(first: (i32, u8, u8), last: (i32, u8, u8)) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
        parameters.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_dates_of_a_certificate_are_read_and_kept_to() {
        // 1999 and 2030 as UTCTime, 2050 as GeneralizedTime (RFC 5280 4.1.2.5).
        let validity = CertificateValidity::of(&certificate((1999, 12, 31), (2030, 1, 1))).unwrap();
        assert_eq!(validity.not_before, 946_598_400);
        assert_eq!(validity.not_after, 1_893_456_000);
        let later = CertificateValidity::of(&certificate((2049, 12, 31), (2050, 1, 1))).unwrap();
        assert_eq!(later.not_before, 2_524_521_600);
        assert_eq!(later.not_after, 2_524_608_000);

        assert_eq!(
            validity.check(at(946_598_399)),
            Err(CertificateError::NotValidYet)
        );
        assert_eq!(validity.check(at(946_598_400)), Ok(()));
        assert_eq!(validity.check(at(1_893_456_000)), Ok(()));
        assert_eq!(
            validity.check(at(1_893_456_001)),
            Err(CertificateError::Expired)
        );
    }

    #[test]
    fn what_is_no_certificate_has_no_dates() {
        let whole = certificate((2020, 1, 1), (2030, 1, 1));
        for length in 0..whole.len() {
            assert_eq!(CertificateValidity::of(&whole[..length]), None);
        }
        assert_eq!(
            CertificateValidity::of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
            None
        );
        assert_eq!(CertificateValidity::of(&[0x30, 0x80]), None);
        for text in [
            "991231000000",
            "9912310000Z",
            "99123100000xZ",
            "993231000000Z",
            "-91231000000Z",
        ] {
            assert_eq!(moment(UTC_TIME, text.as_bytes()), None, "{text}");
        }
    }
}
