//! The header fields of a message.

/// One field: its name, and its unchanged lines.
pub(crate) struct Field<'a> {
    /// The name, as written.
    pub name: &'a [u8],
    /// The whole field with its folds and its last line break.
    pub lines: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name, ignoring case.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value, unfolded and trimmed.
    pub fn value(&self) -> Vec<u8> {
        let value = &self.lines[self.name.len()..];
        let colon = value.iter().position(|&octet| octet == b':').unwrap();
        let unfolded = value[colon + 1..]
            .iter()
            .filter(|&&o| o != b'\r' && o != b'\n');
        let unfolded: Vec<u8> = unfolded.copied().collect();
        unfolded.trim_ascii().to_vec()
    }
}

/// The header of a message with the empty line after it, and the body.
pub(crate) fn split(octets: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        start += line.len();
        if line.trim_ascii_end().is_empty() {
            return octets.split_at(start);
        }
    }
    (octets, &[])
}

/// The fields of a message; skips lines that are no field.
pub(crate) fn fields(octets: &[u8]) -> Vec<Field<'_>> {
    let (header, _) = split(octets);
    let mut starts = Vec::new();
    let mut start = 0;
    for line in header.split_inclusive(|&octet| octet == b'\n') {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            starts.push(start);
        }
        start += line.len();
    }
    starts.push(header.len());
    let lines = starts.windows(2).map(|ends| &header[ends[0]..ends[1]]);
    lines.filter_map(field).collect()
}

/// The first field of this name, unfolded and trimmed.
pub(crate) fn first(octets: &[u8], name: &str) -> Option<Vec<u8>> {
    let fields = fields(octets);
    let field = fields.iter().find(|field| field.is(name.as_bytes()));
    field.map(Field::value)
}

/// All fields of this name, unfolded and trimmed.
pub(crate) fn all(octets: &[u8], name: &str) -> Vec<Vec<u8>> {
    let fields = fields(octets);
    let named = fields.iter().filter(|field| field.is(name.as_bytes()));
    named.map(Field::value).collect()
}

fn field(lines: &[u8]) -> Option<Field<'_>> {
    let colon = lines.iter().position(|&octet| octet == b':')?;
    let name = lines[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some(Field { name, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &[u8] = b"Subject: a\r\nMessage-ID:\r\n <x@y>\r\nnonsense\r\n\r\nbody: no\r\n";

    #[test]
    fn a_folded_field_is_one_field() {
        assert_eq!(first(LETTER, "message-id").unwrap(), b"<x@y>");
        assert_eq!(fields(LETTER)[1].lines, b"Message-ID:\r\n <x@y>\r\n");
    }

    #[test]
    fn the_body_is_what_stands_after_the_empty_line() {
        assert_eq!(split(LETTER).1, b"body: no\r\n");
        assert_eq!(first(LETTER, "body"), None);
    }
}
