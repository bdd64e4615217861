//! The transcript of a connection: the last lines received, and the state that lines reported.
//!
//! A server may send at any moment what belongs to no command: a BYE and its reason, an alert,
//! capabilities, the number of messages. The transcript keeps it, and logs the dialogue without
//! passwords and tokens.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use log::{debug, log_enabled, warn};

use crate::imap::message_data::without_message_data;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::sanitize::{announced_literal, single_blanks};
use crate::imap::{Capabilities, MailboxStatus, ResponseText};
use crate::process::alert_log::AlertLog;
use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// Enough for the responses to one command.
const MAX_LINES: usize = 8;

/// Octets kept of a line; capabilities and response codes are shorter.
const MAX_LINE_OCTETS: usize = 2_000;

/// What is shorter may be a part of any text, like a blank and two quotes.
const MIN_SECRET_OCTETS: usize = 4;

/// The transcript of a connection. Clones share it.
#[derive(Debug, Clone)]
pub struct Transcript(Arc<Mutex<TranscriptState>>);

#[derive(Debug, Default)]
struct TranscriptState {
    place: String,
    alert_log: AlertLog,
    lines: VecDeque<Vec<u8>>,
    bye: Option<ResponseText>,
    capabilities: Option<Capabilities>,
    sent: SentCommands,
    mailbox_status: MailboxStatus,
}

/// What was sent, as far as it is secret.
#[derive(Debug, Default)]
struct SentCommands {
    /// The tag of the log-in, until the server has answered it.
    login_tag: Option<Vec<u8>>,
    /// The lines that follow belong to the log-in, and are secret.
    is_authenticating: bool,
    /// How many octets of a literal of the log-in are still to be sent.
    literal_left: usize,
    /// What was sent to log in, until the next command after the server's answer.
    secrets: Vec<Secret>,
    /// The credentials as a server may know them after it has decoded what was sent; as long.
    decoded_secrets: Vec<Secret>,
}

impl Transcript {
    pub(crate) fn new(place: &str, alert_log: AlertLog) -> Transcript {
        Transcript(Arc::new(Mutex::new(TranscriptState {
            place: place.to_owned(),
            alert_log,
            ..TranscriptState::default()
        })))
    }

    /// The last line received, without its line end; empty if there is none.
    #[must_use]
    pub fn last_line(&self) -> Vec<u8> {
        self.state().lines.back().cloned().unwrap_or_default()
    }

    /// The last lines received, oldest first, without literals and line ends.
    #[must_use]
    pub fn last_lines(&self) -> Vec<Vec<u8>> {
        self.state().lines.iter().cloned().collect()
    }

    /// Clears the lines: those that follow belong to another command.
    pub(super) fn start_command(&self) {
        self.state().lines.clear();
    }

    /// The text of the server's `* BYE …`.
    pub(super) fn bye(&self) -> Option<ResponseText> {
        self.state().bye.clone()
    }

    /// The last capabilities that the server sent, asked for or not.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        self.state().capabilities.clone()
    }

    /// The message counts that the server reported for the open folder.
    pub(crate) fn mailbox_status(&self) -> MailboxStatus {
        self.state().mailbox_status
    }

    /// As [`MailboxStatus::record_check`].
    pub(crate) fn record_check(&self, reported_before: u32, found: u32) {
        let mut state = self.state();
        state.mailbox_status.record_check(reported_before, found);
    }

    /// Forgets that a count was reported; the counts stay.
    pub(super) fn clear_exists_reported(&self) {
        self.state().mailbox_status.exists_reported = false;
    }

    /// Forgets all counts: another folder is about to be opened.
    pub(super) fn clear_mailbox_status(&self) {
        self.state().mailbox_status = MailboxStatus::default();
    }

    /// Forgets the capabilities: they change with STARTTLS and with the log-in.
    pub(super) fn clear_capabilities(&self) {
        self.state().capabilities = None;
    }

    /// Records lines that are sent: commands, or the continuation of one. The messages that are
    /// appended are not recorded.
    pub(super) fn record_sent(&self, lines: &str) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.sent.record(lines, &state.place);
    }

    /// Records a received line; literals are not recorded.
    pub(super) fn record_received(&self, line: &[u8]) {
        let mut state = self.state();
        if log_enabled!(log::Level::Debug) {
            let shown = without_message_data(line);
            debug!("{}: S: {}", state.place, Untrusted::new(&shown));
        }
        let line = line.get(..MAX_LINE_OCTETS).unwrap_or(line).trim_ascii_end();
        let line = single_blanks(line);
        if let Some(capabilities) = Capabilities::in_line(&line) {
            state.capabilities = Some(capabilities);
        }
        if line.starts_with(b"*") {
            state.record_untagged(&line);
        } else {
            state.sent.record_response(&line);
        }
        if state.lines.len() == MAX_LINES {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }

    /// Hides the credentials of the log-in that begins in the texts that follow.
    pub(super) fn start_log_in(&self, credentials: &Secret) {
        let value = credentials.expose();
        let mut state = self.state();
        for form in [value, &STANDARD_NO_PAD.encode(value)] {
            if form.len() >= MIN_SECRET_OCTETS {
                let secret = Secret::new(form.to_owned());
                state.sent.decoded_secrets.push(secret);
            }
        }
    }

    /// The received line, without what the client has sent to log in: some servers repeat a command
    /// that they reject.
    pub(super) fn hide_secrets<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        self.state().sent.hide_secrets(line)
    }

    fn state(&self) -> MutexGuard<'_, TranscriptState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TranscriptState {
    fn record_untagged(&mut self, line: &[u8]) {
        self.mailbox_status.update(line);
        match status_response(line) {
            Some((StatusCondition::Bye, text)) => self.bye = Some(text),
            // It must be shown to the user (RFC 3501 7.1).
            Some((StatusCondition::Ok | StatusCondition::No, text)) if text.has_code("ALERT") => {
                let place = &self.place;
                if self.alert_log.should_log(place, line, Instant::now()) {
                    warn!("{place}: the server says {:?}", Untrusted::new(line));
                }
            }
            _ => {}
        }
    }
}

