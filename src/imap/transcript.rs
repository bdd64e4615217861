//! What was said on a connection, for those who cannot look into it any more.
//!
//! The IMAP library owns the stream once it has it, and loses what it does not understand: the
//! reason of a refused APPEND, the text of a BYE, capabilities in passing. The transcript keeps them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use log::{debug, log_enabled, warn};

use crate::imap::MailboxStatus;
use crate::imap::sanitize::announced;
use crate::process::alert_log::AlertLog;
use crate::untrusted::Untrusted;

/// Enough for what a server says about one command.
const LINES_KEPT: usize = 8;

/// More of a line says nothing to a person; capabilities and codes are shorter.
const OCTETS_KEPT: usize = 2_000;

/// What a response may cost in memory, unless more is allowed: a listing of 500 messages with
/// their header fields, or a search that finds two million.
pub(crate) const ORDINARY_ALLOWANCE: u64 = 32 * 1024 * 1024;

/// A view into a connection that somebody else owns.
#[derive(Debug, Clone)]
pub struct Transcript(Arc<Mutex<TranscriptState>>);

#[derive(Debug)]
struct TranscriptState {
    place: String,
    alert_log: AlertLog,
    lines: VecDeque<Vec<u8>>,
    bye: Option<Vec<u8>>,
    capabilities: Option<String>,
    allowance: u64,
    outgoing: SentCommands,
    mailbox_status: MailboxStatus,
}

/// Where in what we send the connection is.
#[derive(Debug, Default)]
struct SentCommands {
    line: Vec<u8>,
    /// The tag of the last command that was begun.
    tag: Option<Vec<u8>>,
    /// What is left of a literal.
    literal: u64,
    literal_was_sent: bool,
    /// The lines of an AUTHENTICATE dialogue are secrets until the server's tagged response.
    authenticating: bool,
    awaiting: Awaiting,
}

/// What the server owes us before we go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Awaiting {
    /// The responses to a command.
    #[default]
    Responses,
    /// A `+`, or a refusal of the literal.
    Continuation,
}

impl Transcript {
    pub(crate) fn new(place: &str, alert_log: AlertLog) -> Transcript {
        Transcript(Arc::new(Mutex::new(TranscriptState {
            place: place.to_owned(),
            alert_log,
            lines: VecDeque::new(),
            bye: None,
            capabilities: None,
            allowance: ORDINARY_ALLOWANCE,
            outgoing: SentCommands::default(),
            mailbox_status: MailboxStatus::default(),
        })))
    }

    /// The last line that the server sent, without its line end; empty if it sent none.
    #[must_use]
    pub fn last_line(&self) -> Vec<u8> {
        self.state().lines.back().cloned().unwrap_or_default()
    }

    /// The last lines that the server sent, oldest first, without literals and line ends.
    #[must_use]
    pub fn last_lines(&self) -> Vec<Vec<u8>> {
        self.state().lines.iter().cloned().collect()
    }

    /// Forgets what was said: what comes next belongs to another command.
    pub fn start_command(&self) {
        let mut dialogue = self.state();
        dialogue.lines.clear();
        dialogue.outgoing.tag = None;
        dialogue.outgoing.literal_was_sent = false;
    }

    /// The last line that the server sent, if it has the tag of the command that was
    /// [begun](Transcript::start_command).
    #[must_use]
    pub fn tagged_response(&self) -> Option<Vec<u8>> {
        let dialogue = self.state();
        let last = dialogue.lines.back()?;
        let after = last.strip_prefix(dialogue.outgoing.tag.as_deref()?)?;
        after.starts_with(b" ").then(|| last.clone())
    }

    /// What the server said when it ended the connection (`* BYE …`), without the word BYE.
    #[must_use]
    pub fn bye(&self) -> Option<Vec<u8>> {
        self.state().bye.clone()
    }

