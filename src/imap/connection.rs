//! A connection to an IMAP server, as the byte stream under the IMAP library.
//!
//! It opens TCP and TLS, limits how long and how large a response may be, and hands received lines
//! to the library after [sanitizing](crate::imap::sanitize) them. It knows where lines and literals
//! begin and end, not what they mean.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::config::{Server, TlsMode};
use crate::error::Result;
use crate::imap::Transcript;
use crate::imap::sanitize::Sanitizer;
use crate::imap::transcript::Awaiting;
use crate::net::{ConnectionOptions, TcpSocket, Transport, Trust};
use crate::timeouts::Timeouts;

pub(crate) mod receive;
mod starttls;

/// Enough for a SEARCH response with more than a million UIDs.
const MAX_LINE_LENGTH: usize = 16 * 1024 * 1024;

/// A peer that sends less than this within [`Timeouts::response`] makes no progress. Without a
/// minimum, one that sends an octet now and then could hold up a message of 25 MB for years.
const MIN_PROGRESS: u64 = 16 * 1024;

/// The size of a TLS record.
const CHUNK_SIZE: usize = 16 * 1024;

/// A stream to a server, opened and, as configured, encrypted.
pub struct Connection {
    transport: Transport,
    timeouts: Timeouts,
    transcript: Transcript,
    sanitizer: Sanitizer,
    /// Received and not processed yet.
    incoming: Buffer,
    /// Sanitized and not read by the library yet.
    ready: Buffer,
    /// Lines that came while a `+` was awaited: the library gets them after it.
    held_back: Vec<u8>,
    /// How many octets of a literal are still to come, and whether to drop them.
    literal_left: u64,
    skip_literal: bool,
    /// Octets received since the last command was sent, and when that was.
    response_octets: u64,
    command_started: Instant,
    /// Overrides the ordinary deadline if it is earlier.
    response_deadline: Option<Instant>,
    greeting_is_read: bool,
}

impl Connection {
    /// Connects to a server and, as configured, encrypts.
    ///
    /// # Errors
    /// No address accepts, the server cannot prove its identity, it does not offer STARTTLS, or it
    /// sends something in plain text that could be taken for encrypted.
    pub fn open(server: &Server, trust: &Trust, options: &ConnectionOptions) -> Result<Connection> {
        let place = server.address();
        let socket = TcpSocket::connect(server, &place, options)?;
        let mut connection = Connection::from_socket(socket, &place, options);
        if server.tls == TlsMode::StartTls {
            connection.start_tls(&place, options.side)?;
        }
        if server.tls != TlsMode::None {
            let transport = connection.transport;
            connection.transport = transport.encrypt(server, trust, &place, options)?;
        }
        Ok(connection)
    }

