//! The open target of the log, what it could not take, and what was repeated.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use chrono::{DateTime, Local, Utc};
use log::Level;

use crate::file_access;
use crate::process::logging::format::{LineFormat, LogLine};
use crate::process::logging::log_file::{LogFile, write_all};
use crate::process::logging::repeats::{RepeatSummary, Repeats};
use crate::process::logging::repeats_file::RepeatsFile;
use crate::process::logging::syslog::SyslogWriter;
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// An open target.
pub(super) enum OpenTarget {
    Stream {
        file: File,
        /// Whether the last line was cut short.
        is_torn: bool,
    },
    Syslog(SyslogWriter),
    File(LogFile),
}

/// Writes lines to a target. A line that cannot be written does not end the run: it is counted, and
/// reported as soon as lines can be written again.
pub(super) struct Output {
    target: OpenTarget,
    format: LineFormat,
    repeats: Repeats,
    /// What the next process of the account continues, if there is a place for it.
    repeats_file: Option<RepeatsFile>,
    lost: Option<LostLines>,
}

struct LostLines {
    count: u64,
    since: DateTime<Local>,
    why: String,
}

impl OpenTarget {
    /// Standard output or standard error. Each line is one write, so that lines of several processes
    /// do not mix.
    pub fn stream(stream: &impl AsFd) -> io::Result<OpenTarget> {
        let stream = stream.as_fd().try_clone_to_owned()?;
        Ok(OpenTarget::Stream {
            file: stream.into(),
            is_torn: false,
        })
    }

    fn write(&mut self, level: Level, line: &str) -> io::Result<()> {
        match self {
            OpenTarget::Stream { file, is_torn } => {
                let end_torn = if *is_torn { "\n" } else { "" };
                let octets = format!("{end_torn}{line}\n");
                let mut written = 0;
                let result = write_all(file, octets.as_bytes(), &mut written);
                // If nothing was written, the line before is as it was.
                *is_torn = result.is_err() && (*is_torn || written > 0);
                result
            }
            OpenTarget::Syslog(syslog) => syslog.send(level, line),
            OpenTarget::File(file) => file.write(line),
        }
    }
}

impl Output {
    pub fn new(
        target: OpenTarget,
        format: LineFormat,
        repeats_file: Option<RepeatsFile>,
    ) -> Output {
        let saved = repeats_file.as_ref().map(RepeatsFile::saved);
        Output {
            target,
            format,
            repeats: saved.unwrap_or_default(),
            repeats_file,
            lost: None,
        }
    }

    /// Writes a line, unless it is a warning or an error that was written within the last hour.
    pub fn write(&mut self, line: &LogLine) {
        let now = line.time.to_utc();
        let admission = self.repeats.admit(line.level, &line.message, now);
        self.write_summaries(&admission.summaries);
        if admission.is_written {
            self.write_line(line);
        }
    }

    /// Writes what is to be said at this time though no line is logged.
    pub fn write_due(&mut self, now: DateTime<Utc>) {
        let summaries = self.repeats.due(now);
        self.write_summaries(&summaries);
    }

    /// Writes what is still to be said at the end. Returns what cannot be written either: that lines
    /// were lost, unless their reader has gone.
    pub fn finish(&mut self) -> Option<String> {
        let now = Utc::now();
        let summaries = match &self.repeats_file {
            Some(_) => self.repeats.due(now),
            None => self.repeats.finish(now),
        };
        self.write_summaries(&summaries);
        self.save_repeats();
        // Perhaps there is room now.
        let error = self.tell_lost().err()?;
        let is_reader_gone = error.kind() == io::ErrorKind::BrokenPipe;
        let lost = self.lost.as_ref().filter(|_| !is_reader_gone)?;
        Some(lost.note().message)
    }

    /// If they cannot be saved, the next process logs again what this one has logged.
    fn save_repeats(&mut self) {
        let Some(file) = &self.repeats_file else {
            return;
        };
        if let Err(error) = file.save(&self.repeats) {
            let path = Untrusted::path(file.path());
            let mut what = format!("{path}: saving the repeated lines: {error}");
            if let Some(remedy) = file_access::remedy(&error) {
                what = format!("{what}; {remedy}");
            }
            self.write_line(&LogLine::new(Level::Warn, &what));
        }
    }

    fn write_summaries(&mut self, summaries: &[RepeatSummary]) {
        for summary in summaries {
            self.write_line(&LogLine::new(summary.level, summary));
        }
    }

    fn write_line(&mut self, line: &LogLine) {
        let written = self.tell_lost().and_then(|()| self.try_write(line));
        if let Err(error) = written {
            self.record_lost(line.time, &error);
        }
        self.tell_rotation_error();
    }

