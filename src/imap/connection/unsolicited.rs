//! Waiting for unsolicited responses.

use std::io;
use std::time::Instant;

use crate::imap::connection::{ENDLESS_LINE, protocol_error};
use crate::imap::{Connection, Responses};
use crate::process::cancel::WaitResult;

/// No unsolicited response is longer.
const MAX_UNSOLICITED_LENGTH: usize = 1024 * 1024;

/// How a wait for an unsolicited response ended.
#[derive(Debug)]
pub(crate) enum ReceiveResult {
    /// A sanitized response with its literals; empty if it says nothing.
    Response(Responses),
    /// The time is up, or the host was suspended meanwhile.
    Elapsed,
    /// Another thread woke the wait, or cancelled it.
    Woken,
}

impl Connection {
    /// Returns the next response if it begins to arrive before this moment. A wake-up ends the wait.
    pub(crate) fn receive_unsolicited(&mut self, until: Instant) -> io::Result<ReceiveResult> {
        loop {
            if self.incoming.as_slice().contains(&b'\n') {
                self.command_started = Instant::now();
                return self.next_response().map(ReceiveResult::Response);
            }
            if self.incoming.as_slice().len() > MAX_UNSOLICITED_LENGTH {
                return Err(protocol_error(ENDLESS_LINE));
            }
            if self.receive_available()? {
                continue;
            }
            match self.transport.socket().wait_readable(until)? {
                WaitResult::Ready => {}
                WaitResult::Elapsed => return Ok(ReceiveResult::Elapsed),
                WaitResult::Woken | WaitResult::Cancelled => return Ok(ReceiveResult::Woken),
            }
        }
    }

    /// Says whether something arrived that was not asked for, or the end of the connection; waits for
    /// nothing.
    pub(crate) fn has_unsolicited(&mut self) -> bool {
        !self.incoming.as_slice().is_empty() || !matches!(self.receive_available(), Ok(false))
    }

    /// Receives what the socket or TLS has already; says whether there was anything.
    fn receive_available(&mut self) -> io::Result<bool> {
        self.transport.socket().set_nonblocking();
        match self.receive_into_buffer() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
