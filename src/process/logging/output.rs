//! The open target of the log, and the lines that it could not take.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use chrono::{DateTime, Local};
use log::Level;

use crate::process::logging::format::{LineFormat, LogLine};
use crate::process::logging::log_file::LogFile;
use crate::process::logging::syslog::SyslogWriter;
use crate::timestamp::format_time;

/// An open target.
pub(super) enum Target {
    Stream(File),
    Syslog(SyslogWriter),
    File(LogFile),
}

/// Writes lines to a target. A line that cannot be written ends nothing: it is counted, and told of
/// as soon as lines can be written again.
pub(super) struct Output {
    target: Target,
    format: LineFormat,
    lost: Option<LostLines>,
}

struct LostLines {
    count: u64,
    since: DateTime<Local>,
    why: String,
}

impl Target {
    /// Standard output or standard error. Each line is one write, so that lines of several processes
    /// do not mix.
    pub fn stream(stream: &impl AsFd) -> io::Result<Target> {
        let stream = stream.as_fd().try_clone_to_owned()?;
        Ok(Target::Stream(stream.into()))
    }

    fn write(&self, level: Level, line: String) -> io::Result<()> {
        match self {
            Target::Stream(file) => {
                let mut file: &File = file;
                file.write_all((line + "\n").as_bytes())
            }
            Target::Syslog(syslog) => syslog.send(level, &line),
            Target::File(file) => file.write(&line),
        }
    }
}

impl Output {
    pub fn new(target: Target, format: LineFormat) -> Output {
        Output {
            target,
            format,
            lost: None,
        }
    }

    /// Writes a line.
    pub fn write(&mut self, line: &LogLine) {
        if let Some(lost) = &self.lost {
            if self.try_write(&lost.note()).is_err() {
                self.record_lost(line, None);
                return;
            }
            self.lost = None;
        }
        if let Err(error) = self.try_write(line) {
            self.record_lost(line, Some(error));
        }
        self.tell_rotation_error();
    }

    /// Opens the log file anew, as logrotate wants it.
    pub fn reopen(&self) {
        if let Target::File(file) = &self.target {
            file.reopen();
        }
    }

    fn try_write(&self, line: &LogLine) -> io::Result<()> {
        self.target.write(line.level, line.format(self.format))
    }

    fn record_lost(&mut self, line: &LogLine, error: Option<io::Error>) {
        let lost = self.lost.get_or_insert_with(|| LostLines {
            count: 0,
            since: line.time,
            why: error.map(|error| error.to_string()).unwrap_or_default(),
        });
        lost.count += 1;
    }

    fn tell_rotation_error(&self) {
        let Target::File(file) = &self.target else {
            return;
        };
        if let Some(error) = file.take_rotation_error() {
            let what = format!("the log file grows on, because it cannot be rotated: {error}");
            // If this line cannot be written, the next rotation fails, too.
            let _ = self.try_write(&LogLine::new(Level::Warn, &what));
        }
    }
}

impl LostLines {
    fn note(&self) -> LogLine {
        let lines = if self.count == 1 { "line" } else { "lines" };
        let what = format!(
            "{} log {lines} since {} could not be written: {}",
            self.count,
            format_time(self.since),
            self.why
        );
        LogLine::new(Level::Warn, &what)
    }
}
