//! Messages in mailboxes.
//!
//! A message is stored once; mailboxes refer to it by key. At a source each message is in one mailbox;
//! at Gmail a mailbox is a label, and All Mail holds nearly everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Utc};

use crate::gmail::IndexDelay;
use crate::header;

/// The first X-GM-MSGID: too large for an exact floating-point number.
const FIRST_KEY: u64 = 1_700_000_000_000_000_001;

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its UID in that mailbox.
    pub uid: u32,
    /// The whole message.
    pub octets: Vec<u8>,
    /// INTERNALDATE.
    pub internal_date: DateTime<FixedOffset>,
    /// Its flags and keywords, sorted.
    pub flags: Vec<String>,
    /// The mailboxes it is in, sorted.
    pub mailboxes: Vec<String>,
}

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub octets: Arc<[u8]>,
    /// The values of its Message-ID fields, parsed once for searches.
    pub ids: Vec<Vec<u8>>,
    pub internal_date: DateTime<FixedOffset>,
    pub flags: BTreeSet<String>,
    /// The time after which searches find it.
    pub indexed_at: DateTime<Utc>,
    /// How many searches still do not find it.
    pub misses: u32,
    /// The number of its last change.
    pub mod_seq: u64,
}

/// A mailbox or label.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    /// The name in modified UTF-7.
    pub name: String,
    /// Its attributes in a LIST response, sorted.
    pub attributes: Vec<String>,
    pub uid_validity: u32,
    pub uid_next: u32,
    pub rows: BTreeMap<u32, u64>,
}

impl Folder {
    /// Whether the mailbox has this attribute.
    pub fn is(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|own| own == attribute)
    }

    fn add(&mut self, key: u64) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.rows.insert(uid, key);
        uid
    }

    fn remove(&mut self, key: u64) {
        self.rows.retain(|_, held| *held != key);
    }

    fn holds(&self, key: u64) -> bool {
        self.rows.values().any(|held| *held == key)
    }
}

/// A message on its way into a mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub folder: String,
    /// Further folders.
    pub others: Vec<String>,
    pub octets: Vec<u8>,
    pub internal_date: DateTime<FixedOffset>,
    pub flags: BTreeSet<String>,
    pub is_unique: bool,
    pub index_delay: IndexDelay,
}

struct Unfinished {
    arrival: Arrival,
    key: u64,
    /// When it is stored; without a time, when the test calls `store_unfinished`.
    due: Option<DateTime<Utc>>,
}

/// All messages and mailboxes of a server.
pub(crate) struct Store {
    pub messages: BTreeMap<u64, Message>,
    pub folders: Vec<Folder>,
    unfinished: Vec<Unfinished>,
    next_key: u64,
    next_validity: u32,
    /// Counts changes; HIGHESTMODSEQ.
    pub changes: u64,
}

impl Store {
    /// The octets of all messages.
    pub fn octets(&self) -> usize {
        self.messages
            .values()
            .map(|message| message.octets.len())
            .sum()
    }

    pub fn new(first_validity: u32) -> Store {
        Store {
            messages: BTreeMap::new(),
            folders: Vec::new(),
            unfinished: Vec::new(),
            next_key: FIRST_KEY,
            next_validity: first_validity,
            changes: 1,
        }
    }

    /// Creates a mailbox.
    pub fn create(&mut self, name: &str, attributes: &[&str]) {
        self.folders.push(Folder {
            name: name.to_owned(),
            attributes: attributes.iter().map(|&text| text.to_owned()).collect(),
            uid_validity: self.next_validity,
            uid_next: 1,
            rows: BTreeMap::new(),
        });
        self.next_validity += 1;
    }

    /// The mailbox of this name; INBOX is case-insensitive.
    pub fn folder(&self, name: &str) -> Option<&Folder> {
        self.folders.iter().find(|folder| is_named(folder, name))
    }

    /// The same, mutable.
    pub fn folder_mut(&mut self, name: &str) -> Option<&mut Folder> {
        self.changes += 1;
        self.folders
            .iter_mut()
            .find(|folder| is_named(folder, name))
    }

