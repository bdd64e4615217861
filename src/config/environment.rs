//! The environment variables that the program uses, read once at its start.

use std::path::PathBuf;

/// The values of the environment variables; an empty variable counts as unset.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a variable of its own"
)]
pub struct Environment {
    /// `$CREDENTIALS_DIRECTORY`: where systemd puts the credentials of a service.
    pub credentials_directory: Option<PathBuf>,
    /// The first folder of `$STATE_DIRECTORY`, in which a service of systemd keeps its state.
    pub state_directory: Option<PathBuf>,
    /// The first folder of `$RUNTIME_DIRECTORY`, whose files a service of systemd keeps until the machine
    /// restarts.
    pub runtime_directory: Option<PathBuf>,
    /// `$JOURNAL_STREAM`: device and inode of the stream that is connected to the journal.
    pub journal_stream: Option<String>,
    /// Whether a terminal may be sent colours: `$NO_COLOR` is not set, and `$TERM` is not `dumb`.
    pub may_color: bool,
    /// Whether `$DISPLAY` or `$WAYLAND_DISPLAY` is set: a browser could be shown.
    pub has_desktop: bool,
    /// Whether `$BROWSER` is set.
    pub names_browser: bool,
    /// `$SSH_CONNECTION`: addresses and ports of the user's SSH connection.
    pub ssh_connection: Option<String>,
    /// `$USER`: the user's name on this machine.
    pub user: Option<String>,
    /// Whether `$container` is set (systemd's and Podman's convention).
    pub is_in_container: bool,
}

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn of_this_process() -> Environment {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let first_folder =
            |name| variable(name).and_then(|folders| std::env::split_paths(&folders).next());
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        Environment {
            credentials_directory: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            state_directory: first_folder("STATE_DIRECTORY"),
            runtime_directory: first_folder("RUNTIME_DIRECTORY"),
            journal_stream: text("JOURNAL_STREAM"),
            may_color: variable("NO_COLOR").is_none()
                && variable("TERM").is_none_or(|terminal| terminal != "dumb"),
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
