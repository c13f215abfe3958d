//! Keys that are over their limit, and until when: refused here, without asking Redis again.
//!
//! An attack on one key must not become an attack on Redis. Unless units are given back that were taken ahead, what a
//! counter lacks it lacks until its window ends, or until time has filled it up: a key that was refused a cost stays
//! refused to all that cost as much or more until then. The table is a cache of that knowledge: losing an entry costs one more
//! question, never a wrong answer. Its size is fixed, however many clients there are.

use std::time::Duration;

use super::Check;
use crate::key::KeyHash;
use crate::time::Instant;

/// Sets of the table. With [`WAYS`] entries of 40 bytes each: 640 KiB per worker, room for 16,384 refused keys.
const SETS: usize = 4096;
/// Entries of one set: which keys compete for a place is decided by a keyed hash that clients do not know.
const WAYS: usize = 4;

/// What an answer of Redis says of a counter that has too little left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The counter.
    pub key: KeyHash,
    /// Units that it lacks: who asks for so many, or for more, is refused.
    pub cost: u64,
    /// How long, from when Redis decided, if nothing is given back.
    pub lasts: Duration,
    /// For how long of that nothing can be given back.
    pub known_for: Duration,
}

/// A bounded table of refused keys.
#[derive(Clone, Debug)]
pub struct Refusals {
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    tag: u64,
    /// The least that is refused.
    cost: u64,
    until: Instant,
    /// When clients may come again: not before `until`, by whatever clock.
    come_again_at: Instant,
    /// When it last refused somebody: who is cold makes room first.
    met_at: Instant,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { entries: vec![Entry::default(); SETS * WAYS].into_boxed_slice() }
    }
}

impl Refusals {
    /// If a request is known to be refused now by what it is held against: in what time it may come again.
    pub fn refuses(&mut self, now: Instant, check: &Check) -> Option<Duration> {
        let tag = check.hash.tag();
        let set = self.entries.get_mut(Self::set_of(check.hash))?;
        let entry = set.iter_mut().find(|entry| entry.tag == tag && entry.until > now)?;
        let dearer_by = check.cost.checked_sub(entry.cost)?;
        entry.met_at = now;
        let wait = entry.come_again_at.saturating_since(now);
        Some(wait.saturating_add(check.policy.longest_wait_for(dearer_by)))
    }

    /// Remembers what Redis has answered `now`, `took` after it was asked.
    ///
    /// When it decided lies in between. So a key is refused as if that had been at once, and clients are told as if it
    /// had been just now: to ask a little early is exact, to refuse a little long or to have them come early is not.
    /// What is left is that Redis tells of whole milliseconds: a key may be refused for up to two of them too long.
    pub fn remember(&mut self, now: Instant, shortage: Shortage, took: Duration) {
        let Shortage { key, cost, lasts, known_for } = shortage;
        let Some(set) = self.entries.get_mut(Self::set_of(key)) else { return };
        let same = set.iter().position(|entry| entry.tag == key.tag());
        // One that is over, else the coldest.
        let least =
            || (0..WAYS).min_by_key(|way| set.get(*way).map(|it| (it.until > now, it.met_at)));
        let Some(entry) = same.or_else(least).and_then(|way| set.get_mut(way)) else { return };
        let refuses_more = entry.tag == key.tag() && entry.until > now && entry.cost < cost;
        if !refuses_more {
            let until = now.saturating_add(known_for.saturating_sub(took));
            let come_again_at = now.saturating_add(lasts);
            *entry = Entry { tag: key.tag(), cost, until, come_again_at, met_at: now };
        }
    }

    fn set_of(key: KeyHash) -> std::ops::Range<usize> {
        let first = key.slot(SETS) * WAYS;
        first..first + WAYS
    }
}

#[cfg(test)]
mod tests;
