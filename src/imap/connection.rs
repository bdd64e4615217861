//! A connection to an IMAP server: octets out, whole responses in.
//!
//! It opens TCP and TLS, limits how long and how large a response may be, and hands out received
//! responses after [sanitizing](crate::imap::sanitize) them. It knows where lines and literals begin
//! and end, not what they mean.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::config::{Server, TlsMode};
use crate::error::Result;
use crate::imap::sanitize::{LiteralUse, Sanitizer};
use crate::imap::{Responses, Transcript};
use crate::message::{BodyHasher, HashedOctets};
use crate::net::{ConnectionOptions, TcpSocket, Transport, Trust};
use crate::timeouts::{BYE_TIMEOUT, Timeouts};

mod receive_buffer;
mod starttls;
mod unsolicited;

use crate::imap::connection::receive_buffer::ReceiveBuffer;

pub(crate) use unsolicited::ReceiveResult;

/// Enough for a SEARCH response with more than a million UIDs.
const MAX_LINE_LENGTH: usize = 16 * 1024 * 1024;

/// The default limit for the octets of a response: enough for a listing of 500 messages with their
/// header fields, or a search that finds two million.
const DEFAULT_ALLOWANCE: u64 = 32 * 1024 * 1024;

/// A peer that sends less than this within [`Timeouts::response`] makes no progress. Without a
/// minimum, one that sends an octet now and then could hold up a message of 25 MB for years.
const MIN_PROGRESS: u64 = 16 * 1024;

/// Octets that are received at once: the size of a TLS record.
const RECEIVE_SIZE: usize = 16 * 1024;

/// Octets that are sent at once: a few TLS records, for which the time-out counts.
pub(super) const SEND_SIZE: usize = 64 * 1024;

/// A stream to a server, opened and, as configured, encrypted.
pub struct Connection {
    transport: Transport,
    timeouts: Timeouts,
    transcript: Transcript,
    sanitizer: Sanitizer,
    incoming: ReceiveBuffer,
    /// Octets received since the last command was sent, or since it is waited for; and when that was.
    response_octets: u64,
    command_started: Instant,
    /// When something was received last.
    heard_at: Instant,
    /// The limit for these octets, if it is more than the default.
    allowance: u64,
    /// Overrides the ordinary deadline if it is earlier.
    response_deadline: Option<Instant>,
    /// The same after BYE.
    bye_deadline: Option<Instant>,
    greeting_is_read: bool,
}

impl Connection {
    /// Connects to a server and, as configured, encrypts.
    ///
    /// # Errors
    /// No address accepts, the server cannot prove its identity, it does not offer STARTTLS, or it
    /// sends something in plain text that could be taken for encrypted.
    pub fn open(server: &Server, trust: &Trust, options: &ConnectionOptions) -> Result<Connection> {
        let mut connection = Connection {
            transport: Transport::Plain(TcpSocket::connect(server, options)?),
            timeouts: options.timeouts,
            transcript: Transcript::new(&server.address(), options.alert_log.clone()),
            sanitizer: Sanitizer::default(),
            incoming: ReceiveBuffer::default(),
            response_octets: 0,
            command_started: Instant::now(),
            heard_at: Instant::now(),
            allowance: DEFAULT_ALLOWANCE,
            response_deadline: None,
            bye_deadline: None,
            greeting_is_read: false,
        };
        if server.tls == TlsMode::StartTls {
            connection.start_tls(server, options)?;
        }
        if server.tls != TlsMode::None {
            connection.transport = connection.transport.encrypt(server, trust, options)?;
        }
        Ok(connection)
    }

