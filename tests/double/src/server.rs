//! The listener, its connections, and their shared state.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::claimed::ClaimedMail;
use crate::clock::Clock;
use crate::events::{Event, EventKind};
use crate::faults::Faults;
use crate::gmail::GmailState;
use crate::mailboxes::Mailboxes;
use crate::quirks::Quirks;
use crate::session::Session;
use crate::source::SourceOptions;
use crate::store::Store;
use crate::tls::{Certificate, Identity};
use crate::wire::{Disconnected, Pacing, Result, Wire};

/// The kind of server.
pub(crate) enum Role {
    Source(Box<Mutex<SourceOptions>>),
    Gmail(Box<GmailState>),
}

/// The state that all connections of a server share.
pub(crate) struct Shared {
    pub role: Role,
    pub clock: Clock,
    pub faults: Faults,
    pub identity: Identity,
    store: Mutex<Store>,
    pacing: Mutex<Pacing>,
    sockets: Mutex<HashMap<usize, TcpStream>>,
    violations: Mutex<Vec<String>>,
    stopping: AtomicBool,
    connections: AtomicUsize,
    round_trips: AtomicUsize,
    round_trip: Mutex<Duration>,
}

impl Shared {
    pub fn new(role: Role, clock: Clock, certificate: &Certificate, store: Store) -> Arc<Shared> {
        Arc::new(Shared {
            role,
            clock,
            faults: Faults::default(),
            identity: Identity::new(certificate),
            store: Mutex::new(store),
            pacing: Mutex::default(),
            sockets: Mutex::default(),
            violations: Mutex::default(),
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            round_trips: AtomicUsize::new(0),
            round_trip: Mutex::default(),
        })
    }

    /// The messages, including those whose delayed storing is due.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        let mut store = self.store.lock().unwrap();
        store.store_due(self.clock.now());
        store
    }

    /// A handle to the messages.
    pub fn mailboxes(self: &Arc<Self>) -> Mailboxes {
        Mailboxes::new(self.clone())
    }

    pub fn gmail(&self) -> Option<&GmailState> {
        match &self.role {
            Role::Gmail(state) => Some(state),
            Role::Source(_) => None,
        }
    }

    /// The options of a plain source.
    pub fn source(&self) -> Option<MutexGuard<'_, SourceOptions>> {
        match &self.role {
            Role::Source(options) => Some(options.lock().unwrap()),
            Role::Gmail(_) => None,
        }
    }

    /// What INBOX of a plain source claims to hold.
    pub fn claimed(&self) -> Option<ClaimedMail> {
        self.source()?.claimed
    }

    /// The quirks of this server.
    pub fn quirks(&self) -> Quirks {
        self.source()
            .map_or_else(Quirks::new, |options| options.quirks.clone())
    }

    pub fn pacing(&self) -> Pacing {
        *self.pacing.lock().unwrap()
    }

    /// The delay of a packet in either direction.
    pub fn one_way_delay(&self) -> Duration {
        *self.round_trip.lock().unwrap() / 2
    }

    /// Counts a round trip: the client sent something after a response.
    pub fn count_round_trip(&self) {
        self.round_trips.fetch_add(1, Ordering::SeqCst);
    }

    /// Records that the client broke the protocol.
    pub fn violation(&self, what: impl Into<String>) {
        self.violations.lock().unwrap().push(what.into());
    }

    /// Fails once the server is stopping.
    pub fn check_running(&self) -> Result<()> {
        if self.stopping.load(Ordering::SeqCst) {
            Err(Disconnected)
        } else {
            Ok(())
        }
    }

    /// Drops the second handle of a connection's socket, so that closing the other one closes it.
    pub fn forget(&self, connection: usize) {
        self.sockets.lock().unwrap().remove(&connection);
    }

    fn close_all(&self) {
        for socket in self.sockets.lock().unwrap().values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A running server. Dropping stops it, and panics if there are violations that no test has taken.
pub struct Server {
    shared: Arc<Shared>,
    port: u16,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(shared: Arc<Shared>) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = Server {
            shared,
            port,
            listener: None,
        };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        self.shared.stopping.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        self.listener = Some(thread::spawn(move || listen(&listener, &shared)));
    }

    /// Closes the port and every connection, and keeps the messages, as a server that is down.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.close_all();
        if let Some(listener) = self.listener.take() {
            // A last connection wakes the listener.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
            let _ = listener.join();
        }
    }

    /// Opens the same port again after `stop`.
    pub fn restart(&mut self) {
        self.stop();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        self.serve(listener);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate that clients must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.shared.identity.ca_pem
    }

    /// The server's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The faults to inject.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The events of all connections so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.shared.faults.record()
    }

    /// The round trips so far: how often a client sent something after a response.
    pub fn round_trips(&self) -> usize {
        self.shared.round_trips.load(Ordering::SeqCst)
    }

    /// Simulates a network with this round-trip time.
    pub fn set_round_trip(&self, time: Duration) {
        *self.shared.round_trip.lock().unwrap() = time;
    }

    /// The commands received so far, without their tags: `NOOP`, `UID FETCH 1:* (UID)`.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let events = self.events().into_iter();
        let lines = events.filter_map(|event| match event.kind {
            EventKind::Command { line, .. } => Some(line),
            _ => None,
        });
        lines.collect()
    }

    /// The number of connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.count(|event| event.kind == EventKind::Connected)
    }

    /// The number of successful log-ins so far.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.count(|event| matches!(event.kind, EventKind::LoggedIn(_)))
    }

    /// Waits until at most this many connections are open, so that what clients sent before they closed
    /// theirs is in the record: a client that logs out does not wait for the server.
    pub fn wait_until_open(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.open_connections() > count {
            assert!(Instant::now() < deadline, "a connection stays open");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The number of connections that are open.
    pub fn open_connections(&self) -> usize {
        self.shared.sockets.lock().unwrap().len()
    }

    /// Sets how lines are cut into packets.
    pub fn set_pacing(&self, pacing: Pacing) {
        *self.shared.pacing.lock().unwrap() = pacing;
    }

    /// Closes every open connection, as a server that restarts.
    pub fn disconnect(&self) {
        self.shared.close_all();
    }

    /// A handle to the mailboxes that is independent of the server's lifetime.
    #[must_use]
    pub fn mailboxes(&self) -> Mailboxes {
        self.shared.mailboxes()
    }

    /// Takes the violations so far: dropping the server does not panic for them.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.violations.lock().unwrap())
    }

    fn count(&self, is_counted: impl Fn(&Event) -> bool) -> usize {
        let events = self.events();
        events.iter().filter(|event| is_counted(event)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        self.shared.faults.clear();
        let violations = self.take_violations();
        assert!(
            violations.is_empty() || thread::panicking(),
            "the client broke the protocol: {violations:#?}"
        );
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut sessions = Vec::new();
    while let Ok((socket, _)) = listener.accept() {
        if shared.check_running().is_err() {
            break;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let second = socket.try_clone().unwrap();
        shared.sockets.lock().unwrap().insert(number, second);
        let shared_by_thread = shared.clone();
        sessions.push(thread::spawn(move || {
            let wire = Wire::new(socket, shared_by_thread.clone(), number);
            Session::new(wire, shared_by_thread).run();
        }));
    }
    // A connection may have been accepted after the others were closed.
    shared.close_all();
    for session in sessions {
        let _ = session.join();
    }
}
