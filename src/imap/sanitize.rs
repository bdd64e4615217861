//! Sanitizes received lines for the parser, which is not safe for untrusted input. Pure.
//!
//! The parser panics on `INTERNALDATE NIL` and on other things, recurses without limit into
//! parentheses, fails at a response, an attribute, a flag or a second blank that it does not know, and
//! keeps the backslashes of quoted strings. No server, and nobody in its place, may end or corrupt a run that
//! way. So unknown responses become an empty `* OK`, FETCH responses are [rewritten](fetch), and
//! quoted strings become literals.

use std::fmt;

use crate::imap::message_data::without_message_data;
use crate::untrusted::Untrusted;

mod blanks;
mod fetch;

pub(super) use blanks::single_blanks;

use crate::imap::sanitize::fetch::FetchRewriter;

/// Octets of a response outside of its strings. No FETCH or LIST response needs more, and the
/// parser reads them again at each line of a literal.
const MAX_STRUCTURE: usize = 8 * 1024;

/// What a string counts as towards [`MAX_STRUCTURE`], whatever its length.
const STRING_COST: usize = 8;

/// No response to our commands is nested deeper.
const MAX_NESTING: usize = 16;

/// Octets that an error shows of a line.
const MAX_SHOWN: usize = 160;

/// Takes the place of a dropped response.
const EMPTY_RESPONSE: &[u8] = b"* OK\r\n";

/// Makes lines safe for the parser, one after the other.
#[derive(Debug, Default)]
pub(super) struct Sanitizer {
    /// The response that continues after a literal.
    open_response: Option<OpenResponse>,
    /// Its first line, shortened.
    beginning: Vec<u8>,
}

/// A line that is safe for the parser, or a part of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SanitizedLine {
    pub(super) line: Vec<u8>,
    /// How many octets of a literal follow, before the response continues.
    pub(super) literal: Option<u64>,
    pub(super) literal_use: LiteralUse,
    /// The bodies of messages that the line holds as quoted strings.
    pub(super) bodies: Vec<Vec<u8>>,
}

/// What becomes of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LiteralUse {
    /// The parser gets it, unchanged.
    #[default]
    Parsed,
    /// It is the body of a message, which is kept apart: the parser gets an empty literal instead.
    Body,
    /// It belongs to something that is dropped.
    Dropped,
}

/// A response that the connection is closed for. Its `Display` shows it as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProtocolError {
    violation: Violation,
    received: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Violation {
    TooDeep,
    TooMuchStructure,
    OpenQuote,
    Malformed,
}

#[derive(Debug)]
enum OpenResponse {
    Fetch(FetchRewriter),
    Other(OtherResponse),
}

/// A response other than FETCH that may hold literals.
#[derive(Debug, Default)]
struct OtherResponse {
    kind: ResponseKind,
    depth: usize,
    structure: usize,
    strings: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ResponseKind {
    /// Its first string is the hierarchy delimiter, which the parser knows in quotes only.
    List,
    Status,
    #[default]
    Unknown,
}

impl Sanitizer {
    /// Makes a line safe. It ends in LF, or the stream ended before that.
    pub(super) fn sanitize(&mut self, line: &[u8]) -> Result<SanitizedLine, ProtocolError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let sanitized = if let Some(response) = self.open_response.take() {
            self.continue_response(response, line)
        } else {
            self.beginning.clear();
            self.start_response(line)
        };
        if self.open_response.is_some() && self.beginning.is_empty() {
            self.beginning = line.get(..=MAX_SHOWN).unwrap_or(line).to_vec();
        }
        sanitized.map_err(|violation| ProtocolError {
            violation,
            received: match self.beginning.as_slice() {
                b"" => shown(line),
                // What follows a literal of a wrong length is text of the message.
                beginning => format!("{} … {} octets", shown(beginning), line.len()),
            },
        })
    }

