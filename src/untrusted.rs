//! Text from outside, escaped by `Display`.
//!
//! A server or a mail may hold anything. Shown through `Untrusted` it cannot forge a log line, move
//! a cursor, ring a bell, turn the reading direction round, or fill the log.

use std::fmt;
use std::path::Path;

/// More of a foreign text than this says nothing to a person.
const LONGEST_SHOWN: usize = 400;

/// Octets from a server or a message, shown as one harmless piece of text.
#[derive(Clone, Copy)]
pub struct Untrusted<'a>(&'a [u8]);

impl<'a> Untrusted<'a> {
    /// Wraps text or octets for showing.
    #[must_use]
    pub fn new<T: AsRef<[u8]> + ?Sized>(octets: &'a T) -> Self {
        Untrusted(octets.as_ref())
    }

    /// Wraps a path for showing: it need not be UTF-8, and may hold anything but NUL.
    #[must_use]
    pub fn path(path: &'a Path) -> Self {
        Untrusted(path.as_os_str().as_encoded_bytes())
    }
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0.get(..LONGEST_SHOWN * 4).unwrap_or(self.0));
        let mut shown = text.chars();
        for character in shown.by_ref().take(LONGEST_SHOWN) {
            if character == '\\' || is_harmful(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        if shown.next().is_some() || self.0.len() > LONGEST_SHOWN * 4 {
            f.write_str("…")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Control characters, line and paragraph separators, and what changes the reading direction.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_shown_as_it_is() {
        assert_eq!(Untrusted::new("Grüße, <a@b>").to_string(), "Grüße, <a@b>");
    }

    #[test]
    fn lines_escapes_and_direction_marks_are_escaped() {
        let nasty = "a\r\nerror forged\x1b[2J\u{202e}b\\c\u{2028}";
        assert_eq!(
            Untrusted::new(nasty).to_string(),
            "a\\r\\nerror forged\\u{1b}[2J\\u{202e}b\\\\c\\u{2028}"
        );
    }

    #[test]
    fn octets_that_are_no_text_are_replaced() {
        assert_eq!(Untrusted::new(b"a\xffb").to_string(), "a\u{fffd}b");
    }

    #[test]
    fn a_long_text_is_cut() {
        let shown = Untrusted::new(&"x".repeat(1_000_000)).to_string();
        assert_eq!(shown.chars().count(), LONGEST_SHOWN + 1);
        assert!(shown.ends_with('…'));
    }
}
