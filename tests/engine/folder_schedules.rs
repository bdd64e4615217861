//! Random schedules over several source folders: messages are moved and copied between them, a folder is
//! renamed, renumbered, or vanishes and comes back; then clean runs, then an oracle. To run a failing seed
//! alone: `SCHEDULE=<seed> cargo test --test engine folder_schedules`; `FOLDER_SCHEDULES=<count>` sets their number.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use imap_to_gmail_sync::message::{Identity, MessageId};
use imap_to_gmail_sync::state::{FolderState, State};

use crate::dice::Dice;
use crate::run::{Ended, run_over, state};
use crate::schedules::{play_schedules, without_nul};
use crate::world::{Crash, Faults, Octets, Place, Shared, SourceMessage, SourceModel, World};

/// What the messages of a device have in common that uses one Message-ID for all of them.
const PRINTER: &str = "Message-ID: <printer@x>\r\nSubject: scan";

/// A date pass goes back further than this.
const REACH: TimeDelta = TimeDelta::days(5);

/// A violation of the promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    Lost(String),
    Doubled(String),
    Resurrected(String),
    Cursor(String),
    Unfinished(String),
    Labels(&'static str, String),
}

/// Which messages are one for us: those of the same octets; without Message-ID also of the same
/// INTERNALDATE, which a copy and a moved message keep.
type Key = (Octets, Option<DateTime<Utc>>);

/// What must happen to a message.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)]
struct Fate {
    /// It must arrive.
    due: bool,
    /// How many arrived independently: without Message-ID each may be copied.
    arrivals: usize,
    /// In which folders they did.
    folders: BTreeSet<String>,
    /// Where it was, also as a copy, or moved there.
    been_in: BTreeSet<String>,
    /// How often it was copied to a folder that had it.
    second_copies: usize,
    /// One of the documented limits permits its loss.
    may_be_lost: bool,
    /// One of the documented limits permits that it arrives twice or returns from the trash.
    may_be_doubled: bool,
    /// A complete pass has settled it.
    settled: bool,
}

struct Schedule {
    world: Shared,
    dice: Dice,
    fates: BTreeMap<Key, Fate>,
    /// Folders that have vanished, and may come back.
    vanished: BTreeMap<String, SourceModel>,
    next_id: u32,
    next_folder: u32,
    next_uid_validity: u32,
    /// The last run crashed: what it wrote without sync may be lost.
    crashed: bool,
    trace: bool,
    failures: BTreeSet<Failure>,
}

fn key(octets: &[u8], date: DateTime<Utc>) -> Key {
    let has_id = Identity::of_header(octets).id.is_some();
    (without_nul(octets), (!has_id).then_some(date))
}

fn text(key: &Key) -> String {
    let date = key.1.map(|date| format!(" of {date}"));
    format!("{}{}", key.0.escape_ascii(), date.unwrap_or_default())
}

/// The states of all folders, by name.
fn folders(state: &State) -> Vec<&FolderState> {
    let numbered = (0..100).map(|number| format!("F{number}"));
    let names = std::iter::once(String::new()).chain(numbered);
    names.filter_map(|name| state.folder_named(&name)).collect()
}

