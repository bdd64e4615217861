//! A TCP proxy that adds a round trip time, and limits no bandwidth.
//!
//! Each direction has a thread that reads and a thread that writes: a chunk is written half a round trip
//! after it was read, whatever is still on its way behind it. The handshake of TCP is not delayed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The octets that are read at once, at most.
const CHUNK: usize = 64 * 1024;

/// The chunks that may be on their way in one direction: 64 MB, more than 50 ms of a line of 10 Gbit/s.
const CHUNKS_IN_FLIGHT: usize = 1_024;

/// A running proxy in front of one port; dropping stops it, and leaves open connections alone.
pub struct DelayProxy {
    address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

/// Octets with the time to write them.
type Chunk = (Instant, Vec<u8>);

impl DelayProxy {
    pub fn start(server: u16, round_trip: Duration) -> DelayProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let listener = std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if let (Ok(client), Ok(server)) =
                    (client, TcpStream::connect(("127.0.0.1", server)))
                {
                    join(&client, &server, round_trip / 2);
                }
            }
        });
        DelayProxy {
            address,
            is_stopped,
            listener: Some(listener),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for DelayProxy {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // The listener notices with the next connection.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// Copies octets between two streams in both directions.
fn join(client: &TcpStream, server: &TcpStream, delay: Duration) {
    for (from, to) in [(client, server), (server, client)] {
        let (from, to) = (clone(from), clone(to));
        let (sender, receiver) = sync_channel(CHUNKS_IN_FLIGHT);
        std::thread::spawn(move || read(from, &sender, delay));
        std::thread::spawn(move || write(to, &receiver));
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.try_clone().expect("a free file descriptor")
}

/// Reads until the end; the end itself arrives as late as octets do.
fn read(mut from: TcpStream, to: &SyncSender<Chunk>, delay: Duration) {
    let mut buffer = vec![0; CHUNK];
    loop {
        // A client with Nagle's algorithm waits for this acknowledgement before it sends the end of a message.
        // The kernel would delay it by up to 40 ms, and forgets the option from time to time.
        let _ = rustix::net::sockopt::set_tcp_quickack(&from, true);
        let length = from.read(&mut buffer).unwrap_or(0);
        let chunk = (Instant::now() + delay, buffer[..length].to_vec());
        if to.send(chunk).is_err() || length == 0 {
            return;
        }
    }
}

fn write(mut to: TcpStream, from: &Receiver<Chunk>) {
    for (due, octets) in from {
        let now = Instant::now();
        if due > now {
            std::thread::sleep(due - now);
        }
        if octets.is_empty() || to.write_all(&octets).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// What the proxy does to a ping-pong, and to a transfer.
pub struct Proof {
    pub wanted: Duration,
    pub shortest: Duration,
    pub median: Duration,
    /// Of 64 MB, in MB/s.
    pub throughput: f64,
}

/// Measures a proxy in front of a server that returns each octet.
pub fn prove(round_trip: Duration) -> Proof {
    const PINGS: usize = 20;
    const OCTETS: usize = 64_000_000;
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = server.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    });
    let proxy = DelayProxy::start(port, round_trip);
    let mut stream = TcpStream::connect(proxy.address).expect("the proxy accepts");
    stream.set_nodelay(true).expect("TCP_NODELAY");

    let mut ping = || {
        let start = Instant::now();
        stream.write_all(b"x").expect("a ping");
        stream.read_exact(&mut [0]).expect("a pong");
        start.elapsed()
    };
    // The first one also waits for the connection to the server.
    ping();
    let mut times: Vec<Duration> = (0..PINGS).map(|_| ping()).collect();
    times.sort();

    let start = Instant::now();
    let mut writer = clone(&stream);
    let sender = std::thread::spawn(move || writer.write_all(&vec![b'x'; OCTETS]));
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    while received < OCTETS {
        received += stream.read(&mut buffer).expect("the octets come back");
    }
    sender.join().expect("no panic").expect("the octets go out");
    Proof {
        wanted: round_trip,
        shortest: times[0],
        median: times[times.len() / 2],
        throughput: OCTETS as f64 / 1e6 / start.elapsed().as_secs_f64(),
    }
}
