//! What changes the state: one journal line for each event.
//!
//! Replay must be idempotent, so events carry values, not differences, wherever a difference could
//! be counted twice.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::message::{DeliveryMethod, Digest, InternalDate, MessageId, Uid, UidSet};
use crate::state::{
    AccountNames, Cursor, DatePass, GmailState, LoggedWarnings, OwedEntry, ParkedMessage,
    PreviousUid, RefusedMessage, SourceState, State,
};

/// A change of the state, and its journal line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The events that follow are about this source folder.
    Folder(String),
    /// The source folder that the events are about has this name, or has it from now on.
    FolderRenamed(String),
    /// A run has found the source folder that the events are about for the first time.
    FolderSeen {
        /// When.
        at: DateTime<Utc>,
    },
    /// The announced UIDNEXT of that folder is too low.
    WrongUidNext,
    /// A run has copied all folders.
    AllFoldersCopied,
    /// The state belongs to this account from now on.
    Account(AccountNames),
    /// A date pass begins: unless it keeps them, UIDs from before no longer count, and parked messages
    /// are orphaned.
    DatePass(DatePass),
    /// An orphaned parked message was found under a new UID.
    #[serde(rename = "found")]
    OrphanFound {
        /// Its new UID.
        uid: Uid,
        /// Its index among the orphans.
        #[serde(rename = "stray")]
        orphan: usize,
    },
    /// An orphaned parked message left the source before Gmail accepted it.
    #[serde(rename = "lost")]
    OrphanLost {
        /// Its index among the orphans.
        #[serde(rename = "stray")]
        orphan: usize,
        /// The report for the user.
        refused: RefusedMessage,
    },
    /// An orphaned parked message is at Gmail, whether or not it is still at the source.
    #[serde(rename = "stray_done")]
    OrphanDelivered {
        /// Its index among the orphans.
        #[serde(rename = "stray")]
        orphan: usize,
        /// When it was found there.
        at: DateTime<Utc>,
    },
    /// Gmail has not stored this orphaned parked message, whose append was uncertain.
    #[serde(rename = "stray_not_stored")]
    OrphanNotStored {
        /// Its index among the orphans.
        #[serde(rename = "stray")]
        orphan: usize,
    },
    /// A message is about to be appended: parked as uncertain until its outcome is known.
    Intent {
        /// Its UID.
        uid: Uid,
        /// How it stays if the outcome never becomes known.
        parked: ParkedMessage,
        /// Its size, which counts as uploaded.
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
        /// Whether Gmail accepted it now, rather than before.
        #[serde(default)]
        appended: bool,
        /// Its INTERNALDATE, if it has no Message-ID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        date: InternalDate,
        /// The UID under which it was delivered, if that was another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<PreviousUid>,
    },
    /// A message is parked, or parked again.
    Parked {
        /// Its UID.
        uid: Uid,
        /// Its state.
        parked: ParkedMessage,
    },
    /// An intent was not carried out.
    Returned {
        /// Its UID.
        uid: Uid,
        /// Its state before the intent, if it was parked.
        before: Option<ParkedMessage>,
        /// Octets that counted as uploaded and were not.
        #[serde(default)]
        unsent: u64,
    },
    /// A message is given up for good.
    Refused {
        /// Its UID.
        uid: Uid,
        /// The report for the user.
        refused: RefusedMessage,
    },
    /// Messages need no work: delivered before, or gone from the source.
    Settled {
        /// Their UIDs.
        uids: UidSet,
    },
    /// Everything up to the cursor is settled or parked.
    Cursor(Cursor),
    /// A pass is complete: everything that it listed is settled or parked.
    Synced {
        /// Just before its EXAMINE.
        at: DateTime<Utc>,
    },
    /// Uploads, rests or the rejected token changed.
    Gmail(GmailState),
    /// Rejected log-ins at the source changed.
    Source(SourceState),
    /// The source mailbox has this name from now on, `user@host/folder`; it was verified to be the
    /// same one.
    SourceRenamed(String),
    /// Warnings about the files were logged.
    Warned(LoggedWarnings),
    /// A message is stored, and gets labels. One line, because a crash may leave the first line of two.
    StoredWithoutLabels {
        /// What shows that it is stored.
        stored: Box<Event>,
        /// The number of the entry about the labels.
        number: u64,
        /// The labels and the message.
        owed: OwedEntry,
    },
    /// Something more is known of labels that are owed.
    LabelsOwed {
        /// The number of this entry.
        number: u64,
        /// The labels and the message.
        owed: OwedEntry,
    },
    /// Labels are set, or given up.
    LabelsSettled {
        /// The numbers of these entries.
        numbers: Vec<u64>,
    },
}

