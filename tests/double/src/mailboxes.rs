//! A test's access to the mailboxes of a server.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

use crate::gmail::IndexDelay;
use crate::server::Shared;
use crate::store::{Arrival, StoredMessage};

/// A test's handle to the mailboxes of a server; clones share them.
///
/// Names of mailboxes are in modified UTF-7: `Entw&APw-rfe`.
#[derive(Clone)]
pub struct Mailboxes {
    shared: Arc<Shared>,
}

impl Mailboxes {
    pub(crate) fn new(shared: Arc<Shared>) -> Mailboxes {
        Mailboxes { shared }
    }

    /// Delivers mail, as if the server had received it; returns its UID.
    pub fn deliver(
        &self,
        mailbox: &str,
        octets: &[u8],
        internal_date: DateTime<FixedOffset>,
        flags: &[&str],
    ) -> u32 {
        let arrival = Arrival {
            folder: mailbox.to_owned(),
            others: Vec::new(),
            octets: octets.to_vec(),
            internal_date,
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            is_unique: false,
            index_delay: IndexDelay::None,
        };
        self.shared.store().add(arrival, self.shared.clock.now())
    }

    /// The messages of a mailbox, by UID.
    #[must_use]
    pub fn messages(&self, mailbox: &str) -> Vec<StoredMessage> {
        self.shared.store().stored(mailbox)
    }

    /// Whether a mailbox of this name exists.
    #[must_use]
    pub fn exist(&self, mailbox: &str) -> bool {
        self.shared.store().folder(mailbox).is_some()
    }

    /// Creates a mailbox.
    pub fn create(&self, mailbox: &str) {
        self.shared.store().create(mailbox, &["\\HasNoChildren"]);
    }

    /// Creates a mailbox with these attributes in a LIST response.
    pub fn create_with(&self, mailbox: &str, attributes: &[&str]) {
        self.shared.store().create(mailbox, attributes);
    }

    /// Deletes a mailbox; at Gmail its messages keep their other labels.
    pub fn delete(&self, mailbox: &str) {
        self.shared.store().delete(mailbox);
    }

    /// Renames a mailbox.
    pub fn rename(&self, mailbox: &str, to: &str) {
        self.shared.store().rename(mailbox, to);
    }

    /// Removes a message from a mailbox; at Gmail it keeps its other labels.
    pub fn expunge(&self, mailbox: &str, uid: u32) {
        self.shared.store().expunge(mailbox, uid);
    }

    /// Moves a message from all mailboxes to another one.
    pub fn move_to(&self, mailbox: &str, uid: u32, to: &str) {
        self.shared.store().move_out(mailbox, uid, to);
    }

    /// Sets the flags of a message.
    pub fn set_flags(&self, mailbox: &str, uid: u32, flags: &[&str]) {
        let mut store = self.shared.store();
        let key = store.folder(mailbox).unwrap().rows[&uid];
        store.touch(key);
        let message = store.messages.get_mut(&key).unwrap();
        message.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// Changes the UIDVALIDITY; the messages are renumbered from 1 (RFC 3501 2.3.1.1).
    pub fn set_uid_validity(&self, mailbox: &str, uid_validity: u32) {
        let mut store = self.shared.store();
        let folder = store.folder_mut(mailbox).unwrap();
        folder.uid_validity = uid_validity;
        let keys = std::mem::take(&mut folder.rows).into_values();
        folder.rows = (1..).zip(keys).collect();
        folder.uid_next = u32::try_from(folder.rows.len()).unwrap() + 1;
    }

    /// Sets the UID of the next message: higher, or lower as after the restore of a backup.
    pub fn set_uid_next(&self, mailbox: &str, uid_next: u32) {
        let mut store = self.shared.store();
        store.folder_mut(mailbox).unwrap().uid_next = uid_next;
    }

    /// The UIDVALIDITY of a mailbox.
    #[must_use]
    pub fn uid_validity(&self, mailbox: &str) -> u32 {
        self.shared.store().folder(mailbox).unwrap().uid_validity
    }

    /// Stores the messages of cut appends that wait for this call.
    pub fn store_unfinished(&self) {
        let now = self.shared.clock.now();
        self.shared.store().store_unfinished(now);
    }
}
