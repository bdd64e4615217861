//! Gmail: its options, its mailboxes and its tokens.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};

use crate::append::Unfinished;
use crate::clock::Clock;
use crate::server::{Role, Server, Shared};
use crate::store::{Store, Stored};
use crate::tls::Certificate;
use crate::tokens::Tokens;

/// When a search finds what was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexDelay {
    /// At once.
    #[default]
    None,
    /// So long after it was stored, by the server's clock.
    For(Duration),
    /// After so many SEARCH commands that missed it.
    Searches(u32),
}

/// How Gmail is today.
#[derive(Debug, Clone)]
pub struct GmailOptions {
    /// The account.
    pub user: String,
    /// What is right or wrong about the certificate; read at the start only.
    pub certificate: Certificate,
    /// The clock it goes by; read at the start only.
    pub clock: Clock,
    /// Words missing from the capability lists: `UIDPLUS`, `SASL-IR`, `X-GM-EXT-1`, `APPENDLIMIT`.
    pub without: Vec<String>,
    /// Keeps one copy of what is appended twice (GMAIL.md 3.4).
    pub deduplicates: bool,
    /// When a search finds what was appended.
    pub index_delay: IndexDelay,
    /// What becomes of an APPEND that was cut after its literal.
    pub unfinished: Unfinished,
    /// APPENDLIMIT (GMAIL.md 1.3).
    pub append_limit: usize,
    /// So many sessions at a time (GMAIL.md 6.1).
    pub most_sessions: usize,
}

impl Default for GmailOptions {
    fn default() -> GmailOptions {
        GmailOptions {
            user: "user@gmail.com".to_owned(),
            certificate: Certificate::default(),
            clock: Clock::default(),
            without: Vec::new(),
            deduplicates: true,
            index_delay: IndexDelay::default(),
            unfinished: Unfinished::default(),
            append_limit: 35_651_584,
            most_sessions: 15,
        }
    }
}

/// What the connections to Gmail share, besides the messages.
pub(crate) struct GmailState {
    options: Mutex<GmailOptions>,
    pub tokens: Tokens,
    sessions: Mutex<BTreeSet<usize>>,
}

impl GmailState {
    pub fn options(&self) -> MutexGuard<'_, GmailOptions> {
        self.options.lock().unwrap()
    }

    /// Until when this token lets this user in.
    pub fn admits(&self, user: &str, token: &str) -> Option<DateTime<Utc>> {
        let expires = self.tokens.admits(user, token);
        expires.filter(|_| self.options().user == user)
    }

    /// Gives a connection one of the places, if one is free.
    pub fn let_in(&self, connection: usize) -> bool {
        let mut sessions = self.sessions.lock().unwrap();
        let has_place = sessions.len() < self.options().most_sessions;
        if has_place {
            sessions.insert(connection);
        }
        has_place
    }

    /// Takes the place of a connection back.
    pub fn let_out(&self, connection: usize) {
        self.sessions.lock().unwrap().remove(&connection);
    }
}

/// A running Gmail; it stops when this is dropped.
pub struct Gmail {
    server: Server,
}

impl Gmail {
    /// Starts a Gmail account with no mail in it.
    #[must_use]
    pub fn start(options: GmailOptions) -> Gmail {
        let clock = options.clock.clone();
        let certificate = options.certificate.clone();
        let role = Role::Gmail(GmailState {
            options: Mutex::new(options),
            tokens: Tokens::new(clock.clone()),
            sessions: Mutex::default(),
        });
        Gmail {
            server: Server::start(Shared::new(role, clock, &certificate, empty_account())),
        }
    }

    fn state(&self) -> &GmailState {
        self.server.shared().gmail().unwrap()
    }

    /// Changes the options from now on.
    pub fn change(&self, change: impl FnOnce(&mut GmailOptions)) {
        change(&mut self.state().options());
    }

    /// The account.
    #[must_use]
    pub fn user(&self) -> String {
        self.state().options().user.clone()
    }

    /// The token table.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.state().tokens
    }

    /// Mail reaches INBOX another way than by APPEND; gives its UID there.
    pub fn deliver(
        &self,
        octets: &[u8],
        internal_date: DateTime<FixedOffset>,
        flags: &[&str],
    ) -> u32 {
        self.mailboxes()
            .deliver("INBOX", octets, internal_date, flags)
    }

    /// The messages of a label, by UID.
    #[must_use]
    pub fn messages(&self, mailbox: &str) -> Vec<Stored> {
        self.mailboxes().messages(mailbox)
    }

    /// The messages of All Mail: all but those in Trash and Spam.
    #[must_use]
    pub fn all_mail(&self) -> Vec<Stored> {
        self.mailboxes().messages(&self.name_of("\\All"))
    }

    /// The messages in Trash.
    #[must_use]
    pub fn trashed(&self) -> Vec<Stored> {
        self.mailboxes().messages(&self.name_of("\\Trash"))
    }

    /// Moves a message of INBOX into Trash, as its reader does.
    pub fn trash(&self, uid: u32) {
        let trash = self.name_of("\\Trash");
        self.mailboxes().move_to("INBOX", uid, &trash);
    }

    /// Takes a message out of INBOX; All Mail keeps it.
    pub fn archive(&self, uid: u32) {
        self.mailboxes().expunge("INBOX", uid);
    }

    /// The name of the folder with this attribute.
    fn name_of(&self, attribute: &str) -> String {
        let store = self.server.shared().store();
        store.special(attribute).unwrap().name.clone()
    }
}

impl Deref for Gmail {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The folders of a new account (GMAIL.md 1.5).
fn empty_account() -> Store {
    let mut store = Store::new(1);
    store.create("INBOX", &["\\HasNoChildren"]);
    store.create("[Gmail]", &["\\HasChildren", "\\Noselect"]);
    store.create("[Gmail]/All Mail", &["\\All", "\\HasNoChildren"]);
    store.create("[Gmail]/Bin", &["\\HasNoChildren", "\\Trash"]);
    store.create("[Gmail]/Drafts", &["\\Drafts", "\\HasNoChildren"]);
    store.create("[Gmail]/Important", &["\\HasNoChildren", "\\Important"]);
    store.create("[Gmail]/Sent Mail", &["\\HasNoChildren", "\\Sent"]);
    store.create("[Gmail]/Spam", &["\\HasNoChildren", "\\Junk"]);
    store.create("[Gmail]/Starred", &["\\Flagged", "\\HasNoChildren"]);
    store
}
