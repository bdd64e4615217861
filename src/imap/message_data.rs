//! The data of messages in received lines, which no log line and no error shows.
//!
//! A server sends it as literals, which are not part of a line, or as quoted strings.

use std::borrow::Cow;

/// The line without the quoted strings of a FETCH response, except its date.
pub(super) fn without_message_data(line: &[u8]) -> Cow<'_, [u8]> {
    let mut words = line.split(u8::is_ascii_whitespace);
    let is_fetch = line.starts_with(b"*") && words.any(|word| word.eq_ignore_ascii_case(b"FETCH"));
    // After a literal, the response continues with a blank or the end of a list.
    let is_continuation = line.starts_with(b" ") || line.starts_with(b")");
    if !is_fetch && !is_continuation {
        return Cow::Borrowed(line);
    }
    let mut shown = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.iter().position(|octet| *octet == b'"') {
        let (before, string) = rest.split_at(start);
        let (string, after) = string.split_at(quoted_length(string));
        shown.extend_from_slice(before);
        let name = before.trim_ascii_end().to_ascii_uppercase();
        let is_date = name.ends_with(b"INTERNALDATE");
        shown.extend_from_slice(if is_date {
            string
        } else {
            "\"…\"".as_bytes()
        });
        rest = after;
    }
    shown.extend_from_slice(rest);
    Cow::Owned(shown)
}

/// The length of the quoted string that this begins with, with its quotes.
fn quoted_length(octets: &[u8]) -> usize {
    let mut is_escaped = false;
    let is_end = |octet: &u8| {
        let is_end = *octet == b'"' && !is_escaped;
        is_escaped = *octet == b'\\' && !is_escaped;
        is_end
    };
    let end = octets.iter().skip(1).position(is_end);
    end.map_or(octets.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_of_fetch_responses_are_left_out() {
        let cases = [
            (
                r#"* 1 FETCH (UID 1 INTERNALDATE "22-Nov-2026" BODY[] "a \"b\" c\\" FLAGS ())"#,
                r#"* 1 FETCH (UID 1 INTERNALDATE "22-Nov-2026" BODY[] "…" FLAGS ())"#,
            ),
            (
                r#"*  1  fetch (RFC822.HEADER "Subject: s")"#,
                r#"*  1  fetch (RFC822.HEADER "…")"#,
            ),
            (r#" BODY[HEADER] "x""#, r#" BODY[HEADER] "…""#),
            (r#"* 1 FETCH (BODY[] "no end"#, r#"* 1 FETCH (BODY[] "…""#),
            (r#"* LIST () "/" "Sent""#, r#"* LIST () "/" "Sent""#),
            (r#"a1 NO "x""#, r#"a1 NO "x""#),
        ];
        for (line, expected) in cases {
            let shown = without_message_data(line.as_bytes());
            assert_eq!(String::from_utf8_lossy(&shown), expected);
        }
    }
}
