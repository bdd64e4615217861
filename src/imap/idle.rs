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
    began: Instant,
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
        Ok(!self.refuses_idle && self.capabilities()?.has("IDLE"))
    }

    /// Says whether an IDLE is on.
    #[must_use]
    pub fn is_idling(&self) -> bool {
        self.idling.is_some()
    }

    /// Says whether the server told of new messages since the last look.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.witness.view().fresh > 0
    }

    /// Asks for an IDLE. A NOOP before it makes the server tell what came since the last command:
    /// some tell only what comes while they idle.
    ///
    /// # Errors
    /// The connection broke.
    pub fn begin_idle(&mut self) -> Result<IdleStart, CommandError> {
        if self.swallows_commands {
            self.command("NOOP")?;
        }
        self.begin()?;
        let noop = if self.swallows_commands {
            String::new()
        } else {
            format!("{} NOOP\r\n", self.next_tag())
        };
        let tag = self.next_tag();
        let text = format!("{noop}{tag} IDLE\r\n");
        let due = Instant::now() + self.patience.prompt;
        let answered = self.write(&text).and_then(|()| {
            self.connection.connection().answer_by(Some(due));
            self.read_begin_of_idle(&tag)
        });
        self.connection.connection().answer_by(None);
        match answered {
            Ok(IdleStart::Started) => {
                self.witness.forget_told();
                let began = Instant::now();
                self.idling = Some(ActiveIdle { tag, began });
                Ok(IdleStart::Started)
            }
            Ok(begun) => {
                self.refuses_idle = true;
                Ok(begun)
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.is_usable = false;
                Ok(IdleStart::NoResponse)
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Reads up to the `+`; what comes before it is noted in passing, whatever it is.
    fn read_begin_of_idle(&mut self, awaited: &str) -> io::Result<IdleStart> {
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
    pub fn await_news(&mut self, until: Instant) -> Result<IdleResult, CommandError> {
        self.begin()?;
        for _ in 0..LONGEST_BURST {
            let has_news = self.has_news();
            let limit = if has_news {
                Instant::now()
            } else {
                until.min(self.end_of_idle().unwrap_or(until))
            };
            let heard = self.connection.connection().hear(limit);
            match heard.map_err(|error| self.lost(&error))? {
                ReceiveResult::Elapsed if has_news => return Ok(IdleResult::NewMail),
                ReceiveResult::Elapsed => return Ok(IdleResult::Elapsed),
                ReceiveResult::Woken => return Ok(IdleResult::Woken),
                ReceiveResult::Response(response) => {
                    if let Some(end) = self.end_by(&response)? {
                        return Ok(end);
                    }
                }
            }
        }
        Ok(if self.has_news() {
            IdleResult::NewMail
        } else {
            IdleResult::Elapsed
        })
    }

    /// When an IDLE has lasted long enough. A number that is told and is no larger may hide new mail
    /// behind some that went, and is looked into; but there are servers that tell it with every
    /// IDLE, so not at once.
    fn end_of_idle(&self) -> Option<Instant> {
        let idling = self.idling.as_ref()?;
        Some(if self.witness.view().was_told {
            idling.began + self.patience.prompt.min(self.patience.idle)
        } else {
            idling.began + self.patience.idle
        })
    }

    /// What ends the wait although nobody told it to: a farewell, or the end of the IDLE.
    fn end_by(&mut self, response: &[u8]) -> Result<Option<IdleResult>, CommandError> {
        if response.starts_with(b"*") {
            return match wire::status(response) {
                Some((StatusCondition::Bye, reply)) => Err(self.farewell(reply)),
                _ => Ok(None),
            };
        }
        let idle = self.idling.as_ref().map(|idling| idling.tag.as_str());
        if idle.is_none() || tag(response) != idle {
            return Ok(None);
        }
        let has_news = self.has_news();
        self.idling = None;
        Ok(Some(if has_news {
            IdleResult::NewMail
        } else {
            IdleResult::IdleEnded
        }))
    }

    fn farewell(&mut self, reply: ResponseText) -> CommandError {
        self.is_usable = false;
        self.idling = None;
        CommandError::Bye(reply)
    }
}
