//! Rewrites FETCH responses (RFC 3501 7.4.2): keeps the attributes that the program reads, in the
//! one form that the parser knows, and drops all others with their values, whatever they are. Pure.
//!
//! What nobody asked for must not cost a message: an unknown attribute, a keyword that is no atom.
//! But a body is taken only from a response that is well-formed to its end: one that goes on behind
//! the octets announced for its body is not.

use crate::imap::sanitize::{
    EMPTY_RESPONSE, LiteralUse, MAX_STRUCTURE, STRING_COST, SanitizedLine, Violation, literal_size,
    unquote,
};

/// The beginning of every FETCH response that the parser gets: nobody reads sequence numbers.
const BEGINNING: &[u8] = b"* 1 FETCH (";

/// Rewrites one FETCH response, part by part: a literal separates two parts.
#[derive(Debug, Default)]
pub(super) struct FetchRewriter {
    expected: Expected,
    /// The parser got a literal, which may be longer than announced.
    is_after_literal: bool,
    /// The system flags of a list that is not closed yet.
    flags: Vec<u8>,
    /// Octets written outside of strings; none if no attribute was written.
    written: usize,
    /// The bodies of the current part that are quoted strings.
    bodies: Vec<Vec<u8>>,
}

/// What the response goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expected {
    #[default]
    OpeningParenthesis,
    FirstName,
    NextName,
    /// The rest of a name, up to its `]`.
    Section(Attribute),
    Value(Attribute),
    /// The rest of a value, within this many parentheses.
    List(Attribute, usize),
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Uid,
    Size,
    InternalDate,
    Flags,
    ModSeq,
    Body,
    Header,
    Unneeded,
}

enum FetchToken<'a> {
    Open,
    Close,
    String(Vec<u8>),
    Literal(u64),
    Atom(&'a [u8]),
}

impl FetchRewriter {
    /// Rewrites the next part. The last one ends with the response.
    pub(super) fn rewrite(&mut self, part: &[u8]) -> Result<SanitizedLine, Violation> {
        let mut line = Vec::with_capacity(part.len());
        let mut rest = part.trim_ascii_end();
        while let Some((token, is_after_blank)) = next_token(&mut rest)? {
            if let FetchToken::Literal(size) = token {
                return Ok(SanitizedLine {
                    literal_use: self.begin_literal(size, &mut line)?,
                    line,
                    literal: Some(size),
                    bodies: std::mem::take(&mut self.bodies),
                });
            }
            self.rewrite_token(token, is_after_blank, &mut line)?;
        }
        if self.expected != Expected::Nothing {
            return Err(Violation::Malformed);
        }
        line.extend_from_slice(if self.written == 0 {
            EMPTY_RESPONSE
        } else {
            b")\r\n"
        });
        Ok(SanitizedLine {
            line,
            bodies: std::mem::take(&mut self.bodies),
            ..SanitizedLine::default()
        })
    }

    /// Announces a literal to the parser; says what becomes of it.
    fn begin_literal(&mut self, size: u64, line: &mut Vec<u8>) -> Result<LiteralUse, Violation> {
        let attribute = match self.expected {
            Expected::Value(attribute) => attribute,
            Expected::Section(_) | Expected::List(..) => return Ok(LiteralUse::Dropped),
            _ => return Err(Violation::Malformed),
        };
        self.expected = Expected::NextName;
        let Some(name) = attribute.name_of_string() else {
            return Ok(LiteralUse::Dropped);
        };
        self.is_after_literal = true;
        if attribute == Attribute::Body {
            self.write_body(line)?;
            return Ok(LiteralUse::Body);
        }
        self.write(&format!("{name} {{{size}}}\r\n"), STRING_COST, line)?;
        Ok(LiteralUse::Parsed)
    }

    /// An empty literal in place of a body, which is kept apart.
    fn write_body(&mut self, line: &mut Vec<u8>) -> Result<(), Violation> {
        self.write("BODY[] {0}\r\n", STRING_COST, line)
    }

