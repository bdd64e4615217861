//! Standard output and standard error as targets of the log: whether they are the journal, a
//! terminal, or the same.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log::Level;

use crate::process::logging::format::{LineFormat, LogLine};

/// What the environment says about standard output and standard error.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamEnvironment<'a> {
    /// `$JOURNAL_STREAM`: device and inode of the stream that is connected to the journal
    /// (systemd.exec(5)).
    pub journal_stream: Option<&'a str>,
    /// Whether a terminal may be sent colours.
    pub may_color: bool,
}

impl StreamEnvironment<'_> {
    /// The form of a text on standard error that is no log line.
    pub(crate) fn stderr_line(self, level: Level, text: &dyn Display) -> String {
        let format = if self.is_journal(&std::io::stderr()) {
            LineFormat::Journal
        } else {
            LineFormat::Plain
        };
        LogLine::new(level, text).format(format)
    }

    /// The form of text lines on this stream.
    pub(super) fn text_format(self, stream: &(impl AsFd + IsTerminal)) -> LineFormat {
        if self.is_journal(stream) {
            LineFormat::Journal
        } else if self.may_color && stream.is_terminal() {
            LineFormat::Colored
        } else {
            LineFormat::Timed
        }
    }

    fn is_journal(self, stream: &impl AsFd) -> bool {
        let named = self
            .journal_stream
            .and_then(|stream| stream.split_once(':'))
            .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
        named.is_some() && named == identity(stream)
    }
}

/// Whether standard output and standard error are the same terminal, file or pipe.
pub(super) fn is_same_file() -> bool {
    let output = identity(&std::io::stdout());
    output.is_some() && output == identity(&std::io::stderr())
}

/// Whether standard error is this file, too.
pub(super) fn is_stderr(path: &Path) -> bool {
    let file = fs::metadata(path).map(|found| (found.dev(), found.ino()));
    file.is_ok_and(|file| identity(&std::io::stderr()) == Some(file))
}

/// Device and inode.
fn identity(stream: &impl AsFd) -> Option<(u64, u64)> {
    let stream = stream.as_fd().try_clone_to_owned().ok()?;
    let found = File::from(stream).metadata().ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_journal_if_device_and_inode_are_named() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let (device, inode) = identity(&reader).unwrap();
        let is_journal = |named: Option<&str>| {
            let environment = StreamEnvironment {
                journal_stream: named,
                may_color: false,
            };
            environment.is_journal(&reader)
        };
        assert!(is_journal(Some(&format!("{device}:{inode}"))));
        for named in [
            None,
            Some(""),
            Some("1:1"),
            Some(&*format!("{inode}:{device}")),
        ] {
            assert!(!is_journal(named), "{named:?}");
        }
    }
}
