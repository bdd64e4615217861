//! APPEND (RFC 3501 6.3.11), also of several messages at a time.

use std::fmt;

use chrono::Timelike;

use crate::imap::client::{Received, Tag};
use crate::imap::{CommandError, MailboxName, ResponseText, Session};
use crate::message::{Flags, InternalDate};

/// The arguments of an APPEND before the message.
#[derive(Debug, Clone)]
pub(crate) struct AppendArguments<'a> {
    pub folder: &'a MailboxName,
    pub flags: Flags,
    pub date: InternalDate,
    pub size: usize,
}

/// How the message of an APPEND is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralForm {
    /// After the server's `+` (`{n}`).
    Synchronizing,
    /// At once (`{n+}`, RFC 7888).
    NonSynchronizing,
}

/// What the server sent about open APPENDs.
#[derive(Debug)]
pub(crate) enum AppendEvent {
    /// It waits for the message of the [announced](Session::announce_append) APPEND.
    Continue,
    /// The answer to this APPEND: the text of the OK, or NO or BAD.
    Answered(Tag, Result<ResponseText, CommandError>),
}

/// How an APPEND ended.
#[derive(Debug)]
pub struct AppendResponse {
    /// The text of the OK; or the failure.
    pub result: Result<ResponseText, CommandError>,
    /// Whether the last octet of the message was sent; if not, the server cannot have all of it.
    pub message_was_sent: bool,
    /// Whether the server asked for the message.
    pub was_asked_for: bool,
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
        let mut response = AppendResponse {
            result: Ok(ResponseText::default()),
            message_was_sent: false,
            was_asked_for: false,
        };
        let arguments = AppendArguments {
            folder,
            flags,
            date,
            size: octets.len(),
        };
        response.result = self.announce_append(&arguments).and_then(|tag| {
            loop {
                match self.receive_append_event()? {
                    AppendEvent::Continue => {
                        response.was_asked_for = true;
                        let (sent, result) = self.send_message(octets);
                        response.message_was_sent = sent;
                        result?;
                    }
                    AppendEvent::Answered(answered, result) if answered == tag => return result,
                    AppendEvent::Answered(..) => {}
                }
            }
        });
        response
    }

    /// Sends an APPEND up to its message, which [`send_message`](Session::send_message) sends when the
    /// server asks for it. No other command may be sent before.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn announce_append(
        &mut self,
        arguments: &AppendArguments<'_>,
    ) -> Result<Tag, CommandError> {
        self.client.start()?;
        let mut lines = self.client.take_queued();
        let command = arguments.with_literal(LiteralForm::Synchronizing);
        let tag = self.client.write_command(command, &mut lines);
        self.announced = Some(tag);
        self.client.send_lines(&lines)?;
        Ok(tag)
    }

    /// Sends the message of the announced APPEND. Says whether its last octet was sent; then the
    /// server may have stored it, also if the connection is broken.
    pub(crate) fn send_message(&mut self, octets: &[u8]) -> (bool, Result<(), CommandError>) {
        self.announced = None;
        let connection = self.client.connection();
        let sent = connection.send(octets).and_then(|()| {
            let end = connection.send(b"\r\n");
            end.map_err(|(_, error)| (octets.len(), error))
        });
        match sent {
            Ok(()) => (true, Ok(())),
            Err((sent, error)) => {
                let lost = self.client.connection_lost(&error);
                (sent == octets.len(), Err(lost))
            }
        }
    }

    /// Waits for what the server sends next about an open APPEND.
    ///
    /// # Errors
    /// The connection broke, or the server answered OK before it could have the message.
    pub(crate) fn receive_append_event(&mut self) -> Result<AppendEvent, CommandError> {
        loop {
            let received = self.client.receive();
            match received.map_err(|error| self.client.connection_lost(&error))? {
                // Another one is none that the server may send here.
                Received::Continuation if self.announced.is_some() => {
                    return Ok(AppendEvent::Continue);
                }
                Received::Tagged(tag) => {
                    let Some(result) = self.client.take_result(tag) else {
                        continue;
                    };
                    let was_announced = self.announced.take_if(|announced| *announced == tag);
                    if was_announced.is_some() && result.is_ok() {
                        return Err(self.client.protocol_violated());
                    }
                    let text = result.map(|responses| responses.status_text());
                    return Ok(AppendEvent::Answered(tag, text));
                }
                _ => {}
            }
        }
    }
}

impl<'a> AppendArguments<'a> {
    fn with_literal(&'a self, form: LiteralForm) -> impl fmt::Display + 'a {
        AppendCommand {
            arguments: self,
            form,
        }
    }
}

struct AppendCommand<'a> {
    arguments: &'a AppendArguments<'a>,
    form: LiteralForm,
}

impl fmt::Display for AppendCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AppendArguments {
            folder,
            flags,
            date,
            size,
        } = self.arguments;
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
        let plus = match self.form {
            LiteralForm::Synchronizing => "",
            LiteralForm::NonSynchronizing => "+",
        };
        write!(f, " {{{size}{plus}}}")
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn the_arguments_of_an_append_have_the_form_of_the_standard() {
        let folder = MailboxName::new("a \"b").unwrap();
        let arguments = AppendArguments {
            folder: &folder,
            flags: Flags::default(),
            date: None,
            size: 5,
        };
        let line = |arguments: &AppendArguments, form| arguments.with_literal(form).to_string();
        assert_eq!(
            line(&arguments, LiteralForm::Synchronizing),
            r#"APPEND "a \"b" {5}"#
        );
        let arguments = AppendArguments {
            flags: Flags {
                seen: true,
                flagged: false,
                answered: true,
            },
            date: DateTime::parse_from_rfc3339("2016-12-31T23:59:60+05:30").ok(),
            ..arguments
        };
        assert_eq!(
            line(&arguments, LiteralForm::NonSynchronizing),
            r#"APPEND "a \"b" (\Seen \Answered) "31-Dec-2016 23:59:59 +0530" {5+}"#
        );
    }
}
