//! Sanitizes received lines for the parser, which is not safe for untrusted input. Pure.
//!
//! The parser, or the library that calls it, panics on `INTERNALDATE NIL`, on an untagged NO during
//! EXAMINE and on other things, recurses without limit into parentheses, fails the whole session at
//! a response or an octet that it does not know, and keeps the backslashes of quoted strings. No
//! server, and nobody in its place, may end or corrupt a run that way. So unknown responses become
//! an empty `* OK`, and quoted strings become literals.

/// Octets of a response outside of its strings. No FETCH or LIST response needs more, and the
/// parser reads them again at each line of a literal.
const MAX_STRUCTURE: usize = 8 * 1024;

/// What a string counts as towards [`MAX_STRUCTURE`], whatever its length.
const STRING_COST: usize = 8;

/// No response to our commands is nested deeper.
const MAX_NESTING: usize = 16;

/// Takes the place of a dropped response.
const EMPTY_RESPONSE: &[u8] = b"* OK\r\n";

/// Makes lines safe for the parser, one after the other.
#[derive(Debug, Default)]
pub(super) struct Sanitizer {
    /// The response that continues after a literal.
    open_response: Option<OpenResponse>,
}

/// A line that is safe for the parser.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SanitizedLine {
    pub(super) line: Vec<u8>,
    /// How many octets of a literal follow the line; the parser gets them unchanged.
    pub(super) literal: u64,
    /// The literal belongs to a dropped response: drop it, too.
    pub(super) skip_literal: bool,
}

/// A response that the connection is closed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProtocolError {
    TooDeep,
    TooMuchStructure,
    OpenQuote,
}

impl ProtocolError {
    pub(super) fn describe(self) -> &'static str {
        match self {
            ProtocolError::TooDeep => "it sent a response that is nested too deeply",
            ProtocolError::TooMuchStructure => "it sent a response that has no end",
            ProtocolError::OpenQuote => "it sent a quoted string that has no end",
        }
    }
}

/// A response that may hold literals.
#[derive(Debug, Default)]
struct OpenResponse {
    kind: ResponseKind,
    depth: usize,
    structure: usize,
    strings: usize,
    after_internal_date: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ResponseKind {
    Fetch,
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
        match self.open_response.take() {
            Some(response) => self.continue_response(response, line),
            None => self.start_response(line),
        }
    }

    /// Says whether the current response continues after a literal.
    pub(super) fn is_within_response(&self) -> bool {
        self.open_response.is_some()
    }

    fn start_response(&mut self, line: &[u8]) -> Result<SanitizedLine, ProtocolError> {
        // Some servers write several blanks; the parser knows one.
        if let Some(data) = line.strip_prefix(b"*  ") {
            return self.start_response(&[b"* ".as_slice(), data.trim_ascii_start()].concat());
        }
        let Some(data) = line.strip_prefix(b"* ") else {
            return Ok(SanitizedLine::complete(plain(line)));
        };
        let mut words = data.split(|octet| *octet == b' ');
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        let second = words.next().unwrap_or_default().to_ascii_uppercase();
        let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        let word = if is_number { second } else { first };
        let kind = match (is_number, word.as_slice()) {
            (false, b"OK" | b"BYE" | b"SEARCH") | (true, b"EXISTS" | b"EXPUNGE") => {
                return Ok(SanitizedLine::complete(plain(line)));
            }
            // Warnings: the library panics on them or fails the command.
            (false, b"NO" | b"BAD" | b"PREAUTH") => {
                return Ok(SanitizedLine::complete(EMPTY_RESPONSE.to_vec()));
            }
            (true, b"FETCH") => ResponseKind::Fetch,
            (false, b"LIST") => ResponseKind::List,
            (false, b"STATUS") => ResponseKind::Status,
            _ => ResponseKind::Unknown,
        };
        let response = OpenResponse {
            kind,
            ..OpenResponse::default()
        };
        let mut sanitized = self.continue_response(response, line)?;
        if kind == ResponseKind::Unknown {
            sanitized.line = EMPTY_RESPONSE.to_vec();
        }
        Ok(sanitized)
    }

