//! What is due: which messages a pass must look at, and what is to be done with each. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, SubsecRound, TimeDelta, Utc};

use crate::message::{Digest, Listed, Mailbox, Uid};
use crate::state::{Cursor, DatePass, Knowledge, ParkedMessage, State};
use crate::sync::{LookupResult, SearchScope};

/// A pass by date reaches back this far beyond the last pass that came to its end: the clocks of
/// two machines and a day's end in another time zone lie in between.
const MARGIN: TimeDelta = TimeDelta::days(2);

/// No mailbox goes back further, however many days are asked for.
const BEFORE_MAIL: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// What a pass has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Which messages it must look at.
    pub due: Due,
    /// Parked messages whose time has come.
    pub parked: Vec<Uid>,
}

/// Which messages a pass must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// None: nothing came since.
    Nothing,
    /// Those from the first to the second UID.
    Between(Uid, Uid),
    /// Those that this pass by date considers; a new one must be recorded first.
    ByDate(DatePass, DatePassStart),
}

/// Whether a pass by date stands in the state already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DatePassStart {
    /// It was cut short and goes on.
    Resumed,
    /// It begins.
    New,
}

/// Decides what a pass has to do in this mailbox, called `user@host/folder`.
pub(super) fn due(
    state: &State,
    mailbox: &Mailbox,
    source: &str,
    first_run_days: u32,
    now: DateTime<Utc>,
) -> Plan {
    let due = match (&state.date_pass, &state.cursor) {
        (Some(pass), _) if goes_on(pass, state, mailbox, source) => {
            Due::ByDate(pass.clone(), DatePassStart::Resumed)
        }
        (None, Some(cursor)) if holds(cursor, state, mailbox, source) => above(cursor, mailbox),
        _ => Due::ByDate(
            begin(state, mailbox, source, first_run_days, now),
            DatePassStart::New,
        ),
    };
    // In a new pass by date the UIDs of parked messages count no longer.
    let parked = match due {
        Due::ByDate(_, DatePassStart::New) => Vec::new(),
        _ => state
            .parked
            .iter()
            .filter(|(_, parked)| parked.is_due(now))
            .map(|(uid, _)| *uid)
            .collect(),
    };
    Plan { due, parked }
}

/// The cursor holds in the mailbox that it was taken in, as long as nobody else moved the mark, and
/// as long as the mailbox did not fall back behind what is remembered of it (a restored backup).
fn holds(cursor: &Cursor, state: &State, mailbox: &Mailbox, source: &str) -> bool {
    cursor.source == source
        && cursor.uid_validity == mailbox.uid_validity
        && cursor.uid == state.last_source_uid
        && mailbox.uid_next.get() > state.highest_uid()
}

/// A pass by date goes on in the mailbox that it began in.
fn goes_on(pass: &DatePass, state: &State, mailbox: &Mailbox, source: &str) -> bool {
    pass.source == source
        && pass.uid_validity == mailbox.uid_validity
        && pass.uid_next <= mailbox.uid_next
        && mailbox.uid_next.get() > state.highest_uid()
}

fn above(cursor: &Cursor, mailbox: &Mailbox) -> Due {
    let first = cursor.uid.checked_add(1).and_then(Uid::new);
    let last = Uid::new(mailbox.uid_next.get() - 1);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => Due::Between(first, last),
        _ => Due::Nothing,
    }
}

fn begin(
    state: &State,
    mailbox: &Mailbox,
    source: &str,
    first_run_days: u32,
    now: DateTime<Utc>,
) -> DatePass {
    let since = match state.last_sync {
        Some(last) => last.min(now) - MARGIN,
        None => TimeDelta::try_days(first_run_days.into())
            .and_then(|back| now.checked_sub_signed(back))
            .map_or(BEFORE_MAIL, |since| since.max(BEFORE_MAIL)),
    };
    let unfinished = state.date_pass.as_ref().map_or(since, |pass| pass.since);
    DatePass {
        source: source.to_owned(),
        since: since.min(unfinished),
        began: Some(now.trunc_subsecs(0)),
        uid_validity: mailbox.uid_validity,
        uid_next: mailbox.uid_next,
        orphans: Vec::new(),
    }
}

