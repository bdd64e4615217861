//! Texts from outside, in lines for people, on the wire and as identities.

use chrono::{DateTime, Datelike, TimeDelta};
use imap_to_gmail_sync::imap::{MailboxName, decode_utf7, encode_utf7, status_response};
use imap_to_gmail_sync::message::{BodyDigest, Digest, Identity, MessageId, UidSet, sent_date};
use imap_to_gmail_sync::untrusted::Untrusted;

use super::assert_harmless;

/// No text forges a line, and none fills the log.
pub fn foreign(octets: &[u8]) {
    let shown = Untrusted::new(octets).to_string();
    assert_harmless(&shown);
    assert_harmless(&format!("{:?}", Untrusted::new(octets)));
    assert!(shown.len() <= 401 * 10, "{}", shown.len());
}

/// What is quoted stays within its quotes, and names survive modified UTF-7.
pub fn wire(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    if let Some(name) = MailboxName::new(&text) {
        must_stay_quoted(&name.to_string());
    }
    let encoded = encode_utf7(&text);
    assert!(
        encoded.bytes().all(|octet| matches!(octet, b' '..=b'~')),
        "{encoded:?}"
    );
    assert_eq!(decode_utf7(&encoded).as_deref(), Some(&*text));
    if let Some(name) = decode_utf7(&text) {
        let again = encode_utf7(&name);
        assert_eq!(decode_utf7(&again), Some(name));
    }
    if let Some((_, reply)) = status_response(octets) {
        assert_harmless(&reply.to_string());
    }
}

fn must_stay_quoted(word: &str) {
    let inner = word
        .strip_prefix('"')
        .and_then(|word| word.strip_suffix('"'));
    let mut octets = inner.unwrap().bytes();
    while let Some(octet) = octets.next() {
        assert!(!matches!(octet, b'\r' | b'\n' | 0 | b'"'), "{word:?}");
        if octet == b'\\' {
            assert!(matches!(octets.next(), Some(b'\\' | b'"')), "{word:?}");
        }
    }
}

/// An identity is the same however a server stores lines, and is read back as it is written.
pub fn identity(octets: &[u8]) {
    let identity = Identity::of_header(octets);
    if let Some(id) = &identity.id {
        assert_harmless(&id.to_string());
        assert_eq!(MessageId::from_field(id.as_str()).as_ref(), Some(id));
    }

    let mended = mended(octets);
    assert_eq!(MessageId::of_octets(octets), MessageId::of_octets(&mended));
    let of_body = |body: &[u8]| BodyDigest::of_message(&[b"A: b\r\n\r\n", body].concat());
    assert_eq!(of_body(octets), of_body(&mended));

    let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    for text in [octets, &[b"Date: ", octets].concat()] {
        if let Some(date) = sent_date(text, now) {
            assert!(
                date <= now + TimeDelta::days(1) && date.year() >= 1980,
                "{date}"
            );
        }
    }

    let digest = Digest {
        header: identity.header,
        body: Some(of_body(octets)),
    };
    assert_eq!(digest.to_string().parse(), Ok(digest));
    if let Ok(text) = std::str::from_utf8(octets) {
        if let Ok(read) = text.parse::<Digest>() {
            assert_eq!(read.to_string().parse(), Ok(read));
        }
        if let Ok(read) = text.parse::<UidSet>() {
            assert_eq!(read.to_string().parse::<UidSet>().ok(), Some(read));
        }
    }
}

/// Without NUL octets, and with CRLF for bare LF: as a message is mended, and as servers store it.
fn mended(octets: &[u8]) -> Vec<u8> {
    let mut mended: Vec<u8> = Vec::new();
    for octet in octets.iter().filter(|octet| **octet != 0) {
        if *octet == b'\n' && mended.last() != Some(&b'\r') {
            mended.push(b'\r');
        }
        mended.push(*octet);
    }
    mended
}
