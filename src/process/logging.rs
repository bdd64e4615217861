//! Log output: where lines go, in which form, and which ones.
//!
//! Levels: `error`: the user must act. `warn`: a message is parked, something is odd or retried.
//! `info`: a line for each copied message, and one for each run that did something. `debug`: each
//! step, the IMAP dialogue, and whose mail it is.

mod format;
pub mod log_file;
mod old_files;
mod output;
mod packing;
mod repeats;
mod repeats_file;
mod rotation;
mod stream;
mod syslog;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use log::{LevelFilter, Log, Metadata, Record};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::file_access;
use crate::process::logging::format::{LineFormat, LogLine};
use crate::process::logging::log_file::{LogFile, RotationLimits};
use crate::process::logging::output::{OpenTarget, Output};
use crate::process::logging::repeats_file::RepeatsFile;
use crate::process::logging::syslog::SyslogWriter;
use crate::untrusted::Untrusted;

pub(crate) use crate::process::logging::stream::StreamEnvironment;

/// What fails if a target cannot be opened, and the remedy.
pub(crate) const OPENING: &str = "opening the log";
pub(crate) const OTHER_TARGET: &str = "name another target with --log";

/// The remedy where no syslog daemon answers.
const NO_SYSLOG: &str = "start a syslog daemon, or use --log stderr or --log FILE";

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    Stderr,
    /// The syslog daemon of this host.
    Syslog,
    /// A file that is rotated.
    File(PathBuf),
}

/// Which lines are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing: the command itself prints what it finds.
    Off,
    /// Warnings and errors.
    Quiet,
    Normal,
    /// Every step, too.
    Debug,
}

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object on each line.
    Json,
}

/// The log as the command line describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub target: LogTarget,
    pub level: LogLevel,
    pub format: LogFormat,
    pub rotation: RotationLimits,
}

impl LogOptions {
    /// Text on standard error.
    pub fn to_stderr(level: LogLevel) -> LogOptions {
        LogOptions {
            target: LogTarget::Stderr,
            level,
            format: LogFormat::Text,
            rotation: RotationLimits {
                max_size: 0,
                max_files: 0,
            },
        }
    }
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            LogLevel::Off => LevelFilter::Off,
            LogLevel::Quiet => LevelFilter::Warn,
            LogLevel::Normal => LevelFilter::Info,
            LogLevel::Debug => LevelFilter::Debug,
        }
    }
}

/// The log that was started. Clones share it.
#[derive(Clone)]
pub(crate) struct LogHandle(Arc<LogWriter>);

/// Writes each record as one line.
struct LogWriter {
    output: Mutex<Output>,
    /// Whether the log file must be opened anew.
    reopen_requested: AtomicBool,
    without_progress_bar: Box<WithoutProgressBar>,
}

/// Calls its argument, which writes lines, while no progress bar is on the terminal.
type WithoutProgressBar = dyn Fn(&dyn Fn()) + Send + Sync;

/// Starts to log. `without_progress_bar` calls its argument, which writes a line, while no progress
/// bar is on the terminal. In `runtime_directory`, the repeated lines are kept for the next process.
///
/// # Errors
/// The log file cannot be opened, or no syslog daemon answers: [`ErrorKind::Disk`].
pub(crate) fn start(
    options: &LogOptions,
    streams: StreamEnvironment<'_>,
    runtime_directory: Option<&Path>,
    without_progress_bar: impl Fn(&dyn Fn()) + Send + Sync + 'static,
) -> Result<LogHandle> {
    let format = line_format(options, streams);
    let repeats_file = runtime_directory.map(RepeatsFile::load);
    let output = Output::new(open(options)?, format, repeats_file);
    let handle = LogHandle(Arc::new(LogWriter {
        output: Mutex::new(output),
        reopen_requested: AtomicBool::new(false),
        without_progress_bar: Box::new(without_progress_bar),
    }));
    fern::Dispatch::new()
        .level(LevelFilter::Off)
        .level_for(env!("CARGO_CRATE_NAME"), options.level.filter())
        .chain(Box::new(handle.clone()) as Box<dyn Log>)
        .apply()
        .map_err(|error| {
            Error::new(Side::Host, ErrorKind::Internal, "log", error).during("starting to log")
        })?;
    Ok(handle)
}

/// Whether a line that is logged to this target appears where standard error is.
pub(crate) fn is_seen_on_stderr(target: &LogTarget) -> bool {
    match target {
        LogTarget::Stderr => true,
        LogTarget::Stdout => stream::is_same_file(),
        LogTarget::Syslog => false,
        LogTarget::File(path) => stream::is_stderr(path),
    }
}

