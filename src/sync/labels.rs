//! Setting the labels that stored messages owe.
//!
//! Before the labels of a message are set for the first time, its version is on disk. A later run that
//! finds them still owed therefore knows what became of its predecessor's attempt: the same version
//! means that it was not carried out; another one that it was, or that the user changed the message,
//! and then the labels are the user's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::message::{LoggedMessage, MessagePlace};
use crate::retry::{GIVE_UP_AFTER, MAX_ATTEMPTS};
use crate::state::OwedLabels;
use crate::sync::ledger::Ledger;
use crate::sync::{FoundPlace, LabelRequest, MessageVersion, RejectedLabels, Target, lookup};
use crate::untrusted::Untrusted;

/// The most messages whose labels are set at once: two round trips and a sync.
const BATCH_SIZE: usize = 50;

/// Labels that failed this often are tried after the pass, not before it, and message by message: they
/// may be the cause.
const MAX_EAGER_TRIES: u32 = 4;

/// A message that was stored so lately may not be shown yet.
const SHOW_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// Sets what is owed, unless it failed often.
pub(super) fn set_eagerly(target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
    let suspects = suspects(ledger);
    let eager = numbers_of(ledger, &|owed| !is_suspect(owed) && !waits(owed, &suspects));
    set_those(&eager, target, ledger)
}

/// Sets what is owed if that is much: otherwise more of it comes soon.
pub(super) fn set_if_many(target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
    let suspects = suspects(ledger);
    let mut numbers = numbers_of(ledger, &|owed| is_new(owed) && !waits(owed, &suspects));
    numbers.truncate(numbers.len() / BATCH_SIZE * BATCH_SIZE);
    set_those(&numbers, target, ledger)
}

/// Sets all that is owed.
pub(super) fn set_all(target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
    set_eagerly(target, ledger)?;
    let suspects = suspects(ledger);
    let waiting = numbers_of(ledger, &|owed| !is_suspect(owed) && waits(owed, &suspects));
    let mut suspects = numbers_of(ledger, &is_suspect);
    // The first that fails ends the pass, and is the last in the next one.
    let tries = |number: &u64| ledger.state().owed_labels().get(number).map(|it| it.tries);
    suspects.sort_by_key(tries);
    for suspect in suspects.chunks(1) {
        set_those(suspect, target, ledger)?;
    }
    set_those(&waiting, target, ledger)
}

/// Failed so often that it is set alone.
fn is_suspect(owed: &OwedLabels) -> bool {
    owed.tries >= MAX_EAGER_TRIES
}

fn suspects<'a>(ledger: &'a Ledger) -> Vec<&'a OwedLabels> {
    let all = ledger.state().owed_labels().values();
    all.filter(|owed| is_suspect(owed)).collect()
}

/// Whether labels of the same message are among the suspects, which must be set first: once others are set,
/// the message has another version, and those that were tried would be given up.
fn waits(owed: &OwedLabels, suspects: &[&OwedLabels]) -> bool {
    let is_same = |other: &&OwedLabels| other.id == owed.id && other.digest == owed.digest;
    suspects.iter().any(is_same)
}

/// Never tried, and where it was stored.
fn is_new(owed: &OwedLabels) -> bool {
    owed.tries == 0 && owed.place.is_some()
}

fn numbers_of(ledger: &Ledger, is_it: &dyn Fn(&OwedLabels) -> bool) -> Vec<u64> {
    let owed = ledger.state().owed_labels().iter();
    let those = owed.filter(|(_, owed)| is_it(owed));
    those.map(|(number, _)| *number).collect()
}

fn set_those(numbers: &[u64], target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
    let owed = ledger.state().owed_labels();
    let was_tried = |number: &u64| owed.get(number).is_some_and(|owed| owed.version.is_some());
    // Of a message that is in several folders, labels may be owed several times. Those that were tried come
    // first: once others are set, the message has another version.
    let (tried, new): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|number| was_tried(number));
    for batch in tried.chunks(BATCH_SIZE).chain(new.chunks(BATCH_SIZE)) {
        find_places(batch, target, ledger)?;
        let moved = set_in_folders(batch, target, ledger)?;
        // The user has archived these, or moved them.
        find_places(&moved, target, ledger)?;
        set_in_folders(&moved, target, ledger)?;
    }
    Ok(())
}

