//! SEARCH: dates in criteria, and the UIDs in responses (RFC 3501 6.4.4, 7.2.5).

use std::collections::BTreeSet;
use std::fmt::Display;

use chrono::NaiveDate;
use imap_proto::{MailboxDatum, Response};

use crate::imap::{Command, CommandError, Responses, Session};
use crate::message::Uid;

impl Session {
    /// Returns the UIDs that match criteria of `UID SEARCH`, ascending and unique.
    ///
    /// # Errors
    /// As for `Session::command`.
    pub fn search(&mut self, criteria: &str) -> Result<Vec<Uid>, CommandError> {
        let responses = self.command(Command::UidSearch(criteria.to_owned()))?;
        Ok(search_results(&responses))
    }
}

/// Reads the UIDs that a UID SEARCH returned, ascending and unique.
pub(crate) fn search_results(responses: &Responses) -> Vec<Uid> {
    let numbers = responses.iter().flat_map(|response| match response {
        Response::MailboxData(MailboxDatum::Search(numbers)) => numbers,
        _ => Vec::new(),
    });
    let found: BTreeSet<Uid> = numbers.filter_map(Uid::new).collect();
    found.into_iter().collect()
}

/// A day as criteria name it: `1-Feb-2026`.
pub(crate) fn search_date(day: NaiveDate) -> impl Display {
    day.format("%-d-%b-%Y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_formatted_for_search() {
        let day = NaiveDate::from_ymd_opt(2026, 2, 1).unwrap();
        assert_eq!(search_date(day).to_string(), "1-Feb-2026");
    }
}
