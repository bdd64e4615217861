//! Parsing of commands: lines, literals, arguments.
//!
//! imap-codec parses what it knows. This layer in front collects literals, except the message literal
//! of an APPEND, and parses the few commands that imap-codec rejects.

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::{Command, CommandBody};
use imap_codec::imap_types::mailbox::Mailbox;

/// A literal that a line announces at its end (RFC 3501 4.3, RFC 7888).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Literal {
    pub octets: usize,
    /// Whether the client waits for `+` before it sends the octets.
    pub is_awaited: bool,
}

/// The literal announced at the end of a line, and the line before it.
pub(crate) fn announced(line: &[u8]) -> Option<(&[u8], Literal)> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|&octet| octet == b'{')?;
    let number = &inner[start + 1..];
    let (number, is_awaited) = match number.strip_suffix(b"+") {
        Some(number) => (number, false),
        None => (number, true),
    };
    let octets = std::str::from_utf8(number).ok()?.parse().ok()?;
    let is_number = number.iter().all(u8::is_ascii_digit);
    is_number.then_some((&line[..start], Literal { octets, is_awaited }))
}

/// A parsed line: tag, name in capitals (with a leading UID), arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub tag: String,
    pub name: String,
    pub arguments: Vec<u8>,
    /// The whole command with its literals, without the last CRLF.
    pub octets: Vec<u8>,
}

impl Request {
    /// Parses a line; `None` without a tag and a name.
    pub fn new(octets: Vec<u8>) -> Option<Request> {
        let (tag, rest) = word(&octets);
        let (name, mut arguments) = word(rest);
        let mut name = String::from_utf8(name.to_ascii_uppercase()).ok()?;
        if name == "UID" {
            let (second, rest) = word(arguments);
            name = format!(
                "UID {}",
                String::from_utf8(second.to_ascii_uppercase()).ok()?
            );
            arguments = rest;
        }
        let is_tag = |octet: &u8| octet.is_ascii_graphic() && !b"(){%*\"\\+".contains(octet);
        if tag.is_empty() || !tag.iter().all(is_tag) || name.is_empty() {
            return None;
        }
        Some(Request {
            tag: String::from_utf8(tag.to_vec()).ok()?,
            name,
            arguments: arguments.to_vec(),
            octets,
        })
    }

    /// Parses the whole command by imap-codec.
    pub fn decode(&self) -> Option<CommandBody<'static>> {
        decode(&self.octets)
    }
}

/// Parses a command by imap-codec, up to its end.
pub(crate) fn decode(octets: &[u8]) -> Option<CommandBody<'static>> {
    let closed = [octets, b"\r\n"].concat();
    let (rest, command): (&[u8], Command) = CommandCodec::default().decode_static(&closed).ok()?;
    rest.is_empty().then_some(command.body)
}

/// The text up to the next blank, and what follows the blank.
pub(crate) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&octet| octet == b' ') {
        Some(blank) => (&text[..blank], &text[blank + 1..]),
        None => (text, &[]),
    }
}

/// A mailbox's name, as on the wire.
pub(crate) fn name(mailbox: &Mailbox<'_>) -> String {
    match mailbox {
        Mailbox::Inbox => "INBOX".to_owned(),
        Mailbox::Other(other) => String::from_utf8_lossy(other.inner().as_ref()).into_owned(),
    }
}

/// Parses arguments from left to right, where imap-codec cannot.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8]) -> Reader<'a> {
        Reader { rest: text }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether a literal is next.
    pub fn is_at_literal(&self) -> bool {
        self.rest.starts_with(b"{")
    }

    /// Skips this text, if it is next.
    pub fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text.as_bytes());
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Skips the one blank between arguments.
    pub fn blank(&mut self) -> Option<()> {
        self.takes(" ").then_some(())
    }

    /// A word of the characters of atoms, numbers and sets.
    pub fn atom(&mut self) -> Option<String> {
        let is_part = |&octet: &u8| octet.is_ascii_graphic() && !b"(){\"\\".contains(&octet);
        let length = self.rest.iter().take_while(|octet| is_part(octet)).count();
        let (atom, rest) = self.rest.split_at(length);
        self.rest = rest;
        (length > 0).then(|| String::from_utf8_lossy(atom).into_owned())
    }

    /// An atom, a quoted string or a literal. Quoted strings may hold octets above 127: the caller
    /// decides whether they are valid there.
    pub fn astring(&mut self) -> Option<Vec<u8>> {
        match self.rest.first()? {
            b'"' => self.quoted(),
            b'{' => self.literal(),
            _ => self.atom().map(String::into_bytes),
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut octets = self.rest[1..].iter().copied().enumerate();
        while let Some((index, octet)) = octets.next() {
            match octet {
                b'"' => {
                    self.rest = &self.rest[index + 2..];
                    return Some(text);
                }
                b'\\' => {
                    let (_, escaped) = octets.next()?;
                    text.push(Some(escaped).filter(|octet| b"\"\\".contains(octet))?);
                }
                b'\r' | b'\n' | 0 => return None,
                _ => text.push(octet),
            }
        }
        None
    }

    fn literal(&mut self) -> Option<Vec<u8>> {
        let end = self.rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (_, literal) = announced(&self.rest[..end])?;
        let start = end + 2;
        let text = self.rest.get(start..start + literal.octets)?;
        self.rest = &self.rest[start + literal.octets..];
        Some(text.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_announced_at_the_end_of_a_line_only() {
        let awaited = |octets| Literal {
            octets,
            is_awaited: true,
        };
        assert_eq!(
            announced(b"a LOGIN {5}"),
            Some((&b"a LOGIN "[..], awaited(5)))
        );
        assert!(!announced(b"a LOGIN {5+}").unwrap().1.is_awaited);
        for none in [&b"a LOGIN {5} "[..], b"a {-5}", b"a {}", b"a {+5}", b"a 5}"] {
            assert_eq!(announced(none), None);
        }
    }

    #[test]
    fn a_request_needs_a_tag_and_a_name() {
        let request = Request::new(b"A1 uid fetch 1:* (UID)".to_vec()).unwrap();
        assert_eq!(
            (request.name.as_str(), &request.arguments[..]),
            ("UID FETCH", &b"1:* (UID)"[..])
        );
        for none in [&b""[..], b"A1", b" NOOP", b"* NOOP", b"\xff\xff x"] {
            assert_eq!(Request::new(none.to_vec()), None);
        }
    }

    #[test]
    fn a_reader_reads_atoms_quoted_strings_and_literals() {
        let mut reader = Reader::new(b"HEADER \"a\\\"b\\\\\" {3}\r\nx y");
        assert_eq!(reader.atom().unwrap(), "HEADER");
        reader.blank().unwrap();
        assert_eq!(reader.astring().unwrap(), b"a\"b\\");
        reader.blank().unwrap();
        assert_eq!(reader.astring().unwrap(), b"x y");
        assert!(reader.is_at_end());
        assert_eq!(Reader::new(b"\"a\\b\"").astring(), None);
        assert_eq!(Reader::new(b"\"open").astring(), None);
    }
}
