//! How words are written on the wire: quoting, folder names, status texts. Pure.

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// A text as it stands between the quotes of a quoted string (RFC 3501 4.3).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A folder's name, as a person writes it, in quotes and modified UTF-7; none if it holds
/// CR, LF or NUL.
#[must_use]
pub fn quoted_mailbox(name: &str) -> Option<String> {
    Some(format!("\"{}\"", escaped_mailbox(name)?))
}

/// The same without the quotes, for where they are put by others.
#[must_use]
pub fn escaped_mailbox(name: &str) -> Option<String> {
    let has_end = name.contains(['\r', '\n', '\0']);
    (!has_end).then(|| escaped(&encode_utf7(name)))
}

/// A name in modified UTF-7 (RFC 3501 5.1.3): ASCII as it is, `&` as `&-`, all else in base64.
#[must_use]
pub fn encode_utf7(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut foreign: Vec<u8> = Vec::new();
    for character in name.chars() {
        if matches!(character, ' '..='~') {
            shift_back(&mut encoded, &mut foreign);
            encoded.push(character);
            if character == '&' {
                encoded.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                foreign.extend(unit.to_be_bytes());
            }
        }
    }
    shift_back(&mut encoded, &mut foreign);
    encoded
}

/// A name out of modified UTF-7; none if it is not well formed.
#[must_use]
pub fn decode_utf7(encoded: &str) -> Option<String> {
    let mut name = String::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (base64, after) = shifted.split_once('-')?;
        name.push_str(plain);
        if base64.is_empty() {
            name.push('&');
        } else {
            name.push_str(&decode_shifted(base64)?);
        }
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

fn shift_back(encoded: &mut String, foreign: &mut Vec<u8>) {
    if let (false, Some(engine)) = (foreign.is_empty(), modified_base64()) {
        encoded.push('&');
        engine.encode_string(&foreign, encoded);
        encoded.push('-');
    }
    foreign.clear();
}

fn decode_shifted(base64: &str) -> Option<String> {
    let octets = modified_base64()?.decode(base64).ok()?;
    let (pairs, []) = octets.as_chunks::<2>() else {
        return None;
    };
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).ok()
}

/// Base64 with `,` for `/` and without padding (RFC 3501 5.1.3).
fn modified_base64() -> Option<GeneralPurpose> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    let alphabet = Alphabet::new(LETTERS).ok()?;
    Some(GeneralPurpose::new(&alphabet, config))
}

/// What a server says in a status response: a code in brackets, and a text for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseText {
    /// The response code with its arguments, without the brackets (`OVERQUOTA`, `APPENDUID 1 5`);
    /// its first word in upper case.
    pub code: Option<String>,
    /// The text after it.
    pub text: String,
}

impl ResponseText {
    /// Reads what follows the word OK, NO, BAD or BYE.
    #[must_use]
    pub fn parse(text: &[u8]) -> ResponseText {
        let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
        let Some((code, after)) = text.strip_prefix('[').and_then(|code| code.split_once(']'))
        else {
            return ResponseText { code: None, text };
        };
        let (word, arguments) = code.split_once(' ').unwrap_or((code, ""));
        let code = format!("{} {arguments}", word.to_ascii_uppercase());
        ResponseText {
            code: Some(code.trim_end().to_owned()),
            text: after.trim_start().to_owned(),
        }
    }

    /// Says whether the code is this one, whatever its arguments.
    #[must_use]
    pub fn has_code(&self, word: &str) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        code.split(' ').next() == Some(word)
    }
}

impl std::fmt::Display for ResponseText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::untrusted::Untrusted;
        match &self.code {
            Some(code) => write!(
                f,
                "[{}] {}",
                Untrusted::new(code),
                Untrusted::new(&self.text)
            ),
            None => Untrusted::new(&self.text).fmt(f),
        }
    }
}

/// How a status response begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusCondition {
    /// `OK`
    Ok,
    /// `NO`
    No,
    /// `BAD`
    Bad,
    /// `BYE`
    Bye,
    /// `PREAUTH`, in a greeting
    PreAuth,
}

/// Reads a status response, tagged or not; none if the line is another response.
#[must_use]
pub fn status(line: &[u8]) -> Option<(StatusCondition, ResponseText)> {
    let line = line.trim_ascii_end();
    let tag = line.iter().position(|octet| *octet == b' ')?;
    let rest = line.get(tag + 1..)?;
    let end = rest.iter().position(|octet| *octet == b' ');
    let (word, text) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
    let status = match word.to_ascii_uppercase().as_slice() {
        b"OK" => StatusCondition::Ok,
        b"NO" => StatusCondition::No,
        b"BAD" => StatusCondition::Bad,
        b"BYE" => StatusCondition::Bye,
        b"PREAUTH" => StatusCondition::PreAuth,
        _ => return None,
    };
    Some((status, ResponseText::parse(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_never_end_the_command() {
        let cases = [
            ("", Some("\"\"")),
            ("a b", Some("\"a b\"")),
            ("a\"b\\c", Some("\"a\\\"b\\\\c\"")),
            ("a\r\nb1 LOGOUT", None),
            ("a\nb", None),
            ("a\0b", None),
        ];
        for (name, expected) in cases {
            assert_eq!(quoted_mailbox(name).as_deref(), expected, "{name:?}");
        }
    }

    #[test]
    fn folder_names_are_written_in_modified_utf_7_and_read_again() {
        let cases = [
            ("INBOX", "INBOX"),
            ("R&D", "R&-D"),
            ("&", "&-"),
            ("Grüße", "Gr&APwA3w-e"),
            ("Entwürfe & Ähnliches", "Entw&APw-rfe &- &AMQ-hnliches"),
            // RFC 3501 5.1.3.
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Отправленные", "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
            ("😀", "&2D3eAA-"),
            ("\u{7f}\t", "&AH8ACQ-"),
        ];
        for (name, encoded) in cases {
            assert_eq!(encode_utf7(name), encoded);
            assert_eq!(decode_utf7(encoded).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_no_modified_utf_7_has_no_name() {
        for encoded in ["&", "a&b", "&A-", "&2D0-", "&*-", "&AOQ=-"] {
            assert_eq!(decode_utf7(encoded), None, "{encoded}");
        }
    }

    #[test]
    fn a_status_is_read_with_its_code_and_text() {
        let cases = [
            ("a1 OK done", Some((StatusCondition::Ok, None, "done"))),
            (
                "* bye [unavailable] later",
                Some((StatusCondition::Bye, Some("UNAVAILABLE"), "later")),
            ),
            (
                "a1 OK [APPENDUID 1 5](Success)",
                Some((StatusCondition::Ok, Some("APPENDUID 1 5"), "(Success)")),
            ),
            ("a1 NO", Some((StatusCondition::No, None, ""))),
            ("a1 BAD [open", Some((StatusCondition::Bad, None, "[open"))),
            ("* 5 EXISTS", None),
            ("+ go", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let read = status(line.as_bytes());
            let read = read
                .as_ref()
                .map(|(status, reply)| (*status, reply.code.as_deref(), reply.text.as_str()));
            assert_eq!(read, expected, "{line}");
        }
    }

    #[test]
    fn what_a_server_says_is_shown_harmless() {
        let reply = ResponseText::parse(b"[ALERT] a\x1b[2J\xff");
        assert_eq!(reply.to_string(), "[ALERT] a\\u{1b}[2J\u{fffd}");
        assert!(reply.has_code("ALERT") && !reply.has_code("A"));
    }
}
