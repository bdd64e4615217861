//! Models of the source, of Gmail and of the disk. They share a clock, a count of outward steps (calls
//! to a server or to the disk), and the step at which the run crashes.

mod append;
mod labels;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use imap_to_gmail_sync::error::{Consequence, Error, ErrorKind, RestReason, Result, Side};
use imap_to_gmail_sync::message::{
    BodyDigest, DeliveryMethod, Flags, Identity, InternalDate, Listed, Mailbox, Mark, Message,
    MessagePlace, Uid, UidSet, UidValidity,
};
use imap_to_gmail_sync::state::storage::{StateFile, Storage};
use imap_to_gmail_sync::sync::{
    Fetched, FoundPlace, LabelRequest, LookupQuery, LookupResult, MessageVersion, Outcome,
    RejectedLabels, SearchScope, Source, SourceSearch, Target, TargetStatus,
};

use crate::dice::Dice;
use append::AppendConnections;
pub use labels::INBOX;
use labels::{LabelModel, Labelled};

pub type Octets = Vec<u8>;
pub type Shared = Rc<RefCell<World>>;

/// How a run crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`: what was written survives.
    Kill,
    /// Loss of power: only synced data survives, and a file name only if its folder was synced.
    PowerLoss,
}

/// Faults of a run: their probabilities, in tenths of a percent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A message is missing from a FETCH response that ended with OK.
    pub hole: u32,
    /// The FETCH of a message breaks the connection.
    pub unreadable: u32,
    /// A connection breaks before its first open append was stored, and so none behind it is…
    pub cut_before: u32,
    /// …or after it was stored; those behind it, in order, are stored then or later, or are not…
    pub cut_after: u32,
    /// …or the server stores it seconds later, and perhaps those behind it.
    pub stored_late: u32,
    /// Gmail answers NO to a message.
    pub refusal: u32,
    /// Gmail is unavailable for the rest of the run.
    pub gmail_gone: u32,
    /// A message arrives between two steps.
    pub arrival: u32,
}

pub struct World {
    pub now: DateTime<Utc>,
    /// How long an outward step takes.
    pub step_time: TimeDelta,
    /// Outward steps taken in this run.
    pub steps: usize,
    /// Crash at this step.
    pub crash: Option<(usize, Crash)>,
    pub crashed: bool,
    pub faults: Faults,
    /// The labels that messages get.
    pub labels: Vec<String>,
    /// Those of the messages of each folder, if there are several.
    pub folder_labels: BTreeMap<String, Vec<String>>,
    /// Whether also messages get them that are moved to it.
    pub labels_moved: bool,
    /// The day that the next run is asked to go back to.
    pub since: Option<DateTime<Utc>>,
    pub dice: Dice,
    /// The source folder that is open.
    pub source: SourceModel,
    /// Its name, and the other folders.
    pub open: String,
    pub folders: BTreeMap<String, SourceModel>,
    /// How probable it is that a step of the source breaks its connection, and that a message is moved
    /// or copied between two folders before it, in tenths of a percent.
    pub source_breaks: u32,
    pub moves: u32,
    /// A run over several folders folds its journal between them.
    pub folds_between_folders: bool,
    /// What was moved or copied during the run: whether the same was there already, to which folder, and
    /// the message.
    pub moved: Vec<(bool, String, SourceMessage)>,
    pub gmail: GmailModel,
    pub disk: DiskModel,
}

#[derive(Debug, Clone)]
pub struct SourceMessage {
    pub uid: u32,
    pub date: DateTime<Utc>,
    pub octets: Octets,
}

#[derive(Debug, Default)]
pub struct SourceModel {
    pub uid_validity: u32,
    pub uid_next: u32,
    pub messages: Vec<SourceMessage>,
    /// Messages that may arrive in the middle of a run.
    pub arrivals: Vec<Octets>,
    /// The UIDNEXT of the last EXAMINE, if the run came so far.
    pub examined: Option<u32>,
    /// What the server answered to the groups of the last prefetch.
    prefetched: VecDeque<(Vec<Uid>, Vec<Fetched>)>,
    /// The UIDs of each group that the server was asked for ahead in this run.
    pub announced: Vec<Vec<u32>>,
    /// The most groups, and the most octets, that were asked for ahead at a time.
    pub most_ahead: (usize, usize),
    /// These leave the mailbox as soon as a prefetch was answered.
    pub leaves_when_announced: BTreeSet<u32>,
    /// EXAMINE announces a UIDNEXT that is too low by this.
    pub uid_next_lag: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Inbox,
    Archive,
    Trash,
    Spam,
    /// Deleted for good.
    Gone,
}

