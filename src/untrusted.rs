//! Text from servers, messages and paths, escaped for log lines and the terminal.
//!
//! Such text may contain anything. Printed through `Untrusted` it cannot forge a log line, control
//! the terminal, reverse the reading direction, or fill the log.

use std::fmt;
use std::path::Path;

/// Longer text is truncated.
const MAX_LENGTH: usize = 400;

/// Octets whose `Display` is one line of harmless text.
#[derive(Clone, Copy)]
pub struct Untrusted<'a>(&'a [u8]);

impl<'a> Untrusted<'a> {
    /// Wraps text or octets.
    #[must_use]
    pub fn new<T: AsRef<[u8]> + ?Sized>(octets: &'a T) -> Self {
        Untrusted(octets.as_ref())
    }

    /// Wraps a path, which need not be UTF-8 and may contain anything but NUL. All messages print
    /// paths this way.
    #[must_use]
    pub fn path(path: &'a Path) -> Self {
        Untrusted(path.as_os_str().as_encoded_bytes())
    }
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0.get(..MAX_LENGTH * 4).unwrap_or(self.0));
        let mut characters = text.chars();
        for character in characters.by_ref().take(MAX_LENGTH) {
            if character == '\\' || is_harmful(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        if characters.next().is_some() || self.0.len() > MAX_LENGTH * 4 {
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

/// Quotes the path for a shell command.
pub(crate) fn quote_for_shell(file: &Path) -> String {
    let shown = Untrusted::path(file).to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+:@%,".contains(character);
    if shown.chars().all(is_plain) {
        return shown;
    }
    format!("'{}'", shown.replace('\'', r"'\''"))
}

/// Escapes what could forge a line, control the terminal or reverse the reading direction.
pub(crate) fn escape_harmful(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The text of an error that quotes what it read and escapes that itself, as those of `serde_json` do.
pub(crate) fn escape_error(text: &str) -> String {
    Untrusted::new(text).to_string().replace("\\\\", "\\")
}

/// Control characters, line and paragraph separators, invisible characters, and those that change the
/// reading direction.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_unchanged() {
        assert_eq!(Untrusted::new("Grüße, <a@b>").to_string(), "Grüße, <a@b>");
    }

    #[test]
    fn line_ends_escape_sequences_and_direction_marks_are_escaped() {
        let nasty = "a\r\nerror forged\x1b[2J\u{202e}b\\c\u{2028}";
        assert_eq!(
            Untrusted::new(nasty).to_string(),
            "a\\r\\nerror forged\\u{1b}[2J\\u{202e}b\\\\c\\u{2028}"
        );
    }

    #[test]
    fn what_an_error_escapes_is_not_escaped_again() {
        let error = serde_json::from_str::<String>("\"a\nb\"").unwrap_err();
        let shown = escape_error(&error.to_string());
        assert!(
            shown.starts_with("control character (\\u0000-\\u001F)"),
            "{shown}"
        );
        let error = serde_json::from_str::<u8>("\"\\u001b[2J\"").unwrap_err();
        let shown = escape_error(&error.to_string());
        assert!(shown.contains("string \"\\u{1b}[2J\""), "{shown}");
        assert_eq!(escape_error("\u{1b}\\n"), "\\u{1b}\\n");
    }

    #[test]
    fn octets_that_are_not_utf_8_are_replaced() {
        assert_eq!(Untrusted::new(b"a\xffb").to_string(), "a\u{fffd}b");
    }

    #[test]
    fn a_long_text_is_truncated() {
        let shown = Untrusted::new(&"x".repeat(1_000_000)).to_string();
        assert_eq!(shown.chars().count(), MAX_LENGTH + 1);
        assert!(shown.ends_with('…'));
    }
}
