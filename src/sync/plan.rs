//! What is due: which messages a pass must consider. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, SubsecRound, TimeDelta, Utc};

use crate::message::{Listed, Mailbox, Mark, Uid};
use crate::state::{Cursor, DatePass, FolderState, ParkedMessage, State};

/// A date pass reaches back this far beyond the last complete pass: the clocks of two machines and
/// the end of a day in another time zone may lie in between.
const DATE_PASS_MARGIN: TimeDelta = TimeDelta::days(2);

/// No date pass reaches back further, however many days are configured.
const EARLIEST_SINCE: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// What a round has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The messages to consider.
    pub due: Due,
    /// The parked messages that are due.
    pub parked: Vec<Uid>,
}

/// The messages to consider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// None: nothing came since.
    Nothing,
    /// Those from the first to the second UID.
    Between(Uid, Uid),
    /// Those of this date pass.
    ByDate(DatePass, DatePassStart),
}

/// Whether a date pass is already recorded in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DatePassStart {
    /// It was interrupted, and goes on.
    Resumed,
    /// It must be recorded before its first message.
    New,
}

/// Decides what is due in this mailbox; `source` is its name, `user@host/folder`.
pub(super) fn due(
    state: &State,
    mailbox: &Mailbox,
    source: &str,
    first_run_days: u32,
    requested: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Plan {
    let due = match (&state.folder.date_pass, &state.folder.cursor) {
        (Some(pass), _) if can_resume(pass, &state.folder, mailbox, source) => {
            Due::ByDate(pass.clone(), DatePassStart::Resumed)
        }
        (None, Some(cursor)) if is_valid(cursor, &state.folder, mailbox, source) => {
            above(cursor, mailbox)
        }
        _ => Due::ByDate(
            {
                let since = start_of_date_pass(state, source, first_run_days, requested, now);
                date_pass_since(since, state, mailbox, source, now)
            },
            DatePassStart::New,
        ),
    };
    let parked = match due {
        // The UIDs of parked messages are no longer valid.
        Due::ByDate(_, DatePassStart::New) => Vec::new(),
        _ => due_parked(&state.folder, now),
    };
    Plan { due, parked }
}

/// Whether a pass of a folder would have something to do, as far as its STATUS shows.
pub(crate) fn has_work(
    folder: &FolderState,
    mailbox: &Mailbox,
    source: &str,
    now: DateTime<Utc>,
) -> bool {
    let cursor = folder.cursor.as_ref();
    let valid = cursor.filter(|cursor| is_valid(cursor, folder, mailbox, source));
    let is_up_to_date = valid.is_some_and(|cursor| above(cursor, mailbox) == Due::Nothing);
    folder.date_pass.is_some() || !is_up_to_date || !due_parked(folder, now).is_empty()
}

/// Where new mail begins in a folder, as far as the state alone can tell; none if a date pass is due.
pub fn new_since(folder: &FolderState, source: &str) -> Option<Mark> {
    let cursor = folder.cursor.as_ref()?;
    if folder.date_pass.is_some() || !is_of_source(cursor, folder, source) {
        return None;
    }
    let uid_next = cursor.uid.checked_add(1).and_then(Uid::new)?;
    Some(Mark {
        uid_validity: cursor.uid_validity,
        uid_next,
    })
}

/// Returns the parked messages that are due.
pub(super) fn due_parked(folder: &FolderState, now: DateTime<Utc>) -> Vec<Uid> {
    let due = folder
        .parked
        .iter()
        .filter(|(_, parked)| parked.is_due(now));
    due.map(|(uid, _)| *uid).collect()
}

/// The cursor is valid in the mailbox that it was recorded for, as long as the original did not move
/// its own mark in between, and the mailbox did not fall back behind the UIDs in the state (a backup
/// was restored).
fn is_valid(cursor: &Cursor, folder: &FolderState, mailbox: &Mailbox, source: &str) -> bool {
    is_of_source(cursor, folder, source)
        && cursor.uid_validity == mailbox.uid_validity
        && mailbox.uid_next.get() > folder.highest_uid()
}

fn is_of_source(cursor: &Cursor, folder: &FolderState, source: &str) -> bool {
    cursor.source == source && cursor.uid == folder.last_source_uid
}

/// A date pass is resumed only in the mailbox that it began in.
fn can_resume(pass: &DatePass, folder: &FolderState, mailbox: &Mailbox, source: &str) -> bool {
    pass.source == source
        && pass.uid_validity == mailbox.uid_validity
        && pass.uid_next <= mailbox.uid_next
        && mailbox.uid_next.get() > folder.highest_uid()
}

fn above(cursor: &Cursor, mailbox: &Mailbox) -> Due {
    let first = cursor.uid.checked_add(1).and_then(Uid::new);
    let last = Uid::new(mailbox.uid_next.get() - 1);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => Due::Between(first, last),
        _ => Due::Nothing,
    }
}

