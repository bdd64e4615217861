//! IDLE (RFC 2177), and waiting without it.
//!
//! The library's own IDLE cannot be used: it waits for ever or panics at what servers say before
//! or instead of the `+`, and it cannot be woken.

use std::io;
use std::time::Instant;

use crate::imap::pipeline::tag;

use crate::imap::wire::{ResponseText, StatusCondition};
use crate::imap::{CommandError, ReceiveResult, Session, wire};

/// A burst of announcements is drained so far, and then looked into.
const LONGEST_BURST: u32 = 1_000;

/// An IDLE that is on.
#[derive(Debug)]
pub(crate) struct ActiveIdle {
    pub(crate) tag: String,
    started: Instant,
}

/// What came of asking for an IDLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleStart {
    /// The server tells of news from now on.
    Started,
    /// It does not idle, whatever it says of its capabilities.
    Unsupported,
    /// It does not answer: the session is over.
    NoResponse,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleResult {
    /// The server tells that something is new.
    NewMail,
    /// The time has come.
    Elapsed,
    /// Somebody pulled the tether.
    Woken,
    /// The server has ended the IDLE.
    IdleEnded,
}

impl Session {
    /// Says whether the server offers IDLE and has not refused it since.
    ///
    /// # Errors
    /// Asking for its capabilities failed.
    pub fn offers_idle(&mut self) -> Result<bool, CommandError> {
        Ok(!self.idle_unsupported && self.capabilities()?.has("IDLE"))
    }

    /// Says whether an IDLE is on.
    #[must_use]
    pub fn is_idling(&self) -> bool {
        self.active_idle.is_some()
    }

    /// Says whether the server told of new messages since the last look.
    #[must_use]
    pub fn has_new_mail(&self) -> bool {
        self.transcript.mailbox_status().new_messages > 0
    }

    /// Asks for an IDLE. A NOOP before it makes the server tell what came since the last command:
    /// some tell only what comes while they idle.
    ///
    /// # Errors
    /// The connection broke.
    pub fn start_idle(&mut self) -> Result<IdleStart, CommandError> {
        if self.loses_pipelined_commands {
            self.command("NOOP")?;
        }
        self.start_command()?;
        let noop = if self.loses_pipelined_commands {
            String::new()
        } else {
            format!("{} NOOP\r\n", self.next_tag())
        };
        let tag = self.next_tag();
        let text = format!("{noop}{tag} IDLE\r\n");
        let due = Instant::now() + self.timeouts.idle_start;
        let answered = self.send(&text).and_then(|()| {
            self.connection
                .connection()
                .set_response_deadline(Some(due));
            self.read_idle_start(&tag)
        });
        self.connection.connection().set_response_deadline(None);
        match answered {
            Ok(IdleStart::Started) => {
                self.transcript.clear_exists_reported();
                let started = Instant::now();
                self.active_idle = Some(ActiveIdle { tag, started });
                Ok(IdleStart::Started)
            }
            Ok(begun) => {
                self.idle_unsupported = true;
                Ok(begun)
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.is_usable = false;
                Ok(IdleStart::NoResponse)
            }
            Err(error) => Err(self.connection_lost(&error)),
        }
    }

    /// Reads up to the `+`; what comes before it is noted in passing, whatever it is.
    fn read_idle_start(&mut self, awaited: &str) -> io::Result<IdleStart> {
        loop {
            let response = self.connection.connection().next_response()?;
            if response.starts_with(b"+") {
                return Ok(IdleStart::Started);
            }
            if tag(&response) == Some(awaited) {
                return Ok(IdleStart::Unsupported);
            }
        }
    }

    /// Waits, idling or not, until the server tells of news, and not past this moment. An IDLE
    /// ends in its own time before that. A burst of news is heard to its end.
    ///
    /// # Errors
    /// The connection broke.
    pub fn wait_for_mail(&mut self, until: Instant) -> Result<IdleResult, CommandError> {
        self.start_command()?;
        for _ in 0..LONGEST_BURST {
            let has_news = self.has_new_mail();
            let limit = if has_news {
                Instant::now()
            } else {
                until.min(self.idle_deadline().unwrap_or(until))
            };
            let heard = self.connection.connection().receive_unsolicited(limit);
            match heard.map_err(|error| self.connection_lost(&error))? {
                ReceiveResult::Elapsed if has_news => return Ok(IdleResult::NewMail),
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

    /// When an IDLE has lasted long enough. A number that is told and is no larger may hide new mail
    /// behind some that went, and is looked into; but there are servers that tell it with every
    /// IDLE, so not at once.
    fn idle_deadline(&self) -> Option<Instant> {
        let idling = self.active_idle.as_ref()?;
        Some(if self.transcript.mailbox_status().exists_reported {
            idling.started + self.timeouts.idle_start.min(self.timeouts.idle_max)
        } else {
            idling.started + self.timeouts.idle_max
        })
    }

    /// What ends the wait although nobody told it to: a farewell, or the end of the IDLE.
    fn end_of_wait(&mut self, response: &[u8]) -> Result<Option<IdleResult>, CommandError> {
        if response.starts_with(b"*") {
            return match wire::status(response) {
                Some((StatusCondition::Bye, reply)) => Err(self.bye_received(reply)),
                _ => Ok(None),
            };
        }
        let idle = self.active_idle.as_ref().map(|idling| idling.tag.as_str());
        if idle.is_none() || tag(response) != idle {
            return Ok(None);
        }
        let has_news = self.has_new_mail();
        self.active_idle = None;
        Ok(Some(if has_news {
            IdleResult::NewMail
        } else {
            IdleResult::IdleEnded
        }))
    }

    fn bye_received(&mut self, reply: ResponseText) -> CommandError {
        self.is_usable = false;
        self.active_idle = None;
        CommandError::Bye(reply)
    }
}
