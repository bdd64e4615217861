//! Blanks between the words of a response: some servers write several where one belongs, or one
//! where none belongs. Pure.

/// The line with each run of blanks and tabs as one blank, and with none at its end and at the inner
/// side of brackets and parentheses. Quoted strings are unchanged.
pub(in crate::imap) fn single_blanks(line: &[u8]) -> Vec<u8> {
    let mut spaced: Vec<u8> = Vec::with_capacity(line.len());
    let mut is_quoted = false;
    let mut is_escaped = false;
    for &octet in line {
        let before = spaced.last().copied();
        if is_quoted {
            is_quoted = is_escaped || octet != b'"';
            is_escaped = !is_escaped && octet == b'\\';
            spaced.push(octet);
            continue;
        }
        match octet {
            b' ' | b'\t' if matches!(before, Some(b' ' | b'(' | b'[')) => continue,
            b' ' | b'\t' => spaced.push(b' '),
            b')' | b']' if before == Some(b' ') => {
                spaced.pop();
                spaced.push(octet);
            }
            _ => spaced.push(octet),
        }
        // Within a word it is no opening quote.
        is_quoted = octet == b'"' && matches!(before, None | Some(b' ' | b'(' | b'['));
    }
    if !is_quoted && spaced.last() == Some(&b' ') {
        spaced.pop();
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_blanks_outside_of_strings_are_one() {
        for (line, expected) in [
            ("*   5 \t EXISTS  ", "* 5 EXISTS"),
            (
                "a1  OK [ APPENDUID  1  5 ]  done",
                "a1 OK [APPENDUID 1 5] done",
            ),
            (
                "* LIST  ( \\A  \\B )  \"/\"  \"a  b\"",
                "* LIST (\\A \\B) \"/\" \"a  b\"",
            ),
            (
                "* LIST () \"/\" \"a \\\"  b\"  ",
                "* LIST () \"/\" \"a \\\"  b\"",
            ),
            ("* OK 6\"  of  it", "* OK 6\" of it"),
            ("  UID  1", " UID 1"),
            ("", ""),
        ] {
            let spaced = single_blanks(line.as_bytes());
            assert_eq!(String::from_utf8(spaced).unwrap(), expected);
        }
    }
}
