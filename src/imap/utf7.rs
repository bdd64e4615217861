//! Modified UTF-7, the encoding of mailbox names (RFC 3501 5.1.3). Pure.

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

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
    if let (false, Some(engine)) = (shifted.is_empty(), modified_base64()) {
        encoded.push('&');
        engine.encode_string(&shifted, encoded);
        encoded.push('-');
    }
    shifted.clear();
}

fn decode_shifted(base64: &str) -> Option<String> {
    let octets = modified_base64()?.decode(base64).ok()?;
    let (pairs, []) = octets.as_chunks::<2>() else {
        return None;
    };
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).ok()
}

/// Base64 with `,` for `/` and without padding.
fn modified_base64() -> Option<GeneralPurpose> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    let alphabet = Alphabet::new(LETTERS).ok()?;
    Some(GeneralPurpose::new(&alphabet, config))
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
