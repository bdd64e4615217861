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
        let deadline = Instant::now() + self.options.timeouts.idle_start;
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
            Err(error)
                if error.kind() == io::ErrorKind::TimedOut && self.transcript.bye().is_none() =>
            {
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
    /// returns. None if the server ended the IDLE.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn wait_for_mail(
        &mut self,
        until: Instant,
    ) -> Result<Option<WaitOutcome>, CommandError> {
        self.start_command()?;
        for _ in 0..MAX_BURST {
            let limit = if self.has_new_mail() {
                Instant::now()
            } else {
                until.min(self.idle_deadline().unwrap_or(until))
            };
            let received = self.connection.lock().receive_unsolicited(limit);
            match received.map_err(|error| self.connection_lost(&error))? {
                ReceiveResult::Elapsed => break,
                ReceiveResult::Woken => return Ok(Some(WaitOutcome::Woken)),
                ReceiveResult::Response(response) if self.ends_idle(&response)? => {
                    return Ok(self.has_new_mail().then_some(WaitOutcome::NewMail));
                }
                ReceiveResult::Response(_) => {}
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
        let timeouts = self.options.timeouts;
        let mut limit = timeouts.idle_max;
        if self.transcript.mailbox_status().exists_reported {
            limit = limit.min(timeouts.idle_start);
        }
        Some(idle.started + limit)
    }

    /// Whether this is the tagged response to IDLE; the IDLE has ended then. BYE is an error.
    fn ends_idle(&mut self, response: &[u8]) -> Result<bool, CommandError> {
        let is_untagged = response.starts_with(b"*");
        let status = status_response(response).filter(|_| is_untagged);
        if let Some((StatusCondition::Bye, text)) = status {
            self.is_usable = false;
            self.idle.end();
            return Err(CommandError::Bye(text));
        }
        let tag = response_tag(response);
        let is_own = |idle: &mut ActiveIdle| tag == Some(idle.tag.as_str());
        Ok(self.idle.active.take_if(is_own).is_some())
    }
}
