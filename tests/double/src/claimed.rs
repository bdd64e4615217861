//! Mail that a mailbox claims without storing it: each message is made from its UID when a client
//! asks for it.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, Utc};
use imap_codec::imap_types::sequence::SequenceSet;

use crate::header;
use crate::search::{Candidate, Key, Manner};
use crate::select::ends;
use crate::store::Message;

/// Messages with the UIDs from 1 to `count`, all of them seen.
#[derive(Debug, Clone, Copy)]
pub struct ClaimedMail {
    /// The number of messages.
    pub count: u32,
    /// The INTERNALDATE of each.
    pub internal_date: DateTime<FixedOffset>,
    /// Makes the octets of a message from its UID.
    pub octets: fn(u32) -> Vec<u8>,
}

impl ClaimedMail {
    /// The message with this UID.
    pub(crate) fn message(&self, uid: u32) -> Message {
        let octets = (self.octets)(uid);
        Message {
            ids: header::all(&octets, "Message-ID"),
            octets: octets.into(),
            internal_date: self.internal_date,
            flags: BTreeSet::from(["\\Seen".to_owned()]),
            indexed_at: DateTime::<Utc>::MIN_UTC,
            misses: 0,
            mod_seq: 1,
        }
    }

    /// The messages of a set: number and UID, which are the same here.
    pub(crate) fn named(&self, set: &SequenceSet) -> Vec<(usize, u32)> {
        let ranges = set.0.as_ref().iter().map(|part| ends(part, self.count));
        let named = ranges.flat_map(|(first, last)| first..=last.min(self.count));
        let named: BTreeSet<u32> = named.collect();
        named.into_iter().map(|uid| (uid as usize, uid)).collect()
    }

    /// The matching messages. Only keys that look into messages have them made.
    pub(crate) fn find(&self, key: &Key, manner: Manner) -> Vec<u32> {
        let any = self.message(1);
        let matches = |uid: &u32| {
            let made = key.reads_octets().then(|| self.message(*uid));
            let candidate = Candidate {
                message: made.as_ref().unwrap_or(&any),
                id: u64::from(*uid),
                number: *uid,
                count: self.count,
                uid: *uid,
                last: self.count,
            };
            candidate.matches_key(key, manner)
        };
        (1..=self.count).filter(matches).collect()
    }
}
