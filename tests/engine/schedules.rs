//! Random schedules: events at the source, at Gmail, on the disk and by the user, in an order that a
//! seed decides; then clean runs, then an oracle. To run a failing seed alone:
//! `SCHEDULE=<seed> cargo test --test engine random`; `SCHEDULES=<count>` sets their number.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use imap_to_gmail_sync::message::{Identity, MessageId};
use imap_to_gmail_sync::state::storage::StateFile;
use imap_to_gmail_sync::state::{Knowledge, State};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::run::{Ended, run, state};
use crate::world::{Crash, Faults, Octets, Place, Shared, SourceMessage, World};

/// A device that uses one Message-ID for all its messages.
const PRINTER: &[u8] = b"Message-ID: <printer@x>";

/// A device that uses one Message-ID, Date, From and Subject for all its messages: a date pass does
/// not distinguish them.
const FAX: &[u8] = b"Message-ID: <fax@x>";

/// A violation of the promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    Lost(String),
    Doubled(String),
    Flooded(String),
    Resurrected(String),
    Cursor(String),
    Unreported(String),
    Unfinished(String),
    Labels(&'static str, String),
}

/// What must happen to a message.
// Independent facts, not the states of a machine.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)]
struct Fate {
    /// It must arrive or be refused.
    due: bool,
    /// It was due before; it may have left the source since.
    was_due: bool,
    /// An old copy was there before the first run, and is not due.
    has_old_copy: bool,
    /// One of the documented limits permits its loss.
    may_be_lost: bool,
    /// One of the documented limits permits that it arrives twice or returns from the trash.
    may_be_doubled: bool,
    /// It left the source while it was parked: it must arrive or be refused.
    must_be_reported: bool,
    /// Gmail received it another way before we considered it.
    foreign: bool,
    /// A complete run has settled it: from then on it must be known.
    seen: bool,
    /// How often it arrived: without Message-ID each is a message of its own.
    arrivals: usize,
    /// Fewer may be copied: some left the source, or a date pass took them for one.
    may_be_fewer: bool,
}

#[allow(clippy::struct_excessive_bools)]
struct Schedule {
    /// Before the first run.
    begin: DateTime<Utc>,
    world: Shared,
    dice: Dice,
    fates: BTreeMap<Octets, Fate>,
    next_id: u32,
    printed: u32,
    /// The messages and UIDNEXT of a backup of the source.
    backup: Option<(Vec<SourceMessage>, u32)>,
    restored: bool,
    /// The last run crashed: what it wrote without sync may be lost.
    crashed: bool,
    had_original: bool,
    trace: bool,
    failures: BTreeSet<Failure>,
}