    /// The transcript; it stays readable when the library owns the connection.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        self.transcript.clone()
    }

    /// Says whether the greeting was read already, in plain text before STARTTLS.
    pub(crate) fn greeting_is_read(&self) -> bool {
        self.greeting_is_read
    }

    /// Sets a deadline for the next responses; `None` restores the ordinary one.
    pub(crate) fn set_response_deadline(&mut self, deadline: Option<Instant>) {
        self.response_deadline = deadline;
    }

    /// Waits at most this long for responses from now on.
    pub(crate) fn shorten_timeouts(&mut self, limit: Duration) {
        self.timeouts.response = self.timeouts.response.min(limit);
        self.timeouts.command = self.timeouts.command.min(limit);
    }

    fn from_socket(socket: TcpSocket, place: &str, options: &ConnectionOptions) -> Connection {
        Connection {
            transport: Transport::Plain(socket),
            timeouts: options.timeouts,
            transcript: Transcript::new(place, options.alert_log.clone()),
            sanitizer: Sanitizer::default(),
            incoming: Buffer::default(),
            ready: Buffer::default(),
            held_back: Vec::new(),
            literal_left: 0,
            skip_literal: false,
            response_octets: 0,
            command_started: Instant::now(),
            response_deadline: None,
            greeting_is_read: false,
        }
    }

    /// The deadline for the next octets: the response time-out from now, but not past the command's
    /// own limit, which grows with what was received.
    fn next_deadline(&self) -> Instant {
        let chunks = u32::try_from(self.response_octets / MIN_PROGRESS).unwrap_or(u32::MAX);
        let extension = self.timeouts.response.saturating_mul(chunks);
        let limit = self.timeouts.command.saturating_add(extension);
        let ordinary = (self.command_started + limit).min(Instant::now() + self.timeouts.response);
        self.response_deadline
            .map_or(ordinary, |deadline| deadline.min(ordinary))
    }

    /// Receives the next line, or the next part of a literal, into `ready`, which may stay empty.
    fn receive(&mut self) -> io::Result<()> {
        self.ready.clear();
        if self.literal_left > 0 {
            return self.receive_literal();
        }
        let line = self.read_line()?;
        self.process_line(&line)
    }

    fn process_line(&mut self, line: &[u8]) -> io::Result<()> {
        let awaits_continuation = self.transcript.awaiting() == Awaiting::Continuation;
        self.transcript.record_received(line);
        let mut sanitized = self
            .sanitizer
            .sanitize(line)
            .map_err(|error| protocol_error(error.describe()))?;
        self.literal_left = sanitized.literal;
        self.skip_literal = sanitized.skip_literal;
        if awaits_continuation && line.starts_with(b"*") {
            // The library takes the first line after it announced a literal for the response to
            // that, and waits for ever if it is another one.
            if sanitized.literal == 0 {
                self.held_back.append(&mut sanitized.line);
                return Ok(());
            }
        } else if awaits_continuation {
            sanitized.line.append(&mut self.held_back);
        }
        self.ready.octets = sanitized.line;
        Ok(())
    }

    fn receive_literal(&mut self) -> io::Result<()> {
        if self.incoming.unread().is_empty() {
            self.receive_chunk(self.next_deadline())?;
        }
        let left = usize::try_from(self.literal_left).unwrap_or(usize::MAX);
        let unread = self.incoming.unread();
        let part = unread.get(..left).unwrap_or(unread);
        let length = part.len();
        if !self.skip_literal {
            self.ready.append(part);
        }
        self.incoming.consume(length);
        self.literal_left -= length as u64;
        Ok(())
    }

    /// Returns the next line with its line end.
    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut deadline = self.next_deadline();
        let mut searched = 0;
        let mut extends_at = self.response_octets + MIN_PROGRESS;
        loop {
            let unread = self.incoming.unread();
            let unsearched = unread.get(searched..).unwrap_or_default();
            if let Some(end) = unsearched.iter().position(|octet| *octet == b'\n') {
                let line = unread.get(..=searched + end).unwrap_or_default().to_vec();
                self.incoming.consume(line.len());
                return Ok(line);
            }
            searched = unread.len();
            if searched > MAX_LINE_LENGTH {
                return Err(protocol_error(ENDLESS_LINE));
            }
            if self.response_octets >= extends_at {
                deadline = self.next_deadline();
                extends_at = self.response_octets + MIN_PROGRESS;
            }
            self.receive_chunk(deadline)?;
        }
    }

    fn receive_chunk(&mut self, deadline: Instant) -> io::Result<()> {
        self.transport.socket().set_deadline(deadline);
        self.read_from_transport()
    }

    fn read_from_transport(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK_SIZE];
        let length = self.transport.read(&mut chunk)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.incoming
            .append(chunk.get(..length).unwrap_or_default());
        self.response_octets += length as u64;
        if self.response_octets > self.transcript.allowance() {
            return Err(protocol_error("it sent more than was asked for"));
        }
        Ok(())
    }
}

const ENDLESS_LINE: &str = "it sent a line that has no end";

fn protocol_error(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Octets that are written at one end and consumed at the other.
#[derive(Default)]
struct Buffer {
    octets: Vec<u8>,
    consumed: usize,
}

impl Buffer {
    fn unread(&self) -> &[u8] {
        self.octets.get(self.consumed..).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.consumed = 0;
    }

    fn consume(&mut self, length: usize) {
        self.consumed += length;
    }

    fn append(&mut self, octets: &[u8]) {
        if self.consumed > 0 {
            self.octets.drain(..self.consumed);
            self.consumed = 0;
        }
        self.octets.extend_from_slice(octets);
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.ready.unread().is_empty() {
            self.receive()?;
        }
        let length = self.ready.unread().read(into)?;
        self.ready.consume(length);
        Ok(length)
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let chunk = octets.get(..CHUNK_SIZE).unwrap_or(octets);
        self.response_octets = 0;
        self.command_started = Instant::now();
        self.transport
            .socket()
            .set_deadline(Instant::now() + self.timeouts.response);
        let length = self.transport.write(chunk)?;
        // Recorded before the flush: even if that fails, TLS may have sent them.
        self.transcript
            .record_sent(chunk.get(..length).unwrap_or(chunk));
        self.transport.flush()?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.transport.flush()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
