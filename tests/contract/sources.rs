//! The source servers.

use double::SourceOptions;
use imap_to_gmail_sync::config::{Password, Server, SourceConfig, TlsMode};
use imap_to_gmail_sync::error::Result;
use imap_to_gmail_sync::message::Mailbox;
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::ImapSource;
use tempfile::TempDir;

use crate::Mail;
use crate::courier::Courier;
use crate::dovecot::{Client, Dovecot, PASSWORD};

/// A server with mailboxes that a test can fill, read and change.
pub trait SourceServer {
    fn server(&self) -> Server;
    fn user(&self) -> &str;
    fn password(&self) -> &str;
    /// Delivers mail; returns its UID.
    fn deliver(&mut self, folder: &str, mail: &Mail) -> u32;
    fn expunge(&mut self, folder: &str, uid: u32);
    /// The flags of the messages, by UID.
    fn flags(&mut self, folder: &str) -> Vec<String>;
    /// The name of a folder other than INBOX, as the user writes it and in modified UTF-7.
    fn other_folder(&self) -> [String; 2] {
        OTHER.map(str::to_owned)
    }
    /// Creates a folder; its name is in modified UTF-7.
    fn create(&mut self, folder: &str);
    /// Empties the folder and changes its UIDVALIDITY.
    fn recreate(&mut self, folder: &str);

    /// The octets that the server returns for a message that was stored with these.
    fn as_returned(&self, octets: &[u8]) -> Vec<u8> {
        octets.to_vec()
    }

    fn open_as(&self, password: &str, folder: &str) -> Result<(ImapSource, Mailbox)> {
        let password = Secret::new(password.to_owned());
        let config = SourceConfig {
            server: self.server(),
            user: self.user().to_owned(),
            password: Password::Given(password.clone()),
            folder: folder.to_owned(),
        };
        ImapSource::open(&config, password, ConnectionOptions::default())
    }

    fn open_with_options(&self, options: ConnectionOptions) -> (ImapSource, Mailbox) {
        let password = Secret::new(self.password().to_owned());
        let config = SourceConfig {
            server: self.server(),
            user: self.user().to_owned(),
            password: Password::Given(password.clone()),
            folder: "INBOX".to_owned(),
        };
        ImapSource::open(&config, password, options).unwrap()
    }

    fn open(&self, folder: &str) -> (ImapSource, Mailbox) {
        self.open_as(self.password(), folder).unwrap()
    }
}

/// A name that must be quoted and encoded.
const OTHER: [&str; 2] = ["Grüße \"& mehr\"", "Gr&APwA3w-e \\\"&- mehr\\\""];

impl SourceServer for Dovecot {
    fn server(&self) -> Server {
        Dovecot::server(self)
    }

    fn user(&self) -> &'static str {
        "alice"
    }

    fn password(&self) -> &str {
        PASSWORD
    }

    fn deliver(&mut self, folder: &str, mail: &Mail) -> u32 {
        deliver(&mut self.client("alice"), folder, mail)
    }

    fn expunge(&mut self, folder: &str, uid: u32) {
        self.client("alice").expunge(folder, uid);
    }

    fn flags(&mut self, folder: &str) -> Vec<String> {
        flags(&mut self.client("alice"), folder)
    }

    fn create(&mut self, folder: &str) {
        self.client("alice").create(folder);
    }

    fn recreate(&mut self, folder: &str) {
        let mut alice = self.client("alice");
        alice.command(&format!("DELETE \"{folder}\""));
        // Dovecot's UIDVALIDITY is a time in seconds, and is never reused.
        alice.create(folder);
    }
}

/// Appends mail to a folder; returns its UID.
pub fn deliver(client: &mut Client, folder: &str, mail: &Mail) -> u32 {
    let date = mail.date.format("%d-%b-%Y %H:%M:%S %z").to_string();
    client.append(folder, &mail.flags, &date, &mail.octets);
    let response = client.command(&format!("STATUS \"{folder}\" (UIDNEXT)"));
    let response = String::from_utf8_lossy(&response).into_owned();
    let (_, rest) = response.split_once("UIDNEXT ").unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().unwrap() - 1
}

