//! APPEND (RFC 3501 6.3.11), also of several messages at a time.

use std::fmt;
use std::time::Instant;

use chrono::Timelike;

use crate::imap::client::{CommandResult, Received, Tag};
use crate::imap::connection::SEND_SIZE;
use crate::imap::{CommandError, MailboxName, ResponseText, Session};
use crate::message::{Flags, InternalDate};
use crate::timeouts::BYE_TIMEOUT;

/// A message to store, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendRequest<'a> {
    pub folder: &'a MailboxName,
    pub flags: Flags,
    pub date: InternalDate,
    pub octets: &'a [u8],
    pub form: LiteralForm,
}

/// How the message of an APPEND is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralForm {
    /// After the server's `+` (`{n}`).
    Synchronizing,
    /// At once (`{n+}`, RFC 7888).
    NonSynchronizing,
}

/// An APPEND that has no answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenAppend {
    pub tag: Tag,
    pub sent: SentPart,
}

/// How much of a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentPart {
    /// Nothing; perhaps its APPEND.
    Nothing,
    /// Not its last octet: the server cannot have all of it.
    Part,
    /// Its last octet, too: if the connection breaks, the server may have stored it.
    All,
}

/// What the server sent about open APPENDs.
#[derive(Debug)]
pub(crate) enum AppendEvent {
    /// It waits for the message of the last APPEND.
    Continue,
    /// The answer to this APPEND: the text of the OK, or NO or BAD.
    Answered(Tag, Result<ResponseText, CommandError>),
}

/// How an APPEND ended.
#[derive(Debug)]
pub struct AppendResponse {
    /// The text of the OK; or the failure.
    pub result: Result<ResponseText, CommandError>,
    /// How much of the message was sent.
    pub(crate) sent: SentPart,
}

impl AppendResponse {
    /// Whether the last octet of the message was sent; if not, the server cannot have all of it.
    #[must_use]
    pub fn message_was_sent(&self) -> bool {
        self.sent == SentPart::All
    }
}

impl Session {
    /// Stores a message in a folder and waits for the answer. Best with no folder open, so that the
    /// server reports no new mail in the middle of the command.
    pub fn append(
        &mut self,
        folder: &MailboxName,
        flags: Flags,
        date: InternalDate,
        octets: &[u8],
    ) -> AppendResponse {
        let (open, sent) = self.send_appends(&[AppendRequest {
            folder,
            flags,
            date,
            octets,
            form: LiteralForm::Synchronizing,
        }]);
        let mut response = AppendResponse {
            result: sent.map(|()| ResponseText::default()),
            sent: SentPart::Nothing,
        };
        let tag = open.first().map(|open| open.tag);
        while response.result.is_ok() {
            response.result = match self.receive_append_event() {
                Ok(AppendEvent::Answered(answered, result)) if tag == Some(answered) => {
                    response.result = result;
                    break;
                }
                Ok(AppendEvent::Continue) => {
                    let (sent, result) = self.send_message(octets);
                    response.sent = sent;
                    result.map(|()| ResponseText::default())
                }
                Ok(AppendEvent::Answered(..)) => Ok(ResponseText::default()),
                Err(failure) => Err(failure),
            };
        }
        response
    }

