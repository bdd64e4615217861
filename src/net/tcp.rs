//! A TCP stream whose reads and writes end at a deadline.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};

use crate::config::{Server, TlsMode};
use crate::error::{ErrorKind, Result};
use crate::net::ConnectionOptions;
use crate::process::cancel::{Canceller, WaitResult, WakeOn, cancelled_error};
use crate::timeouts::{NAME_LOOKUP_TIMEOUT, Timeouts};

/// Keep-alive probes without an answer after which the system drops the connection.
const KEEPALIVE_PROBES: u32 = 6;

/// How often what has arrived is read before a connection is closed: a peer that sends on and on is not
/// waited for.
const MAX_DROPPED_READS: u32 = 64;

/// A TCP stream whose reads and writes end at one deadline.
///
/// A time-out for each read would not do: TLS reads a record in many small reads, and a peer that
/// sends an octet now and then could make them add up to days.
#[derive(Debug)]
pub(crate) struct TcpSocket {
    tcp: TcpStream,
    options: ConnectionOptions,
    deadline: Instant,
    blocking: bool,
}

impl TcpSocket {
    /// Connects to the first address of the server that accepts, IPv6 or IPv4.
    ///
    /// # Errors
    /// The name is unknown, no address accepts, or plain text is configured for another host than
    /// this one.
    pub(crate) fn connect(server: &Server, options: &ConnectionOptions) -> Result<TcpSocket> {
        let mut failures = Vec::new();
        for address in resolve(server, options)? {
            match connect(&address, options) {
                Ok(tcp) => {
                    if let Some(recorder) = &options.recorder {
                        recorder.connected(address);
                    }
                    return Ok(TcpSocket::new(tcp, options));
                }
                Err(error) => {
                    failures.push(format!("{}: {}", address.ip(), describe_io_error(&error)));
                }
            }
        }
        let error = options.error(server, ErrorKind::Unavailable, failures.join(", "));
        Err(error
            .during("connecting")
            .remedy("check that the server runs, and that its name and port are right"))
    }

    fn new(tcp: TcpStream, options: &ConnectionOptions) -> TcpSocket {
        // Commands are small, and each is waited for. The socket works without these options, too.
        let _ = tcp.set_nodelay(true);
        let _ = set_silence_timeouts(&tcp, options.timeouts);
        TcpSocket {
            tcp,
            options: options.clone(),
            deadline: Instant::now() + options.timeouts.response,
            blocking: true,
        }
    }

    /// Sets the deadline of the reads and writes that follow.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.blocking = true;
    }

    /// Makes reads fail with [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing to
    /// read, until a deadline is set.
    pub(crate) fn set_nonblocking(&mut self) {
        self.blocking = false;
    }

    /// Waits at most until this moment for something to read; a wake-up ends the wait.
    pub(crate) fn wait_readable(&self, until: Instant) -> io::Result<WaitResult> {
        let socket = Some((self.tcp.as_fd(), PollFlags::IN));
        self.options
            .canceller
            .wait(socket, until, WakeOn::WakeOrCancel)
    }

    /// Ends the stream, and drops what has arrived: the system resets a connection that is closed with
    /// octets to read, and a reset may overtake what was sent last.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)?;
        let mut dropped = [0; 16 * 1024];
        for _ in 0..MAX_DROPPED_READS {
            match self.tcp.read(&mut dropped) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Reads or writes, as often as it is interrupted or the socket was not ready.
    fn transfer(
        &mut self,
        flags: PollFlags,
        mut action: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Writing always waits: TLS may have to write during a read.
        let may_wait = self.blocking || flags == PollFlags::OUT;
        let began = Instant::now();
        let mut has_waited = false;
        let deadline = limited_by_silence(began, self.deadline, &self.options);
        loop {
            self.check_deadline()?;
            match action(&mut self.tcp) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && may_wait => {
                    let canceller = &self.options.canceller;
                    wait_ready(canceller, self.tcp.as_fd(), flags, deadline)
                        .inspect_err(|error| record_silence(error, began, &self.options))?;
                    has_waited = true;
                }
                Ok(octets) => {
                    // What is written at once shows nothing: the system takes it.
                    let shows_life = octets > 0 && (flags == PollFlags::IN || has_waited);
                    self.record_transfer(octets, shows_life);
                    return Ok(octets);
                }
                result => return result,
            }
        }
    }

    fn record_transfer(&self, octets: usize, shows_life: bool) {
        self.options.octets.add(octets);
        if shows_life && let Some(silence) = &self.options.silence {
            silence.end();
        }
    }

    fn check_deadline(&self) -> io::Result<()> {
        if self.options.canceller.is_cancelled() {
            return Err(cancelled_error());
        }
        if self.blocking && self.deadline <= Instant::now() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Read for TcpSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.transfer(PollFlags::IN, |tcp| tcp.read(into))
    }
}

