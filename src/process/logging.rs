//! Log output: the stream that lines go to, and their format.
//!
//! Levels: `error`: the user must act. `warn`: a message is parked, something is odd or retried.
//! `info`: a line for each copied message, and one for each run that did something. `debug`: each
//! step.

pub mod log_file;
mod old_files;
mod packing;
mod rotation;

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use log::{Level, LevelFilter};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::timestamp::format_time;

/// The stream that log lines go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    Stderr,
}

/// Which lines are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Warnings and errors.
    Quiet,
    Normal,
    /// Every step, too.
    Debug,
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            LogLevel::Quiet => LevelFilter::Warn,
            LogLevel::Normal => LevelFilter::Info,
            LogLevel::Debug => LevelFilter::Debug,
        }
    }
}

/// What a line begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineFormat {
    /// Date, time and level.
    Timed,
    /// The priority that the journal reads (sd-daemon(3)); it adds the time itself.
    Journal,
}

/// `journal_stream` is the value of `$JOURNAL_STREAM`, in which systemd names the stream that is
/// connected to the journal. `without_progress_bar` calls its argument, which writes a line, while
/// no progress bar is on the terminal.
pub(crate) fn start(
    target: LogTarget,
    level: LogLevel,
    journal_stream: Option<&str>,
    without_progress_bar: impl Fn(&dyn Fn()) + Send + Sync + 'static,
) -> Result<()> {
    let format = if is_journal(target, journal_stream) {
        LineFormat::Journal
    } else {
        LineFormat::Timed
    };
    let write = move |record: &log::Record<'_>| {
        without_progress_bar(&|| {
            // A reader that closed the pipe must not end the run: the line is dropped.
            let _ = match target {
                LogTarget::Stdout => writeln!(io::stdout(), "{}", record.args()),
                LogTarget::Stderr => writeln!(io::stderr(), "{}", record.args()),
            };
        });
    };
    fern::Dispatch::new()
        .level(LevelFilter::Off)
        .level_for(env!("CARGO_CRATE_NAME"), level.filter())
        .format(move |out, message, record| {
            let line = format_line(format, record.level(), &message.to_string());
            out.finish(format_args!("{line}"));
        })
        .chain(fern::Output::call(write))
        .apply()
        .map_err(|error| {
            Error::new(Side::Host, ErrorKind::Internal, "log", error).during("starting to log")
        })
}

fn format_line(format: LineFormat, level: Level, message: &str) -> String {
    let message = escape_controls(message);
    match format {
        LineFormat::Timed => {
            let now = format_time(chrono::Utc::now());
            format!("{now} {:<5} {message}", level.as_str().to_ascii_lowercase())
        }
        LineFormat::Journal => {
            let priority = match level {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            format!("<{priority}>{message}")
        }
    }
}

/// Escapes control characters. Text from outside is escaped where it enters a message
/// ([`Untrusted`](crate::untrusted::Untrusted)); this is the second line of defence.
fn escape_controls(message: &str) -> String {
    let mut escaped = String::with_capacity(message.len());
    for character in message.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether the target is the stream that `$JOURNAL_STREAM` names by device and inode
/// (systemd.exec(5)).
fn is_journal(target: LogTarget, journal_stream: Option<&str>) -> bool {
    let descriptor = match target {
        LogTarget::Stdout => "/dev/stdout",
        LogTarget::Stderr => "/dev/stderr",
    };
    let named = journal_stream
        .and_then(|stream| stream.split_once(':'))
        .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let actual = std::fs::metadata(descriptor)
        .ok()
        .map(|file| (file.dev(), file.ino()));
    named.is_some() && named == actual
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        assert_eq!(format_line(LineFormat::Journal, Level::Error, "x"), "<3>x");
        assert_eq!(format_line(LineFormat::Journal, Level::Info, "x"), "<6>x");
    }

    #[test]
    fn a_line_begins_with_the_local_time_and_its_offset() {
        let line = format_line(LineFormat::Timed, Level::Info, "x");
        let (time, rest) = line.split_at("2026-11-23 04:48:31 +0100".len());
        assert_eq!(rest, " info  x");
        let time = chrono::DateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S %z").unwrap();
        assert_eq!(time.offset(), chrono::Local::now().offset());
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(
            escape_controls("a\nerror b\x1b[1m"),
            "a\\nerror b\\u{1b}[1m"
        );
        assert_eq!(escape_controls("Grüße"), "Grüße");
    }

    #[test]
    fn a_stream_that_is_not_named_is_not_the_journal() {
        assert!(!is_journal(LogTarget::Stderr, None));
        assert!(!is_journal(LogTarget::Stderr, Some("")));
        assert!(!is_journal(LogTarget::Stderr, Some("1:1")));
    }
}