impl SentCommands {
    fn record(&mut self, mut lines: &str, place: &str) {
        while !lines.is_empty() {
            let literal = lines.get(..self.literal_left.min(lines.len()));
            if let Some(literal) = literal.filter(|literal| !literal.is_empty()) {
                self.literal_left -= literal.len();
                self.add_secret(literal.as_bytes());
                lines = lines.get(literal.len()..).unwrap_or_default();
                continue;
            }
            self.literal_left = 0;
            let (line, rest) = lines.split_once('\n').unwrap_or((lines, ""));
            self.record_line(line.trim_ascii_end().as_bytes(), place);
            lines = rest;
        }
    }

    fn record_line(&mut self, line: &[u8], place: &str) {
        if log_enabled!(log::Level::Debug) {
            debug!("{place}: C: {}", self.redact(line));
        }
        let mut words = line.split(|octet| *octet == b' ');
        let tag = words.next().unwrap_or_default();
        let command = words.next().unwrap_or_default();
        let literal = announced_literal(line);
        // A line that ends in a literal holds no password, and `{10}` must stay readable.
        if literal.is_none() {
            self.record_secret(line, command);
        }
        if !self.is_authenticating && is_login(command) {
            self.login_tag = Some(tag.to_vec());
            // AUTHENTICATE with its response in the same line is complete.
            let is_complete = literal.is_none()
                && (words.nth(1).is_some() || !command.eq_ignore_ascii_case(b"AUTHENTICATE"));
            self.is_authenticating = !is_complete;
        }
        if self.is_authenticating {
            self.literal_left = literal.map_or(0, |size| usize::try_from(size).unwrap_or(0));
        }
    }

    /// The line without passwords and tokens.
    fn redact(&self, line: &[u8]) -> String {
        if self.is_authenticating {
            return "…".to_owned();
        }
        let mut words = line.splitn(3, |octet| *octet == b' ');
        let tag = words.next().unwrap_or_default();
        let command = words.next().unwrap_or_default();
        if is_login(command) {
            format!("{} {} …", Untrusted::new(tag), Untrusted::new(command))
        } else {
            Untrusted::new(line).to_string()
        }
    }

    /// Records the secret part of a line, before its command is recorded.
    fn record_secret(&mut self, line: &[u8], command: &[u8]) {
        let words_before = match command.to_ascii_uppercase().as_slice() {
            _ if self.is_authenticating => 0,
            b"LOGIN" => 2,
            b"AUTHENTICATE" => 3,
            // A pipelined command says nothing about the log-in before it.
            _ if self.login_tag.is_some() => return,
            _ => {
                self.secrets.clear();
                self.decoded_secrets.clear();
                return;
            }
        };
        let mut words = line.splitn(words_before + 1, |octet| *octet == b' ');
        self.add_secret(words.nth(words_before).unwrap_or_default());
    }

    fn add_secret(&mut self, octets: &[u8]) {
        // A server may leave out the padding of base64.
        let padding = octets.iter().rev().take_while(|octet| **octet == b'=');
        let octets = octets
            .get(..octets.len() - padding.count())
            .unwrap_or_default();
        if octets.len() >= MIN_SECRET_OCTETS {
            let secret = String::from_utf8_lossy(octets).into_owned();
            self.secrets.push(Secret::new(secret));
        }
    }

