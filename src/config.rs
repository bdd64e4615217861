//! `config.json`, as written and as meant.

mod environment;
mod password;
mod password_command;
mod paths;
mod raw;
/// Sizes as a person writes them.
pub mod size;
mod validate;

pub use environment::Environment;
pub use password::Password;
pub(crate) use paths::read;

use std::path::{Path, PathBuf};

use crate::config::paths::PathResolver;
use crate::config::raw::RawConfig;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::untrusted::Untrusted;

/// `config.json` as meant: checked once, trusted everywhere.
#[derive(Debug, Clone)]
pub struct Config {
    /// The mailbox that mail comes from.
    pub source: SourceConfig,
    /// The mailbox that mail goes to.
    pub target: TargetConfig,
    /// How many days back the first run goes.
    pub first_run_days: u32,
    /// Whether `\Seen`, `\Flagged` and `\Answered` are copied.
    pub copy_flags: bool,
    /// The most octets to send in 24 hours; `None`: no limit of ours.
    pub daily_upload_limit: Option<u64>,
    credentials_stamp: String,
    warnings: Vec<String>,
}

/// The mailbox that mail comes from.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Where it is.
    pub server: Server,
    /// The user to log in as.
    pub user: String,
    /// Where the password comes from.
    pub password: Password,
    /// The folder, as a person writes it (not yet in modified UTF-7).
    pub folder: String,
}

/// The mailbox that mail goes to.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Where it is.
    pub server: Server,
    /// The Gmail address.
    pub user: String,
    /// The file that holds the OAuth2 token.
    pub token_file: PathBuf,
    /// The folder, as a person writes it.
    pub folder: String,
    /// The most append connections at a time, 1 to 10.
    pub connections: usize,
    /// The command that makes the token file anew, as a person types it.
    pub auth_command: String,
}

/// A server, and how its identity is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// The name to expect in the certificate.
    pub tls_name: String,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Server {
    /// `host:port`, as error messages name the server; an IPv6 address in brackets.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// TLS from the first octet (RFC 8314).
    Implicit,
    /// STARTTLS, required (RFC 3501 6.2.1).
    StartTls,
    /// Plain text; to loopback only.
    None,
}

impl Config {
    /// Reads the file and checks all of it; mistakes are told all together.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: it cannot be read, is not JSON, or fields are wrong.
    pub fn load(path: &Path, environment: &Environment) -> Result<Config> {
        let octets = read(path).map_err(|error| {
            wrong(path, format_args!("cannot be read: {error}")).remedy("correct --config")
        })?;
        let written = RawConfig::parse(&octets).map_err(|mistake| wrong(path, mistake))?;
        let places = PathResolver::new(path, environment);
        let mut config =
            validate::config(written, &places).map_err(|mistakes| wrong(path, mistakes))?;
        let password_file = config.source.password.file();
        // Taken before the password is read: a change in between is noticed by the next run.
        config.credentials_stamp = paths::stamp(&octets, password_file);
        config.warnings = config.readable_by_others(path, environment);
        config.target.auth_command = places.auth_command(path, &config.target.token_file);
        Ok(config)
    }

    /// The source as the state names it: `user/folder`.
    #[must_use]
    pub fn source_account(&self) -> String {
        format!("{}/{}", self.source.user, self.source.folder)
    }

    /// The source as the cursor names it: `user@host/folder`.
    #[must_use]
    pub fn source_name(&self) -> String {
        let SourceConfig {
            server,
            user,
            folder,
            ..
        } = &self.source;
        format!("{user}@{}/{folder}", server.host)
    }

    /// The target as the state names it: `user/folder`.
    #[must_use]
    pub fn target_account(&self) -> String {
        format!("{}/{}", self.target.user, self.target.folder)
    }

    /// A text that changes when what config or password file holds changes, and shows nothing of it.
    #[must_use]
    pub fn credentials_stamp(&self) -> String {
        self.credentials_stamp.clone()
    }

