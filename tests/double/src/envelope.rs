//! FETCH ENVELOPE (RFC 3501 7.4.2), as far as the tests need it.

use crate::header;
use crate::strings::string;

/// `ENVELOPE (date subject from sender reply-to to cc bcc in-reply-to message-id)`.
pub(crate) fn envelope(octets: &[u8]) -> Vec<u8> {
    let text = |name| nstring(header::first(octets, name).as_deref());
    let from = header::first(octets, "From");
    let people = |name| addresses(header::first(octets, name).as_deref());
    // RFC 3501: an absent Sender or Reply-To defaults to From.
    let people_or_from = |name| addresses(header::first(octets, name).or(from.clone()).as_deref());
    let parts = [
        text("Date"),
        text("Subject"),
        people("From"),
        people_or_from("Sender"),
        people_or_from("Reply-To"),
        people("To"),
        people("Cc"),
        people("Bcc"),
        text("In-Reply-To"),
        text("Message-ID"),
    ];
    [b"ENVELOPE (".to_vec(), parts.join(&b' '), b")".to_vec()].concat()
}

fn nstring(text: Option<&[u8]>) -> Vec<u8> {
    text.map_or_else(|| b"NIL".to_vec(), string)
}

fn addresses(field: Option<&[u8]>) -> Vec<u8> {
    let Some(field) = field.filter(|field| !field.is_empty()) else {
        return b"NIL".to_vec();
    };
    let each = field.split(|&octet| octet == b',').map(address);
    [
        b"(".to_vec(),
        each.collect::<Vec<_>>().concat(),
        b")".to_vec(),
    ]
    .concat()
}

/// `(name route mailbox host)`; comments and groups are not parsed.
fn address(text: &[u8]) -> Vec<u8> {
    let open = text.iter().position(|&octet| octet == b'<');
    let (name, address) = text.split_at(open.unwrap_or(0));
    let name = name.trim_ascii();
    let name = name
        .strip_prefix(b"\"")
        .and_then(|name| name.strip_suffix(b"\""))
        .unwrap_or(name);
    let address = address.trim_ascii();
    let address = address.strip_prefix(b"<").unwrap_or(address);
    let address = address.strip_suffix(b">").unwrap_or(address);
    let at = address
        .iter()
        .rposition(|&octet| octet == b'@')
        .unwrap_or(address.len());
    let parts = [
        nstring(Some(name).filter(|name| !name.is_empty())),
        b"NIL".to_vec(),
        nstring(Some(&address[..at])),
        nstring(address.get(at + 1..)),
    ];
    [b"(".to_vec(), parts.join(&b' '), b")".to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_has_ten_parts() {
        let octets = b"Subject: a \"b\"\r\nFrom: \"N\" <m@h>, x@y\r\nMessage-ID: <i@j>\r\n\r\n";
        let people = "((\"N\" NIL \"m\" \"h\")(NIL NIL \"x\" \"y\"))";
        assert_eq!(
            String::from_utf8(envelope(octets)).unwrap(),
            format!(
                "ENVELOPE (NIL \"a \\\"b\\\"\" {people} {people} {people} NIL NIL NIL NIL \"<i@j>\")"
            )
        );
    }
}
