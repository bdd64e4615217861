//! Finds where an appended message is now.

use crate::delivery::gmail_imap::lookup::fetch::{BodyDigests, MAX_MESSAGE_SIZE};
use crate::delivery::gmail_imap::lookup::{Lookup, LookupError};
use crate::delivery::gmail_imap::search;
use crate::message::{Mark, MessagePlace, Uid};
use crate::sync::{FoundPlace, LookupQuery, UncertainAppend};

impl Lookup {
    /// Where each of these messages is, as far as All Mail shows, or the target folder that it has not.
    pub(in crate::delivery::gmail_imap) fn find_places(
        &mut self,
        queries: &[LookupQuery],
    ) -> Result<Vec<FoundPlace>, LookupError> {
        // It may have been stored after the folder was selected.
        self.open_mailbox = None;
        let folders: Vec<String> = self
            .folders
            .also
            .iter()
            .chain(&self.folders.main)
            .cloned()
            .collect();
        let mut places = Vec::new();
        for query in queries {
            let mut place = FoundPlace::Absent;
            for folder in &folders {
                if let (Some(sent), FoundPlace::Absent) = (&query.uncertain, &place) {
                    place = self.find_place(folder, query, sent)?;
                }
            }
            places.push(place);
        }
        Ok(places)
    }

    fn find_place(
        &mut self,
        all_mail: &str,
        query: &LookupQuery,
        sent: &UncertainAppend,
    ) -> Result<FoundPlace, LookupError> {
        let mailbox = self.examine_and_search(all_mail, &[query])?;
        let mut uids = self.search_by_id(&[query])?;
        uids.extend(self.search_by_day(&[query])?);
        let above = self.search_above_marks(&[query], mailbox)?;
        let is_complete = above.is_some();
        uids.extend(above.unwrap_or_default());
        if query.identity.id.is_none() && sent.mark.is_none() {
            // It was stored long ago, and nothing but its day finds it.
            for criteria in search::by_days(query.date.into_iter()) {
                uids.extend(self.search(&criteria)?.unwrap_or_default());
            }
        }
        let (mut found, mut bodies) = (Vec::new(), BodyDigests::default());
        for candidate in self.fetch_identities(uids)? {
            if candidate.may_match(&query.identity) && candidate.size <= MAX_MESSAGE_SIZE {
                match self.body_of(&candidate, &mut bodies)? {
                    Some(body) if body == sent.body => found.push(candidate.uid),
                    Some(_) => {}
                    None => return Ok(FoundPlace::Ambiguous),
                }
            }
        }
        let mark = sent
            .mark
            .filter(|it| it.uid_validity == mailbox.uid_validity);
        let place = |uid| MessagePlace {
            folder: all_mail.to_owned(),
            uid_validity: mailbox.uid_validity,
            uid,
        };
        Ok(match appended(&found, mark) {
            [] if is_complete => FoundPlace::Absent,
            [uid] => FoundPlace::At(place(*uid)),
            _ => FoundPlace::Ambiguous,
        })
    }
}

/// Those of the equal messages that were stored after the mark was read; all of them if none was: Gmail
/// had the message already, and keeps its UID.
fn appended(found: &[Uid], mark: Option<Mark>) -> &[Uid] {
    let first = mark.map_or(0, |mark| found.partition_point(|uid| *uid < mark.uid_next));
    let later = found.get(first..).unwrap_or_default();
    if later.is_empty() { found } else { later }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::UidValidity;

    #[test]
    fn of_equal_messages_the_one_above_the_mark_was_appended() {
        let uids = |numbers: &[u32]| -> Vec<Uid> {
            numbers.iter().filter_map(|uid| Uid::new(*uid)).collect()
        };
        let mark = |uid_next| {
            Some(Mark {
                uid_validity: UidValidity::new(1).unwrap(),
                uid_next: Uid::new(uid_next).unwrap(),
            })
        };
        for (found, mark, expected) in [
            (vec![], mark(5), vec![]),
            (vec![3, 7], mark(5), vec![7]),
            (vec![3, 5], mark(5), vec![5]),
            (vec![3, 4], mark(5), vec![3, 4]),
            (vec![3], mark(5), vec![3]),
            (vec![5, 6], mark(5), vec![5, 6]),
            (vec![3, 7], None, vec![3, 7]),
        ] {
            assert_eq!(appended(&uids(&found), mark), uids(&expected), "{found:?}");
        }
    }
}