    /// The words of the last capabilities that the server told, asked or unasked.
    #[must_use]
    pub fn capabilities(&self) -> Option<String> {
        self.state().capabilities.clone()
    }

    /// How many messages there are, as the server told in passing.
    #[must_use]
    pub fn mailbox_status(&self) -> MailboxStatus {
        self.state().mailbox_status
    }

    /// A look found so many messages more, and began when so many had been told of.
    pub fn record_check(&self, told_before: u32, found: u32) {
        self.state().mailbox_status.record_check(told_before, found);
    }

    /// What was told without a message more counts no longer.
    pub fn clear_exists_reported(&self) {
        self.state().mailbox_status.exists_reported = false;
    }

    /// Another folder is about to be opened: nothing is known of it.
    pub fn clear_mailbox_status(&self) {
        self.state().mailbox_status = MailboxStatus::default();
    }

    /// Forgets the capabilities: those before a log-in or STARTTLS are not those after it.
    pub fn clear_capabilities(&self) {
        self.state().capabilities = None;
    }

    /// Says whether a literal of this command was handed to the socket to its last octet; if not,
    /// the server cannot have it all.
    #[must_use]
    pub fn literal_was_sent(&self) -> bool {
        self.state().outgoing.literal_was_sent
    }

    /// Allows the response to the next commands to cost this many octets, if it is more than the
    /// ordinary 32 MiB; what exceeds it breaks the connection.
    pub fn set_allowance(&self, octets: u64) {
        self.state().allowance = octets.max(ORDINARY_ALLOWANCE);
    }

    pub(crate) fn allowance(&self) -> u64 {
        self.state().allowance
    }

    /// Notes octets that the socket has taken.
    pub(crate) fn sent(&self, octets: &[u8]) {
        let mut dialogue = self.state();
        let place = dialogue.place.clone();
        dialogue.outgoing.record(octets, &place);
    }

    /// Notes a line that the server sent, literals aside.
    pub(crate) fn received(&self, line: &[u8]) {
        let mut dialogue = self.state();
        debug!("{}: S: {}", dialogue.place, Untrusted::new(line));
        let line = line.get(..OCTETS_KEPT).unwrap_or(line).trim_ascii_end();
        if let Some(text) = strip_word(line, b"* BYE") {
            dialogue.bye = Some(text.to_vec());
        }
        if let Some(words) = capabilities(line) {
            dialogue.capabilities = Some(String::from_utf8_lossy(words).into_owned());
        }
        if is_alert(line)
            && dialogue
                .alert_log
                .should_log(&dialogue.place, line, Instant::now())
        {
            // RFC 3501 7.1: it must be shown to the user.
            warn!(
                "{}: the server says {:?}",
                dialogue.place,
                Untrusted::new(line)
            );
        }
        if line.starts_with(b"*") {
            dialogue.mailbox_status.update(line);
        } else {
            dialogue.outgoing.record_response(line);
        }
        if dialogue.lines.len() == LINES_KEPT {
            dialogue.lines.pop_front();
        }
        dialogue.lines.push_back(line.to_vec());
    }

    /// What the server owes us.
    pub(crate) fn awaiting(&self) -> Awaiting {
        self.state().outgoing.awaiting
    }

    fn state(&self) -> MutexGuard<'_, TranscriptState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SentCommands {
    fn record(&mut self, mut octets: &[u8], place: &str) {
        while !octets.is_empty() {
            if self.literal > 0 {
                let whole = u64::try_from(octets.len()).unwrap_or(u64::MAX);
                let passed = whole.min(self.literal);
                self.literal -= passed;
                self.literal_was_sent = self.literal == 0;
                let passed = usize::try_from(passed).unwrap_or(octets.len());
                octets = octets.get(passed..).unwrap_or_default();
                continue;
            }
            if let Some(end) = octets.iter().position(|octet| *octet == b'\n') {
                let (line, rest) = octets.split_at_checked(end + 1).unwrap_or((octets, b""));
                self.line.extend_from_slice(line);
                octets = rest;
                let line = std::mem::take(&mut self.line);
                self.record_line(line.trim_ascii_end(), place);
            } else {
                self.line.extend_from_slice(octets);
                octets = b"";
            }
        }
    }

