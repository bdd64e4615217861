//! Gmail's labels, and a user who changes them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use imap_to_gmail_sync::error::{Error, ErrorKind, Result, Side};
use imap_to_gmail_sync::message::{BodyDigest, Identity, MessagePlace, Uid, UidValidity};
use imap_to_gmail_sync::sync::{
    FoundPlace, LabelRequest, LookupQuery, MessageVersion, RejectedLabel, RejectedLabels,
};

use super::{GmailMessage, Octets, Place, World};
use crate::dice::Dice;

pub const INBOX: &str = "INBOX";
const ALL_MAIL: &str = "[Gmail]/All Mail";

/// Labels as Gmail shows them, and what the oracle must know of a message.
#[derive(Debug, Clone, Default)]
pub struct Labelled {
    pub labels: BTreeSet<String>,
    /// It changes with every change of the message.
    version: u32,
    /// What the user has taken away.
    removed: BTreeSet<String>,
    /// The program has read its version.
    was_looked_at: bool,
    /// The program has set labels.
    was_set: bool,
    /// How often.
    sets: usize,
    /// How often each of them.
    times_set: BTreeMap<String, u32>,
    /// Those that were set when the user first changed it after the program had read its version: others
    /// may be given up.
    set_before_change: Option<BTreeSet<String>>,
    /// It need not have labels: the user changed it when the program may have set them, or nothing shows
    /// which of several messages it is.
    pub may_lack_labels: bool,
}

/// What goes wrong with labels.
#[derive(Debug)]
pub struct LabelModel {
    pub dice: Dice,
    /// The user does something with a message, between two steps: tenths of a percent.
    pub user: u32,
    /// A connection breaks before or after labels are set.
    pub cut: u32,
    /// The connection breaks whenever this message is labelled.
    pub poison: Option<Octets>,
    /// The UIDVALIDITY of the inbox.
    pub inbox_validity: u32,
    /// Names that Gmail does not accept.
    pub rejected: BTreeSet<String>,
    /// Labels that were set again after the user had taken them away.
    pub put_back: Vec<Octets>,
    /// How often labels were set, by one command each.
    pub commands: usize,
}

impl LabelModel {
    pub fn new(seed: u64) -> LabelModel {
        LabelModel {
            dice: Dice::new(seed ^ 0x1ABE1),
            user: 0,
            cut: 0,
            poison: None,
            inbox_validity: 1,
            rejected: BTreeSet::new(),
            put_back: Vec::new(),
            commands: 0,
        }
    }
}

impl Labelled {
    /// Someone else changes the message.
    fn change(&mut self) {
        self.version += 1;
        self.may_lack_labels |= self.was_looked_at && !self.was_set;
        if self.was_looked_at {
            let set = self.times_set.keys().cloned();
            self.set_before_change.get_or_insert_with(|| set.collect());
        }
    }

    /// The message is appended again, and Gmail keeps the one that it has.
    pub fn append_again(&mut self) {
        self.version += 1;
    }
}

impl Labelled {
    /// An import sets the labels itself.
    pub fn import(&mut self, labels: Vec<String>) {
        self.count(&labels);
        self.labels.extend(labels);
        self.was_set = true;
        self.sets += 1;
    }

    fn count<'a>(&mut self, labels: impl IntoIterator<Item = &'a String>) {
        for label in labels {
            *self.times_set.entry(label.clone()).or_default() += 1;
        }
    }
}

impl GmailMessage {
    fn is_in(&self, folder: &str) -> bool {
        match folder {
            INBOX => self.place == Place::Inbox,
            ALL_MAIL => matches!(self.place, Place::Inbox | Place::Archive),
            _ => false,
        }
    }

    /// The user moves it.
    pub fn relocate(&mut self, place: Place) {
        self.place = place;
        self.labelled.change();
        // What is in the trash gets no labels; the user may take it out again later.
        let is_in_all_mail = matches!(place, Place::Inbox | Place::Archive);
        self.labelled.may_lack_labels |= !is_in_all_mail && !self.labelled.was_set;
    }
}

impl World {
    fn find(&mut self, place: &MessagePlace) -> Option<&mut GmailMessage> {
        let validity = self.validity_of(&place.folder);
        let messages = &mut self.gmail.messages;
        messages.iter_mut().find(|there| {
            validity == place.uid_validity
                && there.is_in(&place.folder)
                && there.uid == place.uid.get()
        })
    }

    fn validity_of(&self, folder: &str) -> UidValidity {
        let number = if folder == INBOX {
            self.gmail.labels.inbox_validity
        } else {
            1
        };
        UidValidity::new(number).unwrap()
    }

