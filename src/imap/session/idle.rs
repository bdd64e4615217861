//! IDLE (RFC 2177), and waiting for unsolicited responses without it.
//!
//! The library's own IDLE is not used: it waits for ever or panics at responses that servers send
//! before or instead of the `+`, and no other thread can end it.

use std::io;
use std::time::Instant;

use crate::imap::connection::receive::ReceiveResult;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::session::pipeline::response_tag;
use crate::imap::{CommandError, Session};

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
    tag: String,
    started: Instant,
}

impl IdleState {
    /// Forgets the active IDLE and returns its tag.
    pub(super) fn end(&mut self) -> Option<String> {
        self.active.take().map(|idle| idle.tag)
    }
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
pub(crate) enum IdleResult {
    /// The server reported new mail.
    NewMail,
    /// The time is up.
    Elapsed,
    /// Another thread woke the wait.
    Woken,
    /// The server ended the IDLE.
    IdleEnded,
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

    /// Says whether the server reported new messages since the last check.
    pub(crate) fn has_new_mail(&self) -> bool {
        self.transcript.mailbox_status().new_messages > 0
    }

    /// Starts an IDLE. The NOOP before it makes the server report what came since the last command:
    /// some report only what comes during the IDLE.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn start_idle(&mut self) -> Result<IdleStart, CommandError> {
        let noop = if self.loses_pipelined_commands() {
            self.command("NOOP")?;
            String::new()
        } else {
            format!("{} NOOP\r\n", self.next_tag())
        };
        self.start_command()?;
        let tag = self.next_tag();
        let lines = format!("{noop}{tag} IDLE\r\n");
        let deadline = Instant::now() + self.timeouts.idle_start;
        let result = self.send(&lines).and_then(|()| {
            self.connection.lock().set_response_deadline(Some(deadline));
            self.receive_idle_start(&tag)
        });
        self.connection.lock().set_response_deadline(None);
        match result {
            Ok(IdleStart::Started) => {
                self.transcript.clear_exists_reported();
                let started = Instant::now();
                self.idle.active = Some(ActiveIdle { tag, started });
                Ok(IdleStart::Started)
            }
            Ok(rejected) => {
                self.idle.is_unsupported = true;
                Ok(rejected)
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.is_usable = false;
                Ok(IdleStart::NoResponse)
            }
            Err(error) => Err(self.connection_lost(&error)),
        }
    }

    /// Reads up to the `+`. The transcript records what comes before it.
    fn receive_idle_start(&mut self, tag: &str) -> io::Result<IdleStart> {
        loop {
            let response = self.connection.lock().next_response()?;
            if response.starts_with(b"+") {
                return Ok(IdleStart::Started);
            }
            if response_tag(&response) == Some(tag) {
                return Ok(IdleStart::Unsupported);
            }
        }
    }

    /// Waits, during an IDLE or without one, until the server reports new mail, and at most until
    /// this moment or the end of the longest IDLE. Reads all responses that have arrived before it
    /// returns.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn wait_for_mail(&mut self, until: Instant) -> Result<IdleResult, CommandError> {
        self.start_command()?;
        for _ in 0..MAX_BURST {
            let has_new_mail = self.has_new_mail();
            let limit = if has_new_mail {
                Instant::now()
            } else {
                until.min(self.idle_deadline().unwrap_or(until))
            };
            let received = self.connection.lock().receive_unsolicited(limit);
            match received.map_err(|error| self.connection_lost(&error))? {
                ReceiveResult::Elapsed if has_new_mail => return Ok(IdleResult::NewMail),
                ReceiveResult::Elapsed => return Ok(IdleResult::Elapsed),
                ReceiveResult::Woken => return Ok(IdleResult::Woken),
                ReceiveResult::Response(response) => {
                    if let Some(end) = self.end_of_wait(&response)? {
                        return Ok(end);
                    }
                }
            }
        }
        Ok(if self.has_new_mail() {
            IdleResult::NewMail
        } else {
            IdleResult::Elapsed
        })
    }

    /// When the active IDLE must end. A reported count that is no larger may hide new mail, if other
    /// messages were expunged, and calls for a check soon; but not at once, because some servers
    /// report the count with every IDLE.
    fn idle_deadline(&self) -> Option<Instant> {
        let idle = self.idle.active.as_ref()?;
        let limit = if self.transcript.mailbox_status().exists_reported {
            self.timeouts.idle_start.min(self.timeouts.idle_max)
        } else {
            self.timeouts.idle_max
        };
        Some(idle.started + limit)
    }

    /// Whether a response ends the wait: a BYE, which is an error, or the tagged response to IDLE.
    fn end_of_wait(&mut self, response: &[u8]) -> Result<Option<IdleResult>, CommandError> {
        if response.starts_with(b"*") {
            return match status_response(response) {
                Some((StatusCondition::Bye, text)) => {
                    self.is_usable = false;
                    self.idle.end();
                    Err(CommandError::Bye(text))
                }
                _ => Ok(None),
            };
        }
        let tag = self.idle.active.as_ref().map(|idle| idle.tag.as_str());
        if tag.is_none() || response_tag(response) != tag {
            return Ok(None);
        }
        self.idle.end();
        Ok(Some(if self.has_new_mail() {
            IdleResult::NewMail
        } else {
            IdleResult::IdleEnded
        }))
    }
}