/// The day to ask SINCE for: a day more, because the server counts days in its own time zone.
pub(super) fn ask_since(pass: &DatePass) -> NaiveDate {
    pass.since.date_naive() - Days::new(1)
}

/// The days to ask ON for, so that what was parked is found: its day, and the days next to it.
pub(super) fn ask_on<'a>(strays: impl Iterator<Item = &'a ParkedMessage>) -> BTreeSet<NaiveDate> {
    let days = strays
        .filter_map(|stray| stray.date)
        .map(|date| date.date_naive());
    days.flat_map(|day| {
        [
            day.checked_sub_days(Days::new(1)),
            Some(day),
            day.checked_add_days(Days::new(1)),
        ]
    })
    .flatten()
    .collect()
}

/// Says whether a message was received late enough for this pass by date; one without a readable
/// date was, because the server found it by the day.
pub(super) fn is_late_enough(pass: &DatePass, listed: &Listed) -> bool {
    listed
        .internal_date
        .is_none_or(|date| date.to_utc() >= pass.since)
}

/// How a message came to be looked at: by its place above the cursor, or by the day of its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SelectedBy {
    /// Its UID is above the cursor, or it was parked: it is new in the mailbox.
    Uid,
    /// A pass by date found it: it may have been delivered under another UID.
    Date,
}

/// What is to be done with a listed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdentityDecision {
    /// Nothing: it was delivered.
    Known,
    /// It must be read; its body tells whether it was delivered.
    CompareBody,
    /// Gmail must be asked.
    LookUp(SearchScope, IfAbsent),
}

/// What is to be done if Gmail has nothing under the id of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfAbsent {
    /// Deliver it.
    Deliver,
    /// Leave it: it was delivered, and the reader has deleted it for good.
    Leave,
}

/// Decides by what is known of a message's identity.
pub(super) fn verdict(state: &State, listed: &Listed, manner: SelectedBy) -> IdentityDecision {
    let reach = match manner {
        SelectedBy::Uid => SearchScope::AllMail,
        SelectedBy::Date => SearchScope::AllMailTrashAndJunk,
    };
    let ask = IdentityDecision::LookUp(reach, IfAbsent::Deliver);
    let Some(id) = &listed.identity.id else {
        return ask;
    };
    match (state.known_digests(id), manner) {
        (Knowledge::Unknown, _) => ask,
        (Knowledge::IdOnly, SelectedBy::Date) => {
            IdentityDecision::LookUp(SearchScope::AllMailTrashAndJunk, IfAbsent::Leave)
        }
        (Knowledge::IdOnly, SelectedBy::Uid) => {
            IdentityDecision::LookUp(SearchScope::AllMailTrashAndJunk, IfAbsent::Deliver)
        }
        (Knowledge::Digests(digests), manner) => {
            let same: Vec<&Digest> = digests
                .iter()
                .filter(|digest| digest.header == listed.identity.header)
                .collect();
            // In a pass by date it has another UID than it had, and is the same all the same; unless
            // this very pass has delivered one like it.
            let moved = manner == SelectedBy::Date && !state.was_delivered_in_date_pass(id);
            if same.is_empty() {
                // One like it may be what the original delivered under this id, of which the
                // state tells no more once another was delivered: the reader may have deleted it.
                IdentityDecision::LookUp(SearchScope::AllMailTrashAndJunk, IfAbsent::Deliver)
            } else if moved || same.iter().any(|digest| digest.body.is_none()) {
                IdentityDecision::Known
            } else {
                IdentityDecision::CompareBody
            }
        }
    }
}

