//! Content digests: 64 bits of SHA-256 over the header fields, and 64 over the body.
//!
//! They distinguish messages of one Message-ID. The header part is known from a listing, the body
//! part once the message was fetched.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::message::hasher::CanonicalHasher;

/// A digest of the Date, From and Subject fields, unfolded and trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderDigest(u64);

impl HeaderDigest {
    /// The digest of the unfolded values of these fields.
    pub(super) fn of_fields(values: [&str; 3]) -> HeaderDigest {
        let mut hash = Sha256::new();
        for value in values {
            hash.update(value.as_bytes());
            hash.update(b"\n");
        }
        HeaderDigest(first_64_bits(hash))
    }
}

/// A digest of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyDigest(u64);

impl BodyDigest {
    /// The digest of the body of a whole message, in its canonical form: without NUL octets, CRLF
    /// as LF. It is the same for the source's octets, for a copy that was normalized so that Gmail
    /// accepts it, and for what a server returns that stores line ends its own way.
    #[must_use]
    pub fn of_message(octets: &[u8]) -> BodyDigest {
        BodyDigest(hash_canonical(body(octets)))
    }

    pub(super) fn of_hash(hash: u64) -> BodyDigest {
        BodyDigest(hash)
    }
}

/// Both parts of a content digest; without the body part if only a listing was seen.
///
/// As text: 16 hexadecimal digits each with a colon between them, `hhhh…:bbbb…` or `hhhh…:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Cow<'_, str>")]
pub struct Digest {
    /// Over Date, From and Subject.
    pub header: HeaderDigest,
    /// Over the body.
    pub body: Option<BodyDigest>,
}

impl Digest {
    /// The digest of a message whose body is not known.
    pub(crate) fn of_header(header: HeaderDigest) -> Digest {
        Digest { header, body: None }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}:", self.header.0)?;
        match self.body {
            Some(body) => write!(f, "{:016x}", body.0),
            None => Ok(()),
        }
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Digest, String> {
        let hex = |part: &str| {
            let is_hex = part.len() == 16 && part.bytes().all(|octet| octet.is_ascii_hexdigit());
            u64::from_str_radix(part, 16).ok().filter(|_| is_hex)
        };
        let parse = || {
            let (header, body) = text.split_once(':')?;
            let body = if body.is_empty() {
                None
            } else {
                Some(BodyDigest(hex(body)?))
            };
            Some(Digest {
                header: HeaderDigest(hex(header)?),
                body,
            })
        };
        parse().ok_or_else(|| "a digest is two parts of 16 hexadecimal digits".to_owned())
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<Cow<'_, str>> for Digest {
    type Error = String;

    fn try_from(text: Cow<'_, str>) -> Result<Digest, String> {
        text.parse()
    }
}

/// The octets before the empty line that ends the header, or all of them.
fn head(octets: &[u8]) -> &[u8] {
    octets.get(..head_length(octets)).unwrap_or(octets)
}

/// The header with the empty line that ends it, also where the message lacks that.
pub(super) fn header_block(octets: &[u8]) -> Vec<u8> {
    [head(octets), b"\r\n\r\n"].concat()
}

/// The octets after the empty line that ends the header (RFC 5322 2.1); none if there is no such line.
fn body(octets: &[u8]) -> &[u8] {
    let rest = octets.get(head_length(octets)..).unwrap_or_default();
    rest.strip_prefix(b"\r\n")
        .or_else(|| rest.strip_prefix(b"\n"))
        .unwrap_or(rest)
}

/// Where the empty line begins, line ends being CRLF or LF.
fn head_length(octets: &[u8]) -> usize {
    let mut begin = 0;
    while let Some(line) = octets.get(begin..).filter(|rest| !rest.is_empty()) {
        if line.starts_with(b"\n") || line.starts_with(b"\r\n") {
            return begin;
        }
        match line.iter().position(|octet| *octet == b'\n') {
            Some(end) => begin += end + 1,
            None => break,
        }
    }
    octets.len()
}

/// 64 bits of SHA-256 over the canonical form of octets: without NUL, CRLF as LF.
pub(super) fn hash_canonical(octets: &[u8]) -> u64 {
    let mut hasher = CanonicalHasher::default();
    hasher.update(octets);
    hasher.finish()
}

pub(super) fn first_64_bits(hash: Sha256) -> u64 {
    let octets: [u8; 32] = hash.finalize().into();
    octets
        .iter()
        .take(8)
        .fold(0, |bits, octet| bits << 8 | u64::from(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_digest_is_of_the_octets_after_the_first_empty_line() {
        let digest = |text: &str| BodyDigest::of_message(text.as_bytes());
        assert_eq!(
            digest("A: 1\r\n\r\nbody\r\n"),
            digest("B: 2\r\n\r\nbody\r\n")
        );
        assert_ne!(digest("A: 1\r\n\r\nbody\r\n"), digest("A: 1\r\n\r\nbody"));
        assert_eq!(digest("A: 1"), digest("A: 1\r\n\r\n"));
        assert_eq!(digest("\r\nbody"), digest("A: 1\r\n\r\nbody"));
    }

    #[test]
    fn the_canonical_form_is_the_same_for_the_original_and_the_normalized_copy() {
        let pairs: [(&[u8], &[u8]); 6] = [
            (b"a\r\nb", b"a\nb"),
            (b"a\0\r\0\nb\0", b"a\nb"),
            (b"\0\0\0", b""),
            (b"a\r\0\0b", b"a\rb"),
            (b"\r\r", b"\r\0\r"),
            (b"\n\r\n", b"\r\n\n"),
        ];
        for (one, other) in pairs {
            assert_eq!(
                hash_canonical(one),
                hash_canonical(other),
                "{:?}",
                one.escape_ascii().to_string()
            );
        }
        assert_ne!(hash_canonical(b"a\rb"), hash_canonical(b"a\nb"));
        assert_ne!(hash_canonical(b"a\rb"), hash_canonical(b"ab"));
        assert_ne!(hash_canonical(b"a\r\r\nb"), hash_canonical(b"a\r\nb"));
        assert_ne!(hash_canonical(b"ab\r"), hash_canonical(b"ab"));
    }

    #[test]
    fn a_digest_survives_being_written_and_read() {
        let header = HeaderDigest(0x0f);
        for body in [None, Some(BodyDigest(u64::MAX))] {
            let digest = Digest { header, body };
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
        for wrong in [
            "",
            ":",
            "1:2",
            "000000000000000f",
            "00000000000000zf:",
            "+00000000000000f:",
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
