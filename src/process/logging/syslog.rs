//! The syslog daemon of this host as a target of the log.
//!
//! A daemon that is restarted binds its socket anew: on an error the socket is opened again and the
//! line is sent once more. A daemon that hangs delays one line, not each of them.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use chrono::Local;
use log::Level;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use crate::timeouts::SYSLOG_TIMEOUT;

/// Where daemons bind their socket, as the syslog crate searches it.
const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// rsyslog cuts a record after 8 KiB; this leaves room for the host name that it adds.
const MAX_RECORD: usize = 8000;

/// Sends log lines to the syslog daemon.
pub(super) struct SyslogWriter {
    sockets: Vec<PathBuf>,
    connection: Mutex<SyslogConnection>,
}

struct SyslogConnection {
    /// `None` after an error.
    logger: Option<Logger<LoggerBackend, Rfc3164>>,
    /// The daemon did not take a line in time: until it takes one, no line waits for it.
    is_stalled: bool,
}

impl SyslogWriter {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// No daemon answers.
    pub fn open() -> io::Result<SyslogWriter> {
        SyslogWriter::open_first_of(SOCKETS.map(PathBuf::from).to_vec())
    }

    fn open_first_of(sockets: Vec<PathBuf>) -> io::Result<SyslogWriter> {
        let connection = SyslogConnection {
            logger: Some(open_logger(&sockets, false)?),
            is_stalled: false,
        };
        Ok(SyslogWriter {
            sockets,
            connection: Mutex::new(connection),
        })
    }

    /// Sends a line.
    ///
    /// # Errors
    /// The line is lost: the daemon is gone, or does not read.
    pub fn send(&self, level: Level, message: &str) -> io::Result<()> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if connection.send(level, message).is_ok() {
            return Ok(());
        }
        connection.logger = Some(open_logger(&self.sockets, connection.is_stalled)?);
        connection.send(level, message)
    }
}

impl SyslogConnection {
    /// Sends a line over the open socket, and closes it after an error.
    fn send(&mut self, level: Level, message: &str) -> io::Result<()> {
        let Some(logger) = &mut self.logger else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let Err(error) = send_record(logger, level, message) else {
            if self.is_stalled {
                set_nonblocking(&logger.backend, false)?;
                self.is_stalled = false;
            }
            return Ok(());
        };
        if let Some(logger) = self.logger.take() {
            close(logger.backend);
        }
        self.is_stalled |= error.kind() == io::ErrorKind::WouldBlock;
        Err(explain(error))
    }
}

fn send_record(
    logger: &mut Logger<LoggerBackend, Rfc3164>,
    level: Level,
    message: &str,
) -> io::Result<()> {
    let sent = match level {
        Level::Error => logger.err(message),
        Level::Warn => logger.warning(message),
        Level::Info => logger.info(message),
        Level::Debug | Level::Trace => logger.debug(message),
    };
    sent.map_err(|error| match error {
        syslog::Error::Io(error) | syslog::Error::Write(error) => error,
        syslog::Error::Initialization(error) => io::Error::other(error),
    })
}

/// Closes a socket without the last attempt of `BufWriter` to send what remains: it could wait, and a
/// part of a record is of no use.
fn close(backend: LoggerBackend) {
    if let LoggerBackend::UnixStream(stream) = backend {
        drop(stream.into_parts());
    }
}

fn set_nonblocking(backend: &LoggerBackend, nonblocking: bool) -> io::Result<()> {
    match backend {
        LoggerBackend::Unix(socket) => socket.set_nonblocking(nonblocking),
        LoggerBackend::UnixStream(stream) => stream.get_ref().set_nonblocking(nonblocking),
        LoggerBackend::Udp(..) | LoggerBackend::Tcp(_) => Ok(()),
    }
}

/// Connects to the first socket that exists. The crate's own function does the same, but a stream
/// whose daemon hangs could make it wait without end.
fn open_logger(
    sockets: &[PathBuf],
    is_stalled: bool,
) -> io::Result<Logger<LoggerBackend, Rfc3164>> {
    for path in sockets {
        let address = SocketAddrUnix::new(path.as_path())?;
        let backend = match open_socket(SocketType::DGRAM, &address, is_stalled) {
            Ok(socket) => LoggerBackend::Unix(UnixDatagram::from(socket)),
            Err(Errno::NOENT) => continue,
            Err(Errno::PROTOTYPE) => {
                let socket = open_socket(SocketType::STREAM, &address, is_stalled)
                    .map_err(|error| failed_at(path, error))?;
                LoggerBackend::UnixStream(BufWriter::new(UnixStream::from(socket)))
            }
            Err(error) => return Err(failed_at(path, error)),
        };
        return Ok(Logger::new(backend, Rfc3164));
    }
    let searched = sockets.iter().map(|path| path.display().to_string());
    let searched = searched.collect::<Vec<_>>().join(", ");
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("there is no socket; searched: {searched}"),
    ))
}