/// When a date pass begins that is necessary: at the last pass, or at the first day of a first run; no
/// later than requested. A folder that joins others may have been there for long, unseen while no run was
/// possible, or seen and not readable: nothing that arrived meanwhile may be too old for its first pass. If nothing was copied from a mailbox of another name, its server was a mistake,
/// perhaps: then at the earlier one.
fn start_of_date_pass(
    state: &State,
    source: &str,
    first_run_days: u32,
    requested: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let first_seen = state.folder.first_seen.map_or(now, |at| at.min(now));
    let first_day = TimeDelta::try_days(first_run_days.into())
        .and_then(|back| first_seen.checked_sub_signed(back))
        .map_or(EARLIEST_SINCE, |day| day.max(EARLIEST_SINCE));
    // That of a state whose folders are lost holds for all of them.
    let of_lost_folders = || state.folder_named("").and_then(|folder| folder.last_sync);
    let Some(last) = state.folder.last_sync.or_else(of_lost_folders) else {
        let last_run = state.last_sync().map(|last| last - DATE_PASS_MARGIN);
        let first_day = last_run.map_or(first_day, |last_run| first_day.min(last_run));
        return requested.map_or(first_day, |requested| requested.max(EARLIEST_SINCE));
    };
    let mut since = last.min(now) - DATE_PASS_MARGIN;
    let mailbox = state.folder.source_mailbox();
    if mailbox.is_some_and(|(name, _)| name != source) && !state.is_bound_to_account() {
        since = since.min(first_day);
    }
    requested.map_or(since, |requested| requested.min(since))
}

/// A new date pass of this mailbox.
pub(super) fn date_pass_since(
    since: DateTime<Utc>,
    state: &State,
    mailbox: &Mailbox,
    source: &str,
    now: DateTime<Utc>,
) -> DatePass {
    // An interrupted date pass in another mailbox had to reach back further.
    let interrupted = state
        .folder
        .date_pass
        .as_ref()
        .map_or(since, |pass| pass.since);
    DatePass {
        source: source.to_owned(),
        since: since.min(interrupted),
        began: Some(now.trunc_subsecs(0)),
        uid_validity: mailbox.uid_validity,
        uid_next: mailbox.uid_next,
        keeps_uids: false,
        orphans: Vec::new(),
    }
}

/// The day to search SINCE: one day earlier, because the server counts days in its own time zone.
pub(super) fn since_day(pass: &DatePass) -> NaiveDate {
    pass.since.date_naive() - Days::new(1)
}

/// The days to search ON for orphaned parked messages: the day of each, and the days next to it.
pub(super) fn orphan_days<'a>(
    orphans: impl Iterator<Item = &'a ParkedMessage>,
) -> BTreeSet<NaiveDate> {
    let dates = orphans.filter_map(|orphan| orphan.date);
    dates
        .map(|date| date.date_naive())
        .flat_map(|day| {
            [
                day.checked_sub_days(Days::new(1)),
                Some(day),
                day.checked_add_days(Days::new(1)),
            ]
        })
        .flatten()
        .collect()
}

