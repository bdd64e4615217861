//! Receiving whole responses, and waiting for unsolicited ones.

use std::io::{self, Read};
use std::time::Instant;

use crate::imap::Connection;
use crate::imap::connection::{ENDLESS_LINE, protocol_error};
use crate::process::cancel::WaitResult;

/// No unsolicited response is longer.
const MAX_UNSOLICITED_LENGTH: usize = 1024 * 1024;

/// How a wait for an unsolicited response ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReceiveResult {
    /// A sanitized response with its literals; empty if it says nothing.
    Response(Vec<u8>),
    /// The time is up, or the host was suspended meanwhile.
    Elapsed,
    /// Another thread woke the wait, or cancelled it.
    Woken,
}

impl Connection {
    /// Returns the next sanitized response with its literals, within the time-outs of a command.
    pub(crate) fn next_response(&mut self) -> io::Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            self.receive()?;
            self.ready.read_to_end(&mut response)?;
            if self.literal_left == 0 && !self.sanitizer.is_within_response() {
                return Ok(response);
            }
        }
    }

    /// Returns the next response if it begins to arrive before this moment. A wake-up ends the wait.
    pub(crate) fn receive_unsolicited(&mut self, until: Instant) -> io::Result<ReceiveResult> {
        loop {
            if self.incoming.contains(&b'\n') {
                self.command_started = Instant::now();
                return self.next_response().map(ReceiveResult::Response);
            }
            if self.incoming.len() > MAX_UNSOLICITED_LENGTH {
                return Err(protocol_error(ENDLESS_LINE));
            }
            if self.read_available()? {
                continue;
            }
            match self.transport.socket().wait_readable(until)? {
                WaitResult::Ready => {}
                WaitResult::Elapsed => return Ok(ReceiveResult::Elapsed),
                WaitResult::Woken | WaitResult::Cancelled => return Ok(ReceiveResult::Woken),
            }
        }
    }

    /// Reads what the socket or TLS has already; says whether there was anything.
    fn read_available(&mut self) -> io::Result<bool> {
        self.transport.socket().set_nonblocking();
        match self.read_from_transport() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