impl Write for TcpSocket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.transfer(PollFlags::OUT, |tcp| tcp.write(octets))
    }

    /// TLS hands over several records at once.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.transfer(PollFlags::OUT, |tcp| tcp.write_vectored(parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Connects without blocking, so that it can be cancelled.
fn connect(address: &SocketAddr, options: &ConnectionOptions) -> io::Result<TcpStream> {
    use rustix::io::Errno;
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => return Ok(socket.into()),
        Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let began = Instant::now();
    let until = limited_by_silence(began, began + options.timeouts.connect, options);
    wait_ready(&options.canceller, socket.as_fd(), PollFlags::OUT, until)
        .inspect_err(|error| record_silence(error, began, options))?;
    sockopt::socket_error(&socket)??;
    Ok(socket.into())
}

fn limited_by_silence(began: Instant, deadline: Instant, options: &ConnectionOptions) -> Instant {
    match &options.silence {
        Some(silence) => silence.limit(began, deadline, options.timeouts.total_silence),
        None => deadline,
    }
}

fn record_silence(error: &io::Error, began: Instant, options: &ConnectionOptions) {
    if let Some(silence) = &options.silence
        && error.kind() == io::ErrorKind::TimedOut
    {
        silence.record_timeout(began, Instant::now());
    }
}