fn text(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

impl Schedule {
    fn new(seed: u64, trace: bool) -> Schedule {
        let mut dice = Dice::new(seed ^ 0x5EED);
        let mut world = World::new(seed);
        world.gmail.deduplicates = dice.chance(400);
        if dice.chance(50) {
            world.source.uid_next_lag = 1 + dice.below(3);
        }
        world.gmail.index_delay = [0, 0, 0, 30, 55][dice.below(5) as usize];
        if world.gmail.labels.dice.chance(600) {
            world.labels = vec!["Old mail".to_owned(), "Old mail/Ü".to_owned()];
        }
        world.gmail.import_by_chance();
        Schedule {
            begin: world.now,
            world: Rc::new(RefCell::new(world)),
            dice,
            fates: BTreeMap::new(),
            next_id: 0,
            printed: 0,
            backup: None,
            restored: false,
            crashed: false,
            had_original: false,
            trace,
            failures: BTreeSet::new(),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.world.borrow().now
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{} {}", self.now().format("%d %H:%M:%S"), what());
        }
    }

    /// Returns a message of a random kind.
    fn compose(&mut self) -> Octets {
        self.next_id += 1;
        let number = self.next_id;
        let kind = self.dice.below(100);
        let message = if kind < 60 {
            format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n")
        } else if kind < 75 {
            format!("Subject: no id {number}\r\n\r\nbody {number}\r\n")
        } else if kind < 88 {
            // A device that always uses the same id.
            self.printed += 1;
            format!("Message-ID: <printer@x>\r\nSubject: scan {number}\r\n\r\npage {number}\r\n")
        } else if kind < 92 {
            // …and the same header.
            self.printed += 1;
            format!("Message-ID: <fax@x>\r\nSubject: fax\r\n\r\npage {number}\r\n")
        } else if kind < 96 {
            // Twins are one message.
            let number = number / 2;
            format!("Message-ID: <twin{number}@x>\r\nSubject: t\r\n\r\nbody {number}\r\n")
        } else {
            format!("Message-ID: <nul{number}@x>\r\nSubject: \0{number}\r\n\r\nbody\0 {number}\n")
        };
        message.into_bytes()
    }

    fn fate(&mut self, octets: &[u8]) -> &mut Fate {
        self.fates.entry(without_nul(octets)).or_default()
    }

    fn deliver(&mut self, octets: &[u8], date: DateTime<Utc>) {
        let is_fax = octets.starts_with(FAX);
        // Until a first run has begun, an old message is not due.
        let is_asked_for = self.has_begun() || self.now() - date < TimeDelta::days(5);
        let is_recent = self.now() - date < TimeDelta::days(10);
        let fate = self.fate(octets);
        fate.due |= is_asked_for;
        // Between the two limits, the hour of the first run decides.
        fate.was_due |= is_recent;
        // Messages of one id and header are distinguished only above the cursor.
        fate.may_be_lost |= is_fax;
        fate.arrivals += 1;
        let uid = self
            .world
            .borrow_mut()
            .source
            .deliver(octets.to_vec(), date);
        self.note(|| format!("uid {uid} arrives, dated {date}: {}", text(octets)));
    }

    fn has_begun(&self) -> bool {
        let remembered = state(&self.world);
        remembered.folder.cursor.is_some() || remembered.folder.date_pass.is_some()
    }

    /// Before the first run: messages of this week and of last year, in any order of UIDs.
    fn fill(&mut self) {
        for _ in 0..self.dice.below(7) {
            let octets = self.compose();
            let is_recent = self.dice.chance(600);
            let age = if is_recent {
                TimeDelta::hours(self.dice.below(20).into())
            } else {
                TimeDelta::days(30 + i64::from(self.dice.below(300)))
            };
            let date = self.now() - age;
            self.world.borrow_mut().source.deliver(octets.clone(), date);
            self.note(|| {
                format!(
                    "there from the beginning, {} h old: {}",
                    age.num_hours(),
                    text(&octets)
                )
            });
            let at_gmail = self.dice.chance(150) && Identity::of_header(&octets).id.is_some();
            let is_fax = octets.starts_with(FAX);
            let fate = self.fate(&octets);
            fate.arrivals += 1;
            fate.due |= is_recent;
            fate.has_old_copy |= !is_recent;
            fate.may_be_lost |= is_fax;
            if at_gmail {
                fate.foreign = true;
                let day = self.now() - TimeDelta::days(1);
                self.world
                    .borrow_mut()
                    .gmail
                    .put(without_nul(&octets), day, false);
            }
        }
        if self.dice.chance(200) {
            let day = self.now() - TimeDelta::days(1);
            let old = b"Message-ID: <printer@x>\r\nSubject: scan 0\r\n\r\npage 0\r\n".to_vec();
            self.world.borrow_mut().gmail.put(old, day, false);
        }
        if self.dice.chance(150) {
            self.plant_original();
        }
    }

    /// The Python original ran before: it delivered the messages with an id, and wrote no digests.
    fn plant_original(&mut self) {
        let messages = self.world.borrow().source.messages.clone();
        let now = self.now();
        let mut ids = serde_json::Map::new();
        for message in messages {
            let Some(id) = Identity::of_header(&message.octets).id else {
                continue;
            };
            if ids.contains_key(id.as_str()) || message.octets.contains(&0) {
                continue;
            }
            ids.insert(id.as_str().to_owned(), Value::Null);
            let place = [Place::Inbox, Place::Archive, Place::Trash, Place::Gone]
                [self.dice.below(4) as usize];
            let mut world = self.world.borrow_mut();
            let is_there = world
                .gmail
                .messages
                .iter()
                .any(|there| there.octets == message.octets);
            if !is_there {
                world
                    .gmail
                    .put(message.octets.clone(), now - TimeDelta::days(1), false);
                if let Some(there) = world.gmail.messages.last_mut() {
                    there.place = place;
                }
            }
            drop(world);
            let fate = self.fate(&message.octets);
            fate.foreign = true;
            fate.due = false;
            // Only its id is known, and it is deleted for good: a documented limit.
            fate.may_be_doubled |= place == Place::Gone;
        }
        let as_list = self.dice.chance(300);
        let ids = if as_list {
            Value::Array(ids.keys().map(|id| json!(id)).collect())
        } else {
            Value::Object(ids)
        };
        let last_sync = (now - TimeDelta::hours(30))
            .format("%Y-%m-%dT%H:%M:%S%.6f+00:00")
            .to_string();
        let planted =
            json!({"synced_message_ids": ids, "last_source_uid": 3, "last_sync": last_sync});
        self.had_original = true;
        self.note(|| format!("the original left {planted}"));
        self.world
            .borrow_mut()
            .disk
            .plant(StateFile::Snapshot, planted.to_string().into_bytes());
    }

    /// The original runs between two of our runs.
    fn original_runs(&mut self) {
        let remembered = state(&self.world);
        if !remembered.folder.parked.is_empty()
            || remembered.folder.date_pass.is_some()
            || remembered.folder.cursor.is_none()
        {
            return;
        }
        // It does not read our journal.
        let journal = self.world.borrow().disk.content(&StateFile::Journal);
        if journal.is_some_and(|journal| !journal.is_empty()) {
            return;
        }
        let Some(snapshot) = self.world.borrow().disk.content(&StateFile::Snapshot) else {
            return;
        };
        let mut snapshot: Value = serde_json::from_slice(&snapshot).unwrap();
        let now = self.now();
        let messages = self.world.borrow().source.messages.clone();
        for message in messages {
            let Some(id) = Identity::of_header(&message.octets).id else {
                continue;
            };
            let ids = snapshot["synced_message_ids"].as_object_mut().unwrap();
            let is_old = remembered
                .folder
                .last_sync
                .is_none_or(|last| message.date < last);
            if is_old || ids.contains_key(id.as_str()) || message.octets.contains(&0) {
                continue;
            }
            ids.insert(id.as_str().to_owned(), json!(now.to_rfc3339()));
            self.world.borrow_mut().gmail.put(
                message.octets.clone(),
                now - TimeDelta::hours(1),
                false,
            );
            self.fate(&message.octets).foreign = true;
        }
        // It never delivers messages without id or with a known id; our date pass finds them.
        let last = self
            .world
            .borrow()
            .source
            .messages
            .last()
            .map_or(0, |message| message.uid);
        snapshot["last_source_uid"] = json!(last);
        snapshot["last_sync"] = json!(now.to_rfc3339());
        self.excuse_old_dates(&remembered);
        self.excuse_date_pass();
        self.had_original = true;
        self.note(|| "the original runs".to_owned());
        self.world
            .borrow_mut()
            .disk
            .plant(StateFile::Snapshot, snapshot.to_string().into_bytes());
    }

    /// A message with an old date that was not considered before UIDs became invalid: a documented
    /// limit.
    fn excuse_old_dates(&mut self, remembered: &State) {
        let reach = remembered
            .folder
            .last_sync
            .map(|last| last.min(self.now()) - TimeDelta::days(2))
            .or(remembered.folder.date_pass.as_ref().map(|pass| pass.since))
            .unwrap_or(self.now() - TimeDelta::days(5));
        let messages = self.world.borrow().source.messages.clone();
        for message in messages {
            if message.date < reach {
                self.fate(&message.octets).may_be_lost = true;
            }
        }
    }

    /// A date pass takes messages of the same octets and without Message-ID for one: a documented
    /// limit.
    fn excuse_date_pass(&mut self) {
        self.fates
            .values_mut()
            .for_each(|fate| fate.may_be_fewer = true);
    }

    /// Removes a message from the source mailbox.
    fn remove(&mut self, index: usize) -> SourceMessage {
        let remembered = state(&self.world);
        let message = self.world.borrow_mut().source.messages.remove(index);
        self.left(&message, &remembered);
        message
    }

    /// A message left the source: it need not arrive, but if it was parked, it is refused.
    fn left(&mut self, message: &SourceMessage, remembered: &State) {
        let identity = Identity::of_header(&message.octets);
        // Another message may be parked under its UID, from before UIDVALIDITY changed; the header
        // alone does not distinguish twins.
        let is_parked = remembered.folder.parked.iter().any(|(uid, parked)| {
            let id = parked.id.as_ref().filter(|id| id.is_from_field());
            uid.get() == message.uid
                && id == identity.id.as_ref()
                && parked
                    .digest
                    .is_some_and(|digest| digest.header == identity.header)
        });
        let is_elsewhere = self
            .world
            .borrow()
            .source
            .messages
            .iter()
            .any(|other| other.octets == message.octets);
        let has_crashed = self.crashed;
        let fate = self.fate(&message.octets);
        fate.may_be_fewer = true;
        fate.was_due |= fate.due;
        if !is_elsewhere || fate.has_old_copy {
            fate.due = false;
        }
        // A parked entry that a crashed run did not sync may be lost with the power: then the message
        // was not sent, and the state does not know it.
        fate.must_be_reported |= is_parked && !has_crashed;
    }

    fn event(&mut self) {
        let now = self.now();
        let count = self.world.borrow().source.messages.len();
        let pick = |dice: &mut Dice, count: usize| {
            dice.below(u32::try_from(count.max(1)).unwrap()) as usize
        };
        match self.dice.below(100) {
            0..40 => {
                let octets = self.compose();
                self.deliver(&octets, now);
            }
            40..50 => {
                // Moved in from another folder: new, with an old date.
                let octets = self.compose();
                let age = 1 + i64::from(self.dice.below(400));
                self.deliver(&octets, now - TimeDelta::days(age));
            }
            50..56 if count > 0 => {
                let index = pick(&mut self.dice, count);
                let message = self.remove(index);
                self.note(|| format!("uid {} is deleted at the source", message.uid));
            }
            56..64 if count > 0 => {
                // Moved out of the inbox and back.
                let index = pick(&mut self.dice, count);
                let was_due = {
                    let octets = self.world.borrow().source.messages[index].octets.clone();
                    self.fate(&octets).clone()
                };
                let message = self.remove(index);
                let uid = self
                    .world
                    .borrow_mut()
                    .source
                    .deliver(message.octets.clone(), message.date);
                self.note(|| format!("uid {} is moved out and back as {uid}", message.uid));
                // An old message that was not due is new under its new UID.
                let has_begun = self.has_begun();
                let fate = self.fate(&message.octets);
                fate.due |= has_begun || was_due.due;
                fate.may_be_lost |= was_due.may_be_lost;
                self.excuse_trashed_elsewhere(&message.octets);
            }
            64..72 => self.renumber_mailbox(),
            72..76 => {
                let world = self.world.borrow();
                self.backup = Some((world.source.messages.clone(), world.source.uid_next));
            }
            76..80 => self.restore(),
            80..90 => self.tidy_gmail(),
            90..93 => self.original_runs(),
            93..96 if count > 0 => {
                // The same message again, as an alias delivers it: known if it has a Message-ID.
                let index = pick(&mut self.dice, count);
                let message = self.world.borrow().source.messages[index].clone();
                self.excuse_trashed_elsewhere(&message.octets);
                let is_same_second = self.dice.chance(300);
                let date = if is_same_second { message.date } else { now };
                self.deliver(&message.octets, date);
            }
            _ => {}
        }
    }

    /// Gmail received it another way, the user deleted it, and it arrives again: a documented limit.
    fn excuse_trashed_elsewhere(&mut self, octets: &[u8]) {
        let is_trashed = self.world.borrow().gmail.messages.iter().any(|there| {
            there.octets == without_nul(octets)
                && !there.ours
                && matches!(there.place, Place::Trash | Place::Gone)
        });
        self.fate(octets).may_be_doubled |= is_trashed;
    }

    /// UIDVALIDITY changes, with the same messages, with others, or with none.
    fn renumber_mailbox(&mut self) {
        let remembered = state(&self.world);
        self.excuse_old_dates(&remembered);
        self.excuse_date_pass();
        let old = std::mem::take(&mut self.world.borrow_mut().source.messages);
        self.world.borrow_mut().source.uid_validity += 1;
        self.world.borrow_mut().source.uid_next = 1;
        self.backup = None;
        match self.dice.below(4) {
            0 => {
                self.note(|| "UIDVALIDITY changes, no messages".to_owned());
                for message in &old {
                    self.left(message, &remembered);
                }
            }
            1 => {
                self.note(|| "UIDVALIDITY changes, other messages".to_owned());
                for message in &old {
                    self.left(message, &remembered);
                }
                for _ in 0..self.dice.below(3) {
                    let octets = self.compose();
                    let now = self.now();
                    self.deliver(&octets, now);
                }
            }
            _ => {
                self.note(|| "UIDVALIDITY changes, the same messages".to_owned());
                for message in old {
                    self.world
                        .borrow_mut()
                        .source
                        .deliver(message.octets, message.date);
                }
            }
        }
    }

    /// A backup is restored under the same UIDVALIDITY.
    fn restore(&mut self) {
        let Some((messages, uid_next)) = self.backup.clone() else {
            return;
        };
        let remembered = state(&self.world);
        self.excuse_old_dates(&remembered);
        self.excuse_date_pass();
        self.note(|| format!("a backup is restored, uidnext {uid_next}"));
        let old = {
            let mut world = self.world.borrow_mut();
            world.source.uid_next = uid_next;
            std::mem::replace(&mut world.source.messages, messages)
        };
        let there: BTreeSet<Octets> = self
            .world
            .borrow()
            .source
            .messages
            .iter()
            .map(|message| message.octets.clone())
            .collect();
        old.iter()
            .filter(|message| !there.contains(&message.octets))
            .for_each(|message| self.left(message, &remembered));
        // A deleted message that the backup brings back is due if it was due before.
        self.restored = true;
    }

    /// The user archives a message at Gmail, deletes it, or deletes it for good.
    fn tidy_gmail(&mut self) {
        let remembered = state(&self.world);
        let mut world = self.world.borrow_mut();
        let count = world.gmail.messages.len();
        if count == 0 {
            return;
        }
        let index = self.dice.below(u32::try_from(count).unwrap()) as usize;
        let place = [Place::Archive, Place::Archive, Place::Trash, Place::Gone]
            [self.dice.below(4) as usize];
        let there = &mut world.gmail.messages[index];
        if there.place == Place::Gone {
            return;
        }
        there.relocate(place);
        let octets = there.octets.clone();
        drop(world);
        self.note(|| format!("the user moves to {place:?}: {}", text(&octets)));
        let id = MessageId::of_octets(&octets);
        let identity = Identity::of_header(&octets);
        let orphans = remembered
            .folder
            .date_pass
            .iter()
            .flat_map(|pass| &pass.orphans);
        let is_uncertain = remembered
            .folder
            .parked
            .values()
            .chain(orphans)
            .any(|parked| {
                parked.sent.is_some()
                    && (parked.id.as_ref() == Some(&id) || parked.id == identity.id)
            });
        let is_indexed = self.world.borrow().gmail.index_delay == 0;
        let is_found_in_trash = identity.id.is_some() && place == Place::Trash && is_indexed;
        if place != Place::Archive && (is_uncertain || self.crashed) && !is_found_in_trash {
            // Uncertain, and deleted before the lookup: a documented limit.
            self.fate(&octets).may_be_doubled = true;
        }
        if place == Place::Gone && self.had_original && self.fate(&octets).foreign {
            // The original delivered it, and only its id is known: a documented limit.
            self.fate(&octets).may_be_doubled = true;
        }
        let knowledge = identity.id.as_ref().map(|id| remembered.known_digests(id));
        let is_known = match knowledge {
            _ if self.fate(&octets).seen => true,
            None | Some(Knowledge::Unknown) => false,
            // Under a known id the trash is searched, too; one deleted for good is known only by its
            // header.
            Some(Knowledge::Digests(digests)) if place == Place::Gone => {
                let mut headers = digests.iter().map(|digest| digest.header);
                headers.any(|header| header == identity.header)
            }
            Some(Knowledge::IdOnly | Knowledge::Digests(_)) => true,
        };
        if place != Place::Archive && !is_known && self.fate(&octets).foreign {
            // Gmail received it another way, and the user deleted it before we considered it: a
            // documented limit.
            self.fate(&octets).may_be_doubled = true;
        }
    }

    /// The user changes labels; and what happens to labels during the next run.
    fn relabel(&mut self) {
        let mut world = self.world.borrow_mut();
        if world.labels.is_empty() {
            return;
        }
        let mut notes = Vec::new();
        for _ in 0..world.gmail.labels.dice.below(4) {
            notes.extend(world.user_relabels());
        }
        if world.gmail.labels.dice.chance(50) {
            world.renumber_inbox();
            notes.push("the inbox at Gmail has another UIDVALIDITY".to_owned());
        }
        let labels = &mut world.gmail.labels;
        let mut some = |per_mille: u32, limit: u32| {
            let happens = labels.dice.chance(per_mille);
            if happens { labels.dice.below(limit) } else { 0 }
        };
        (labels.user, labels.cut) = (some(400, 100), some(250, 600));
        drop(world);
        for note in notes {
            self.note(|| note);
        }
    }

    /// One run with random faults.
    fn run_with_faults(&mut self) {
        self.note_refill();
        {
            let mut world = self.world.borrow_mut();
            let mut some = |per_mille: u32, limit: u32| {
                if self.dice.chance(per_mille) {
                    self.dice.below(limit)
                } else {
                    0
                }
            };
            world.faults = Faults {
                hole: some(150, 300),
                unreadable: some(100, 300),
                cut_before: some(200, 400),
                cut_after: some(250, 400),
                stored_late: some(200, 400),
                refusal: some(150, 500),
                gmail_gone: some(200, 300),
                arrival: some(300, 100),
            };
            world.crash = self.dice.chance(500).then(|| {
                let step = 1 + self.dice.below(70) as usize;
                (
                    step,
                    if self.dice.chance(500) {
                        Crash::Kill
                    } else {
                        Crash::PowerLoss
                    },
                )
            });
        }
        let arrivals: Vec<Octets> = (0..3).map(|_| self.compose()).collect();
        self.world
            .borrow_mut()
            .source
            .arrivals
            .clone_from(&arrivals);
        // Not so far back that a first run's old mail is copied.
        let since = self.begin - TimeDelta::days(7);
        self.world.borrow_mut().since = self.dice.chance(100).then_some(since);
        let before = state(&self.world);
        let ended = run(&self.world);
        self.world.borrow_mut().since = None;
        let left = std::mem::take(&mut self.world.borrow_mut().source.arrivals).len();
        for octets in arrivals.into_iter().skip(left) {
            self.note(|| format!("arrived during the run: {}", text(&octets)));
            self.fate(&octets).due = true;
            self.fate(&octets).arrivals += 1;
            self.fate(&octets).may_be_lost |= octets.starts_with(FAX);
        }
        self.note(|| format!("run: {ended:?}"));
        self.crashed = ended == Ended::Crashed;
        // Messages also refill a restored mailbox while a run starts, before its EXAMINE…
        let examined = self.world.borrow().source.examined;
        if let Some(uid_next) = examined {
            self.excuse_refill(&before, uid_next);
        }
        // Only an EXAMINE shows that UIDNEXT fell back.
        self.restored &= self.crashed || ended == Ended::Rests;
        // …or after a run that crashed before it recorded anything.
        let remembered = state(&self.world);
        let has_written = remembered.folder.cursor != before.folder.cursor
            || remembered.folder.date_pass != before.folder.date_pass;
        if has_written {
            // It has noticed that the mailbox is another, or taken it for the old one for good.
            self.restored = false;
        } else {
            let uid_next = self.world.borrow().source.uid_next;
            self.excuse_refill(&remembered, uid_next);
        }
        if self.trace {
            let world = self.world.borrow();
            let journal = world.disk.content(&StateFile::Journal).unwrap_or_default();
            println!("{}", String::from_utf8_lossy(&journal));
            drop(world);
            let remembered = state(&self.world);
            println!(
                "  {:?} settled {} parked {:?} pass {:?}",
                remembered.folder.cursor,
                remembered.folder.settled,
                remembered.folder.parked.keys(),
                remembered.folder.date_pass
            );
            let world = self.world.borrow();
            for there in &world.gmail.messages {
                println!(
                    "  gmail {} {:?} {}",
                    there.uid,
                    there.place,
                    text(&there.octets)
                );
            }
            for late in &world.gmail.late {
                println!("  late {} {}", late.0, text(&late.1));
            }
        }
        self.check_cursor(matches!(ended, Ended::Done(_)));
    }

    /// A restored backup that is refilled past the highest UID in the state before the next EXAMINE is
    /// taken for the old mailbox: a documented limit, for the messages below its UIDNEXT.
    fn excuse_refill(&mut self, remembered: &State, uid_next: u32) {
        if !self.restored || uid_next <= remembered.folder.highest_uid() {
            return;
        }
        let messages = self.world.borrow().source.messages.clone();
        for message in messages.iter().filter(|message| message.uid < uid_next) {
            let fate = self.fate(&message.octets);
            fate.may_be_lost = true;
            fate.may_be_doubled = true;
        }
    }

    /// Applies the documented limits to the mailbox before a run.
    fn note_refill(&mut self) {
        let remembered = state(&self.world);
        let uid_next = self.world.borrow().source.uid_next;
        self.excuse_refill(&remembered, uid_next);
        let is_past = uid_next > remembered.folder.highest_uid();
        // Without a valid cursor there is a date pass: old dates are a documented limit.
        let cursor_holds = remembered.folder.cursor.as_ref().is_some_and(|cursor| {
            cursor.uid_validity.get() == self.world.borrow().source.uid_validity
                && cursor.uid == remembered.folder.last_source_uid
                && is_past
        });
        if !cursor_holds {
            self.excuse_old_dates(&remembered);
        }
    }

    fn is_at_gmail(&self, octets: &[u8]) -> bool {
        self.world
            .borrow()
            .gmail
            .messages
            .iter()
            .any(|there| there.octets == octets)
    }

    /// Checks that every due message below the cursor is at Gmail, parked or refused.
    fn check_cursor(&mut self, is_done: bool) {
        let remembered = state(&self.world);
        let Some(cursor) = &remembered.folder.cursor else {
            return;
        };
        let holds = cursor.uid_validity.get() == self.world.borrow().source.uid_validity
            && self.world.borrow().source.uid_next > remembered.folder.highest_uid();
        if !holds {
            return;
        }
        let messages = self.world.borrow().source.messages.clone();
        let late: Vec<Octets> = self
            .world
            .borrow()
            .gmail
            .late
            .iter()
            .map(|(_, octets, ..)| octets.clone())
            .collect();
        for message in messages.iter().filter(|message| message.uid <= cursor.uid) {
            let octets = without_nul(&message.octets);
            let fate = self.fates.get(&octets).cloned().unwrap_or_default();
            let is_parked = remembered
                .folder
                .parked
                .keys()
                .any(|uid| uid.get() == message.uid);
            let copies = messages
                .iter()
                .filter(|other| other.octets == message.octets)
                .count();
            let is_safe = is_parked
                || copies > 1
                || self.is_at_gmail(&octets)
                || late.contains(&octets)
                || is_reported(&remembered, &message.octets);
            let is_printed = self.had_original && octets.starts_with(PRINTER);
            if fate.due && !fate.may_be_lost && !is_printed && !is_safe {
                self.failures.insert(Failure::Cursor(text(&octets)));
            }
            // Recorded independently of the state, so that the exemptions do not depend on it.
            if is_done && fate.due && !fate.may_be_lost && !is_parked {
                self.fate(&octets).seen = true;
            }
        }
    }

    fn play(&mut self) {
        self.play_with_faults();
        for pause in [2, 5, 20, 61, 361, 1_500, 1_500, 1_500, 1_500] {
            self.wait(pause);
            self.note_refill();
            let ended = run(&self.world);
            self.restored = false;
            self.note(|| format!("clean run: {ended:?}"));
        }
        self.judge();
    }

    fn play_with_faults(&mut self) {
        self.fill();
        let rounds = 2 + self.dice.below(7);
        for _ in 0..rounds {
            for _ in 0..self.dice.below(4) {
                self.event();
            }
            self.relabel();
            self.run_with_faults();
            let pause = [1, 1, 2, 7, 60, 600, 3_000][self.dice.below(7) as usize];
            self.wait(pause);
        }
    }

    fn wait(&mut self, minutes: i64) {
        let mut world = self.world.borrow_mut();
        world.now += TimeDelta::minutes(minutes);
        world.store_late();
    }

    fn judge(&mut self) {
        let remembered = state(&self.world);
        for owed in remembered.owed_labels().values() {
            self.failures
                .insert(Failure::Unfinished(format!("labels: {owed:?}")));
        }
        for (what, octets) in self.world.borrow().label_failures() {
            let fate = self.fates.get(&octets).cloned().unwrap_or_default();
            let is_reported = is_reported(&remembered, &octets);
            // Of several equal messages without Message-ID, nothing shows which one an uncertain append
            // is, once it has left the source: a documented limit.
            let has_id = Identity::of_header(&octets).id.is_some();
            let is_one_of_many = !has_id && fate.arrivals > 1;
            if !fate.may_be_doubled && !is_reported && !is_one_of_many {
                self.failures.insert(Failure::Labels(what, text(&octets)));
            }
        }
        for (uid, parked) in &remembered.folder.parked {
            self.failures
                .insert(Failure::Unfinished(format!("uid {uid}: {}", parked.why)));
        }
        if remembered.folder.date_pass.is_some() {
            self.failures
                .insert(Failure::Unfinished("a date pass".to_owned()));
        }
        let world = self.world.borrow();
        // The original recorded only its id, it was deleted for good, and the id is used again: a
        // documented limit.
        let is_reused = |octets: &Octets| {
            self.had_original && octets.starts_with(PRINTER) && {
                let mut copies = world.gmail.messages.iter();
                copies.any(|there| there.place == Place::Gone && there.octets.starts_with(PRINTER))
            }
        };
        for (octets, fate) in &self.fates {
            let may_be_lost = fate.may_be_lost || is_reused(octets);
            let copies = world
                .gmail
                .messages
                .iter()
                .filter(|there| there.octets == *octets);
            let (ours, foreign): (Vec<_>, Vec<_>) = copies.partition(|there| there.ours);
            let is_reported = is_reported(&remembered, octets);
            let count = ours.len() + foreign.len();
            if fate.due && count == 0 && !is_reported && !may_be_lost {
                self.failures.insert(Failure::Lost(text(octets)));
            }
            if fate.must_be_reported && count == 0 && !is_reported && !may_be_lost {
                self.failures.insert(Failure::Unreported(text(octets)));
            }
            let has_id = Identity::of_header(octets).id.is_some();
            let expected = if has_id { 1 } else { fate.arrivals };
            if !ours.is_empty() && count > expected && !fate.may_be_doubled {
                self.failures.insert(Failure::Doubled(text(octets)));
            }
            let is_complete = is_reported || fate.may_be_fewer || count >= expected;
            if fate.due && !is_complete && !may_be_lost {
                self.failures.insert(Failure::Lost(text(octets)));
            }
            // In a first run, a UIDNEXT that is too low makes an old message one that came later, if
            // the mail that arrives meanwhile hides that it is.
            let is_unasked =
                !fate.due && !fate.was_due && !fate.foreign && world.source.uid_next_lag == 0;
            if is_unasked && !ours.is_empty() {
                self.failures.insert(Failure::Flooded(text(octets)));
            }
            if world.gmail.resurrected.contains(octets) && !fate.may_be_doubled {
                self.failures.insert(Failure::Resurrected(text(octets)));
            }
        }
    }
}

pub fn without_nul(octets: &[u8]) -> Octets {
    octets.iter().copied().filter(|octet| *octet != 0).collect()
}

fn is_reported(remembered: &State, octets: &[u8]) -> bool {
    let id = Identity::of_header(octets)
        .id
        .unwrap_or_else(|| MessageId::of_octets(octets));
    remembered.folder.refused.values().any(|refused| {
        refused
            .id
            .as_ref()
            .is_none_or(|refused_id| *refused_id == id)
    })
}

/// The world after the faulty runs of a schedule, before its clean runs.
pub fn world_after_faults(seed: u64) -> Shared {
    let mut schedule = Schedule::new(seed, false);
    schedule.play_with_faults();
    schedule.world
}

fn judge(seed: u64, trace: bool) -> BTreeSet<Failure> {
    let mut schedule = Schedule::new(seed, trace);
    schedule.play();
    schedule.failures
}

#[test]
fn random_schedules_lose_double_and_flood_nothing() {
    play_schedules("SCHEDULES", 2_000, judge);
}

/// Plays so many schedules, or those that the environment names: none may end with a failure.
pub fn play_schedules<F: Debug + Send>(
    variable: &str,
    count: u64,
    judge: fn(u64, bool) -> BTreeSet<F>,
) {
    if let Ok(seed) = std::env::var("SCHEDULE") {
        let failures = judge(seed.parse().unwrap(), true);
        assert!(failures.is_empty(), "{failures:#?}");
        return;
    }
    let count: u64 = std::env::var(variable).map_or(count, |count| count.parse().unwrap());
    let first: u64 = std::env::var("FIRST_SCHEDULE").map_or(0, |first| first.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failed: Vec<(u64, BTreeSet<F>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    (first + worker..first + count)
                        .step_by(usize::try_from(threads).unwrap())
                        .map(|seed| (seed, judge(seed, false)))
                        .filter(|(_, failures)| !failures.is_empty())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let shown: Vec<_> = failed.iter().take(15).collect();
    assert!(
        failed.is_empty(),
        "{} of {count} schedules: {shown:#?}",
        failed.len()
    );
}