/// A message that is stored at this time, with its INTERNALDATE at the source.
type LateAppend = (DateTime<Utc>, Octets, InternalDate, DeliveryMethod);

#[derive(Debug, Clone)]
pub struct GmailMessage {
    pub uid: u32,
    pub place: Place,
    pub octets: Octets,
    /// INTERNALDATE.
    pub date: InternalDate,
    /// That of the message at the source, for the oracle.
    pub source_date: InternalDate,
    pub stored_at: DateTime<Utc>,
    /// Appended by us; otherwise Gmail received it another way.
    pub ours: bool,
    pub labelled: Labelled,
}

// Independent switches, not the states of a machine.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct GmailModel {
    pub messages: Vec<GmailMessage>,
    pub uid_next: u32,
    pub deduplicates: bool,
    /// A search finds a message this many seconds after it was stored.
    pub index_delay: i64,
    pub append_limit: Option<u64>,
    /// Whether it imports messages.
    pub imports: bool,
    /// How often an imported message is taken for spam, of 1,000.
    pub spam: u32,
    /// Messages that Gmail never accepts.
    pub refuses: BTreeSet<Octets>,
    /// Appends that are stored at a later time, after their connection broke.
    pub late: Vec<LateAppend>,
    /// It is unavailable because it limits the account.
    pub limits: bool,
    /// A lookup finds a candidate for an uncertain append and cannot read it.
    pub hides_bodies: bool,
    /// All Mail's UIDNEXT, as this run has read it.
    pub mark: Option<u32>,
    /// How often it was told to prepare itself.
    pub prepared: usize,
    /// The UIDs of each lookup.
    pub looked_up: Vec<Vec<u32>>,
    /// It is unavailable for the rest of the run.
    pub gone: bool,
    /// How often each message was stored.
    pub stored: HashMap<Octets, u32>,
    /// The UIDs of the messages that were submitted.
    pub submitted: Vec<u32>,
    /// Messages that returned from the trash because they were sent again.
    pub resurrected: Vec<Octets>,
    /// What was submitted, without NULs.
    pub sent: BTreeSet<Octets>,
    /// What was submitted for an APPEND, and for an import, or was about to be when the run crashed.
    pub sent_by: [BTreeSet<Octets>; 2],
    /// The labels that each message gets; `None` if it was submitted from folders with different ones.
    pub wanted: HashMap<Octets, Option<Vec<String>>>,
    pub labels: LabelModel,
    connections: AppendConnections,
    settled: VecDeque<(Uid, Outcome)>,
}

/// A disk that loses unsynced data with the power.
#[derive(Debug, Default)]
pub struct DiskModel {
    /// By inode: the written and the synced content.
    files: BTreeMap<usize, (Vec<u8>, Vec<u8>)>,
    names: HashMap<StateFile, usize>,
    durable_names: HashMap<StateFile, usize>,
    next: usize,
    pub written: Option<DateTime<Utc>>,
}