/// Waits until the socket is ready; a time-out and a cancellation are errors.
fn wait_ready(
    canceller: &Canceller,
    socket: BorrowedFd<'_>,
    flags: PollFlags,
    until: Instant,
) -> io::Result<()> {
    match canceller.wait(Some((socket, flags)), until, WakeOn::CancelOnly)? {
        WaitResult::Ready => Ok(()),
        WaitResult::Cancelled => Err(cancelled_error()),
        WaitResult::Elapsed | WaitResult::Woken => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Makes the system drop a connection whose peer vanished, as behind a router that forgot it: by
/// TCP keep-alive while nothing is sent (RFC 9293 3.8.4), and by a user time-out while sent data is
/// not acknowledged (RFC 5482).
fn set_silence_timeouts(tcp: &TcpStream, timeouts: Timeouts) -> io::Result<()> {
    let half = timeouts.silence / 2;
    let whole_seconds = |time: Duration| Duration::from_secs(time.as_secs().max(1));
    sockopt::set_tcp_keepidle(tcp, whole_seconds(half))?;
    sockopt::set_tcp_keepintvl(tcp, whole_seconds(half / KEEPALIVE_PROBES))?;
    sockopt::set_tcp_keepcnt(tcp, KEEPALIVE_PROBES)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    let milliseconds = u32::try_from(timeouts.silence.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(tcp, milliseconds)?)
}

/// Resolves the server's name. For plain text, every address must be a loopback one.
fn resolve(server: &Server, options: &ConnectionOptions) -> Result<Vec<SocketAddr>> {
    let unavailable = |what: &str| options.error(server, ErrorKind::Unavailable, what);
    let failed =
        |error: io::Error| unavailable(&describe_io_error(&error)).during("looking up its address");
    let name = (server.host.clone(), server.port);
    let look_up = move || name.to_socket_addrs().map(Iterator::collect);
    let until = Instant::now() + NAME_LOOKUP_TIMEOUT;
    let looked_up = options.canceller.run_blocking(until, look_up);
    let looked_up: io::Result<Vec<SocketAddr>> = looked_up.map_err(failed)?;
    let addresses = looked_up
        .map_err(|error| failed(error).remedy("check the name, and this host's network"))?;
    if addresses.is_empty() {
        return Err(unavailable("the name has no address"));
    }
    if let Some(recorder) = &options.recorder {
        recorder.resolved(&addresses);
    }
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    if server.tls == TlsMode::None && !is_local {
        let what = "plain text is for this host only";
        let error = options.error(server, ErrorKind::Config, what);
        return Err(error.remedy("set the TLS field to \"implicit\" or \"starttls\""));
    }
    Ok(addresses)
}

/// Describes a socket error to the user; "it" is the server.
#[must_use]
pub fn describe_io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset",
        io::ErrorKind::UnexpectedEof => "it closed the connection",
        _ => return error.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::net::SharedSilence;

    /// Far longer than a test lasts: a wait that ends earlier was cancelled.
    const LONG: Duration = Duration::from_mins(5);

    fn options(timeouts: Duration) -> ConnectionOptions {
        ConnectionOptions {
            timeouts: Timeouts {
                connect: timeouts,
                response: timeouts,
                ..Timeouts::default()
            },
            canceller: Canceller::new().unwrap(),
            ..ConnectionOptions::default()
        }
    }

    /// A server that accepts no more connections, because its queue is full.
    fn full_server() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let soon = options(Duration::from_millis(200));
        let queued = std::iter::from_fn(|| connect(&address, &soon).ok()).collect();
        (listener, address, queued)
    }

    #[test]
    fn connecting_ends_by_its_time_out_and_when_cancelled() {
        let (_listener, address, _queued) = full_server();
        let soon = options(Duration::from_millis(20));
        let late = connect(&address, &soon).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);

        let long = options(LONG);
        let canceller = long.canceller.clone();
        let connecting = thread::spawn(move || connect(&address, &long).unwrap_err());
        canceller.cancel_at(Instant::now() + Duration::from_millis(20));
        let error = connecting.join().unwrap();
        assert_eq!(describe_io_error(&error), "this program is exiting");
    }

    #[test]
    fn a_port_without_a_listener_refuses_the_connection() {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let error = connect(&address, &options(LONG)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn reading_and_writing_end_when_cancelled_however_long_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let long = options(LONG);
        let open = || TcpSocket::new(connect(&address, &long).unwrap(), &long);
        let (mut one, mut other) = (open(), open());
        let reading = thread::spawn(move || one.read(&mut [0; 10]).unwrap_err());
        let writing = thread::spawn(move || {
            // The peer reads nothing, so that writing blocks when all buffers are full.
            std::iter::repeat_with(|| other.write(&[0; 10_000]))
                .find_map(io::Result::err)
                .unwrap()
        });
        long.canceller
            .cancel_at(Instant::now() + Duration::from_millis(100));
        for error in [reading.join().unwrap(), writing.join().unwrap()] {
            assert_eq!(describe_io_error(&error), "this program is exiting");
        }
    }

    #[test]
    fn the_waits_of_connections_that_share_their_silence_end_together() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut shared = options(LONG);
        shared.silence = Some(SharedSilence::default());
        shared.timeouts.total_silence = Duration::from_millis(40);
        let open = || TcpSocket::new(connect(&address, &shared).unwrap(), &shared);
        let (mut one, mut other) = (open(), open());
        let (mut peer, _) = listener.accept().unwrap();
        let timed_out = |socket: &mut TcpSocket, time: Duration| {
            socket.set_deadline(Instant::now() + time);
            socket.read(&mut [0; 10]).unwrap_err().kind() == io::ErrorKind::TimedOut
        };
        assert!(timed_out(&mut one, Duration::from_millis(20)));
        assert!(timed_out(&mut other, LONG));
        // What has arrived is read all the same, and ends the silence.
        peer.write_all(b"octet").unwrap();
        one.set_deadline(Instant::now() + LONG);
        assert_eq!(one.read(&mut [0; 10]).unwrap(), 5);
        let long_after = Instant::now() + LONG;
        let silence = shared.silence.as_ref().unwrap();
        assert_eq!(silence.limit(long_after, long_after, LONG / 2), long_after);
        assert_eq!(shared.octets.count(), 5);
    }

    #[test]
    fn every_connection_has_time_outs_for_a_silent_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let options = ConnectionOptions::default();
        let socket = TcpSocket::new(connect(&address, &options).unwrap(), &options);
        assert!(sockopt::socket_keepalive(&socket.tcp).unwrap());
        let idle = sockopt::tcp_keepidle(&socket.tcp).unwrap();
        let interval = sockopt::tcp_keepintvl(&socket.tcp).unwrap();
        assert_eq!((idle.as_secs(), interval.as_secs()), (60, 10));
        assert_eq!(sockopt::tcp_keepcnt(&socket.tcp).unwrap(), 6);
        assert_eq!(sockopt::tcp_user_timeout(&socket.tcp).unwrap(), 120_000);
    }
}
