//! "Did you mean …?": finds the known name that a mistyped one probably stands for.

/// The known name nearest to `name`, if at most a third of its characters differ.
pub(crate) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let max_distance = name.chars().count().div_ceil(3);
    known
        .into_iter()
        .filter(|candidate| distance(name, candidate) <= max_distance)
        .min_by_key(|candidate| (distance(name, candidate), *candidate))
}

/// The Levenshtein distance, ignoring case.
fn distance(one: &str, other: &str) -> usize {
    strsim::levenshtein(&one.to_lowercase(), &other.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_by_character_and_ignore_case() {
        let cases = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("INBOX", "inbox", 0),
            ("größe", "grösse", 2),
            ("ab", "ba", 2),
        ];
        for (one, other, expected) in cases {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_typing_mistake_finds_the_name_and_another_word_finds_none() {
        let known = ["source_server", "source_user", "target_user"];
        let cases = [
            ("source_sever", Some("source_server")),
            ("Source_Server", Some("source_server")),
            ("sorce_usr", Some("source_user")),
            ("targetuser", Some("target_user")),
            ("colour", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(suggest(name, known), expected, "{name}");
        }
    }
}
