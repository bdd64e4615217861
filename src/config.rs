//! `config.json`: reads it, checks it, and provides its values to the whole program.
//!
//! May use the base modules only.

pub(crate) mod encoding;
mod environment;
mod folder;
mod folders;
mod import;
mod password;
mod password_command;
mod paths;
mod protection;
mod raw;
mod repeated;
pub(crate) mod size;
mod validate;

pub use environment::Environment;
pub(crate) use folder::configurations_in;
pub(crate) use folders::INBOX;
pub use folders::{
    FolderConfig, FolderCopy, FolderRole, FolderRule, OnMove, SourceFolders, TargetFolder,
};
pub use import::ImportConfig;
pub use password::Password;
pub(crate) use paths::read_file;
pub(crate) use validate::is_loopback;

use std::iter;
use std::path::{Path, PathBuf};

use crate::config::paths::{PathResolver, read_with_metadata};
use crate::config::raw::RawConfig;
use crate::error::{Error, Result, Side};
use crate::secret::Secret;

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The mailbox that mail comes from.
    pub source: SourceConfig,
    /// The mailbox that mail goes to.
    pub target: TargetConfig,
    /// Which folders are copied, and where to.
    pub folders: FolderConfig,
    /// At how many folders besides the inbox `--watch` waits by IDLE, on a connection each.
    pub source_connections: usize,
    /// What becomes of a message that is moved between folders at the source.
    pub on_move: OnMove,
    /// The first run copies the messages of this many days.
    pub first_run_days: u32,
    /// Whether to copy `\Seen`, `\Flagged` and `\Answered`.
    pub copy_flags: bool,
    /// The maximum number of octets to upload in 24 hours; `None`: unlimited.
    pub daily_upload_limit: Option<u64>,
    credentials_stamp: String,
    warnings: Vec<String>,
}

/// The mailbox that mail comes from.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Its IMAP server.
    pub server: Server,
    /// The user name for the log-in.
    pub user: String,
    /// Where the password comes from.
    pub password: Password,
    /// The folder, in Unicode (not yet in modified UTF-7). If `folders` names several: that of the
    /// first entry that copies a folder by its exact name, or else INBOX.
    pub folder: String,
}

/// The mailbox that mail goes to.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Its IMAP server.
    pub server: Server,
    /// The Gmail address.
    pub user: String,
    /// The file with the OAuth tokens.
    pub token_file: PathBuf,
    /// The folder, in Unicode. If `folders` names several: the target of the entry that
    /// [`SourceConfig::folder`] is of, if that is a name, or else INBOX.
    pub folder: String,
    /// The maximum number of append connections, 1 to 10.
    pub connections: usize,
    /// The shell command that obtains a new token file.
    pub auth_command: String,
    /// How messages are imported; `None`: all are appended.
    pub import: Option<ImportConfig>,
}

/// The address of an IMAP server, and how the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether and how TLS is used.
    pub tls: TlsMode,
    /// The name that the certificate must have.
    pub tls_name: String,
    /// A PEM file with the certificates to trust instead of the system's roots.
    pub ca_file: Option<PathBuf>,
}

impl Server {
    /// `host:port` for messages; an IPv6 address is in brackets.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Whether and how a connection uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// TLS from the first octet (RFC 8314).
    Implicit,
    /// STARTTLS, which the server must offer (RFC 3501 6.2.1).
    StartTls,
    /// No TLS; to loopback only.
    None,
}

impl Config {
    /// Reads and checks the file. The error lists all mistakes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config), always.
    pub fn load(path: &Path, environment: &Environment) -> Result<Config> {
        Config::load_in(path, environment, &[PathBuf::new()])
    }

    /// [`load`](Config::load) as a process reads it that works in one of these folders, instead of the
    /// current one: the first that holds a file counts.
    pub(crate) fn load_in(
        path: &Path,
        environment: &Environment,
        working_folders: &[PathBuf],
    ) -> Result<Config> {
        let error = |what: String| Error::in_file(Side::Config, path, what);
        let (octets, opened) = read_with_metadata(Side::Config, path)
            .map_err(|error| error.remedy("correct --config"))?;
        if octets.trim_ascii().is_empty() {
            return Err(error("is empty".to_owned())
                .remedy("begin with a copy of config.json.example (docs/configuration.md)"));
        }
        let raw = RawConfig::parse(&octets).map_err(error)?;
        let paths = PathResolver::new(path, environment, working_folders);
        let mut config = validate::config(raw, &paths).map_err(error)?;
        // Computed before the password is read, so that the next run notices a later change.
        config.credentials_stamp = paths::stamp(&octets, config.source.password.file());
        config.warnings = config.readable_by_others(path, environment);
        config.warnings.extend(config.check_writers(path, &opened)?);
        config.target.auth_command = paths.auth_command(path, &config.target.token_file);
        Ok(config)
    }

