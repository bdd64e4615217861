//! IDLE (RFC 2177), and waiting for unsolicited responses without it.

use std::io;
use std::time::Instant;

use crate::imap::client::{Received, Tag};
use crate::imap::connection::ReceiveResult;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::{Command, CommandError, Responses, Session};

/// Responses that are read in a row before a wait ends for a check.
const MAX_BURST: u32 = 1_000;

/// What a session remembers about IDLE.
#[derive(Default)]
pub(super) struct IdleState {
    active: Option<ActiveIdle>,
    /// The server announces IDLE and rejects it.
    is_unsupported: bool,
}

struct ActiveIdle {
    tag: Tag,
    started: Instant,
}

/// The result of starting an IDLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdleStart {
    /// The server reports changes from now on.
    Started,
    /// The server rejects IDLE, whatever it announces.
    Unsupported,
    /// The server does not respond; the session is not usable any more.
    NoResponse,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The server reported new mail.
    NewMail,
    /// The time is up. There may be new mail: a server may fail to report it.
    Elapsed,
    /// Another thread woke the wait.
    Woken,
}

impl Session {
    /// Says whether the server announces IDLE and has not rejected it since.
    ///
    /// # Errors
    /// Asking for the capabilities failed.
    pub(crate) fn offers_idle(&mut self) -> Result<bool, CommandError> {
        Ok(!self.idle.is_unsupported && self.capabilities()?.has("IDLE"))
    }

    pub(crate) fn is_idling(&self) -> bool {
        self.idle.active.is_some()
    }

    /// Says whether the server reported new messages since the last check, in the open folder or another.
    pub(crate) fn has_new_mail(&self) -> bool {
        self.transcript().mailbox_status().new_messages > 0 || self.client.folder_news.has_news()
    }

    /// Starts an IDLE. The NOOP before it makes the server report what came since the last command:
    /// some report only what comes during the IDLE.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn start_idle(&mut self) -> Result<IdleStart, CommandError> {
        let client = &mut self.client;
        if client.loses_pipelined_commands() {
            client.run(Command::Noop)?;
        } else {
            client.send_with_next(Command::Noop);
        }
        client.start()?;
        let mut lines = client.take_queued();
        let tag = client.write_command("IDLE", &mut lines);
        client.send_lines(&lines)?;
        let deadline = Instant::now() + client.timeouts().idle_start;
        client.connection().set_response_deadline(Some(deadline));
        let started = self.receive_idle_start(tag);
        self.client.connection().set_response_deadline(None);
        match started {
            Ok(IdleStart::Started) => {
                self.transcript().clear_exists_reported();
                let started = Instant::now();
                self.idle.active = Some(ActiveIdle { tag, started });
                Ok(IdleStart::Started)
            }
            Ok(rejected) => {
                self.idle.is_unsupported = true;
                Ok(rejected)
            }
            Err(error) => {
                let has_hung_up = self.transcript().bye().is_some();
                let lost = self.client.connection_lost(&error);
                if error.kind() == io::ErrorKind::TimedOut && !has_hung_up {
                    return Ok(IdleStart::NoResponse);
                }
                Err(lost)
            }
        }
    }

    /// Reads up to the `+`. The transcript records what comes before it.
    fn receive_idle_start(&mut self, tag: Tag) -> io::Result<IdleStart> {
        loop {
            match self.client.receive()? {
                Received::Continuation => return Ok(IdleStart::Started),
                Received::Tagged(answered) if answered == tag => {
                    self.client.take_result(tag);
                    return Ok(IdleStart::Unsupported);
                }
                _ => {}
            }
        }
    }

    /// Has the next command end the IDLE, if there is one.
    pub(super) fn end_idle_with_next(&mut self) {
        if let Some(idle) = self.idle.active.take() {
            self.client.end_idle_with_next(idle.tag);
        }
    }

    /// Waits, during an IDLE or without one, until the server reports new mail, and at most until
    /// this moment or the end of the longest IDLE. Reads all responses that have arrived before it
    /// returns. None if the server ended the IDLE.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn wait_for_mail(
        &mut self,
        until: Instant,
    ) -> Result<Option<WaitOutcome>, CommandError> {
        self.client.start()?;
        for _ in 0..MAX_BURST {
            let limit = if self.has_new_mail() {
                Instant::now()
            } else {
                until.min(self.idle_deadline().unwrap_or(until))
            };
            let received = self.client.receive_until(limit);
            match received.map_err(|error| self.client.connection_lost(&error))? {
                ReceiveResult::Elapsed => break,
                ReceiveResult::Woken => return Ok(Some(WaitOutcome::Woken)),
                ReceiveResult::Response(response) => {
                    if self.ends_idle(response)? {
                        return Ok(self.has_new_mail().then_some(WaitOutcome::NewMail));
                    }
                }
            }
        }
        Ok(Some(if self.has_new_mail() {
            WaitOutcome::NewMail
        } else {
            WaitOutcome::Elapsed
        }))
    }

    /// When the active IDLE must end. A reported count that is no larger may hide new mail, if other
    /// messages were expunged, and calls for a check soon; but not at once, because some servers
    /// report the count with every IDLE.
    fn idle_deadline(&self) -> Option<Instant> {
        let idle = self.idle.active.as_ref()?;
        let timeouts = self.client.timeouts();
        let mut limit = timeouts.idle_max;
        if self.transcript().mailbox_status().exists_reported {
            limit = limit.min(timeouts.idle_start);
        }
        Some(idle.started + limit)
    }

    /// Whether this is the tagged response to IDLE; the IDLE has ended then. BYE is an error.
    fn ends_idle(&mut self, response: Responses) -> Result<bool, CommandError> {
        if response.is_untagged() {
            if let Some((StatusCondition::Bye, text)) = status_response(&response.octets) {
                self.client.close();
                return Err(CommandError::Bye(text));
            }
            self.client.folder_news.update(&response);
            return Ok(false);
        }
        let idle = self.idle.active.as_ref();
        if idle.is_none_or(|idle| response.tag() != Some(idle.tag.to_string().as_str())) {
            // The answer to the NOOP before it, or a line that means nothing here.
            let _ = self.client.pair(response);
            return Ok(false);
        }
        let paired = self.client.pair(response);
        let received = paired.map_err(|error| self.client.connection_lost(&error))?;
        let Received::Tagged(tag) = received else {
            return Ok(false);
        };
        self.client.take_result(tag);
        Ok(self.idle.active.take_if(|idle| idle.tag == tag).is_some())
    }
}