fn crashed() -> Error {
    Error::new(Side::Host, ErrorKind::Internal, "world", "crashed")
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            step_time: TimeDelta::milliseconds(10),
            steps: 0,
            crash: None,
            crashed: false,
            faults: Faults::default(),
            labels: Vec::new(),
            folder_labels: BTreeMap::new(),
            labels_moved: false,
            since: None,
            dice: Dice::new(seed),
            source: SourceModel {
                uid_validity: 1,
                uid_next: 1,
                ..SourceModel::default()
            },
            open: "INBOX".to_owned(),
            folders: BTreeMap::new(),
            source_breaks: 0,
            moves: 0,
            folds_between_folders: false,
            moved: Vec::new(),
            gmail: GmailModel::new(seed),
            disk: DiskModel::default(),
        }
    }

    /// The labels of the messages of a folder.
    pub fn labels_of(&self, folder: &str) -> Vec<String> {
        let labels = self.folder_labels.get(folder);
        labels.unwrap_or(&self.labels).clone()
    }

    /// Makes an outward step: the run may crash, and time passes.
    fn step(&mut self) -> Result<()> {
        if self.crashed {
            return Err(crashed());
        }
        self.steps += 1;
        if self.crash.is_some_and(|(at, _)| self.steps >= at) {
            self.crashed = true;
            return Err(crashed());
        }
        self.now += self.step_time;
        if self.dice.chance(self.faults.arrival)
            && let Some(octets) = self.source.arrivals.pop()
        {
            let date = self.now;
            self.source.deliver(octets, date);
        }
        let user = self.gmail.labels.user;
        if self.gmail.labels.dice.chance(user) {
            self.user_relabels();
        }
        self.store_late();
        Ok(())
    }

    /// Makes an outward step to the source, whose connection may break.
    fn source_step(&mut self) -> Result<()> {
        self.step()?;
        if self.dice.chance(self.moves) {
            self.move_between_folders();
        }
        if self.dice.chance(self.source_breaks) {
            let kind = ErrorKind::Unavailable;
            return Err(Error::new(
                Side::Source,
                kind,
                "source",
                "cannot be reached",
            ));
        }
        Ok(())
    }

    /// Opens a folder, if it exists; the one that was open stays among the others.
    pub fn open_folder(&mut self, name: &str) -> bool {
        if name != self.open {
            let Some(folder) = self.folders.remove(name) else {
                return false;
            };
            let before = std::mem::replace(&mut self.source, folder);
            let before_name = std::mem::replace(&mut self.open, name.to_owned());
            self.folders.insert(before_name, before);
        }
        self.source.prefetched.clear();
        true
    }

    /// Moves or copies a message from the open folder to another one, or back.
    fn move_between_folders(&mut self) {
        let names: Vec<String> = self.folders.keys().cloned().collect();
        let Some(name) = names.get(self.dice.below(u32::try_from(names.len()).unwrap()) as usize)
        else {
            return;
        };
        let (is_move, is_outward) = (self.dice.chance(700), self.dice.chance(500));
        let (open, other) = (&mut self.source, self.folders.get_mut(name).unwrap());
        let (from, to, to_name) = if is_outward {
            (open, other, name)
        } else {
            (other, open, &self.open)
        };
        if from.messages.is_empty() {
            return;
        }
        let count = u32::try_from(from.messages.len()).unwrap();
        let index = self.dice.below(count) as usize;
        let message = if is_move {
            from.messages.remove(index)
        } else {
            from.messages[index].clone()
        };
        let is_another = to.has_copy_of(&message);
        to.deliver(message.octets.clone(), message.date);
        self.moved.push((is_another, to_name.clone(), message));
    }

    pub fn store_late(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.gmail.late)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.gmail.late = later;
        let due: Vec<LateAppend> = due;
        for (at, octets, date, method) in due {
            self.store_by(method, octets, date, at);
        }
    }

    /// Stores a message; returns its UID. An import has the date of now, and may be taken for spam.
    pub fn store_by(
        &mut self,
        method: DeliveryMethod,
        octets: Octets,
        date: InternalDate,
        now: DateTime<Utc>,
    ) -> u32 {
        if method == DeliveryMethod::Append {
            return self.gmail.store(octets, date, now);
        }
        let count = self.gmail.messages.len();
        let octets_of_message = octets.clone();
        let uid = self.gmail.store(octets, Some(now.fixed_offset()), now);
        let spam = self.gmail.spam;
        let is_spam = self.gmail.labels.dice.chance(spam);
        let labels = match self.gmail.wanted.get(&octets_of_message) {
            Some(Some(labels)) => labels.clone(),
            _ => Vec::new(),
        };
        let mut messages = self.gmail.messages.iter_mut();
        if let Some(stored) = messages.find(|there| there.uid == uid) {
            stored.labelled.import(labels);
        }
        if self.gmail.messages.len() > count
            && let Some(stored) = self.gmail.messages.last_mut()
        {
            stored.source_date = date;
            if is_spam {
                stored.place = Place::Spam;
            }
        }
        uid
    }

    /// Ends a run: drops what did not survive it.
    pub fn end_run(&mut self) {
        if let Some((_, Crash::PowerLoss)) = self.crash.filter(|_| self.crashed) {
            self.disk.lose_power();
        }
        self.abandon_connections();
        self.gmail.gone = false;
        self.gmail.mark = None;
        self.source.prefetched.clear();
        self.steps = 0;
        self.crash = None;
        self.crashed = false;
        self.faults = Faults::default();
        self.gmail.labels.user = 0;
        self.gmail.labels.cut = 0;
        self.source_breaks = 0;
        self.moves = 0;
    }
}