    fn record_line(&mut self, line: &[u8], place: &str) {
        if log_enabled!(log::Level::Debug) {
            debug!("{place}: C: {}", self.redact(line));
        }
        let mut words = line.split(|octet| *octet == b' ');
        let tag = words.next().unwrap_or_default();
        // A command may have more lines, after its literals; the tag is in the first.
        self.tag.get_or_insert_with(|| tag.to_vec());
        let command = words.next().unwrap_or_default();
        self.authenticating |= command.eq_ignore_ascii_case(b"AUTHENTICATE");
        let literal = announced(line);
        self.literal = literal.unwrap_or(0);
        self.literal_was_sent |= literal == Some(0);
        // A literal of the form {n+} (RFC 7888) is not waited for.
        self.awaiting = if literal.is_some() && !line.ends_with(b"+}") {
            Awaiting::Continuation
        } else {
            Awaiting::Responses
        };
    }

    /// The line without passwords and tokens.
    fn redact(&self, line: &[u8]) -> String {
        if self.authenticating {
            return "…".to_owned();
        }
        let mut words = line.splitn(3, |octet| *octet == b' ');
        let tag = words.next().unwrap_or_default();
        let command = words.next().unwrap_or_default();
        let is_secret = [b"LOGIN".as_slice(), b"AUTHENTICATE"]
            .iter()
            .any(|secret| command.eq_ignore_ascii_case(secret));
        if is_secret {
            format!("{} {} …", Untrusted::new(tag), Untrusted::new(command))
        } else {
            Untrusted::new(line).to_string()
        }
    }

    /// The server sent a `+` or a tagged response.
    fn record_response(&mut self, line: &[u8]) {
        self.awaiting = Awaiting::Responses;
        if !line.starts_with(b"+") {
            self.authenticating = false;
            // It did not want the literal.
            self.literal = 0;
        }
    }
}

/// The capabilities that a line tells, as data or as a response code.
fn capabilities(line: &[u8]) -> Option<&[u8]> {
    if let Some(words) = strip_word(line, b"* CAPABILITY") {
        return Some(words);
    }
    let code = line.iter().position(|octet| *octet == b'[')?;
    let is_status = line.get(..code).is_some_and(|before| {
        let words = before.split(|octet| *octet == b' ');
        words.filter(|word| !word.is_empty()).count() == 2
    });
    let inner = line.get(code + 1..).filter(|_| is_status)?;
    let end = inner.iter().position(|octet| *octet == b']')?;
    strip_word(inner.get(..end)?, b"CAPABILITY")
}

fn is_alert(line: &[u8]) -> bool {
    let text = strip_word(line, b"* OK").or_else(|| strip_word(line, b"* NO"));
    text.is_some_and(|text| strip_word(text, b"[ALERT]").is_some())
}

