//! APPEND (RFC 3501 6.3.11).

use chrono::Timelike;
use imap::types::Flag;

use crate::imap::quoting::escaped_mailbox;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::{CommandError, ResponseText, Session};
use crate::message::{Flags, InternalDate};

impl Session {
    /// Stores a message in a folder and returns the text of the OK. Best with no folder open, so
    /// that the server reports no new mail in the middle of the command.
    ///
    /// # Errors
    /// As for `Session::command`. After an error other than NO or BAD the message may be
    /// stored, if its [literal was sent](crate::imap::Transcript::literal_was_sent).
    pub fn append(
        &mut self,
        folder: &str,
        flags: Flags,
        date: InternalDate,
        octets: &[u8],
    ) -> Result<ResponseText, CommandError> {
        let Some(name) = escaped_mailbox(folder) else {
            let what = "the folder's name contains a line break or a NUL";
            return Err(CommandError::lost(what));
        };
        let flags = [
            (flags.seen, Flag::Seen),
            (flags.flagged, Flag::Flagged),
            (flags.answered, Flag::Answered),
        ];
        let appended = self.run(|imap| {
            let mut append = imap.append(&name, octets);
            let set = flags.into_iter().filter(|(is_set, _)| *is_set);
            append.flags(set.map(|(_, flag)| flag));
            // A leap second, 10:00:60, is no time for Gmail.
            if let Some(date) = date.and_then(|date| date.with_nanosecond(0)) {
                append.internal_date(date);
            }
            append.finish()
        });
        // The response itself decides: the library fails at lines that it does not expect, and
        // knows APPENDUID in its canonical form only.
        match (appended, self.tagged_ok()) {
            (_, Some(text)) => Ok(text),
            (Ok(_), None) => Ok(ResponseText::default()),
            (Err(error), None) => Err(error),
        }
    }

    /// The text of the tagged OK, if that was the last line and the whole literal was sent.
    fn tagged_ok(&self) -> Option<ResponseText> {
        let transcript = self.transcript();
        let response = transcript.tagged_response();
        match status_response(&response.filter(|_| transcript.literal_was_sent())?) {
            Some((StatusCondition::Ok, text)) => Some(text),
            _ => None,
        }
    }
}