    fn start_response(&mut self, line: &[u8]) -> Result<SanitizedLine, Violation> {
        let Some(data) = line.strip_prefix(b"*") else {
            return Ok(SanitizedLine::complete(plain(line)));
        };
        let (first, data) = split_word(data);
        let (second, data) = split_word(data);
        let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        let word = if is_number { second } else { first };
        let kind = match (is_number, word.to_ascii_uppercase().as_slice()) {
            (false, b"OK" | b"BYE" | b"SEARCH") | (true, b"EXISTS" | b"EXPUNGE") => {
                return Ok(SanitizedLine::complete(plain(line)));
            }
            // Warnings, which say nothing about a command.
            (false, b"NO" | b"BAD" | b"PREAUTH") => {
                return Ok(SanitizedLine::complete(EMPTY_RESPONSE.to_vec()));
            }
            (true, b"FETCH") => {
                let fetch = OpenResponse::Fetch(FetchRewriter::default());
                return self.continue_response(fetch, data);
            }
            (false, b"LIST") => ResponseKind::List,
            (false, b"STATUS") => ResponseKind::Status,
            _ => ResponseKind::Unknown,
        };
        let response = OtherResponse {
            kind,
            ..OtherResponse::default()
        };
        let mut sanitized = self.continue_response(OpenResponse::Other(response), line)?;
        if kind == ResponseKind::Unknown {
            sanitized.line = EMPTY_RESPONSE.to_vec();
        }
        Ok(sanitized)
    }

    fn continue_response(
        &mut self,
        mut response: OpenResponse,
        line: &[u8],
    ) -> Result<SanitizedLine, Violation> {
        let sanitized = match &mut response {
            OpenResponse::Fetch(fetch) => fetch.rewrite(line)?,
            OpenResponse::Other(other) => other.sanitize_part(&single_blanks(line))?,
        };
        if sanitized.literal.is_some() {
            self.open_response = Some(response);
        }
        Ok(sanitized)
    }
}

impl SanitizedLine {
    fn complete(line: Vec<u8>) -> SanitizedLine {
        SanitizedLine {
            line,
            ..SanitizedLine::default()
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.violation {
            Violation::TooDeep => "a response that is nested too deeply",
            Violation::TooMuchStructure => "a response that has no end",
            Violation::OpenQuote => "a quoted string that has no end",
            Violation::Malformed => "a response that is not IMAP",
        };
        write!(f, "it sent {what}: {}", self.received)
    }
}

impl OtherResponse {
    /// Makes a part safe, up to the literal that it announces by its end.
    fn sanitize_part(&mut self, line: &[u8]) -> Result<SanitizedLine, Violation> {
        let is_unknown = self.kind == ResponseKind::Unknown;
        let (line, literal) = self.sanitize_octets(line)?;
        Ok(SanitizedLine {
            line: if is_unknown { Vec::new() } else { line },
            literal,
            literal_use: if is_unknown {
                LiteralUse::Dropped
            } else {
                LiteralUse::Parsed
            },
            bodies: Vec::new(),
        })
    }

    fn sanitize_octets(&mut self, line: &[u8]) -> Result<(Vec<u8>, Option<u64>), Violation> {
        let mut safe = Vec::with_capacity(line.len() + 16);
        let mut rest = line;
        while let Some((&octet, after)) = rest.split_first() {
            rest = match octet {
                b'"' => self.copy_string(after, &mut safe)?,
                b'{' if let Some(size) = literal_size(rest) => {
                    self.strings += 1;
                    self.count(STRING_COST)?;
                    safe.extend_from_slice(format!("{{{size}}}\r\n").as_bytes());
                    return Ok((safe, Some(size)));
                }
                b'(' | b')' | b' ' | b'{' => {
                    self.copy_structure(octet, &mut safe)?;
                    after
                }
                _ => self.copy_atom(rest, &mut safe)?,
            };
        }
        safe.extend_from_slice(b"\r\n");
        Ok((safe, None))
    }

    /// Writes a literal in place of a quoted string, whose opening quote was read already.
    fn copy_string<'a>(
        &mut self,
        after: &'a [u8],
        safe: &mut Vec<u8>,
    ) -> Result<&'a [u8], Violation> {
        let (text, rest) = match unquote(after) {
            Some(found) => found,
            None if self.kind == ResponseKind::Unknown => (Vec::new(), b"".as_slice()),
            None => return Err(Violation::OpenQuote),
        };
        let is_delimiter = self.kind == ResponseKind::List && self.strings == 0;
        self.strings += 1;
        self.count(STRING_COST)?;
        if is_delimiter {
            let is_plain = |octet| !matches!(octet, b'"' | b'\\') && visible(octet) == octet;
            safe.push(b'"');
            safe.extend(text.into_iter().filter(|octet| is_plain(*octet)));
            safe.push(b'"');
        } else {
            let text = String::from_utf8_lossy(&text).into_owned().into_bytes();
            safe.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
            safe.extend_from_slice(&text);
        }
        Ok(rest)
    }

    fn copy_structure(&mut self, octet: u8, safe: &mut Vec<u8>) -> Result<(), Violation> {
        match octet {
            b'(' => self.depth += 1,
            b')' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        safe.push(octet);
        self.count(1)?;
        if self.depth > MAX_NESTING {
            return Err(Violation::TooDeep);
        }
        Ok(())
    }

    fn copy_atom<'a>(&mut self, line: &'a [u8], safe: &mut Vec<u8>) -> Result<&'a [u8], Violation> {
        let end = line
            .iter()
            .position(|octet| matches!(octet, b'"' | b'(' | b')' | b' ' | b'{'));
        let (atom, rest) = line
            .split_at_checked(end.unwrap_or(line.len()))
            .unwrap_or((line, b""));
        self.count(atom.len())?;
        let is_list = self.kind == ResponseKind::List;
        self.strings += usize::from(is_list && atom.eq_ignore_ascii_case(b"NIL"));
        safe.extend(atom.iter().map(|octet| visible(*octet)));
        Ok(rest)
    }

    fn count(&mut self, octets: usize) -> Result<(), Violation> {
        self.structure += octets;
        // A response that is dropped may be of any length.
        if self.structure > MAX_STRUCTURE && self.kind != ResponseKind::Unknown {
            return Err(Violation::TooMuchStructure);
        }
        Ok(())
    }
}