    fn rewrite_token(
        &mut self,
        token: FetchToken<'_>,
        is_after_blank: bool,
        line: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        self.expected = match (self.expected, token) {
            (Expected::OpeningParenthesis, FetchToken::Open) => Expected::FirstName,
            (Expected::FirstName | Expected::NextName, FetchToken::Close) => Expected::Nothing,
            (Expected::FirstName, FetchToken::Atom(name)) => self.begin_attribute(name)?,
            (Expected::NextName, FetchToken::Atom(name)) if is_after_blank => {
                self.begin_attribute(name)?
            }
            (Expected::Section(attribute), FetchToken::Atom(text)) if text.contains(&b']') => {
                Expected::Value(attribute)
            }
            (Expected::Section(attribute), _) => Expected::Section(attribute),
            (Expected::Value(attribute), FetchToken::Open) => Expected::List(attribute, 1),
            (Expected::Value(attribute), FetchToken::String(text)) => {
                self.write_string(attribute, text, line)?;
                Expected::NextName
            }
            (Expected::Value(attribute), FetchToken::Atom(text)) => {
                self.write_atom(attribute, text, line)?;
                Expected::NextName
            }
            (Expected::List(attribute, depth), FetchToken::Open) => {
                Expected::List(attribute, depth + 1)
            }
            (Expected::List(attribute, 1), FetchToken::Close) => {
                self.write_flags(attribute, line)?;
                Expected::NextName
            }
            (Expected::List(attribute, depth), FetchToken::Close) => {
                Expected::List(attribute, depth - 1)
            }
            (Expected::List(Attribute::Flags, 1), FetchToken::Atom(flag)) => {
                self.keep_system_flag(flag);
                self.expected
            }
            (Expected::List(Attribute::ModSeq, 1), FetchToken::Atom(number)) => {
                self.write_mod_seq(number, line)?;
                self.expected
            }
            (Expected::List(attribute, depth), _) => Expected::List(attribute, depth),
            _ => return Err(Violation::Malformed),
        };
        Ok(())
    }

    /// After a literal an unknown attribute is accepted in the capitals of the RFCs only: what looks
    /// like one could be the rest of a body that is longer than announced.
    fn begin_attribute(&self, name: &[u8]) -> Result<Expected, Violation> {
        let attribute = Attribute::named(name);
        let is_part = |octet: &u8| {
            octet.is_ascii_graphic() && !(self.is_after_literal && octet.is_ascii_lowercase())
        };
        let begins = name.first().is_some_and(u8::is_ascii_alphabetic);
        if attribute == Attribute::Unneeded && !(begins && name.iter().all(is_part)) {
            return Err(Violation::Malformed);
        }
        let is_open = name.contains(&b'[') && !name.contains(&b']');
        Ok(if is_open {
            Expected::Section(attribute)
        } else {
            Expected::Value(attribute)
        })
    }

