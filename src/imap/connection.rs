//! A connection to an IMAP server: octets, deadlines and last words.
//!
//! It opens TCP and TLS, lets nothing wait for ever and nothing grow without bound, and hands what
//! the server says to the IMAP library line by line, made safe for its parser (`sanitizer`). It knows
//! where lines and literals are, but not what they mean.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustls_connector::TlsStream;

use crate::config::{Server, TlsMode};
use crate::error::Result;
use crate::error::Side;
use crate::imap::Transcript;
use crate::net::ConnectionOptions;
use crate::net::Trust;
use crate::timeouts::Timeouts;

pub(crate) mod receive;
mod starttls;

use crate::imap::sanitize::Sanitizer;
use crate::imap::transcript::Awaiting;
use crate::net::tcp::TcpSocket;

/// The longest line that is read: a SEARCH that finds more than a million messages.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Fewer octets than this in [`Timeouts::answer`] are no progress: a peer that drips one now and
/// then could otherwise hold a message of 25 MB for years.
const PROGRESS: u64 = 16 * 1024;

/// Octets are taken from TLS in pieces of a record.
const PIECE: usize = 16 * 1024;

/// A stream to a server, opened and, as configured, encrypted.
pub struct Connection {
    side: Side,
    stream: Transport,
    timeouts: Timeouts,
    transcript: Transcript,
    sanitizer: Sanitizer,
    /// Read from the stream and not looked at yet; `taken` octets of it are used up.
    incoming: Vec<u8>,
    incoming_used: usize,
    /// Made safe and not yet handed on; `given` octets of it are.
    ready: Vec<u8>,
    ready_used: usize,
    /// Lines that came while a `+` was awaited: they are handed on after it.
    held_back: Vec<u8>,
    /// What is left of a literal, and whether it goes nowhere.
    literal_left: u64,
    skip_literal: bool,
    /// Octets received since the last command, and when they must have ended.
    response_octets: u64,
    command_started: Instant,
    /// When the next responses must have come, if that is earlier than by the rules.
    response_deadline: Option<Instant>,
    greeting_is_read: bool,
}

enum Transport {
    Plain(TcpSocket),
    Tls(Box<TlsStream<TcpSocket>>),
}

impl Connection {
    /// Connects to a server and, as it is configured, encrypts.
    ///
    /// # Errors
    /// No address answers, the server cannot prove who it is, it does not offer STARTTLS, or it
    /// sends something in the clear that might be taken for encrypted.
    pub fn open(server: &Server, trust: &Trust, options: &ConnectionOptions) -> Result<Connection> {
        let place = server.address();
        let socket = TcpSocket::connect(server, &place, options)?;
        let mut connection = Connection::from_socket(socket, &place, options);
        if server.tls == TlsMode::StartTls {
            connection.start_tls(&place)?;
        }
        if server.tls != TlsMode::None {
            connection = connection.encrypt(server, trust, &place)?;
        }
        Ok(connection)
    }