impl Schedule {
    fn new(seed: u64, trace: bool) -> Schedule {
        let mut dice = Dice::new(seed ^ 0xF01D);
        let mut world = World::new(seed);
        world.gmail.deduplicates = dice.chance(400);
        world.gmail.import_by_chance();
        if world.gmail.labels.dice.chance(600) {
            for (folder, label) in [("F0", "Post"), ("F2", "Listen/Ü")] {
                let labels = vec![label.to_owned()];
                world.folder_labels.insert(folder.to_owned(), labels);
            }
            world.labels_moved = world.gmail.labels.dice.chance(300);
        }
        world.gmail.index_delay = [0, 0, 0, 30, 55][dice.below(5) as usize];
        world.folds_between_folders = dice.chance(300);
        "F0".clone_into(&mut world.open);
        let next_folder = 2 + dice.below(3);
        for number in 1..next_folder {
            let folder = new_folder(1);
            world.folders.insert(format!("F{number}"), folder);
        }
        Schedule {
            world: Rc::new(RefCell::new(world)),
            dice,
            fates: BTreeMap::new(),
            vanished: BTreeMap::new(),
            next_id: 0,
            next_folder,
            next_uid_validity: 2,
            crashed: false,
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

    fn fate(&mut self, key: &Key) -> &mut Fate {
        self.fates.entry(key.clone()).or_default()
    }

    /// The names of the folders that exist.
    fn names(&self) -> Vec<String> {
        let world = self.world.borrow();
        let others = world.folders.keys().cloned();
        std::iter::once(world.open.clone()).chain(others).collect()
    }

    fn any_folder(&mut self) -> String {
        let mut names = self.names();
        names.sort();
        let index = self.dice.below(u32::try_from(names.len()).unwrap());
        names.swap_remove(index as usize)
    }

    /// Opens a folder and hands it over.
    fn in_folder<T>(&self, name: &str, what: impl FnOnce(&mut SourceModel) -> T) -> T {
        let mut world = self.world.borrow_mut();
        assert!(world.open_folder(name), "{name}");
        what(&mut world.source)
    }

    fn messages(&self, name: &str) -> Vec<SourceMessage> {
        self.in_folder(name, |folder| folder.messages.clone())
    }

    /// The keys of the messages of all folders that exist, and how many there are of each.
    fn keys(&self) -> BTreeMap<Key, usize> {
        let world = self.world.borrow();
        let folders = world.folders.values().chain([&world.source]);
        let mut keys = BTreeMap::new();
        for message in folders.flat_map(|folder| &folder.messages) {
            *keys.entry(key(&message.octets, message.date)).or_default() += 1;
        }
        keys
    }

    /// Returns a message of a random kind.
    fn compose(&mut self) -> Octets {
        self.next_id += 1;
        let number = self.next_id;
        let message = match self.dice.below(100) {
            0..50 => {
                format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n")
            }
            50..65 => format!("Subject: no id {number}\r\n\r\nbody {number}\r\n"),
            // A meter mails the same octets again and again.
            65..80 => format!("Subject: alarm {}\r\n\r\nalarm\r\n", number % 2),
            80..95 => format!("{PRINTER} {number}\r\n\r\npage {number}\r\n"),
            _ => format!(
                "Message-ID: <nul{number}@x>\r\nSubject: \0{number}\r\n\r\nbody\0 {number}\n"
            ),
        };
        message.into_bytes()
    }

    /// A new message arrives in a folder.
    fn deliver(&mut self, name: &str, octets: &[u8], date: DateTime<Utc>) {
        let uid = self.in_folder(name, |folder| folder.deliver(octets.to_vec(), date));
        let key = key(octets, date);
        self.note(|| format!("{name} {uid} arrives: {}", text(&key)));
        let fate = self.fate(&key);
        fate.arrivals += 1;
        fate.folders.insert(name.to_owned());
        // As two of the same octets and the same second in two folders: one message in two folders, for
        // all that can be known.
        fate.may_be_lost |= fate.folders.len() > 1 && key.1.is_some();
        self.is_in(name, &key, date);
    }

    /// A message is in a folder from now on.
    fn is_in(&mut self, name: &str, key: &Key, date: DateTime<Utc>) {
        // Until a folder is first copied, an old message is not due.
        let is_recent = self.now() - date < REACH;
        let is_asked_for = is_recent || self.has_cursor(name, &state(&self.world));
        let fate = self.fate(key);
        fate.been_in.insert(name.to_owned());
        fate.due |= is_asked_for;
        // Of what is neither sure to be copied nor sure not to be, nothing is expected.
        fate.may_be_lost |= !is_asked_for;
    }

    /// Whether what gets a new UID in a folder is above its cursor.
    fn has_cursor(&self, name: &str, remembered: &State) -> bool {
        let Some(folder) = remembered.folder_named(name) else {
            return false;
        };
        let uid_validity = self.in_folder(name, |folder| folder.uid_validity);
        let cursor = folder.cursor.as_ref().map(|cursor| cursor.uid_validity);
        let pass = folder.date_pass.as_ref().map(|pass| pass.uid_validity);
        cursor.or(pass).is_some_and(|it| it.get() == uid_validity)
    }

    /// Messages left their folders: what is nowhere else is no longer due.
    fn forget_gone(&mut self) {
        let keys = self.keys();
        for (key, fate) in &mut self.fates {
            let is_there = keys.contains_key(key);
            fate.due &= is_there;
            // Of several of the same octets and date some may have left before they were copied.
            fate.may_be_lost |= is_there && keys[key] < fate.arrivals;
        }
    }

    fn event(&mut self) {
        let now = self.now();
        let name = self.any_folder();
        match self.dice.below(100) {
            0..35 => {
                let octets = self.compose();
                self.deliver(&name, &octets, now);
            }
            35..40 => {
                // From a folder that is not copied: new, with an old date.
                let octets = self.compose();
                let age = TimeDelta::days(1 + i64::from(self.dice.below(400)));
                self.deliver(&name, &octets, now - age);
            }
            40..60 => self.move_or_copy(&name),
            60..64 => {
                let count = self.messages(&name).len();
                if count > 0 {
                    let index = self.dice.below(u32::try_from(count).unwrap()) as usize;
                    let message = self.in_folder(&name, |folder| folder.messages.remove(index));
                    self.note(|| format!("{name} {} is deleted", message.uid));
                    self.forget_gone();
                }
            }
            64..70 => self.renumber(&name),
            70..76 => self.rename(&name),
            76..82 => self.vanish(&name),
            82..92 => self.tidy_gmail(),
            _ => {}
        }
    }

    fn move_or_copy(&mut self, from: &str) {
        let count = self.messages(from).len();
        let to = self.any_folder();
        if count == 0 || to == from {
            return;
        }
        let is_move = self.dice.chance(650);
        let index = self.dice.below(u32::try_from(count).unwrap()) as usize;
        let message = self.in_folder(from, |folder| {
            if is_move {
                folder.messages.remove(index)
            } else {
                folder.messages[index].clone()
            }
        });
        let octets = message.octets.clone();
        let (is_another, uid) = self.in_folder(&to, |folder| {
            let is_another = folder.has_copy_of(&message);
            (is_another, folder.deliver(octets, message.date))
        });
        let how = if is_move { "moved" } else { "copied" };
        self.note(|| format!("{from} {} is {how} to {to} {uid}", message.uid));
        self.was_moved_or_copied(is_another, &to, &message);
    }

    fn was_moved_or_copied(&mut self, is_another: bool, to: &str, message: &SourceMessage) {
        let key = key(&message.octets, message.date);
        // Of two messages of the same octets and the same second, the second counts as a copy of the
        // first as soon as one of them was moved or copied: nothing tells them from one message in two
        // folders.
        self.fate(&key).may_be_lost |= self.fates[&key].arrivals > 1;
        // A second copy in one folder is a message of its own, as it is where there is one folder.
        self.fate(&key).second_copies += usize::from(is_another);
        self.is_in(to, &key, message.date);
    }

    /// UIDVALIDITY of a folder changes.
    fn renumber(&mut self, name: &str) {
        self.excuse_date_pass(name, &state(&self.world));
        self.note(|| format!("UIDVALIDITY of {name} changes"));
        let uid_validity = self.next_uid_validity;
        self.next_uid_validity += 1;
        let is_reversed = self.dice.chance(300);
        self.in_folder(name, |folder| {
            let mut messages = std::mem::take(&mut folder.messages);
            folder.uid_validity = uid_validity;
            folder.uid_next = 1;
            if is_reversed {
                messages.reverse();
            }
            for message in messages {
                folder.deliver(message.octets, message.date);
            }
        });
    }

    /// A folder gets a name that no other had, or one that another had before, and then another
    /// UIDVALIDITY.
    fn rename(&mut self, name: &str) {
        let was_used = self.dice.chance(300);
        let names = self.names();
        let free = (0..self.next_folder).map(|number| format!("F{number}"));
        let free = free.filter(|name| !names.contains(name) && !self.vanished.contains_key(name));
        let free: Vec<String> = free.filter(|_| was_used).collect();
        let to = if let Some(name) = free.first() {
            name.clone()
        } else {
            self.next_folder += 1;
            format!("F{}", self.next_folder - 1)
        };
        let must_change = !free.is_empty() || self.dice.chance(400);
        self.note(|| format!("{name} is renamed to {to}, new UIDVALIDITY: {must_change}"));
        for message in self.messages(name) {
            let fate = self.fate(&key(&message.octets, message.date));
            fate.been_in.insert(to.clone());
        }
        if must_change {
            self.renumber(name);
        }
        self.in_folder(name, |_| ());
        self.world.borrow_mut().open.clone_from(&to);
        let remembered = state(&self.world);
        for message in self.messages(&to) {
            self.excuse_if_old(&to, &message, &remembered);
        }
    }

    /// A folder vanishes, or one that did comes back, as it was or with another UIDVALIDITY.
    fn vanish(&mut self, name: &str) {
        if let Some((name, folder)) = self.vanished.pop_first() {
            self.note(|| format!("{name} is back"));
            let messages = folder.messages.clone();
            self.world.borrow_mut().folders.insert(name.clone(), folder);
            if self.dice.chance(300) {
                self.renumber(&name);
            }
            for message in messages {
                let key = key(&message.octets, message.date);
                let is_due = self.now() - message.date < REACH;
                self.fate(&key).due |= is_due;
            }
            return;
        }
        if self.names().len() < 2 {
            return;
        }
        self.note(|| format!("{name} vanishes"));
        let other = self.names().into_iter().find(|other| other != name);
        self.in_folder(&other.unwrap(), |_| ());
        let folder = self.world.borrow_mut().folders.remove(name).unwrap();
        self.vanished.insert(name.to_owned(), folder);
        self.forget_gone();
    }

    /// UIDs of a folder are invalid: what a date pass does not do is a documented limit.
    fn excuse_date_pass(&mut self, name: &str, remembered: &State) {
        for message in self.messages(name) {
            self.excuse_if_old(name, &message, remembered);
            // Messages of the same octets and without Message-ID that were not copied before.
            let key = key(&message.octets, message.date);
            let is_again = self
                .fates
                .keys()
                .any(|other| other.0 == key.0 && other.1 != key.1);
            let fate = self.fate(&key);
            fate.may_be_lost |= !fate.settled && is_again;
        }
    }

    /// A message is older than a date pass of its folder goes back, and may not have been copied.
    fn excuse_if_old(&mut self, name: &str, message: &SourceMessage, remembered: &State) {
        let folder = remembered.folder_named(name);
        let reach = folder.and_then(|folder| {
            let last = folder
                .last_sync
                .map(|last| last.min(self.now()) - TimeDelta::days(2));
            last.or(folder.date_pass.as_ref().map(|pass| pass.since))
        });
        let reach = reach.unwrap_or(self.now() - REACH);
        if message.date < reach {
            self.fate(&key(&message.octets, message.date)).may_be_lost = true;
        }
    }

    /// Without a valid cursor there is a date pass, when the run comes.
    fn excuse_before_run(&mut self) {
        let remembered = state(&self.world);
        for name in self.names() {
            if self.has_cursor(&name, &remembered) {
                continue;
            }
            let folder = remembered.folder_named(&name);
            if folder.is_some_and(|folder| folder.cursor.is_some() || folder.date_pass.is_some()) {
                // What arrived since UIDVALIDITY changed is excused as what was there then.
                self.excuse_date_pass(&name, &remembered);
                continue;
            }
            for message in self.messages(&name) {
                self.excuse_if_old(&name, &message, &remembered);
            }
        }
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
        there.place = place;
        let key = (
            there.octets.clone(),
            there.source_date.map(|date| date.to_utc()),
        );
        drop(world);
        let key = crate::folder_schedules::key(&key.0, key.1.unwrap());
        self.note(|| format!("the user moves to {place:?}: {}", text(&key)));
        let own_id = MessageId::of_octets(&key.0);
        let id = Identity::of_header(&key.0).id;
        let is_uncertain = folders(&remembered).into_iter().any(|folder| {
            let orphans = folder.date_pass.iter().flat_map(|pass| &pass.orphans);
            let mut parked = folder.parked.values().chain(orphans);
            parked.any(|parked| {
                parked.sent.is_some() && (parked.id.as_ref() == Some(&own_id) || parked.id == id)
            })
        });
        let is_indexed = self.world.borrow().gmail.index_delay == 0;
        let is_found_in_trash = id.is_some() && place == Place::Trash && is_indexed;
        if place != Place::Archive && (is_uncertain || self.crashed) && !is_found_in_trash {
            // Uncertain, and deleted before the lookup: a documented limit.
            self.fate(&key).may_be_doubled = true;
        }
    }

    /// The folders of a run, in any order.
    fn order(&mut self) -> Vec<String> {
        let mut names = self.names();
        names.sort();
        for index in 1..names.len() {
            let other = self.dice.below(u32::try_from(index + 1).unwrap()) as usize;
            names.swap(index, other);
        }
        names
    }

    /// One run with random faults.
    fn run_with_faults(&mut self) {
        self.excuse_before_run();
        let order = self.order();
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
                arrival: 0,
            };
            let labels = &mut world.gmail.labels;
            if labels.dice.chance(400) {
                labels.user = labels.dice.below(100);
            }
            if labels.dice.chance(250) {
                labels.cut = labels.dice.below(600);
            }
            world.source_breaks = some(150, 200);
            world.moves = some(200, 100);
            world.crash = self.dice.chance(500).then(|| {
                let step = 1 + self.dice.below(120) as usize;
                let is_kill = self.dice.chance(500);
                (
                    step,
                    if is_kill {
                        Crash::Kill
                    } else {
                        Crash::PowerLoss
                    },
                )
            });
        }
        let ended = run_over(&self.world, &order);
        self.crashed = ended == Ended::Crashed;
        let moved = std::mem::take(&mut self.world.borrow_mut().moved);
        for (is_another, to, message) in moved {
            self.note(|| {
                format!(
                    "{} comes to {to} during the run",
                    message.octets.escape_ascii()
                )
            });
            self.was_moved_or_copied(is_another, &to, &message);
        }
        self.note(|| format!("run {order:?}: {ended:?}"));
        self.trace_world();
        self.check_cursors(matches!(ended, Ended::Done(_)));
    }

