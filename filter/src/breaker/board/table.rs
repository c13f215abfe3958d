//! The breakers that one worker has to do with, of which there are never too many.
//!
//! Where breakers are told apart by what clients choose, a path or a host, any number of them could be made. A table that
//! is full gives up one that is closed and has nothing against it and was not used lately (a clock, as page tables have
//! it); if there is none close by, what is new is not watched.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::breaker::evidence::Report;
use crate::breaker::view::View;
use crate::key::KeyHash;
use crate::shared::Version;
use crate::time::Instant;

/// Most breakers of one worker: several for each of the most routes, in some 600 KiB.
pub const MOST_KEYS: usize = 1024;

/// Places that are looked at for one to give up.
const MOST_STEPS: usize = 16;

/// Which breaker a call falls under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its place among the breakers of the configuration.
    pub breaker: usize,
    /// Its name in Redis.
    pub name: Arc<[u8]>,
    /// Keyed hash of the name.
    pub hash: KeyHash,
}

/// What one worker knows of one breaker.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// The record of this process.
    pub(super) local: View,
    /// Which state of the shared news `local` has seen.
    pub(super) news: Option<Version>,
    /// What has not been reported to it.
    pub(super) local_report: Report,
    /// Whether the process had failures at the last call.
    pub(super) is_suspect: bool,
    /// The record of the fleet.
    pub(super) fleet: View,
    /// What has not been reported to it.
    pub(super) fleet_report: Report,
    /// How many calls have ended in the present slice of time, and when that began.
    pub(super) slice_calls: u64,
    pub(super) slice_since: Instant,
    /// Since when the two reports collect.
    pub(super) since: Instant,
    /// When the fleet is to be told.
    pub(super) report_at: Option<Instant>,
    /// The fleet has been asked for a permit, or is not to be before that time.
    pub(super) asking: bool,
    pub(super) ask_after: Instant,
    was_used: bool,
}

impl Entry {
    fn new(key: Key, now: Instant) -> Self {
        Self {
            key,
            local: View::default(),
            news: None,
            local_report: Report::default(),
            is_suspect: false,
            fleet: View::default(),
            fleet_report: Report::default(),
            slice_calls: 0,
            slice_since: now,
            since: now,
            report_at: None,
            asking: false,
            ask_after: Instant::default(),
            was_used: true,
        }
    }

    fn can_be_given_up(&self, now: Instant) -> bool {
        let is_calm = |view: &View| view.is_closed() && !view.is_suspect(now);
        is_calm(&self.local) && is_calm(&self.fleet) && !self.asking
    }
}

/// All of one worker.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    places: HashMap<KeyHash, usize, BuildHasherDefault<Hashed>>,
    hand: usize,
}

impl Table {
    pub(super) fn get(&mut self, hash: KeyHash) -> Option<&mut Entry> {
        self.entries.get_mut(*self.places.get(&hash)?)
    }

    /// The entry of `key`, which is made if there is none; `None` if there is no room.
    pub(super) fn entry(&mut self, now: Instant, key: &Key) -> Option<&mut Entry> {
        let place = match self.places.get(&key.hash) {
            Some(place) => *place,
            None => self.insert(now, key)?,
        };
        let entry = self.entries.get_mut(place)?;
        entry.was_used = true;
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    fn insert(&mut self, now: Instant, key: &Key) -> Option<usize> {
        let entry = Entry::new(key.clone(), now);
        let place = if self.entries.len() < MOST_KEYS {
            self.entries.push(entry);
            self.entries.len().saturating_sub(1)
        } else {
            let place = self.place_to_give_up(now)?;
            let given_up = std::mem::replace(self.entries.get_mut(place)?, entry);
            self.places.remove(&given_up.key.hash);
            place
        };
        self.places.insert(key.hash, place);
        Some(place)
    }

    fn place_to_give_up(&mut self, now: Instant) -> Option<usize> {
        for _ in 0..MOST_STEPS {
            let place = self.hand;
            let next = place.saturating_add(1);
            self.hand = if next < MOST_KEYS { next } else { 0 };
            let entry = self.entries.get_mut(place)?;
            if !std::mem::replace(&mut entry.was_used, false) && entry.can_be_given_up(now) {
                return Some(place);
            }
        }
        None
    }
}

/// The hash of what is a keyed hash already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::evidence::Against;
    use crate::breaker::policy::PLAIN;
    use crate::breaker::record::Epoch;
    use crate::breaker::told::{Standing, Told};

    fn key(number: u64) -> Key {
        let hash = KeyHash::from_parts(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number);
        Key { breaker: 0, name: number.to_string().into_bytes().into(), hash }
    }

    fn now() -> Instant {
        Instant::from_micros(0)
    }

    fn open(entry: &mut Entry) {
        let standing = Standing::Open { wait_ms: 1 };
        let told = Told { epoch: Epoch(1), cause: None, against: Against::default(), standing };
        entry.local.learn(now(), &PLAIN, &told);
    }

    #[test]
    fn a_full_table_gives_up_what_was_not_used_lately() {
        let mut table = Table::default();
        for number in 0..MOST_KEYS as u64 {
            assert!(table.entry(now(), &key(number)).is_some());
        }
        // The first pass of the hand takes away the marks of the first entries.
        while table.entry(now(), &key(9_999)).is_none() {}
        assert_eq!(table.iter().count(), MOST_KEYS);
        assert_eq!(table.places.len(), MOST_KEYS);
        assert!(table.get(key(9_999).hash).is_some());
        let gone = (0..MOST_KEYS as u64).filter(|number| table.get(key(*number).hash).is_none());
        assert_eq!(gone.count(), 1);
    }

    #[test]
    fn what_is_not_closed_is_never_given_up() {
        let mut table = Table::default();
        for number in 0..MOST_KEYS as u64 {
            open(table.entry(now(), &key(number)).unwrap());
        }
        for _ in 0..3 * MOST_KEYS {
            assert!(table.entry(now(), &key(9_999)).is_none());
        }
    }

    #[test]
    fn a_flood_of_keys_leaves_the_one_that_is_open() {
        let mut table = Table::default();
        open(table.entry(now(), &key(0)).unwrap());
        for number in 1..100_000 {
            table.entry(now(), &key(number));
        }
        assert_eq!(table.iter().count(), MOST_KEYS);
        assert!(table.get(key(0).hash).is_some_and(|entry| entry.local.is_open()));
    }
}