impl SourceModel {
    pub fn deliver(&mut self, octets: Octets, date: DateTime<Utc>) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.messages.push(SourceMessage { uid, date, octets });
        uid
    }

    /// Whether it has a message of the same octets and INTERNALDATE.
    pub fn has_copy_of(&self, message: &SourceMessage) -> bool {
        let is_copy =
            |other: &SourceMessage| other.octets == message.octets && other.date == message.date;
        self.messages.iter().any(is_copy)
    }

    pub fn examine(&mut self) -> Mailbox {
        self.examined = Some(self.uid_next);
        let announced = self.uid_next.saturating_sub(self.uid_next_lag).max(1);
        Mailbox {
            uid_validity: UidValidity::new(self.uid_validity).unwrap(),
            uid_next: Uid::new(announced).unwrap(),
            exists: u32::try_from(self.messages.len()).unwrap(),
        }
    }

    /// The answer of the server to a FETCH.
    fn answer(&self, uids: &[Uid], faults: Faults, dice: &mut Dice) -> Vec<Fetched> {
        let mut broken = false;
        uids.iter()
            .map(|uid| {
                broken |= dice.chance(faults.unreadable);
                match self.find(*uid) {
                    _ if broken => Fetched::Unreadable("the connection broke".to_owned()),
                    Some(message) if !dice.chance(faults.hole) => {
                        Fetched::from(message.octets.clone())
                    }
                    _ => Fetched::Missing,
                }
            })
            .collect()
    }

    fn find(&self, uid: Uid) -> Option<&SourceMessage> {
        self.messages
            .iter()
            .find(|message| message.uid == uid.get())
    }
}

impl GmailModel {
    fn new(seed: u64) -> GmailModel {
        GmailModel {
            messages: Vec::new(),
            uid_next: 1,
            deduplicates: false,
            index_delay: 0,
            append_limit: None,
            imports: false,
            spam: 0,
            refuses: BTreeSet::new(),
            late: Vec::new(),
            limits: false,
            hides_bodies: false,
            mark: None,
            prepared: 0,
            looked_up: Vec::new(),
            gone: false,
            stored: HashMap::new(),
            submitted: Vec::new(),
            resurrected: Vec::new(),
            sent: BTreeSet::new(),
            sent_by: Default::default(),
            wanted: HashMap::new(),
            labels: LabelModel::new(seed),
            connections: AppendConnections::default(),
            settled: VecDeque::new(),
        }
    }

    /// In every second schedule new mail is imported, and some of it taken for spam.
    pub fn import_by_chance(&mut self) {
        let dice = &mut self.labels.dice;
        self.imports = dice.chance(500);
        self.spam = [0, 100, 500][dice.below(3) as usize];
    }

    /// Stores a message as an append does; returns its UID.
    pub fn store(&mut self, octets: Octets, date: InternalDate, now: DateTime<Utc>) -> u32 {
        let identity = Identity::of_header(&octets);
        let twin = self.messages.iter_mut().find(|there| {
            there.place != Place::Gone && identity.id.is_some() && there.octets == octets
        });
        if let Some(twin) = twin.filter(|_| self.deduplicates) {
            if twin.place == Place::Trash {
                self.resurrected.push(octets);
            }
            twin.place = Place::Inbox;
            twin.labelled.append_again();
            return twin.uid;
        }
        let is_known_by_id = identity.id.is_some();
        if self.messages.iter().any(|there| {
            is_known_by_id
                && matches!(there.place, Place::Trash | Place::Gone)
                && there.octets == octets
        }) {
            self.resurrected.push(octets.clone());
        }
        *self.stored.entry(octets.clone()).or_default() += 1;
        self.put(octets, now, true);
        let there = self.messages.last_mut().unwrap();
        there.date = date;
        there.source_date = date;
        there.uid
    }

    /// Adds a message without counting an append.
    pub fn put(&mut self, octets: Octets, now: DateTime<Utc>, ours: bool) {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.messages.push(GmailMessage {
            uid,
            place: Place::Inbox,
            octets,
            date: Some(now.fixed_offset()),
            source_date: Some(now.fixed_offset()),
            stored_at: now,
            ours,
            labelled: Labelled::default(),
        });
    }
}

fn without_nul(octets: &[u8]) -> Octets {
    octets.iter().copied().filter(|octet| *octet != 0).collect()
}

/// The source as a [`Source`].
pub struct Source1(pub Shared);