fn line_format(options: &LogOptions, streams: StreamEnvironment<'_>) -> LineFormat {
    match (options.format, &options.target) {
        (LogFormat::Json, _) => LineFormat::Json,
        (LogFormat::Text, LogTarget::Syslog) => LineFormat::Plain,
        (LogFormat::Text, LogTarget::File(_)) => LineFormat::Timed,
        (LogFormat::Text, LogTarget::Stdout) => streams.text_format(&io::stdout()),
        (LogFormat::Text, LogTarget::Stderr) => streams.text_format(&io::stderr()),
    }
}

fn open(options: &LogOptions) -> Result<OpenTarget> {
    let failed = |place: &dyn Display, error: io::Error, remedy: &str| {
        let remedy = file_access::remedy(&error).unwrap_or(remedy).to_owned();
        Error::new(Side::Host, ErrorKind::Disk, place, error)
            .during(OPENING)
            .remedy(remedy)
    };
    match &options.target {
        LogTarget::Stdout => OpenTarget::stream(&io::stdout())
            .map_err(|error| failed(&"standard output", error, OTHER_TARGET)),
        LogTarget::Stderr => OpenTarget::stream(&io::stderr())
            .map_err(|error| failed(&"standard error", error, OTHER_TARGET)),
        LogTarget::Syslog => SyslogWriter::open()
            .map(OpenTarget::Syslog)
            .map_err(|error| failed(&"syslog", error, NO_SYSLOG)),
        LogTarget::File(path) => LogFile::open(path, options.rotation)
            .map(OpenTarget::File)
            .map_err(|error| failed(&Untrusted::path(path), error, OTHER_TARGET)),
    }
}

impl LogHandle {
    /// Writes what is still to be said at the end of the run. Returns what cannot be written: that lines
    /// were lost.
    pub fn finish(&self) -> Option<String> {
        let LogHandle(writer) = self;
        writer.output().finish()
    }

    /// Opens a log file anew: logrotate has renamed it. Never waits for a line that is being written:
    /// the next one is written after the file is opened.
    pub fn reopen(&self) {
        let LogHandle(writer) = self;
        writer.reopen_requested.store(true, Ordering::SeqCst);
        if let Ok(output) = writer.output.try_lock() {
            writer.reopen_if_requested(&output);
        }
    }
}

impl LogWriter {
    fn output(&self) -> MutexGuard<'_, Output> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        self.reopen_if_requested(&output);
        output
    }

    fn reopen_if_requested(&self, output: &Output) {
        if self.reopen_requested.swap(false, Ordering::SeqCst) {
            output.reopen();
        }
    }
}

impl Log for LogHandle {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = LogLine::of_record(record);
        let LogHandle(writer) = self;
        (writer.without_progress_bar)(&|| writer.output().write(&line));
    }

    /// Every line is written at once; this writes the sums of repetitions that are due.
    fn flush(&self) {
        let LogHandle(writer) = self;
        (writer.without_progress_bar)(&|| writer.output().write_due(Utc::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// The thread that receives signals must not wait: it also receives SIGTERM.
    #[test]
    fn a_line_that_nobody_reads_does_not_delay_the_request_to_reopen() {
        let (writer, mut reader) = UnixStream::pair().unwrap();
        let target = OpenTarget::stream(&writer).unwrap();
        let handle = LogHandle(Arc::new(LogWriter {
            output: Mutex::new(Output::new(target, LineFormat::Plain, None)),
            reopen_requested: AtomicBool::new(false),
            without_progress_bar: Box::new(|write| write()),
        }));
        let logging = thread::spawn({
            let handle = handle.clone();
            let line = "x".repeat(1 << 22);
            move || handle.log(&Record::builder().args(format_args!("{line}")).build())
        });
        while handle.0.output.try_lock().is_ok() {
            thread::yield_now();
        }
        let (sender, reopened) = channel();
        let requesting = thread::spawn({
            let handle = handle.clone();
            move || {
                handle.reopen();
                sender.send(()).unwrap();
            }
        });
        let returned = reopened.recv_timeout(TIMEOUT);
        let was_kept = handle.0.reopen_requested.load(Ordering::SeqCst);
        reader.set_read_timeout(Some(TIMEOUT)).unwrap();
        drop(writer);
        let mut length = 0;
        let mut part = vec![0; 1 << 16];
        while length < 1 << 22 {
            length += reader.read(&mut part).unwrap();
        }
        logging.join().unwrap();
        requesting.join().unwrap();
        returned.unwrap();
        assert!(was_kept);
        drop(handle.0.output());
        assert!(!handle.0.reopen_requested.load(Ordering::SeqCst));
    }
}
