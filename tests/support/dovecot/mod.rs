//! A real Dovecot with its own configuration, ports and mail in a temporary folder.
//!
//! Versions 2.3 and 2.4 work, as root and as an ordinary user. It is the source (users with passwords)
//! or the target (XOAUTH2 with bearer tokens that it validates at an introspection endpoint).
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::{Server, TlsMode};
use tempfile::TempDir;

pub mod certificate;
pub mod client;
pub mod introspection;

pub use certificate::Certificate;
pub use client::Client;
pub use introspection::Introspection;

/// The password of every user; it contains characters that must be quoted or encoded.
pub const PASSWORD: &str = "pä\"ss{5}";

/// Only a test that fails waits as long.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// After that it is killed, with its child processes.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);

#[derive(Default)]
pub struct Settings {
    /// By default a self-signed one for `localhost` and 127.0.0.1.
    pub certificate: Option<Certificate>,
    /// The address of the token introspection endpoint.
    pub introspection: Option<String>,
    /// Lines at the end of the configuration.
    pub more: String,
}

/// A running Dovecot; dropping stops it.
pub struct Dovecot {
    process: Child,
    folder: TempDir,
    plain_port: u16,
    tls_port: u16,
    certificate: Certificate,
}

impl Dovecot {
    pub fn start() -> Dovecot {
        Dovecot::start_with(Settings::default())
    }

    /// Starts a target: XOAUTH2 with the tokens of this endpoint. A test reads what arrived by logging
    /// in with the password ([`client`](Dovecot::client)).
    pub fn start_target(introspection: &Introspection) -> Dovecot {
        Dovecot::start_with(Settings {
            introspection: Some(introspection.url()),
            ..Settings::default()
        })
    }

    /// Starts one and waits until it greets.
    ///
    /// A port that was found free may be taken by another test before Dovecot listens on it: then it
    /// tries others.
    pub fn start_with(settings: Settings) -> Dovecot {
        let certificate = settings
            .certificate
            .unwrap_or_else(|| Certificate::self_signed(&["localhost", "127.0.0.1"]));
        let mut errors = String::new();
        for _ in 0..5 {
            let introspection = settings.introspection.as_deref();
            let mut dovecot = Dovecot::spawn(certificate.clone(), introspection, &settings.more);
            match dovecot.wait_until_it_greets() {
                Ok(()) => return dovecot,
                Err(why) => errors = why,
            }
        }
        panic!("dovecot does not start: {errors}");
    }