impl Source for Source1 {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        let mut world = self.0.borrow_mut();
        world.source_step()?;
        let matches = |message: &&SourceMessage| match search {
            SourceSearch::Uids(set) => set.contains(Uid::new(message.uid).unwrap()),
            SourceSearch::Since(day) => message.date.date_naive() >= *day,
            SourceSearch::On(day) => message.date.date_naive() == *day,
        };
        Ok(world
            .source
            .messages
            .iter()
            .filter(matches)
            .filter_map(|message| Uid::new(message.uid))
            .collect())
    }

    fn correct_uid_next(&mut self, mailbox: &Mailbox) -> Result<Option<Uid>> {
        let mut world = self.0.borrow_mut();
        world.source_step()?;
        let uids = world.source.messages.iter().map(|message| message.uid);
        let Some(highest) = uids.filter(|uid| *uid >= mailbox.uid_next.get()).max() else {
            return Ok(None);
        };
        world.source_step()?;
        let is_wrong = world.source.examine().uid_next.get() <= highest;
        Ok(Uid::new(highest + 1).filter(|_| is_wrong))
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        let mut world = self.0.borrow_mut();
        world.source_step()?;
        let World {
            source,
            dice,
            faults,
            ..
        } = &mut *world;
        let mut listed: Vec<Listed> = source
            .messages
            .iter()
            .filter(|message| uids.contains(Uid::new(message.uid).unwrap()))
            .map(|message| Listed {
                uid: Uid::new(message.uid).unwrap(),
                size: message.octets.len() as u64,
                internal_date: Some(message.date.fixed_offset()),
                flags: Flags::default(),
                identity: Identity::of_header(&message.octets),
            })
            .collect();
        listed.retain(|_| !dice.chance(faults.hole));
        Ok(listed)
    }

    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>> {
        let mut world = self.0.borrow_mut();
        world.source_step()?;
        let World {
            source,
            dice,
            faults,
            ..
        } = &mut *world;
        // The octets are those at the time of the hint.
        if let Some((there, answered)) = source.prefetched.pop_front()
            && uids.iter().all(|uid| there.contains(uid))
        {
            let answered: HashMap<Uid, Fetched> = there.into_iter().zip(answered).collect();
            return Ok(uids.iter().map(|uid| answered[uid].clone()).collect());
        }
        source.prefetched.clear();
        Ok(source.answer(uids, *faults, dice))
    }

    fn prefetch(&mut self, groups: &[Vec<Uid>]) {
        let mut world = self.0.borrow_mut();
        if world.crashed {
            return;
        }
        let World {
            source,
            dice,
            faults,
            ..
        } = &mut *world;
        let asked = source.prefetched.iter().zip(groups);
        let known = asked.take_while(|((asked, _), uids)| asked == *uids);
        let known = known.count();
        source.prefetched.truncate(known);
        for uids in &groups[known..] {
            let answered = source.answer(uids, *faults, dice);
            source.prefetched.push_back((uids.clone(), answered));
            source
                .announced
                .push(uids.iter().map(|uid| uid.get()).collect());
            let leaves = &source.leaves_when_announced;
            source.messages.retain(|there| {
                !(leaves.contains(&there.uid) && uids.contains(&Uid::new(there.uid).unwrap()))
            });
        }
        let octets = source.prefetched.iter().flat_map(|(_, answered)| answered);
        let octets = octets.map(|fetched| match fetched {
            Fetched::Octets(hashed) => hashed.octets.len(),
            Fetched::Missing | Fetched::Unreadable(_) => 0,
        });
        let most = (source.prefetched.len(), octets.sum());
        let before = source.most_ahead;
        source.most_ahead = (before.0.max(most.0), before.1.max(most.1));
    }
}

/// Gmail as a [`Target`].
pub struct Gmail1(pub Shared);

impl Gmail1 {
    fn gone(world: &World) -> Result<()> {
        if !world.gmail.gone {
            return Ok(());
        }
        let error = |kind| Error::new(Side::Gmail, kind, "gmail", "cannot be reached");
        Err(if world.gmail.limits {
            error(ErrorKind::Resting).with_consequence(Consequence::Rest(RestReason::Quota))
        } else {
            error(ErrorKind::Unavailable)
        })
    }
}