    /// `user/folder` of the source, as in the state's `account`; `user/` if there are several folders.
    pub(crate) fn source_account(&self) -> String {
        format!("{}/{}", self.source.user, self.only(&self.source.folder))
    }

    /// `user@host/folder` of the source, as in the state's `cursor`.
    #[must_use]
    pub fn source_name(&self) -> String {
        self.source_name_of(&self.source.folder)
    }

    /// [`source_name`](Config::source_name) of another folder.
    pub(crate) fn source_name_of(&self, folder: &str) -> String {
        let source = &self.source;
        format!("{}@{}/{folder}", source.user, source.server.host)
    }

    /// The source for the user: `user@host/folder`, or `user@host` if there are several folders.
    pub(crate) fn describe_source(&self) -> String {
        let name = self.source_name_of(self.only(&self.source.folder));
        name.trim_end_matches('/').to_owned()
    }

    /// The target in the same way: `user/folder`, or `user`.
    pub(crate) fn describe_target(&self) -> String {
        self.target_account().trim_end_matches('/').to_owned()
    }

    /// `user/folder` of the target, as in the state's `account`.
    pub(crate) fn target_account(&self) -> String {
        format!("{}/{}", self.target.user, self.only(&self.target.folder))
    }

    /// The name of a folder, if it is the only one; else nothing.
    fn only<'a>(&self, folder: &'a str) -> &'a str {
        match self.folders {
            FolderConfig::Single(_) => folder,
            FolderConfig::Many(_) => "",
        }
    }

    /// Changes when the content of the configuration or the password file changes, and does not
    /// reveal it.
    pub(crate) fn credentials_stamp(&self) -> String {
        self.credentials_stamp.clone()
    }

    /// Changes when the output of the password command changes; `None` without a command. It is not
    /// part of [`credentials_stamp`](Config::credentials_stamp), because the command is run only
    /// where its output is needed.
    pub(crate) fn command_stamp(&self, password: &Secret) -> Option<String> {
        let is_command = matches!(self.source.password, Password::Command(_));
        is_command.then(|| paths::short_digest(password.expose().as_bytes()))
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let ca_files = [&self.source.server.ca_file, &self.target.server.ca_file];
        iter::once(self.target.token_file.as_path())
            .chain(self.source.password.file())
            .chain(ca_files.into_iter().flatten().map(PathBuf::as_path))
    }

    /// What the user should correct although the run continues, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorKind;

    const FIELDS: &str = r#"{
        "source_server": "mail.example.com",
        "source_user": "alice",
        "source_pass_file": "password",
        "target_user": "alice@gmail.com",
        "target_token_file": "token.json"
    }"#;

    struct Files(TempDir);

    impl Files {
        fn new() -> Files {
            let files = Files(tempfile::tempdir().unwrap());
            files.write("config.json", FIELDS);
            files.write("password", "one\n");
            files.write("token.json", r#"{"token":"t"}"#);
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
            self.permit(name, 0o600);
        }

        fn permit(&self, name: &str, mode: u32) {
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn load(&self) -> Config {
            Config::load(&self.path("config.json"), &Environment::default()).unwrap()
        }
    }

    #[test]
    fn accounts_have_the_names_that_the_state_uses() {
        let config = Files::new().load();
        assert_eq!(config.source_account(), "alice/INBOX");
        assert_eq!(config.source_name(), "alice@mail.example.com/INBOX");
        assert_eq!(config.target_account(), "alice@gmail.com/INBOX");
    }

    #[test]
    fn an_error_names_the_file_that_cannot_be_read_or_is_wrong() {
        let files = Files::new();
        let load = |name: &str| {
            let error = Config::load(&files.path(name), &Environment::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            error
                .to_string()
                .replace(files.0.path().to_str().unwrap(), "…")
        };
        assert_eq!(
            load("none.json"),
            "…/none.json: cannot be read: No such file or directory (os error 2); correct --config"
        );
        files.write("bad.json", "{");
        assert_eq!(
            load("bad.json"),
            "…/bad.json: bad JSON: EOF while parsing an object at line 1 column 1"
        );
        files.write("wrong.json", &FIELDS.replace("alice@gmail.com", ""));
        assert_eq!(
            load("wrong.json"),
            "…/wrong.json: target_user must not be empty"
        );
        files.write("endless.json", &" ".repeat((1 << 20) + 1));
        assert_eq!(
            load("endless.json"),
            "…/endless.json: cannot be read: it is larger than 1 MiB; correct --config"
        );
    }

    #[test]
    fn the_stamp_changes_with_the_content_of_the_files_only() {
        let files = Files::new();
        let stamp = files.load().credentials_stamp();
        files.write("password", "one\n");
        files.write("config.json", FIELDS);
        assert_eq!(files.load().credentials_stamp(), stamp);
        files.write("password", "two\n");
        let other_password = files.load().credentials_stamp();
        assert_ne!(other_password, stamp);
        files.write("config.json", &FIELDS.replace("\"alice\"", "\"alicf\""));
        assert_ne!(files.load().credentials_stamp(), other_password);
        fs::remove_file(files.path("password")).unwrap();
        assert_ne!(files.load().credentials_stamp(), stamp);
    }

    #[test]
    fn files_with_secrets_that_other_users_can_read_are_warned_of() {
        let files = Files::new();
        let warnings = |environment: &Environment| {
            let config = Config::load(&files.path("config.json"), environment).unwrap();
            config
                .warnings()
                .join("\n")
                .replace(files.0.path().to_str().unwrap(), "…")
        };
        let plain = Environment::default();
        assert_eq!(warnings(&plain), "");

        // It does not contain the password.
        files.permit("config.json", 0o644);
        assert_eq!(warnings(&plain), "");

        files.permit("password", 0o640);
        files.permit("token.json", 0o604);
        assert_eq!(
            warnings(&plain),
            "…/password holds a secret and can be read by others; type: chmod 600 …/password\n\
             …/token.json holds a secret and can be read by others; type: chmod 600 …/token.json"
        );
        let credentials = Environment {
            credentials_directory: Some(files.0.path().to_owned()),
            ..plain.clone()
        };
        files.permit("token.json", 0o600);
        assert_eq!(warnings(&credentials), "");

        files.write("config.json", &FIELDS.replace("_pass_file", "_pass"));
        files.permit("config.json", 0o644);
        assert_eq!(
            warnings(&plain),
            "…/config.json holds a secret and can be read by others; type: chmod 600 …/config.json"
        );
    }

    #[test]
    fn a_path_is_quoted_for_the_shell() {
        let cases = [
            ("/home/alice/config.json", "/home/alice/config.json"),
            ("My Files/c.json", "'My Files/c.json'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ];
        for (path, typed) in cases {
            assert_eq!(paths::quote_for_shell(Path::new(path)), typed);
        }
    }

    #[test]
    fn the_auth_command_names_its_files_by_absolute_paths() {
        let environment = Environment {
            credentials_directory: Some("/run/credentials/a.service".into()),
            ..Environment::default()
        };
        let command = |config: &str, token: &str| {
            let working_folders = ["".into(), "/var/lib/a".into()];
            let paths = PathResolver::new(Path::new(config), &environment, &working_folders);
            paths.auth_command(Path::new(config), Path::new(token))
        };
        let begin = "imap-to-gmail-sync auth --credentials client_secret.json --config";
        let here = std::env::current_dir().unwrap();
        let here = paths::quote_for_shell(&here);
        assert_eq!(
            command("/etc/mail/a.json", "/etc/mail/token.json"),
            format!("{begin} /etc/mail/a.json --force")
        );
        assert_eq!(
            command("a.json", "token.json"),
            format!("{begin} {here}/a.json --force")
        );
        // The token file is in the current folder, not beside the configuration.
        assert_eq!(
            command("/etc/mail/a.json", "token.json"),
            format!("{begin} /etc/mail/a.json --token {here}/token.json --force")
        );
        // It is where the units have it.
        assert_eq!(
            command("/etc/mail/a.json", "/var/lib/a/token.json"),
            format!("{begin} /etc/mail/a.json --token /var/lib/a/token.json --force")
        );
        // systemd's copy of the configuration exists only while the service runs.
        assert_eq!(
            command("/run/credentials/a.service/a.json", "token.json"),
            format!("{begin} CONFIG.json --token {here}/token.json --force")
        );
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let files = Files::new();
        for field in ["source_pass", "source_pass_command"] {
            let fields = FIELDS
                .replace("source_pass_file", field)
                .replace("\"password\"", "\"s3cret\"");
            files.write("config.json", &fields);
            assert!(!format!("{:?}", files.load()).contains("s3cret"), "{field}");
        }
    }
}