    fn spawn(certificate: Certificate, introspection: Option<&str>, more: &str) -> Dovecot {
        let folder = TempDir::with_prefix("dovecot-").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("cert.pem"), &certificate.chain).unwrap();
        fs::write(folder.path().join("key.pem"), &certificate.key).unwrap();
        let ports = free_ports();
        let configuration = Configuration {
            folder: folder.path(),
            ports,
            introspection,
            more,
        };
        let file = configuration.write();
        let process = Command::new(program())
            .arg("-F")
            .arg("-c")
            .arg(&file)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .expect("dovecot can be started");
        Dovecot {
            process,
            folder,
            plain_port: ports[0],
            tls_port: ports[1],
            certificate,
        }
    }

    /// The server by implicit TLS, with its certificate or authority as the CA file.
    pub fn server(&self) -> Server {
        Server {
            host: "127.0.0.1".to_owned(),
            port: self.tls_port,
            tls: TlsMode::Implicit,
            tls_name: "localhost".to_owned(),
            ca_file: Some(self.ca_file()),
        }
    }

    pub fn server_by_starttls(&self) -> Server {
        Server {
            port: self.plain_port,
            tls: TlsMode::StartTls,
            ..self.server()
        }
    }

    pub fn server_in_plain_text(&self) -> Server {
        Server {
            port: self.plain_port,
            tls: TlsMode::None,
            ca_file: None,
            ..self.server()
        }
    }

    pub fn ca_file(&self) -> PathBuf {
        let file = self.folder.path().join("ca.pem");
        fs::write(&file, &self.certificate.authority).unwrap();
        file
    }

    /// A client that is logged in, to store messages and to read them.
    pub fn client(&self, user: &str) -> Client {
        let mut client = Client::connect(self.plain_port);
        client.log_in(user, PASSWORD);
        client
    }

    /// The folder of a user's mail.
    pub fn mail_folder(&self, user: &str) -> PathBuf {
        self.folder.path().join("mail").join(user)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// How the sessions of a user ended, by Dovecot's log; waits until there are this many.
    pub fn wait_for_ended_sessions(&self, user: &str, count: usize) -> Vec<String> {
        let begin = format!("imap({user})");
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let log = self.log();
            let ends = log.lines().filter(|line| {
                line.contains(&begin) && (line.contains("Logged out") || line.contains("onnection"))
            });
            let ends: Vec<String> = ends.map(str::to_owned).collect();
            if ends.len() >= count || Instant::now() > deadline {
                return ends;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Disconnects a user's sessions.
    pub fn kick(&self, user: &str) {
        let status = Command::new("doveadm")
            .arg("-c")
            .arg(self.folder.path().join("dovecot.conf"))
            .args(["kick", user])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok());
    }

    /// Waits until it greets; the error says why it does not.
    fn wait_until_it_greets(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Err(format!("it exited with {status}: {}", self.errors()));
            }
            let is_up = [self.plain_port, self.tls_port]
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok());
            if is_up && Client::try_connect(self.plain_port).is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("it does not greet: {}", self.errors()))
    }

    fn signal(arguments: &[&str]) {
        let _ = Command::new("kill")
            .args(arguments)
            .stderr(Stdio::null())
            .status();
    }

    fn errors(&self) -> String {
        let stderr = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
        format!("{stderr}{}", self.log())
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("dovecot's log:\n{}", self.errors());
        }
        // On SIGTERM the master ends its children, but may wait for them for seconds.
        let pid = self.process.id();
        Dovecot::signal(&["-TERM", &pid.to_string()]);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Dovecot::signal(&["-KILL", "--", &format!("-{pid}")]);
        let _ = self.process.wait();
    }
}

/// The values in `dovecot.conf`.
struct Configuration<'a> {
    folder: &'a Path,
    ports: [u16; 2],
    introspection: Option<&'a str>,
    more: &'a str,
}

