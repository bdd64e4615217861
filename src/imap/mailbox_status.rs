//! The message counts that a server reports for the open folder. Pure.

/// The message counts that the server reported (RFC 3501 7.3.1, 7.3.2, 7.4.1).
///
/// It may report new mail with the response to any command, and only once, so every received line
/// has to be read for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MailboxStatus {
    /// How many messages there are; none if not reported yet.
    pub(crate) exists: Option<u32>,
    /// How many messages came since the last check.
    pub(crate) new_messages: u32,
    /// A count was reported since the last check, perhaps the same again.
    pub(crate) exists_reported: bool,
}

impl MailboxStatus {
    /// Records that a check for new mail found this many new messages, after this many had been
    /// reported before it began.
    ///
    /// Those reported before it had to be found, if they still exist. Those reported during the
    /// check may be missing from what it found: a server may first respond to the search and then
    /// report new mail, whatever the order of the commands.
    pub(super) fn record_check(&mut self, reported_before: u32, found: u32) {
        let reported_during = self.new_messages.saturating_sub(reported_before);
        self.new_messages = self.new_messages.saturating_sub(found).min(reported_during);
        self.exists_reported = false;
    }

    /// Updates the counts from an untagged line.
    pub(super) fn update(&mut self, line: &[u8]) {
        let Some((number, word)) = number_and_word(line) else {
            return;
        };
        if word.eq_ignore_ascii_case(b"EXISTS") {
            let known = self.exists.unwrap_or(number);
            let added = number.saturating_sub(known);
            self.new_messages = self.new_messages.saturating_add(added);
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
fn number_and_word(line: &[u8]) -> Option<(u32, &[u8])> {
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

    fn status_after(lines: &[&str]) -> MailboxStatus {
        let mut status = MailboxStatus::default();
        status.update(b"* 5 EXISTS");
        status.record_check(0, 0);
        for line in lines {
            status.update(line.as_bytes());
        }
        status
    }

    #[test]
    fn a_check_covers_what_was_reported_before_it_and_what_it_found() {
        let cases = [
            // Reported, of these before the check, found, left to be found.
            (0, 0, 0, 0),
            (3, 3, 3, 0),
            (3, 3, 0, 0),
            (3, 0, 3, 0),
            (3, 0, 0, 3),
            (3, 1, 1, 2),
            (3, 1, 2, 1),
            (3, 2, 9, 0),
        ];
        for (new_messages, reported_before, found, expected) in cases {
            let mut status = MailboxStatus {
                new_messages,
                ..MailboxStatus::default()
            };
            status.record_check(reported_before, found);
            assert_eq!(
                status.new_messages, expected,
                "{new_messages} {reported_before} {found}"
            );
        }
    }

    #[test]
    fn new_messages_are_counted_although_others_are_expunged() {
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
            assert_eq!(status_after(lines), expected, "{lines:?}");
        }
    }
}
