//! A value that cannot be printed; where a password comes from.

use std::fmt;
use std::path::PathBuf;

/// A password or token: no way of printing it shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value into custody.
    #[must_use]
    pub fn new(value: String) -> Secret {
        Secret(value)
    }

    /// The value, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the source's password comes from.
#[derive(Debug, Clone)]
pub enum Password {
    /// `source_pass`: it stands in the configuration.
    Given(Secret),
    /// `source_pass_command`: the first output line of a command run by `sh -c`.
    Command(String),
    /// `source_pass_file`: the first line of a file.
    File(PathBuf),
}
