//! Keys that are over their limit, and until when: refused here, without asking Redis again.
//!
//! An attack on one key must not become an attack on Redis. Within a fixed window a counter never falls, so a key that
//! was refused (or has nothing left) stays refused until the window ends. The table is a cache of that knowledge:
//! losing an entry costs one more question, never a wrong answer. Its size is fixed, however many clients there are.

use super::key::KeyHash;
use crate::time::Instant;

/// Sets of the table. With [`WAYS`] entries of 16 bytes each: 256 KiB per worker, room for 16,384 refused keys.
const SETS: usize = 4096;
/// Entries of one set: which keys compete for a place is decided by a keyed hash that clients do not know.
const WAYS: usize = 4;

/// A bounded table of refused keys.
#[derive(Debug)]
pub struct Refusals {
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    tag: u64,
    until: Instant,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { entries: vec![Entry::default(); SETS * WAYS].into_boxed_slice() }
    }
}

impl Refusals {
    /// Until when `key` is refused, if it is.
    #[must_use]
    pub fn refused_until(&self, now: Instant, key: KeyHash) -> Option<Instant> {
        let set = self.entries.get(Self::set_of(key))?;
        set.iter()
            .find(|entry| entry.tag == key.tag() && entry.until > now)
            .map(|entry| entry.until)
    }

    /// Remembers that `key` is refused until `until`. In a full set the entry that ends first makes room.
    pub fn refuse(&mut self, key: KeyHash, until: Instant) {
        let Some(set) = self.entries.get_mut(Self::set_of(key)) else { return };
        let same = set.iter().position(|entry| entry.tag == key.tag());
        let ends_first = || (0..WAYS).min_by_key(|way| set.get(*way).map(|entry| entry.until));
        if let Some(way) = same.or_else(ends_first)
            && let Some(entry) = set.get_mut(way)
        {
            *entry = Entry { tag: key.tag(), until };
        }
    }

    fn set_of(key: KeyHash) -> std::ops::Range<usize> {
        let first = key.slot(SETS) * WAYS;
        first..first + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of the given set: the upper bits of its place choose among 4,096.
    fn key(set: u64, tag: u64) -> KeyHash {
        KeyHash::from_parts(set << 52, tag)
    }

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    #[test]
    fn refused_until_the_moment_and_not_longer() {
        let mut refusals = Refusals::default();
        refusals.refuse(key(1, 7), at(10));
        assert_eq!(refusals.refused_until(at(9), key(1, 7)), Some(at(10)));
        assert_eq!(refusals.refused_until(at(10), key(1, 7)), None);
        assert_eq!(refusals.refused_until(at(9), key(1, 8)), None);
        assert_eq!(refusals.refused_until(at(9), key(2, 7)), None);
    }

    #[test]
    fn refusing_again_replaces_the_moment() {
        let mut refusals = Refusals::default();
        refusals.refuse(key(1, 7), at(10));
        refusals.refuse(key(1, 7), at(20));
        assert_eq!(refusals.refused_until(at(15), key(1, 7)), Some(at(20)));
    }

    #[test]
    fn a_full_set_gives_up_the_entry_that_ends_first() {
        let mut refusals = Refusals::default();
        for (tag, until) in [(1, 40), (2, 20), (3, 30), (4, 50)] {
            refusals.refuse(key(9, tag), at(until));
        }
        refusals.refuse(key(9, 5), at(60));
        let kept: Vec<u64> =
            (1..=5).filter(|tag| refusals.refused_until(at(1), key(9, *tag)).is_some()).collect();
        assert_eq!(kept, [1, 3, 4, 5]);
    }

    #[test]
    fn a_flood_of_keys_leaves_the_table_its_size() {
        let mut refusals = Refusals::default();
        for n in 0..1_000_000 {
            refusals.refuse(key(n, n + 1), at(60));
        }
        assert_eq!(refusals.entries.len(), SETS * WAYS);
    }
}
