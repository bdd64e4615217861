//! The words: what a mailbox, a message and its identity are called here.
//!
//! Each word has one checked door; a value that makes no sense cannot be built.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset};
use mail_parser::{HeaderName, HeaderValue, MessageParser};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

mod uid_set;

pub use uid_set::UidSet;

/// Messages that one FETCH lists: some 5,500 octets of UIDs at most, of the 8,000 that a command
/// line may have (RFC 7162 4).
pub(crate) const FETCH_PAGE_SIZE: usize = 500;

/// A longer Message-ID is no id: it would fill the state, and no server could be asked for it.
const LONGEST_ID: usize = 4_000;

/// The number of a message in a mailbox, ascending as messages arrive (RFC 3501 2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// The lowest UID that a message can have.
    pub const MIN: Uid = Uid(NonZeroU32::MIN);

    /// A UID, unless the number is zero.
    #[must_use]
    pub fn new(number: u32) -> Option<Uid> {
        NonZeroU32::new(number).map(Uid)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The value under which the UIDs of a mailbox hold; another value, other messages
/// (RFC 3501 2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UidValidity(NonZeroU32);

impl UidValidity {
    /// A UIDVALIDITY, unless the number is zero.
    #[must_use]
    pub fn new(number: u32) -> Option<UidValidity> {
        NonZeroU32::new(number).map(UidValidity)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identifier of a message: the value of its first Message-ID field (RFC 5322 3.6.4), unfolded
/// and trimmed; for a message without one, `sha256:` and 16 hexadecimal digits over its octets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(String);

impl MessageId {
    /// The id that a field's value gives; empty, `<>` or absurdly long counts as none.
    #[must_use]
    pub fn from_field(value: &str) -> Option<MessageId> {
        let value = unfold(value);
        let is_id = !value.is_empty() && value != "<>" && value.len() <= LONGEST_ID;
        is_id.then_some(MessageId(value))
    }

    /// The id of a message that brings none.
    #[must_use]
    pub fn of_octets(octets: &[u8]) -> MessageId {
        MessageId(format!("sha256:{:016x}", hash_canonical(octets)))
    }

    /// Says whether the message itself brings this id, so that a server can be asked for it.
    #[must_use]
    pub fn is_from_field(&self) -> bool {
        !self.0.starts_with("sha256:")
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::untrusted::Untrusted::new(&self.0).fmt(f)
    }
}

/// What distinguishes messages under one id, known from a listing: 64 bits over the Date, From and
/// Subject fields, unfolded and trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderDigest(u64);

/// What distinguishes messages of one id and header, known once fetched: 64 bits over the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyDigest(u64);

impl BodyDigest {
    /// The digest of a whole message's body.
    ///
    /// It is taken over a canonical form (no NUL octets, CRLF as LF), so that it is the same for
    /// the source's octets and for what a server gives back that stores lines its own way, or of a
    /// message that had to be mended before Gmail took it.
    #[must_use]
    pub fn of_message(octets: &[u8]) -> BodyDigest {
        BodyDigest(hash_canonical(body(octets)))
    }
}

/// A content digest in its two parts; the body part is absent where only a listing was seen.
///
/// As text: the parts in 16 hexadecimal digits each with a colon between, `hhhh…:bbbb…` or `hhhh…:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "std::borrow::Cow<'_, str>")]
pub struct Digest {
    /// Over Date, From and Subject.
    pub header: HeaderDigest,
    /// Over the body.
    pub body: Option<BodyDigest>,
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

impl TryFrom<std::borrow::Cow<'_, str>> for Digest {
    type Error = String;

    fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Digest, String> {
        text.parse()
    }
}

/// What the fields of a message say about who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its Message-ID, if it brings one.
    pub id: Option<MessageId>,
    /// The digest of its Date, From and Subject.
    pub header: HeaderDigest,
}

impl Identity {
    /// Reads a header block, as a server gives it for `HEADER.FIELDS (MESSAGE-ID DATE FROM
    /// SUBJECT)`, or a whole message; other fields are passed over, and absent ones are empty.
    #[must_use]
    pub fn of_header(block: &[u8]) -> Identity {
        // Some servers leave the empty line out that ends the block.
        let closed = [head(block), b"\r\n\r\n"].concat();
        let parsed = MessageParser::new()
            .header_raw(HeaderName::MessageId)
            .header_raw(HeaderName::Date)
            .header_raw(HeaderName::From)
            .header_raw(HeaderName::Subject)
            .default_header_ignore()
            .parse_headers(&closed);
        let first = |name: HeaderName| -> String {
            let headers = parsed.as_ref().map_or(&[][..], |message| message.headers());
            let header = headers.iter().find(|header| header.name == name);
            match header.map(|header| &header.value) {
                Some(HeaderValue::Text(value)) => unfold(value),
                _ => String::new(),
            }
        };
        let mut hash = Sha256::new();
        for name in [HeaderName::Date, HeaderName::From, HeaderName::Subject] {
            hash.update(first(name).as_bytes());
            hash.update(b"\n");
        }
        Identity {
            // What looks like an id of ours is a stranger's joke, and no id.
            id: MessageId::from_field(&first(HeaderName::MessageId))
                .filter(MessageId::is_from_field),
            header: HeaderDigest(first_64_bits(hash)),
        }
    }
}

/// The flags that are copied (RFC 3501 2.3.2); `\Deleted`, `\Recent`, `\Draft` and keywords are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags {
    /// The message was read.
    pub seen: bool,
    /// The message is marked for attention.
    pub flagged: bool,
    /// The message was answered.
    pub answered: bool,
}

impl fmt::Display for Flags {
    /// The flags as an APPEND command lists them, without the parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [
            (self.seen, "\\Seen"),
            (self.flagged, "\\Flagged"),
            (self.answered, "\\Answered"),
        ];
        let names: Vec<&str> = set
            .iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&names.join(" "))
    }
}

