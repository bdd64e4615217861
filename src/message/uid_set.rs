//! A set of UIDs, stored and written as ranges: `5,9000:9004` (RFC 3501, `sequence-set`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::message::Uid;

/// UIDs as disjoint ranges that do not touch: memory depends on the number of gaps, not of
/// messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct UidSet {
    /// First to last UID of each range.
    ranges: BTreeMap<u32, u32>,
}

impl UidSet {
    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether a UID is in it.
    #[must_use]
    pub fn contains(&self, uid: Uid) -> bool {
        let range = self.ranges.range(..=uid.get()).next_back();
        range.is_some_and(|(_, last)| *last >= uid.get())
    }

    /// The highest UID in it.
    #[must_use]
    pub fn last(&self) -> Option<Uid> {
        self.ranges
            .last_key_value()
            .and_then(|(_, last)| Uid::new(*last))
    }

    /// Adds a UID.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(uid, uid);
    }

    /// Adds all UIDs from `first` to `last`; none if `last` is below `first`.
    pub fn insert_range(&mut self, first: Uid, last: Uid) {
        let (mut first, mut last) = (first.get(), last.get());
        if last < first {
            return;
        }
        // Ranges that overlap or touch the new one are merged into it.
        while let Some((&begin, &end)) = self.ranges.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.ranges.remove(&begin);
            first = first.min(begin);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// Removes all UIDs up to and including `uid`.
    pub(crate) fn remove_up_to(&mut self, uid: Uid) {
        while let Some((&first, &last)) = self.ranges.first_key_value() {
            if first > uid.get() {
                break;
            }
            self.ranges.remove(&first);
            if last > uid.get() {
                self.ranges.insert(uid.get() + 1, last);
                break;
            }
        }
    }

    /// The first and the last UID of each range, ascending.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Uid, Uid)> + '_ {
        self.ranges
            .iter()
            .filter_map(|(first, last)| Some((Uid::new(*first)?, Uid::new(*last)?)))
    }

    /// The UIDs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges
            .iter()
            .flat_map(|(first, last)| *first..=*last)
            .filter_map(Uid::new)
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = UidSet::default();
        uids.into_iter().for_each(|uid| set.insert(uid));
        set
    }
}

impl fmt::Display for UidSet {
    /// The set as in a command. An empty set is an empty text, which no command accepts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}:{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for UidSet {
    type Err = String;

    fn from_str(text: &str) -> Result<UidSet, String> {
        let uid = |text: &str| text.parse().ok().and_then(Uid::new);
        let mut set = UidSet::default();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            match (uid(first), uid(last)) {
                (Some(first), Some(last)) if first <= last => set.insert_range(first, last),
                _ => return Err("a set of UIDs is written like 5,9000:9004".to_owned()),
            }
        }
        Ok(set)
    }
}

impl From<UidSet> for String {
    fn from(set: UidSet) -> String {
        set.to_string()
    }
}

impl TryFrom<String> for UidSet {
    type Error = String;

    fn try_from(text: String) -> Result<UidSet, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> UidSet {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_that_touch_or_overlap_are_merged() {
        let cases = [
            ("1,3", 2, "1:3"),
            ("", 5, "5"),
            ("5:7", 6, "5:7"),
            ("5:7", 8, "5:8"),
            ("5:7", 4, "4:7"),
            ("1,9", 5, "1,5,9"),
        ];
        for (before, uid, after) in cases {
            let mut set = set(before);
            set.insert(Uid::new(uid).unwrap());
            assert_eq!(set.to_string(), after);
        }
        let mut many = set("1,3,5,7:9,20");
        many.insert_range(Uid::new(2).unwrap(), Uid::new(10).unwrap());
        assert_eq!(many.to_string(), "1:10,20");
        many.insert(Uid::new(u32::MAX).unwrap());
        assert_eq!(many.to_string(), "1:10,20,4294967295");
    }

    #[test]
    fn uids_up_to_one_are_removed() {
        let cases = [
            ("1:5,9", 3, "4:5,9"),
            ("1:5,9", 5, "9"),
            ("1:5,9", 9, ""),
            ("4:5", 3, "4:5"),
        ];
        for (before, uid, after) in cases {
            let mut set = set(before);
            set.remove_up_to(Uid::new(uid).unwrap());
            assert_eq!(set.to_string(), after);
        }
    }

    #[test]
    fn a_set_is_parsed_as_it_is_written() {
        assert_eq!(
            set("5,9000:9004").iter().map(Uid::get).collect::<Vec<_>>(),
            [5, 9000, 9001, 9002, 9003, 9004]
        );
        assert!(set("4713,4715:4719").contains(Uid::new(4716).unwrap()));
        assert!(!set("4713,4715:4719").contains(Uid::new(4714).unwrap()));
        assert_eq!(set("4713,4715:4719").last(), Uid::new(4719));
        for wrong in ["0", "a", "1,", "2:1", "1:*", "-1"] {
            assert!(wrong.parse::<UidSet>().is_err(), "{wrong}");
        }
    }
}
