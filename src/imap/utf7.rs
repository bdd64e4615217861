//! Modified UTF-7, the encoding of mailbox names (RFC 3501 5.1.3). Pure.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// Base64 with `,` for `/` and without padding.
const MODIFIED_BASE64: GeneralPurpose =
    GeneralPurpose::new(&IMAP_MUTF7, NO_PAD.with_decode_allow_trailing_bits(true));

/// Encodes a name: printable ASCII stays, `&` becomes `&-`, everything else base64 of UTF-16.
#[must_use]
pub fn encode_utf7(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for character in name.chars() {
        if matches!(character, ' '..='~') {
            push_shifted(&mut encoded, &mut shifted);
            encoded.push(character);
            if character == '&' {
                encoded.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shifted.extend(unit.to_be_bytes());
            }
        }
    }
    push_shifted(&mut encoded, &mut shifted);
    encoded
}

/// Decodes a name; none if it is malformed.
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

fn push_shifted(encoded: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        encoded.push('&');
        MODIFIED_BASE64.encode_string(&shifted, encoded);
        encoded.push('-');
        shifted.clear();
    }
}

fn decode_shifted(base64: &str) -> Option<String> {
    let octets = MODIFIED_BASE64.decode(base64).ok()?;
    let (pairs, []) = octets.as_chunks::<2>() else {
        return None;
    };
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailbox_names_are_encoded_and_decoded_again() {
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
    fn malformed_modified_utf_7_is_not_decoded() {
        for encoded in ["&", "a&b", "&A-", "&2D0-", "&*-", "&AOQ=-"] {
            assert_eq!(decode_utf7(encoded), None, "{encoded}");
        }
    }
}
