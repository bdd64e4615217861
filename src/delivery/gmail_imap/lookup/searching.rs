//! The searches of a lookup: by Message-ID, by day, and for what came lately.

use crate::delivery::gmail_imap::lookup::{Lookup, LookupError, MAX_COMPARED, ids_of, newest};
use crate::delivery::gmail_imap::search::{self, IdSearch};
use crate::imap::{Command, CommandError, CommandResult, search_results};
use crate::message::{Mailbox, Uid};
use crate::sync::{LookupQuery, UncertainAppend};

impl Lookup {
    /// Messages whose Message-ID may be one of those of the queries.
    pub(super) fn search_by_id(
        &mut self,
        queries: &[&LookupQuery],
    ) -> Result<Vec<Uid>, LookupError> {
        let ids = ids_of(queries);
        let searches = search::by_ids(&ids);
        let mut found = Vec::new();
        for (search, result) in searches.iter().zip(self.search_all(&searches)?) {
            match self.unless_rejected(result)? {
                Some(uids) => found.extend(uids),
                None => found.extend(self.search_one_by_one(search)?),
            }
        }
        if self.has_gmail_search {
            for criteria in ids.iter().filter_map(|id| search::by_gmail_raw(id)) {
                found.extend(self.search(&criteria)?.unwrap_or_default());
            }
        }
        Ok(newest(found))
    }

    /// Messages received on the days of those that no search by id can find.
    pub(super) fn search_by_day(
        &mut self,
        queries: &[&LookupQuery],
    ) -> Result<Vec<Uid>, LookupError> {
        let is_unsearchable = |query: &&&LookupQuery| {
            let id = query.identity.id.as_ref();
            id.is_some_and(|id| search::by_id(id).is_none())
        };
        let unsearchable = queries.iter().filter(is_unsearchable);
        let dates = unsearchable.filter_map(|query| query.date);
        let mut found = Vec::new();
        for criteria in search::by_days(dates) {
            found.extend(self.search(&criteria)?.unwrap_or_default());
        }
        Ok(newest(found))
    }

    /// A server that rejects one id rejects the whole search. The id that it rejects alone counts
    /// as not found.
    fn search_one_by_one(&mut self, search: &IdSearch) -> Result<Vec<Uid>, LookupError> {
        let mut found = Vec::new();
        let keys = search.ids.iter().filter_map(|id| search::by_id(id));
        for key in keys.filter(|_| search.ids.len() > 1) {
            found.extend(self.search(&key)?.unwrap_or_default());
        }
        Ok(found)
    }

    /// Messages that arrived since the lowest valid mark of the queries. A search by id can miss
    /// them: the server's index may be late, and a message may have no id. None if the server
    /// rejects the search.
    pub(super) fn search_above_marks(
        &mut self,
        queries: &[&LookupQuery],
        mailbox: Mailbox,
    ) -> Result<Option<Vec<Uid>>, LookupError> {
        let marks = queries
            .iter()
            .filter_map(|query| query.uncertain.as_ref()?.mark)
            .filter(|mark| mark.uid_validity == mailbox.uid_validity);
        let Some(lowest) = marks.map(|mark| mark.uid_next).min() else {
            return Ok(Some(Vec::new()));
        };
        let Some(mut uids) = self.search(&format!("UID {lowest}:*"))? else {
            return Ok(None);
        };
        // `n:*` finds the last message even if its UID is lower (RFC 3501 6.4.8).
        uids.retain(|uid| *uid >= lowest);
        // Keeps the oldest: an uncertain message was sent right after the mark was read.
        uids.truncate(MAX_COMPARED);
        Ok(Some(uids))
    }

    /// Messages that arrived since the first of these was sent, by the day. An imported message has the date
    /// of its import. None if the server rejects the search.
    pub(super) fn search_since<'a>(
        &mut self,
        sent: impl Iterator<Item = &'a UncertainAppend>,
    ) -> Result<Option<Vec<Uid>>, LookupError> {
        let Some(first) = sent.map(|sent| sent.at).min() else {
            return Ok(Some(Vec::new()));
        };
        let found = self.search(&search::since(first))?;
        Ok(found.map(newest))
    }

    /// The results of several searches, in one round trip, unless they are known already.
    fn search_all(
        &mut self,
        searches: &[IdSearch],
    ) -> Result<Vec<Result<Vec<Uid>, CommandError>>, LookupError> {
        let prefetched = std::mem::take(&mut self.prefetched_searches).into_iter();
        let prefetched = prefetched.zip(searches);
        let mut results: Vec<CommandResult> = prefetched
            .take_while(|((criteria, _), search)| *criteria == search.criteria)
            .map(|((_, result), _)| result)
            .collect();
        let open = searches.get(results.len()..).unwrap_or_default();
        if !open.is_empty() {
            let criteria = open.iter().map(|search| search.criteria.clone());
            let answers = self
                .gmail
                .session
                .pipeline(criteria.map(Command::UidSearch).collect());
            self.account.note_lost_pipelined(&self.gmail.session);
            results.extend(answers.map_err(|failure| self.command_failed(failure))?);
        }
        let uids = |result: CommandResult| result.map(|responses| search_results(&responses));
        Ok(results.into_iter().map(uids).collect())
    }

    /// The messages that match; none if the server rejects this search.
    pub(super) fn search(&mut self, criteria: &str) -> Result<Option<Vec<Uid>>, LookupError> {
        let result = self.gmail.session.search(criteria);
        self.unless_rejected(result)
    }
}
