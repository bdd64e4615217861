//! The plain IMAP source.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use chrono::{DateTime, FixedOffset, Offset, Utc};

use crate::clock::Clock;
use crate::quirks::{MessageFault, Quirk};
use crate::server::{Role, Server, Shared};
use crate::store::{Store, StoredMessage};
use crate::tls::Certificate;

/// The UIDVALIDITY of the first mailbox; some time in 2023, as servers take it from their clock.
const FIRST_VALIDITY: u32 = 1_700_000_000;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// TLS from the first octet.
    #[default]
    Implicit,
    /// Plain text until STARTTLS; no log-in before.
    StartTls,
    /// Plain text.
    Plain,
}

/// How a plain source is.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// The user who can log in.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// How connections are protected.
    pub security: Security,
    /// What is right or wrong about the certificate; read at the start only.
    pub certificate: Certificate,
    /// The clock it goes by; read at the start only.
    pub clock: Clock,
    /// Words missing from the capability lists, and what they stand for refused:
    /// `SASL-IR`, `AUTH=PLAIN`, `IDLE`, `UIDPLUS`, `ID`.
    pub without: Vec<String>,
    /// Says what it can in the greeting and in the answer to a log-in.
    pub volunteers_capabilities: bool,
    /// The time zone whose days SINCE, BEFORE and ON mean.
    pub zone: FixedOffset,
    /// What it does as odd servers do.
    pub quirks: BTreeSet<Quirk>,
    /// What is wrong with messages, by UID.
    pub message_faults: BTreeMap<u32, MessageFault>,
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
        }
    }
}

/// A running plain source; it stops when this is dropped.
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
        let role = Role::Source(Mutex::new(options));
        Source {
            server: Server::start(Shared::new(role, clock, &certificate, store)),
        }
    }

    /// Changes the options from now on.
    pub fn change(&self, change: impl FnOnce(&mut SourceOptions)) {
        change(&mut self.server.shared().source().unwrap());
    }

    /// Mail arrives in INBOX; gives its UID.
    pub fn deliver(
        &self,
        octets: &[u8],
        internal_date: DateTime<FixedOffset>,
        flags: &[&str],
    ) -> u32 {
        self.mailboxes()
            .deliver("INBOX", octets, internal_date, flags)
    }

    /// Removes a message from INBOX.
    pub fn expunge(&self, uid: u32) {
        self.mailboxes().expunge("INBOX", uid);
    }

    /// Gives INBOX another UIDVALIDITY; the messages are renumbered from 1.
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