/// Says whether a message must be delivered, given what Gmail answered.
pub(super) fn must_deliver(holding: LookupResult, if_absent: IfAbsent) -> bool {
    match (holding, if_absent) {
        (LookupResult::Found, _) | (LookupResult::NotFound, IfAbsent::Leave) => false,
        (LookupResult::OtherMessage | LookupResult::Unclear, _)
        | (LookupResult::NotFound, IfAbsent::Deliver) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BodyDigest, Flags, Identity, UidValidity};
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
        }
    }

    fn due_in(state: &State, mailbox: &Mailbox) -> Due {
        due(state, mailbox, SOURCE, 7, now()).due
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
    fn a_first_run_goes_by_date_and_exactly_so_many_days_back() {
        let due = due_in(&State::default(), &mailbox(7, 44));
        assert_eq!(since(&due), at("2026-11-15T12:00:00Z"));
        let Due::ByDate(pass, _) = due else { panic!() };
        assert_eq!(ask_since(&pass).to_string(), "2026-11-14");
        assert_eq!(pass.uid_next, uid(44));
    }

    #[test]
    fn days_without_end_reach_back_to_the_first_mail() {
        let plan = super::due(&State::default(), &mailbox(7, 44), SOURCE, u32::MAX, now());
        assert_eq!(since(&plan.due), DateTime::UNIX_EPOCH);
    }

    #[test]
    fn a_cursor_that_does_not_hold_makes_the_pass_go_by_date() {
        let synced = Event::Synced {
            at: at("2026-11-22T10:00:00Z"),
        };
        let holding = state([cursor(40), synced]);
        let mut moved_by_the_original = holding.clone();
        moved_by_the_original.last_source_uid = 39;
        let mut higher = holding.clone();
        higher.apply(Event::Parked {
            uid: uid(50),
            parked: parked(0),
        });
        let cases = [
            (&holding, mailbox(8, 44), "another UIDVALIDITY"),
            (&holding, mailbox(7, 40), "UIDNEXT at the cursor"),
            (&higher, mailbox(7, 50), "UIDNEXT at a parked message"),
            (
                &moved_by_the_original,
                mailbox(7, 44),
                "another hand moved the mark",
            ),
        ];
        for (state, mailbox, why) in cases {
            assert_eq!(
                since(&due_in(state, &mailbox)),
                at("2026-11-20T10:00:00Z"),
                "{why}"
            );
        }
        let elsewhere = super::due(&holding, &mailbox(7, 44), "alice@other/INBOX", 7, now());
        assert_eq!(
            since(&elsewhere.due),
            at("2026-11-20T10:00:00Z"),
            "another mailbox"
        );
    }

    #[test]
    fn a_last_sync_to_come_does_not_shorten_a_pass_by_date() {
        let ahead = state([Event::Synced {
            at: at("2027-01-01T00:00:00Z"),
        }]);
        assert_eq!(since(&due_in(&ahead, &mailbox(7, 44))), now() - MARGIN);
    }

    #[test]
    fn a_pass_by_date_that_was_cut_short_goes_on_with_the_same_day() {
        let Due::ByDate(pass, _) = due_in(&State::default(), &mailbox(7, 44)) else {
            panic!()
        };
        let begun = state([Event::DatePass(pass.clone())]);
        let later = now() + TimeDelta::days(3);
        let plan = super::due(&begun, &mailbox(7, 60), SOURCE, 7, later);
        assert_eq!(plan.due, Due::ByDate(pass.clone(), DatePassStart::Resumed));
        // In another mailbox it begins anew, and reaches back as far as it was to.
        let anew = super::due(&begun, &mailbox(8, 60), SOURCE, 7, later);
        assert_eq!(since(&anew.due), pass.since);
    }

    #[test]
    fn parked_messages_are_due_when_their_time_has_come_or_cannot_be_meant() {
        let mut state = state([cursor(40)]);
        for (number, minutes) in [(5, -1), (6, 0), (7, 1), (8, 24 * 60), (9, 24 * 60 + 1)] {
            state.apply(Event::Parked {
                uid: uid(number),
                parked: parked(minutes),
            });
        }
        let plan = due(&state, &mailbox(7, 41), SOURCE, 7, now());
        assert_eq!(plan.parked, [uid(5), uid(6), uid(9)]);
        let renewed = due(&state, &mailbox(8, 41), SOURCE, 7, now());
        assert_eq!(renewed.parked, [], "their UIDs count no longer");
    }

    fn listed(message: &str) -> Listed {
        Listed {
            uid: uid(1),
            size: 1,
            internal_date: None,
            flags: Flags::default(),
            identity: Identity::of_header(message.as_bytes()),
        }
    }

    fn done(message: &str, with_body: bool) -> Event {
        let Identity { id, header } = Identity::of_header(message.as_bytes());
        let body = with_body.then(|| BodyDigest::of_message(message.as_bytes()));
        let digest = Digest { header, body };
        Event::Done {
            uid: uid(1),
            id: id.unwrap(),
            digest,
            at: now(),
            appended: true,
        }
    }

    #[test]
    fn what_is_known_of_an_identity_decides() {
        const SCAN: &str = "Message-ID: <a@b>\r\nSubject: scan\r\n\r\nbody\r\n";
        const OTHER: &str = "Message-ID: <a@b>\r\nSubject: other\r\n\r\nbody\r\n";
        const NAMELESS: &str = "Subject: scan\r\n\r\nbody\r\n";
        let nothing = State::default();
        let delivered = state([done(SCAN, true)]);
        let held = state([done(SCAN, false)]);
        let ask = |reach| IdentityDecision::LookUp(reach, IfAbsent::Deliver);
        let (all_mail, everywhere) = (
            ask(SearchScope::AllMail),
            ask(SearchScope::AllMailTrashAndJunk),
        );
        let cases = [
            (&nothing, SCAN, SelectedBy::Uid, all_mail),
            (&nothing, SCAN, SelectedBy::Date, everywhere),
            (
                &delivered,
                SCAN,
                SelectedBy::Uid,
                IdentityDecision::CompareBody,
            ),
            (&delivered, SCAN, SelectedBy::Date, IdentityDecision::Known),
            (&delivered, OTHER, SelectedBy::Uid, everywhere),
            (&delivered, OTHER, SelectedBy::Date, everywhere),
            (&held, SCAN, SelectedBy::Uid, IdentityDecision::Known),
            (&held, OTHER, SelectedBy::Uid, everywhere),
            (&delivered, NAMELESS, SelectedBy::Uid, all_mail),
        ];
        for (state, message, manner, expected) in cases {
            assert_eq!(
                verdict(state, &listed(message), manner),
                expected,
                "{message} {manner:?}"
            );
        }
    }

    #[test]
    fn gmails_answer_decides_what_is_delivered() {
        use IfAbsent::{Deliver, Leave};
        use LookupResult::{Found, NotFound, OtherMessage};
        for (holding, if_absent, delivers) in [
            (Found, Deliver, false),
            (Found, Leave, false),
            (OtherMessage, Deliver, true),
            (OtherMessage, Leave, true),
            (NotFound, Deliver, true),
            (NotFound, Leave, false),
        ] {
            assert_eq!(
                must_deliver(holding, if_absent),
                delivers,
                "{holding:?} {if_absent:?}"
            );
        }
    }

    #[test]
    fn a_stray_is_asked_for_on_its_day_and_the_days_beside_it() {
        let date = DateTime::parse_from_rfc3339("2026-11-01T00:30:00+02:00").unwrap();
        let strays = [
            ParkedMessage {
                date: Some(date),
                ..parked(0)
            },
            parked(0),
        ];
        let days: Vec<String> = ask_on(strays.iter())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(days, ["2026-10-31", "2026-11-01", "2026-11-02"]);
    }
}