/// Looks up the messages of which nothing shows where they are.
fn find_places(numbers: &[u64], target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
    let (mut known, mut given_up, mut queries) = (Vec::new(), Vec::new(), Vec::new());
    for (number, owed) in entries(numbers, ledger) {
        if owed.place.is_some() {
            continue;
        }
        match lookup::query_for_owed(&owed) {
            Some(query) => {
                queries.push(query);
                known.push((number, owed));
            }
            None => given_up.push(number),
        }
    }
    if queries.is_empty() {
        return ledger.settle_labels(given_up, &[]);
    }
    let mut found = Vec::new();
    for ((number, owed), place) in known.into_iter().zip(target.find_places(&queries)?) {
        match place {
            FoundPlace::At(place) => {
                let place = Some(place);
                found.push((number, OwedLabels { place, ..owed }));
            }
            FoundPlace::Absent if is_fresh(&owed, ledger.now()) => {}
            FoundPlace::Absent => {
                log_left(&owed, "it is no longer in All Mail");
                given_up.push(number);
            }
            FoundPlace::Ambiguous => {
                warn_of_missing(&owed, "Gmail has several messages like it");
                given_up.push(number);
            }
        }
    }
    ledger.settle_labels(given_up, &found)
}

/// Sets the labels of the messages whose places are known; returns those that are no longer there.
fn set_in_folders(
    numbers: &[u64],
    target: &mut dyn Target,
    ledger: &mut Ledger,
) -> Result<Vec<u64>> {
    let mut folders: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (number, _, place) in placed(numbers, ledger) {
        folders.entry(place.folder).or_default().push(number);
    }
    let mut moved = Vec::new();
    for there in folders.into_values() {
        let result = set_in_folder(&there, &mut moved, target, ledger);
        match result {
            Err(error) if is_lost_connection(&error) => {
                // The sooner the second look, the less the user can have changed.
                log::debug!("setting labels: {error}; looking whether they are set");
                set_in_folder(&there, &mut moved, target, ledger)?;
            }
            result => result?,
        }
    }
    Ok(moved)
}

fn set_in_folder(
    numbers: &[u64],
    moved: &mut Vec<u64>,
    target: &mut dyn Target,
    ledger: &mut Ledger,
) -> Result<()> {
    let there = placed(numbers, ledger);
    let places: Vec<MessagePlace> = there.iter().map(|(_, _, place)| place.clone()).collect();
    let versions = target.versions(&places)?;
    let (mut numbers, mut requests) = (Vec::new(), Vec::new());
    let (mut changed, mut given_up) = (Vec::new(), Vec::new());
    for ((number, owed, place), version) in there.into_iter().zip(versions) {
        match what_to_do(&owed, version, ledger.now()) {
            Step::Set(version) => {
                numbers.push(number);
                add_request(&mut requests, place, &owed.labels);
                let (version, tries) = (Some(version), owed.tries.saturating_add(1));
                changed.push((
                    number,
                    OwedLabels {
                        version,
                        tries,
                        ..owed
                    },
                ));
            }
            Step::LookUp => {
                moved.push(number);
                let place = None;
                changed.push((number, OwedLabels { place, ..owed }));
            }
            Step::GiveUp => given_up.push(number),
        }
    }
    ledger.settle_labels(given_up, &changed)?;
    if requests.is_empty() {
        return Ok(());
    }
    // Before the labels are set, the versions are durable.
    ledger.sync()?;
    warn_of_rejected(target.set_labels(&requests)?);
    ledger.settle_labels(numbers, &[])
}

/// Adds a request, to the one for the same message if there is one: what is set by one command is set whole
/// or not at all.
fn add_request(requests: &mut Vec<LabelRequest>, place: MessagePlace, labels: &[String]) {
    let same = requests.iter_mut().find(|request| request.place == place);
    let Some(same) = same else {
        let labels = labels.to_vec();
        requests.push(LabelRequest { place, labels });
        return;
    };
    for label in labels {
        if !same.labels.contains(label) {
            same.labels.push(label.clone());
        }
    }
}

fn is_lost_connection(error: &Error) -> bool {
    error.side() == Side::Gmail
        && error.kind() == ErrorKind::Unavailable
        && error.consequence().is_none()
}