    /// What a person should mend although the run goes on, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A line for each file with a secret in it that others may read.
    fn readable_by_others(&self, path: &Path, environment: &Environment) -> Vec<String> {
        let password_file = self.source.password.file();
        let credentials = environment.credentials_directory.as_deref();
        // A configuration that only says where the password is may be read by everybody, and
        // systemd guards its credentials itself.
        let own_file = password_file.is_none().then_some(path);
        let password_file = password_file
            .filter(|file| !credentials.is_some_and(|folder| file.starts_with(folder)));
        [own_file, password_file, Some(&self.target.token_file)]
            .into_iter()
            .flatten()
            .filter(|file| paths::can_be_read_by_others(file))
            .map(|file| {
                let shown = paths::as_typed_in_a_shell(file);
                format!("{shown} holds a secret and can be read by others; type: chmod 600 {shown}")
            })
            .collect()
    }
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> Error {
    let shown = Untrusted::path(path);
    Error::new(Side::Config, ErrorKind::Config, shown, what)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

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
            files.write("token.json", "{}");
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
    fn accounts_are_named_as_in_the_state() {
        let config = Files::new().load();
        assert_eq!(config.source_account(), "alice/INBOX");
        assert_eq!(config.source_name(), "alice@mail.example.com/INBOX");
        assert_eq!(config.target_account(), "alice@gmail.com/INBOX");
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_wrong_is_told_by_its_path() {
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
    fn the_stamp_changes_with_what_the_files_hold_and_with_nothing_else() {
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
    fn files_with_secrets_that_others_may_read_are_warned_of() {
        let files = Files::new();
        let warned = |environment: &Environment| {
            let config = Config::load(&files.path("config.json"), environment).unwrap();
            config
                .warnings()
                .join("\n")
                .replace(files.0.path().to_str().unwrap(), "…")
        };
        let plain = Environment::default();
        assert_eq!(warned(&plain), "");

        // It does not hold the password.
        files.permit("config.json", 0o644);
        assert_eq!(warned(&plain), "");

        files.permit("password", 0o640);
        files.permit("token.json", 0o604);
        assert_eq!(
            warned(&plain),
            "…/password holds a secret and can be read by others; type: chmod 600 …/password\n\
             …/token.json holds a secret and can be read by others; type: chmod 600 …/token.json"
        );
        let credentials = Environment {
            credentials_directory: Some(files.0.path().to_owned()),
            ..plain.clone()
        };
        files.permit("token.json", 0o600);
        assert_eq!(warned(&credentials), "");

        files.write("config.json", &FIELDS.replace("_pass_file", "_pass"));
        files.permit("config.json", 0o644);
        assert_eq!(
            warned(&plain),
            "…/config.json holds a secret and can be read by others; type: chmod 600 …/config.json"
        );
    }

    #[test]
    fn a_path_can_be_pasted_behind_chmod() {
        let cases = [
            ("/home/alice/config.json", "/home/alice/config.json"),
            ("My Files/c.json", "'My Files/c.json'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ];
        for (path, typed) in cases {
            assert_eq!(paths::as_typed_in_a_shell(Path::new(path)), typed);
        }
    }

    #[test]
    fn the_command_for_another_token_names_its_files_in_full() {
        let environment = Environment {
            credentials_directory: Some("/run/credentials/a.service".into()),
            ..Environment::default()
        };
        let command = |config: &str, token: &str| {
            let places = PathResolver::new(Path::new(config), &environment);
            places.auth_command(Path::new(config), Path::new(token))
        };
        let begin = "imap-to-gmail-sync auth --credentials client_secret.json --config";
        let here = std::env::current_dir().unwrap();
        let here = paths::as_typed_in_a_shell(&here);
        assert_eq!(
            command("/etc/mail/a.json", "/etc/mail/token.json"),
            format!("{begin} /etc/mail/a.json --force")
        );
        assert_eq!(
            command("a.json", "token.json"),
            format!("{begin} {here}/a.json --force")
        );
        // Found in the current folder, and not beside the configuration.
        assert_eq!(
            command("/etc/mail/a.json", "token.json"),
            format!("{begin} /etc/mail/a.json --token {here}/token.json --force")
        );
        // The copy that systemd makes for the service is gone when a person reads this.
        assert_eq!(
            command("/run/credentials/a.service/a.json", "token.json"),
            format!("{begin} CONFIG.json --token {here}/token.json --force")
        );
    }

    #[test]
    fn nothing_shows_a_secret() {
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