/// The copied flags of the messages of a folder.
pub fn flags(client: &mut Client, folder: &str) -> Vec<String> {
    let messages = client.messages(folder);
    messages
        .iter()
        .map(|message| crate::copied(&message.flags))
        .collect()
}

/// The double as a source.
pub struct Double {
    source: double::Source,
    folder: TempDir,
}

impl Double {
    pub fn start() -> Double {
        Double::with(SourceOptions::default())
    }

    pub fn with(options: SourceOptions) -> Double {
        Double {
            source: double::Source::start(options),
            folder: TempDir::new().unwrap(),
        }
    }

    pub fn source(&self) -> &double::Source {
        &self.source
    }
}

impl SourceServer for Double {
    fn server(&self) -> Server {
        let ca_file = self.folder.path().join("ca.pem");
        std::fs::write(&ca_file, self.source.ca_pem()).unwrap();
        Server {
            host: "127.0.0.1".to_owned(),
            port: self.source.port(),
            tls: TlsMode::Implicit,
            tls_name: "localhost".to_owned(),
            ca_file: Some(ca_file),
        }
    }

    fn user(&self) -> &'static str {
        "user"
    }

    fn password(&self) -> &'static str {
        "secret"
    }

    fn deliver(&mut self, folder: &str, mail: &Mail) -> u32 {
        let flags: Vec<&str> = mail.flags.split_whitespace().collect();
        let mailboxes = self.source.mailboxes();
        mailboxes.deliver(&unquote(folder), &mail.octets, mail.date, &flags)
    }

    fn expunge(&mut self, folder: &str, uid: u32) {
        self.source.mailboxes().expunge(&unquote(folder), uid);
    }

    fn flags(&mut self, folder: &str) -> Vec<String> {
        let messages = self.source.messages(&unquote(folder));
        messages
            .iter()
            .map(|stored| crate::copied(&stored.flags))
            .collect()
    }

    fn create(&mut self, folder: &str) {
        self.source.mailboxes().create(&unquote(folder));
    }

    fn recreate(&mut self, folder: &str) {
        let (folder, mailboxes) = (unquote(folder), self.source.mailboxes());
        for stored in mailboxes.messages(&folder) {
            mailboxes.expunge(&folder, stored.uid);
        }
        mailboxes.set_uid_validity(&folder, mailboxes.uid_validity(&folder) + 1);
    }
}

/// Removes the quoting from a name.
fn unquote(folder: &str) -> String {
    folder.replace('\\', "")
}

impl SourceServer for Courier {
    fn server(&self) -> Server {
        Courier::server(self)
    }

    fn user(&self) -> &'static str {
        "alice"
    }

    fn password(&self) -> &'static str {
        "secret"
    }

    fn deliver(&mut self, folder: &str, mail: &Mail) -> u32 {
        deliver(self.client(), folder, mail)
    }

    fn expunge(&mut self, folder: &str, uid: u32) {
        let client = self.client();
        client.command(&format!("SELECT \"{folder}\""));
        client.command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
        client.command("CLOSE");
    }

    fn as_returned(&self, octets: &[u8]) -> Vec<u8> {
        match octets {
            [.., b'\r', b'\n'] => octets.to_vec(),
            // Courier ends the last line if the sender did not.
            open => [open, b"\r\n"].concat(),
        }
    }

    fn flags(&mut self, folder: &str) -> Vec<String> {
        flags(self.client(), folder)
    }

    /// All folders of a Maildir lie below INBOX.
    fn other_folder(&self) -> [String; 2] {
        OTHER.map(|name| format!("INBOX.{name}"))
    }

    fn create(&mut self, folder: &str) {
        self.client().create(folder);
    }

    fn recreate(&mut self, folder: &str) {
        self.client().command(&format!("DELETE \"{folder}\""));
        self.client().create(folder);
    }
}
