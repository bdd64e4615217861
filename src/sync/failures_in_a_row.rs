//! Messages in a row that Gmail did not accept: after some of them the cause is Gmail and not the
//! messages.

use std::collections::HashSet;

use crate::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use crate::message::Uid;
use crate::sync::Outcome;

/// The most messages parked in a row, with none appended between.
const MAX_PARKED_IN_A_ROW: u32 = 3;

/// Counts the messages that were parked in a row.
///
/// Several messages are open on a connection: those that were open when one was lost count with it,
/// if they are lost, too.
#[derive(Default)]
pub(super) struct FailuresInARow {
    count: u32,
    /// Submitted, and without outcome.
    open: HashSet<Uid>,
    /// Those of them that were open when a message was lost.
    open_at_loss: HashSet<Uid>,
}

impl FailuresInARow {
    pub fn submitted(&mut self, uid: Uid) {
        self.open.insert(uid);
    }

    /// Counts an outcome. Only a first attempt counts as a failure: a message that was parked before
    /// says nothing new about Gmail.
    pub fn settled(&mut self, uid: Uid, is_first_attempt: bool, outcome: &Outcome) {
        self.open.remove(&uid);
        let was_open_at_loss = self.open_at_loss.remove(&uid);
        let is_failure = match outcome {
            Outcome::Delivered(_) => {
                self.count = 0;
                false
            }
            Outcome::Parked(_) => true,
            Outcome::Uncertain(_) | Outcome::Unsent(_) if !was_open_at_loss => {
                self.open_at_loss.clone_from(&self.open);
                true
            }
            _ => false,
        };
        if is_failure && is_first_attempt {
            self.count += 1;
        }
    }

    /// Whether the pass may go on.
    pub fn check(&mut self) -> Result<()> {
        if self.count < MAX_PARKED_IN_A_ROW {
            return Ok(());
        }
        self.count = 0;
        Err(Error::new(
            Side::Gmail,
            ErrorKind::Unavailable,
            "gmail",
            format!("{MAX_PARKED_IN_A_ROW} messages in a row were not accepted"),
        )
        .during("appending")
        .remedy("the account rests; the log lines above say why")
        .with_consequence(Consequence::Rest(RestReason::Refusals)))
    }
}