impl State {
    /// Applies an event.
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Folder(name) => self.select_folder(name),
            Event::FolderRenamed(name) => self.rename_folder(name),
            Event::AllFoldersCopied => self.forget_deliveries(),
            Event::Account(account) => self.assign(account),
            Event::DatePass(pass) => self.start_date_pass(pass),
            Event::OrphanFound { uid, orphan } => {
                if let Some(parked) = self.remove_orphan(orphan) {
                    self.folder.parked.insert(uid, parked);
                }
            }
            Event::OrphanLost { orphan, refused } => {
                self.remove_orphan(orphan);
                self.add_refused("before", refused);
            }
            Event::OrphanDelivered { orphan, at } => {
                let parked = self.remove_orphan(orphan);
                let date = parked.as_ref().and_then(|parked| parked.date);
                if let Some((id, digest)) = parked.and_then(|parked| parked.id.zip(parked.digest))
                    && let Some(copies) = self.remember(id, digest, at)
                {
                    copies.add_elsewhere(date);
                }
            }
            Event::OrphanNotStored { orphan } => {
                let pass = self.folder.date_pass.as_mut();
                if let Some(orphan) = pass.and_then(|pass| pass.orphans.get_mut(orphan)) {
                    orphan.sent = None;
                }
            }
            Event::Intent {
                uid,
                parked,
                octets,
            } => {
                let sent = parked.sent.map(|sent| (sent.method, sent.at));
                let (method, at) = sent.unwrap_or((DeliveryMethod::Append, parked.since));
                self.gmail.add_upload(method, octets, at);
                self.folder.parked.insert(uid, parked);
            }
            Event::Done {
                uid,
                id,
                digest,
                at,
                appended,
                date,
                previous,
            } => {
                if appended {
                    self.gmail.record_accepted(at);
                }
                let parked = self.folder.parked.get(&uid);
                if appended || parked.is_some_and(|parked| parked.sent.is_some()) {
                    self.note_delivery(&id, digest);
                }
                let folder = self.folder_name.clone();
                if let Some(copies) = self.remember(id, digest, at) {
                    copies.add(&folder, uid, date, previous);
                }
                self.add_sample(uid, digest);
                self.settle(uid);
            }
            Event::Parked { uid, parked } => {
                self.folder.parked.insert(uid, parked);
            }
            Event::Returned {
                uid,
                before,
                unsent,
            } => self.return_intent(uid, before, unsent),
            Event::Refused { uid, refused } => {
                self.add_refused(&uid.to_string(), refused);
                self.settle(uid);
            }
            Event::Settled { uids } => uids.iter().for_each(|uid| self.settle(uid)),
            Event::Cursor(cursor) => self.move_cursor(cursor),
            Event::Synced { at } => self.folder.record_sync(at),
            Event::FolderSeen { at } => self.folder.record_seen(at),
            Event::WrongUidNext => self.folder.wrong_uid_next = true,
            Event::Gmail(gmail) => self.gmail = gmail,
            Event::Source(source) => self.source = source,
            Event::SourceRenamed(source) => self.rename_source(source),
            Event::Warned(warned) => self.warned = Some(warned),
            Event::StoredWithoutLabels {
                stored,
                number,
                owed,
            } => {
                self.apply(*stored);
                self.owe_labels(number, owed);
            }
            Event::LabelsOwed { number, owed } => self.owed_labels.set(number, owed),
            Event::LabelsSettled { numbers } => {
                for number in numbers {
                    self.owed_labels.remove(number);
                }
            }
        }
    }

    fn return_intent(&mut self, uid: Uid, before: Option<ParkedMessage>, unsent: u64) {
        let intent = self.folder.parked.remove(&uid);
        if let Some(intent) = intent.and_then(|intent| intent.sent) {
            self.gmail.subtract_upload(intent.method, unsent, intent.at);
        }
        self.folder
            .parked
            .extend(before.map(|before| (uid, before)));
    }

    fn start_date_pass(&mut self, pass: DatePass) {
        let is_other = |(source, validity)| source != pass.source || validity != pass.uid_validity;
        if self.folder.source_mailbox().is_none_or(is_other) {
            self.folder.samples.clear();
        }
        let before = self.folder.date_pass.take();
        let mut orphans = before.map_or_else(Vec::new, |before| before.orphans);
        if !pass.keeps_uids {
            orphans.extend(std::mem::take(&mut self.folder.parked).into_values());
            self.forget_known_uids(pass.began);
        }
        orphans.extend(pass.orphans);
        self.folder.cursor = None;
        self.folder.settled = UidSet::default();
        self.folder.date_pass = Some(DatePass { orphans, ..pass });
    }

    /// The last orphan takes the index of the removed one; the others keep theirs.
    fn remove_orphan(&mut self, orphan: usize) -> Option<ParkedMessage> {
        let orphans = &mut self.folder.date_pass.as_mut()?.orphans;
        (orphan < orphans.len()).then(|| orphans.swap_remove(orphan))
    }

    fn settle(&mut self, uid: Uid) {
        self.folder.parked.remove(&uid);
        let cursor = self.folder.cursor.as_ref();
        if cursor.is_none_or(|cursor| cursor.uid < uid.get()) {
            self.folder.settled.insert(uid);
        }
    }

    fn move_cursor(&mut self, cursor: Cursor) {
        if let Some(uid) = Uid::new(cursor.uid) {
            self.folder.settled.remove_up_to(uid);
        }
        self.folder.last_source_uid = cursor.uid;
        self.folder.date_pass = None;
        self.folder.cursor = Some(cursor);
    }
}