    /// What was sent is hidden anywhere, what it means only in texts: a password may be a word of the
    /// protocol.
    fn hide_secrets<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let line = hide(&self.secrets, line);
        let begin = text_begin(&line).unwrap_or(line.len());
        let (protocol, text) = line.split_at_checked(begin).unwrap_or((&line, &[]));
        let hidden = match hide(&self.decoded_secrets, text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some([protocol, &text].concat()),
        };
        hidden.map_or(line, Cow::Owned)
    }

    /// Records a tagged response.
    fn record_response(&mut self, line: &[u8]) {
        let after_tag = self
            .login_tag
            .as_ref()
            .and_then(|tag| line.strip_prefix(tag.as_slice()));
        if after_tag.is_some_and(|rest| rest.starts_with(b" ")) {
            self.login_tag = None;
            self.is_authenticating = false;
            // The literal was rejected.
            self.literal_left = 0;
        }
    }
}

/// The octets without these secrets.
fn hide<'a>(secrets: &[Secret], octets: &'a [u8]) -> Cow<'a, [u8]> {
    secrets
        .iter()
        .fold(Cow::Borrowed(octets), |octets, secret| {
            let secret = secret.expose().as_bytes();
            let mut hidden = Vec::new();
            let mut rest = &*octets;
            while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
                hidden.extend_from_slice(rest.get(..at).unwrap_or_default());
                hidden.extend_from_slice("…".as_bytes());
                rest = rest.get(at + secret.len()..).unwrap_or_default();
            }
            if hidden.is_empty() {
                return octets;
            }
            hidden.extend_from_slice(rest);
            Cow::Owned(hidden)
        })
}

/// Where the text for people begins in a status response or a `+`.
fn text_begin(line: &[u8]) -> Option<usize> {
    if line.starts_with(b"+") {
        return Some(1);
    }
    status_response(line)?;
    let find = |from: usize, wanted| {
        let rest = line.get(from..)?;
        Some(from + rest.iter().position(|octet| *octet == wanted)? + 1)
    };
    let text = find(find(0, b' ')?, b' ')?;
    let has_code = line.get(text) == Some(&b'[');
    Some(if has_code {
        find(text, b']').unwrap_or(text)
    } else {
        text
    })
}

