//! The known messages as a snapshot has them, in three maps by id.
//!
//! Most of the octets of a snapshot are theirs, and a run with nothing new asks for none of them.
//! They are read twice at most, by the same code: once to check them, and once to build them when
//! they are first asked for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::message::{Digest, MessageId};
use crate::state::known::{Copies, KnownMessage, KnownMessages, LazyKnown};
use crate::timestamp;

/// The ids as any version of the original wrote them: a list, or a map to a time or null.
#[derive(Default)]
pub(super) struct SyncedIds<C>(C);

/// A map from id to `V`.
pub(super) struct Entries<V, C> {
    collected: C,
    value: PhantomData<V>,
}

/// A collection that keeps nothing: its entries are of the right types, and that is all.
#[derive(Default)]
pub(super) struct Checked;

/// The same of ids, and whether there is one.
#[derive(Default)]
pub(super) struct AnyId(bool);

/// Text that is borrowed from the file unless it has escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A time as any version of the original wrote it; `None` for anything else.
struct LenientTime<'a>(Option<Cow<'a, str>>);

/// The parts of a snapshot that make the known messages.
#[derive(Default, Deserialize)]
#[serde(default)]
struct KnownIn<'a> {
    #[serde(borrow)]
    synced_message_ids: SyncedIds<Vec<(Text<'a>, LenientTime<'a>)>>,
    #[serde(borrow)]
    digests: Entries<Vec<Digest>, Vec<(Text<'a>, Vec<Digest>)>>,
    #[serde(borrow)]
    copies: Entries<Copies, HashMap<Text<'a>, Copies>>,
}

/// The known messages of a snapshot that was read, and therefore checked.
pub(super) fn lazy(
    octets: Arc<Vec<u8>>,
    SyncedIds(AnyId(any_id)): &SyncedIds<AnyId>,
    now: DateTime<Utc>,
) -> LazyKnown {
    let build = move || match serde_json::from_slice(&octets) {
        Ok(entries) => build(entries, now),
        // The same code has read the same octets. To go on without them would deliver mail twice.
        Err(error) => unreachable!("a checked snapshot cannot be read: {error}"),
    };
    LazyKnown::new(build, !any_id)
}

fn build(entries: KnownIn<'_>, now: DateTime<Utc>) -> KnownMessages {
    let SyncedIds(mut ids) = entries.synced_message_ids;
    let mut digests = entries.digests.collected;
    let mut copies = entries.copies.collected;
    // As this program writes them, both have their order already.
    ids.sort_by(|(one, _), (other, _)| one.cmp(other));
    digests.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut digests = digests.into_iter().peekable();
    let mut known = HashMap::with_capacity(ids.len());
    for (text, time) in ids {
        while digests.next_if(|(id, _)| *id < text).is_some() {}
        let digests = digests.next_if(|(id, _)| *id == text);
        let digests = digests.map_or_else(Vec::new, |(_, digests)| digests);
        let at = time.parse().map_or(now, |at| at.min(now));
        if let Some(id) = MessageId::from_field(&text.0) {
            let copies = copies.remove(&text);
            let is_without_id = !id.is_from_field() && !digests.is_empty();
            let implied = || is_without_id.then(Copies::implied);
            let known_message = KnownMessage {
                at,
                digests,
                copies: copies.or_else(implied).unwrap_or_default(),
            };
            known.insert(id, known_message);
        }
    }
    known
}

impl<T> Extend<T> for Checked {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        entries.into_iter().for_each(drop);
    }
}

impl<'a> Extend<(Text<'a>, LenientTime<'a>)> for AnyId {
    fn extend<I: IntoIterator<Item = (Text<'a>, LenientTime<'a>)>>(&mut self, ids: I) {
        self.0 = ids.into_iter().fold(self.0, |any, (Text(id), _)| {
            any || MessageId::from_field(&id).is_some()
        });
    }
}

impl<V, C: Default> Default for Entries<V, C> {
    fn default() -> Entries<V, C> {
        Entries {
            collected: C::default(),
            value: PhantomData,
        }
    }
}

