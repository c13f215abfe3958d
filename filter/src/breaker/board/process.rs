//! The records of one process, in the memory that its workers share.
//!
//! Shared data can neither delete nor list, so records lie in slots of a fixed number, chosen by a keyed hash. A slot
//! that is full gives up the record that was used least lately of those that are closed.
//!
//! Whoever has changed something that others have to know raises the *news*: a value of no bytes, of which only the
//! version is looked at. That costs a fraction of reading any value, so each request can look.

use serde::{Deserialize, Serialize};

use crate::breaker::record::{Epoch, Record, State};
use crate::key::KeyHash;
use crate::shared::{SharedData, Version};

/// Slots for records: with four in each, enough for those of all workers at once.
pub const SLOTS: usize = 1024;

/// Most records in one slot.
pub const MOST_IN_SLOT: usize = 4;

/// First byte of a slot; what another version of this filter has stored is dropped.
const FORMAT: u8 = 1;

/// How often storing is tried again when other workers were faster.
const ATTEMPTS: usize = 16;

/// What says that something has changed.
const NEWS: &str = "breaker-news";

/// Until when the seconds are counted for which breakers are open.
const SECONDS: &str = "breaker-seconds";

/// Longer than any worker leaves them uncounted.
const MOST_UNCOUNTED_MS: u64 = 10_000;

/// What a process keeps of one breaker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Tells it from others of its slot.
    tag: u64,
    /// When it was changed last.
    used_ms: u64,
    /// The breaker of this process.
    pub(super) record: Record,
    /// The last transition of the fleet's breaker that was told of.
    pub(super) told_of: Epoch,
    /// The state of the fleet's breaker that this process went on from when it lost Redis.
    pub(super) taken_over: Epoch,
}

/// What is stored of a breaker.
pub(super) fn read(shared: &mut dyn SharedData, hash: KeyHash) -> Stored {
    let slot = shared.get(&name(hash)).map(|(bytes, _)| decode(&bytes)).unwrap_or_default();
    slot.into_iter().find(|stored| stored.tag == hash.tag()).unwrap_or_default()
}

/// Changes what is stored of a breaker, and returns what `change` does. `None` if there is no room for it, or others
/// kept being faster.
pub(super) fn update<T>(
    shared: &mut dyn SharedData,
    hash: KeyHash,
    now_ms: u64,
    mut change: impl FnMut(&mut Stored) -> T,
) -> Option<T> {
    let name = name(hash);
    for _ in 0..ATTEMPTS {
        let (mut slot, version) = match shared.get(&name) {
            Some((bytes, version)) => (decode(&bytes), Some(version)),
            None => (Vec::new(), None),
        };
        let place = place_in(&mut slot, hash.tag())?;
        let stored = slot.get_mut(place)?;
        let before = stored.clone();
        let outcome = change(stored);
        if *stored == before {
            return Some(outcome);
        }
        stored.used_ms = now_ms;
        if shared.set(&name, &encode(&slot), version).is_ok() {
            return Some(outcome);
        }
    }
    None
}

/// Which news there are.
pub(super) fn news(shared: &mut dyn SharedData) -> Option<Version> {
    shared.get(NEWS).map(|(_, version)| version)
}

/// Says that something has changed.
pub(super) fn raise_news(shared: &mut dyn SharedData) {
    let version = news(shared);
    // A conflict: somebody has just raised them.
    let _ = shared.set(NEWS, b"", version);
}

