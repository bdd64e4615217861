//! A connection that the IMAP library reads and writes, and its owner as well, in turns.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::imap::Connection;

/// A handle to a connection. The library keeps one for its commands; with the other one IDLE and
/// what goes in one packet are done, which it cannot do.
#[derive(Debug, Clone)]
pub struct SharedConnection(Arc<Mutex<Connection>>);

impl SharedConnection {
    /// Shares a connection.
    #[must_use]
    pub fn new(connection: Connection) -> SharedConnection {
        SharedConnection(Arc::new(Mutex::new(connection)))
    }

    /// The connection, as long as nobody else uses it.
    pub fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for SharedConnection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.connection().read(into)
    }
}

impl Write for SharedConnection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.connection().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection().flush()
    }
}
