//! Patterns of folder names (RFC 3501 6.3.8). Pure.

/// Whether a name matches: `*` stands for anything, `%` for anything within one level. It takes time in
/// proportion to the lengths of both, whatever they hold.
pub(super) fn matches(pattern: &str, name: &str, delimiter: Option<char>) -> bool {
    let name: Vec<char> = name.chars().collect();
    // Whether the pattern so far matches this many characters of the name.
    let mut is_reached = vec![false; name.len() + 1];
    if let Some(start) = is_reached.first_mut() {
        *start = true;
    }
    for wanted in pattern.chars() {
        let mut before = false;
        let mut characters = name.iter().copied();
        let mut character: Option<char> = None;
        for reached in &mut is_reached {
            let was_reached = *reached;
            *reached = match wanted {
                '*' => was_reached || before,
                '%' => was_reached || (before && character != delimiter),
                wanted => before && character == Some(wanted),
            };
            before = match wanted {
                '*' | '%' => *reached,
                _ => was_reached,
            };
            character = characters.next();
        }
    }
    is_reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_crosses_levels_and_a_percent_sign_does_not() {
        let cases = [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("%/%", "a/b/c", false),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("a*", "a", true),
            ("*c", "a/b/c", true),
            ("%c", "a/b/c", false),
            ("a%c", "abc", true),
            ("a%c*", "abc/d", true),
            ("*日*", "台/日本", true),
            ("*日*", "台/本", false),
            ("A*", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("ab", "a", false),
            ("a*b", "a*b", true),
            ("%%", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                matches(pattern, name, Some('/')),
                expected,
                "{pattern} {name}"
            );
        }
        assert!(matches("%", "a/b", Some('.')));
        assert!(matches("%", "a/b", None));
        assert!(!matches("a.%", "a.b.c", Some('.')));
    }

    #[test]
    fn no_name_makes_matching_slow() {
        let name = "a".repeat(4_000);
        assert!(matches(&"*a".repeat(500), &name, Some('/')));
        assert!(!matches(&("*a".repeat(500) + "b"), &name, Some('/')));
    }
}
