//! What odd servers do.

use std::collections::BTreeSet;

use crate::grammar::announced;

/// A way in which servers that exist differ from the one in the book; all are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// Strings in FETCH responses are quoted where that is possible.
    QuotedStrings,
    /// `BODY[]` is NIL.
    NilBodies,
    /// EXAMINE and STATUS tell no UIDVALIDITY.
    NoUidValidity,
    /// EXAMINE tells no UIDNEXT; STATUS does.
    NoUidNext,
    /// All but tags, strings and what follows a `+` is in lower case.
    LowerCase,
    /// Untagged OK and NO lines stand before every line.
    Chatter,
    /// A line of 30,000 octets stands before every line.
    LongLines,
    /// A FETCH response for each item.
    SplitFetches,
    /// News stands between the FETCH responses: EXISTS, RECENT, FETCH with flags and no UID.
    News,
    /// The empty line after the fields of `HEADER.FIELDS` is missing.
    OpenHeaders,
    /// The day of INTERNALDATE is padded with a blank.
    PaddedDates,
    /// INTERNALDATE is left out.
    NoInternalDate,
    /// RFC822.SIZE is that of another form of the message, as at Exchange.
    OtherSizes,
    /// `\Recent` stands among the flags.
    RecentFlags,
    /// Items of FETCH come in another order.
    OtherOrder,
}

impl Quirk {
    /// All of them, for tests that try each.
    pub const ALL: [Quirk; 15] = [
        Quirk::QuotedStrings,
        Quirk::NilBodies,
        Quirk::NoUidValidity,
        Quirk::NoUidNext,
        Quirk::LowerCase,
        Quirk::Chatter,
        Quirk::LongLines,
        Quirk::SplitFetches,
        Quirk::News,
        Quirk::OpenHeaders,
        Quirk::PaddedDates,
        Quirk::NoInternalDate,
        Quirk::OtherSizes,
        Quirk::RecentFlags,
        Quirk::OtherOrder,
    ];
}

/// What is wrong with one message of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFault {
    /// FETCH passes over it and ends with OK; SEARCH shows it.
    Withheld,
    /// As withheld, but only when its body is asked for.
    BodyWithheld,
    /// Its body is NIL.
    NilBody,
    /// A FETCH of its body, of whatever else besides, ends with NO.
    Refused,
    /// A FETCH of its body breaks the connection.
    Fatal,
}

/// The oddities of a server.
pub(crate) type Quirks = BTreeSet<Quirk>;

/// The lines that stand before each line.
pub(crate) fn chatter(quirks: &Quirks) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    if quirks.contains(&Quirk::Chatter) {
        lines.push(b"* OK Still here.".to_vec());
        lines.push(b"* NO [ALERT] Disk is 98% full.".to_vec());
    }
    if quirks.contains(&Quirk::LongLines) {
        lines.push(format!("* OK {}", "long ".repeat(6000).trim_end()).into_bytes());
    }
    lines
}

/// A line as this server sends it.
pub(crate) fn apply(line: &[u8], quirks: &Quirks) -> Vec<u8> {
    if quirks.contains(&Quirk::LowerCase) && !line.starts_with(b"+") {
        lower(line)
    } else {
        line.to_vec()
    }
}

/// Puts a line in lower case, but for its tag and the strings in it.
fn lower(line: &[u8]) -> Vec<u8> {
    let tag = line.iter().position(|&octet| octet == b' ').unwrap_or(0);
    let mut lowered = line[..tag].to_vec();
    let mut rest = &line[tag..];
    let mut is_quoted = false;
    while let [octet, tail @ ..] = rest {
        match (octet, tail) {
            (b'\\', [escaped, tail @ ..]) if is_quoted => {
                lowered.extend_from_slice(&[*octet, *escaped]);
                rest = tail;
                continue;
            }
            (b'"', _) => is_quoted = !is_quoted,
            _ => {}
        }
        lowered.push(if is_quoted {
            *octet
        } else {
            octet.to_ascii_lowercase()
        });
        rest = tail;
        let before = &line[..line.len() - rest.len()];
        if let Some((_, literal)) = announced(before).filter(|_| rest.starts_with(b"\r\n")) {
            let (text, tail) = rest.split_at(2 + literal.octets);
            lowered.extend_from_slice(text);
            rest = tail;
        }
    }
    lowered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_strings_keep_their_case() {
        assert_eq!(lower(b"A1 OK [READ-ONLY] Done"), b"A1 ok [read-only] done");
        assert_eq!(
            lower(b"* 1 FETCH (FLAGS (\\Seen) X \"Q\\\"Q\" BODY[] {4}\r\nA {B FLAGS ())"),
            b"* 1 fetch (flags (\\seen) x \"Q\\\"Q\" body[] {4}\r\nA {B flags ())"
        );
    }
}