impl Target for Gmail1 {
    fn status(&mut self) -> Result<TargetStatus> {
        let mut world = self.0.borrow_mut();
        world.step()?;
        Self::gone(&world)?;
        let uid_next = world.gmail.uid_next;
        let mark = Mark {
            uid_validity: UidValidity::new(1).unwrap(),
            uid_next: Uid::new(*world.gmail.mark.get_or_insert(uid_next)).unwrap(),
        };
        Ok(TargetStatus {
            append_limit: world.gmail.append_limit,
            import_limit: world.gmail.imports.then_some(157_286_400),
            mark: Some(mark),
            has_labels: true,
        })
    }

    fn refresh_status(&mut self) -> Result<TargetStatus> {
        self.0.borrow_mut().gmail.mark = None;
        self.status()
    }

    fn holds(&mut self, queries: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        let mut world = self.0.borrow_mut();
        world.step()?;
        Self::gone(&world)?;
        let indexed = world.now - TimeDelta::seconds(world.gmail.index_delay);
        let holding = |query: &LookupQuery| {
            if world.gmail.hides_bodies && (query.uncertain.is_some() || query.octets.is_some()) {
                return LookupResult::Unclear;
            }
            let mut holding = LookupResult::NotFound;
            for there in &world.gmail.messages {
                let is_reached = match there.place {
                    Place::Inbox | Place::Archive => true,
                    Place::Trash | Place::Spam => query.scope == SearchScope::AllMailTrashAndJunk,
                    Place::Gone => false,
                };
                let identity = Identity::of_header(&there.octets);
                let is_found = query.identity.id.is_some()
                    && identity.id == query.identity.id
                    && there.stored_at <= indexed;
                let mark = query.uncertain.as_ref().and_then(|sent| sent.mark);
                let is_in_all_mail = matches!(there.place, Place::Inbox | Place::Archive);
                let is_above = mark.is_some_and(|mark| there.uid >= mark.uid_next.get())
                    && is_in_all_mail
                    && identity.id == query.identity.id;
                let is_imported_since = !is_in_all_mail
                    && identity.id == query.identity.id
                    && query.uncertain.as_ref().is_some_and(|sent| {
                        sent.method == DeliveryMethod::Import
                            && there.date.is_some_and(|date| date >= sent.at)
                    });
                if let Some(body) = query.octets {
                    if is_reached
                        && there.date == query.date
                        && identity == query.identity
                        && BodyDigest::of_message(&there.octets) == body
                    {
                        return LookupResult::Found;
                    }
                    continue;
                }
                if !is_reached || !(is_found || is_above || is_imported_since) {
                    continue;
                }
                let is_same_body = query
                    .uncertain
                    .as_ref()
                    .is_none_or(|sent| BodyDigest::of_message(&there.octets) == sent.body);
                if identity.header == query.identity.header && is_same_body {
                    return LookupResult::Found;
                }
                holding = LookupResult::OtherMessage;
            }
            holding
        };
        let results = queries.iter().map(holding).collect();
        let uids = queries.iter().map(|query| query.uid.get()).collect();
        world.gmail.looked_up.push(uids);
        Ok(results)
    }

    fn prepare(&mut self) {
        self.0.borrow_mut().gmail.prepared += 1;
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        let mut world = self.0.borrow_mut();
        let octets = without_nul(&message.octets);
        // If the run crashes now, the next one cannot know that nothing was sent.
        world.gmail.sent_by[usize::from(message.method == DeliveryMethod::Import)]
            .insert(octets.clone());
        world.step()?;
        Self::gone(&world)?;
        world.gmail.submitted.push(message.uid.get());
        let labels = world.labels_of(&world.open);
        let wanted = world.gmail.wanted.entry(octets.clone());
        let wanted = wanted.or_insert_with(|| Some(labels.clone()));
        if wanted.as_ref() != Some(&labels) {
            *wanted = None;
        }
        world.gmail.sent.insert(octets);
        world.append(message)
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        let mut world = self.0.borrow_mut();
        if world.crashed {
            None
        } else {
            world.gmail.settled.pop_front()
        }
    }

    fn finish(&mut self) -> Result<()> {
        let mut world = self.0.borrow_mut();
        while !world.gmail.connections.is_empty() {
            world.settle_one()?;
        }
        if world.crashed {
            Err(crashed())
        } else {
            Self::gone(&world)
        }
    }

    fn find_places(&mut self, queries: &[LookupQuery]) -> Result<Vec<FoundPlace>> {
        let mut world = self.0.borrow_mut();
        world.step()?;
        Self::gone(&world)?;
        Ok(world.find_places(queries))
    }