    /// Says how many lines were lost, if any.
    fn tell_lost(&mut self) -> io::Result<()> {
        if let Some(lost) = &self.lost {
            let note = lost.note();
            self.try_write(&note)?;
            self.lost = None;
        }
        Ok(())
    }

    /// Opens the log file anew, as logrotate wants it.
    pub fn reopen(&self) {
        if let OpenTarget::File(file) = &self.target {
            file.reopen();
        }
    }

    fn try_write(&mut self, line: &LogLine) -> io::Result<()> {
        let text = line.format(self.format);
        self.target.write(line.level, &text)
    }

    fn record_lost(&mut self, time: DateTime<Local>, error: &io::Error) {
        let lost = self.lost.get_or_insert_with(|| LostLines {
            count: 0,
            since: time,
            why: error.to_string(),
        });
        lost.count += 1;
    }

    fn tell_rotation_error(&mut self) {
        let OpenTarget::File(file) = &self.target else {
            return;
        };
        if let Some(error) = file.take_rotation_error() {
            let mut what = format!("the log file grows on, because it cannot be rotated: {error}");
            if let Some(remedy) = file_access::remedy(&error) {
                what = format!("{what}; {remedy}");
            }
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn warning(text: &str) -> LogLine {
        LogLine::new(Level::Warn, &text)
    }

    /// An output into a socket that takes no more than fits, and its other end.
    fn output() -> (Output, BufReader<UnixStream>) {
        let (writer, reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        reader.set_nonblocking(true).unwrap();
        let target = OpenTarget::stream(&writer).unwrap();
        (
            Output::new(target, LineFormat::Plain, None),
            BufReader::new(reader),
        )
    }

    fn lines(reader: &mut BufReader<UnixStream>) -> Vec<String> {
        let lines = reader.lines();
        lines.map_while(Result::ok).collect()
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told_of_later() {
        let (mut output, mut reader) = output();
        output.write(&warning("before"));
        let mut written = 1;
        while output.lost.is_none() {
            output.write(&warning(&written.to_string()));
            written += 1;
        }
        output.write(&warning("lost"));
        let before = lines(&mut reader);
        assert!(before.len() >= written - 1, "{}", before.len());
        output.write(&warning("after"));
        let after = lines(&mut reader);
        assert_eq!(after.len(), 2, "{after:?}");
        assert!(after[0].starts_with("2 log lines since "), "{after:?}");
        let why = " could not be written: Resource temporarily unavailable (os error 11)";
        assert!(after[0].ends_with(why), "{after:?}");
        assert_eq!(after[1], "after");
        assert!(output.lost.is_none());
    }

    #[test]
    fn a_line_that_was_cut_short_is_ended_before_the_next_one() {
        let (mut output, mut reader) = output();
        let long = "x".repeat(1 << 22);
        output.write(&warning(&long));
        assert!(output.lost.is_some());
        let mut torn = String::new();
        let _ = reader.read_line(&mut torn);
        assert!(
            !torn.is_empty() && torn.len() < long.len(),
            "{}",
            torn.len()
        );
        output.write(&warning("after"));
        let after = lines(&mut reader);
        assert_eq!((after[0].as_str(), after[2].as_str()), ("", "after"));
    }

    #[test]
    fn a_repeated_warning_is_summed_up_after_an_hour_and_at_the_end() {
        let (mut output, mut reader) = output();
        for text in ["a", "b", "a", "a"] {
            output.write(&warning(text));
        }
        assert_eq!(lines(&mut reader), ["a", "b"]);
        let in_minutes = |minutes| Utc::now() + chrono::TimeDelta::minutes(minutes);
        output.write_due(in_minutes(59));
        assert!(lines(&mut reader).is_empty());
        output.write_due(in_minutes(61));
        let summary = lines(&mut reader);
        assert_eq!(summary.len(), 1, "{summary:?}");
        assert!(
            summary[0].starts_with("repeated 2 times since "),
            "{summary:?}"
        );
        output.write_due(in_minutes(125));
        assert!(lines(&mut reader).is_empty(), "it did not occur again");
        for text in ["b", "b"] {
            output.write(&warning(text));
        }
        assert_eq!(lines(&mut reader), ["b"]);
        assert_eq!(output.finish(), None);
        let summary = lines(&mut reader);
        assert_eq!(summary.len(), 1, "{summary:?}");
        assert!(
            summary[0].starts_with("repeated 1 time since "),
            "{summary:?}"
        );
    }
}
