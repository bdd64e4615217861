//! How many messages there are in the open folder, as the server tells in passing: pure.

/// What the server told of the number of messages (RFC 3501 7.3.1, 7.3.2, 7.4.1).
///
/// It may tell at any command, once: who looks for new mail must have listened all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailboxStatus {
    /// How many there are; none if it did not tell yet.
    pub exists: Option<u32>,
    /// How many came since the last look.
    pub new_messages: u32,
    /// It told a number since the last look, perhaps the same again.
    pub exists_reported: bool,
}

impl MailboxStatus {
    /// A look found so many messages more, and began when so many had been told of. Those it had to
    /// find, if they are still there. What was told meanwhile it may have missed: servers may
    /// answer first, and tell afterwards, in whatever order the commands came.
    pub(crate) fn record_check(&mut self, told_before: u32, found: u32) {
        let meanwhile = self.new_messages.saturating_sub(told_before);
        self.new_messages = self.new_messages.saturating_sub(found).min(meanwhile);
        self.exists_reported = false;
    }

    /// Hears an untagged line.
    pub(crate) fn update(&mut self, line: &[u8]) {
        let Some((number, word)) = numbered(line) else {
            return;
        };
        if word.eq_ignore_ascii_case(b"EXISTS") {
            let known = self.exists.unwrap_or(number);
            self.new_messages = self
                .new_messages
                .saturating_add(number.saturating_sub(known));
            self.exists = Some(number);
            self.exists_reported = true;
        } else if word.eq_ignore_ascii_case(b"RECENT") {
            self.exists_reported |= number > 0;
        } else if word.eq_ignore_ascii_case(b"EXPUNGE") {
            self.exists = self.exists.map(|exists| exists.saturating_sub(1));
        }
    }
}

/// The number and the word of `* 23 EXISTS`.
fn numbered(line: &[u8]) -> Option<(u32, &[u8])> {
    let line = line.strip_prefix(b"*")?;
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let number = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    Some((number, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> MailboxStatus {
        let mut view = MailboxStatus::default();
        view.update(b"* 5 EXISTS");
        view.record_check(0, 0);
        for line in lines {
            view.update(line.as_bytes());
        }
        view
    }

    #[test]
    fn a_look_answers_for_what_was_told_before_it_and_for_what_it_found() {
        let cases = [
            // Told, before it, found, still to be looked for.
            (0, 0, 0, 0),
            (3, 3, 3, 0),
            (3, 3, 0, 0),
            (3, 0, 3, 0),
            (3, 0, 0, 3),
            (3, 1, 1, 2),
            (3, 1, 2, 1),
            (3, 2, 9, 0),
        ];
        for (new_messages, told_before, found, expected) in cases {
            let mut view = MailboxStatus {
                new_messages,
                ..MailboxStatus::default()
            };
            view.record_check(told_before, found);
            assert_eq!(
                view.new_messages, expected,
                "{new_messages} {told_before} {found}"
            );
        }
    }

    #[test]
    fn what_came_is_counted_whatever_goes_meanwhile() {
        let cases: [(&[&str], u32, u32, bool); 8] = [
            (&[], 5, 0, false),
            (&["* 6 EXISTS"], 6, 1, true),
            (&["* 6 exists", "*  9  EXISTS"], 9, 4, true),
            (&["* 2 EXPUNGE", "* 5 EXISTS"], 5, 1, true),
            (&["* 2 EXPUNGE", "* 2 EXPUNGE"], 3, 0, false),
            (&["* 5 EXISTS"], 5, 0, true),
            (
                &["* 0 RECENT", "* 7 FETCH (FLAGS ())", "* OK 9 EXISTS"],
                5,
                0,
                false,
            ),
            (&["* 1 RECENT"], 5, 0, true),
        ];
        for (lines, exists, new_messages, exists_reported) in cases {
            let expected = MailboxStatus {
                exists: Some(exists),
                new_messages,
                exists_reported,
            };
            assert_eq!(heard(lines), expected, "{lines:?}");
        }
    }
}
