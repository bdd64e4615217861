//! What changes the state: one journal line each.
//!
//! Events carry values, not differences, wherever a difference could be counted twice.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::message::{Digest, MessageId, Uid, UidSet};
use crate::state::{
    AccountNames, Cursor, DatePass, GmailState, ParkedMessage, RefusedMessage, SourceState, State,
    upload_quota,
};

/// Something that happened and must be remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The state is this account's from now on.
    Account(AccountNames),
    /// A pass by date begins: UIDs remembered from before count no longer.
    DatePass(DatePass),
    /// What was parked before a pass by date was found under a new UID.
    Found {
        /// Its UID now.
        uid: Uid,
        /// Its place among the strays.
        stray: usize,
    },
    /// A stray is at the source no longer, and never reached Gmail.
    Lost {
        /// Its place among the strays.
        stray: usize,
        /// What a person is told.
        refused: RefusedMessage,
    },
    /// A stray is at Gmail, whatever became of it at the source.
    StrayDone {
        /// Its place among the strays.
        stray: usize,
        /// When that became known.
        at: DateTime<Utc>,
    },
    /// A message is about to be appended: parked, marked as sent, until its outcome is known.
    Intent {
        /// Its UID.
        uid: Uid,
        /// How it stands if nothing more is ever heard.
        parked: ParkedMessage,
        /// Its size, counted as sent.
        octets: u64,
    },
    /// A message is at Gmail.
    Done {
        /// Its UID.
        uid: Uid,
        /// Its id.
        id: MessageId,
        /// Its digest.
        digest: Digest,
        /// When that became known.
        at: DateTime<Utc>,
        /// Whether Gmail took it just now, so that it takes mail.
        #[serde(default)]
        appended: bool,
    },
    /// A message is parked, newly or anew.
    Parked {
        /// Its UID.
        uid: Uid,
        /// How it stands.
        parked: ParkedMessage,
    },
    /// An intent came to nothing: the message stands as before.
    Returned {
        /// Its UID.
        uid: Uid,
        /// How it stood, if it was parked.
        before: Option<ParkedMessage>,
        /// So many octets were counted as sent and never were.
        #[serde(default)]
        unsent: u64,
    },
    /// A message will never arrive.
    Refused {
        /// Its UID.
        uid: Uid,
        /// What a person is told.
        refused: RefusedMessage,
    },
    /// Nothing is to be done for these: known already, or gone.
    Settled {
        /// Their UIDs.
        uids: UidSet,
    },
    /// Everything up to here is settled or parked.
    Cursor(Cursor),
    /// A pass came to its end: what it began with, it settled or parked.
    Synced {
        /// Just before its EXAMINE.
        at: DateTime<Utc>,
    },
    /// How Gmail treated us.
    Gmail(GmailState),
    /// How the source treated us.
    Source(SourceState),
}

impl State {
    /// Changes the state by what happened.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Account(account) => self.account = Some(account),
            Event::DatePass(pass) => self.start_date_pass(pass),
            Event::Found { uid, stray } => {
                if let Some(parked) = self.remove_orphan(stray) {
                    self.parked.insert(uid, parked);
                }
            }
            Event::Lost { stray, refused } => {
                self.remove_orphan(stray);
                self.add_refused("before", refused);
            }
            Event::StrayDone { stray, at } => {
                let parked = self.remove_orphan(stray);
                if let Some((id, digest)) = parked.and_then(|stray| stray.id.zip(stray.digest)) {
                    self.remember(id, digest, at);
                }
            }
            Event::Intent {
                uid,
                parked,
                octets,
            } => {
                let at = parked.sent.map_or(parked.since, |sent| sent.at);
                upload_quota::count(&mut self.gmail.uploaded, octets, at);
                self.parked.insert(uid, parked);
            }
            Event::Done {
                uid,
                id,
                digest,
                at,
                appended,
            } => {
                if appended {
                    self.gmail.last_accepted = Some(at);
                    self.gmail.rest_minutes = 0;
                    self.gmail.rejected_token = None;
                }
                self.remember(id, digest, at);
                self.settle(uid);
            }
            Event::Parked { uid, parked } => {
                self.parked.insert(uid, parked);
            }
            Event::Returned {
                uid,
                before,
                unsent,
            } => {
                let intent = self.parked.remove(&uid).and_then(|intent| intent.sent);
                if let Some(intent) = intent {
                    upload_quota::take_back(&mut self.gmail.uploaded, unsent, intent.at);
                }
                self.parked.extend(before.map(|before| (uid, before)));
            }
            Event::Refused { uid, refused } => {
                self.add_refused(&uid.to_string(), refused);
                self.settle(uid);
            }
            Event::Settled { uids } => uids.iter().for_each(|uid| self.settle(uid)),
            Event::Cursor(cursor) => self.move_cursor(cursor),
            Event::Synced { at } => self.last_sync = Some(at),
            Event::Gmail(gmail) => self.gmail = gmail,
            Event::Source(source) => self.source = source,
        }
    }

    fn start_date_pass(&mut self, pass: DatePass) {
        let mut strays = self
            .date_pass
            .take()
            .map_or_else(Vec::new, |before| before.strays);
        strays.extend(std::mem::take(&mut self.parked).into_values());
        strays.extend(pass.strays);
        self.cursor = None;
        self.settled = UidSet::default();
        self.date_pass = Some(DatePass { strays, ..pass });
    }

    /// The strays keep their places while a pass goes on: the last one fills the gap.
    fn remove_orphan(&mut self, stray: usize) -> Option<ParkedMessage> {
        let strays = &mut self.date_pass.as_mut()?.strays;
        (stray < strays.len()).then(|| strays.swap_remove(stray))
    }

    fn settle(&mut self, uid: Uid) {
        self.parked.remove(&uid);
        if self
            .cursor
            .as_ref()
            .is_none_or(|cursor| cursor.uid < uid.get())
        {
            self.settled.insert(uid);
        }
    }

    fn move_cursor(&mut self, cursor: Cursor) {
        if let Some(uid) = Uid::new(cursor.uid) {
            self.settled.remove_up_to(uid);
        }
        self.last_source_uid = cursor.uid;
        self.date_pass = None;
        self.cursor = Some(cursor);
    }
}