fn is_login(command: &[u8]) -> bool {
    let is = |name: &str| command.eq_ignore_ascii_case(name.as_bytes());
    is("LOGIN") || is("AUTHENTICATE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &[&str]) -> SentCommands {
        let mut commands = SentCommands::default();
        for line in lines {
            commands.record(line, "here");
        }
        commands
    }

    #[test]
    fn passwords_and_tokens_are_redacted() {
        let no_commands = SentCommands::default();
        let cases = [
            ("a1 LOGIN \"alice\" \"secret\"", "a1 LOGIN …"),
            ("a1 login alice secret", "a1 login …"),
            ("a1 AUTHENTICATE PLAIN secret", "a1 AUTHENTICATE …"),
            ("a1 EXAMINE \"INBOX\"", "a1 EXAMINE \"INBOX\""),
        ];
        for (line, expected) in cases {
            assert_eq!(no_commands.redact(line.as_bytes()), expected);
        }
        let mut commands = sent(&["a1 AUTHENTICATE PLAIN\r\n"]);
        commands.record_response(b"+ ");
        assert_eq!(commands.redact(b"c2VjcmV0"), "…");
        commands.record_response(b"a1 OK");
        assert_eq!(commands.redact(b"a2 NOOP"), "a2 NOOP");
        // What follows a literal in a LOGIN.
        let commands = sent(&["a1 LOGIN {6}\r\n", "älice"]);
        assert_eq!(commands.redact(b" \"secret\""), "…");
    }

    #[test]
    fn what_was_sent_to_log_in_is_hidden_where_a_server_repeats_it() {
        let cases: [(&[&str], &str, &str); 6] = [
            (
                &["a1 LOGIN \"alice\" \"secret\"\r\n"],
                "a1 BAD LOGIN \"alice\" \"secret\"?",
                "a1 BAD LOGIN …?",
            ),
            (
                &["a1 AUTHENTICATE PLAIN c2VjcmV0\r\n"],
                "* NO c2VjcmV0, c2VjcmV0",
                "* NO …, …",
            ),
            (
                &["a1 AUTHENTICATE PLAIN\r\n"],
                "a1 NO PLAIN?",
                "a1 NO PLAIN?",
            ),
            (
                &["a1 AUTHENTICATE PLAIN\r\n", "c2VjcmV0\r\n"],
                "a1 BAD c2VjcmV0",
                "a1 BAD …",
            ),
            (
                &["a1 LOGIN \"alice\" {7}\r\n", "s\u{e9}cret\r\n"],
                "a1 BAD s\u{e9}cret",
                "a1 BAD …",
            ),
            (
                &["a1 LOGIN {6}\r\n\u{e4}lice \"secret\"\r\n", "a2 NOOP\r\n"],
                "a1 NO \u{e4}lice \"secret\"",
                "a1 NO ……",
            ),
        ];
        for (lines, line, expected) in cases {
            let hidden = sent(lines).hide_secrets(line.as_bytes()).into_owned();
            assert_eq!(String::from_utf8(hidden).unwrap(), expected);
        }
        // A line that ends in a literal holds no password.
        let commands = sent(&["a1 LOGIN {10}\r\n"]);
        assert_eq!(*commands.hide_secrets(b"* X {10}"), *b"* X {10}");
        let mut commands = sent(&["a1 LOGIN \"alice\" \"secret\"\r\n"]);
        commands.record_response(b"a1 OK in");
        assert!(!commands.secrets.is_empty(), "a BYE may follow");
        commands.record("a2 NOOP\r\n", "here");
        assert!(commands.secrets.is_empty());
    }

    #[test]
    fn credentials_are_hidden_in_texts_and_words_of_the_protocol_stay() {
        let transcript = Transcript::new("here", AlertLog::default());
        transcript.start_log_in(&Secret::new("capability".to_owned()));
        transcript.record_sent("a1 AUTHENTICATE PLAIN AGEAY2FwYWJpbGl0eQ==\r\n");
        let base64 = STANDARD_NO_PAD.encode("capability");
        let cases = [
            ("a1 NO capability? capability!", "a1 NO …? …!"),
            ("* BYE [ALERT] it is capability", "* BYE [ALERT] it is …"),
            ("a1 OK [capability x] in", "a1 OK [capability x] in"),
            ("* capability IMAP4rev1", "* capability IMAP4rev1"),
            ("a1 NO [x", "a1 NO [x"),
        ];
        for (line, expected) in cases {
            let hidden = transcript.hide_secrets(line.as_bytes()).into_owned();
            assert_eq!(String::from_utf8(hidden).unwrap(), expected);
        }
        for line in [format!("+ {base64}="), format!("a1 BAD {base64}")] {
            let hidden = transcript.hide_secrets(line.as_bytes()).into_owned();
            assert!(!String::from_utf8(hidden).unwrap().contains(&base64));
        }
        transcript.record_received(b"a1 NO no");
        transcript.record_sent("a2 NOOP\r\n");
        assert_eq!(
            *transcript.hide_secrets(b"* NO capability"),
            *b"* NO capability"
        );
    }

    #[test]
    fn what_is_pipelined_behind_a_log_in_is_shown_and_keeps_its_secrets_hidden() {
        for (log_in, secret) in [
            ("LOGIN \"alice\" \"secret\"", "\"alice\" \"secret\""),
            ("AUTHENTICATE PLAIN c2VjcmV0", "c2VjcmV0"),
        ] {
            let mut commands = sent(&[&format!("a1 {log_in}\r\na2 NOOP\r\n")]);
            assert_eq!(commands.redact(b"a3 EXAMINE INBOX"), "a3 EXAMINE INBOX");
            let repeated = format!("a1 NO {secret}?");
            let hidden = commands.hide_secrets(repeated.as_bytes()).into_owned();
            assert_eq!(String::from_utf8(hidden).unwrap(), "a1 NO …?");
            commands.record_response(b"a2 BAD no");
            assert!(!commands.secrets.is_empty());
            commands.record_response(b"a1 NO no");
            commands.record("a3 NOOP\r\n", "here");
            assert!(commands.secrets.is_empty());
        }
    }

    #[test]
    fn the_last_lines_are_kept_within_limits() {
        let transcript = Transcript::new("here", AlertLog::default());
        for number in 0..100 {
            transcript.record_received(format!("* {number} EXISTS\r\n").as_bytes());
        }
        transcript.record_received(b"* bye [UNAVAILABLE] gone\r\n");
        assert_eq!(transcript.last_lines().len(), MAX_LINES);
        assert_eq!(transcript.last_line(), b"* bye [UNAVAILABLE] gone");
        assert_eq!(transcript.bye().unwrap().to_string(), "[UNAVAILABLE] gone");
        transcript.record_received(&vec![b'x'; 1_000_000]);
        assert_eq!(transcript.last_line().len(), MAX_LINE_OCTETS);
        transcript.start_command();
        assert_eq!(transcript.last_line(), b"");
    }
}
