//! How far the cursor can rise while the messages above it are copied. Pure.

use crate::message::Uid;
use crate::state::Cursor;

/// Raises the cursor over whole runs of messages that are settled or parked.
pub(super) struct CursorAdvance {
    cursor: Cursor,
    /// The messages above the cursor, ascending; the first `passed` are settled or parked.
    due: Vec<Uid>,
    passed: usize,
    /// The cursor's UID once all of them are.
    last: Uid,
}

impl CursorAdvance {
    pub fn new(cursor: Cursor, due: Vec<Uid>, last: Uid) -> CursorAdvance {
        CursorAdvance {
            cursor,
            due,
            passed: 0,
            last,
        }
    }

    /// Returns the cursor if it has risen; `is_done` says of a UID whether it is settled or parked.
    pub fn advance(&mut self, is_done: impl Fn(Uid) -> bool) -> Option<Cursor> {
        let remaining = self.due.iter().skip(self.passed);
        self.passed += remaining.take_while(|uid| is_done(**uid)).count();
        let risen = match self.due.get(self.passed) {
            Some(open) => open.get() - 1,
            None => self.last.get(),
        };
        if risen <= self.cursor.uid {
            return None;
        }
        self.cursor.uid = risen;
        Some(self.cursor.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::UidValidity;

    #[test]
    fn the_cursor_rises_over_whole_runs_only() {
        let uid = |number| Uid::new(number).unwrap();
        let cursor = Cursor {
            source: "alice@mail.example.com/INBOX".to_owned(),
            uid_validity: UidValidity::new(7).unwrap(),
            uid: 40,
        };
        let due = [43, 44, 50].map(uid).to_vec();
        let mut advance = CursorAdvance::new(cursor, due, uid(60));
        let mut rise = |done: &[u32]| {
            let cursor = advance.advance(|uid| done.contains(&uid.get()));
            cursor.map(|cursor| cursor.uid)
        };
        assert_eq!(rise(&[44]), Some(42), "up to the first open message");
        assert_eq!(rise(&[44, 50]), None);
        assert_eq!(rise(&[43, 44]), Some(49));
        assert_eq!(rise(&[50]), Some(60), "what was passed is not asked again");
        assert_eq!(rise(&[]), None);
    }
}