    /// The mailbox that has this special-use attribute.
    pub fn special(&self, attribute: &str) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.is(attribute))
    }

    /// Adds a message to its mailbox, and to All Mail if there is one; returns the UID in the mailbox.
    pub fn add(&mut self, arrival: Arrival, now: DateTime<Utc>) -> u32 {
        let key = self.new_key();
        self.add_as(key, arrival, now)
    }

    fn new_key(&mut self) -> u64 {
        let key = self.next_key;
        // Real ids are not consecutive.
        self.next_key += 1_009;
        key
    }

    fn add_as(&mut self, key: u64, arrival: Arrival, now: DateTime<Utc>) -> u32 {
        self.changes += 1;
        let double = arrival.is_unique.then(|| self.find_double(&arrival.octets));
        if let Some(key) = double.flatten() {
            return self.label_again(key, &arrival.folder);
        }
        let (indexed_at, misses) = match arrival.index_delay {
            IndexDelay::None => (now, 0),
            IndexDelay::For(delay) => (now + delay, 0),
            IndexDelay::Searches(count) => (now, count),
        };
        let message = Message {
            ids: header::all(&arrival.octets, "Message-ID"),
            octets: arrival.octets.into(),
            internal_date: arrival.internal_date,
            flags: arrival.flags,
            indexed_at,
            misses,
            mod_seq: self.changes,
        };
        self.messages.insert(key, message);
        let uid = self.place(key, &arrival.folder);
        if let Some(everything) = self.everything_beside(&arrival.folder) {
            everything.add(key);
        }
        for other in arrival.others {
            self.relabel(key, &other);
        }
        uid
    }

    /// Removes a message from one mailbox; it is deleted when it is in none.
    pub fn expunge(&mut self, folder: &str, uid: u32) {
        let folder = self.folder_mut(folder).unwrap();
        let removed = folder.rows.remove(&uid);
        if let Some(key) = removed {
            self.touch(key);
        }
        let held: BTreeSet<u64> = self
            .folders
            .iter()
            .flat_map(|f| f.rows.values().copied())
            .collect();
        self.messages.retain(|key, _| held.contains(key));
    }

    /// Moves a message from all mailboxes to this one.
    pub fn move_out(&mut self, folder: &str, uid: u32, to: &str) {
        self.changes += 1;
        let key = self.folder(folder).unwrap().rows[&uid];
        for folder in &mut self.folders {
            folder.remove(key);
        }
        self.label(key, to);
    }

    /// Adds a label to a message; returns its UID there.
    pub fn relabel(&mut self, key: u64, folder: &str) -> u32 {
        let rows = &self.folder(folder).unwrap().rows;
        let held = rows.iter().find(|(_, held)| **held == key);
        match held {
            Some((uid, _)) => *uid,
            None => self.label(key, folder),
        }
    }

    /// Removes a message from the folders for which the condition holds.
    pub fn unlabel(&mut self, key: u64, is_left: impl Fn(&Folder) -> bool) {
        for folder in self.folders.iter_mut().filter(|folder| is_left(folder)) {
            folder.remove(key);
        }
        self.touch(key);
    }

    /// Counts a change of a message.
    pub fn touch(&mut self, key: u64) {
        self.changes += 1;
        if let Some(message) = self.messages.get_mut(&key) {
            message.mod_seq = self.changes;
        }
    }

    /// Deletes a label; its messages keep the others, and All Mail.
    pub fn delete(&mut self, folder: &str) {
        let rows = self.folder(folder).unwrap().rows.clone();
        for key in rows.into_values() {
            self.touch(key);
        }
        self.folders.retain(|other| !is_named(other, folder));
    }

    /// Gives a label another name.
    pub fn rename(&mut self, folder: &str, to: &str) {
        to.clone_into(&mut self.folder_mut(folder).unwrap().name);
    }

    /// Stores a message later: at this time, or when the test calls `store_unfinished`. Returns its key.
    pub fn add_later(&mut self, arrival: Arrival, due: Option<DateTime<Utc>>) -> u64 {
        let key = self.new_key();
        self.unfinished.push(Unfinished { arrival, key, due });
        key
    }

    /// Stores the delayed messages that are due.
    pub fn store_due(&mut self, now: DateTime<Utc>) {
        if self.unfinished.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.unfinished);
        let is_due = |late: &Unfinished| late.due.is_some_and(|due| due <= now);
        let (due, waiting) = all.into_iter().partition(is_due);
        self.unfinished = waiting;
        self.add_all(due, now);
    }

    /// Stores all delayed messages.
    pub fn store_unfinished(&mut self, now: DateTime<Utc>) {
        let all = std::mem::take(&mut self.unfinished);
        self.add_all(all, now);
    }

    fn add_all(&mut self, unfinished: Vec<Unfinished>, now: DateTime<Utc>) {
        for late in unfinished {
            self.add_as(late.key, late.arrival, now);
        }
    }

    /// A message that Gmail considers a duplicate: with equal Message-ID, Date and body.
    fn find_double(&self, octets: &[u8]) -> Option<u64> {
        let id = header::first(octets, "Message-ID").filter(|id| !id.is_empty())?;
        let is_same = |message: &Message| {
            message.ids.first() == Some(&id)
                && header::first(&message.octets, "Date") == header::first(octets, "Date")
                && header::split(&message.octets).1 == header::split(octets).1
        };
        let found = self.messages.iter().find(|(_, message)| is_same(message));
        found.map(|(key, _)| *key)
    }

    /// Moves a known message to a mailbox under a new UID, and out of the trash.
    fn label_again(&mut self, key: u64, folder: &str) -> u32 {
        for other in &mut self.folders {
            if is_named(other, folder) || other.is("\\Trash") {
                other.remove(key);
            }
        }
        self.label(key, folder)
    }

    /// Adds a label to a message, and All Mail if it came from the trash.
    fn label(&mut self, key: u64, folder: &str) -> u32 {
        let uid = self.place(key, folder);
        if let Some(everything) = self.everything_beside(folder)
            && !everything.holds(key)
        {
            everything.add(key);
        }
        uid
    }

    fn place(&mut self, key: u64, folder: &str) -> u32 {
        let uid = self.folder_mut(folder).unwrap().add(key);
        self.touch(key);
        uid
    }

    /// All Mail, when a message in this folder is also there.
    fn everything_beside(&mut self, folder: &str) -> Option<&mut Folder> {
        let folder = self.folder(folder).unwrap();
        let is_apart = ["\\All", "\\Trash", "\\Junk"]
            .iter()
            .any(|attribute| folder.is(attribute));
        let mut others = self.folders.iter_mut().filter(|_| !is_apart);
        others.find(|folder| folder.is("\\All"))
    }

    /// The messages of a mailbox, by UID.
    pub fn stored(&self, folder: &str) -> Vec<StoredMessage> {
        let folder = self
            .folder(folder)
            .unwrap_or_else(|| panic!("no mailbox {folder}"));
        let rows = folder.rows.iter();
        rows.map(|(uid, key)| self.describe(*uid, *key)).collect()
    }

    fn describe(&self, uid: u32, key: u64) -> StoredMessage {
        let message = &self.messages[&key];
        let holders = self.folders.iter().filter(|folder| folder.holds(key));
        let mut mailboxes: Vec<String> = holders.map(|folder| folder.name.clone()).collect();
        mailboxes.sort();
        StoredMessage {
            uid,
            octets: message.octets.to_vec(),
            internal_date: message.internal_date,
            flags: message.flags.iter().cloned().collect(),
            mailboxes,
        }
    }
}

fn is_named(folder: &Folder, name: &str) -> bool {
    let is_inbox = folder.name == "INBOX" && name.eq_ignore_ascii_case("INBOX");
    is_inbox || folder.name == name
}