    fn trace_world(&self) {
        if !self.trace {
            return;
        }
        let remembered = state(&self.world);
        for name in self.names().iter().chain(self.vanished.keys()) {
            println!("  {name} {:?}", remembered.folder_named(name));
        }
        let world = self.world.borrow();
        for there in &world.gmail.messages {
            let octets = there.octets.escape_ascii();
            println!(
                "  gmail {} {:?} {:?} {octets}",
                there.uid, there.place, there.date
            );
        }
        for late in &world.gmail.late {
            println!("  late {} {}", late.0, late.1.escape_ascii());
        }
    }

    /// How many of a message are at Gmail, or were.
    fn count_at_gmail(&self, key: &Key) -> usize {
        let world = self.world.borrow();
        let messages = world.gmail.messages.iter().filter(|there| {
            let date = there.source_date.map(|date| date.to_utc());
            there.octets == key.0 && key.1.is_none_or(|it| date == Some(it))
        });
        messages.count()
    }

    /// Checks that every due message below the cursor of its folder is at Gmail or parked.
    fn check_cursors(&mut self, is_done: bool) {
        let remembered = state(&self.world);
        for name in self.names() {
            let Some(folder) = remembered.folder_named(&name) else {
                continue;
            };
            let Some(cursor) = folder
                .cursor
                .as_ref()
                .filter(|_| self.has_cursor(&name, &remembered))
            else {
                continue;
            };
            for message in self.messages(&name) {
                let key = key(&message.octets, message.date);
                let mut parked = folder.parked.keys();
                let is_parked = parked.any(|uid| uid.get() == message.uid);
                if message.uid > cursor.uid || is_parked {
                    continue;
                }
                let late = &self.world.borrow().gmail.late.clone();
                let is_late = late.iter().any(|(_, octets, ..)| *octets == key.0);
                let is_safe = self.count_at_gmail(&key) > 0 || is_late;
                let fate = self.fate(&key);
                if fate.due && !fate.may_be_lost && !is_safe {
                    self.failures.insert(Failure::Cursor(text(&key)));
                } else if is_done {
                    fate.settled = true;
                }
            }
        }
    }