/// What follows these words, whatever their case; none if the line begins with others.
fn strip_word<'a>(line: &'a [u8], words: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = line.split_at_checked(words.len())?;
    let is_word = rest.is_empty() || rest.starts_with(b" ");
    (begin.eq_ignore_ascii_case(words) && is_word).then(|| rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &[&str]) -> SentCommands {
        let mut outgoing = SentCommands::default();
        for line in lines {
            outgoing.record(line.as_bytes(), "here");
        }
        outgoing
    }

    #[test]
    fn passwords_and_tokens_are_not_shown() {
        let nothing = SentCommands::default();
        let cases = [
            ("a1 LOGIN \"alice\" \"secret\"", "a1 LOGIN …"),
            ("a1 login alice secret", "a1 login …"),
            ("a1 AUTHENTICATE PLAIN secret", "a1 AUTHENTICATE …"),
            ("a1 EXAMINE \"INBOX\"", "a1 EXAMINE \"INBOX\""),
        ];
        for (line, expected) in cases {
            assert_eq!(nothing.redact(line.as_bytes()), expected);
        }
        let mut dialogue = sent(&["a1 AUTHENTICATE PLAIN\r\n"]);
        dialogue.record_response(b"+ ");
        assert_eq!(dialogue.redact(b"c2VjcmV0"), "…");
        dialogue.record_response(b"a1 OK");
        assert_eq!(dialogue.redact(b"a2 NOOP"), "a2 NOOP");
    }

    #[test]
    fn a_literal_is_known_to_be_sent_by_its_last_octet() {
        let cases: [(&[&str], bool); 6] = [
            (&["a1 APPEND x {5}\r\n"], false),
            (&["a1 APPEND x {5}\r\n", "hell"], false),
            (&["a1 APPEND x {5}\r\n", "he", "llo"], true),
            (&["a1 APPEND x {5}\r\n", "hello\r\n"], true),
            (&["a1 APPEND x {0}\r\n"], true),
            (&["a1 NOOP\r\n"], false),
        ];
        for (pieces, expected) in cases {
            assert_eq!(sent(pieces).literal_was_sent, expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_literal_that_is_refused_does_not_swallow_the_next_command() {
        let mut outgoing = sent(&["a1 APPEND x {5}\r\n"]);
        outgoing.record_response(b"a1 NO no");
        outgoing.record(b"a2 APPEND x {3}\r\n", "here");
        outgoing.record(b"abc", "here");
        assert!(outgoing.literal_was_sent);
    }

    #[test]
    fn it_is_known_what_the_server_owes() {
        let cases = [
            ("a1 NOOP\r\n", Awaiting::Responses),
            ("a1 idle\r\n", Awaiting::Responses),
            ("DONE\r\n", Awaiting::Responses),
            ("a1 APPEND x {5}\r\n", Awaiting::Continuation),
            ("a1 SEARCH {5+}\r\n", Awaiting::Responses),
        ];
        for (line, expected) in cases {
            assert_eq!(sent(&[line]).awaiting, expected, "{line}");
        }
    }

    #[test]
    fn capabilities_are_read_wherever_they_stand() {
        let cases: [(&str, Option<&str>); 7] = [
            ("* CAPABILITY IMAP4rev1 IDLE", Some("IMAP4rev1 IDLE")),
            ("* capability IMAP4rev1", Some("IMAP4rev1")),
            ("* OK [CAPABILITY IMAP4rev1] hello", Some("IMAP4rev1")),
            ("a1 OK [CAPABILITY IMAP4rev1] in", Some("IMAP4rev1")),
            ("* OK [ALERT] see [CAPABILITY X]", None),
            ("* LIST () NIL [CAPABILITY X]", None),
            ("* CAPABILITYX Y", None),
        ];
        for (line, expected) in cases {
            assert_eq!(
                capabilities(line.as_bytes()),
                expected.map(str::as_bytes),
                "{line}"
            );
        }
    }

    #[test]
    fn last_words_are_kept_and_not_without_end() {
        let transcript = Transcript::new("here", AlertLog::default());
        for number in 0..100 {
            transcript.received(format!("* {number} EXISTS\r\n").as_bytes());
        }
        transcript.received(b"* bye [UNAVAILABLE] gone\r\n");
        assert_eq!(transcript.last_lines().len(), LINES_KEPT);
        assert_eq!(transcript.last_line(), b"* bye [UNAVAILABLE] gone");
        assert_eq!(transcript.bye().unwrap(), b"[UNAVAILABLE] gone");
        transcript.received(&vec![b'x'; 1_000_000]);
        assert_eq!(transcript.last_line().len(), OCTETS_KEPT);
        transcript.start_command();
        assert_eq!(transcript.last_line(), b"");
    }
}
