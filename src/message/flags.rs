//! The flags that are copied.

use std::fmt;

/// The flags that are copied (RFC 3501 2.3.2). `\Deleted`, `\Recent`, `\Draft` and keywords are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags {
    /// The message was read.
    pub seen: bool,
    /// The message is marked for attention.
    pub flagged: bool,
    /// The message was answered.
    pub answered: bool,
}

impl fmt::Display for Flags {
    /// The flags as an APPEND command lists them, without the parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.seen, "\\Seen"),
            (self.flagged, "\\Flagged"),
            (self.answered, "\\Answered"),
        ];
        let names: Vec<&str> = flags
            .iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_listed_as_in_an_append_command() {
        assert_eq!(Flags::default().to_string(), "");
        let all = Flags {
            seen: true,
            flagged: true,
            answered: true,
        };
        assert_eq!(all.to_string(), "\\Seen \\Flagged \\Answered");
    }
}
