//! Records that messages are refused.

use log::Level;

use crate::error::Result;
use crate::message::{Digest, LoggedMessage, MessageId, Uid};
use crate::state::{Event, RefusedMessage};
use crate::sync::ledger::Ledger;

impl Ledger<'_> {
    /// This message is given up for good, for a reason that a person can read.
    pub fn refuse(
        &mut self,
        uid: Uid,
        id: Option<MessageId>,
        octets: u64,
        why: String,
    ) -> Result<()> {
        let remedy = "; it is not tried again, and stays at the source";
        let refused = self.refused(Some(uid), id, Some(octets), why, remedy);
        self.store.record(Event::Refused { uid, refused })
    }

    /// This parked message is no longer at the source, and Gmail does not have it.
    pub fn refuse_gone(
        &mut self,
        uid: Uid,
        id: Option<MessageId>,
        digest: Option<Digest>,
    ) -> Result<()> {
        let refused = self.left_source(Some(uid), id, digest);
        self.store.record(Event::Refused { uid, refused })
    }

    /// This orphan is no longer at the source, and Gmail does not have it.
    pub fn refuse_orphan(
        &mut self,
        orphan: usize,
        id: Option<MessageId>,
        digest: Option<Digest>,
    ) -> Result<()> {
        let refused = self.left_source(None, id, digest);
        self.store.record(Event::OrphanLost { orphan, refused })
    }

    fn left_source(
        &mut self,
        uid: Option<Uid>,
        id: Option<MessageId>,
        digest: Option<Digest>,
    ) -> RefusedMessage {
        let why = RefusedMessage::LEFT_SOURCE.to_owned();
        RefusedMessage {
            digest,
            ..self.refused(uid, id, None, why, "")
        }
    }

    fn refused(
        &mut self,
        uid: Option<Uid>,
        id: Option<MessageId>,
        octets: Option<u64>,
        why: String,
        remedy: &str,
    ) -> RefusedMessage {
        let logged = LoggedMessage {
            id: id.as_ref(),
            uid,
            octets,
        };
        logged.log(
            Level::Error,
            format_args!("not copied: {logged}: {why}{remedy}"),
        );
        self.report.refused += 1;
        let when = self.now();
        RefusedMessage {
            id,
            when,
            why,
            digest: None,
        }
    }
}
