//! Gmail: its options, its mailboxes and its tokens.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, FixedOffset, Utc};
use rustls::ServerConfig;

use crate::server::{Role, Server, Shared};
use crate::store::{Folder, Store, StoredMessage};
use crate::tokens::Tokens;

/// Mail that is counted and forgotten.
mod discarded;
/// The daily traffic limits.
mod limits;
/// The options of the double.
mod options;

pub use discarded::DiscardedMail;
use limits::Traffic;
pub use options::{
    AppendResponse, Challenge, GmailOptions, HeaderSearch, IndexDelay, Language,
    PostLoginCapabilities, login_rejections,
};

/// The state that all connections to Gmail share, besides the messages.
pub(crate) struct GmailState {
    options: Mutex<GmailOptions>,
    pub tokens: Tokens,
    sessions: Mutex<BTreeSet<usize>>,
    traffic: Mutex<Traffic>,
    discarded: Mutex<DiscardedMail>,
}

impl GmailState {
    pub fn options(&self) -> MutexGuard<'_, GmailOptions> {
        self.options.lock().unwrap()
    }

    /// The expiry of this token if it admits this user.
    pub fn token_expiry(&self, user: &str, token: &str) -> Option<DateTime<Utc>> {
        let expires = self.tokens.token_expiry(user, token);
        expires.filter(|_| self.options().user == user)
    }

    /// Counts the octets of an APPEND; returns whether the account is locked out.
    pub fn uploads(&self, octets: usize, now: DateTime<Utc>) -> bool {
        let options = self.options();
        self.traffic.lock().unwrap().upload(octets, now, &options)
    }

    /// Counts the octets of a FETCH; returns whether the account is locked out.
    pub fn downloads(&self, octets: usize, now: DateTime<Utc>) -> bool {
        let options = self.options();
        self.traffic.lock().unwrap().download(octets, now, &options)
    }

    /// Counts a message if the account keeps none; returns whether it does not.
    pub fn discards(&self, octets: &[u8]) -> bool {
        let discards = self.options().discards_mail;
        if discards {
            self.discarded.lock().unwrap().add(octets);
        }
        discards
    }

    /// Whether the account is locked out.
    pub fn is_locked_out(&self, now: DateTime<Utc>) -> bool {
        self.traffic.lock().unwrap().is_locked_out(now)
    }

    /// Whether the user has this folder shown in IMAP.
    pub fn shows(&self, folder: &Folder) -> bool {
        let options = self.options();
        !options.hidden.iter().any(|attribute| folder.is(attribute))
    }

    /// Counts a session, if the limit of sessions allows one more.
    pub fn let_in(&self, connection: usize) -> bool {
        let mut sessions = self.sessions.lock().unwrap();
        let has_place = sessions.len() < self.options().most_sessions;
        if has_place {
            sessions.insert(connection);
        }
        has_place
    }

    /// Ends the session of a connection.
    pub fn let_out(&self, connection: usize) {
        self.sessions.lock().unwrap().remove(&connection);
    }
}

/// A running Gmail double; dropping stops it.
pub struct Gmail {
    server: Server,
}

impl Gmail {
    /// Starts an account without mail.
    #[must_use]
    pub fn start(options: GmailOptions) -> Gmail {
        let clock = options.clock.clone();
        let certificate = options.certificate.clone();
        let store = empty_account(options.language);
        let role = Role::Gmail(Box::new(GmailState {
            options: Mutex::new(options),
            tokens: Tokens::new(clock.clone()),
            sessions: Mutex::default(),
            traffic: Mutex::default(),
            discarded: Mutex::default(),
        }));
        Gmail {
            server: Server::start(Shared::new(role, clock, &certificate, store)),
        }
    }

    fn state(&self) -> &GmailState {
        self.server.shared().gmail().unwrap()
    }

    /// The TLS configuration of the server.
    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        self.server.shared().identity.config.clone()
    }

    /// Changes the options.
    pub fn change(&self, change: impl FnOnce(&mut GmailOptions)) {
        change(&mut self.state().options());
    }

    /// The address of the account.
    #[must_use]
    pub fn user(&self) -> String {
        self.state().options().user.clone()
    }

    /// The token table.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.state().tokens
    }

    /// Delivers mail to INBOX otherwise than by APPEND; returns its UID.
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
    pub fn messages(&self, mailbox: &str) -> Vec<StoredMessage> {
        self.mailboxes().messages(mailbox)
    }

    /// The messages of All Mail: all but those in Trash and Spam.
    #[must_use]
    pub fn all_mail(&self) -> Vec<StoredMessage> {
        self.mailboxes().messages(&self.name_of("\\All"))
    }

    /// The octets of today's APPENDs, by the server's clock.
    #[must_use]
    pub fn uploaded_today(&self) -> usize {
        let now = self.server.clock().now();
        self.state().traffic.lock().unwrap().uploaded(now)
    }

    /// What was appended while `discards_mail` was set.
    #[must_use]
    pub fn discarded(&self) -> DiscardedMail {
        *self.state().discarded.lock().unwrap()
    }

    /// The messages in Trash.
    #[must_use]
    pub fn in_trash(&self) -> Vec<StoredMessage> {
        self.mailboxes().messages(&self.name_of("\\Trash"))
    }

    /// Moves a message of INBOX to Trash, as the user does.
    pub fn trash(&self, uid: u32) {
        let trash = self.name_of("\\Trash");
        self.mailboxes().move_to("INBOX", uid, &trash);
    }

    /// Archives a message of INBOX: it stays in All Mail.
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

impl DerefMut for Gmail {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// The folders of a new account (GMAIL.md 1.5).
fn empty_account(language: Language) -> Store {
    let mut store = Store::new(1);
    let (root, names) = language.names();
    let specials: [&[&str]; 7] = [
        &["\\All", "\\HasNoChildren"],
        &["\\HasNoChildren", "\\Trash"],
        &["\\Drafts", "\\HasNoChildren"],
        &["\\HasNoChildren", "\\Important"],
        &["\\HasNoChildren", "\\Sent"],
        &["\\HasNoChildren", "\\Junk"],
        &["\\Flagged", "\\HasNoChildren"],
    ];
    store.create("INBOX", &["\\HasNoChildren"]);
    store.create(root, &["\\HasChildren", "\\Noselect"]);
    for (name, attributes) in names.iter().zip(specials) {
        store.create(&format!("{root}/{name}"), attributes);
    }
    store
}
