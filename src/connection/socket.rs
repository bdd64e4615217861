//! A TCP stream on which nothing waits past its deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::{Server, Tls};
use crate::error::{Error, Kind, Result};

use super::Patience;

/// A TCP stream whose every read and write ends at the deadline, however slowly the peer drips.
///
/// TLS reads a record in many small reads: a time-out for each would add up to days.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    deadline: Instant,
}

impl Socket {
    /// Connects to the first address of the server that answers, IPv6 and IPv4 alike.
    ///
    /// # Errors
    /// The name is unknown or no address answers; plain text is asked for to another host.
    pub(super) fn connect(server: &Server, place: &str, patience: Patience) -> Result<Socket> {
        let addresses = resolve(server, place)?;
        let mut refusals = Vec::new();
        for address in addresses {
            match TcpStream::connect_timeout(&address, patience.connect) {
                Ok(tcp) => return Ok(Socket::new(tcp, patience)),
                Err(error) => refusals.push(format!("{}: {}", address.ip(), reason(&error))),
            }
        }
        Err(Error::new(Kind::Unavailable, place, refusals.join(", "))
            .during("connecting")
            .remedy("check that the server runs, and that its name and port are right"))
    }

    fn new(tcp: TcpStream, patience: Patience) -> Socket {
        // Commands are small and each is waited for. A socket that refuses the option still works.
        let _ = tcp.set_nodelay(true);
        Socket {
            tcp,
            deadline: Instant::now() + patience.answer,
        }
    }

    /// Sets the moment after which no read or write succeeds.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// The time that is left, never zero: a socket takes zero for "for ever".
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.tcp.set_read_timeout(Some(self.left()?))?;
            match self.tcp.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(timed_out),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(octets).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// All addresses of the server; only loopback ones for plain text.
fn resolve(server: &Server, place: &str) -> Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = (server.host.as_str(), server.port)
        .to_socket_addrs()
        .map_err(|error| {
            Error::new(Kind::Unavailable, place, error)
                .during("looking its address up")
                .remedy("check the name, and this host's network")
        })?
        .collect();
    if addresses.is_empty() {
        return Err(Error::new(
            Kind::Unavailable,
            place,
            "the name has no address",
        ));
    }
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    if server.tls == Tls::None && !is_local {
        return Err(
            Error::new(Kind::Config, place, "plain text is for this host only")
                .remedy("set the TLS field to \"implicit\" or \"starttls\""),
        );
    }
    Ok(addresses)
}

/// A socket says `WouldBlock` when its time-out passes.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// What happened to a socket, in words for a person.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionRefused => "it refuses connections".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it broke the connection".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => error.to_string(),
    }
}