// Written by hand: derived code would build every id twice.
impl<'de: 'a, 'a, C> Deserialize<'de> for SyncedIds<C>
where
    C: Default + Extend<(Text<'a>, LenientTime<'a>)>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SyncedIds<C>, D::Error> {
        struct ListOrMap<'a, C>(PhantomData<(&'a (), C)>);

        impl<'de: 'a, 'a, C> Visitor<'de> for ListOrMap<'a, C>
        where
            C: Default + Extend<(Text<'a>, LenientTime<'a>)>,
        {
            type Value = SyncedIds<C>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of ids, or a map from id to time")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SyncedIds<C>, A::Error> {
                let mut ids = C::default();
                while let Some(id) = list.next_element()? {
                    ids.extend([(id, LenientTime(None))]);
                }
                Ok(SyncedIds(ids))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SyncedIds<C>, A::Error> {
                Ok(SyncedIds(collect(map)?))
            }

            fn visit_unit<E>(self) -> Result<SyncedIds<C>, E> {
                Ok(SyncedIds::default())
            }
        }

        deserializer.deserialize_any(ListOrMap(PhantomData))
    }
}

impl<'de: 'a, 'a, V, C> Deserialize<'de> for Entries<V, C>
where
    V: Deserialize<'de>,
    C: Default + Extend<(Text<'a>, V)>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries<V, C>, D::Error> {
        struct AnyMap<'a, V, C>(PhantomData<(&'a (), V, C)>);

        impl<'de: 'a, 'a, V, C> Visitor<'de> for AnyMap<'a, V, C>
        where
            V: Deserialize<'de>,
            C: Default + Extend<(Text<'a>, V)>,
        {
            type Value = Entries<V, C>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from id")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entries<V, C>, A::Error> {
                Ok(Entries {
                    collected: collect(map)?,
                    value: PhantomData,
                })
            }
        }

        deserializer.deserialize_map(AnyMap(PhantomData))
    }
}

