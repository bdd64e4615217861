//! A message in log lines: its name in the text, and what is known of it as fields.

use std::fmt;

use log::Level;

use crate::message::{Listed, Message, MessageId, Uid};

/// What a log line says of a message: its fields are `message_id`, `uid` and `octets`, null where they
/// are not known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LoggedMessage<'a> {
    pub id: Option<&'a MessageId>,
    /// Its UID in the source mailbox.
    pub uid: Option<Uid>,
    pub octets: Option<u64>,
}

impl LoggedMessage<'_> {
    /// Logs a line about the message, which the text names.
    pub fn log(self, level: Level, text: fmt::Arguments<'_>) {
        log::log!(
            level,
            message_id = self.id_text().as_deref(),
            uid = self.uid.map(Uid::get),
            octets = self.octets;
            "{text}"
        );
    }

    /// The id as it is logged, in the text and as a field.
    pub fn id_text(self) -> Option<String> {
        self.id.map(ToString::to_string)
    }
}

impl<'a> From<&'a Listed> for LoggedMessage<'a> {
    fn from(listed: &'a Listed) -> LoggedMessage<'a> {
        LoggedMessage {
            id: listed.identity.id.as_ref(),
            uid: Some(listed.uid),
            octets: Some(listed.size),
        }
    }
}

impl<'a> From<&'a Message> for LoggedMessage<'a> {
    fn from(message: &'a Message) -> LoggedMessage<'a> {
        LoggedMessage {
            id: Some(&message.id),
            uid: Some(message.uid),
            octets: Some(message.octets.len() as u64),
        }
    }
}

/// `<id> (uid 12)`.
impl fmt::Display for LoggedMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => id.fmt(f)?,
            None => f.write_str("a message without Message-ID")?,
        }
        self.uid.map_or(Ok(()), |uid| write!(f, " (uid {uid})"))
    }
}