    pub(super) fn find_places(&mut self, queries: &[LookupQuery]) -> Vec<FoundPlace> {
        queries.iter().map(|query| self.find_place(query)).collect()
    }

    fn find_place(&mut self, query: &LookupQuery) -> FoundPlace {
        let sent = query.uncertain.as_ref().unwrap();
        let indexed = self.now - TimeDelta::seconds(self.gmail.index_delay);
        let mark = sent.mark.map_or(u32::MAX, |mark| mark.uid_next.get());
        let mut found: Vec<&mut GmailMessage> = self
            .gmail
            .messages
            .iter_mut()
            .filter(|there| {
                let identity = Identity::of_header(&there.octets);
                let is_found = query.identity.id.is_some() && there.stored_at <= indexed;
                there.is_in(ALL_MAIL)
                    && (is_found || there.uid >= mark)
                    && identity == query.identity
                    && BodyDigest::of_message(&there.octets) == sent.body
            })
            .collect();
        if found.iter().any(|there| there.uid >= mark) {
            found.retain(|there| there.uid >= mark);
        }
        if let [there] = found.as_slice() {
            return FoundPlace::At(MessagePlace {
                folder: ALL_MAIL.to_owned(),
                uid_validity: UidValidity::new(1).unwrap(),
                uid: Uid::new(there.uid).unwrap(),
            });
        }
        let is_ambiguous = !found.is_empty();
        for there in found {
            there.labelled.may_lack_labels = true;
        }
        if is_ambiguous {
            FoundPlace::Ambiguous
        } else {
            FoundPlace::Absent
        }
    }

    pub(super) fn versions(&mut self, places: &[MessagePlace]) -> Vec<MessageVersion> {
        let version = |place: &MessagePlace| {
            if self.validity_of(&place.folder) != place.uid_validity {
                return MessageVersion::Invalid;
            }
            let Some(there) = self.find(place) else {
                return MessageVersion::Gone;
            };
            there.labelled.was_looked_at = true;
            MessageVersion::Is(there.labelled.version.to_string())
        };
        places.iter().map(version).collect()
    }

    pub(super) fn set_labels(&mut self, requests: &[LabelRequest]) -> Result<Vec<RejectedLabels>> {
        let cut = || {
            let what = "the connection broke";
            Err(Error::new(
                Side::Gmail,
                ErrorKind::Unavailable,
                "gmail",
                what,
            ))
        };
        let chance = self.gmail.labels.cut;
        let poison = self.gmail.labels.poison.clone();
        let is_poison = |request: &LabelRequest| {
            let there = self.find(&request.place);
            there.is_some_and(|there| Some(&there.octets) == poison.as_ref())
        };
        let has_poison = requests.iter().any(is_poison);
        if has_poison || self.gmail.labels.dice.chance(chance) {
            return cut();
        }
        self.gmail.labels.commands += 1;
        let results = requests.iter().map(|request| self.add(request)).collect();
        // The run may crash before it receives the response.
        self.step()?;
        if self.gmail.labels.dice.chance(chance) {
            return cut();
        }
        Ok(results)
    }

    fn add(&mut self, request: &LabelRequest) -> RejectedLabels {
        let refused = self.gmail.labels.rejected.clone();
        let (refused, accepted): (BTreeSet<String>, _) = request
            .labels
            .iter()
            .cloned()
            .partition(|it| refused.contains(it));
        let put_back = self.find(&request.place).and_then(|there| {
            let labelled = &mut there.labelled;
            let is_put_back = labelled.removed.intersection(&accepted).next().is_some();
            labelled.was_set = true;
            labelled.sets += 1;
            labelled.version += 1;
            labelled.count(&accepted);
            labelled.labels.extend(accepted);
            is_put_back.then(|| there.octets.clone())
        });
        self.gmail.labels.put_back.extend(put_back);
        let rejected = refused.into_iter().map(|label| {
            let why = "NO [CANNOT] Invalid label".to_owned();
            RejectedLabel { label, why }
        });
        rejected.collect()
    }

    /// The user reads a message, labels it, or takes a label away.
    pub fn user_relabels(&mut self) -> Option<String> {
        let count = u32::try_from(self.gmail.messages.len()).unwrap();
        if count == 0 {
            return None;
        }
        let dice = &mut self.gmail.labels.dice;
        let (index, what, which) = (dice.below(count), dice.below(4), dice.below(2));
        let there = &mut self.gmail.messages[index as usize];
        let labelled = &mut there.labelled;
        labelled.change();
        let what = match what {
            0 => "reads".to_owned(),
            1 => {
                labelled.labels.insert("mine".to_owned());
                "labels".to_owned()
            }
            _ => {
                let taken = labelled.labels.iter().nth(which as usize).cloned()?;
                labelled.labels.remove(&taken);
                labelled.removed.insert(taken.clone());
                format!("takes {taken} from")
            }
        };
        let octets = there.octets.escape_ascii();
        Some(format!("the user {what} {}: {octets}", there.uid))
    }