    fn versions(&mut self, places: &[MessagePlace]) -> Result<Vec<MessageVersion>> {
        let mut world = self.0.borrow_mut();
        world.step()?;
        Self::gone(&world)?;
        Ok(world.versions(places))
    }

    fn set_labels(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>> {
        let mut world = self.0.borrow_mut();
        world.step()?;
        Self::gone(&world)?;
        world.set_labels(requests)
    }
}

/// The disk as a [`Storage`].
pub struct Disk1(pub Shared);

impl DiskModel {
    fn lose_power(&mut self) {
        self.names = self.durable_names.clone();
        for (content, synced) in self.files.values_mut() {
            content.clone_from(synced);
        }
    }

    pub fn content(&self, name: &StateFile) -> Option<Vec<u8>> {
        self.names
            .get(name)
            .map(|inode| self.files[inode].0.clone())
    }

    /// Writes and syncs a file, as another program would.
    pub fn plant(&mut self, name: StateFile, octets: Vec<u8>) {
        self.next += 1;
        self.files.insert(self.next, (octets.clone(), octets));
        self.names.insert(name.clone(), self.next);
        self.durable_names.insert(name, self.next);
    }
}

impl Disk1 {
    fn step(&self) -> io::Result<()> {
        self.0
            .borrow_mut()
            .step()
            .map_err(|_| io::Error::other("crashed"))
    }
}

impl Storage for Disk1 {
    fn read(&mut self, name: &StateFile) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().disk.content(name))
    }

    fn modified(&mut self, _: &StateFile) -> io::Result<DateTime<Utc>> {
        let world = self.0.borrow();
        Ok(world.disk.written.unwrap_or(world.now))
    }

    fn create(&mut self, name: &StateFile) -> io::Result<()> {
        self.step()?;
        let disk = &mut self.0.borrow_mut().disk;
        if let Some(inode) = disk.names.get(name) {
            disk.files.get_mut(inode).unwrap().0.clear();
        } else {
            disk.next += 1;
            disk.files.insert(disk.next, (Vec::new(), Vec::new()));
            disk.names.insert(name.clone(), disk.next);
        }
        Ok(())
    }

    fn append(&mut self, name: &StateFile, octets: &[u8]) -> io::Result<()> {
        // A crash may truncate the write.
        let had_crashed = self.0.borrow().crashed;
        let crashed = self.step();
        let world = &mut *self.0.borrow_mut();
        let inode = world.disk.names[name];
        let file = &mut world.disk.files.get_mut(&inode).unwrap().0;
        match crashed {
            Ok(()) => file.extend_from_slice(octets),
            Err(_) if !had_crashed => {
                let torn = world.dice.below(u32::try_from(octets.len() + 1).unwrap()) as usize;
                file.extend_from_slice(&octets[..torn]);
            }
            Err(_) => {}
        }
        crashed
    }

    fn sync(&mut self, name: &StateFile) -> io::Result<()> {
        self.step()?;
        let disk = &mut self.0.borrow_mut().disk;
        let inode = disk.names[name];
        let file = disk.files.get_mut(&inode).unwrap();
        file.1.clone_from(&file.0);
        Ok(())
    }

    fn rename(&mut self, from: &StateFile, to: &StateFile) -> io::Result<()> {
        self.step()?;
        let world = &mut *self.0.borrow_mut();
        let inode = world.disk.names.remove(from).unwrap();
        world.disk.names.insert(to.clone(), inode);
        world.disk.written = Some(world.now);
        Ok(())
    }

    fn remove(&mut self, name: &StateFile) -> io::Result<()> {
        self.step()?;
        self.0.borrow_mut().disk.names.remove(name).unwrap();
        Ok(())
    }

    fn unreadable_copies(&mut self) -> io::Result<Vec<StateFile>> {
        let world = self.0.borrow();
        let names = world.disk.names.keys();
        let mut copies: Vec<&StateFile> = names
            .filter(|name| matches!(name, StateFile::Unreadable(_)))
            .collect();
        copies.sort_by_key(|name| format!("{name:?}"));
        Ok(copies.into_iter().cloned().collect())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.step()?;
        let disk = &mut self.0.borrow_mut().disk;
        disk.durable_names = disk.names.clone();
        Ok(())
    }

    fn path(&self, name: &StateFile) -> PathBuf {
        PathBuf::from(format!("{name:?}"))
    }
}