/// A line without strings: 8-bit and control characters become `?`. What a `+` announces may be of
/// any form.
fn plain(line: &[u8]) -> Vec<u8> {
    let line = if line.starts_with(b"+") {
        line.to_vec()
    } else {
        single_blanks(line)
    };
    let mut safe: Vec<u8> = line.into_iter().map(visible).collect();
    if !safe.is_empty() {
        safe.extend_from_slice(b"\r\n");
    }
    safe
}

/// Splits off the next word: what is left begins with the blank or the parenthesis after it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let ends = |octet: &u8| octet.is_ascii_whitespace() || *octet == b'(';
    let end = text.iter().position(ends).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

/// A line for an error, escaped and shortened.
fn shown(line: &[u8]) -> String {
    let line = &*without_message_data(line);
    match line.get(..MAX_SHOWN) {
        Some(begin) if begin.len() < line.len() => format!("\"{}…\"", Untrusted::new(begin)),
        _ => format!("{:?}", Untrusted::new(line)),
    }
}

fn visible(octet: u8) -> u8 {
    match octet {
        b' '..=b'~' | b'\t' => octet,
        _ => b'?',
    }
}

/// Returns the text up to the closing quote, without its backslashes, and the rest after it.
fn unquote(after: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut octets = after.iter().enumerate();
    while let Some((index, octet)) = octets.next() {
        match octet {
            b'"' => return Some((text, after.get(index + 1..)?)),
            b'\\' => text.push(*octets.next()?.1),
            _ => text.push(*octet),
        }
    }
    None
}

/// The size of the literal that a line announces by its end, `{n}` or `{n+}`.
pub(super) fn announced_literal(line: &[u8]) -> Option<u64> {
    let begin = line.iter().rposition(|octet| *octet == b'{')?;
    literal_size(line.get(begin..)?)
}

