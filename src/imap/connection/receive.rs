//! Responses as a whole, and waiting for those that nobody asked for.

use std::io;
use std::time::Instant;

use crate::imap::Connection;
use crate::process::cancel::WaitResult;

/// A line that a server sends unasked is shorter.
const LONGEST_UNASKED: usize = 1024 * 1024;

/// What came of waiting for a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiveResult {
    /// A response with its literals, made safe; empty if it says nothing.
    Response(Vec<u8>),
    /// The time has come, or the host was suspended meanwhile.
    Elapsed,
    /// Somebody pulled the tether.
    Woken,
}

impl Connection {
    /// The next response with its literals, made safe, as a command's answer is awaited.
    ///
    /// # Errors
    /// It did not come in time, or the connection broke.
    pub fn next_response(&mut self) -> io::Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            self.receive()?;
            response.append(&mut self.ready);
            if self.literal_left == 0 && !self.sanitizer.is_within_response() {
                return Ok(response);
            }
        }
    }

    /// The next response, if it begins to come before this moment; a call by the tether ends the
    /// wait.
    ///
    /// # Errors
    /// The connection broke.
    pub fn receive_unsolicited(&mut self, until: Instant) -> io::Result<ReceiveResult> {
        loop {
            let unread = self.incoming.get(self.incoming_used..).unwrap_or_default();
            if unread.contains(&b'\n') {
                self.command_started = Instant::now();
                return self.next_response().map(ReceiveResult::Response);
            }
            if unread.len() > LONGEST_UNASKED {
                let what = "it sent a line that has no end";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            if self.read_available()? {
                continue;
            }
            match self.stream.socket().wait_readable(until)? {
                WaitResult::Ready => {}
                WaitResult::Elapsed | WaitResult::ClockJump => return Ok(ReceiveResult::Elapsed),
                WaitResult::Woken | WaitResult::Cancelled => return Ok(ReceiveResult::Woken),
            }
        }
    }

    /// Reads what is there, in the socket or decrypted already; says whether there was anything.
    fn read_available(&mut self) -> io::Result<bool> {
        self.stream.socket().set_nonblocking();
        match self.read_from_transport() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
