//! The password of the source: given in the configuration, read from a file, or printed by a command.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::config::encoding::check_encoding;
use crate::config::password_command;
use crate::config::paths::{unreadable, wrong_encoding};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::file_access;
use crate::secret::Secret;
use crate::timeouts::PASSWORD_COMMAND_TIMEOUT;

const MAX_PASSWORD_LENGTH: u64 = 4096;

/// Where the source's password comes from.
#[derive(Debug, Clone)]
pub enum Password {
    /// `source_pass`: the password itself.
    Given(Secret),
    /// `source_pass_command`: the first output line of a command that `sh -c` runs. The command may
    /// contain a secret.
    Command(Secret),
    /// `source_pass_file`: the first line of a file.
    File(PathBuf),
}

impl Password {
    /// Reads the file or runs the command.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: there is no valid password. A command may succeed at the next attempt
    /// ([`Error::is_retryable`]).
    pub fn read(&self) -> Result<Secret> {
        self.read_once().map_err(|error| match self {
            Password::Command(_) => error.retryable(),
            Password::Given(_) | Password::File(_) => error,
        })
    }

    fn read_once(&self) -> Result<Secret> {
        let (field, line) = match self {
            Password::Given(secret) => ("source_pass", secret.expose().as_bytes().to_vec()),
            Password::Command(command) => ("source_pass_command", first_line_of_command(command)?),
            Password::File(file) => ("source_pass_file", first_line_of_file(file)?),
        };
        let wrong = |what: &str| Error::new(Side::Config, ErrorKind::Config, field, what);
        match String::from_utf8(line) {
            Ok(password) if password.is_empty() => Err(wrong("the password is empty")),
            Ok(password) => Ok(Secret::new(password)),
            Err(_) => Err(wrong("the password is not UTF-8")),
        }
    }

    /// The password file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Password::File(file) => Some(file),
            Password::Given(_) | Password::Command(_) => None,
        }
    }
}

fn first_line_of_command(command: &Secret) -> Result<Vec<u8>> {
    let line = password_command::first_output_line(command.expose(), PASSWORD_COMMAND_TIMEOUT)?;
    check_encoding(line).map_err(|what| {
        let field = "source_pass_command";
        Error::new(Side::Config, ErrorKind::Config, field, what)
            .during("reading the password")
            .remedy("print it as UTF-8")
    })
}

fn first_line_of_file(file: &Path) -> Result<Vec<u8>> {
    let doing = "reading the password";
    let read = || first_line(BufReader::new(file_access::open_to_read(file)?));
    let line = read().map_err(|error| {
        let error = unreadable(Side::Config, file, error).during(doing);
        error.remedy("correct source_pass_file")
    })?;
    check_encoding(line).map_err(|what| wrong_encoding(Side::Config, file, &what).during(doing))
}

/// Reads the first line, without its line end. A line longer than any password is an error.
pub(crate) fn first_line(from: impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(MAX_PASSWORD_LENGTH + 2)
        .read_until(b'\n', &mut line)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
    if line.len() as u64 > MAX_PASSWORD_LENGTH {
        return Err(io::Error::other(
            "its first line is too long for a password",
        ));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_failure_of_a_command_is_retryable() {
        let command = |line: &str| Password::Command(Secret::new(line.to_owned()));
        for line in ["exit 1", "true", "echo"] {
            assert!(command(line).read().unwrap_err().is_retryable(), "{line}");
        }
        let file = Password::File(PathBuf::from("/nowhere"));
        assert!(!file.read().unwrap_err().is_retryable());
    }

    #[test]
    fn the_first_line_of_a_file_is_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let cases = [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            (" pä ss \nsecond line\n", " pä ss "),
            ("\u{feff}s3cret\n", "s3cret"),
            (&"x".repeat(4096), &"x".repeat(4096)),
        ];
        for (text, password) in cases {
            fs::write(&file, text).unwrap();
            let read = Password::File(file.clone()).read().unwrap();
            assert_eq!(read.expose(), password);
        }
    }

    #[test]
    fn a_file_without_password_is_a_configuration_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let error_line = || {
            let error = Password::File(file.clone()).read().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            error
                .to_string()
                .replace(folder.path().to_str().unwrap(), "…")
        };
        assert_eq!(
            error_line(),
            "…/password: reading the password: cannot be read: No such file or directory \
             (os error 2); correct source_pass_file"
        );
        let cases: [(&[u8], &str); 7] = [
            (
                b"\xff\xfes\x003\0\r\0\n\0",
                "…/password: reading the password: cannot be read: it is encoded in UTF-16 \
                 (little-endian), not in UTF-8; save it as UTF-8",
            ),
            (
                b"\0s\x003\0\n",
                "…/password: reading the password: cannot be read: it is encoded in UTF-16 \
                 (big-endian), not in UTF-8; save it as UTF-8",
            ),
            (b"\xef\xbb\xbf\n", "source_pass_file: the password is empty"),
            (b"", "source_pass_file: the password is empty"),
            (b"\r\ns3cret\n", "source_pass_file: the password is empty"),
            (
                b"s3cr\xe9t\n",
                "source_pass_file: the password is not UTF-8",
            ),
            (
                &[b'x'; 4097],
                "…/password: reading the password: cannot be read: its first line is too long \
                 for a password; correct source_pass_file",
            ),
        ];
        for (octets, line) in cases {
            fs::write(&file, octets).unwrap();
            assert_eq!(error_line(), line);
        }
    }
}
