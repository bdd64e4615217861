//! What is due: which messages a pass must look at, and what is to be done with each. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::{Holding, Reach};
use crate::message::{Digest, Listed, Mailbox, Uid};
use crate::state::{Cursor, DatePass, Knowledge, Parked, State};

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
    ByDate(DatePass, Begun),
}

/// Whether a pass by date stands in the state already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// It was cut short and goes on.
    Before,
    /// It begins.
    Now,
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
            Due::ByDate(pass.clone(), Begun::Before)
        }
        (None, Some(cursor)) if holds(cursor, state, mailbox, source) => above(cursor, mailbox),
        _ => Due::ByDate(
            begin(state, mailbox, source, first_run_days, now),
            Begun::Now,
        ),
    };
    // In a new pass by date the UIDs of parked messages count no longer.
    let parked = match due {
        Due::ByDate(_, Begun::Now) => Vec::new(),
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
        uid_validity: mailbox.uid_validity,
        uid_next: mailbox.uid_next,
        strays: Vec::new(),
    }
}

/// The day to ask SINCE for: a day more, because the server counts days in its own time zone.
pub(super) fn ask_since(pass: &DatePass) -> NaiveDate {
    pass.since.date_naive() - Days::new(1)
}

/// The days to ask ON for, so that what was parked is found: its day, and the days next to it.
pub(super) fn ask_on<'a>(strays: impl Iterator<Item = &'a Parked>) -> BTreeSet<NaiveDate> {
    let days = strays
        .filter_map(|stray| stray.date)
        .map(|date| date.date_naive());
    days.flat_map(|day| [day - Days::new(1), day, day + Days::new(1)])
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
pub(super) enum Manner {
    /// Its UID is above the cursor, or it was parked: it is new in the mailbox.
    New,
    /// A pass by date found it: it may have been delivered under another UID.
    ByDate,
}

/// What is to be done with a listed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it was delivered.
    Known,
    /// It must be read; its body tells whether it was delivered.
    ReadToDecide,
    /// Gmail must be asked.
    Ask(Reach, IfAbsent),
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
pub(super) fn verdict(state: &State, listed: &Listed, manner: Manner) -> Verdict {
    let reach = match manner {
        Manner::New => Reach::AllMail,
        Manner::ByDate => Reach::Everywhere,
    };
    let ask = Verdict::Ask(reach, IfAbsent::Deliver);
    let Some(id) = &listed.identity.id else {
        return ask;
    };
    match (state.knows(id), manner) {
        (Knowledge::Unknown, _) => ask,
        (Knowledge::IdOnly, Manner::ByDate) => Verdict::Ask(Reach::Everywhere, IfAbsent::Leave),
        (Knowledge::IdOnly, Manner::New) => Verdict::Ask(Reach::Everywhere, IfAbsent::Deliver),
        (Knowledge::Digests(digests), manner) => {
            let same: Vec<&Digest> = digests
                .iter()
                .filter(|digest| digest.header == listed.identity.header)
                .collect();
            if same.is_empty() {
                ask
            } else if manner == Manner::ByDate || same.iter().any(|digest| digest.body.is_none()) {
                Verdict::Known
            } else {
                Verdict::ReadToDecide
            }
        }
    }
}

/// Says whether a message must be delivered, given what Gmail answered.
pub(super) fn must_deliver(holding: Holding, if_absent: IfAbsent) -> bool {
    match (holding, if_absent) {
        (Holding::Held, _) | (Holding::Absent, IfAbsent::Leave) => false,
        (Holding::Other | Holding::Unclear, _) | (Holding::Absent, IfAbsent::Deliver) => true,
    }
}