fn failed_at(path: &std::path::Path, error: Errno) -> io::Error {
    let error = explain(error.into());
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A connected socket. Connecting and sending wait for `SYSLOG_TIMEOUT` at most, or not at all.
fn open_socket(
    kind: SocketType,
    address: &SocketAddrUnix,
    is_stalled: bool,
) -> Result<OwnedFd, Errno> {
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, is_stalled);
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(SYSLOG_TIMEOUT))?;
    connect(&socket, address)?;
    Ok(socket)
}

/// Says what a time-out means, which the system calls "Resource temporarily unavailable".
fn explain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::new(io::ErrorKind::TimedOut, "the syslog daemon does not read");
    }
    error
}

/// The format of RFC 3164 for the local socket, which is without host name. `Formatter3164` of the
/// crate writes the day of the month in another form, and the time in UTC.
struct Rfc3164;

impl LogFormat<&str> for Rfc3164 {
    fn format<W: Write>(
        &self,
        writer: &mut W,
        severity: Severity,
        message: &str,
    ) -> syslog::Result<()> {
        let priority = Facility::LOG_MAIL as u8 | severity as u8;
        let time = Local::now().format("%b %e %H:%M:%S");
        let (program, pid) = (env!("CARGO_PKG_NAME"), std::process::id());
        let record = format!("<{priority}>{time} {program}[{pid}]: {message}");
        // Each call is a record.
        write!(writer, "{}", truncate(&record)).map_err(syslog::Error::Write)
    }
}