/// The size of a literal, if this announces one and nothing else: `{n}`, `{n+}`, `~{n}`.
fn literal_size(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"~").unwrap_or(text);
    let digits = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok()?.parse().ok();
    number.filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser sees of these lines.
    fn sanitize(lines: &[&[u8]]) -> Result<String, Violation> {
        let mut sanitizer = Sanitizer::default();
        let mut seen = Vec::new();
        for line in lines {
            let result = sanitizer.sanitize(line);
            seen.extend(result.map_err(|error| error.violation)?.line);
        }
        Ok(String::from_utf8(seen).unwrap())
    }

    #[test]
    fn responses_that_the_parser_knows_are_unchanged() {
        for line in [
            "+ go on\r\n",
            "a1 OK [READ-ONLY] done\r\n",
            "* OK [UIDVALIDITY 5] fine\r\n",
            "* BYE going\r\n",
            "* 5 EXISTS\r\n",
            "* 5 expunge\r\n",
            "* SEARCH 1 2 3\r\n",
            "* 1 FETCH (UID 7 FLAGS (\\Seen))\r\n",
            "* LIST (\\All) \"/\" Archive\r\n",
            "* LIST () NIL INBOX\r\n",
        ] {
            assert_eq!(sanitize(&[line.as_bytes()]).unwrap(), line);
        }
    }

    #[test]
    fn unknown_responses_and_warnings_become_an_empty_ok() {
        for line in [
            "* NO disk full\r\n",
            "* BAD what\r\n",
            "* PREAUTH hello\r\n",
            "* FLAGS (\\Seen)\r\n",
            "* ID NIL\r\n",
            "* CAPABILITY IMAP4rev2\r\n",
            "* ESEARCH UID ALL 1\r\n",
            "* XYZZY \"\r\n",
            "* RECENT\r\n",
            "* 7 RECENT\r\n",
            "* \r\n",
        ] {
            assert_eq!(sanitize(&[line.as_bytes()]).unwrap(), "* OK\r\n", "{line}");
        }
        assert_eq!(sanitize(&[b"\r\n"]).unwrap(), "");
    }

    #[test]
    fn the_literal_of_an_unknown_response_is_dropped() {
        let mut sanitizer = Sanitizer::default();
        let first = sanitizer.sanitize(b"* XYZZY {5}\r\n").unwrap();
        assert_eq!(
            (first.literal, first.literal_use),
            (Some(5), LiteralUse::Dropped)
        );
        let rest = sanitizer.sanitize(b" (more)\r\n").unwrap();
        assert_eq!((rest.line.as_slice(), rest.literal), (b"".as_slice(), None));
        assert_eq!(sanitizer.sanitize(b"a1 OK\r\n").unwrap().line, b"a1 OK\r\n");
    }

    #[test]
    fn quoted_strings_become_literals_without_their_backslashes() {
        let cases: [(&[u8], &str); 5] = [
            (
                b"* 1 FETCH (BODY[] \"a\\\"b\\\\c\")\r\n",
                "* 1 FETCH (BODY[] {0}\r\n)\r\n",
            ),
            (
                b"* 1 FETCH (BODY[] \"\")\r\n",
                "* 1 FETCH (BODY[] {0}\r\n)\r\n",
            ),
            (
                b"* LIST () \"/\" \"a \\\"b\"\r\n",
                "* LIST () \"/\" {4}\r\na \"b\r\n",
            ),
            (b"* LIST () \"\\\\\" a\r\n", "* LIST () \"\" a\r\n"),
            (
                b"* STATUS \"a b\" (UIDNEXT 5)\r\n",
                "* STATUS {3}\r\na b (UIDNEXT 5)\r\n",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(sanitize(&[line]).unwrap(), expected);
        }
    }

    #[test]
    fn a_literal_is_announced_only_where_a_response_can_hold_one() {
        let mut sanitizer = Sanitizer::default();
        let mut literal = |line: &str| sanitizer.sanitize(line.as_bytes()).unwrap().literal;
        assert_eq!(literal("* 1 FETCH (BODY[] {12}\r\n"), Some(12));
        assert_eq!(literal(" UID 1)\r\n"), None);
        for line in ["* OK see {12}\r\n", "a1 NO {12}\r\n", "+ {12}\r\n"] {
            assert_eq!(literal(line), None, "{line}");
        }
        assert_eq!(literal("* LIST () {1} {2}\r\n"), Some(2));
    }

    #[test]
    fn octets_beyond_ascii_are_kept_in_strings_and_nowhere_else() {
        assert_eq!(
            sanitize(&["* OK grün\r\n".as_bytes()]).unwrap(),
            "* OK gr??n\r\n"
        );
        assert_eq!(
            sanitize(&["* 1 FETCH (BODY[HEADER] \"grün\")\r\n".as_bytes()]).unwrap(),
            "* 1 FETCH (BODY[HEADER] {5}\r\ngrün)\r\n"
        );
        assert_eq!(
            sanitize(&[b"* LIST () NIL \"gr\xfcn\"\r\n"]).unwrap(),
            "* LIST () NIL {6}\r\ngr\u{fffd}n\r\n"
        );
    }

    #[test]
    fn a_bare_lf_ends_a_line_too() {
        assert_eq!(sanitize(&[b"* 5 EXISTS\n"]).unwrap(), "* 5 EXISTS\r\n");
        assert_eq!(sanitize(&[b"a1 OK\n"]).unwrap(), "a1 OK\r\n");
    }

    #[test]
    fn several_blanks_count_as_one() {
        for (line, expected) in [
            ("*  5  EXISTS  \r\n", "* 5 EXISTS\r\n"),
            (
                "*    5   FETCH  ( UID   7  )  \r\n",
                "* 1 FETCH (UID 7)\r\n",
            ),
            ("*   \r\n", "* OK\r\n"),
            ("*  OK  [ UIDVALIDITY  5 ]\r\n", "* OK [UIDVALIDITY 5]\r\n"),
            ("a1  NO   no\r\n", "a1 NO no\r\n"),
            ("* SEARCH  1   2 \r\n", "* SEARCH 1 2\r\n"),
            ("*  LIST  ( )  \"/\"   a\r\n", "* LIST () \"/\" a\r\n"),
            (
                "* STATUS  a  ( UIDNEXT  5 ) \r\n",
                "* STATUS a (UIDNEXT 5)\r\n",
            ),
            // Base64 and the like.
            ("+  go \r\n", "+  go \r\n"),
        ] {
            assert_eq!(sanitize(&[line.as_bytes()]).unwrap(), expected);
        }
    }

    #[test]
    fn deep_long_and_unterminated_responses_are_protocol_errors() {
        let nested = format!("* LIST {}\r\n", "(".repeat(MAX_NESTING + 1));
        assert_eq!(sanitize(&[nested.as_bytes()]), Err(Violation::TooDeep));
        let endless = format!("* LIST ({}\r\n", "\\All ".repeat(MAX_STRUCTURE));
        assert_eq!(
            sanitize(&[endless.as_bytes()]),
            Err(Violation::TooMuchStructure)
        );
        for line in ["* LIST () \"\r\n", "* LIST () \"\\\r\n"] {
            assert_eq!(sanitize(&[line.as_bytes()]), Err(Violation::OpenQuote));
        }

        // Also when they are spread over many literals.
        let mut sanitizer = Sanitizer::default();
        sanitizer.sanitize(b"* LIST ({1}\r\n").unwrap();
        let mut results = (0..MAX_STRUCTURE).map(|_| sanitizer.sanitize(b"{1}\r\n"));
        assert!(results.any(|result| {
            result.is_err_and(|error| error.violation == Violation::TooMuchStructure)
        }));
    }

    #[test]
    fn an_error_shows_the_response_as_received_shortened_and_escaped() {
        let error = |lines: &[&str]| {
            let mut sanitizer = Sanitizer::default();
            let mut results = lines.iter().map(|line| sanitizer.sanitize(line.as_bytes()));
            results.find_map(Result::err).unwrap().to_string()
        };
        assert_eq!(
            error(&["* 1 FETCH (UID 1 \x1b[2J)\r\n"]),
            r#"it sent a response that is not IMAP: "* 1 FETCH (UID 1 \u{1b}[2J)""#
        );
        assert_eq!(
            error(&["* 1 FETCH (UID 1 BODY[] {3}\r\n", "def)\r\n"]),
            "it sent a response that is not IMAP: \"* 1 FETCH (UID 1 BODY[] {3}\" … 4 octets"
        );
        assert_eq!(
            error(&["* 1 FETCH (BODY[] \"text\" x)\r\n"]),
            "it sent a response that is not IMAP: \"* 1 FETCH (BODY[] \"…\" x)\""
        );
        let long = error(&[&format!("* LIST () \"{}", "x".repeat(10_000))]);
        assert!(long.ends_with("xxx…\"") && long.len() < 250, "{long}");
        // The beginning of an earlier response is not shown.
        let later = error(&["* 1 FETCH (X {1}\r\n", ")\r\n", "* LIST \"\r\n"]);
        assert!(!later.contains("FETCH"), "{later}");
    }

    #[test]
    fn no_sanitized_line_makes_the_parser_panic() {
        // Seeded, so that a failure can be repeated.
        let words: [&[u8]; 30] = [
            b"* ",
            b"1 ",
            b"FETCH ",
            b"(",
            b")",
            b"UID ",
            b"7 ",
            b"RFC822.SIZE ",
            b"RFC822 ",
            b"X-A ",
            b"BODY[] ",
            b"\\Seen ",
            b"INTERNALDATE ",
            b"NIL",
            b"\"",
            b"\\",
            b"{3}",
            b"BODY[",
            b"]",
            b"FLAGS ",
            b"LIST ",
            b"STATUS ",
            b"ID ",
            b"OK ",
            b"[",
            b"BODYSTRUCTURE ",
            b"\xff",
            b"a1 ",
            b"METADATA ",
            b"/private/",
        ];
        let mut state = 0x2545_f491_u32;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize % below
        };
        for _ in 0..30_000 {
            let mut line: Vec<u8> = b"* ".to_vec();
            for _ in 0..random(12) {
                line.extend_from_slice(words[random(words.len())]);
            }
            line.extend_from_slice(b"\r\n");
            let mut sanitizer = Sanitizer::default();
            if let Ok(sanitized) = sanitizer.sanitize(&line) {
                let parsed = imap_proto::parser::parse_response(&sanitized.line);
                let is_fetch = sanitized.line.starts_with(b"* 1 FETCH");
                assert!(
                    parsed.is_ok() || !is_fetch || sanitized.literal.is_some(),
                    "{}",
                    line.escape_ascii()
                );
            }
        }
    }
}
