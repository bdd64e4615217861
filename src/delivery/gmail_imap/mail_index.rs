//! An index of the messages at Gmail, listed once for a pass with a large backlog. Pure.

use std::collections::HashSet;

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::delivery::gmail_imap::found_message::FoundMessage;
use crate::imap::search_date;
use crate::message::Identity;
use crate::sync::LookupQuery;

/// A backlog up to this size is looked up message by message: a listing costs more.
const MAX_BACKLOG_WITHOUT_INDEX: usize = 200;

/// Longer ids are left to the search, which limits the memory of the index to a few hundred octets
/// a message.
const MAX_ID_LENGTH: usize = 250;

/// The listing begins this long before the oldest message of the backlog: SINCE is by day in the
/// server's time zone, and a copy that reached Gmail another way has another date.
const MARGIN: TimeDelta = TimeDelta::days(2);

/// Identities of messages in All Mail.
///
/// A message that is not in it may be there all the same: it arrived later, is older than the
/// listing, or has a long id.
#[derive(Default)]
pub(super) struct MailIndex(HashSet<Identity>);

impl MailIndex {
    pub(super) fn from_messages(messages: Vec<FoundMessage>) -> MailIndex {
        let identities = messages.into_iter().map(|message| message.identity);
        MailIndex(identities.filter(is_indexable).collect())
    }

    /// Whether a message is in the index. For an uncertain message it never is, because its body
    /// must be compared, too.
    pub(super) fn contains(&self, query: &LookupQuery) -> bool {
        query.uncertain.is_none() && query.octets.is_none() && self.0.contains(&query.identity)
    }
}

fn is_indexable(identity: &Identity) -> bool {
    let id = identity.id.as_ref();
    id.is_some_and(|id| id.as_str().len() <= MAX_ID_LENGTH)
}

/// The search criteria for a listing; none if the backlog is not worth one.
pub(super) fn search_for(backlog: usize, oldest: Option<DateTime<FixedOffset>>) -> Option<String> {
    let oldest = oldest.filter(|_| backlog > MAX_BACKLOG_WITHOUT_INDEX)?;
    let since = oldest.to_utc().checked_sub_signed(MARGIN)?;
    Some(format!("SINCE {}", search_date(since.date_naive())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_backlog_is_listed_from_two_days_before_its_oldest() {
        let oldest = DateTime::parse_from_rfc3339("2026-03-02T01:00:00+02:00").ok();
        assert_eq!(
            search_for(201, oldest).as_deref(),
            Some("SINCE 27-Feb-2026")
        );
        assert_eq!(search_for(200, oldest), None);
        assert_eq!(search_for(201, None), None);
    }
}
