//! The target servers.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use double::GmailOptions;
use imap_to_gmail_sync::config::{Server, TargetConfig, TlsMode};
use imap_to_gmail_sync::delivery::gmail_imap::{GmailTarget, GmailTargetOptions};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::oauth::RenewalPolicy;
use tempfile::TempDir;

use crate::dovecot::{self, Introspection};
use crate::{Mail, copied};

/// A target account, with a folder that a test can read.
pub trait Account {
    fn server(&self) -> Server;
    fn user(&self) -> String;
    /// A valid token.
    fn token(&self) -> String;
    fn files(&self) -> &TempDir;
    /// The target folder, whose messages are also in All Mail.
    fn folder(&self) -> &'static str;
    /// The messages in it, with their UIDs.
    fn messages(&self) -> Vec<(u32, Mail)>;
    /// Moves a message to the trash.
    fn trash(&self, uid: u32);
    /// The number of messages of a folder; its name is in modified UTF-7.
    fn count(&self, folder: &str) -> usize;
    /// Closes every connection.
    fn kick(&self);

    fn target(&self) -> GmailTarget {
        self.target_with(&self.token(), self.folder())
    }

    fn target_with(&self, token: &str, folder: &str) -> GmailTarget {
        let token_file = self.files().path().join("token.json");
        fs::write(&token_file, format!(r#"{{"token":"{token}"}}"#)).unwrap();
        GmailTarget::new(GmailTargetOptions {
            config: TargetConfig {
                server: self.server(),
                user: self.user(),
                token_file,
                folder: folder.to_owned(),
                connections: 3,
                auth_command: "auth".to_owned(),
                import: None,
            },
            now: Arc::new(Utc::now),
            connection: ConnectionOptions::default(),
            rejected_token: None,
            renewal: RenewalPolicy::Save,
        })
    }
}

const USER: &str = "bob@example.com";

/// Dovecot, which validates tokens by introspection.
pub struct Dovecot {
    server: dovecot::Dovecot,
    files: TempDir,
    _introspection: Introspection,
}

impl Dovecot {
    pub fn start() -> Dovecot {
        let introspection = Introspection::start();
        introspection.issue("good", USER);
        Dovecot {
            server: dovecot::Dovecot::start_target(&introspection),
            files: TempDir::new().unwrap(),
            _introspection: introspection,
        }
    }
}

impl Account for Dovecot {
    fn server(&self) -> Server {
        self.server.server()
    }

    fn user(&self) -> String {
        USER.to_owned()
    }

    fn token(&self) -> String {
        "good".to_owned()
    }

    fn files(&self) -> &TempDir {
        &self.files
    }

    fn folder(&self) -> &'static str {
        "[Gmail]/Alle Nachrichten"
    }

    fn messages(&self) -> Vec<(u32, Mail)> {
        let messages = self.server.client(USER).messages(self.folder());
        messages
            .into_iter()
            .map(|message| {
                let mail = Mail {
                    octets: message.octets,
                    date: message.internal_date,
                    flags: copied(&message.flags),
                };
                (message.uid, mail)
            })
            .collect()
    }

    fn trash(&self, uid: u32) {
        let mut client = self.server.client(USER);
        client.command(&format!("SELECT \"{}\"", self.folder()));
        client.command(&format!("UID MOVE {uid} \"[Gmail]/Papierkorb\""));
    }

    fn count(&self, folder: &str) -> usize {
        self.server.client(USER).messages(folder).len()
    }

    fn kick(&self) {
        self.server.kick(USER);
    }
}

/// The Gmail double.
pub struct Double {
    gmail: double::Gmail,
    files: TempDir,
}

impl Double {
    pub fn start() -> Double {
        Double {
            gmail: double::Gmail::start(GmailOptions::default()),
            files: TempDir::new().unwrap(),
        }
    }
}

impl Account for Double {
    fn server(&self) -> Server {
        let ca_file = self.files.path().join("ca.pem");
        fs::write(&ca_file, self.gmail.ca_pem()).unwrap();
        Server {
            host: "127.0.0.1".to_owned(),
            port: self.gmail.port(),
            tls: TlsMode::Implicit,
            tls_name: "localhost".to_owned(),
            ca_file: Some(ca_file),
        }
    }

    fn user(&self) -> String {
        self.gmail.user()
    }

    fn token(&self) -> String {
        self.gmail
            .tokens()
            .issue(&self.user(), Duration::from_hours(1))
    }

    fn files(&self) -> &TempDir {
        &self.files
    }

    fn folder(&self) -> &'static str {
        "INBOX"
    }

    fn messages(&self) -> Vec<(u32, Mail)> {
        let stored = self.gmail.messages("INBOX");
        stored
            .into_iter()
            .map(|stored| {
                let mail = Mail {
                    octets: stored.octets,
                    date: stored.internal_date,
                    flags: copied(&stored.flags),
                };
                (stored.uid, mail)
            })
            .collect()
    }

    fn trash(&self, uid: u32) {
        self.gmail.trash(uid);
    }

    fn count(&self, folder: &str) -> usize {
        self.gmail.messages(&folder.replace('\\', "")).len()
    }

    fn kick(&self) {
        self.gmail.disconnect();
    }
}