    fn continue_response(
        &mut self,
        mut response: OpenResponse,
        line: &[u8],
    ) -> Result<SanitizedLine, ProtocolError> {
        let (line, literal) = response.sanitize_part(line)?;
        let is_unknown = response.kind == ResponseKind::Unknown;
        let sanitized = SanitizedLine {
            line: if is_unknown { Vec::new() } else { line },
            literal: literal.unwrap_or(0),
            skip_literal: is_unknown,
        };
        if literal.is_some() {
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

impl OpenResponse {
    /// Returns the line made safe, and the size of the literal that it announces.
    fn sanitize_part(&mut self, line: &[u8]) -> Result<(Vec<u8>, Option<u64>), ProtocolError> {
        let mut safe = Vec::with_capacity(line.len() + 16);
        let mut rest = line;
        while let Some((&octet, after)) = rest.split_first() {
            rest = match octet {
                b'"' => self.copy_string(after, &mut safe)?,
                b'{' if let Some(size) = announced_literal(rest) => {
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
    ) -> Result<&'a [u8], ProtocolError> {
        let (text, rest) = match unquote(after) {
            Some(found) => found,
            None if self.kind == ResponseKind::Unknown => (Vec::new(), b"".as_slice()),
            None => return Err(ProtocolError::OpenQuote),
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
            let text = match self.kind {
                ResponseKind::Fetch => text,
                _ => String::from_utf8_lossy(&text).into_owned().into_bytes(),
            };
            safe.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
            safe.extend_from_slice(&text);
        }
        Ok(rest)
    }

    fn copy_structure(&mut self, octet: u8, safe: &mut Vec<u8>) -> Result<(), ProtocolError> {
        match octet {
            b'(' => self.depth += 1,
            b')' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        safe.push(octet);
        self.count(1)?;
        if self.depth > MAX_NESTING {
            return Err(ProtocolError::TooDeep);
        }
        Ok(())
    }

    fn copy_atom<'a>(
        &mut self,
        line: &'a [u8],
        safe: &mut Vec<u8>,
    ) -> Result<&'a [u8], ProtocolError> {
        let end = line
            .iter()
            .position(|octet| matches!(octet, b'"' | b'(' | b')' | b' ' | b'{'));
        let (atom, rest) = line
            .split_at_checked(end.unwrap_or(line.len()))
            .unwrap_or((line, b""));
        self.count(atom.len())?;
        // A server that does not know the date: the parser panics on NIL, even as the beginning of
        // a longer atom, and reads "" as no date.
        let start = atom.get(..3).unwrap_or_default();
        if self.after_internal_date && start.eq_ignore_ascii_case(b"NIL") {
            safe.extend_from_slice(b"\"\"");
        } else if self.kind == ResponseKind::List && atom.eq_ignore_ascii_case(b"NIL") {
            self.strings += 1;
            safe.extend_from_slice(atom);
        } else {
            safe.extend(atom.iter().map(|octet| visible(*octet)));
        }
        self.after_internal_date =
            self.kind == ResponseKind::Fetch && atom.eq_ignore_ascii_case(b"INTERNALDATE");
        Ok(rest)
    }

    fn count(&mut self, octets: usize) -> Result<(), ProtocolError> {
        self.structure += octets;
        // A response that is dropped may be of any length.
        if self.structure > MAX_STRUCTURE && self.kind != ResponseKind::Unknown {
            return Err(ProtocolError::TooMuchStructure);
        }
        Ok(())
    }
}

/// A line without strings: 8-bit and control characters become `?`.
fn plain(line: &[u8]) -> Vec<u8> {
    let mut safe: Vec<u8> = line.iter().map(|octet| visible(*octet)).collect();
    if !safe.is_empty() {
        safe.extend_from_slice(b"\r\n");
    }
    safe
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
    let inner = line.strip_suffix(b"}")?;
    let begin = inner.iter().rposition(|octet| *octet == b'{')?;
    let digits = inner.get(begin + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok()?.parse().ok();
    number.filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser sees of these lines.
    fn sanitize(lines: &[&[u8]]) -> Result<String, ProtocolError> {
        let mut sanitizer = Sanitizer::default();
        let mut seen = Vec::new();
        for line in lines {
            seen.extend(sanitizer.sanitize(line)?.line);
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
            "* 5 FETCH (UID 7 FLAGS (\\Seen))\r\n",
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
        assert_eq!((first.literal, first.skip_literal), (5, true));
        let rest = sanitizer.sanitize(b" (more)\r\n").unwrap();
        assert_eq!((rest.line.as_slice(), rest.literal), (b"".as_slice(), 0));
        assert_eq!(sanitizer.sanitize(b"a1 OK\r\n").unwrap().line, b"a1 OK\r\n");
    }

    #[test]
    fn quoted_strings_become_literals_without_their_backslashes() {
        let cases: [(&[u8], &str); 5] = [
            (
                b"* 1 FETCH (BODY[] \"a\\\"b\\\\c\")\r\n",
                "* 1 FETCH (BODY[] {5}\r\na\"b\\c)\r\n",
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
        assert_eq!(
            sanitizer
                .sanitize(b"* 1 FETCH (BODY[] {12}\r\n")
                .unwrap()
                .literal,
            12
        );
        assert_eq!(sanitizer.sanitize(b" UID 1)\r\n").unwrap().literal, 0);
        for line in ["* OK see {12}\r\n", "a1 NO {12}\r\n", "+ {12}\r\n"] {
            assert_eq!(
                sanitizer.sanitize(line.as_bytes()).unwrap().literal,
                0,
                "{line}"
            );
        }
        // Too large for a number: left to the parser.
        let huge = sanitizer.sanitize(b"* 1 FETCH (BODY[] {99999999999999999999}\r\n");
        assert_eq!(huge.unwrap().literal, 0);
    }

    #[test]
    fn a_nil_date_becomes_an_empty_string() {
        assert_eq!(
            sanitize(&[b"* 1 FETCH (internaldate nil UID 1)\r\n"]).unwrap(),
            "* 1 FETCH (internaldate \"\" UID 1)\r\n"
        );
        assert_eq!(
            sanitize(&[b"* 1 FETCH (INTERNALDATE NILETCH UID 1)\r\n"]).unwrap(),
            "* 1 FETCH (INTERNALDATE \"\" UID 1)\r\n"
        );
        assert_eq!(
            sanitize(&[b"* 1 FETCH (BODY[] NIL)\r\n"]).unwrap(),
            "* 1 FETCH (BODY[] NIL)\r\n"
        );
    }

    #[test]
    fn octets_beyond_ascii_are_kept_in_strings_and_nowhere_else() {
        assert_eq!(
            sanitize(&["* OK grün\r\n".as_bytes()]).unwrap(),
            "* OK gr??n\r\n"
        );
        assert_eq!(
            sanitize(&["* 1 FETCH (FLAGS (grün) BODY[] \"grün\")\r\n".as_bytes()]).unwrap(),
            "* 1 FETCH (FLAGS (gr??n) BODY[] {5}\r\ngrün)\r\n"
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
    fn several_blanks_before_a_response_become_one() {
        for (line, expected) in [
            ("*  5 EXISTS\r\n", "* 5 EXISTS\r\n"),
            ("*    5 FETCH (UID 7)\r\n", "* 5 FETCH (UID 7)\r\n"),
            ("*   \r\n", "* OK\r\n"),
        ] {
            assert_eq!(sanitize(&[line.as_bytes()]).unwrap(), expected);
        }
    }

    #[test]
    fn deep_long_and_unterminated_responses_are_protocol_errors() {
        let nested = format!("* 1 FETCH {}\r\n", "(".repeat(MAX_NESTING + 1));
        assert_eq!(sanitize(&[nested.as_bytes()]), Err(ProtocolError::TooDeep));
        let endless = format!("* 1 FETCH ({}\r\n", "FLAGS ".repeat(MAX_STRUCTURE));
        assert_eq!(
            sanitize(&[endless.as_bytes()]),
            Err(ProtocolError::TooMuchStructure)
        );
        assert_eq!(
            sanitize(&[b"* LIST () \"\r\n"]),
            Err(ProtocolError::OpenQuote)
        );
        assert_eq!(
            sanitize(&[b"* LIST () \"\\\r\n"]),
            Err(ProtocolError::OpenQuote)
        );

        // Also when they are spread over many literals.
        let mut sanitizer = Sanitizer::default();
        sanitizer.sanitize(b"* 1 FETCH ({1}\r\n").unwrap();
        let mut results = (0..MAX_STRUCTURE).map(|_| sanitizer.sanitize(b"{1}\r\n"));
        assert!(results.any(|result| result == Err(ProtocolError::TooMuchStructure)));
    }

    #[test]
    fn no_sanitized_line_makes_the_parser_panic() {
        // Seeded, so that a failure can be repeated.
        let words: [&[u8]; 24] = [
            b"* ",
            b"1 ",
            b"FETCH ",
            b"(",
            b")",
            b"UID ",
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
                let _ = imap_proto::parser::parse_response(&sanitized.line);
            }
        }
    }
}
