//! Sender and subject of a message, for a person who looks for it in the log at `--debug`.

use std::fmt;

use mail_parser::{Address, HeaderName, HeaderValue, MessageParser};

use crate::message::digest::header_block;
use crate::untrusted::Untrusted;

/// The From and Subject fields of a message, decoded (RFC 2047). `Display` makes them harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    from: String,
    subject: String,
}

impl Envelope {
    pub fn of_message(octets: &[u8]) -> Envelope {
        let block = header_block(octets);
        let parsed = MessageParser::new()
            .header_address(HeaderName::From)
            .header_text(HeaderName::Subject)
            .default_header_ignore()
            .parse_headers(&block);
        let value = |name| parsed.as_ref().and_then(|message| message.header(name));
        let from = value(HeaderName::From).and_then(HeaderValue::as_address);
        let subject = value(HeaderName::Subject).and_then(HeaderValue::as_text);
        Envelope {
            from: from.map_or_else(String::new, describe),
            subject: subject.unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, subject) = (Untrusted::new(&self.from), Untrusted::new(&self.subject));
        write!(f, "from {from:?}, subject {subject:?}")
    }
}

/// `Alice <alice@x>, bob@x`.
fn describe(addresses: &Address<'_>) -> String {
    let described = addresses.iter().map(|address| {
        let mailbox = address.address().unwrap_or_default();
        match address.name() {
            Some(name) => format!("{name} <{mailbox}>"),
            None => mailbox.to_owned(),
        }
    });
    described.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_and_subject_are_decoded_and_made_harmless() {
        let cases = [
            (
                "From: Alice <alice@x>, bob@x\r\nSubject: Hello\r\n there\r\n\r\nSubject: body",
                "from \"Alice <alice@x>, bob@x\", subject \"Hello there\"",
            ),
            (
                "From: =?utf-8?q?J=C3=BCrgen?= <j@x>\r\n\
                 Subject: =?utf-8?b?R3LDvMOfZQ==?= =?utf-8?q?=0Aerror_forged=1B?=\r\n\r\n",
                "from \"Jürgen <j@x>\", subject \"Grüße\\nerror forged\\u{1b}\"",
            ),
            ("To: x\r\n\r\n", "from \"\", subject \"\""),
            ("", "from \"\", subject \"\""),
        ];
        for (message, expected) in cases {
            assert_eq!(
                Envelope::of_message(message.as_bytes()).to_string(),
                expected
            );
        }
    }

    #[test]
    fn a_long_subject_is_truncated() {
        let message = format!("Subject: {}\r\n\r\n", "x".repeat(100_000));
        let shown = Envelope::of_message(message.as_bytes()).to_string();
        assert!(shown.len() < 500, "{}", shown.len());
    }
}
