//! Random schedules: whatever may happen to mailboxes, servers, disks and people, in an order that
//! a seed decides; then clean runs, then an oracle. A failing seed is run alone by
//! `SCHEDULE=<seed> cargo test --test engine random`, and `SCHEDULES=<count>` sets how many.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use imap_to_gmail_sync::message::{Identity, MessageId};
use imap_to_gmail_sync::state::storage::StateFile;
use imap_to_gmail_sync::state::{Knowledge, State};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::run::{Ended, run, state};
use crate::world::{Death, Faults, Octets, Place, Shared, SourceMessage, World};

/// A device that sends everything under one id.
const PRINTER: &[u8] = b"Message-ID: <printer@x>";

/// A device that sends everything under one id, date, sender and subject: a pass by date tells its
/// messages apart no more.
const FAX: &[u8] = b"Message-ID: <fax@x>";

/// What an oracle may find.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    Lost(String),
    Doubled(String),
    Flooded(String),
    Resurrected(String),
    Cursor(String),
    Untold(String),
    Unfinished(String),
}

/// What must become of a message.
// Each is a fact of its own about the message, not a state of a machine.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)]
struct Fate {
    /// It must arrive (or somebody be told).
    due: bool,
    /// It had to arrive once; since then it may have left the source.
    was_due: bool,
    /// A copy of it was there from the beginning and is not asked for.
    has_old_copy: bool,
    /// One of the stated limits lets it be lost.
    may_be_lost: bool,
    /// One of the stated limits lets it arrive twice, or come back from the trash.
    may_be_doubled: bool,
    /// It left the source while it was parked: it arrives, or somebody is told.
    must_be_told: bool,
    /// It was at Gmail another way before we saw it.
    foreign: bool,
    /// A run that came to its end has settled it: from then on it must be known.
    seen: bool,
}