/// The moment a server says it received a message; `None` where it gives none that can be read.
pub type InternalDate = Option<DateTime<FixedOffset>>;

/// The source mailbox as EXAMINE shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailbox {
    /// The value under which its UIDs hold.
    pub uid_validity: UidValidity,
    /// The UID that the next message will get, or a higher one will.
    pub uid_next: Uid,
    /// How many messages it holds.
    pub exists: u32,
}

/// A place in the target's mailbox of all mail: what is appended later has at least this UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The value under which `uid_next` holds.
    pub uid_validity: UidValidity,
    /// The UID that the next message was to get.
    pub uid_next: Uid,
}

/// What a listing tells of a message in the source mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its UID.
    pub uid: Uid,
    /// Its size in octets (RFC822.SIZE), as the server says.
    pub size: u64,
    /// When the server received it.
    pub internal_date: InternalDate,
    /// Its flags.
    pub flags: Flags,
    /// Its id and the digest of its header.
    pub identity: Identity,
}

/// A whole message, on its way from source to target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its UID in the source mailbox.
    pub uid: Uid,
    /// Its id: from its field, or made of its octets.
    pub id: MessageId,
    /// When the source received it.
    pub internal_date: InternalDate,
    /// The flags that it shall have.
    pub flags: Flags,
    /// The source's octets, unchanged.
    pub octets: Vec<u8>,
}

/// The octets before the empty line, or all of them.
fn head(octets: &[u8]) -> &[u8] {
    octets.get(..head_length(octets)).unwrap_or(octets)
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

/// A field's value on one line: white space and line ends as one blank each, none at its ends.
///
/// Servers fold lines anew and turn tabs into blanks; what they leave is compared. NUL octets are
/// left out, because Gmail never gets them.
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

/// 64 bits of sha256 over octets without NUL, CRLF taken as LF.
fn hash_canonical(octets: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    let mut pending_cr = false;
    // In runs rather than octet by octet: a message may have 35 MB.
    for run in octets.split_inclusive(|octet| matches!(octet, b'\r' | b'\0')) {
        if pending_cr && !run.starts_with(b"\n") && run != b"\0" {
            hash.update(b"\r");
            pending_cr = false;
        } else if run != b"\0" {
            pending_cr = false;
        }
        match run.split_last() {
            Some((b'\0', text)) => hash.update(text),
            Some((b'\r', text)) => {
                hash.update(text);
                pending_cr = true;
            }
            _ => hash.update(run),
        }
    }
    if pending_cr {
        hash.update(b"\r");
    }
    first_64_bits(hash)
}

fn first_64_bits(hash: Sha256) -> u64 {
    let octets: [u8; 32] = hash.finalize().into();
    octets
        .iter()
        .take(8)
        .fold(0, |bits, octet| bits << 8 | u64::from(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_absurdly_long_id_is_none() {
        let message = format!("Message-ID: <{}>\r\n\r\n", "x".repeat(LONGEST_ID));
        assert_eq!(id(message.as_bytes()), None);
    }

    #[test]
    fn the_header_digest_tells_date_from_and_subject_apart_and_nothing_else() {
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
    fn digests_know_a_message_again_that_was_mended_on_its_way() {
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

    #[test]
    fn flags_are_listed_as_append_wants_them() {
        assert_eq!(Flags::default().to_string(), "");
        let all = Flags {
            seen: true,
            flagged: true,
            answered: true,
        };
        assert_eq!(all.to_string(), "\\Seen \\Flagged \\Answered");
    }
}
