//! Octets in, lines out.
//!
//! Every line that is sent and everything that is read passes through here, so that every one of
//! them is an event that is recorded and at which a fault can be planned.

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

/// A longer line is no command of a client that means well.
const LONGEST_LINE: usize = 1 << 20;

/// So much is collected before it is sent although nobody waits for it yet.
const FULL_BUFFER: usize = 64 * 1024;

/// How long a connection that was closed still swallows what the client has to say. Closing with
/// unread octets would reset the connection, and the client would miss our last line.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How lines are cut into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pacing {
    /// As few packets as possible: all lines up to where the server waits for the client.
    #[default]
    Together,
    /// A packet for each line.
    Lines,
    /// A packet for each octet.
    Octets,
    /// So many octets a second.
    PerSecond(u32),
}

/// The connection is over: closed by either side, or cut by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disconnected;

/// The outcome of anything that touches the connection.
pub(crate) type Result<T> = std::result::Result<T, Disconnected>;

/// What is to happen at an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// What was about to happen.
    Go,
    /// Nothing: another line was sent in its place.
    Done,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client has left.
    Lost,
    /// After what was said, and in TLS's good manners.
    Orderly,
    /// In silence.
    Eof,
    /// By a TCP reset.
    Reset,
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// One connection, seen by the server.
pub(crate) struct Wire {
    stream: Stream,
    tcp: TcpStream,
    received: Vec<u8>,
    outgoing: Vec<u8>,
    shared: Arc<Shared>,
    connection: usize,
    ending: Ending,
    /// Something was said since the client spoke last.
    has_spoken: bool,
    /// The tag of the command that is being obeyed.
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
            has_spoken: true,
            tag: "*".to_owned(),
        }
    }

    /// The number of this connection.
    pub fn connection(&self) -> usize {
        self.connection
    }

    /// Goes on in TLS; the handshake happens now.
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

    /// Says whether TLS protects the connection.
    pub fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Secure(_))
    }

    /// Records an event other than a line, and lets the planned fault happen.
    pub fn event(&mut self, what: EventKind) -> Result<Action> {
        match self.shared.faults.meet(self.connection, what) {
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

    /// Sends a line that the client has to wait for; notes the offence if it has not waited.
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
        let shown = String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned();
        match self
            .shared
            .faults
            .meet(self.connection, EventKind::Line(shown))
        {
            None => Ok(Action::Go),
            Some(fault) => self.apply_fault(fault, line),
        }
    }

    /// Sends a tagged line.
    pub fn answer(&mut self, text: &str) -> Result<()> {
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
            if searched > LONGEST_LINE {
                return Err(Disconnected);
            }
            self.fill()?;
        }
    }

    /// So many octets of the client.
    pub fn read_octets(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.received.len() < count {
            self.fill()?;
        }
        let rest = self.received.split_off(count);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// Says whether the client has said something, after waiting for it no longer than this.
    pub fn has_input(&mut self, patience: Duration) -> Result<bool> {
        if self.received.is_empty() {
            self.flush()?;
            self.poll(patience)?;
        }
        Ok(!self.received.is_empty())
    }

    /// Sends what was collected.
    pub fn flush(&mut self) -> Result<()> {
        let outgoing = std::mem::take(&mut self.outgoing);
        if !outgoing.is_empty() {
            self.has_spoken = true;
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

    /// Decides that the connection is to be closed after what was said.
    pub fn close(&mut self) -> Disconnected {
        self.end_by(Ending::Orderly)
    }

    /// Decides that the connection breaks here.
    pub fn break_off(&mut self) -> Disconnected {
        let _ = self.flush();
        self.end_by(Ending::Eof)
    }

    fn end_by(&mut self, ending: Ending) -> Disconnected {
        self.ending = ending;
        Disconnected
    }

    /// Ends the connection the way it was decided. The client learns of the end here and not
    /// before, so that what the end causes at the server has happened by then.
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
        let is_full = self.outgoing.len() > FULL_BUFFER;
        if is_full || self.shared.pacing() != Pacing::Together {
            self.flush()?;
        }
        Ok(())
    }

    fn apply_fault(&mut self, fault: Fault, line: &[u8]) -> Result<Action> {
        // What was said before the event has arrived when it happens.
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
            Fault::Run(what) => {
                what(&self.shared.mailboxes());
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
        if self.has_spoken {
            self.has_spoken = false;
            self.shared.count_round_trip();
            thread::sleep(self.shared.one_way_delay());
        }
        self.received.extend_from_slice(octets);
    }

    /// Reads what has come, waiting no longer than this for it.
    fn poll(&mut self, patience: Duration) -> Result<()> {
        let is_impatient = patience.is_zero();
        self.tcp
            .set_nonblocking(is_impatient)
            .map_err(|_| Disconnected)?;
        let limit = Some(patience).filter(|_| !is_impatient);
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

    /// Closes our half, and swallows what the client still sends.
    fn hang_up(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
        let _ = self.tcp.set_read_timeout(Some(Duration::from_millis(50)));
        let deadline = Instant::now() + LAST_WORDS;
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
