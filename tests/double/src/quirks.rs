//! Quirks: the ways in which real servers differ from RFC 3501's examples.

use std::collections::BTreeSet;

use crate::grammar::announced;

/// A behaviour of some real server that differs from RFC 3501's examples; the RFC allows all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// Strings in FETCH responses are quoted where that is possible.
    QuotedStrings,
    /// `BODY[]` is NIL.
    NilBodies,
    /// EXAMINE and STATUS send no UIDVALIDITY.
    NoUidValidity,
    /// EXAMINE sends no UIDNEXT; STATUS does.
    NoUidNext,
    /// Everything is in lower case, except tags, strings and `+` lines.
    LowerCase,
    /// Sends untagged OK and NO lines before every line.
    Chatter,
    /// Sends a line of 30,000 octets before every line.
    LongLines,
    /// Sends a FETCH response for each item.
    SplitFetches,
    /// Sends EXISTS, RECENT, and FETCH with flags and no UID between the FETCH responses.
    News,
    /// The empty line after the fields of `HEADER.FIELDS` is missing.
    OpenHeaders,
    /// The day of INTERNALDATE is padded with a blank.
    PaddedDates,
    /// INTERNALDATE is missing.
    NoInternalDate,
    /// RFC822.SIZE is the size of another form of the message, as at Exchange.
    OtherSizes,
    /// `\Recent` is among the flags.
    RecentFlags,
    /// FETCH items are in another order.
    OtherOrder,
    /// SELECT and EXAMINE are refused unless the client sent ID after the log-in, as at 163.com.
    WantsId,
    /// Blanks outside of strings are doubled, and stand before `)` too, as at DavMail.
    WideBlanks,
    /// Among the flags are some that are no atoms.
    OddFlags,
    /// FETCH responses hold items that nobody asked for.
    UnaskedItems,
    /// RFC822.SIZE is NIL.
    NilSizes,
    /// `BODY[]` is named RFC822.
    OldBodyNames,
}

impl Quirk {
    /// All quirks.
    pub const ALL: [Quirk; 21] = [
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
        Quirk::WantsId,
        Quirk::WideBlanks,
        Quirk::OddFlags,
        Quirk::UnaskedItems,
        Quirk::NilSizes,
        Quirk::OldBodyNames,
    ];
}

/// A fault of one message of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFault {
    /// FETCH omits it and ends with OK; SEARCH finds it.
    Withheld,
    /// FETCH omits it only when its body is requested.
    BodyWithheld,
    /// Its body is NIL.
    NilBody,
    /// A FETCH that includes its body ends with NO.
    Refused,
    /// A FETCH that includes its body breaks the connection.
    Fatal,
}

/// The quirks of a server.
pub(crate) type Quirks = BTreeSet<Quirk>;

/// The extra lines before each line.
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

/// Changes a line as the quirks require.
pub(crate) fn apply(line: &[u8], quirks: &Quirks) -> Vec<u8> {
    let mut line = line.to_vec();
    if quirks.contains(&Quirk::LowerCase) && !line.starts_with(b"+") {
        line = lower(&line);
    }
    if quirks.contains(&Quirk::WideBlanks) && !line.starts_with(b"+") {
        line = widen(&line);
    }
    line
}

/// Puts a line in lower case, except its tag and its strings.
fn lower(line: &[u8]) -> Vec<u8> {
    let tag = line.iter().position(|&octet| octet == b' ').unwrap_or(0);
    let (tag, rest) = line.split_at(tag);
    let rest = change_outside_strings(rest, |octet| vec![octet.to_ascii_lowercase()]);
    [tag, &rest].concat()
}

/// Doubles the blanks of a line, and puts one before each `)`.
fn widen(line: &[u8]) -> Vec<u8> {
    change_outside_strings(line, |octet| match octet {
        b' ' => b"  ".to_vec(),
        b')' => b" )".to_vec(),
        _ => vec![octet],
    })
}

fn change_outside_strings(line: &[u8], change: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let mut changed = Vec::new();
    let mut rest = line;
    let mut is_quoted = false;
    while let [octet, tail @ ..] = rest {
        match (octet, tail) {
            (b'\\', [escaped, tail @ ..]) if is_quoted => {
                changed.extend_from_slice(&[*octet, *escaped]);
                rest = tail;
                continue;
            }
            (b'"', _) => is_quoted = !is_quoted,
            _ => {}
        }
        if is_quoted {
            changed.push(*octet);
        } else {
            changed.extend(change(*octet));
        }
        rest = tail;
        let before = &line[..line.len() - rest.len()];
        if let Some((_, literal)) = announced(before).filter(|_| rest.starts_with(b"\r\n")) {
            let (text, tail) = rest.split_at(2 + literal.octets);
            changed.extend_from_slice(text);
            rest = tail;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_doubled_outside_of_strings() {
        assert_eq!(
            widen(b"* 1 FETCH (X \"Q Q)\" BODY[] {3}\r\nA ) UID 1)"),
            b"*  1  FETCH  (X  \"Q Q)\"  BODY[]  {3}\r\nA )  UID  1 )"
        );
    }

    #[test]
    fn tags_and_strings_keep_their_case() {
        assert_eq!(lower(b"A1 OK [READ-ONLY] Done"), b"A1 ok [read-only] done");
        assert_eq!(
            lower(b"* 1 FETCH (FLAGS (\\Seen) X \"Q\\\"Q\" BODY[] {4}\r\nA {B FLAGS ())"),
            b"* 1 fetch (flags (\\seen) x \"Q\\\"Q\" body[] {4}\r\nA {B flags ())"
        );
    }
}