/// The record with at most `MAX_RECORD` octets, and `…` where something is cut off.
fn truncate(record: &str) -> Cow<'_, str> {
    const CUT: &str = "…";
    if record.len() <= MAX_RECORD {
        return Cow::Borrowed(record);
    }
    let end = record.floor_char_boundary(MAX_RECORD - CUT.len());
    let kept = record.get(..end).unwrap_or_default();
    Cow::Owned(format!("{kept}{CUT}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        (folder, path)
    }

    fn open(path: &Path) -> SyslogWriter {
        SyslogWriter::open_first_of(vec![path.to_owned()]).unwrap()
    }

    fn receive(daemon: &UnixDatagram) -> String {
        let mut octets = [0; 10_000];
        daemon
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let length = daemon.recv(&mut octets).unwrap();
        String::from_utf8(octets[..length].to_vec()).unwrap()
    }

    /// The message of a record.
    fn message(record: &str) -> &str {
        record.split_once("]: ").unwrap().1
    }

    /// Sends lines until the daemon takes no more; returns how many it took.
    fn fill(writer: &SyslogWriter, line: &str) -> usize {
        let sent = (0..10_000).take_while(|_| writer.send(Level::Info, line).is_ok());
        let sent = sent.count();
        assert!(sent < 10_000);
        sent
    }

    #[test]
    fn a_record_has_priority_local_time_program_and_pid() {
        let (_folder, path) = folder();
        let daemon = UnixDatagram::bind(&path).unwrap();
        let writer = open(&path);
        for (level, priority) in [
            (Level::Error, 19),
            (Level::Warn, 20),
            (Level::Info, 22),
            (Level::Debug, 23),
            (Level::Trace, 23),
        ] {
            let before = Local::now().naive_local();
            writer.send(level, "copied <a@x>").unwrap();
            let after = Local::now().naive_local();
            let record = receive(&daemon);
            let times: Vec<String> = [before, after]
                .iter()
                .map(|time| {
                    let day = format!("{:>2}", time.format("%-d").to_string());
                    format!("{} {day} {}", time.format("%b"), time.format("%T"))
                })
                .collect();
            let pid = std::process::id();
            let expected = times
                .iter()
                .map(|time| format!("<{priority}>{time} imap-to-gmail-sync[{pid}]: copied <a@x>"));
            assert!(expected.clone().any(|it| it == record), "{record:?}");
        }
    }

    #[test]
    fn a_daemon_that_is_restarted_loses_no_later_line() {
        let (_folder, path) = folder();
        let mut daemon = UnixDatagram::bind(&path).unwrap();
        let writer = open(&path);
        for number in 0..3 {
            let line = format!("line {number}");
            writer.send(Level::Info, &line).unwrap();
            assert_eq!(message(&receive(&daemon)), line);
            drop(daemon);
            std::fs::remove_file(&path).unwrap();
            assert!(writer.send(Level::Info, "while it is down").is_err());
            daemon = UnixDatagram::bind(&path).unwrap();
        }
    }

    /// A daemon that is restarted between two lines costs none.
    #[test]
    fn a_line_is_sent_once_more_over_a_new_socket() {
        let (_folder, path) = folder();
        let daemon = UnixDatagram::bind(&path).unwrap();
        let writer = open(&path);
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        writer.send(Level::Info, "after").unwrap();
        assert_eq!(message(&receive(&daemon)), "after");
        daemon.set_nonblocking(true).unwrap();
        assert!(daemon.recv(&mut [0; 10]).is_err());
    }

    #[test]
    fn a_daemon_that_hangs_delays_one_line() {
        let (_folder, path) = folder();
        let daemon = UnixDatagram::bind(&path).unwrap();
        let writer = open(&path);
        let begin = Instant::now();
        let sent = fill(&writer, "x");
        assert!(begin.elapsed() >= SYSLOG_TIMEOUT, "it did not wait");
        let begin = Instant::now();
        for _ in 0..100 {
            let error = writer.send(Level::Info, "lost").unwrap_err();
            assert_eq!(error.to_string(), "the syslog daemon does not read");
        }
        assert!(begin.elapsed() < SYSLOG_TIMEOUT * 10, "it waits again");
        for _ in 0..sent {
            assert_eq!(message(&receive(&daemon)), "x");
        }
        writer.send(Level::Info, "again").unwrap();
        assert_eq!(message(&receive(&daemon)), "again");
        // From now on a line waits again.
        let begin = Instant::now();
        fill(&writer, "x");
        assert!(begin.elapsed() >= SYSLOG_TIMEOUT, "it did not wait");
    }

    #[test]
    fn a_stream_has_a_nul_after_each_record_and_is_opened_anew() {
        let (_folder, path) = folder();
        let mut daemon = UnixListener::bind(&path).unwrap();
        let writer = open(&path);
        for round in 0..2 {
            writer.send(Level::Info, "one").unwrap();
            writer.send(Level::Error, "two").unwrap();
            let (mut stream, _) = daemon.accept().unwrap();
            let mut octets = Vec::new();
            while octets.split(|octet| *octet == 0).count() < 3 {
                let mut part = [0; 100];
                let length = stream.read(&mut part).unwrap();
                octets.extend_from_slice(&part[..length]);
            }
            let records = String::from_utf8(octets).unwrap();
            let records: Vec<&str> = records.split('\0').collect();
            assert_eq!(message(records[0]), "one", "{round}");
            assert_eq!(message(records[1]), "two", "{round}");
            assert_eq!(records[2], "");
            drop((stream, daemon));
            std::fs::remove_file(&path).unwrap();
            daemon = UnixListener::bind(&path).unwrap();
        }
    }

    #[test]
    fn a_stream_whose_daemon_hangs_glues_no_records() {
        let (_folder, path) = folder();
        let daemon = UnixListener::bind(&path).unwrap();
        // One connection may wait to be accepted, and there is no other.
        rustix::net::listen(&daemon, 0).unwrap();
        let writer = open(&path);
        let line = "x".repeat(3001);
        let begin = Instant::now();
        let sent = fill(&writer, &line);
        assert!(begin.elapsed() >= SYSLOG_TIMEOUT, "it did not wait");
        let begin = Instant::now();
        for _ in 0..100 {
            writer.send(Level::Info, "lost").unwrap_err();
        }
        assert!(begin.elapsed() < SYSLOG_TIMEOUT * 10, "it waits again");
        let (mut stream, _) = daemon.accept().unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).unwrap();
        let records: Vec<&[u8]> = octets.split(|octet| *octet == 0).collect();
        for record in &records[..sent] {
            assert_eq!(message(std::str::from_utf8(record).unwrap()), line);
        }
        // The last record may be a part.
        assert_eq!(records.len(), sent + 1);
        writer.send(Level::Info, "again").unwrap();
        let (mut stream, _) = daemon.accept().unwrap();
        drop(writer);
        let mut record = String::new();
        stream.read_to_string(&mut record).unwrap();
        assert!(record.ends_with("]: again\0"), "{record:?}");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let (_folder, path) = folder();
        let daemon = UnixDatagram::bind(&path).unwrap();
        let writer = open(&path);
        for before in 0..3 {
            let line = "x".repeat(before) + &"€".repeat(1_000_000);
            writer.send(Level::Info, &line).unwrap();
            let record = receive(&daemon);
            assert!(record.ends_with("€…"), "{record:?}");
            assert!(record.len() <= MAX_RECORD && record.len() > MAX_RECORD - 3);
        }
        // The longest that is not cut.
        let head = "<22>Nov 28 14:00:00 imap-to-gmail-sync[]: ".len();
        let head = head + std::process::id().to_string().len();
        for (length, is_cut) in [(MAX_RECORD - head, false), (MAX_RECORD - head + 1, true)] {
            writer.send(Level::Info, &"x".repeat(length)).unwrap();
            let record = receive(&daemon);
            assert_eq!(record.len(), MAX_RECORD);
            assert_eq!(record.ends_with('…'), is_cut);
        }
    }

    #[test]
    fn an_error_names_the_sockets() {
        let (_folder, path) = folder();
        let other = path.with_extension("other");
        let open = |paths: &[&Path]| {
            let sockets = paths.iter().map(|path| path.to_path_buf()).collect();
            SyslogWriter::open_first_of(sockets).map(drop)
        };
        let error = open(&[&path, &other]).unwrap_err().to_string();
        let (first, second) = (path.display(), other.display());
        assert_eq!(
            error,
            format!("there is no socket; searched: {first}, {second}")
        );
        // Its daemon is gone.
        drop(UnixDatagram::bind(&path).unwrap());
        let error = open(&[&path, &other]).unwrap_err().to_string();
        assert_eq!(error, format!("{first}: Connection refused (os error 111)"));
        let _daemon = UnixDatagram::bind(&other).unwrap();
        std::fs::remove_file(&path).unwrap();
        open(&[&path, &other]).unwrap();
    }
}
