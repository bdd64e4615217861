//! Where lines go and how they look.
//!
//! `error`: a person must act. `warn`: something is parked, odd or tried again. `info`: a line for
//! each message carried, and one for each run that did something. `debug`: the steps.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use log::{Level, LevelFilter};

use crate::cli::progress::Terminal;
use crate::error::{Error, ErrorKind, Result, Side};

/// The stream that log lines go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineFormat {
    /// With date and time.
    Timed,
    /// With the priority that the journal reads; it has its own clock (sd-daemon(3)).
    Journal,
}

/// Begins logging. `journal` is the value of `$JOURNAL_STREAM`, by which systemd says which stream
/// is connected to the journal.
///
/// # Errors
/// [`ErrorKind::Internal`] if logging has begun already.
pub fn begin(
    stream: LogTarget,
    is_debug: bool,
    journal: Option<&str>,
    screen: &Terminal,
) -> Result<()> {
    let style = if is_journal(stream, journal) {
        LineFormat::Journal
    } else {
        LineFormat::Timed
    };
    let level = if is_debug {
        LevelFilter::Debug
    } else {
        LevelFilter::Info
    };
    let dispatch = fern::Dispatch::new()
        .level(LevelFilter::Off)
        .level_for(env!("CARGO_CRATE_NAME"), level)
        .format(move |out, message, record| {
            out.finish(format_args!(
                "{}",
                line(style, record.level(), &message.to_string())
            ));
        });
    let screen = screen.clone();
    let print = move |record: &log::Record<'_>| {
        // A reader that has gone away (a closed pipe) must not end a run: the line is dropped.
        let _ = screen.suspend_bar(|| match stream {
            LogTarget::Stdout => writeln!(io::stdout(), "{}", record.args()),
            LogTarget::Stderr => writeln!(io::stderr(), "{}", record.args()),
        });
    };
    dispatch
        .chain(fern::Output::call(print))
        .apply()
        .map_err(|error| {
            Error::new(Side::Host, ErrorKind::Internal, "log", error).during("beginning to log")
        })
}

fn line(style: LineFormat, level: Level, message: &str) -> String {
    let message = printable(message);
    match style {
        LineFormat::Timed => {
            let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
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

/// The second fence: what is from outside is escaped where it enters a message, and whatever was
/// forgotten there is escaped here.
fn printable(message: &str) -> String {
    if !message.chars().any(char::is_control) {
        return message.to_owned();
    }
    message
        .chars()
        .flat_map(|character| {
            let escaped: Vec<char> = if character.is_control() {
                character.escape_default().collect()
            } else {
                vec![character]
            };
            escaped
        })
        .collect()
}

/// Says whether a stream is the one that `$JOURNAL_STREAM` names by device and inode
/// (systemd.exec(5)).
fn is_journal(stream: LogTarget, journal: Option<&str>) -> bool {
    let descriptor = match stream {
        LogTarget::Stdout => "/dev/stdout",
        LogTarget::Stderr => "/dev/stderr",
    };
    let named = journal
        .and_then(|journal| journal.split_once(':'))
        .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let is = std::fs::metadata(descriptor)
        .ok()
        .map(|it| (it.dev(), it.ino()));
    named.is_some() && named == is
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        assert_eq!(line(LineFormat::Journal, Level::Error, "x"), "<3>x");
        assert_eq!(line(LineFormat::Journal, Level::Info, "x"), "<6>x");
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(printable("a\nerror b\x1b[1m"), "a\\nerror b\\u{1b}[1m");
        assert_eq!(printable("Grüße"), "Grüße");
    }

    #[test]
    fn a_stream_that_is_not_named_is_not_the_journal() {
        assert!(!is_journal(LogTarget::Stderr, None));
        assert!(!is_journal(LogTarget::Stderr, Some("")));
        assert!(!is_journal(LogTarget::Stderr, Some("1:1")));
    }
}