#[allow(clippy::struct_excessive_bools)]
struct Schedule {
    world: Shared,
    dice: Dice,
    fates: BTreeMap<Octets, Fate>,
    next_id: u32,
    printed: u32,
    /// A copy of the source as a backup has it.
    backup: Option<(Vec<SourceMessage>, u32)>,
    restored: bool,
    /// The last run died: what it wrote may yet be lost with the power.
    died: bool,
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
        world.gmail.index_delay = [0, 0, 0, 30, 55][dice.below(5) as usize];
        Schedule {
            world: Rc::new(RefCell::new(world)),
            dice,
            fates: BTreeMap::new(),
            next_id: 0,
            printed: 0,
            backup: None,
            restored: false,
            died: false,
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

    /// Makes a message of one of the kinds that exist.
    fn compose(&mut self) -> Octets {
        self.next_id += 1;
        let number = self.next_id;
        let kind = self.dice.below(100);
        let message = if kind < 60 {
            format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n")
        } else if kind < 75 {
            format!("Subject: no id {number}\r\n\r\nbody {number}\r\n")
        } else if kind < 88 {
            // A device that always sends the same id.
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
        // Until a first run has begun, old mail is not asked for.
        let is_asked_for = self.has_begun() || self.now() - date < TimeDelta::days(5);
        let is_recent = self.now() - date < TimeDelta::days(10);
        let fate = self.fate(octets);
        fate.due |= is_asked_for;
        // Between the two, the hour of the first run decides.
        fate.was_due |= is_recent;
        // The same id and header with another body is told apart only above the cursor.
        fate.may_be_lost |= is_fax;
        let uid = self
            .world
            .borrow_mut()
            .source
            .deliver(octets.to_vec(), date);
        self.note(|| format!("uid {uid} arrives, dated {date}: {}", text(octets)));
    }

    fn has_begun(&self) -> bool {
        let remembered = state(&self.world);
        remembered.cursor.is_some() || remembered.date_pass.is_some()
    }

    /// Before the first run: mail of this week and of last year, in any order of UIDs.
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

    /// The Python original was here: it delivered what has an id, and wrote no digests.
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
            // Only its id is known, and it is deleted for good: a stated limit.
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

    /// What the original delivers between two of our runs.
    fn original_runs(&mut self) {
        let remembered = state(&self.world);
        if !remembered.parked.is_empty()
            || remembered.date_pass.is_some()
            || remembered.cursor.is_none()
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
            let is_old = remembered.last_sync.is_none_or(|last| message.date < last);
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
        // It leaves what has no id, or an id in use, for ever; we find it by the day.
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
        self.had_original = true;
        self.note(|| "the original runs".to_owned());
        self.world
            .borrow_mut()
            .disk
            .plant(StateFile::Snapshot, snapshot.to_string().into_bytes());
    }

    /// A mail with an old date that nobody has looked at when UIDs cease to count: a stated limit.
    fn excuse_old_dates(&mut self, remembered: &State) {
        let reach = remembered
            .last_sync
            .map(|last| last.min(self.now()) - TimeDelta::days(2))
            .or(remembered.date_pass.as_ref().map(|pass| pass.since))
            .unwrap_or(self.now() - TimeDelta::days(5));
        let messages = self.world.borrow().source.messages.clone();
        for message in messages {
            if message.date < reach {
                self.fate(&message.octets).may_be_lost = true;
            }
        }
    }

    /// Somebody takes a message out of the source mailbox.
    fn remove(&mut self, index: usize) -> SourceMessage {
        let remembered = state(&self.world);
        let message = self.world.borrow_mut().source.messages.remove(index);
        self.left(&message, &remembered);
        message
    }

    /// A message is at the source no longer: it need not arrive, but what was parked is told of.
    fn left(&mut self, message: &SourceMessage, remembered: &State) {
        let identity = Identity::of_header(&message.octets);
        // Under its UID another may be parked, of before the mailbox was renewed: the header alone
        // does not tell twins apart.
        let is_parked = remembered.parked.iter().any(|(uid, parked)| {
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
        let has_died = self.died;
        let fate = self.fate(&message.octets);
        fate.was_due |= fate.due;
        if !is_elsewhere || fate.has_old_copy {
            fate.due = false;
        }
        // What a run that died wrote down and did not sync may be gone with the power: then it was
        // never sent, and is as good as never seen.
        fate.must_be_told |= is_parked && !has_died;
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
                // Moved in from elsewhere: new, with an old date.
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
                // Old mail that was not asked for is new when it comes anew.
                let has_begun = self.has_begun();
                let fate = self.fate(&message.octets);
                fate.due |= has_begun || was_due.due;
                fate.may_be_lost |= was_due.may_be_lost;
                self.excuse_trashed_elsewhere(&message.octets);
            }
            64..72 => self.renew_mailbox(),
            72..76 => {
                let world = self.world.borrow();
                self.backup = Some((world.source.messages.clone(), world.source.uid_next));
            }
            76..80 => self.restore(),
            80..90 => self.read_mail(),
            90..93 => self.original_runs(),
            93..96 if count > 0 => {
                // The same mail again, as an alias delivers it: known.
                let index = pick(&mut self.dice, count);
                let octets = self.world.borrow().source.messages[index].octets.clone();
                self.excuse_trashed_elsewhere(&octets);
                self.deliver(&octets, now);
            }
            _ => {}
        }
    }

    /// Gmail had it another way, it was thrown away, and it comes anew: a stated limit.
    fn excuse_trashed_elsewhere(&mut self, octets: &[u8]) {
        let is_trashed = self.world.borrow().gmail.messages.iter().any(|there| {
            there.octets == without_nul(octets)
                && !there.ours
                && matches!(there.place, Place::Trash | Place::Gone)
        });
        self.fate(octets).may_be_doubled |= is_trashed;
    }

    /// UIDVALIDITY changes, with the same mail, with others, or with none.
    fn renew_mailbox(&mut self) {
        let remembered = state(&self.world);
        self.excuse_old_dates(&remembered);
        let old = std::mem::take(&mut self.world.borrow_mut().source.messages);
        self.world.borrow_mut().source.uid_validity += 1;
        self.world.borrow_mut().source.uid_next = 1;
        self.backup = None;
        match self.dice.below(4) {
            0 => {
                self.note(|| "the mailbox is renewed, empty".to_owned());
                for message in &old {
                    self.left(message, &remembered);
                }
            }
            1 => {
                self.note(|| "the mailbox is renewed, with other mail".to_owned());
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
                self.note(|| "the mailbox is renewed, with the same mail".to_owned());
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
        // What comes back that had been deleted is due if it was before it was deleted.
        self.restored = true;
    }

    /// The reader archives, deletes, or deletes for good.
    fn read_mail(&mut self) {
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
        there.place = place;
        let octets = there.octets.clone();
        drop(world);
        self.note(|| format!("the reader moves to {place:?}: {}", text(&octets)));
        let id = MessageId::of_octets(&octets);
        let identity = Identity::of_header(&octets);
        let orphans = remembered.date_pass.iter().flat_map(|pass| &pass.orphans);
        let is_uncertain = remembered.parked.values().chain(orphans).any(|parked| {
            parked.sent.is_some() && (parked.id.as_ref() == Some(&id) || parked.id == identity.id)
        });
        let is_indexed = self.world.borrow().gmail.index_delay == 0;
        let is_found_in_trash = identity.id.is_some() && place == Place::Trash && is_indexed;
        if place != Place::Archive && (is_uncertain || self.died) && !is_found_in_trash {
            // Uncertain, and deleted before we could look: a stated limit.
            self.fate(&octets).may_be_doubled = true;
        }
        if place == Place::Gone && self.had_original && self.fate(&octets).foreign {
            // The original delivered it, and only its id is known: a stated limit.
            self.fate(&octets).may_be_doubled = true;
        }
        let knowledge = identity.id.as_ref().map(|id| remembered.known_digests(id));
        let is_known = match knowledge {
            _ if self.fate(&octets).seen => true,
            None | Some(Knowledge::Unknown) => false,
            // Under an id in use the trash is asked, too; what is deleted for good can be known by
            // its header alone.
            Some(Knowledge::Digests(digests)) if place == Place::Gone => {
                let mut headers = digests.iter().map(|digest| digest.header);
                headers.any(|header| header == identity.header)
            }
            Some(Knowledge::IdOnly | Knowledge::Digests(_)) => true,
        };
        if place != Place::Archive && !is_known && self.fate(&octets).foreign {
            // Gmail got it another way and it is thrown away before we see it: a stated limit.
            self.fate(&octets).may_be_doubled = true;
        }
    }

    /// One run, with what may happen to it.
    fn troubled_run(&mut self) {
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
            world.death = self.dice.chance(500).then(|| {
                let step = 1 + self.dice.below(70) as usize;
                (
                    step,
                    if self.dice.chance(500) {
                        Death::Kill
                    } else {
                        Death::Power
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
        let before = state(&self.world);
        let ended = run(&self.world);
        let left = std::mem::take(&mut self.world.borrow_mut().source.arrivals).len();
        for octets in arrivals.into_iter().skip(left) {
            self.note(|| format!("arrived during the run: {}", text(&octets)));
            self.fate(&octets).due = true;
            self.fate(&octets).may_be_lost |= octets.starts_with(FAX);
        }
        self.note(|| format!("run: {ended:?}"));
        self.died = ended == Ended::Died;
        // Mail also fills a restored mailbox while a run begins, before it looks…
        let examined = self.world.borrow().source.examined;
        if let Some(uid_next) = examined {
            self.excuse_refill(&before, uid_next);
        }
        // Only a run that looked at the mailbox has seen that it fell back.
        self.restored &= self.died || ended == Ended::Rests;
        // …or after one that was killed before it had written down what it saw.
        let remembered = state(&self.world);
        let has_written =
            remembered.cursor != before.cursor || remembered.date_pass != before.date_pass;
        if !has_written {
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
                remembered.cursor,
                remembered.settled,
                remembered.parked.keys(),
                remembered.date_pass
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
        self.watch_cursor(matches!(ended, Ended::Done(_)));
    }

    /// A restored backup that is refilled past what is remembered by the time that a run looks at it
    /// is taken for the old mailbox: a stated limit, for what lies below the UIDNEXT that it sees.
    fn excuse_refill(&mut self, remembered: &State, uid_next: u32) {
        if !self.restored || uid_next <= remembered.highest_uid() {
            return;
        }
        let messages = self.world.borrow().source.messages.clone();
        for message in messages.iter().filter(|message| message.uid < uid_next) {
            let fate = self.fate(&message.octets);
            fate.may_be_lost = true;
            fate.may_be_doubled = true;
        }
    }

    /// What is known of the mailbox before a run looks at it.
    fn note_refill(&mut self) {
        let remembered = state(&self.world);
        let uid_next = self.world.borrow().source.uid_next;
        self.excuse_refill(&remembered, uid_next);
        let is_past = uid_next > remembered.highest_uid();
        // What UIDs cannot tell, the date must: old dates are a stated limit then.
        let cursor_holds = remembered.cursor.as_ref().is_some_and(|cursor| {
            cursor.uid_validity.get() == self.world.borrow().source.uid_validity
                && cursor.uid == remembered.last_source_uid
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

    /// No message that must arrive lies below the cursor without being at Gmail, parked or told of.
    fn watch_cursor(&mut self, is_done: bool) {
        let remembered = state(&self.world);
        let Some(cursor) = &remembered.cursor else {
            return;
        };
        let holds = cursor.uid_validity.get() == self.world.borrow().source.uid_validity
            && self.world.borrow().source.uid_next > remembered.highest_uid();
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
            .map(|(_, octets)| octets.clone())
            .collect();
        for message in messages.iter().filter(|message| message.uid <= cursor.uid) {
            let octets = without_nul(&message.octets);
            let fate = self.fates.get(&octets).cloned().unwrap_or_default();
            let is_parked = remembered.parked.keys().any(|uid| uid.get() == message.uid);
            let copies = messages
                .iter()
                .filter(|other| other.octets == message.octets)
                .count();
            let is_safe = is_parked
                || copies > 1
                || self.is_at_gmail(&octets)
                || late.contains(&octets)
                || is_told(&remembered, &message.octets);
            let is_printed = self.had_original && octets.starts_with(PRINTER);
            if fate.due && !fate.may_be_lost && !is_printed && !is_safe {
                self.failures.insert(Failure::Cursor(text(&octets)));
            }
            // Whatever the state says of it: the exemptions must not rest on that alone.
            if is_done && fate.due && !fate.may_be_lost && !is_parked {
                self.fate(&octets).seen = true;
            }
        }
    }

    fn play(&mut self) {
        self.play_trouble();
        for pause in [2, 5, 20, 61, 361, 1_500, 1_500, 1_500, 1_500] {
            self.wait(pause);
            self.note_refill();
            let ended = run(&self.world);
            self.restored = false;
            self.note(|| format!("clean run: {ended:?}"));
        }
        self.judge();
    }

    fn play_trouble(&mut self) {
        self.fill();
        let rounds = 2 + self.dice.below(7);
        for _ in 0..rounds {
            for _ in 0..self.dice.below(4) {
                self.event();
            }
            self.troubled_run();
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
        for (uid, parked) in &remembered.parked {
            self.failures
                .insert(Failure::Unfinished(format!("uid {uid}: {}", parked.why)));
        }
        if remembered.date_pass.is_some() {
            self.failures
                .insert(Failure::Unfinished("a pass by date".to_owned()));
        }
        let world = self.world.borrow();
        // The original delivered it by its id alone, it was deleted for good, and the id is in use
        // again: a stated limit.
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
            let is_told = is_told(&remembered, octets);
            let count = ours.len() + foreign.len();
            if fate.due && count == 0 && !is_told && !may_be_lost {
                self.failures.insert(Failure::Lost(text(octets)));
            }
            if fate.must_be_told && count == 0 && !is_told && !may_be_lost {
                self.failures.insert(Failure::Untold(text(octets)));
            }
            if !ours.is_empty() && count > 1 && !fate.may_be_doubled {
                self.failures.insert(Failure::Doubled(text(octets)));
            }
            let is_unasked = !fate.due && !fate.was_due && !fate.foreign;
            if is_unasked && !ours.is_empty() {
                self.failures.insert(Failure::Flooded(text(octets)));
            }
            if world.gmail.resurrected.contains(octets) && !fate.may_be_doubled {
                self.failures.insert(Failure::Resurrected(text(octets)));
            }
        }
    }
}

fn without_nul(octets: &[u8]) -> Octets {
    octets.iter().copied().filter(|octet| *octet != 0).collect()
}

fn is_told(remembered: &State, octets: &[u8]) -> bool {
    let id = Identity::of_header(octets)
        .id
        .unwrap_or_else(|| MessageId::of_octets(octets));
    remembered
        .refused
        .values()
        .any(|refused| refused.id.as_ref().is_none_or(|told| *told == id))
}

/// The world of a schedule, before its clean runs.
pub fn troubled_world(seed: u64) -> Shared {
    let mut schedule = Schedule::new(seed, false);
    schedule.play_trouble();
    schedule.world
}

fn judge(seed: u64, trace: bool) -> BTreeSet<Failure> {
    let mut schedule = Schedule::new(seed, trace);
    schedule.play();
    schedule.failures
}

#[test]
fn random_schedules_lose_double_and_flood_nothing() {
    if let Ok(seed) = std::env::var("SCHEDULE") {
        let failures = judge(seed.parse().unwrap(), true);
        assert!(failures.is_empty(), "{failures:#?}");
        return;
    }
    let count: u64 = std::env::var("SCHEDULES").map_or(2_000, |count| count.parse().unwrap());
    let first: u64 = std::env::var("FIRST_SCHEDULE").map_or(0, |first| first.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failed: Vec<(u64, BTreeSet<Failure>)> = std::thread::scope(|scope| {
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
