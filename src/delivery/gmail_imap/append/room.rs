//! Which message may be sent before others are answered, and in which form.

use std::time::Duration;

use crate::delivery::gmail_imap::account::GmailSession;
use crate::delivery::gmail_imap::append::AppendConnection;
use crate::imap::LiteralForm;
use crate::message::Message;

/// Whether an APPEND is sent before the one before it is answered.
const PIPELINES_APPENDS: bool = true;

/// The most messages that are sent and not answered.
const MAX_OPEN: usize = 16;

/// The most octets of them in non-synchronizing literals: the server has to take them all before it
/// answers the first.
const MAX_OPEN_OCTETS: usize = 256 * 1024;

/// The longest non-synchronizing literal that LITERAL- permits (RFC 7888 5)…
const MAX_LITERAL_MINUS: usize = 4096;

/// …and the longest that is sent where LITERAL+ permits any: the server can reject it only after it
/// has taken it.
const MAX_LITERAL_PLUS: usize = 100_000;

/// A server that was silent for longer than this, or has sent something unasked, may have dropped the
/// connection; so may any by the time at which a message comes alone. The `+` for a synchronizing literal shows that it has not, before a message is sent whose
/// fate would be uncertain.
const MAX_SILENCE: Duration = Duration::from_secs(10);

impl AppendConnection {
    /// Whether this message can be sent now, behind `batch` and before others are answered.
    pub(in crate::delivery::gmail_imap) fn has_room_for(
        &self,
        message: &Message,
        batch: &[Message],
    ) -> bool {
        let Some(last) = batch.last() else {
            return self.open.is_empty()
                || self.can_pipeline() && self.has_octets_for(message, &[]);
        };
        // The server asks for a message in a synchronizing literal before it reads on.
        let may_follow = self.form_for(last) == LiteralForm::NonSynchronizing;
        may_follow && self.can_pipeline() && self.has_octets_for(message, batch)
    }

    fn can_pipeline(&self) -> bool {
        PIPELINES_APPENDS
            && self.changed.is_empty()
            && self.announced().is_none()
            && !self.account.loses_pipelined_appends()
            && self
                .session
                .as_ref()
                .is_some_and(|gmail| self.has_time_left(gmail))
    }

    /// Whether a session may get more messages: it is neither broken nor about to end.
    pub(super) fn has_time_left(&self, gmail: &GmailSession) -> bool {
        let GmailSession { session, .. } = gmail;
        session.is_usable() && !session.has_said_bye() && !self.account.expires_soon(gmail)
    }

    fn has_octets_for(&self, message: &Message, batch: &[Message]) -> bool {
        let open = self.open.iter().map(|open| &open.message);
        let messages = open.chain(batch).chain([message]);
        // What the server asks for is limited by the pool.
        let sizes = messages.map(|message| message.octets.len());
        let at_once = sizes.filter(|size| *size <= MAX_LITERAL_PLUS);
        self.open.len() + batch.len() < MAX_OPEN && at_once.sum::<usize>() <= MAX_OPEN_OCTETS
    }

    pub(super) fn form_for(&self, message: &Message) -> LiteralForm {
        let Some(GmailSession { session, .. }) = &self.session else {
            return LiteralForm::Synchronizing;
        };
        let was_heard = session.heard_at().elapsed() <= MAX_SILENCE;
        let size = message.octets.len();
        let is_short = size <= MAX_LITERAL_MINUS && session.announces("LITERAL-")
            || size <= MAX_LITERAL_PLUS && session.announces("LITERAL+");
        if PIPELINES_APPENDS && was_heard && is_short && !self.account.loses_pipelined_appends() {
            LiteralForm::NonSynchronizing
        } else {
            LiteralForm::Synchronizing
        }
    }
}
