//! The wire: reads octets, sends lines, and injects faults.
//!
//! Everything that is sent or read passes through here, is recorded as an event, and can fail.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::events::EventKind;
use crate::faults::Fault;
use crate::quirks;
use crate::server::Shared;

/// The size limit of a command line.
const MAX_LINE: usize = 1 << 20;

/// The size of the send buffer at which it is flushed.
const MAX_BUFFER: usize = 64 * 1024;

/// How long a connection that is closing still reads and drops input. Closing with unread input would
/// reset the connection, and the client would miss the last line.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How lines are cut into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pacing {
    /// One packet with all lines up to the point where the server waits for the client.
    #[default]
    Together,
    /// A packet for each line.
    Lines,
    /// A packet for each octet.
    Octets,
    /// This many octets a second.
    PerSecond(u32),
}

/// The connection was closed by either side, or cut by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disconnected;

/// The result of an operation on the connection.
pub(crate) type Result<T> = std::result::Result<T, Disconnected>;

/// How to continue after an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// As without a fault.
    Go,
    /// Skip it: another line was sent instead.
    Done,
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client closed it.
    Lost,
    /// After the pending lines, with a TLS `close_notify`.
    Orderly,
    /// Without a `close_notify`.
    Eof,
    /// By a TCP reset.
    Reset,
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// The server's end of a connection.
pub(crate) struct Wire {
    stream: Stream,
    tcp: TcpStream,
    received: Vec<u8>,
    outgoing: Vec<u8>,
    shared: Arc<Shared>,
    connection: usize,
    ending: Ending,
    /// Whether something was sent since the last input.
    has_sent: bool,
    /// The tag of the current command.
    pub tag: String,
}

impl Wire {
    pub fn new(tcp: TcpStream, shared: Arc<Shared>, connection: usize) -> Wire {
        tcp.set_nodelay(true).unwrap();
        Wire {
            stream: Stream::Plain(tcp.try_clone().unwrap()),
            tcp,
            received: Vec::new(),
            outgoing: Vec::new(),
            shared,
            connection,
            ending: Ending::Lost,
            has_sent: true,
            tag: "*".to_owned(),
        }
    }

    /// The number of this connection.
    pub fn connection(&self) -> usize {
        self.connection
    }