    /// What was received last; it stays readable when somebody else owns the connection.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        self.transcript.clone()
    }

    /// When something was received last.
    pub(crate) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Says whether the greeting was read already, in plain text before STARTTLS.
    pub(crate) fn greeting_is_read(&self) -> bool {
        self.greeting_is_read
    }

    /// Sets a deadline for the next responses; `None` restores the ordinary one.
    pub(crate) fn set_response_deadline(&mut self, deadline: Option<Instant>) {
        self.response_deadline = deadline;
    }

    /// Counts the time and the octets of the response to a command from now on.
    pub(crate) fn restart_clock(&mut self) {
        self.response_octets = 0;
        self.command_started = Instant::now();
    }

    /// Waits at most this long for responses from now on.
    pub(crate) fn shorten_timeouts(&mut self, limit: Duration) {
        self.timeouts.response = self.timeouts.response.min(limit);
        self.timeouts.command = self.timeouts.command.min(limit);
    }

    /// Limits the responses to the next commands to this many octets, or 32 MiB if that is more; a
    /// larger one breaks the connection.
    pub(crate) fn set_allowance(&mut self, octets: u64) {
        self.allowance = octets.max(DEFAULT_ALLOWANCE);
    }

    /// Sends commands: whole lines. The transcript records them.
    ///
    /// # Errors
    /// The connection broke or timed out.
    pub(crate) fn send_lines(&mut self, lines: &str) -> io::Result<()> {
        // Recorded before: even if sending fails, the server may have received them.
        self.transcript.record_sent(lines);
        self.send(lines.as_bytes()).map_err(|(_, error)| error)
    }

    /// Sends octets, which the transcript does not record. The time-out is for each part of them.
    ///
    /// # Errors
    /// The connection broke or timed out; how many octets the server may have received before.
    pub(crate) fn send(&mut self, octets: &[u8]) -> std::result::Result<(), (usize, io::Error)> {
        let mut sent = 0;
        while let Some(rest) = octets.get(sent..).filter(|rest| !rest.is_empty()) {
            let part = rest.get(..SEND_SIZE).unwrap_or(rest);
            self.response_octets = 0;
            self.command_started = Instant::now();
            let deadline = self.command_started + self.timeouts.response;
            self.transport.socket().set_deadline(deadline);
            sent += self.transport.write(part).map_err(|error| (sent, error))?;
            // Counted before the flush: even if that fails, TLS may have sent them.
            self.transport.flush().map_err(|error| (sent, error))?;
        }
        Ok(())
    }

    /// Sends the last lines, and the end of TLS and of the stream with them; does not wait for an answer.
    ///
    /// # Errors
    /// The connection broke or timed out.
    pub(crate) fn finish(&mut self, lines: &str) -> io::Result<()> {
        self.transcript.record_sent(lines);
        let deadline = Instant::now() + self.timeouts.response;
        self.transport.socket().set_deadline(deadline);
        self.transport.finish(lines.as_bytes())
    }

    /// Returns the next response with its literals, within the time-outs of a command.
    ///
    /// # Errors
    /// The connection broke or timed out, or what arrived is no IMAP.
    pub fn next_response(&mut self) -> io::Result<Responses> {
        let mut response = Responses::default();
        loop {
            let line = self.read_line()?;
            let line = &*self.transcript.hide_secrets(&line);
            self.transcript.record_received(line);
            if self.transcript.bye().is_some() {
                self.bye_deadline
                    .get_or_insert_with(|| Instant::now() + BYE_TIMEOUT);
            }
            let mut sanitized = self
                .sanitizer
                .sanitize(line)
                .map_err(|error| protocol_error(error.to_string()))?;
            response.octets.append(&mut sanitized.line);
            let bodies = sanitized.bodies.into_iter();
            response.bodies.extend(bodies.map(HashedOctets::new));
            let Some(size) = sanitized.literal else {
                return Ok(response);
            };
            match sanitized.literal_use {
                LiteralUse::Parsed => self.read_literal(size, &mut response.octets, |_| {})?,
                LiteralUse::Body => response.bodies.push(self.read_body(size)?),
                LiteralUse::Dropped => self.drop_literal(size)?,
            }
        }
    }

    fn read_body(&mut self, size: u64) -> io::Result<HashedOctets> {
        let mut hasher = BodyHasher::default();
        let mut octets = Vec::new();
        self.read_literal(size, &mut octets, |part| hasher.update(part))?;
        Ok(HashedOctets {
            octets,
            body: hasher.finish(),
        })
    }

    /// Receives a literal behind what is in `into`: from the TLS record into its place, without
    /// another copy. `arrived` gets each part of it.
    fn read_literal(
        &mut self,
        size: u64,
        into: &mut Vec<u8>,
        mut arrived: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        // More would be too much for the response, and is an error when it comes.
        let expected = size.min(self.allowance);
        into.reserve_exact(usize::try_from(expected).unwrap_or_default());
        let mut left = size;
        let mut begin = into.len();
        self.incoming.take_up_to(&mut left, into);
        arrived(into.get(begin..).unwrap_or_default());
        while left > 0 {
            begin = into.len();
            let length = usize::try_from(left).unwrap_or(usize::MAX);
            into.resize(begin + length.min(RECEIVE_SIZE), 0);
            let deadline = self.next_deadline();
            self.transport.socket().set_deadline(deadline);
            let received =
                self.receive(|transport| transport.read(into.get_mut(begin..).unwrap_or_default()));
            into.truncate(begin + received.as_ref().copied().unwrap_or_default());
            left -= received? as u64;
            arrived(into.get(begin..).unwrap_or_default());
        }
        Ok(())
    }

    fn drop_literal(&mut self, size: u64) -> io::Result<()> {
        let mut left = size;
        loop {
            self.incoming.skip_up_to(&mut left);
            if left == 0 {
                return Ok(());
            }
            self.fill_buffer(self.next_deadline())?;
        }
    }

    /// Returns the next line with its line end.
    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut deadline = self.next_deadline();
        let mut extends_at = self.response_octets + MIN_PROGRESS;
        loop {
            if self.incoming.take_line(&mut line) {
                return Ok(line);
            }
            if line.len() > MAX_LINE_LENGTH {
                return Err(protocol_error(ENDLESS_LINE));
            }
            if self.response_octets >= extends_at {
                deadline = self.next_deadline();
                extends_at = self.response_octets + MIN_PROGRESS;
            }
            self.fill_buffer(deadline)?;
        }
    }

    /// Receives what there is into the buffer; waits for it until the deadline.
    fn fill_buffer(&mut self, deadline: Instant) -> io::Result<()> {
        self.transport.socket().set_deadline(deadline);
        self.receive_into_buffer()
    }

    fn receive_into_buffer(&mut self) -> io::Result<()> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let received = self.receive(|transport| incoming.receive(transport));
        self.incoming = incoming;
        received.map(drop)
    }

    /// Reads from the transport, and counts what was received.
    fn receive(
        &mut self,
        read: impl FnOnce(&mut Transport) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let length = read(&mut self.transport)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.heard_at = Instant::now();
        self.response_octets += length as u64;
        if self.response_octets > self.allowance {
            return Err(protocol_error("it sent more than was requested"));
        }
        Ok(length)
    }

    /// The deadline for the next octets: the response time-out from now, but not past the command's
    /// own limit, which grows with what was received.
    fn next_deadline(&self) -> Instant {
        let chunks = u32::try_from(self.response_octets / MIN_PROGRESS).unwrap_or(u32::MAX);
        let extension = self.timeouts.response.saturating_mul(chunks);
        let limit = self.timeouts.command.saturating_add(extension);
        let ordinary = (self.command_started + limit).min(Instant::now() + self.timeouts.response);
        [self.response_deadline, self.bye_deadline]
            .into_iter()
            .flatten()
            .fold(ordinary, Instant::min)
    }
}

const ENDLESS_LINE: &str = "it sent a line that has no end";

fn protocol_error(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
