//! What Gmail was seen to hold, listed once for a long pass (pure).

use std::collections::HashSet;

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::delivery::gmail_imap::found_message::FoundMessage;
use crate::imap::search_date;
use crate::message::Identity;
use crate::sync::LookupQuery;

/// Fewer messages are asked for by their ids: a listing costs more.
const WORTH_A_LISTING: usize = 200;

/// Longer ids are left to the search, so that a listing has a largest size in memory: a few
/// hundred octets for each of the messages that are compared.
const LONGEST_ID: usize = 250;

/// Days are the server's, in its own time zone, and what came to it another way came at another
/// moment.
const EARLIER: TimeDelta = TimeDelta::days(2);

/// Messages of All Mail, by what makes them the ones asked for.
///
/// It proves that a message is there, never that it is not: what came later, what is older, and
/// what was too much to remember is not in it.
#[derive(Default)]
pub(super) struct MailIndex(HashSet<Identity>);

impl MailIndex {
    /// Remembers what was listed.
    pub(super) fn from_messages(candidates: Vec<FoundMessage>) -> MailIndex {
        let identities = candidates.into_iter().map(FoundMessage::into_identity);
        MailIndex(identities.filter(can_be_remembered).collect())
    }

    /// Says whether a message is there. One that was sent and got no answer is never judged so:
    /// its body must be the same as well.
    pub(super) fn contains(&self, question: &LookupQuery) -> bool {
        question.uncertain.is_none() && self.0.contains(&question.identity)
    }
}

fn can_be_remembered(identity: &Identity) -> bool {
    let id = identity.id.as_ref();
    id.is_some_and(|id| id.as_str().len() <= LONGEST_ID)
}

/// The search program for a listing; none if it is not worth it.
pub(super) fn program(backlog: usize, oldest: Option<DateTime<FixedOffset>>) -> Option<String> {
    let oldest = oldest.filter(|_| backlog > WORTH_A_LISTING)?;
    let since = oldest.to_utc().checked_sub_signed(EARLIER)?;
    Some(format!("SINCE {}", search_date(since.date_naive())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_backlog_is_listed_from_two_days_before_its_oldest() {
        let oldest = DateTime::parse_from_rfc3339("2026-03-02T01:00:00+02:00").ok();
        assert_eq!(program(201, oldest).as_deref(), Some("SINCE 27-Feb-2026"));
        assert_eq!(program(200, oldest), None);
        assert_eq!(program(201, None), None);
    }
}