    /// Sends APPENDs in one write, without waiting for answers. A message in a synchronizing literal
    /// must be the last: only [`send_message`](Session::send_message) sends it, when the server asks for
    /// it, and no other command may be sent before.
    ///
    /// The APPENDs are open also if the connection breaks.
    pub(crate) fn send_appends(
        &mut self,
        requests: &[AppendRequest<'_>],
    ) -> (Vec<OpenAppend>, Result<(), CommandError>) {
        let started = self.client.start();
        let mut octets = self.client.take_queued().into_bytes();
        let mut ends = Vec::new();
        let mut open = Vec::new();
        for request in requests {
            let mut line = String::new();
            let tag = self.client.write_command(request, &mut line);
            self.transcript().record_sent(&line);
            octets.extend_from_slice(line.as_bytes());
            let begin = octets.len();
            if request.form == LiteralForm::NonSynchronizing {
                self.unasked.push(tag);
                octets.extend_from_slice(request.octets);
                ends.push((begin, octets.len()));
                octets.extend_from_slice(b"\r\n");
            } else {
                self.announced = Some(tag);
                ends.push((usize::MAX, usize::MAX));
            }
            open.push(OpenAppend {
                tag,
                sent: SentPart::Nothing,
            });
        }
        if let Err(closed) = started {
            return (open, Err(closed));
        }
        let result = self.client.connection().send(&octets);
        let sent = result
            .as_ref()
            .err()
            .map_or(octets.len(), |(sent, _)| *sent);
        for (open, (begin, end)) in open.iter_mut().zip(ends) {
            open.sent = match sent {
                _ if sent >= end => SentPart::All,
                _ if sent > begin => SentPart::Part,
                _ => SentPart::Nothing,
            };
        }
        let result = result.map_err(|(_, error)| self.client.connection_lost(&error));
        (open, result)
    }

    /// Whether an APPEND was sent up to its synchronizing literal, and not answered: the server takes
    /// whatever comes next for the message.
    pub(crate) fn has_announced(&self) -> bool {
        self.announced.is_some()
    }

    /// Whether the server has said that it is about to close the connection.
    pub(crate) fn has_said_bye(&self) -> bool {
        self.transcript().bye().is_some()
    }

    /// Sends the message of the last APPEND, which the server asked for.
    pub(crate) fn send_message(&mut self, octets: &[u8]) -> (SentPart, Result<(), CommandError>) {
        self.announced = None;
        // The end of the command goes with the last octets: a server may answer and close when it has
        // these, and would reset the connection for what comes later.
        let split = octets.len().saturating_sub(1) / SEND_SIZE * SEND_SIZE;
        let (begin, end) = octets.split_at_checked(split).unwrap_or((octets, &[]));
        let connection = self.client.connection();
        let sent = connection.send(begin).and_then(|()| {
            let sent = connection.send(&[end, b"\r\n"].concat());
            sent.map_err(|(sent, error)| (begin.len() + sent, error))
        });
        match sent {
            Ok(()) => (SentPart::All, Ok(())),
            Err((sent, error)) => {
                let lost = self.client.connection_lost(&error);
                let part = if sent >= octets.len() {
                    SentPart::All
                } else {
                    SentPart::Part
                };
                (part, Err(lost))
            }
        }
    }

    /// Collects the answers that arrived before the connection broke in sending, and says why it did,
    /// if the server has told by a BYE.
    pub(crate) fn receive_last_append_events(
        &mut self,
        failure: &CommandError,
    ) -> (Vec<AppendEvent>, CommandError) {
        let mut events = Vec::new();
        let deadline = Some(Instant::now() + BYE_TIMEOUT);
        self.client.connection().set_response_deadline(deadline);
        while let Ok(event) = self.receive_append_event() {
            if let AppendEvent::Answered(..) = event {
                events.push(event);
            }
        }
        (
            events,
            CommandError::connection_lost(self.transcript(), || failure.to_string()),
        )
    }

    /// Waits for what the server sends next about an open APPEND.
    ///
    /// # Errors
    /// The connection broke, or the server answered OK before it could have the message.
    pub(crate) fn receive_append_event(&mut self) -> Result<AppendEvent, CommandError> {
        loop {
            if let Some((tag, result)) = self.client.take_next_result() {
                return self.append_answered(tag, result);
            }
            let received = self.client.receive();
            // Nothing untagged belongs to an APPEND.
            self.client.drop_untagged();
            match received.map_err(|error| self.client.connection_lost(&error))? {
                // Another one is none that the server may send here: some send one for each literal.
                Received::Continuation if self.announced.is_some() && !self.has_unasked() => {
                    return Ok(AppendEvent::Continue);
                }
                _ => {}
            }
        }
    }

    /// Whether a message that was sent unasked is not answered yet.
    fn has_unasked(&mut self) -> bool {
        let client = &self.client;
        self.unasked.retain(|tag| !client.is_answered(*tag));
        !self.unasked.is_empty()
    }

    fn append_answered(
        &mut self,
        tag: Tag,
        result: CommandResult,
    ) -> Result<AppendEvent, CommandError> {
        let was_announced = self.announced.take_if(|announced| *announced == tag);
        if was_announced.is_some() && result.is_ok() {
            return Err(self.client.protocol_violated());
        }
        let text = result.map(|responses| responses.status_text());
        Ok(AppendEvent::Answered(tag, text))
    }
}

impl fmt::Display for AppendRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AppendRequest {
            folder,
            flags,
            date,
            octets,
            form,
        } = self;
        write!(f, "APPEND {folder}")?;
        let flags = [
            (flags.seen, "\\Seen"),
            (flags.flagged, "\\Flagged"),
            (flags.answered, "\\Answered"),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        let flags: Vec<&str> = flags.map(|(_, flag)| flag).collect();
        if !flags.is_empty() {
            write!(f, " ({})", flags.join(" "))?;
        }
        // A leap second, 10:00:60, is no time for Gmail.
        if let Some(date) = date.and_then(|date| date.with_nanosecond(0)) {
            write!(f, " \"{}\"", date.format("%d-%b-%Y %H:%M:%S %z"))?;
        }
        let plus = match form {
            LiteralForm::Synchronizing => "",
            LiteralForm::NonSynchronizing => "+",
        };
        write!(f, " {{{}{plus}}}", octets.len())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn the_arguments_of_an_append_have_the_form_of_the_standard() {
        let folder = MailboxName::new("a \"b").unwrap();
        let request = AppendRequest {
            folder: &folder,
            flags: Flags::default(),
            date: None,
            octets: b"hello",
            form: LiteralForm::Synchronizing,
        };
        assert_eq!(request.to_string(), r#"APPEND "a \"b" {5}"#);
        let request = AppendRequest {
            flags: Flags {
                seen: true,
                flagged: false,
                answered: true,
            },
            date: DateTime::parse_from_rfc3339("2016-12-31T23:59:60+05:30").ok(),
            form: LiteralForm::NonSynchronizing,
            ..request
        };
        assert_eq!(
            request.to_string(),
            r#"APPEND "a \"b" (\Seen \Answered) "31-Dec-2016 23:59:59 +0530" {5+}"#
        );
    }
}