/// Whole seconds since any worker was told so last of the breaker whose names begin so: one of those that ask counts each
/// second.
pub(super) fn seconds_to_count(shared: &mut dyn SharedData, prefix: &[u8], now_ms: u64) -> u64 {
    let name = format!("{SECONDS}{}", String::from_utf8_lossy(prefix));
    let stored = shared.get(&name);
    let version = stored.as_ref().map(|(_, version)| *version);
    let counted_ms = stored.and_then(|(bytes, _)| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    let passed_ms = counted_ms.map_or(0, |counted_ms| now_ms.abs_diff(counted_ms));
    // After a jump of the clock, or the first time, there is nothing to count.
    let seconds = if passed_ms > MOST_UNCOUNTED_MS { 0 } else { passed_ms / 1000 };
    if seconds == 0 && counted_ms.is_some() && passed_ms <= MOST_UNCOUNTED_MS {
        return 0;
    }
    let counted_ms = now_ms.saturating_sub(passed_ms % 1000);
    let is_ours = shared.set(&name, &counted_ms.to_le_bytes(), version).is_ok();
    if is_ours { seconds } else { 0 }
}

/// The place of a breaker in its slot; it is added if it is not there, in the place of another one if need be.
fn place_in(slot: &mut Vec<Stored>, tag: u64) -> Option<usize> {
    if let Some(place) = slot.iter().position(|stored| stored.tag == tag) {
        return Some(place);
    }
    let new = Stored { tag, ..Stored::default() };
    if slot.len() < MOST_IN_SLOT {
        slot.push(new);
        return Some(slot.len().saturating_sub(1));
    }
    let closed = slot.iter().enumerate();
    let closed = closed.filter(|(_, stored)| matches!(stored.record.state, State::Closed(_)));
    let (place, _) = closed.min_by_key(|(_, stored)| stored.used_ms)?;
    *slot.get_mut(place)? = new;
    Some(place)
}

fn name(hash: KeyHash) -> String {
    format!("breakers-{}", hash.slot(SLOTS))
}

fn decode(bytes: &[u8]) -> Vec<Stored> {
    let Some((&FORMAT, bytes)) = bytes.split_first() else { return Vec::new() };
    postcard::from_bytes(bytes).unwrap_or_default()
}

fn encode(slot: &[Stored]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    // Into a vector there is nothing that could fail.
    bytes.extend(postcard::to_allocvec(slot).unwrap_or_default());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::InMemory;

    fn hash(tag: u64) -> KeyHash {
        KeyHash::from_parts(0, tag)
    }

    fn open(shared: &mut InMemory, tag: u64, now_ms: u64) -> Option<()> {
        update(shared, hash(tag), now_ms, |stored| {
            stored.record.state = State::Open { wait_ms: 1 };
        })
    }

    fn is_open(shared: &mut InMemory, tag: u64) -> bool {
        matches!(read(shared, hash(tag)).record.state, State::Open { .. })
    }

    #[test]
    fn what_was_stored_is_read_and_kept_apart() {
        let mut shared = InMemory::default();
        assert_eq!(read(&mut shared, hash(1)), Stored::default());
        assert_eq!(open(&mut shared, 1, 7), Some(()));
        assert!(is_open(&mut shared, 1));
        assert!(!is_open(&mut shared, 2));
    }

    #[test]
    fn a_full_slot_gives_up_the_closed_one_that_was_used_least_lately() {
        let mut shared = InMemory::default();
        for tag in 1..=4 {
            update(&mut shared, hash(tag), tag, |stored| stored.told_of = Epoch(tag)).unwrap();
        }
        open(&mut shared, 1, 9).unwrap();
        open(&mut shared, 5, 9).unwrap();
        assert_eq!(read(&mut shared, hash(2)).told_of, Epoch(0), "given up");
        assert_eq!(read(&mut shared, hash(3)).told_of, Epoch(3));
        assert!(is_open(&mut shared, 1) && is_open(&mut shared, 5));
        for tag in [3, 4] {
            open(&mut shared, tag, 9).unwrap();
        }
        assert_eq!(open(&mut shared, 6, 9), None, "all are open");
    }

    #[test]
    fn news_are_noticed_and_only_then() {
        let mut shared = InMemory::default();
        let before = news(&mut shared);
        raise_news(&mut shared);
        let after = news(&mut shared);
        assert_ne!(before, after);
        assert_eq!(news(&mut shared), after);
        raise_news(&mut shared);
        assert_ne!(news(&mut shared), after);
    }

    #[test]
    fn each_second_is_counted_once() {
        let mut shared = InMemory::default();
        let mut count = |now_ms| seconds_to_count(&mut shared, b"b0:", now_ms);
        let times =
            [5_000, 5_999, 6_000, 6_500, 8_100, 8_900, 9_000, 100_000, 100_999, 101_000, 50];
        let counted: Vec<u64> = times.into_iter().map(&mut count).collect();
        assert_eq!(counted, [0, 0, 1, 0, 2, 0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn what_is_no_slot_is_none() {
        for bytes in
            [b"".as_slice(), b"\x09x", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x01"]
        {
            assert_eq!(decode(bytes), Vec::new(), "{bytes:?}");
        }
    }
}