/// Says whether a message was received late enough for this date pass. One without a readable date
/// was: the server found it by its day.
pub(super) fn is_late_enough(pass: &DatePass, listed: &Listed) -> bool {
    listed
        .internal_date
        .is_none_or(|date| date.to_utc() >= pass.since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::UidValidity;
    use crate::state::Event;

    const SOURCE: &str = "alice@mail.example.com/INBOX";

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        at("2026-11-22T12:00:00Z")
    }

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    fn mailbox(uid_validity: u32, uid_next: u32) -> Mailbox {
        let uid_validity = UidValidity::new(uid_validity).unwrap();
        Mailbox {
            uid_validity,
            uid_next: uid(uid_next),
            exists: 1,
        }
    }

    fn state(events: impl IntoIterator<Item = Event>) -> State {
        let mut state = State::default();
        events.into_iter().for_each(|event| state.apply(event));
        state
    }

    fn cursor(uid: u32) -> Event {
        let uid_validity = UidValidity::new(7).unwrap();
        Event::Cursor(Cursor {
            source: SOURCE.to_owned(),
            uid_validity,
            uid,
        })
    }

    fn parked(minutes: i64) -> ParkedMessage {
        ParkedMessage {
            id: None,
            date: None,
            digest: None,
            since: now(),
            tries: 1,
            retry_after: now() + TimeDelta::minutes(minutes),
            why: String::new(),
            sent: None,
            labels: None,
            by_date: false,
        }
    }

    fn due_in(state: &State, mailbox: &Mailbox) -> Due {
        due(state, mailbox, SOURCE, 7, None, now()).due
    }

    fn since(due: &Due) -> DateTime<Utc> {
        match due {
            Due::ByDate(pass, DatePassStart::New) => pass.since,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn above_the_cursor_everything_is_due() {
        let state = state([cursor(40)]);
        assert_eq!(due_in(&state, &mailbox(7, 41)), Due::Nothing);
        assert_eq!(
            due_in(&state, &mailbox(7, 44)),
            Due::Between(uid(41), uid(43))
        );
    }

    #[test]
    fn new_mail_begins_above_the_cursor_unless_a_date_pass_is_due() {
        let synced = state([cursor(40)]);
        let mark = new_since(&synced.folder, SOURCE).unwrap();
        assert_eq!((mark.uid_validity.get(), mark.uid_next), (7, uid(41)));
        let mut moved_by_original = synced.clone();
        moved_by_original.folder.last_source_uid = 39;
        let Due::ByDate(pass, _) = due_in(&State::default(), &mailbox(7, 44)) else {
            panic!()
        };
        let interrupted = state([cursor(40), Event::DatePass(pass)]);
        for state in [State::default(), moved_by_original, interrupted] {
            assert_eq!(new_since(&state.folder, SOURCE), None);
        }
        assert_eq!(new_since(&synced.folder, "alice@other/INBOX"), None);
        assert_eq!(new_since(&state([cursor(u32::MAX)]).folder, SOURCE), None);
    }

    #[test]
    fn a_first_run_is_a_date_pass_of_exactly_the_configured_days() {
        let due = due_in(&State::default(), &mailbox(7, 44));
        assert_eq!(since(&due), at("2026-11-15T12:00:00Z"));
        let Due::ByDate(pass, _) = due else { panic!() };
        assert_eq!(since_day(&pass).to_string(), "2026-11-14");
        assert_eq!(pass.uid_next, uid(44));
    }

    #[test]
    fn more_days_than_there_can_be_reach_back_to_the_first_mail() {
        let plan = super::due(
            &State::default(),
            &mailbox(7, 44),
            SOURCE,
            u32::MAX,
            None,
            now(),
        );
        assert_eq!(since(&plan.due), DateTime::UNIX_EPOCH);
    }

    #[test]
    fn a_cursor_that_is_not_valid_leads_to_a_date_pass() {
        let synced = Event::Synced {
            at: at("2026-11-22T10:00:00Z"),
        };
        let valid = state([cursor(40), synced]);
        let mut moved_by_original = valid.clone();
        moved_by_original.folder.last_source_uid = 39;
        let mut higher = valid.clone();
        higher.apply(Event::Parked {
            uid: uid(50),
            parked: parked(0),
        });
        let cases = [
            (&valid, mailbox(8, 44), "another UIDVALIDITY"),
            (&valid, mailbox(7, 40), "UIDNEXT at the cursor"),
            (&higher, mailbox(7, 50), "UIDNEXT at a parked message"),
            (
                &moved_by_original,
                mailbox(7, 44),
                "the original moved the mark",
            ),
        ];
        for (state, mailbox, why) in cases {
            assert_eq!(
                since(&due_in(state, &mailbox)),
                at("2026-11-20T10:00:00Z"),
                "{why}"
            );
        }
        let elsewhere =
            |state| super::due(state, &mailbox(7, 44), "alice@other/INBOX", 7, None, now()).due;
        assert_eq!(
            since(&elsewhere(&higher)),
            at("2026-11-20T10:00:00Z"),
            "another mailbox"
        );
        assert_eq!(
            since(&elsewhere(&valid)),
            at("2026-11-15T12:00:00Z"),
            "nothing was copied from the other one"
        );
    }

    #[test]
    fn the_first_pass_of_a_folder_that_joins_others_goes_back_from_where_it_was_first_seen() {
        let days = |count| now() - TimeDelta::days(count);
        let begin = |first_seen: Option<DateTime<Utc>>, last_run| {
            let mut state = State::default();
            let seen = first_seen.map(|at| Event::FolderSeen { at });
            let events = [
                Some(Event::Folder("INBOX".to_owned())),
                Some(Event::Synced { at: last_run }),
                Some(Event::Folder("Lists".to_owned())),
                seen,
            ];
            for event in events.into_iter().flatten() {
                state.apply(event);
            }
            start_of_date_pass(&state, "alice@x/Lists", 7, None, now())
        };
        assert_eq!(begin(None, now()), days(7));
        assert_eq!(begin(Some(days(30)), now()), days(37));
        // No run was possible for twelve days.
        assert_eq!(begin(Some(now()), days(12)), days(12) - DATE_PASS_MARGIN);
        // A clock that was wrong.
        assert_eq!(begin(Some(days(-30)), now()), days(7));
    }

    #[test]
    fn a_last_sync_in_the_future_does_not_shorten_a_date_pass() {
        let ahead = state([Event::Synced {
            at: at("2027-01-01T00:00:00Z"),
        }]);
        assert_eq!(
            since(&due_in(&ahead, &mailbox(7, 44))),
            now() - DATE_PASS_MARGIN
        );
    }

    #[test]
    fn an_interrupted_date_pass_goes_on_with_the_same_day() {
        let Due::ByDate(pass, _) = due_in(&State::default(), &mailbox(7, 44)) else {
            panic!()
        };
        let begun = state([Event::DatePass(pass.clone())]);
        let later = now() + TimeDelta::days(3);
        let plan = super::due(&begun, &mailbox(7, 60), SOURCE, 7, None, later);
        assert_eq!(plan.due, Due::ByDate(pass.clone(), DatePassStart::Resumed));
        // In another mailbox it begins anew, and reaches back as far as it was to.
        let anew = super::due(&begun, &mailbox(8, 60), SOURCE, 7, None, later);
        assert_eq!(since(&anew.due), pass.since);
    }

    #[test]
    fn parked_messages_are_due_at_their_time_or_if_it_is_too_far_in_the_future() {
        let mut state = state([cursor(40)]);
        for (number, minutes) in [(5, -1), (6, 0), (7, 1), (8, 24 * 60), (9, 24 * 60 + 1)] {
            state.apply(Event::Parked {
                uid: uid(number),
                parked: parked(minutes),
            });
        }
        let plan = due(&state, &mailbox(7, 41), SOURCE, 7, None, now());
        assert_eq!(plan.parked, [uid(5), uid(6), uid(9)]);
        let renewed = due(&state, &mailbox(8, 41), SOURCE, 7, None, now());
        assert_eq!(renewed.parked, [], "their UIDs are no longer valid");
    }

    #[test]
    fn an_orphan_is_searched_for_on_its_day_and_the_days_next_to_it() {
        let date = DateTime::parse_from_rfc3339("2026-11-01T00:30:00+02:00").unwrap();
        let orphans = [
            ParkedMessage {
                date: Some(date),
                ..parked(0)
            },
            parked(0),
        ];
        let days: Vec<String> = orphan_days(orphans.iter())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(days, ["2026-10-31", "2026-11-01", "2026-11-02"]);
    }
}