impl Configuration<'_> {
    fn write(&self) -> PathBuf {
        let mail = self.folder.join("mail");
        fs::create_dir(&mail).unwrap();
        let runs_as_root = fs::metadata(&mail).unwrap().uid() == 0;
        let (uid, gid) = if runs_as_root {
            let nobody = (65534, 65534);
            chown(&mail, Some(nobody.0), Some(nobody.1)).unwrap();
            nobody
        } else {
            let mine = fs::metadata(&mail).unwrap();
            (mine.uid(), mine.gid())
        };
        let text = if version().starts_with("2.3") {
            self.for_2_3(uid, gid)
        } else {
            self.for_2_4(uid, gid)
        };
        let text = format!("{text}{}{}\n", self.common(uid, runs_as_root), self.more);
        let file = self.folder.join("dovecot.conf");
        fs::write(&file, text).unwrap();
        file
    }

    fn common(&self, uid: u32, runs_as_root: bool) -> String {
        let folder = self.folder.display();
        let [plain_port, tls_port] = self.ports;
        let mut text = format!(
            "base_dir = {folder}/run\n\
             state_dir = {folder}/state\n\
             log_path = {folder}/log\n\
             listen = 127.0.0.1\n\
             ssl = yes\n\
             mail_uid = {uid}\n\
             first_valid_uid = 1\n\
             service imap-login {{\n  process_min_avail = 1\n  chroot =\n\
             inet_listener imap {{\n    port = {plain_port}\n  }}\n\
             inet_listener imaps {{\n    port = {tls_port}\n    ssl = yes\n  }}\n}}\n\
             auth_failure_delay = 0\n\
             mail_fsync = never\n\
             service anvil {{\n  chroot =\n  \
             unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\n\
             service imap {{\n  process_limit = 100\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n{}}}\n",
            special_folders()
        );
        if !runs_as_root {
            let me = whoami();
            let _ = write!(
                text,
                "default_internal_user = {me}\ndefault_internal_group = {}\n\
                 default_login_user = {me}\n",
                my_group()
            );
        }
        text
    }

    fn for_2_3(&self, uid: u32, gid: u32) -> String {
        let folder = self.folder.display();
        let mut text = format!(
            "protocols = imap\n\
             disable_plaintext_auth = no\n\
             ssl_cert = <{folder}/cert.pem\n\
             ssl_key = <{folder}/key.pem\n\
             mail_location = maildir:{folder}/mail/%u\n\
             auth_mechanisms = plain{}\n\
             passdb {{\n  driver = static\n  mechanisms = plain\n  args = password={PASSWORD}\n}}\n\
             userdb {{\n  driver = static\n  args = uid={uid} gid={gid} home={folder}/mail/%u\n}}\n",
            if self.introspection.is_some() {
                " xoauth2 oauthbearer"
            } else {
                ""
            }
        );
        if let Some(endpoint) = self.introspection {
            let oauth2 = self.folder.join("oauth2.conf");
            fs::write(
                &oauth2,
                format!(
                    "introspection_mode = post\nintrospection_url = {endpoint}\n\
                     username_attribute = username\nactive_attribute = active\n\
                     active_value = true\ntokeninfo_url =\n"
                ),
            )
            .unwrap();
            let _ = write!(
                text,
                "passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}\n}}\n",
                oauth2.display()
            );
        }
        text
    }

    fn for_2_4(&self, uid: u32, gid: u32) -> String {
        let folder = self.folder.display();
        let quoted = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = format!(
            "dovecot_config_version = 2.4.0\n\
             dovecot_storage_version = 2.4.0\n\
             protocols = imap\n\
             auth_allow_cleartext = yes\n\
             ssl_server_cert_file = {folder}/cert.pem\n\
             ssl_server_key_file = {folder}/key.pem\n\
             mail_driver = maildir\n\
             mail_path = {folder}/mail/%{{user}}\n\
             passdb static {{\n  mechanisms_filter = plain\n  password = \"{quoted}\"\n}}\n\
             userdb static {{\n  fields {{\n    uid = {uid}\n    gid = {gid}\n    \
             home = {folder}/mail/%{{user}}\n  }}\n}}\n"
        );
        if let Some(endpoint) = self.introspection {
            let _ = write!(
                text,
                "auth_mechanisms = plain xoauth2 oauthbearer\n\
                 oauth2 {{\n  introspection_mode = post\n  introspection_url = {endpoint}\n  \
                 username_attribute = username\n  active_attribute = active\n  \
                 active_value = true\n}}\n\
                 passdb oauth2 {{\n  mechanisms_filter = xoauth2 oauthbearer\n}}\n"
            );
        } else {
            text.push_str("auth_mechanisms = plain\n");
        }
        text
    }
}

/// Gmail's folders with German names: the program must find them by attribute.
fn special_folders() -> String {
    [
        ("[Gmail]/Alle Nachrichten", "\\All"),
        ("[Gmail]/Papierkorb", "\\Trash"),
        ("[Gmail]/Spam", "\\Junk"),
    ]
    .iter()
    .fold(String::new(), |mut text, (name, attribute)| {
        let _ = write!(
            text,
            "  mailbox \"{name}\" {{\n    auto = create\n    special_use = {attribute}\n  }}\n"
        );
        text
    })
}

fn program() -> PathBuf {
    ["/usr/sbin/dovecot", "/usr/local/sbin/dovecot"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("these tests need Dovecot: apt-get install dovecot-imapd")
}

/// The version, such as `2.3.19.1`.
pub fn version() -> String {
    output(program(), &["--version"])
}

fn whoami() -> String {
    output("id", &["-un"])
}

fn my_group() -> String {
    output("id", &["-gn"])
}

fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Two free ports; both listeners stay open until both are known, so that they differ.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
