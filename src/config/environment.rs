//! The environment variables that the program reads, taken once at its start.

use std::path::PathBuf;

/// What the process's environment says about files.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$CREDENTIALS_DIRECTORY`: where systemd puts the credentials of a service.
    pub credentials_directory: Option<PathBuf>,
    /// `$STATE_DIRECTORY`: the folder that systemd made for the state of a service; of several, the
    /// first.
    pub state_directory: Option<PathBuf>,
    /// `$JOURNAL_STREAM`: which stream is connected to the journal, by device and inode.
    pub journal_stream: Option<String>,
    /// Whether `$DISPLAY` or `$WAYLAND_DISPLAY` says that there is a screen for a browser.
    pub has_desktop: bool,
    /// Whether `$BROWSER` names one.
    pub names_browser: bool,
    /// `$SSH_CONNECTION`: both ends of the connection over which the person is logged in.
    pub ssh_connection: Option<String>,
    /// `$USER`: who the person is here.
    pub user: Option<String>,
    /// Whether `$container` says that this is one (systemd's and Podman's convention).
    pub is_in_container: bool,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_this_process() -> Environment {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        Environment {
            credentials_directory: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            state_directory: variable("STATE_DIRECTORY")
                .and_then(|folders| std::env::split_paths(&folders).next()),
            journal_stream: text("JOURNAL_STREAM"),
            has_desktop: variable("DISPLAY")
                .or(variable("WAYLAND_DISPLAY"))
                .is_some(),
            names_browser: variable("BROWSER").is_some(),
            ssh_connection: text("SSH_CONNECTION"),
            user: text("USER"),
            is_in_container: variable("container").is_some(),
        }
    }
}
