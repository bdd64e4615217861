//! The identity of a message: its Message-ID and the digest of its header.

use std::fmt;

use mail_parser::{HeaderName, HeaderValue, MessageParser};
use serde::{Deserialize, Serialize};

use crate::message::HeaderDigest;
use crate::message::digest::{hash_canonical, header_block};
use crate::untrusted::Untrusted;

/// A longer Message-ID counts as none: it would fill the state, and no server could be searched
/// for it.
const MAX_ID_LENGTH: usize = 4_000;

/// What the id of a message without a Message-ID field begins with.
const DIGEST_PREFIX: &str = "sha256:";

/// The id of a message: the value of its first Message-ID field (RFC 5322 3.6.4), unfolded and
/// trimmed. Without that field, `sha256:` and 16 hexadecimal digits over its octets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(String);

impl MessageId {
    /// The id in a field's value. An empty one, `<>` and one that is too long count as none.
    #[must_use]
    pub fn from_field(value: &str) -> Option<MessageId> {
        let value = unfold(value);
        let is_id = !value.is_empty() && value != "<>" && value.len() <= MAX_ID_LENGTH;
        is_id.then_some(MessageId(value))
    }

    /// The id of a message that has no Message-ID field.
    #[must_use]
    pub fn of_octets(octets: &[u8]) -> MessageId {
        MessageId(format!("{DIGEST_PREFIX}{:016x}", hash_canonical(octets)))
    }

    /// Whether the id comes from a Message-ID field, so that a server can be searched for it.
    #[must_use]
    pub fn is_from_field(&self) -> bool {
        !self.0.starts_with(DIGEST_PREFIX)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Untrusted::new(&self.0).fmt(f)
    }
}

/// What identifies a message as far as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its Message-ID, if it has one.
    pub id: Option<MessageId>,
    /// The digest of its Date, From and Subject.
    pub header: HeaderDigest,
}

impl Identity {
    /// Reads a whole message, or a header block as in the response to a FETCH of
    /// `HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)`. Absent fields count as empty.
    #[must_use]
    pub fn of_header(block: &[u8]) -> Identity {
        // Some servers leave out the empty line that ends the block.
        let block = header_block(block);
        let parsed = MessageParser::new()
            .header_raw(HeaderName::MessageId)
            .header_raw(HeaderName::Date)
            .header_raw(HeaderName::From)
            .header_raw(HeaderName::Subject)
            .default_header_ignore()
            .parse_headers(&block);
        let first = |name: HeaderName| -> String {
            let headers = parsed.as_ref().map_or(&[][..], |message| message.headers());
            let header = headers.iter().find(|header| header.name == name);
            match header.map(|header| &header.value) {
                Some(HeaderValue::Text(value)) => unfold(value),
                _ => String::new(),
            }
        };
        Identity {
            // A field that imitates the id of a message without one counts as none.
            id: MessageId::from_field(&first(HeaderName::MessageId))
                .filter(MessageId::is_from_field),
            header: HeaderDigest::of_fields([
                &first(HeaderName::Date),
                &first(HeaderName::From),
                &first(HeaderName::Subject),
            ]),
        }
    }
}

/// A field's value on one line: each run of white space and line ends as one blank, none at either
/// end, no NUL octets.
///
/// Servers fold lines again and replace tabs by blanks, and NUL octets are never sent to Gmail: the
/// value must be equal all the same.
fn unfold(value: &str) -> String {
    if !value
        .bytes()
        .any(|octet| octet.is_ascii_whitespace() || octet == 0)
    {
        return value.to_owned();
    }
    let value: String = value
        .chars()
        .filter(|character| *character != '\0')
        .collect();
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BodyDigest, Digest};

    fn id(message: &[u8]) -> Option<String> {
        Identity::of_header(message)
            .id
            .map(|id| id.as_str().to_owned())
    }

    #[test]
    fn the_id_is_the_first_fields_value_unfolded_and_trimmed() {
        let cases: [(&[u8], Option<&str>); 13] = [
            (b"Message-ID: <a@b>\r\n\r\nbody", Some("<a@b>")),
            (b"message-id:<a@b>  \n\n", Some("<a@b>")),
            (b"Message-ID:\r\n <a@b>\r\n\r\n", Some("<a@b>")),
            (b"Message-ID: <a\r\n\t@b>\r\n\r\n", Some("<a @b>")),
            (
                b"Message-ID: <1@b>\r\nMessage-ID: <2@b>\r\n\r\n",
                Some("<1@b>"),
            ),
            (b"Message-ID: no brackets\r\n\r\n", Some("no brackets")),
            (b"Message-ID: <>\r\n\r\n", None),
            (b"Message-ID:\r\n\r\n", None),
            (b"Message-ID: sha256:0123456789abcdef\r\n\r\n", None),
            (b"Subject: x\r\n\r\nMessage-ID: <in@body>\r\n", None),
            (b"Message-ID: <no-end@b>", Some("<no-end@b>")),
            (b"", None),
            (b"\r\n", None),
        ];
        for (message, expected) in cases {
            assert_eq!(
                id(message).as_deref(),
                expected,
                "{:?}",
                message.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn an_id_that_is_too_long_is_none() {
        let message = format!("Message-ID: <{}>\r\n\r\n", "x".repeat(MAX_ID_LENGTH));
        assert_eq!(id(message.as_bytes()), None);
    }

    #[test]
    fn the_header_digest_depends_on_date_from_and_subject_and_nothing_else() {
        let digest = |text: &str| Identity::of_header(text.as_bytes()).header;
        let plain = digest("Date: d\r\nFrom: f\r\nSubject: a b\r\nX: 1\r\n\r\n");
        assert_eq!(
            plain,
            digest("subject: a\r\n\tb\r\nFROM:  f\r\nX: 2\r\nDate: d\r\n\r\nbody")
        );
        assert_eq!(
            plain,
            digest("Date: d\0\r\nFrom: f\r\nSubject: a b\r\n\r\n")
        );
        assert_ne!(plain, digest("Date: d2\r\nFrom: f\r\nSubject: a b\r\n\r\n"));
        assert_ne!(plain, digest("Date: d\r\nFrom: f2\r\nSubject: a b\r\n\r\n"));
        assert_ne!(plain, digest("Date: d\r\nFrom: f\r\nSubject: a c\r\n\r\n"));
        assert_ne!(digest("Date: x\r\n\r\n"), digest("From: x\r\n\r\n"));
    }

    /// The digests are on disk: they must never change.
    #[test]
    fn digests_of_a_kept_message_are_those_of_every_build() {
        let message = b"Date: Sun, 22 Nov 2026 20:00:00 +0000\r\nFrom: Alice <alice@x>\r\n\
            Subject: a\r\n b\r\n\r\nbody\r\n\0second line\r\n";
        let digest = Digest {
            header: Identity::of_header(message).header,
            body: Some(BodyDigest::of_message(message)),
        };
        assert_eq!(digest.to_string(), "8f861dcbf970b69a:5b2976348e46971e");
        assert_eq!(
            MessageId::of_octets(message).as_str(),
            "sha256:5718be79018efa9d"
        );
    }
}