    /// A view into what is said, for after the stream has been handed over.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        self.transcript.clone()
    }

    /// Says whether the server's greeting came already, in the clear before STARTTLS.
    #[must_use]
    pub fn greeting_is_read(&self) -> bool {
        self.greeting_is_read
    }

    /// Makes reads end by this moment at the latest; `None`: as those of ordinary commands end.
    pub fn set_response_deadline(&mut self, due: Option<Instant>) {
        self.response_deadline = due;
    }

    /// Makes the server answer sooner than it must, from now on.
    pub fn shorten_timeouts(&mut self, answer: Duration) {
        self.timeouts.response = self.timeouts.response.min(answer);
        self.timeouts.command = self.timeouts.command.min(answer);
    }

    fn from_socket(socket: TcpSocket, place: &str, options: &ConnectionOptions) -> Connection {
        Connection {
            side: options.side,
            stream: Transport::Plain(socket),
            timeouts: options.timeouts,
            transcript: Transcript::new(place, options.alert_log.clone()),
            sanitizer: Sanitizer::default(),
            incoming: Vec::new(),
            incoming_used: 0,
            ready: Vec::new(),
            ready_used: 0,
            held_back: Vec::new(),
            literal_left: 0,
            skip_literal: false,
            response_octets: 0,
            command_started: Instant::now(),
            response_deadline: None,
            greeting_is_read: false,
        }
    }

    /// The moment by which the next piece must be there.
    fn next_deadline(&self) -> Instant {
        let parts = u32::try_from(self.response_octets / PROGRESS).unwrap_or(u32::MAX);
        let earned = self.timeouts.response.saturating_mul(parts);
        let limit = self.timeouts.command.saturating_add(earned);
        let ordinary = (self.command_started + limit).min(Instant::now() + self.timeouts.response);
        self.response_deadline
            .map_or(ordinary, |due| due.min(ordinary))
    }

    /// Reads the next line, or a piece of a literal, into `ready`; it may stay empty.
    fn receive(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.ready_used = 0;
        if self.literal_left > 0 {
            return self.receive_literal();
        }
        let line = self.read_line()?;
        self.process_line(&line)
    }

    fn process_line(&mut self, line: &[u8]) -> io::Result<()> {
        let awaits_continuation = self.transcript.awaiting() == Awaiting::Continuation;
        self.transcript.received(line);
        let mut admitted = self
            .sanitizer
            .sanitize(line)
            .map_err(|nonsense| io::Error::new(io::ErrorKind::InvalidData, nonsense.describe()))?;
        self.literal_left = admitted.literal;
        self.skip_literal = admitted.skip_literal;
        if awaits_continuation && line.starts_with(b"*") {
            // The library takes the first line after a literal's announcement for the answer to it,
            // and waits for ever if it was something else.
            if admitted.literal == 0 {
                self.held_back.append(&mut admitted.line);
                return Ok(());
            }
        } else if awaits_continuation {
            admitted.line.append(&mut self.held_back);
        }
        self.ready = admitted.line;
        Ok(())
    }

    fn receive_literal(&mut self) -> io::Result<()> {
        if self.incoming_used == self.incoming.len() {
            self.fill(self.next_deadline())?;
        }
        let unread = self.incoming.get(self.incoming_used..).unwrap_or_default();
        let length = unread
            .len()
            .min(usize::try_from(self.literal_left).unwrap_or(usize::MAX));
        if !self.skip_literal {
            self.ready
                .extend_from_slice(unread.get(..length).unwrap_or_default());
        }
        self.incoming_used += length;
        self.literal_left -= length as u64;
        Ok(())
    }

    /// A whole line with its line end; empty at the end of the stream.
    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut deadline = self.next_deadline();
        let mut searched = 0;
        let mut earned = self.response_octets + PROGRESS;
        loop {
            let unread = self.incoming.get(self.incoming_used..).unwrap_or_default();
            let fresh = unread.get(searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|octet| *octet == b'\n') {
                let line = unread.get(..=searched + end).unwrap_or_default().to_vec();
                self.incoming_used += line.len();
                return Ok(line);
            }
            searched = unread.len();
            if searched > LONGEST_LINE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it sent a line that has no end",
                ));
            }
            if self.response_octets >= earned {
                deadline = self.next_deadline();
                earned = self.response_octets + PROGRESS;
            }
            self.fill(deadline)?;
        }
    }

    /// Reads more from the stream.
    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        self.stream.socket().set_deadline(deadline);
        self.read_from_transport()
    }

    fn read_from_transport(&mut self) -> io::Result<()> {
        if self.incoming_used > 0 {
            self.incoming.drain(..self.incoming_used);
            self.incoming_used = 0;
        }
        let mut piece = [0; PIECE];
        let length = match &mut self.stream {
            Transport::Plain(socket) => socket.read(&mut piece)?,
            Transport::Tls(stream) => stream.read(&mut piece)?,
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.incoming
            .extend_from_slice(piece.get(..length).unwrap_or_default());
        self.response_octets += length as u64;
        if self.response_octets > self.transcript.allowance() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it sent more than was asked for",
            ));
        }
        Ok(())
    }
}

impl Transport {
    fn socket(&mut self) -> &mut TcpSocket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.ready_used == self.ready.len() {
            self.receive()?;
        }
        let ready = self.ready.get(self.ready_used..).unwrap_or_default();
        let length = ready.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), ready.get(..length)) {
            to.copy_from_slice(from);
        }
        self.ready_used += length;
        Ok(length)
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let piece = octets.get(..PIECE).unwrap_or(octets);
        self.response_octets = 0;
        self.command_started = Instant::now();
        self.stream
            .socket()
            .set_deadline(Instant::now() + self.timeouts.response);
        match &mut self.stream {
            Transport::Plain(socket) => {
                let length = socket.write(piece)?;
                self.transcript.sent(piece.get(..length).unwrap_or(piece));
                Ok(length)
            }
            Transport::Tls(stream) => {
                let length = stream.write(piece)?;
                // They may be on the wire from here on, whatever becomes of the rest.
                self.transcript.sent(piece.get(..length).unwrap_or(piece));
                stream.flush()?;
                Ok(length)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Transport::Plain(socket) => socket.flush(),
            Transport::Tls(stream) => stream.flush(),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