    /// Does the TLS handshake.
    pub fn secure(&mut self, config: &Arc<ServerConfig>) -> Result<()> {
        self.flush()?;
        let mut tls = ServerConnection::new(config.clone()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut self.tcp).map_err(|_| Disconnected)?;
        }
        let tcp = self.tcp.try_clone().unwrap();
        self.stream = Stream::Secure(Box::new(StreamOwned::new(tls, tcp)));
        Ok(())
    }

    /// Whether TLS protects the connection.
    pub fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Secure(_))
    }

    /// Records an event other than a line, and injects the planned fault.
    pub fn event(&mut self, kind: EventKind) -> Result<Action> {
        match self.shared.faults.record_event(self.connection, kind) {
            None => Ok(Action::Go),
            Some(fault) => self.apply_fault(fault, b""),
        }
    }

    /// Sends a line; CRLF is added. It may hold literals.
    pub fn line(&mut self, line: impl AsRef<[u8]>) -> Result<()> {
        let quirks = self.shared.quirks();
        for extra in quirks::chatter(&quirks) {
            self.put(&extra)?;
        }
        let line = quirks::apply(line.as_ref(), &quirks);
        if self.line_event(&line)? == Action::Go {
            self.put(&line)?;
        }
        Ok(())
    }

    /// Sends a line that the client must wait for; records the violation if it has not waited.
    pub fn prompt(&mut self, line: impl AsRef<[u8]>, violation: &str) -> Result<()> {
        let line = quirks::apply(line.as_ref(), &self.shared.quirks());
        let action = self.line_event(&line)?;
        if self.received.is_empty() {
            self.poll(Duration::ZERO)?;
        }
        if !self.received.is_empty() {
            self.shared.violation(violation);
        }
        if action == Action::Go {
            self.put(&line)?;
        }
        Ok(())
    }

    fn line_event(&mut self, line: &[u8]) -> Result<Action> {
        let text = String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned();
        match self
            .shared
            .faults
            .record_event(self.connection, EventKind::Line(text))
        {
            None => Ok(Action::Go),
            Some(fault) => self.apply_fault(fault, line),
        }
    }

    /// Sends a tagged line.
    pub fn respond(&mut self, text: &str) -> Result<()> {
        let line = format!("{} {text}", self.tag);
        self.line(line)
    }

    /// The next line of the client, without its CRLF.
    pub fn read_line(&mut self) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.received[searched..].iter().position(|&o| o == b'\n') {
                let rest = self.received.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.received, rest);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                } else {
                    self.shared.violation("a line does not end in CRLF");
                }
                return Ok(line);
            }
            searched = self.received.len();
            if searched > MAX_LINE {
                return Err(Disconnected);
            }
            self.fill()?;
        }
    }

    /// Reads `count` octets.
    pub fn read_octets(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.received.len() < count {
            self.fill()?;
        }
        let rest = self.received.split_off(count);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// Waits for input at most this long; returns whether there is any.
    pub fn has_input(&mut self, timeout: Duration) -> Result<bool> {
        if self.received.is_empty() {
            self.flush()?;
            self.poll(timeout)?;
        }
        Ok(!self.received.is_empty())
    }

    /// Sends the buffered lines.
    pub fn flush(&mut self) -> Result<()> {
        let outgoing = std::mem::take(&mut self.outgoing);
        if !outgoing.is_empty() {
            self.has_sent = true;
            thread::sleep(self.shared.one_way_delay());
        }
        let packet = match self.shared.pacing() {
            Pacing::Together | Pacing::Lines => outgoing.len().max(1),
            Pacing::Octets => 1,
            Pacing::PerSecond(rate) => (rate as usize / 10).max(1),
        };
        for chunk in outgoing.chunks(packet) {
            self.write(chunk).map_err(|_| Disconnected)?;
            if matches!(self.shared.pacing(), Pacing::PerSecond(_)) {
                thread::sleep(Duration::from_millis(100));
                self.shared.check_running()?;
            }
        }
        Ok(())
    }

    /// Has the connection closed after the pending lines.
    pub fn close(&mut self) -> Disconnected {
        self.end_by(Ending::Orderly)
    }

    /// Has the connection cut.
    pub fn break_off(&mut self) -> Disconnected {
        let _ = self.flush();
        self.end_by(Ending::Eof)
    }

    fn end_by(&mut self, ending: Ending) -> Disconnected {
        self.ending = ending;
        Disconnected
    }

    /// Closes the connection as decided. The client notices only now, after all effects at the server.
    pub fn end(mut self) {
        match self.ending {
            Ending::Lost => {}
            Ending::Orderly => {
                if self.flush().is_ok() {
                    self.close_tls();
                    self.hang_up();
                }
            }
            Ending::Eof => self.hang_up(),
            Ending::Reset => {
                let _ = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO));
            }
        }
        self.shared.forget(self.connection);
    }

    fn close_tls(&mut self) {
        if let Stream::Secure(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            let _ = tls.conn.complete_io(&mut tls.sock);
        }
    }

    fn put(&mut self, line: &[u8]) -> Result<()> {
        self.outgoing.extend_from_slice(line);
        self.outgoing.extend_from_slice(b"\r\n");
        let is_full = self.outgoing.len() > MAX_BUFFER;
        if is_full || self.shared.pacing() != Pacing::Together {
            self.flush()?;
        }
        Ok(())
    }

    fn apply_fault(&mut self, fault: Fault, line: &[u8]) -> Result<Action> {
        // Everything that was sent before the event has arrived.
        self.flush()?;
        match fault {
            Fault::Eof => Err(self.end_by(Ending::Eof)),
            Fault::Reset => Err(self.end_by(Ending::Reset)),
            Fault::HalfThenEof => {
                let _ = self.write(&line[..line.len() / 2]);
                Err(self.end_by(Ending::Eof))
            }
            Fault::Pause(time) => {
                thread::sleep(time);
                Ok(Action::Go)
            }
            Fault::Stall => self.stall(),
            Fault::Instead(text) => {
                let text = text.replace("<T>", &self.tag);
                if text.starts_with("* BYE") {
                    self.outgoing
                        .extend_from_slice(format!("{text}\r\n").as_bytes());
                    return Err(self.close());
                }
                self.put(text.as_bytes())?;
                Ok(Action::Done)
            }
            Fault::Before(text) => {
                let text = text.replace("<T>", &self.tag);
                self.put(text.as_bytes())?;
                Ok(Action::Go)
            }
            Fault::Run(kind) => {
                kind(&self.shared.mailboxes());
                Ok(Action::Go)
            }
        }
    }

    fn stall(&mut self) -> Result<Action> {
        let seen = self.shared.faults.releases();
        let moment = Duration::from_millis(20);
        while !self.shared.faults.is_released_since(seen, moment) {
            self.shared.check_running()?;
            self.poll(Duration::ZERO)?;
        }
        Ok(Action::Go)
    }

    fn fill(&mut self) -> Result<()> {
        self.flush()?;
        let mut chunk = [0; 16 * 1024];
        match self.read(&mut chunk) {
            Ok(0) | Err(_) => Err(Disconnected),
            Ok(count) => {
                self.take_in(&chunk[..count]);
                Ok(())
            }
        }
    }

    fn take_in(&mut self, octets: &[u8]) {
        if self.has_sent {
            self.has_sent = false;
            self.shared.count_round_trip();
            thread::sleep(self.shared.one_way_delay());
        }
        self.received.extend_from_slice(octets);
    }

    /// Reads the input, waiting at most this long.
    fn poll(&mut self, timeout: Duration) -> Result<()> {
        let is_impatient = timeout.is_zero();
        self.tcp
            .set_nonblocking(is_impatient)
            .map_err(|_| Disconnected)?;
        let limit = Some(timeout).filter(|_| !is_impatient);
        self.tcp.set_read_timeout(limit).map_err(|_| Disconnected)?;
        let mut chunk = [0; 16 * 1024];
        let outcome = self.read(&mut chunk);
        self.tcp.set_nonblocking(false).map_err(|_| Disconnected)?;
        self.tcp.set_read_timeout(None).map_err(|_| Disconnected)?;
        match outcome {
            Ok(0) => Err(Disconnected),
            Ok(count) => {
                self.take_in(&chunk[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(())
            }
            Err(_) => Err(Disconnected),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(into),
            Stream::Secure(tls) => tls.read(into),
        }
    }

    fn write(&mut self, octets: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(octets),
            Stream::Secure(tls) => {
                tls.write_all(octets)?;
                tls.flush()
            }
        }
    }

    /// Closes the sending half, and drops what the client still sends.
    fn hang_up(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
        let _ = self.tcp.set_read_timeout(Some(Duration::from_millis(50)));
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let mut sink = [0; 16 * 1024];
        while Instant::now() < deadline && self.shared.check_running().is_ok() {
            match self.tcp.read(&mut sink) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
    }
}