    fn write_string(
        &mut self,
        attribute: Attribute,
        text: Vec<u8>,
        line: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let (name, text) = match (attribute, attribute.name_of_string()) {
            (Attribute::Body, _) => {
                self.bodies.push(text);
                return self.write_body(line);
            }
            (Attribute::InternalDate, _) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                ("INTERNALDATE", text.into_bytes())
            }
            (_, Some(name)) => (name, text),
            _ => return Ok(()),
        };
        let size = text.len();
        self.write(&format!("{name} {{{size}}}\r\n"), STRING_COST, line)?;
        line.extend_from_slice(&text);
        Ok(())
    }

    fn write_atom(
        &mut self,
        attribute: Attribute,
        text: &[u8],
        line: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let number = || std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let item = match (attribute, attribute.name_of_string()) {
            (Attribute::Uid, _) => number()
                .and_then(|uid| u32::try_from(uid).ok())
                .map(|uid| format!("UID {uid}")),
            // The parser knows no larger one, and no server takes such a message.
            (Attribute::Size, _) => {
                number().map(|size| format!("RFC822.SIZE {}", size.min(u32::MAX.into())))
            }
            (_, Some(name)) if text.eq_ignore_ascii_case(b"NIL") => Some(format!("{name} NIL")),
            _ => None,
        };
        match item {
            Some(item) => self.write(&item, item.len(), line),
            None => Ok(()),
        }
    }

    /// Keeps a flag of the form `\Seen`. Keywords are copied nowhere, and may be no atoms.
    fn keep_system_flag(&mut self, flag: &[u8]) {
        let is_system_flag = flag
            .strip_prefix(b"\\")
            .is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_alphabetic));
        if is_system_flag && self.flags.len() < MAX_STRUCTURE {
            self.flags
                .extend_from_slice(if self.flags.is_empty() { b"" } else { b" " });
            self.flags.extend_from_slice(flag);
        }
    }

    fn write_mod_seq(&mut self, number: &[u8], line: &mut Vec<u8>) -> Result<(), Violation> {
        let number = std::str::from_utf8(number).ok();
        match number.and_then(|number| number.parse::<u64>().ok()) {
            Some(number) => {
                let item = format!("MODSEQ ({number})");
                self.write(&item, item.len(), line)
            }
            None => Ok(()),
        }
    }

    fn write_flags(&mut self, attribute: Attribute, line: &mut Vec<u8>) -> Result<(), Violation> {
        if attribute != Attribute::Flags {
            return Ok(());
        }
        let flags = std::mem::take(&mut self.flags);
        let item = format!("FLAGS ({})", String::from_utf8_lossy(&flags));
        self.write(&item, item.len(), line)
    }

    fn write(&mut self, item: &str, cost: usize, line: &mut Vec<u8>) -> Result<(), Violation> {
        line.extend_from_slice(if self.written == 0 { BEGINNING } else { b" " });
        line.extend_from_slice(item.as_bytes());
        self.written += cost + 1;
        if self.written > MAX_STRUCTURE {
            return Err(Violation::TooMuchStructure);
        }
        Ok(())
    }
}

impl Attribute {
    fn named(name: &[u8]) -> Attribute {
        let name = name.to_ascii_uppercase();
        let name = name.strip_suffix(b"<0>").unwrap_or(&name);
        match name {
            b"UID" => Attribute::Uid,
            b"RFC822.SIZE" => Attribute::Size,
            b"INTERNALDATE" => Attribute::InternalDate,
            b"FLAGS" => Attribute::Flags,
            b"MODSEQ" => Attribute::ModSeq,
            b"BODY[]" | b"BODY.PEEK[]" | b"RFC822" => Attribute::Body,
            b"RFC822.HEADER" => Attribute::Header,
            _ if name.starts_with(b"BODY[HEADER") => Attribute::Header,
            _ if name.starts_with(b"BODY.PEEK[HEADER") => Attribute::Header,
            _ => Attribute::Unneeded,
        }
    }

    /// The name that the parser gets, if the value is a string of any octets or NIL.
    fn name_of_string(self) -> Option<&'static str> {
        match self {
            Attribute::Body => Some("BODY[]"),
            Attribute::Header => Some("BODY[HEADER]"),
            _ => None,
        }
    }
}

/// Takes the next token from the part; says whether blanks precede it.
fn next_token<'a>(part: &mut &'a [u8]) -> Result<Option<(FetchToken<'a>, bool)>, Violation> {
    let trimmed = part.trim_ascii_start();
    let is_after_blank = trimmed.len() < part.len();
    let Some((first, after)) = trimmed.split_first() else {
        return Ok(None);
    };
    let (token, rest) = match first {
        b'(' => (FetchToken::Open, after),
        b')' => (FetchToken::Close, after),
        b'"' => {
            let (text, rest) = unquote(after).ok_or(Violation::OpenQuote)?;
            (FetchToken::String(text), rest)
        }
        _ => {
            let (atom, rest) = split_atom(trimmed);
            match literal_size(trimmed) {
                Some(size) => (FetchToken::Literal(size), b"".as_slice()),
                None => (FetchToken::Atom(atom), rest),
            }
        }
    };
    *part = rest;
    Ok(Some((token, is_after_blank)))
}