/// What to do with owed labels.
enum Step {
    /// Set them on the message of this version.
    Set(String),
    /// The message is not where it was: look it up.
    LookUp,
    GiveUp,
}

fn what_to_do(owed: &OwedLabels, version: MessageVersion, now: DateTime<Utc>) -> Step {
    match (version, &owed.version) {
        _ if owed.tries >= MAX_ATTEMPTS && now - owed.at >= GIVE_UP_AFTER => {
            warn_of_missing(owed, "setting them has failed for a week");
            Step::GiveUp
        }
        (MessageVersion::Is(version), None) => Step::Set(version),
        (MessageVersion::Is(version), Some(before)) if version == *before && !before.is_empty() => {
            Step::Set(version)
        }
        (MessageVersion::Is(_), Some(_)) => {
            log_left(owed, "it was changed since, by an earlier run or by you");
            Step::GiveUp
        }
        (MessageVersion::Gone | MessageVersion::Invalid, None) => Step::LookUp,
        (MessageVersion::Gone, Some(_)) => {
            log_left(owed, "it was moved or deleted since");
            Step::GiveUp
        }
        (MessageVersion::Invalid, Some(_)) => {
            let why =
                "the UIDVALIDITY of its folder has changed, so nothing shows whether it has them";
            warn_of_missing(owed, why);
            Step::GiveUp
        }
    }
}

fn entries(numbers: &[u64], ledger: &Ledger) -> Vec<(u64, OwedLabels)> {
    let owed = ledger.state().owed_labels();
    let there = |number: &u64| Some((*number, owed.get(number)?.clone()));
    numbers.iter().filter_map(there).collect()
}

/// Those whose places are known.
fn placed(numbers: &[u64], ledger: &Ledger) -> Vec<(u64, OwedLabels, MessagePlace)> {
    let there = entries(numbers, ledger).into_iter();
    let placed = |(number, owed): (u64, OwedLabels)| {
        let place = owed.place.clone()?;
        Some((number, owed, place))
    };
    there.filter_map(placed).collect()
}

fn is_fresh(owed: &OwedLabels, now: DateTime<Utc>) -> bool {
    // A time in the future was written while the clock was wrong.
    (now - owed.at).abs() < SHOW_TIMEOUT
}

fn names(labels: &[String]) -> String {
    let shown: Vec<String> = labels
        .iter()
        .map(|it| Untrusted::new(it).to_string())
        .collect();
    shown.join(", ")
}

fn log_left(owed: &OwedLabels, why: &str) {
    let logged = LoggedMessage {
        id: Some(&owed.id),
        ..LoggedMessage::default()
    };
    let text = format_args!("{logged}: its labels are left as they are: {why}");
    logged.log(log::Level::Info, text);
}

fn warn_of_missing(owed: &OwedLabels, why: &str) {
    let logged = LoggedMessage {
        id: Some(&owed.id),
        ..LoggedMessage::default()
    };
    let labels = names(&owed.labels);
    let text = format_args!("{logged} may lack its labels ({labels}): {why}");
    logged.log(log::Level::Warn, text);
}

/// One warning for a label, whatever the number of messages.
fn warn_of_rejected(results: Vec<RejectedLabels>) {
    let rejected: BTreeSet<_> = results.into_iter().flatten().collect();
    for it in rejected {
        let label = Untrusted::new(&it.label);
        log::warn!(
            "messages are not labelled {label}, which Gmail does not accept: {}",
            it.why
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Uid, UidValidity};

    #[test]
    fn a_message_that_owes_labels_twice_gets_them_by_one_request() {
        let place = |uid| MessagePlace {
            folder: "INBOX".to_owned(),
            uid_validity: UidValidity::new(1).unwrap(),
            uid: Uid::new(uid).unwrap(),
        };
        let mut requests = Vec::new();
        for (uid, labels) in [(1, ["a", "b"]), (2, ["a", "c"]), (1, ["b", "c"])] {
            add_request(&mut requests, place(uid), &labels.map(str::to_owned));
        }
        let requested: Vec<_> = requests
            .iter()
            .map(|request| (request.place.uid.get(), request.labels.join(" ")))
            .collect();
        assert_eq!(requested, [(1, "a b c".to_owned()), (2, "a c".to_owned())]);
    }
}