    fn play(&mut self) {
        for _ in 0..self.dice.below(7) {
            let (name, octets) = (self.any_folder(), self.compose());
            let age = if self.dice.chance(600) {
                TimeDelta::hours(self.dice.below(20).into())
            } else {
                TimeDelta::days(30 + i64::from(self.dice.below(300)))
            };
            let date = self.now() - age;
            self.deliver(&name, &octets, date);
        }
        let rounds = 2 + self.dice.below(7);
        for _ in 0..rounds {
            for _ in 0..self.dice.below(5) {
                self.event();
            }
            self.run_with_faults();
            let pause = [1, 1, 2, 7, 60, 600, 3_000][self.dice.below(7) as usize];
            self.wait(pause);
        }
        for pause in [2, 5, 20, 61, 361, 1_500, 1_500, 1_500, 1_500] {
            self.wait(pause);
            self.excuse_before_run();
            let order = self.order();
            let ended = run_over(&self.world, &order);
            self.note(|| format!("clean run {order:?}: {ended:?}"));
            self.trace_world();
        }
        self.judge();
    }

    fn wait(&mut self, minutes: i64) {
        let mut world = self.world.borrow_mut();
        world.now += TimeDelta::minutes(minutes);
        world.store_late();
    }

    fn judge(&mut self) {
        let remembered = state(&self.world);
        // What is parked in a folder that is not there waits for it.
        for name in self.names() {
            let folder = remembered.folder_named(&name).cloned().unwrap_or_default();
            for (uid, parked) in &folder.parked {
                let what = format!("{name} {uid}: {}", parked.why);
                self.failures.insert(Failure::Unfinished(what));
            }
            if folder.date_pass.is_some() {
                let what = format!("{name}: a date pass");
                self.failures.insert(Failure::Unfinished(what));
            }
        }
        let label_failures = self.label_failures();
        for (what, octets) in label_failures {
            if self.is_uncertain_in_vanished(&octets, &remembered) {
                continue;
            }
            let text = octets.escape_ascii().to_string();
            self.failures.insert(Failure::Labels(what, text));
        }
        for (key, fate) in self.fates.clone() {
            let count = self.count_at_gmail(&key);
            let expected = key.1.map_or(1, |_| fate.arrivals);
            if fate.due && !fate.may_be_lost && count < expected {
                self.failures.insert(Failure::Lost(text(&key)));
            }
            let most = key.1.map_or(1, |_| fate.arrivals + fate.second_copies);
            if count > most && !fate.may_be_doubled {
                self.failures.insert(Failure::Doubled(text(&key)));
            }
            let is_resurrected = self.world.borrow().gmail.resurrected.contains(&key.0);
            if is_resurrected && !fate.may_be_doubled {
                self.failures.insert(Failure::Resurrected(text(&key)));
            }
        }
    }
}