/// Splits off an atom. A quote or a brace within it is a part of it, but for a literal at the end.
fn split_atom(part: &[u8]) -> (&[u8], &[u8]) {
    let ends = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b'(' | b')');
    let end = part.iter().position(ends).unwrap_or(part.len());
    let (atom, rest) = part.split_at_checked(end).unwrap_or((part, b""));
    let brace = atom.iter().rposition(|octet| *octet == b'{');
    let is_literal = |begin: &usize| literal_size(part.get(*begin..).unwrap_or_default()).is_some();
    brace
        .filter(is_literal)
        .and_then(|begin| part.split_at_checked(begin))
        .unwrap_or((atom, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser gets of these parts, which literals of five octets separate.
    fn rewrite(parts: &[&str]) -> Result<String, Violation> {
        let mut rewriter = FetchRewriter::default();
        let mut seen = String::new();
        for part in parts {
            let sanitized = rewriter.rewrite(part.as_bytes())?;
            seen += &String::from_utf8(sanitized.line).unwrap();
            assert!(matches!(sanitized.literal, None | Some(5)), "{part}");
            if sanitized.literal.is_some() && sanitized.literal_use == LiteralUse::Parsed {
                seen += "abcde";
            }
        }
        Ok(seen)
    }

    #[test]
    fn attributes_that_nobody_asked_for_are_dropped_whatever_their_values_are() {
        for part in [
            "EMAILID (M6d99ac3275bb4e)",
            "THREADID NIL",
            "SAVEDATE \"22-Nov-2026 12:00:00 +0000\"",
            "X-GUID \"a\\\"b) UID 9\"",
            "PREVIEW \"\"",
            "X-GM-LABELS (\"\\\\Inbox\" \"a (b\" c{d})",
            "X-THING \"abc\"",
            "x-guid \"abc\"",
            "X-Thing (a b)",
            "MODSEQ 12345",
            "MODSEQ (many)",
            "MODSEQ NIL",
            "BODYSTRUCTURE ((\"text\" (\"charset\" NIL) 7) \"mixed\")",
            "BODY[1.MIME] \"a\"",
            "BODY[TEXT]<0> NIL",
            "RFC822.TEXT \"a\"",
            "RFC822.SIZE NIL",
            "RFC822.SIZE -1",
            "RFC822.SIZE (1)",
            "INTERNALDATE NIL",
            "INTERNALDATE NILETCH",
            "INTERNALDATE (\"a\")",
            "FLAGS NIL",
            "FLAGS a",
            "BODY[] (a)",
            "UID 99999999999",
        ] {
            for part in [
                format!(" ({part} UID 7)"),
                format!(" (UID 7 {part})"),
                format!("(UID 7  {part} ) "),
            ] {
                assert_eq!(
                    rewrite(&[&part]).as_deref(),
                    Ok("* 1 FETCH (UID 7)\r\n"),
                    "{part}"
                );
            }
        }
        let nested = format!(" (X {}{} UID 7)", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(rewrite(&[&nested]).unwrap(), "* 1 FETCH (UID 7)\r\n");
        assert_eq!(rewrite(&[" (X-THING 1)"]).unwrap(), "* OK\r\n");
        assert_eq!(rewrite(&[" ()"]).unwrap(), "* OK\r\n");
    }

    #[test]
    fn literals_of_dropped_attributes_are_dropped() {
        let parts = [
            " (X {5}",
            " Y (a {5}",
            " b) BODY[HEADER.FIELDS ({5}",
            ")] ~{5}",
            " INTERNALDATE {5+}",
            " UID 7 BODY[]{5}",
            ")",
        ];
        assert_eq!(
            rewrite(&parts).unwrap(),
            "* 1 FETCH (BODY[HEADER] {5}\r\nabcde UID 7 BODY[] {0}\r\n)\r\n"
        );
    }

    #[test]
    fn system_flags_are_kept_whatever_stands_beside_them() {
        for (flags, kept) in [
            ("\\Seen a{y} 100% a*b x\\y", "\\Seen"),
            ("\"NonJunk\" \\Flagged a(b) \\Seen", "\\Flagged \\Seen"),
            ("NIL  \\answered  ", "\\answered"),
            ("a\"b \\Seen c\"d", "\\Seen"),
            ("\\* \\ \\Se% (\\Seen)", ""),
            ("gr\u{fc}n \\Seen", "\\Seen"),
        ] {
            let rewritten = rewrite(&[&format!(" (FLAGS ({flags}) UID 7)")]).unwrap();
            assert_eq!(rewritten, format!("* 1 FETCH (FLAGS ({kept}) UID 7)\r\n"));
        }
    }

    #[test]
    fn strings_and_numbers_are_written_in_the_form_that_the_parser_knows() {
        for (part, expected) in [
            ("rfc822 {5}", "BODY[] {0}\r\n"),
            ("modseq ( 12345678901 )", "MODSEQ (12345678901)"),
            ("BODY.PEEK[]<0> {5}", "BODY[] {0}\r\n"),
            ("RFC822.HEADER {5}", "BODY[HEADER] {5}\r\nabcde"),
            ("body[] nil", "BODY[] NIL"),
            ("BODY[] \"a\\\"  b\"", "BODY[] {0}\r\n"),
            (
                "BODY[HEADER.FIELDS (\"DATE\" X)] \"\"",
                "BODY[HEADER] {0}\r\n",
            ),
            ("INTERNALDATE \" 1-Feb\"", "INTERNALDATE {6}\r\n 1-Feb"),
            ("RFC822.SIZE 9999999999", "RFC822.SIZE 4294967295"),
        ] {
            let part = format!(" ({part}");
            let rewritten = if part.ends_with('}') {
                rewrite(&[&part, ")"])
            } else {
                rewrite(&[&(part + ")")])
            };
            assert_eq!(rewritten.unwrap(), format!("* 1 FETCH ({expected})\r\n"));
        }
    }

    #[test]
    fn bodies_are_kept_apart_in_their_order() {
        let mut rewriter = FetchRewriter::default();
        let first = rewriter
            .rewrite(b" (BODY[] \"a\\\" b\" RFC822 \"\" BODY[] {5}")
            .unwrap();
        assert_eq!(first.bodies, [b"a\" b".to_vec(), Vec::new()]);
        assert_eq!(first.literal_use, LiteralUse::Body);
        let last = rewriter.rewrite(b" BODY[] NIL BODY[] \"c\")").unwrap();
        assert_eq!(last.bodies, [b"c".to_vec()]);
        assert_eq!(
            [first.line, last.line].concat(),
            b"* 1 FETCH (BODY[] {0}\r\n BODY[] {0}\r\n BODY[] {0}\r\n BODY[] NIL BODY[] {0}\r\n)\r\n"
        );
    }

    #[test]
    fn a_response_whose_end_is_not_where_it_belongs_is_no_response() {
        let malformed: [&[&str]; 13] = [
            &[" UID 7"],
            &[" (UID 7"],
            &[" (UID)"],
            &[" (UID 7) more"],
            // The literal has more octets than announced.
            &[" (BODY[] {5}", "fgh)"],
            &[" (BODY[] {5}", "FGH IJ)"],
            &[" (BODY[] {5}", " 5 EUROS)"],
            &[" (BODY[] {5}", " kind regards)"],
            &[" (BODY[] {5}", " more"],
            &[" (BODY[] {5}", ""],
            &[" (BODY[] {99999999999999999999}"],
            &[" (BODY[HEADER.FIELDS (DATE)"],
            &[" (\"UID\" 7)"],
        ];
        for parts in malformed {
            assert_eq!(rewrite(parts), Err(Violation::Malformed), "{parts:?}");
        }
        assert_eq!(rewrite(&[" (X \"a)"]), Err(Violation::OpenQuote));
    }

    #[test]
    fn what_the_parser_gets_is_limited_and_what_is_dropped_is_not() {
        let dropped = format!(" (X ({}) UID 7)", "a ".repeat(MAX_STRUCTURE));
        assert_eq!(rewrite(&[&dropped]).unwrap(), "* 1 FETCH (UID 7)\r\n");
        for kept in ["UID 7 ", "FLAGS () ", "BODY[] \"\" "] {
            let kept = format!(" ({})", kept.repeat(MAX_STRUCTURE));
            assert_eq!(rewrite(&[&kept]), Err(Violation::TooMuchStructure));
        }
        let flags = format!(" (FLAGS ({}))", "\\Seen ".repeat(MAX_STRUCTURE));
        assert_eq!(rewrite(&[&flags]), Err(Violation::TooMuchStructure));
    }
}