fn collect<'de: 'a, 'a, V, C, A>(mut map: A) -> Result<C, A::Error>
where
    V: Deserialize<'de>,
    C: Default + Extend<(Text<'a>, V)>,
    A: MapAccess<'de>,
{
    let mut collected = C::default();
    while let Some(entry) = map.next_entry()? {
        collected.extend([entry]);
    }
    Ok(collected)
}

impl LenientTime<'_> {
    fn parse(&self) -> Option<DateTime<Utc>> {
        self.0.as_deref().and_then(timestamp::parse)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for LenientTime<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LenientTime<'a>, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = LenientTime<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<LenientTime<'de>, E> {
                Ok(LenientTime(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<LenientTime<'de>, E> {
                Ok(LenientTime(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_unit<E>(self) -> Result<LenientTime<'de>, E> {
                Ok(LenientTime(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<LenientTime<'de>, E> {
                Ok(LenientTime(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<LenientTime<'de>, E> {
                Ok(LenientTime(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<LenientTime<'de>, E> {
                Ok(LenientTime(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<LenientTime<'de>, E> {
                Ok(LenientTime(None))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Uid;
    use crate::state::snapshot::{self, SnapshotError};
    use crate::state::{Knowledge, State};

    const SNAPSHOT: &str = r#"{
        "version": 2,
        "last_sync": "2026-11-22T20:15:00+00:00",
        "last_source_uid": 9,
        "cursor": {"source": "me@example.com/INBOX", "uid_validity": 3, "uid": 9},
        "settled": "11",
        "synced_message_ids": {
            "<a@x>": "2026-11-22T20:15:00+00:00",
            "<\u0062@x>": null,
            "sha256:0000000000000001": "2026-11-22 20:15:00"
        },
        "digests": {
            "<a@x>": ["0000000000000001:", "0000000000000001:0000000000000002"],
            "sha256:0000000000000001": ["0000000000000003:"]
        },
        "copies": {
            "sha256:0000000000000001": {
                "uids": {"7": "2026-11-22T20:15:00Z", "8": null},
                "elsewhere": [null]
            }
        },
        "gmail": {"taken_at": "2026-11-22T20:15:00Z"}
    }"#;

    fn now() -> DateTime<Utc> {
        "2026-11-22T20:40:00Z".parse().unwrap()
    }

    fn read(octets: impl Into<Vec<u8>>) -> Result<State, SnapshotError> {
        let (state, _) = snapshot::read(&Arc::new(octets.into()), now())?;
        Ok(state)
    }

    fn with(part: &str) -> Result<State, SnapshotError> {
        read(format!(r#"{{"version": 2, {part}}}"#))
    }

    #[test]
    fn known_messages_are_built_when_the_first_is_asked_for() {
        let state = read(SNAPSHOT).unwrap();
        let uid = |number| Uid::new(number).unwrap();
        assert!(state.is_bound_to_account());
        assert!(!state.is_unsynced());
        assert!(state.folder.is_settled_or_parked(uid(11)));
        assert_eq!(state.folder.highest_uid(), 11);
        assert_eq!(state.retry_times(now(), |_| true).count(), 0);
        assert!(state.folder.samples().is_empty());
        assert!(!state.known.is_built());

        let id = |text| MessageId::from_field(text).unwrap();
        assert_eq!(state.known_digests(&id("<b@x>")), Knowledge::IdOnly);
        assert!(state.known.is_built());
        assert_eq!(state.known_id_count(), 3);
        assert_eq!(state.known_uid_range(), Some((uid(7), uid(8))));
    }

    #[test]
    fn a_wrong_type_in_a_known_message_is_found_before_it_is_built() {
        for part in [
            r#""synced_message_ids": 1"#,
            r#""synced_message_ids": "<a@x>""#,
            r#""synced_message_ids": ["<a@x>", 1]"#,
            r#""synced_message_ids": [null]"#,
            r#""synced_message_ids": {"<a@x>": []}"#,
            r#""synced_message_ids": {"<a@x>": {}}"#,
            r#""synced_message_ids": {"<a@x>": null}, "synced_message_ids": {}"#,
            r#""digests": null"#,
            r#""digests": []"#,
            r#""digests": {"<a@x>": null}"#,
            r#""digests": {"<a@x>": "0000000000000001:"}"#,
            r#""digests": {"<a@x>": [1]}"#,
            r#""digests": {"<a@x>": ["0000000000000001"]}"#,
            r#""digests": {"<a@x>": ["000000000000000g:"]}"#,
            r#""copies": null"#,
            r#""copies": []"#,
            r#""copies": {"sha256:1": null}"#,
            r#""copies": {"sha256:1": {"folders": {"INBOX": 1}}}"#,
            r#""copies": {"sha256:1": {"folders": {"INBOX": {"0": null}}}}"#,
            r#""copies": {"sha256:1": {"uids": {"a": null}}}"#,
            r#""copies": {"sha256:1": {"uids": {"0": null}}}"#,
            r#""copies": {"sha256:1": {"uids": {"1": 1}}}"#,
            r#""copies": {"sha256:1": {"uids": {}, "elsewhere": [1]}}"#,
        ] {
            let read = with(part);
            assert!(matches!(read, Err(SnapshotError::Invalid(_))), "{part}");
        }
    }

    #[test]
    fn ids_of_every_release_are_checked_and_built() {
        for (part, count) in [
            (r#""synced_message_ids": null"#, 0),
            (r#""synced_message_ids": ["<a@x>", "<a@x>", "<b@x>"]"#, 2),
            (r#""synced_message_ids": {"<a@x>": 1, "<b@x>": true}"#, 2),
            (r#""synced_message_ids": {"<a@x>": -1.5, "<a@x>": "x"}"#, 1),
            (r#""synced_message_ids": {"<>": null, " ": null}"#, 0),
            (r#""synced_message_ids": ["", "<>", "<a@x>"]"#, 1),
            (r#""digests": {"<a@x>": []}, "copies": {}"#, 0),
            (r#""digests": {"<a@x>": [], "<a@x>": []}"#, 0),
        ] {
            let state = with(part).unwrap();
            assert_eq!(state.is_bound_to_account(), count > 0, "{part}");
            assert!(!state.known.is_built(), "{part}");
            assert_eq!(state.known_id_count(), count, "{part}");
            assert_eq!(state.is_bound_to_account(), count > 0, "{part}");
        }
    }

    #[test]
    fn a_damaged_snapshot_that_is_accepted_can_be_built() {
        let mut accepted = 0;
        for place in 0..SNAPSHOT.len() {
            for octet in *b"\"\\{}[]:,0-en \n\x00\xff" {
                let mut damaged = SNAPSHOT.as_bytes().to_vec();
                damaged[place] = octet;
                if let Ok(state) = read(damaged) {
                    assert!(state.known_id_count() <= 3);
                    accepted += 1;
                }
            }
            let cut = SNAPSHOT.as_bytes().split_at(place).0;
            assert!(read(cut).is_err(), "{place}");
        }
        assert!(accepted > 1_000, "{accepted}");
    }
}