impl Schedule {
    fn label_failures(&self) -> Vec<(&'static str, Octets)> {
        let world = self.world.borrow();
        let allowed = |octets: &[u8]| {
            let fates = self.fates.iter().filter(|(key, _)| key.0 == octets);
            let folders = fates.flat_map(|(_, fate)| &fate.been_in);
            folders.flat_map(|folder| world.labels_of(folder)).collect()
        };
        // Each further copy in a folder may label a message again, if a run failed meanwhile.
        let is_there_once = |octets: &[u8]| {
            let mut fates = self.fates.iter().filter(|(key, _)| key.0 == octets);
            fates.all(|(_, fate)| fate.second_copies == 0 && fate.arrivals <= 1)
        };
        let failures = world.folder_label_failures(&allowed).into_iter();
        failures
            .filter(|(what, octets)| *what != "labelled twice" || is_there_once(octets))
            .collect()
    }

    /// Whether its append stays uncertain because its folder is no longer there, or has another name.
    fn is_uncertain_in_vanished(&self, octets: &[u8], remembered: &State) -> bool {
        let id = Identity::of_header(octets).id;
        let id = id.unwrap_or_else(|| MessageId::of_octets(octets));
        let there = self.names();
        let numbered = (0..100).map(|number| format!("F{number}"));
        let vanished = numbered.filter(|name| !there.contains(name));
        let mut vanished = vanished.filter_map(|name| remembered.folder_named(&name));
        vanished.any(|folder| {
            let mut parked = folder.parked.values();
            parked.any(|parked| parked.sent.is_some() && parked.id.as_ref() == Some(&id))
        })
    }
}

fn new_folder(uid_validity: u32) -> SourceModel {
    let mut folder = SourceModel::default();
    (folder.uid_validity, folder.uid_next) = (uid_validity, 1);
    folder
}

fn judge(seed: u64, trace: bool) -> BTreeSet<Failure> {
    let mut schedule = Schedule::new(seed, trace);
    schedule.play();
    schedule.failures
}

#[test]
fn random_schedules_over_several_folders_lose_and_double_nothing() {
    play_schedules("FOLDER_SCHEDULES", 500, judge);
}
