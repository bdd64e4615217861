//! A connection to an IMAP server, as the byte stream under the IMAP library.
//!
//! It opens TCP and TLS, limits how long and how large a response may be, and hands received lines
//! to the library after [sanitizing](crate::imap::sanitize) them. It knows where lines and literals
//! begin and end, not what they mean.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Server, TlsMode};
use crate::error::Result;
use crate::imap::Transcript;
use crate::imap::sanitize::Sanitizer;
use crate::net::{ConnectionOptions, TcpSocket, Transport, Trust};
use crate::timeouts::{BYE_TIMEOUT, Timeouts};

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
    incoming: VecDeque<u8>,
    /// Sanitized and not read by the library yet.
    ready: VecDeque<u8>,
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
    /// The same after BYE.
    bye_deadline: Option<Instant>,
    greeting_is_read: bool,
    /// A command that is not sent, as far as the library has written it.
    unsent_command: Option<Vec<u8>>,
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
            incoming: VecDeque::new(),
            ready: VecDeque::new(),
            held_back: Vec::new(),
            literal_left: 0,
            skip_literal: false,
            response_octets: 0,
            command_started: Instant::now(),
            response_deadline: None,
            bye_deadline: None,
            greeting_is_read: false,
            unsent_command: None,
        };
        if server.tls == TlsMode::StartTls {
            connection.start_tls(server, options)?;
        }
        if server.tls != TlsMode::None {
            connection.transport = connection.transport.encrypt(server, trust, options)?;
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

    /// Answers the next command of the library with OK, and does not send it. The library has no other
    /// way to learn that the user is logged in.
    pub(super) fn answer_next_command(&mut self) {
        self.unsent_command = Some(Vec::new());
    }

    /// Takes octets of the command that is not sent.
    fn write_unsent(&mut self, mut command: Vec<u8>, octets: &[u8]) {
        command.extend_from_slice(octets);
        if command.ends_with(b"\n") {
            self.ready
                .extend(command.iter().take_while(|octet| **octet != b' '));
            self.ready.extend(b" OK done\r\n");
        } else {
            self.unsent_command = Some(command);
        }
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

    /// Receives until `ready` holds something.
    fn fill_ready(&mut self) -> io::Result<()> {
        while self.ready.is_empty() {
            self.receive()?;
        }
        Ok(())
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
        let awaits_continuation = self.transcript.awaits_continuation();
        let line = &*self.transcript.hide_secrets(line);
        self.transcript.record_received(line);
        if self.transcript.bye().is_some() {
            self.bye_deadline
                .get_or_insert_with(|| Instant::now() + BYE_TIMEOUT);
        }
        let sanitized = self.sanitizer.sanitize(line);
        let mut sanitized = sanitized.map_err(|error| protocol_error(error.to_string()))?;
        self.literal_left = sanitized.literal.unwrap_or(0);
        self.skip_literal = sanitized.skip_literal;
        if awaits_continuation && line.starts_with(b"*") {
            // The library takes the first line after it announced a literal for the response to
            // that, and waits for ever if it is another one.
            if sanitized.literal.is_none() {
                self.held_back.append(&mut sanitized.line);
                return Ok(());
            }
        } else if awaits_continuation {
            sanitized.line.append(&mut self.held_back);
        }
        self.ready = sanitized.line.into();
        Ok(())
    }

    fn receive_literal(&mut self) -> io::Result<()> {
        if self.incoming.is_empty() {
            self.receive_chunk(self.next_deadline())?;
        }
        let mut part = Vec::new();
        let incoming = Read::by_ref(&mut self.incoming);
        self.literal_left -= incoming.take(self.literal_left).read_to_end(&mut part)? as u64;
        if !self.skip_literal {
            self.ready = part.into();
        }
        Ok(())
    }

    /// Returns the next line with its line end.
    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut deadline = self.next_deadline();
        let mut extends_at = self.response_octets + MIN_PROGRESS;
        loop {
            self.incoming.read_until(b'\n', &mut line)?;
            if line.ends_with(b"\n") {
                return Ok(line);
            }
            if line.len() > MAX_LINE_LENGTH {
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
            .extend(chunk.get(..length).unwrap_or_default());
        self.response_octets += length as u64;
        if self.response_octets > self.transcript.allowance() {
            return Err(protocol_error("it sent more than was requested"));
        }
        Ok(())
    }
}

const ENDLESS_LINE: &str = "it sent a line that has no end";

fn protocol_error(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.fill_ready()?;
        self.ready.read(into)
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if let Some(command) = self.unsent_command.take() {
            self.write_unsent(command, octets);
            return Ok(octets.len());
        }
        let chunk = octets.get(..CHUNK_SIZE).unwrap_or(octets);
        self.response_octets = 0;
        self.command_started = Instant::now();
        let deadline = self.command_started + self.timeouts.response;
        self.transport.socket().set_deadline(deadline);
        let length = self.transport.write(chunk)?;
        let written = chunk.get(..length).unwrap_or(chunk);
        // Recorded before the flush: even if that fails, TLS may have sent them.
        self.transcript.record_sent(written);
        self.transport.flush()?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.transport.flush()
    }
}

/// A handle to a connection. The library holds one for its commands; the session uses the other
/// for IDLE and pipelines, which the library cannot do.
#[derive(Clone)]
pub(crate) struct SharedConnection(Arc<Mutex<Connection>>);

impl SharedConnection {
    pub(crate) fn new(connection: Connection) -> SharedConnection {
        SharedConnection(Arc::new(Mutex::new(connection)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for SharedConnection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.lock().read(into)
    }
}

impl Write for SharedConnection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.lock().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}
