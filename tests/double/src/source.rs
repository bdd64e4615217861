//! The plain IMAP source.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use chrono::{DateTime, FixedOffset, Offset, Utc};

use crate::claimed::ClaimedMail;
use crate::clock::Clock;
use crate::quirks::{MessageFault, Quirk};
use crate::server::{Role, Server, Shared};
use crate::store::{Store, StoredMessage};
use crate::tls::Certificate;

/// The UIDVALIDITY of the first mailbox: a Unix time in 2023, as of servers that take it from their
/// clock.
const FIRST_VALIDITY: u32 = 1_700_000_000;

/// The TLS mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// TLS from the first octet.
    #[default]
    Implicit,
    /// STARTTLS is required before a log-in.
    StartTls,
    /// Plain text.
    Plain,
}

/// The options of a source.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// The TLS mode.
    pub security: Security,
    /// The kind of certificate; read at the start only.
    pub certificate: Certificate,
    /// The server's clock; read at the start only.
    pub clock: Clock,
    /// Capabilities to omit, and to reject when they are used: `SASL-IR`, `AUTH=PLAIN`, `IDLE`,
    /// `UIDPLUS`, `ID`, `LIST-EXTENDED`, `LIST-STATUS`, `NOTIFY`. Without `SPECIAL-USE` mailboxes have no
    /// roles.
    pub without: Vec<String>,
    /// Whether capabilities are sent in the greeting and in the response to a log-in.
    pub volunteers_capabilities: bool,
    /// The time zone of SINCE, BEFORE and ON.
    pub zone: FixedOffset,
    /// The quirks of the server.
    pub quirks: BTreeSet<Quirk>,
    /// The faults of messages, by UID.
    pub message_faults: BTreeMap<u32, MessageFault>,
    /// The hierarchy delimiter.
    pub delimiter: char,
    /// What the names of the user's mailboxes begin with, by NAMESPACE alone: tests create them so.
    pub prefix: &'static str,
    /// Mailboxes that are listed and may not be opened (RFC 4314).
    pub forbidden: BTreeSet<String>,
    /// What INBOX claims to hold instead of the messages that were delivered.
    pub claimed: Option<ClaimedMail>,
}

impl Default for SourceOptions {
    fn default() -> SourceOptions {
        SourceOptions {
            user: "user".to_owned(),
            password: "secret".to_owned(),
            security: Security::default(),
            certificate: Certificate::default(),
            clock: Clock::default(),
            without: Vec::new(),
            volunteers_capabilities: true,
            zone: Utc.fix(),
            quirks: BTreeSet::new(),
            message_faults: BTreeMap::new(),
            delimiter: '/',
            prefix: "",
            forbidden: BTreeSet::new(),
            claimed: None,
        }
    }
}

/// A running source; dropping stops it.
pub struct Source {
    server: Server,
}

impl Source {
    /// Starts a source with an empty INBOX.
    #[must_use]
    pub fn start(options: SourceOptions) -> Source {
        let mut store = Store::new(FIRST_VALIDITY);
        store.create("INBOX", &["\\HasNoChildren"]);
        let clock = options.clock.clone();
        let certificate = options.certificate.clone();
        let role = Role::Source(Box::new(Mutex::new(options)));
        Source {
            server: Server::start(Shared::new(role, clock, &certificate, store)),
        }
    }

    /// Changes the options.
    pub fn change(&self, change: impl FnOnce(&mut SourceOptions)) {
        change(&mut self.server.shared().source().unwrap());
    }

    /// Delivers mail to INBOX; returns its UID.
    pub fn deliver(
        &self,
        octets: &[u8],
        internal_date: DateTime<FixedOffset>,
        flags: &[&str],
    ) -> u32 {
        self.mailboxes()
            .deliver("INBOX", octets, internal_date, flags)
    }

    /// Creates mailboxes with German names and the roles of RFC 6154.
    pub fn create_german_folders(&self) {
        for (name, role) in [
            ("Entw&APw-rfe", "\\Drafts"),
            ("Gesendet", "\\Sent"),
            ("Papierkorb", "\\Trash"),
            ("Spamverdacht", "\\Junk"),
        ] {
            self.mailboxes()
                .create_with(name, &["\\HasNoChildren", role]);
        }
    }

    /// Removes a message from INBOX.
    pub fn expunge(&self, uid: u32) {
        self.mailboxes().expunge("INBOX", uid);
    }

    /// Changes the UIDVALIDITY of INBOX; the messages are renumbered from 1.
    pub fn set_uid_validity(&self, uid_validity: u32) {
        self.mailboxes().set_uid_validity("INBOX", uid_validity);
    }

    /// The messages of a mailbox, by UID.
    #[must_use]
    pub fn messages(&self, mailbox: &str) -> Vec<StoredMessage> {
        self.mailboxes().messages(mailbox)
    }
}

impl Deref for Source {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Source {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