    /// The folder of the inbox gets another UIDVALIDITY.
    pub fn renumber_inbox(&mut self) {
        self.gmail.labels.inbox_validity += 1;
        for there in &mut self.gmail.messages {
            let labelled = &mut there.labelled;
            labelled.may_lack_labels |= labelled.was_looked_at && !labelled.was_set;
        }
    }

    /// What a message lacks of the labels that messages get, or has too much.
    pub fn label_failures(&self) -> Vec<(&'static str, Octets)> {
        let mut failures = Vec::new();
        let wanted: BTreeSet<String> = self.labels.iter().cloned().collect();
        let wanted: BTreeSet<String> = wanted
            .difference(&self.gmail.labels.rejected)
            .cloned()
            .collect();
        // Of a message that is at the source under two UIDs, one attempt may be an append and the other an
        // import; when both answers are lost, nothing shows which one Gmail has stored.
        let is_by_one_method = |there: &&GmailMessage| {
            let [appended, imported] = &self.gmail.sent_by;
            !(appended.contains(&there.octets) && imported.contains(&there.octets))
        };
        for there in self.gmail.messages.iter().filter(is_by_one_method) {
            let Labelled {
                labels,
                removed,
                was_set,
                sets,
                may_lack_labels,
                ..
            } = &there.labelled;
            let has_all = wanted
                .iter()
                .all(|it| labels.contains(it) || removed.contains(it));
            let is_there = matches!(there.place, Place::Inbox | Place::Archive);
            if there.ours && is_there && !may_lack_labels && !has_all {
                failures.push(("unlabelled", there.octets.clone()));
            }
            if *sets > 1 {
                failures.push(("labelled twice", there.octets.clone()));
            }
            if *was_set && !self.gmail.sent.contains(&there.octets) {
                failures.push(("not ours and labelled", there.octets.clone()));
            }
        }
        let put_back = self.gmail.labels.put_back.iter();
        failures.extend(put_back.map(|octets| ("labelled again", octets.clone())));
        failures
    }

    /// The same where each folder has labels of its own: a message that is in several may get those of
    /// several, which `allowed` says.
    pub fn folder_label_failures(
        &self,
        allowed: &dyn Fn(&[u8]) -> BTreeSet<String>,
    ) -> Vec<(&'static str, Octets)> {
        let mut failures = Vec::new();
        for there in &self.gmail.messages {
            let Labelled {
                labels,
                removed,
                may_lack_labels,
                times_set,
                was_set,
                set_before_change,
                ..
            } = &there.labelled;
            let allowed = allowed(&there.octets);
            if times_set.keys().any(|label| !allowed.contains(label)) {
                failures.push(("with a label too much", there.octets.clone()));
            }
            if *was_set && !self.gmail.sent.contains(&there.octets) {
                failures.push(("not ours and labelled", there.octets.clone()));
            }
            // Each move to a folder may label a message again: a documented limit of that setting.
            if !self.labels_moved && times_set.values().any(|times| *times > 1) {
                failures.push(("labelled twice", there.octets.clone()));
            }
            let is_there = matches!(there.place, Place::Inbox | Place::Archive);
            let wanted = self.gmail.wanted.get(&there.octets);
            let Some(Some(wanted)) = wanted.filter(|_| there.ours && is_there) else {
                continue;
            };
            let [appended, imported] = &self.gmail.sent_by;
            let is_by_both = appended.contains(&there.octets) && imported.contains(&there.octets);
            let mut missing = wanted.iter();
            let is_excused = |label: &String| {
                let set = set_before_change.as_ref();
                set.is_some_and(|set| !set.contains(label))
            };
            let is_missing =
                missing.any(|it| !labels.contains(it) && !removed.contains(it) && !is_excused(it));
            if is_missing && !may_lack_labels && !is_by_both {
                failures.push(("unlabelled", there.octets.clone()));
            }
        }
        let put_back = self.gmail.labels.put_back.iter();
        let put_back = put_back.filter(|_| !self.labels_moved);
        failures.extend(put_back.map(|octets| ("labelled again", octets.clone())));
        failures
    }
}
