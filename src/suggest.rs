//! The known name that was probably meant by one that is not known.

/// The known name with the fewest differences, if they are few enough to be slips of the hand.
#[must_use]
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slips = name.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|candidate| (differences(name, candidate), candidate))
        .filter(|(differences, _)| *differences <= slips)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters must be put in, left out or replaced to make one word of the other
/// (Levenshtein's distance), upper case as lower case.
fn differences(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, mine) in one.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (theirs, above) in other.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(*theirs != mine);
            left = replaced.min(left + 1).min(above + 1);
            next.push(left);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_by_character() {
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
            assert_eq!(differences(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_slip_of_the_hand_finds_the_name_and_another_word_finds_none() {
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
